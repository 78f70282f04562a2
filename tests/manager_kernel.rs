//! The manager with a kernel that answers late and refuses at random: ledger, tree and events agree at each step.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use common::{PREEMPTION, policy};
use flowspec::{Both, Bytes, Direction, Errno, Flowspec, Micros, Moment, Qos, Rate};
use gqos::admission::{Decision, GroupRequest, NewFlow, Operation, Request};
use gqos::failure::{Cause, KernelFailure};
use gqos::manager::{ChangeId, Effect, FlowPhase, Input, Manager, Notice, RequestId, Root, Seen};
use gqos::policy::GroupMode;
use gqos::tc::{Change, Op, flow_number};
use gqos::telemetry::{Counters, Event, ReservedRates};

/// The kernel's answer to a change.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Done,
    /// The operation with this number fails, those before it are rolled back.
    FailsAt(usize),
    /// The process has lost CAP_NET_ADMIN.
    Forbidden,
}

/// A manager, a kernel that keeps changes until it is told to answer, and the sums of all events.
struct World {
    manager: Manager,
    now: u64,
    requests: u64,
    changes: VecDeque<(ChangeId, Change)>,
    /// The kernel's classes of flows, with their rates.
    kernel: BTreeMap<String, Rate>,
    /// Classes that the kernel would not delete.
    undeleted: BTreeSet<String>,
    /// How many changes of a class have failed one after another. After two, what puts the class right has failed as
    /// well: it is not as the manager knows it until the tree is compared and repaired.
    failed: BTreeMap<String, u32>,
    answered: Vec<(RequestId, Decision)>,
    lost: Vec<String>,
    reserved: ReservedRates,
    counters: Counters,
    events: Vec<&'static str>,
}

impl World {
    fn new() -> Self {
        // A refusal of the kernel refuses the flow.
        Self::under(&PREEMPTION.replace("\"auto\"", "\"kernel\""))
    }

    fn under(text: &str) -> Self {
        let mut manager = Manager::new(policy(text));
        manager.record_events();
        let mut world = Self {
            manager,
            now: 0,
            requests: 0,
            changes: VecDeque::new(),
            kernel: BTreeMap::new(),
            undeleted: BTreeSet::new(),
            failed: BTreeMap::new(),
            answered: vec![],
            lost: vec![],
            reserved: ReservedRates::default(),
            counters: Counters::default(),
            events: vec![],
        };
        let (mtu, root) = (Bytes::new(1500), Root::Default);
        world.feed(Input::Seen(Seen {
            interface: "eth0".into(),
            index: 7,
            mtu,
            speed: None,
            shares_wire_with: None,
            root,
        }));
        world.answer(Answer::Done);
        world
    }

    fn feed(&mut self, input: Input) {
        self.now += 1;
        let output = self.manager.handle(input, Moment::from_micros(self.now));
        self.manager.invariants();
        for effect in output.effects {
            match effect {
                Effect::Apply { id, change, .. } => self.changes.push_back((id, change)),
                Effect::Answer { id, answer } => self.answered.push((id, answer.decision)),
                Effect::Notify(Notice::Lost(lost)) => self.lost.push(lost.id),
                Effect::Notify(_) => {}
                other => panic!("an effect that this test does not know: {other:?}"),
            }
        }
        let before = numbers(&self.counters);
        for recorded in output.events {
            assert_eq!(recorded.at, Moment::from_micros(self.now));
            self.reserved.record(&recorded.event);
            self.counters.record(&recorded.event);
            self.events.push(name(&recorded.event));
        }
        let after = numbers(&self.counters);
        assert!(before.iter().all(|(counter, count)| after[counter] >= *count), "counters never fall");
    }

    fn request(&mut self, operation: Operation) -> RequestId {
        self.requests += 1;
        let id = RequestId(self.requests);
        self.feed(Input::Request { id, operation: Box::new(operation) });
        id
    }

