//! The manager with interfaces that share a wire: classes in the trees of parents, and preemption across interfaces.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::policy;
use flowspec::{Bytes, Flowspec, Moment, Qos, Rate};
use gqos::admission::{Decision, NewFlow, Operation, Request};
use gqos::failure::KernelFailure;
use gqos::manager::{ChangeId, Effect, FlowPhase, Input, Manager, Notice, RequestId, Root, Seen};
use gqos::tc::{DEFAULT_CLASS, LINK_CLASS, Op};
use gqos::telemetry::Event;

const POLICY: &str = r#"
version = 1
preemption = true
[interface.eth0]
egress = { capacity = "100 Mbit/s", reservable = "80%" }
[interface."eth0.10"]
egress = { capacity = "100 Mbit/s", reservable = "80%" }
PARENT
[class.urgent]
setup_priority = 1
holding_priority = 1
"#;

/// The interfaces by their numbers.
const NAMES: [(u32, &str); 2] = [(7, "eth0"), (9, "eth0.10")];

/// A change that the kernel has not answered.
struct Sent {
    id: ChangeId,
    interface: &'static str,
    operations: Vec<Op>,
}

/// A manager whose changes wait for the test's answers.
struct World {
    manager: Manager,
    now: u64,
    sent: Vec<Sent>,
    decisions: BTreeMap<u64, Decision>,
    lost: Vec<String>,
    /// The kernel's classes of flows.
    classes: BTreeSet<(&'static str, String)>,
    /// What was reported as sharing a wire without a `parent`.
    sharing: Vec<(String, String)>,
    requests: u64,
}

impl World {
    fn new(parent: &str) -> Self {
        let mut manager = Manager::new(policy(&POLICY.replace("PARENT", parent)));
        manager.record_events();
        let (sent, decisions, lost, classes, sharing) = Default::default();
        let mut world = Self { manager, now: 0, sent, decisions, lost, classes, sharing, requests: 0 };
        for (index, interface) in NAMES {
            world.see(index, interface);
        }
        world.answer_all();
        world
    }

    fn see(&mut self, index: u32, interface: &str) {
        let (mtu, root) = (Bytes::new(1500), Root::Default);
        self.feed(Input::Seen(Seen {
            interface: interface.into(),
            index,
            mtu,
            speed: None,
            shares_wire_with: NAMES
                .iter()
                .find(|(_, name)| interface.strip_suffix(".10") == Some(name))
                .map(|link| link.0),
            root,
        }));
    }

    fn feed(&mut self, input: Input) {
        self.now += 1;
        let output = self.manager.handle(input, Moment::from_micros(self.now));
        for effect in output.effects {
            match effect {
                Effect::Apply { id, index, change } => {
                    let interface = NAMES.iter().find(|(number, _)| *number == index).unwrap().1;
                    self.sent.push(Sent { id, interface, operations: change.ops });
                }
                Effect::Answer { id, answer } => {
                    self.decisions.insert(id.0, answer.decision);
                }
                Effect::Notify(Notice::Lost(lost)) => self.lost.push(lost.to_string()),
                _ => {}
            }
        }
        self.sharing.extend(output.events.into_iter().filter_map(|event| match event.event {
            Event::InterfaceSharesWire(shared) => Some((shared.interface, shared.with)),
            _ => None,
        }));
        self.manager.invariants();
        self.manager.ledger().invariants();
    }

    fn reserve(&mut self, id: &str, interface: &str, megabits: u64, class: Option<&str>) -> u64 {
        self.requests += 1;
        let qos = Qos::sending(Flowspec::guaranteed(Rate::from_mbit(megabits), Bytes::new(65_536)));
        let class = class.map(str::to_owned);
        let request = Request { class, ..Request::new(NewFlow { id, interface }, qos) };
        let operation = Box::new(Operation::Reserve(Box::new(request.into())));
        self.feed(Input::Request { id: RequestId(self.requests), operation });
        self.requests
    }

    fn answer(&mut self, result: Result<(), KernelFailure>) -> Sent {
        let sent = self.sent.remove(0);
        if result.is_ok() {
            for operation in &sent.operations {
                match operation {
                    Op::AddRoot(_) => self.classes.retain(|(interface, _)| *interface != sent.interface),
                    Op::AddClass(class) if class.parent == LINK_CLASS && class.handle != DEFAULT_CLASS => {
                        assert!(self.classes.insert((sent.interface, class.handle.to_string())), "{class:?}");
                    }
                    Op::DeleteClass(class) => {
                        assert!(
                            self.classes.remove(&(sent.interface, class.handle.to_string())),
                            "{class:?}"
                        );
                    }
                    _ => {}
                }
            }
        }
        self.feed(Input::Applied { id: sent.id, result });
        sent
    }

    /// Answers every change, and gives the operations with their interfaces.
    fn answer_all(&mut self) -> Vec<(&'static str, String)> {
        let mut operations = Vec::new();
        while !self.sent.is_empty() {
            let Sent { interface, operations: of_change, .. } = self.answer(Ok(()));
            operations.extend(of_change.iter().map(|operation| (interface, operation.to_string())));
        }
        operations
    }

    /// The numbers of the flows' classes in an interface's tree.
    fn leaves(&self, interface: &str) -> Vec<String> {
        let here = self.classes.iter().filter(|(name, _)| *name == interface);
        here.map(|(_, class)| class.clone()).collect()
    }

