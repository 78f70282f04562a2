//! What a request changes for other flows: preemption, shedding, groups and waiting; with a kernel that agrees, with
//! one that refuses, and beside a ledger without a kernel.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeMap;

use common::kernel::{TestKernel, no_buffer, seen};
use common::{PREEMPTION, policy};
use flowspec::{Bytes, Direction, Flowspec, Micros, Moment, Qos, Rate, Ratio, ServiceType};
use gqos::admission::{Decision, GroupRequest, Ladder, Ledger, NewFlow, Operation, Reason, Request};
use gqos::manager::{Input, Manager, RequestId, Root};
use gqos::policy::GroupMode;
use gqos::tc::Op;

/// A manager and its kernel, in virtual time.
struct World {
    manager: Manager,
    kernel: TestKernel,
    now: u64,
    /// The kernel's classes, with their rates.
    classes: BTreeMap<String, Rate>,
}

impl World {
    fn new(text: &str) -> Self {
        let manager = Manager::new(policy(text));
        let mut world = Self { manager, kernel: TestKernel::default(), now: 0, classes: BTreeMap::new() };
        assert!(world.feed(Input::Seen(seen(Root::Default)), 0).is_none());
        world.kernel.asked.clear();
        world
    }

    fn feed(&mut self, input: Input, now: u64) -> Option<Decision> {
        self.now = now;
        let answer = self.kernel.feed(&mut self.manager, input, Moment::from_micros(now));
        for op in std::mem::take(&mut self.kernel.done) {
            self.carry_out(&op);
        }
        answer.map(|answer| answer.decision)
    }

    fn carry_out(&mut self, op: &Op) {
        match op {
            Op::AddClass(class) => {
                assert_eq!(self.classes.insert(class.handle.to_string(), class.rate), None, "{op}");
            }
            Op::ChangeClass { to, .. } => {
                assert!(self.classes.insert(to.handle.to_string(), to.rate).is_some(), "{op}");
            }
            Op::DeleteClass(class) => {
                assert!(self.classes.remove(&class.handle.to_string()).is_some(), "{op}");
            }
            Op::AddRoot(_)
            | Op::DeleteRoot(_)
            | Op::AddQueue { .. }
            | Op::ChangeQueue { .. }
            | Op::DeleteQueue { .. } => {}
            other => panic!("an operation that this test does not know: {other}"),
        }
    }

    fn request(&mut self, operation: Operation) -> Decision {
        let input = Input::Request { id: RequestId(1), operation: Box::new(operation) };
        self.feed(input, self.now + 1).expect("an answer")
    }

    fn reserve(&mut self, id: &str, class: &str, megabits: u64) -> Decision {
        self.request(reserve(id, class, megabits).into_operation())
    }

    fn reserved(&self) -> Rate {
        self.manager.ledger().totals("eth0").unwrap().sending.reserved
    }

    fn commands(&mut self) -> Vec<String> {
        std::mem::take(&mut self.kernel.asked)
    }

    fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.kernel.told)
    }

    /// The kernel's classes of flows are those of the manager.
    #[track_caller]
    fn assert_in_line(&self) {
        let known: Vec<_> = self.manager.classes("eth0").keys().map(ToString::to_string).collect();
        let trunk = ["6771:1", "6771:2"];
        let kernel: Vec<_> =
            self.classes.keys().filter(|class| !trunk.contains(&class.as_str())).cloned().collect();
        assert_eq!(kernel, known);
    }
}

trait IntoOperation {
    fn into_operation(self) -> Operation;
}

impl IntoOperation for Request {
    fn into_operation(self) -> Operation {
        Operation::Reserve(Box::new(self.into()))
    }
}

fn qos(megabits: u64) -> Qos {
    Qos::sending(Flowspec::guaranteed(Rate::from_mbit(megabits), Bytes::new(65_536)))
}