    /// Answers the oldest change.
    fn answer(&mut self, answer: Answer) {
        let Some((id, change)) = self.changes.pop_front() else { return };
        let mut done = Vec::new();
        let mut fails = false;
        for (number, op) in change.ops.iter().enumerate() {
            let refused = match answer {
                Answer::Done => false,
                Answer::FailsAt(at) => at == number,
                Answer::Forbidden => true,
            };
            fails = refused || !self.carry_out(op);
            if fails {
                break;
            }
            done.push(*op);
        }
        let mut result = Ok(());
        if !fails {
            for class in change.ops.iter().filter_map(set_class) {
                self.failed.remove(&class);
            }
        } else {
            for op in done.iter().rev().filter_map(Op::undo) {
                assert!(self.carry_out(&op), "{op} undoes what was done");
            }
            let deleted = change.ops.iter().filter_map(|op| match op {
                Op::DeleteClass(class) if change.ops.len() == 1 => Some(class.handle.to_string()),
                _ => None,
            });
            self.undeleted.extend(deleted);
            for class in change.ops.iter().filter_map(set_class) {
                *self.failed.entry(class).or_default() += 1;
            }
            let errno = if matches!(answer, Answer::Forbidden) { Errno::EPERM } else { Errno::ENOBUFS };
            let cause = Cause::Errno { errno, extended_ack: None };
            result = Err(KernelFailure { call: "RTM_NEWTCLASS".into(), object: "index 7".into(), cause });
        }
        self.feed(Input::Applied { id, result });
    }

    fn carry_out(&mut self, op: &Op) -> bool {
        let flows = |handle| flow_number(handle).is_some();
        match op {
            Op::AddClass(class) if flows(class.handle) => {
                self.kernel.insert(class.handle.to_string(), class.rate).is_none()
            }
            Op::ChangeClass { to, .. } if flows(to.handle) => {
                match self.kernel.get_mut(&to.handle.to_string()) {
                    None => false,
                    Some(rate) => {
                        *rate = to.rate;
                        true
                    }
                }
            }
            Op::DeleteClass(class) if flows(class.handle) => {
                self.kernel.remove(&class.handle.to_string()).is_some()
            }
            _ => true,
        }
    }

    fn answer_all(&mut self) {
        while !self.changes.is_empty() {
            self.answer(Answer::Done);
        }
    }

    fn in_ledger(&self) -> Rate {
        self.manager.ledger().totals("eth0").unwrap().sending.reserved
    }

    fn decision(&self, id: RequestId) -> Option<&Decision> {
        self.answered.iter().find(|(answered, _)| *answered == id).map(|(_, decision)| decision)
    }

    /// With nothing pending: the ledger, the kernel's classes and the events agree.
    #[track_caller]
    fn assert_agreement(&self) {
        assert!(self.changes.is_empty());
        let ledger = self.manager.ledger();
        let totals = ledger.totals("eth0").unwrap().map(|totals| totals.reserved);
        assert_eq!(self.reserved.on("eth0"), totals, "the sum of the events, and the ledger");
        assert_eq!(self.counters.flows(), ledger.flows() as u64, "admitted less ended");
        let is_sure = |class: &String| self.failed.get(class).is_none_or(|&times| times < 2);
        let known =
            self.manager.classes("eth0").into_iter().map(|(handle, flows)| (handle.to_string(), flows.one));
        let known: BTreeMap<_, _> = known.filter(|(class, _)| is_sure(class)).collect();
        let kernel = self.kernel.keys().filter(|class| is_sure(class) && !self.undeleted.contains(*class));
        assert!(kernel.eq(known.keys()), "the kernel's classes {:?}, and the flows' {known:?}", self.kernel);
        for (handle, id) in known {
            let held = ledger.holding_of(&id).unwrap();
            let (rate, charged) = (self.kernel[&handle], held.charged.sending);
            if held.group.is_none() {
                let framed = rate >= charged && rate.get() <= charged.get() * 3 / 2;
                assert!(framed, "{id}: the kernel has {rate}, the ledger {charged}");
            }
        }
    }
}

/// The class that an operation adds or changes, if it is a flow's.
fn set_class(op: &Op) -> Option<String> {
    match op {
        Op::AddClass(class) | Op::ChangeClass { to: class, .. } => {
            flow_number(class.handle).map(|_| class.handle.to_string())
        }
        _ => None,
    }
}

