//! The engine on a kernel that fails, hangs and counts what it is asked: one interface does not wait for another,
//! changes keep their order, the queue of requests is bounded, and releases are never lost. Time is virtual where a
//! test waits for it.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod adoption;
#[path = "../common/mod.rs"]
mod common;
mod hung;
mod kernel;
mod renamed;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use common::policy;
use flowspec::{Both, Bytes, Flowspec, Qos, Rate};
use gqos::admission::{NotProgrammed, Operation, Reason};
use gqos::engine::{
    Ask, Engine, EngineError, EngineFuture, Events, Granted, LocalEngine, MOST_QUEUED_REQUESTS,
    ReceivedPackets, ReservationRequest, Usage,
};
use gqos::kernel::KernelClass;
use gqos::policy::{Owner, Protocol, Subject};
use gqos::tc::Op;
use kernel::{Shared, TestKernel};

/// Interface `ethN` has the number N, and 10.0.N.0/24 is reached by it.
const POLICY: &str = r#"
version = 1
[interface."*"]
egress = { capacity = "100 Mbit/s", reservable = "80%" }
[interface.eth3]
egress = { capacity = "100 Mbit/s", reservable = "80%" }
enforcement = "user-space"
"#;

async fn start(text: &str) -> (Arc<TestKernel>, Arc<LocalEngine>) {
    let kernel = TestKernel::new();
    let engine = LocalEngine::start_on(policy(text), Arc::new(Shared(Arc::clone(&kernel)))).await.unwrap();
    (kernel, engine)
}

/// A request for `megabits` by interface `ethN`.
fn request(index: u8, id: &str, megabits: u64) -> ReservationRequest {
    let qos = Qos::sending(Flowspec::guaranteed(Rate::from_mbit(megabits), Bytes::new(16_384)));
    let peer = IpAddr::from([10, 0, index, 1]);
    let subject = Subject { protocol: Protocol::Tcp, local_port: 0, peer };
    ReservationRequest::new(Ask::qos(qos).id(id), subject)
}

async fn granted(engine: &LocalEngine, index: u8, id: &str, megabits: u64) -> Granted {
    match engine.reserve(request(index, id, megabits)).await {
        Ok(granted) => granted,
        Err(error) => panic!("{id}: {error}"),
    }
}

/// Polls a request once: it is queued then, or answered.
fn queue(
    pending: &mut EngineFuture<'_, Result<Granted, EngineError>>,
) -> Option<Result<Granted, EngineError>> {
    match pending.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answered) => Some(answered),
        Poll::Pending => None,
    }
}

fn reason(answered: &Result<Granted, EngineError>) -> Option<Reason> {
    match answered {
        Err(EngineError::Refused(decision)) => decision.reason(),
        _ => None,
    }
}

async fn reserved(engine: &LocalEngine, interface: &str) -> Rate {
    let reports = engine.report().await.unwrap();
    let report = reports.iter().find(|report| report.interface == interface).unwrap();
    report.status.totals.sending.reserved
}

