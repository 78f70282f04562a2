//! What does not reach the ledger is an event, and a fault of the reducer ends no reservation.

use flowspec::{Bytes, Flowspec, Qos, Rate};
use futures_util::FutureExt;

use super::super::ask::Ask;
use super::super::local::LocalEngine;
use super::super::request::{Placement, ReservationRequest};
use super::*;
use crate::admission::{Ladder, Ledger, NewFlow, Reason, Request};
use crate::linux::Link;
use crate::policy::{Owner, Protocol, Source, Subject};

const POLICY: &str =
    "version = 1\n[interface.eth0]\negress = { capacity = \"80 Mbit/s\", reservable = \"100%\" }\n";

/// Panics in a refresh before it has changed anything, and in a query after it has reserved something.
fn faulty(manager: &mut Manager, input: Input, now: Moment) -> Output {
    let Input::Request { operation, .. } = &input else { return manager.handle(input, now) };
    match &**operation {
        Operation::Refresh { .. } => panic!("a fault in a refresh"),
        Operation::Query { .. } => {
            let operation = reserve("half");
            manager.handle(Input::Request { id: RequestId(u64::MAX), operation }, now);
            panic!("a fault in a query")
        }
        _ => manager.handle(input, now),
    }
}

fn reserve(id: &str) -> Box<Operation> {
    let qos = Qos::sending(Flowspec::guaranteed(Rate::from_mbit(8), Bytes::new(9000)));
    Box::new(Operation::Reserve(Box::new(Request::new(NewFlow { id, interface: "eth0" }, qos).into())))
}

struct TestCore {
    core: Core,
    events: Events,
}

impl TestCore {
    fn new() -> Self {
        let (policy, _) = Policy::parse(&[Source { name: "test", text: POLICY }]).unwrap();
        let engine: Weak<dyn ReservationBackend> = Weak::<LocalEngine>::new();
        let mut core = Core::new(&Arc::new(policy), WaitingFlows::default(), Arc::default(), engine);
        core.guard = Guard::new(faulty);
        let events = core.events();
        Self { core, events }
    }

    #[track_caller]
    fn submit(&mut self, operation: Operation) -> Result<Answer, EngineError> {
        let (reply, mut answer) = oneshot::channel();
        self.core.submit(Box::new(operation), Caller::Submit(reply));
        answer.try_recv().expect("it is answered at once")
    }

    #[track_caller]
    fn is_admitted(&mut self, id: &str) -> bool {
        self.submit(*reserve(id)).is_ok_and(|answer| answer.decision.is_ok())
    }

    fn faults(&mut self) -> Vec<ManagerFaulted> {
        let events = std::iter::from_fn(|| self.events.try_next());
        events
            .filter_map(|recorded| match recorded.event {
                Event::ManagerFaulted(fault) => Some(fault),
                _ => None,
            })
            .collect()
    }
}

fn refresh() -> Operation {
    Operation::Refresh { id: "v1".into(), time_to_live: flowspec::Micros::new(1) }
}

fn query() -> Operation {
    Operation::Query { interface: "eth0".into(), request: None }
}

#[test]
fn a_request_that_does_not_reach_the_ledger_is_an_event_and_logged_whole() {
    let mut tried = TestCore::new();
    let (name, mtu) = ("eth0".to_owned(), Bytes::new(1500));
    let link =
        Link { index: 2, name, mtu, speed: None, carries: true, shares_wire_with: None, is_vrf: false };
    let owner = Owner { uid: Some(7), ..Owner::default() };
    let placement = Placement { id: "v1".into(), link: Arc::new(link), owner };
    let subject = Subject { protocol: Protocol::Tcp, local_port: 443, peer: [192, 0, 2, 1].into() };
    let ask = Ask::first_of(["none", "neither"]).class("viewer").client("origin");
    let request = ReservationRequest::new(ask, subject);
    let (sender, facts) = std::sync::mpsc::channel();
    tried.core.audit = Some(Box::new(Recorder(sender)));
    let (reply, mut answer) = oneshot::channel();
    tried.core.reserve(&request, &placement, reply);
    let refused = answer.try_recv().unwrap().err().unwrap();
    assert_eq!(refused.reason(), Some(Reason::UnknownTemplate));
    let seen: Vec<_> = std::iter::from_fn(|| tried.events.try_next()).collect();
    let [Recorded { event: Event::FlowRefused(event), .. }] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((&*event.id, event.reason), ("v1", Reason::UnknownTemplate));
    let AuditFact::Refused { request: Some(ladder), decision } = facts.try_recv().unwrap().fact else {
        panic!("the request is known");
    };
    assert_eq!(*decision, *refused);
    let Ladder { request, first, renditions } = *ladder;
    assert_eq!((first.as_deref(), &*renditions[0].0, renditions.len()), (Some("none"), "neither", 1));
    let named = (request.class.as_deref(), request.client.as_deref(), request.owner.uid);
    assert_eq!(named, (Some("viewer"), Some("origin"), Some(7)));
}

struct Recorder(std::sync::mpsc::Sender<Audited>);

impl AuditSink for Recorder {
    fn record(&mut self, facts: Vec<Audited>, _: &Ledger) {
        facts.into_iter().for_each(|fact| self.0.send(fact).unwrap());
    }
}

#[test]
fn a_fault_before_any_change_refuses_its_request_alone() {
    let mut tried = TestCore::new();
    assert!(tried.is_admitted("v1"));
    let error = tried.submit(refresh()).unwrap_err().to_string();
    assert!(error.contains("a fault in a refresh") && error.contains("changed nothing"), "{error}");
    assert!(tried.is_admitted("v2"), "the manager goes on");
    assert_eq!(tried.core.manager.ledger().flows(), 2);
    let fault = ManagerFaulted { fault: "a fault in a refresh".into(), admission_stopped: false };
    assert_eq!(tried.faults(), [fault]);
}

#[test]
fn a_fault_after_a_change_stops_admission_and_releases_are_accepted() {
    let mut tried = TestCore::new();
    assert!(tried.is_admitted("v1"));
    let (reply, mut waiting) = oneshot::channel();
    // A caller whose answer the fault has lost.
    tried.core.callers.insert(RequestId(99), Caller::Reserve { id: "lost".into(), route: None, reply });
    tried.core.waiters.enter("waiter").answered(true);
    let error = tried.submit(query()).unwrap_err().to_string();
    let waiter = tried.core.waiters.get("waiter").unwrap();
    assert_eq!(waiter.notified().now_or_never(), Some(()), "a flow that waits asks again");
    assert!(error.contains("a fault in a query") && error.contains("nothing is admitted"), "{error}");
    let refused = waiting.try_recv().unwrap().err().unwrap();
    assert_eq!((refused.id(), refused.reason()), (Some("lost"), Some(Reason::ManagerFault)));
    assert!(!tried.is_admitted("v2"), "admission has stopped");
    tried.core.feed(Input::Closed { id: "v1".into() });
    tried.core.feed(Input::Closed { id: "v1".into() });
    assert!(tried.core.manager.ledger().flow("v1").is_some(), "nothing changes any more");
    assert_eq!(tried.core.next_wake(), None);
    tried.core.feed(Input::Stop);
    let fault = ManagerFaulted { fault: "a fault in a query".into(), admission_stopped: true };
    assert_eq!(tried.faults(), [fault], "the fault is reported once");
}

#[test]
fn faults_without_end_stop_admission() {
    let mut tried = TestCore::new();
    for _ in 0..64 {
        assert!(tried.submit(refresh()).is_err());
    }
    assert!(!tried.is_admitted("v1"));
    assert!(tried.faults().len() < 64);
}