fn numbers(counters: &Counters) -> BTreeMap<String, u64> {
    let serde_json::Value::Object(fields) = serde_json::to_value(counters).unwrap() else { panic!() };
    let sum = |value: &serde_json::Value| match value {
        serde_json::Value::Object(reasons) => reasons.values().filter_map(serde_json::Value::as_u64).sum(),
        number => number.as_u64().unwrap(),
    };
    fields.iter().map(|(name, value)| (name.clone(), sum(value))).collect()
}

fn name(event: &Event) -> &'static str {
    match event {
        Event::FlowAdmitted(_) => "admitted",
        Event::FlowRefused(_) => "refused",
        Event::FlowRenegotiated(_) => "renegotiated",
        Event::FlowReleased(_) => "released",
        Event::FlowPreempted(_) => "preempted",
        Event::FlowShed(_) => "shed",
        Event::FlowExpired(_) => "expired",
        Event::TreeApplied(_) => "applied",
        Event::TreeRolledBack(_) => "rolled back",
        _ => "other",
    }
}

fn qos(megabits: u64) -> Qos {
    Qos::sending(Flowspec::guaranteed(Rate::from_mbit(megabits), Bytes::new(65_536)))
}

fn reserve(id: &str, class: &str, megabits: u64) -> Operation {
    let request = Request {
        class: Some(class.into()),
        ..Request::new(NewFlow { id, interface: "eth0" }, qos(megabits))
    };
    Operation::Reserve(Box::new(request.into()))
}

fn renegotiate(id: &str, megabits: u64) -> Operation {
    Operation::Renegotiate { id: id.into(), flowspecs: Box::new(qos(megabits).map(Some)) }
}

/// The shrink of `a` is in the kernel's hands; whatever it frees must not be promised before the kernel agrees.
#[test]
fn a_smaller_reservation_frees_its_capacity_after_the_kernel_has_agreed() {
    for refuses in [false, true] {
        let mut world = World::new();
        world.request(reserve("a", "viewer", 60));
        world.answer_all();
        let shrink = world.request(renegotiate("a", 10));
        let early = world.request(reserve("b", "viewer", 40));
        assert_eq!(world.decision(early).unwrap().reason().unwrap().name(), "interface_budget");
        assert_eq!(world.in_ledger(), Rate::from_mbit(60), "the larger of both");
        world.answer(if refuses { Answer::FailsAt(0) } else { Answer::Done });
        assert_eq!(world.decision(shrink).unwrap().is_ok(), !refuses);
        let now = Rate::from_mbit(if refuses { 60 } else { 10 });
        assert_eq!(world.in_ledger(), now);
        world.assert_agreement();
        let late = world.request(reserve("b", "viewer", 40));
        world.answer_all();
        assert_eq!(world.decision(late).unwrap().is_ok(), !refuses);
        world.assert_agreement();
    }
}

#[test]
fn a_larger_reservation_is_taken_back_where_the_kernel_refuses() {
    let mut world = World::new();
    world.request(reserve("a", "viewer", 10));
    world.answer_all();
    let grow = world.request(renegotiate("a", 60));
    assert_eq!(world.in_ledger(), Rate::from_mbit(60));
    world.answer(Answer::FailsAt(0));
    assert_eq!(world.decision(grow).unwrap().reason().unwrap().name(), "traffic_control");
    assert_eq!(world.in_ledger(), Rate::from_mbit(10));
    world.assert_agreement();
}

/// The kernel answers about `b`'s other rate while `b` is preempted by a flow that it then refuses.
#[test]
fn a_renegotiation_of_a_flow_that_is_reinstated_takes_effect() {
    for refuses in [false, true] {
        let mut world = World::new();
        world.request(reserve("b", "viewer", 60));
        world.answer_all();
        let shrink = world.request(renegotiate("b", 30));
        let live = world.request(reserve("live", "studio", 60));
        assert_eq!(world.manager.phase("b"), Some(FlowPhase::Displaced));
        world.answer(if refuses { Answer::FailsAt(0) } else { Answer::Done });
        assert_eq!(world.decision(shrink), None, "it may be preempted yet");
        world.answer(Answer::FailsAt(1));
        world.answer_all();
        assert_eq!(world.decision(live).unwrap().reason().unwrap().name(), "traffic_control");
        assert_eq!(world.decision(shrink).unwrap().is_ok(), !refuses);
        assert_eq!(world.in_ledger(), Rate::from_mbit(if refuses { 60 } else { 30 }));
        world.assert_agreement();
    }
}