fn reserve(id: &str, class: &str, megabits: u64) -> Request {
    Request { class: Some(class.into()), ..Request::new(NewFlow { id, interface: "eth0" }, qos(megabits)) }
}

fn capacity(megabits: u64) -> Operation {
    let capacity = Rate::from_mbit(megabits);
    Operation::Capacity { interface: "eth0".into(), direction: Direction::Sending, capacity }
}

#[test]
fn a_preempted_flow_loses_its_class_in_the_change_that_adds_the_preemptors() {
    let mut world = World::new(PREEMPTION);
    world.reserve("a", "viewer", 40);
    world.reserve("b", "viewer", 40);
    world.commands();
    let decision = world.reserve("live", "studio", 30);
    assert!(decision.is_ok() && decision.preempted() == ["b"], "{}", decision.message());
    let commands = world.commands();
    assert!(
        commands.len() == 2
            && commands[0].starts_with("class add")
            && commands[1] == "class del classid 6771:101",
        "{commands:?}"
    );
    assert_eq!(world.told(), ["eth0: b was preempted by live"]);
    assert_eq!(world.reserved(), Rate::from_mbit(70));
    world.assert_in_line();
    // Its owner closes it as always; that releases nothing of other flows.
    world.feed(Input::Closed { id: "b".into() }, 10);
    assert_eq!((world.reserved(), world.commands().len()), (Rate::from_mbit(70), 0));
}

/// The policy under which a flow is refused whose class the kernel refuses.
fn enforced_by_the_kernel() -> String {
    PREEMPTION.replace("\"auto\"", "\"kernel\"")
}

#[test]
fn no_flow_is_preempted_for_one_that_the_kernel_refuses() {
    let mut world = World::new(&enforced_by_the_kernel());
    world.reserve("a", "viewer", 40);
    world.reserve("b", "viewer", 40);
    for fails in ["class add", "class del"] {
        world.kernel.fails = Some(fails);
        let decision = world.reserve("live", "studio", 30);
        assert_eq!(decision.reason(), Some(Reason::TrafficControl), "{fails}");
        assert_eq!((world.reserved(), world.told()), (Rate::from_mbit(80), vec![]), "{fails}");
        world.kernel.fails = None;
        world.assert_in_line();
    }
    // Both are as they were: they can be renegotiated and preempted.
    let flowspecs = Box::new(qos(30).map(Some));
    assert!(world.request(Operation::Renegotiate { id: "b".into(), flowspecs }).is_ok());
    assert!(world.reserve("live", "studio", 11).is_ok());
    assert_eq!(world.told(), ["eth0: b was preempted by live"]);
    world.assert_in_line();
}

#[test]
fn a_link_that_carries_less_sheds_flows_and_its_trunk_follows() {
    let mut world = World::new(PREEMPTION);
    for id in ["a", "b"] {
        world.reserve(id, "viewer", 40);
    }
    world.commands();
    let decision = world.request(capacity(50));
    assert_eq!(decision.shed(), ["b"]);
    assert_eq!(world.told(), ["eth0: b was shed, since the link carries less than before"]);
    assert_eq!(world.classes["6771:1"], Rate::from_mbit(50).scale_down(Ratio::percent(99)));
    world.assert_in_line();
    // A link that is down: all flows are shed, and the trunk stays as it is.
    assert_eq!(world.request(capacity(0)).shed(), ["a"]);
    assert_eq!(world.classes["6771:1"], Rate::from_mbit(50).scale_down(Ratio::percent(99)));
    world.request(capacity(100));
    assert_eq!(world.classes["6771:1"], Rate::from_mbit(99));
    // The decision says that the kernel did not follow.
    world.kernel.fails = Some("class change");
    let decision = world.request(capacity(50));
    assert!(
        decision.is_ok() && decision.message().contains("the kernel keeps the rate it had"),
        "{}",
        decision.message()
    );
}