/// Lets the engine's task do what it can without the kernel.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_stalls_its_own_interface_alone() {
    let (kernel, engine) = start(POLICY).await;
    let held = granted(&engine, 1, "held", 10).await;
    kernel.hang(1);
    let mut first = engine.reserve(request(1, "first", 10));
    let mut second = engine.reserve(request(1, "second", 60));
    assert!(queue(&mut first).is_none() && queue(&mut second).is_none());
    settle().await;
    // Flows of the hung interface that end are kept for later.
    drop(held);
    // The others go on: one with kernel changes of its own, one in user space on the caller's thread.
    let other = tokio::time::timeout(Duration::from_secs(1), granted(&engine, 2, "other", 80)).await;
    let other = other.expect("another interface does not wait");
    let here = engine.try_reserve(&request(3, "unseen", 10));
    assert!(here.is_none(), "its route is not known");
    let unshaped = tokio::time::timeout(Duration::from_secs(1), granted(&engine, 3, "unshaped", 10)).await;
    let here = engine.try_reserve(&request(3, "here", 10)).expect("it needs no kernel");
    assert!(here.ready().is_ok_and(|answered| answered.is_ok()));
    other.reservation.connected();
    drop((other, unshaped));
    settle().await;
    assert!(queue(&mut first).is_none() && queue(&mut second).is_none(), "the kernel has not answered");
    kernel.go_on(1);
    // In the order in which they came.
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!((first.decision.id(), second.decision.id()), (Some("first"), Some("second")));
    assert_eq!(reserved(&engine, "eth1").await, Rate::from_mbit(70), "what ended meanwhile is released");
    assert_eq!(reserved(&engine, "eth2").await, Rate::ZERO);
    assert_eq!(kernel.calls().most, 1);
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_report_waits_for_a_hung_interface_and_the_engine_does_not() {
    let (kernel, engine) = start(POLICY).await;
    let _held = granted(&engine, 1, "held", 10).await;
    kernel.hang(1);
    let report = tokio::spawn({
        let engine = Arc::clone(&engine);
        async move { engine.report().await.unwrap() }
    });
    settle().await;
    let other = tokio::time::timeout(Duration::from_secs(1), granted(&engine, 2, "other", 80)).await;
    assert!(other.is_ok(), "a report does not hold the engine");
    assert!(!report.is_finished());
    kernel.go_on(1);
    let interfaces: Vec<_> = report.await.unwrap().into_iter().map(|report| report.interface).collect();
    assert_eq!(interfaces, ["eth1", "eth3"], "those that had been seen when it was asked for");
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_interface_that_cannot_be_read_refuses_its_flows_alone() {
    let (kernel, engine) = start(POLICY).await;
    kernel.calls().broken.insert(1);
    let refused = engine.reserve(request(1, "refused", 10)).await;
    assert_eq!(reason(&refused), Some(Reason::TrafficControl));
    kernel.calls().broken.clear();
    let admitted = granted(&engine, 1, "admitted", 10).await;
    assert!(admitted.admitted.class.is_some(), "it is read again with the next flow");
    engine.stop().await;
}

/// The engine's task does not run in between: the queue fills.
#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_requests_and_takes_releases() {
    let (_kernel, engine) = start(POLICY).await;
    let held = granted(&engine, 1, "held", 80).await;
    let mut pending: Vec<_> = (0..MOST_QUEUED_REQUESTS)
        .map(|number| engine.reserve(request(1, &format!("queued-{number}"), 80)))
        .collect();
    assert!(pending.iter_mut().all(|pending| queue(pending).is_none()));
    let mut beyond = engine.reserve(request(1, "beyond", 80));
    let refused = queue(&mut beyond).expect("a full queue answers at once");
    assert_eq!(reason(&refused), Some(Reason::TooManyRequests));
    let Err(error) = refused else { panic!("admitted") };
    assert_eq!(
        error.to_string(),
        "WSAENOBUFS (10055): 16384 requests wait for the interface, and the limit is 16384"
    );
    let operation = engine.submit(Operation::Tick).await;
    assert!(
        matches!(operation, Err(EngineError::TooManyRequests { limit }) if limit == MOST_QUEUED_REQUESTS)
    );
    drop(held);
    for pending in pending {
        assert_eq!(reason(&pending.await), Some(Reason::InterfaceBudget));
    }
    settle().await;
    assert_eq!(reserved(&engine, "eth1").await, Rate::ZERO);
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_hung_interface_with_a_full_queue_refuses_requests_and_keeps_releases() {
    let (kernel, engine) = start(POLICY).await;
    let held: Vec<_> = {
        let mut held = Vec::new();
        for number in 0..7 {
            held.push(granted(&engine, 1, &format!("held-{number}"), 10).await);
        }
        held
    };
    kernel.hang(1);
    let mut busy = engine.reserve(request(1, "busy", 10));
    assert!(queue(&mut busy).is_none());
    let mut pending = Vec::new();
    // In two parts, since the engine's task has a queue of the same length.
    for part in 0..2 {
        for number in 0..MOST_QUEUED_REQUESTS / 2 {
            let mut request = engine.reserve(request(1, &format!("queued-{part}-{number}"), 70));
            assert!(queue(&mut request).is_none());
            pending.push(request);
        }
        settle().await;
    }
    drop(held);
    settle().await;
    let refused = engine.reserve(request(1, "beyond", 70)).await;
    assert_eq!(reason(&refused), Some(Reason::TooManyRequests));
    let other = tokio::time::timeout(Duration::from_secs(1), granted(&engine, 2, "other", 80)).await;
    assert!(other.is_ok(), "the queue of another interface is its own");
    kernel.go_on(1);
    for pending in pending {
        drop(pending.await);
    }
    drop(busy);
    settle().await;
    assert_eq!(reserved(&engine, "eth1").await, Rate::ZERO, "every release was kept");
    engine.stop().await;
}

/// Polls a request for a class once: it is queued then, or answered.
fn queue_class<'a>(
    engine: &'a LocalEngine,
    id: &str,
) -> Result<EngineFuture<'a, Result<KernelClass, NotProgrammed>>, NotProgrammed> {
    let packets = ReceivedPackets {
        protocol: Protocol::Tcp,
        peer: SocketAddr::from(([10, 0, 1, 1], 5001)),
        local_port: 5002,
    };
    let mut pending = engine.receive(id.to_owned(), packets);
    match pending.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answered) => Err(answered.expect_err("the kernel has not answered")),
        Poll::Pending => Ok(pending),
    }
}