/// The ledger charges 29 Mbit/s of `a` when it is shed, and no event has told of more than 1 Mbit/s.
#[test]
fn a_flow_that_is_shed_while_its_rate_changes_is_recorded_with_the_rate_it_was_granted() {
    let mut world = World::new();
    world.request(reserve("a", "viewer", 1));
    world.answer_all();
    let grow = world.request(renegotiate("a", 29));
    let (interface, direction) = ("eth0".into(), Direction::Sending);
    world.request(Operation::Capacity { interface, direction, capacity: Rate::from_mbit(30) });
    world.answer_all();
    assert_eq!(world.lost, ["a"]);
    assert_eq!(world.decision(grow).unwrap().reason().unwrap().name(), "unknown_id");
    world.assert_agreement();
}

/// The process loses CAP_NET_ADMIN after the tree was programmed: flows are enforced in user space where the policy lets
/// them, and each decision says so.
#[test]
fn without_the_privilege_for_changes_user_space_enforces_alone() {
    let mut world = World::under(PREEMPTION);
    world.request(reserve("a", "viewer", 10));
    world.answer_all();
    world.events.clear();
    let first = world.request(reserve("b", "viewer", 10));
    world.answer(Answer::Forbidden);
    let lacking = |world: &World, id| {
        let decision = world.decision(id).unwrap();
        assert!(decision.is_ok(), "{}", decision.message());
        let enforced = decision.enforced().cloned().unwrap();
        assert!(enforced.class.is_none() && enforced.sending, "{enforced:?}");
        enforced.lacking_text().unwrap()
    };
    let text = "no class in the kernel: RTM_NEWTCLASS (index 7): Operation not permitted (EPERM)";
    assert_eq!(lacking(&world, first), text);
    assert_eq!(world.events, ["rolled back", "other", "admitted"], "the interface is left to user space");
    assert_eq!(world.in_ledger(), Rate::from_mbit(20));
    world.assert_agreement();
    // The kernel is not asked again, and another rate needs none of it.
    let second = world.request(reserve("c", "viewer", 10));
    assert!(world.changes.is_empty());
    assert_eq!(lacking(&world, second), text);
    let larger = world.request(renegotiate("c", 30));
    assert!(world.decision(larger).unwrap().is_ok() && world.changes.is_empty());
    // A flow that has a class keeps it, and its rate.
    let grow = world.request(renegotiate("a", 20));
    world.answer(Answer::Forbidden);
    assert_eq!(world.decision(grow).unwrap().reason().unwrap().name(), "traffic_control");
    assert_eq!(world.in_ledger(), Rate::from_mbit(50));
    // A flow that preempts others is admitted, and they have lost their reservations.
    let live = world.request(reserve("live", "studio", 70));
    world.answer(Answer::Forbidden);
    assert_eq!(lacking(&world, live), text);
    assert_eq!(world.lost, ["c", "b"], "those that had to, the least important first");
    for id in ["a", "live"] {
        world.feed(Input::Closed { id: id.into() });
        world.answer(Answer::Forbidden);
    }
    assert_eq!(world.in_ledger(), Rate::ZERO);
    assert_eq!(world.manager.ledger().flows(), 0);
}

#[test]
fn the_first_flow_without_the_privilege_may_preempt_and_share() {
    let mut world = World::under(PREEMPTION);
    world.request(reserve("a", "viewer", 60));
    world.answer_all();
    let live = world.request(reserve("live", "studio", 60));
    world.answer(Answer::Forbidden);
    assert!(world.decision(live).unwrap().is_ok());
    assert_eq!((world.lost.as_slice(), world.in_ledger()), (&["a".to_owned()][..], Rate::from_mbit(60)));
    assert!(world.manager.class("live").is_none());
}