#[test]
fn a_waiting_flow_is_notified_of_capacity_and_a_withdrawn_one_is_not() {
    let mut world = World::new(PREEMPTION);
    world.reserve("a", "viewer", 80);
    for id in ["b", "c"] {
        let waits = Request { wait: true, ..reserve(id, "viewer", 60) };
        assert!(world.request(waits.into_operation()).is_waiting());
    }
    world.feed(Input::Closed { id: "b".into() }, 10);
    world.feed(Input::Closed { id: "a".into() }, 20);
    assert_eq!(world.told(), ["capacity for c"]);
}

#[test]
fn the_members_of_a_shared_group_have_one_class_as_large_as_the_largest() {
    let mut world = World::new(PREEMPTION);
    let group = |mode| {
        let (id, interface, class) = ("g".to_owned(), "eth0".to_owned(), Some("viewer".to_owned()));
        Operation::Group(Box::new(GroupRequest { id, interface, class, mode, qos: qos(40) }))
    };
    assert!(world.request(group(GroupMode::Shared)).is_ok());
    let member = |id: &str, megabits| Request { group: Some("g".into()), ..reserve(id, "viewer", megabits) };
    let first = world.request(member("a", 10).into_operation());
    assert!(first.enforced().unwrap().shared);
    let of = |world: &World| world.classes["6771:100"];
    let small = of(&world);
    assert!(world.request(member("b", 40).into_operation()).is_ok());
    assert!(of(&world) > small, "the larger member's");
    assert!(world.request(member("c", 40).into_operation()).is_ok());
    assert_eq!(world.manager.classes("eth0").len(), 1);
    assert_eq!(world.reserved(), Rate::from_mbit(40));
    for id in ["b", "c"] {
        assert!(world.request(Operation::Release { id: id.into() }).is_ok());
    }
    assert_eq!(of(&world), small);
    assert!(world.request(Operation::Release { id: "a".into() }).is_ok());
    world.assert_in_line();
    // Another flow may have the class then, for itself.
    world.reserve("alone", "viewer", 10);
    assert!(!world.reserve("other", "viewer", 10).enforced().unwrap().shared);
}

#[test]
fn the_class_of_an_expired_flow_is_deleted() {
    let mut world = World::new(PREEMPTION);
    let soft = Request { time_to_live: Some(Micros::new(1_000)), ..reserve("a", "viewer", 40) };
    assert!(world.request(soft.into_operation()).is_ok());
    world.feed(Input::Connected { id: "a".into() }, 5_000);
    assert_eq!(world.told(), ["eth0: the reservation of a has expired"]);
    world.assert_in_line();
    assert_eq!(world.reserved(), Rate::ZERO);
}

/// A group cannot be shed: there is one notice of it, and another when the budget is large enough again.
#[test]
fn a_link_that_carries_less_than_its_groups_reserve_is_overcommitted() {
    let mut world = World::new(PREEMPTION);
    let (id, interface) = ("g".to_owned(), "eth0".to_owned());
    let group = GroupRequest { id, interface, class: None, mode: GroupMode::Envelope, qos: qos(40) };
    assert!(world.request(Operation::Group(Box::new(group))).is_ok());
    world.reserve("a", "viewer", 40);
    world.request(capacity(40));
    assert_eq!(
        world.told(),
        ["eth0: a was shed, since the link carries less than before", "eth0 is overcommitted"]
    );
    world.request(capacity(45));
    assert_eq!(world.told(), [""; 0]);
    world.request(capacity(100));
    assert_eq!(world.told(), ["eth0 is not overcommitted"]);
}