    #[track_caller]
    fn is_ok(&self, request: u64) -> bool {
        self.decisions[&request].is_ok()
    }
}

/// The operations of each interface, without what is below the classes.
fn classes(operations: &[(&'static str, String)]) -> Vec<(&'static str, String)> {
    let words = |operation: &String| operation.split(' ').take(4).collect::<Vec<_>>().join(" ");
    let of_classes = operations.iter().filter(|(_, operation)| operation.starts_with("class"));
    of_classes.map(|(interface, operation)| (*interface, words(operation))).collect()
}

#[test]
fn a_flow_has_a_class_of_the_same_number_in_the_tree_of_each_parent() {
    let mut world = World::new("parent = \"eth0\"");
    let request = world.reserve("v", "eth0.10", 6, None);
    let operations = world.answer_all();
    assert!(world.is_ok(request));
    let [class] = &world.leaves("eth0.10")[..] else { panic!("{operations:?}") };
    assert_eq!(world.leaves("eth0"), std::slice::from_ref(class), "{operations:?}");
    assert_eq!(operations.first().map(|(interface, _)| *interface), Some("eth0.10"), "its own first");
    let below = world.reserve("w", "eth0", 6, None);
    world.answer_all();
    assert!(world.is_ok(below));
    assert_eq!(world.leaves("eth0").len(), 2);
    assert_eq!(world.leaves("eth0.10"), std::slice::from_ref(class), "a parent's flow has no class above");
    world.feed(Input::Closed { id: "v".into() });
    let operations = world.answer_all();
    let deleted = format!("class del classid {class}");
    assert_eq!(classes(&operations), [("eth0.10", deleted.clone()), ("eth0", deleted)]);
    assert_eq!((world.leaves("eth0.10").len(), world.leaves("eth0").len()), (0, 1));
}

#[test]
fn links_on_one_wire_are_reported_where_the_policy_names_no_parent() {
    let shared = [("eth0.10".to_owned(), "eth0".to_owned())];
    assert_eq!(World::new("").sharing, shared);
    let below = |world: &World| world.manager.status("eth0.10").unwrap().shares_wire_with;
    assert_eq!(below(&World::new("")).as_deref(), Some("eth0"));
    let mut related = World::new("parent = \"eth0\"");
    assert_eq!(below(&related), None);
    assert_eq!(related.sharing, []);
    // The one below is made again, and found after the one above.
    let mut world = World::new("");
    world.feed(Input::Gone { interface: "eth0".into() });
    world.sharing.clear();
    world.see(7, "eth0");
    assert_eq!(world.sharing, shared);
    // What has not changed is not reported again.
    for world in [&mut world, &mut related] {
        world.sharing.clear();
        world.see(9, "eth0.10");
        assert_eq!(world.sharing, []);
    }
}

#[test]
fn a_parent_that_returns_has_the_classes_of_the_flows_that_it_carries() {
    let mut world = World::new("parent = \"eth0\"");
    world.reserve("v", "eth0.10", 6, None);
    world.answer_all();
    let before = world.leaves("eth0");
    world.feed(Input::Gone { interface: "eth0".into() });
    world.see(7, "eth0");
    world.answer_all();
    assert_eq!((world.leaves("eth0"), before.len()), (before, 1));
}

#[test]
fn a_reload_adds_and_removes_the_classes_in_the_parents_tree() {
    let mut world = World::new("");
    world.reserve("v", "eth0.10", 6, None);
    world.answer_all();
    assert_eq!(world.leaves("eth0").len(), 0);
    let with = |parent: &str| Input::Policy(policy(&POLICY.replace("PARENT", parent)));
    world.feed(with("parent = \"eth0\""));
    world.answer_all();
    assert_eq!(world.leaves("eth0"), world.leaves("eth0.10"));
    world.feed(with(""));
    let operations = world.answer_all();
    assert_eq!((world.leaves("eth0").len(), world.leaves("eth0.10").len()), (0, 1), "{operations:?}");
}

/// A flow of the child is preempted by one of the parent: two trees, and one change in the kernel is of one tree.
#[test]
fn a_flow_that_is_preempted_from_another_interface_keeps_its_class_until_the_kernel_has_agreed() {
    for refuses in [false, true] {
        let mut world = World::new("parent = \"eth0\"");
        world.reserve("v", "eth0.10", 60, None);
        world.answer_all();
        let request = world.reserve("live", "eth0", 60, Some("urgent"));
        assert_eq!(world.manager.phase("v"), Some(FlowPhase::Displaced));
        assert_eq!(world.leaves("eth0.10").len(), 1, "its class goes once the other one is there");
        let result = if refuses { Err(common::kernel::no_buffer()) } else { Ok(()) };
        world.answer(result);
        world.answer_all();
        // Under "auto" user space enforces a flow whose class the kernel refuses.
        assert!(world.is_ok(request));
        assert_eq!(world.lost.len(), 1, "{:?}", world.lost);
        assert_eq!(world.manager.phase("v"), None);
        assert_eq!(world.leaves("eth0.10").len(), 0);
    }
    let kernel = POLICY.replace("PARENT", "parent = \"eth0\"").replacen(
        "[interface.eth0]\n",
        "[interface.eth0]\nenforcement = \"kernel\"\n",
        1,
    );
    let mut world = World::new("");
    world.feed(Input::Policy(policy(&kernel)));
    world.reserve("v", "eth0.10", 60, None);
    world.answer_all();
    let request = world.reserve("live", "eth0", 60, Some("urgent"));
    world.answer(Err(common::kernel::no_buffer()));
    world.answer_all();
    assert!(!world.is_ok(request), "the kernel has refused it");
    assert_eq!((world.manager.phase("v"), world.lost.len()), (Some(FlowPhase::Provisional), 0));
    assert_eq!((world.leaves("eth0.10").len(), world.leaves("eth0").len()), (1, 1));
}