#[test]
fn a_policy_that_wants_the_kernel_refuses_without_the_privilege() {
    let mut world = World::under(&PREEMPTION.replace("\"auto\"", "\"kernel\""));
    for id in ["a", "b"] {
        let refused = world.request(reserve(id, "viewer", 10));
        world.answer(Answer::Forbidden);
        let decision = world.decision(refused).unwrap();
        assert_eq!(decision.reason().unwrap().name(), "traffic_control");
        assert!(decision.message().contains("(EPERM)"), "{}", decision.message());
    }
    assert_eq!(world.in_ledger(), Rate::ZERO);
    world.assert_agreement();
}

/// A delay bound that was proven from the tree does not hold without it.
#[test]
fn a_proven_delay_bound_is_not_granted_without_the_privilege() {
    let bounded = PREEMPTION.replacen("100 Mbit/s", "1 Gbit/s", 1).replacen("80%", "50%", 1);
    let bounded = bounded.replacen("egress", "max_flows = 20\nbuffer = \"2 MB\"\negress", 1);
    let mut world = World::under(&bounded);
    let spec = |latency: u64| {
        let plain = Flowspec::guaranteed(Rate::from_mbit(6), Bytes::new(20_000));
        Qos::sending(Flowspec { latency: Some(Micros::new(latency)), ..plain })
    };
    let timely = |id: &str| {
        Operation::Reserve(Box::new(Request::new(NewFlow { id, interface: "eth0" }, spec(1_000_000)).into()))
    };
    let first = world.request(timely("a"));
    world.answer_all();
    assert!(world.decision(first).unwrap().is_ok(), "{}", world.decision(first).unwrap().message());
    let second = world.request(timely("b"));
    world.answer(Answer::Forbidden);
    assert_eq!(world.decision(second).unwrap().reason().unwrap().name(), "traffic_control");
    let third = world.request(timely("c"));
    assert_eq!(world.decision(third).unwrap().reason().unwrap().name(), "delay");
    let plain = world.request(reserve("d", "viewer", 10));
    assert!(world.decision(plain).unwrap().is_ok());
}

#[test]
fn a_flow_that_is_changed_or_released_is_in_progress_until_the_kernel_has_answered() {
    let mut world = World::new();
    let first = world.request(reserve("a", "viewer", 10));
    for operation in [reserve("a", "viewer", 10), renegotiate("a", 20), Operation::Release { id: "a".into() }]
    {
        let request = world.request(operation.clone());
        let reason = world.decision(request).unwrap().reason().unwrap().name();
        assert_eq!(reason, "in_progress", "{operation:?}");
    }
    world.answer_all();
    assert!(world.decision(first).unwrap().is_ok());
    world.assert_agreement();
}

#[test]
fn the_events_tell_of_each_fact_once_and_after_the_kernel() {
    let mut world = World::new();
    world.events.clear();
    world.request(reserve("a", "viewer", 60));
    assert!(world.events.is_empty(), "not before the kernel has answered");
    world.answer_all();
    assert_eq!(std::mem::take(&mut world.events), ["applied", "admitted"]);
    world.request(reserve("b", "viewer", 40));
    assert_eq!(std::mem::take(&mut world.events), ["refused"]);
    world.request(reserve("live", "studio", 30));
    world.answer(Answer::FailsAt(0));
    assert_eq!(std::mem::take(&mut world.events), ["rolled back", "refused"]);
    world.request(reserve("live", "studio", 30));
    world.answer_all();
    assert_eq!(std::mem::take(&mut world.events), ["applied", "preempted", "admitted"]);
    world.request(renegotiate("live", 20));
    world.answer_all();
    assert_eq!(std::mem::take(&mut world.events), ["applied", "renegotiated"]);
    world.feed(Input::Closed { id: "live".into() });
    world.answer_all();
    assert_eq!(std::mem::take(&mut world.events), ["applied", "released"]);
    world.assert_agreement();
}