/// A class that several members share is free once, however many of them end together.
#[test]
fn a_class_that_members_leave_together_goes_to_one_flow() {
    let mut world = World::new(PREEMPTION);
    let (id, interface, class) = ("g".to_owned(), "eth0".to_owned(), Some("viewer".to_owned()));
    let group = GroupRequest { id, interface, class, mode: GroupMode::Shared, qos: qos(10) };
    assert!(world.request(Operation::Group(Box::new(group))).is_ok());
    for (id, megabits) in [("a", 10), ("b", 5)] {
        let (group, time_to_live) = (Some("g".to_owned()), Some(Micros::new(100)));
        let member = Request { group, time_to_live, ..reserve(id, "viewer", megabits) };
        assert!(world.request(member.into_operation()).is_ok());
    }
    world.feed(Input::Connected { id: "a".into() }, 1_000);
    world.assert_in_line();
    // Each number is used once before the first is used again.
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..1_003 {
        let id = format!("v{number}");
        let rate = Request { qos: Qos::BEST_EFFORT, ..reserve(&id, "viewer", 1) };
        let mut spec = qos(1);
        spec.sending.token_rate = Some(Rate::new(1_000));
        let decision = world.request(Request { qos: spec, ..rate }.into_operation());
        assert!(decision.is_ok(), "{}", decision.message());
        let enforced = decision.enforced().cloned().unwrap();
        assert!(enforced.shared || seen.insert(enforced.class), "{number}");
    }
}

/// An operation of any kind on one of a few flows and groups.
fn operation(kind: u8, flow: u8, size: u8) -> Operation {
    let id = format!("v{}", flow % 12);
    let megabits = u64::from(size % 8) * 7 + 1;
    match kind % 12 {
        0..=3 => {
            let class = if flow.is_multiple_of(3) { "studio" } else { "viewer" };
            let mut request = reserve(&id, class, megabits);
            request.wait = size.is_multiple_of(5);
            request.time_to_live = size.is_multiple_of(7).then_some(Micros::new(40));
            request.group = flow.is_multiple_of(5).then(|| format!("g{}", flow % 2));
            let renditions = vec![("small".to_owned(), qos(megabits / 2 + 1))];
            Operation::Reserve(Box::new(Ladder { request, first: Some("large".into()), renditions }))
        }
        4 | 5 => Operation::Release { id },
        6 => Operation::Renegotiate { id, flowspecs: Box::new(qos(megabits).map(Some)) },
        7 => Operation::Refresh { id, time_to_live: Micros::new(50) },
        8 => Operation::Group(Box::new(GroupRequest {
            id: format!("g{}", flow % 2),
            interface: "eth0".into(),
            class: None,
            mode: if flow.is_multiple_of(2) { GroupMode::Envelope } else { GroupMode::Shared },
            qos: qos(megabits),
        })),
        9 => Operation::Ungroup { id: format!("g{}", flow % 2) },
        10 => capacity(40 + u64::from(size % 4) * 20),
        _ => Operation::Tick,
    }
}

proptest::proptest! {
    /// With a kernel that agrees, the manager's decisions are the ledger's, and the kernel's classes are those of the
    /// flows.
    #[test]
    fn decisions_are_the_same_with_and_without_a_kernel(
        steps in proptest::collection::vec((0u8..12, 0u8..=255, 0u8..=255), 1..120),
    ) {
        let mut world = World::new(PREEMPTION);
        let mut ledger = Ledger::new(policy(PREEMPTION));
        for (kind, flow, size) in steps {
            let operation = operation(kind, flow, size);
            let alone = ledger.decide(Moment::from_micros(world.now + 1), &operation).decision;
            let mut decision = serde_json::to_value(world.request(operation)).unwrap();
            // What enforces a flow is not the ledger's to say.
            decision.as_object_mut().unwrap().remove("enforced");
            proptest::prop_assert_eq!(decision, serde_json::to_value(alone).unwrap());
            world.assert_in_line();
        }
    }

    /// With a kernel that fails now and then, nothing is reserved once all flows and groups have ended.
    #[test]
    fn a_kernel_that_fails_leaks_no_reservation(
        steps in proptest::collection::vec((0u8..12, 0u8..=255, 0u8..=255, proptest::bool::weighted(0.3)), 1..120),
    ) {
        let mut world = World::new(&enforced_by_the_kernel());
        for (kind, flow, size, fails) in steps {
            world.kernel.fails = fails.then_some("class add");
            world.request(operation(kind, flow, size));
            world.assert_in_line();
        }
        world.kernel.fails = None;
        for flow in 0..12 {
            world.feed(Input::Closed { id: format!("v{flow}") }, world.now + 1);
        }
        for group in ["g0", "g1"] {
            world.request(Operation::Ungroup { id: group.into() });
        }
        proptest::prop_assert_eq!((world.reserved(), world.manager.ledger().flows()), (Rate::ZERO, 0));
        world.assert_in_line();
    }
}