#[tokio::test(start_paused = true)]
async fn requests_for_classes_of_what_is_received_are_bounded_like_others() {
    const LIMIT: usize = MOST_QUEUED_REQUESTS;
    const REFUSED: NotProgrammed = NotProgrammed::TooManyRequests { limit: LIMIT };
    let (kernel, engine) = start(POLICY).await;
    let held = granted(&engine, 1, "held", 10).await;
    let queued: Vec<_> = (0..LIMIT).map(|_| queue_class(&engine, "held").expect("it is queued")).collect();
    assert_eq!(queue_class(&engine, "held").err(), Some(REFUSED), "the queue of the engine's task is full");
    for pending in queued {
        assert_eq!(pending.await, Err(NotProgrammed::NotSeen), "nothing is reserved for receiving");
    }

    kernel.hang(1);
    let mut busy = engine.reserve(request(1, "busy", 10));
    assert!(queue(&mut busy).is_none());
    let mut queued = Vec::new();
    // In two parts, since the engine's task has a queue of the same length.
    for _ in 0..2 {
        queued.extend((0..LIMIT / 2).map(|_| queue_class(&engine, "held").expect("it is queued")));
        settle().await;
    }
    let beyond = queue_class(&engine, "held").expect("the queue of the engine's task has space");
    assert_eq!(beyond.await, Err(REFUSED), "the queue of the interface is full");
    drop(held);
    settle().await;
    kernel.go_on(1);
    drop((queued, busy.await));
    settle().await;
    assert_eq!(reserved(&engine, "eth1").await, Rate::ZERO, "every release was kept");
    engine.stop().await;
}

/// Virtual time in which a class has drained and its flow is released.
const RELEASED: Duration = Duration::from_secs(2);

/// What the events say of flows, in order: the event and the flow.
fn flow_events(events: &mut Events) -> Vec<(String, String)> {
    let all = std::iter::from_fn(|| events.try_next()).map(|event| serde_json::to_value(event).unwrap());
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let flows = all.map(|event| (text(&event["event"]), text(&event["id"])));
    flows.filter(|(event, _)| event.starts_with("flow_")).collect()
}