#[test]
fn a_flow_that_has_ended_as_preempted_does_not_end_again_when_that_is_rolled_back() {
    let mut world = World::new();
    world.request(reserve("a", "viewer", 30));
    world.answer_all();
    world.request(renegotiate("a", 15));
    let mut brief = reserve("brief", "viewer", 30);
    let Operation::Reserve(ladder) = &mut brief else { panic!("a reservation") };
    ladder.request.time_to_live = Some(Micros::new(8));
    world.request(brief);
    let refused = world.request(reserve("live", "studio", 60));
    world.events.clear();
    world.answer(Answer::Done);
    world.answer(Answer::Done);
    let end = "preempted";
    assert_eq!(world.events.iter().filter(|event| **event == end).count(), 1, "{:?}", world.events);
    // Its time passes before the kernel has refused the flow that preempted it.
    for _ in 0..8 {
        world.request(Operation::Tick);
    }
    world.answer(Answer::FailsAt(0));
    assert_eq!(world.decision(refused).unwrap().reason().unwrap().name(), "traffic_control");
    world.answer_all();
    assert!(!world.events.contains(&"expired"), "{:?}", world.events);
    world.assert_agreement();
}

/// An operation of any kind on one of a few flows and groups.
fn operation(kind: u8, flow: u8, size: u8) -> Operation {
    let id = format!("v{}", flow % 8);
    let megabits = u64::from(size % 8) * 7 + 1;
    match kind {
        0..=3 => {
            let class = if flow.is_multiple_of(3) { "studio" } else { "viewer" };
            let mut request = Request {
                class: Some(class.into()),
                ..Request::new(NewFlow { id: &id, interface: "eth0" }, qos(megabits))
            };
            request.wait = size.is_multiple_of(5);
            request.time_to_live = size.is_multiple_of(7).then_some(Micros::new(12));
            request.group = flow.is_multiple_of(5).then(|| format!("g{}", flow % 2));
            Operation::Reserve(Box::new(request.into()))
        }
        4 | 5 => Operation::Release { id },
        6..=8 => Operation::Renegotiate { id, flowspecs: Box::new(qos(megabits).map(Some)) },
        9 => Operation::Group(Box::new(GroupRequest {
            id: format!("g{}", flow % 2),
            interface: "eth0".into(),
            class: None,
            mode: if flow.is_multiple_of(2) { GroupMode::Envelope } else { GroupMode::Shared },
            qos: qos(megabits),
        })),
        10 => Operation::Ungroup { id: format!("g{}", flow % 2) },
        11 => {
            let capacity = Rate::from_mbit(40 + u64::from(size % 4) * 20);
            Operation::Capacity { interface: "eth0".into(), direction: Direction::Sending, capacity }
        }
        _ => Operation::Tick,
    }
}

proptest::proptest! {
    /// Whatever the order of requests and of the kernel's answers: once nothing is pending, each request has one
    /// answer, and ledger, kernel and events agree.
    #[test]
    fn ledger_kernel_and_events_agree_whenever_nothing_is_pending(
        steps in proptest::collection::vec((0u8..20, 0u8..=255, 0u8..=255), 1..150),
    ) {
        let mut world = World::new();
        for (kind, flow, size) in steps {
            match kind {
                0..=12 => drop(world.request(operation(kind, flow, size))),
                13 => world.feed(Input::Closed { id: format!("v{}", flow % 8) }),
                14 => world.feed(Input::Connected { id: format!("v{}", flow % 8) }),
                15 => world.answer(Answer::FailsAt(usize::from(size % 3))),
                16 => {
                    world.answer_all();
                    world.assert_agreement();
                }
                17 => {
                    let missing = Both { sending: Some(Bytes::new(u64::from(size) * 1000)), receiving: None };
                    world.feed(Input::Spent { id: format!("v{}", flow % 8), missing });
                }
                _ => world.answer(Answer::Done),
            }
        }
        world.answer_all();
        world.assert_agreement();
        let mut answered: Vec<_> = world.answered.iter().map(|(id, _)| id.0).collect();
        answered.sort_unstable();
        proptest::prop_assert_eq!(answered, (1..=world.requests).collect::<Vec<_>>(), "one answer each");
    }
}