/// A flow of 40 Mbit/s from moment 100 on.
fn ahead(world: &mut World, class: &str) -> Decision {
    let start = Some(Moment::from_micros(100));
    let request = Request { start, ..reserve("ahead", class, 40) };
    let decision = world.request(request.into_operation());
    assert!(decision.is_ok(), "{}", decision.message());
    assert_eq!((world.manager.class("ahead"), world.commands()), (None, vec![]), "it has no class yet");
    assert_eq!(world.manager.due(), Some(Moment::from_micros(100)));
    decision
}

/// Time passes until the flow that was reserved ahead is due.
fn until_due(world: &mut World) {
    world.now = 99;
    assert!(world.request(Operation::Tick).is_ok());
    world.assert_in_line();
}

#[test]
fn a_reservation_ahead_gets_its_class_when_it_begins() {
    for connected_first in [true, false] {
        let mut world = World::new(PREEMPTION);
        ahead(&mut world, "viewer");
        let connected = || Input::Connected { id: "ahead".into() };
        if connected_first {
            world.feed(connected(), 50);
        }
        // What is free until then can be used until then.
        let before = Request { end: Some(Moment::from_micros(100)), ..reserve("before", "viewer", 80) };
        assert!(world.request(before.into_operation()).is_ok());
        assert!(!world.reserve("meets it", "viewer", 60).is_ok());
        until_due(&mut world);
        assert_eq!(
            world.told(),
            ["eth0: the reservation of before has expired", "ahead begins with 6771:101"]
        );
        if !connected_first {
            world.feed(connected(), 101);
        }
        assert_eq!(world.manager.phase("ahead"), Some(gqos::manager::FlowPhase::Established));
        assert_eq!((world.reserved(), world.manager.due()), (Rate::from_mbit(40), None));
        world.feed(Input::Closed { id: "ahead".into() }, 102);
        assert_eq!(world.reserved(), Rate::ZERO);
        world.assert_in_line();
    }
}

#[test]
fn a_reservation_ahead_begins_in_user_space_where_the_kernel_refuses_its_class() {
    let mut world = World::new(PREEMPTION);
    ahead(&mut world, "viewer");
    world.kernel.fails = Some("class add");
    until_due(&mut world);
    assert_eq!(world.told(), ["ahead begins with no class"]);
    assert_eq!(world.reserved(), Rate::from_mbit(40), "the budget is its own all the same");
    world.kernel.fails = None;
    world.feed(Input::Closed { id: "ahead".into() }, 101);
    assert_eq!(world.reserved(), Rate::ZERO);
    assert!(world.reserve("next", "viewer", 80).is_ok());
    world.assert_in_line();
}

/// Where the policy wants the kernel to enforce, a refused class ends the reservation: its owner is notified, and what it
/// had is free.
#[test]
fn a_reservation_ahead_is_lost_where_only_the_kernel_may_enforce_it() {
    let mut world = World::new(&PREEMPTION.replace("\"auto\"", "\"kernel\""));
    ahead(&mut world, "viewer");
    world.feed(Input::Connected { id: "ahead".into() }, 50);
    world.kernel.fails = Some("class add");
    until_due(&mut world);
    let [told] = &world.told()[..] else { panic!("one notice") };
    assert!(told.starts_with("eth0: the reservation of ahead ended at its start"), "{told}");
    assert!(told.ends_with(&no_buffer().to_string()), "{told}");
    assert_eq!((world.reserved(), world.manager.phase("ahead")), (Rate::ZERO, None));
    world.kernel.fails = None;
    assert!(world.reserve("next", "viewer", 80).is_ok());
    world.assert_in_line();

    // The tree is gone by then.
    let mut world = World::new(&PREEMPTION.replace("\"auto\"", "\"kernel\""));
    ahead(&mut world, "viewer");
    world.feed(Input::Gone { interface: "eth0".into() }, 50);
    assert_eq!(world.told(), ["eth0: the reservation of ahead was released, since the interface is gone"]);
    until_due(&mut world);
    assert_eq!((world.told(), world.reserved()), (vec![], Rate::ZERO));
}