#[tokio::test(start_paused = true)]
async fn subscribers_receive_the_events_of_flows_with_and_without_a_class() {
    for index in [1, 3] {
        let (_, engine) = start(POLICY).await;
        let flow = granted(&engine, index, "early", 10).await;
        let mut events = engine.events();
        drop(flow);
        tokio::time::sleep(RELEASED).await;
        let flow = granted(&engine, index, "a", 80).await;
        let refused = engine.reserve(request(index, "b", 1)).await;
        assert_eq!(reason(&refused), Some(Reason::InterfaceBudget));
        drop(flow);
        tokio::time::sleep(RELEASED).await;
        let expected = [
            ("flow_released", "early"),
            ("flow_admitted", "a"),
            ("flow_refused", "b"),
            ("flow_released", "a"),
        ];
        assert_eq!(flow_events(&mut events), expected.map(|(event, id)| (event.to_owned(), id.to_owned())));
        assert_eq!(events.dropped(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_removes_every_tree_but_that_of_an_interface_that_hangs() {
    let (kernel, engine) = start(POLICY).await;
    let one = granted(&engine, 1, "one", 10).await;
    let two = granted(&engine, 2, "two", 10).await;
    kernel.hang(1);
    let hanging = engine.reserve(request(1, "hanging", 10));
    let (hanging, ()) = tokio::join!(hanging, async {
        settle().await;
        engine.stop().await;
    });
    assert!(
        hanging.is_ok_and(|granted| granted.admitted.class.is_some()),
        "it is answered without the kernel"
    );
    let removed = |index| kernel.count(index, |op| matches!(op, Op::DeleteRoot(_)));
    assert_eq!((removed(1), removed(2)), (0, 1));
    // A stopped engine says so, and takes releases without harm.
    drop((one, two));
    assert!(matches!(engine.report().await, Err(EngineError::Stopped)));
    assert!(matches!(engine.reserve(request(3, "late", 1)).await, Err(EngineError::Stopped)));
    engine.stop().await;
}

const OWNERS: &str = r#"
version = 1
[interface.eth3]
egress = { capacity = "100 Mbit/s", reservable = "80%" }
enforcement = "user-space"
[class.web]
match = { uid = [33] }
[class.other]
match = { uid = [34] }
"#;

#[tokio::test(start_paused = true)]
async fn credentials_are_those_of_the_request() {
    let (_kernel, engine) = start(OWNERS).await;
    let web = |owner| {
        let ReservationRequest { ask, subject, .. } = request(3, "web", 1);
        ReservationRequest { owner, ..ReservationRequest::new(ask.class("web"), subject) }
    };
    let owner = |uid| Some(Owner { uid: Some(uid), ..Owner::default() });
    assert!(engine.reserve(web(owner(33))).await.is_ok());
    assert_eq!(reason(&engine.reserve(web(owner(34))).await), Some(Reason::ClassOwner));
    // Without any, they are this process's.
    assert_eq!(reason(&engine.reserve(web(None)).await), Some(Reason::ClassOwner));
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_empty_id_is_replaced_by_one_that_the_engine_chooses() {
    let (_kernel, engine) = start(POLICY).await;
    let unnamed = granted(&engine, 3, "", 1).await;
    assert_eq!(unnamed.decision.id(), Some("flow-1"));
    assert_eq!(granted(&engine, 3, "", 1).await.decision.id(), Some("flow-2"));
    engine.stop().await;
}

/// Callers on several threads, on all kinds of interfaces at once: for the thread sanitizer too.
#[test]
fn callers_on_many_threads_keep_the_order_of_each_interface() {
    const FLOWS: usize = 200;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(async {
        let (kernel, engine) = start(POLICY).await;
        let mut callers = Vec::new();
        for caller in 0..6_u8 {
            let engine = Arc::clone(&engine);
            callers.push(tokio::spawn(async move {
                let index = 1 + caller % 3;
                let mut held = Vec::new();
                for number in 0..FLOWS {
                    let id = format!("{caller}-{number}");
                    let answered = engine.reserve(request(index, &id, 10)).await;
                    match answered {
                        Ok(granted) => {
                            granted.reservation.connected();
                            granted.reservation.state().on_loss(|_| {});
                            held.push(granted);
                        }
                        Err(EngineError::Refused(_)) => held.clear(),
                        Err(error) => panic!("{id}: {error}"),
                    }
                    if number % 50 == 0 {
                        engine.report().await.unwrap();
                    }
                }
            }));
        }
        for caller in callers {
            caller.await.unwrap();
        }
        for interface in ["eth1", "eth2", "eth3"] {
            let mut left = 500;
            while reserved(&engine, interface).await > Rate::ZERO {
                assert!(left > 0, "{interface} still has reservations after 5 s");
                left -= 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        assert_eq!(kernel.calls().most, 1, "an interface has one call at a time, reports aside");
        for index in [1, 2] {
            let (added, deleted) = (
                kernel.count(index, |op| matches!(op, Op::AddClass(_))),
                kernel.count(index, |op| matches!(op, Op::DeleteClass(_))),
            );
            assert_eq!(added, deleted + 2, "every flow's class is removed, and the trunk's stay");
        }
        engine.stop().await;
    });
}

/// Runs an engine with a flow on a runtime that ends without a stop of the engine.
fn end_early(name: &str, end: impl FnOnce(tokio::runtime::Runtime, Arc<LocalEngine>, Granted)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (kernel, engine, held) = runtime.block_on(async {
        let (kernel, engine) = start(POLICY).await;
        let held = granted(&engine, 1, "held", 10).await;
        (kernel, engine, held)
    });
    assert_eq!(kernel.count(1, |op| matches!(op, Op::DeleteRoot(_))), 0, "{name}");
    end(runtime, engine, held);
    assert_eq!(kernel.count(1, |op| matches!(op, Op::DeleteRoot(_))), 1, "{name}: its tree is removed");
}

#[test]
fn what_was_programmed_is_removed_however_the_runtime_ends() {
    end_early("the runtime first", |runtime, engine, held| {
        drop(runtime);
        let after = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let refused = after.block_on(engine.submit(Operation::Tick));
        assert!(matches!(refused, Err(EngineError::Stopped)), "{refused:?}");
        drop((engine, held));
    });
    end_early("the handles first", |runtime, engine, held| {
        drop((engine, held));
        drop(runtime);
    });
    end_early("in the background", |runtime, engine, held| {
        runtime.shutdown_background();
        drop((engine, held));
    });
    end_early("by a panic", |runtime, engine, held| {
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _held = (runtime, engine, held);
            panic!("the program fails");
        }));
        assert!(panicked.is_err());
    });
    end_early("by a stop", |runtime, engine, held| {
        runtime.block_on(engine.stop());
        drop((runtime, engine, held));
    });
}

/// The tokens that a flow starts without, after one of its class lost its reservation while 16,000 bytes were missing from
/// its bucket.
async fn owed_after(index: u8, lose: impl AsyncFnOnce(&LocalEngine) -> Granted) -> Bytes {
    let (_, engine) = start(&format!("preemption = true{POLICY}")).await;
    let mut first = request(index, "v1", 1);
    first.ask.time_to_live = Some(Duration::from_secs(1));
    let mut held = engine.reserve(first).await.unwrap();
    let missing = Both { sending: Some(Bytes::new(16_000)), receiving: None };
    held.reservation.metered(move || Usage { missing, sent: Bytes::new(16_000) });
    held.reservation.connected();
    let next = lose(&engine).await;
    settle().await;
    assert!(held.reservation.state().lost().is_some());
    next.admitted.owed.sending
}

#[tokio::test(start_paused = true)]
async fn the_bucket_of_a_flow_that_loses_its_reservation_is_read() {
    for index in [1, 3] {
        let expired = owed_after(index, async |engine| {
            tokio::time::sleep(Duration::from_millis(1001)).await;
            settle().await;
            granted(engine, index, "v2", 10).await
        });
        let expired = expired.await;
        assert!(expired > Bytes::new(15_500), "eth{index}: {expired:?}");
        let preempted = owed_after(index, async |engine| {
            let mut important = request(index, "v2", 80);
            important.ask.setup_priority = Some(0);
            engine.reserve(important).await.unwrap()
        });
        let preempted = preempted.await;
        assert!(preempted > Bytes::new(15_500), "eth{index}: {preempted:?}");
    }
}