#[test]
fn a_reservation_ahead_that_ends_before_it_begins_never_has_a_class() {
    let mut world = World::new(PREEMPTION);
    ahead(&mut world, "viewer");
    world.feed(Input::Closed { id: "ahead".into() }, 50);
    assert_eq!(world.manager.due(), None);
    until_due(&mut world);
    assert_eq!((world.told(), world.commands()), (vec![], vec![]), "closed");
    let mut world = World::new(PREEMPTION);
    ahead(&mut world, "viewer");
    assert_eq!(world.reserve("live", "studio", 60).preempted(), ["ahead"]);
    assert_eq!(world.told(), ["eth0: ahead was preempted by live"]);
    assert_eq!(world.manager.due(), None);
    // The flow that would have preempted it is refused by the kernel, and it begins after all.
    let mut world = World::new(&PREEMPTION.replace("\"auto\"", "\"kernel\""));
    ahead(&mut world, "viewer");
    world.kernel.fails = Some("class add");
    assert!(!world.reserve("live", "studio", 60).is_ok());
    world.kernel.fails = None;
    until_due(&mut world);
    assert_eq!(world.told(), ["ahead begins with 6771:101"]);
}

/// The class in which the ledger counts a flow, wherever it comes from, is the one that is measured and that owes tokens.
#[test]
fn a_flow_without_a_class_in_its_request_is_measured_in_the_class_that_it_gets() {
    let text = "version = 1\n[interface.eth0]\negress = { capacity = \"100 Mbit/s\" }\n[class.load]\nadmission = \"measured\"\nmatch = { uid = 33 }\n[class.shared]\nadmission = \"measured\"\n[group.g]\ninterface = \"eth0\"\nclass = \"shared\"\nsending = { service_type = \"controlled_load\", token_rate = \"8 Mbit/s\" }\n";
    let mut world = World::new(text);
    let mut sending = Flowspec::guaranteed(Rate::from_mbit(1), Bytes::new(1500));
    sending.service_type = ServiceType::ControlledLoad;
    let qos = Qos::sending(sending);
    let mut by_owner = Request::new(NewFlow { id: "owner", interface: "eth0" }, qos);
    by_owner.owner.uid = Some(33);
    let mut of_group = Request::new(NewFlow { id: "member", interface: "eth0" }, qos);
    of_group.group = Some("g".into());
    let mut without = Request::new(NewFlow { id: "other", interface: "eth0" }, qos);
    without.owner.uid = Some(34);
    for request in [by_owner, of_group, without] {
        let decision = world.request(Operation::Reserve(Box::new(request.into())));
        assert!(decision.is_ok(), "{}", decision.message());
    }
    let classes: Vec<_> = world.manager.measured("eth0").into_keys().collect();
    assert_eq!(classes, ["load", "shared"]);
    let class = world.manager.measured_class("owner").map(|(_, class, _)| class);
    assert_eq!((class.as_deref(), world.manager.measured_class("other")), (Some("load"), None));
    let of_kernel = world.manager.classes("eth0").into_values();
    let of_kernel: Vec<_> = of_kernel.map(|flows| (flows.one, flows.policy_class)).collect();
    assert!(of_kernel.contains(&("owner".into(), Some("load".into()))), "{of_kernel:?}");
}
