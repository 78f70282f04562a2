//! The manager: every transition of a flow, and that a failure at any step releases everything the flow reserved.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;
mod numbers;

use common::kernel::{TestKernel, seen};
use common::policy;
use flowspec::{Both, Bytes, Errno, Flowspec, Micros, Moment, Qos, Rate};
use gqos::admission::{Decision, NewFlow, Operation, Reason, Request};
use gqos::failure::KernelCall;
use gqos::manager::{Admitted, FlowPhase, Input, Manager, RequestId, Root};
use gqos::tc::{self, Handle, HtbRoot, ObservedTree, ROOT_QDISC};

/// A manager and its kernel, in virtual time.
struct World {
    manager: Manager,
    kernel: TestKernel,
    now: u64,
    next: u64,
}

type Answered = Option<(Decision, Option<Admitted>)>;

impl World {
    fn new(enforcement: &str) -> Self {
        let text = format!(
            "version = 1\n[interface.eth0]\nenforcement = \"{enforcement}\"\negress = {{ capacity = \"100 Mbit/s\", reservable = \"80%\" }}\n[class.viewer]\n"
        );
        let manager = Manager::new(policy(&text));
        Self { manager, kernel: TestKernel::default(), now: 0, next: 1000 }
    }

    fn seen(enforcement: &str, root: Root) -> Self {
        let mut world = Self::new(enforcement);
        world.feed(Input::Seen(seen(root)));
        world
    }

    fn feed(&mut self, input: Input) -> Answered {
        self.now += 1;
        let answer = self.kernel.feed(&mut self.manager, input, Moment::from_micros(self.now))?;
        Some((answer.decision, answer.admitted))
    }

    fn request(&mut self, operation: Operation) -> Answered {
        self.next += 1;
        self.feed(Input::Request { id: RequestId(self.next), operation: Box::new(operation) })
    }

    fn reserve(&mut self, id: &str, megabits: u64) -> Answered {
        // Small flows have half a megabit.
        let rate = if megabits == 0 { Rate::new(62_500) } else { Rate::from_mbit(megabits) };
        let qos = Qos::sending(Flowspec::guaranteed(rate, Bytes::new(65_536)));
        let request = Request::new(NewFlow { id, interface: "eth0" }, qos);
        self.request(Operation::Reserve(Box::new(request.into())))
    }

    fn admitted(&mut self, id: &str, megabits: u64) -> Option<Handle> {
        let (decision, admitted) = self.reserve(id, megabits).unwrap();
        assert!(decision.is_ok(), "{}", decision.message());
        admitted.unwrap().class
    }

    fn refused(&mut self, id: &str, megabits: u64) -> Decision {
        let (decision, admitted) = self.reserve(id, megabits).unwrap();
        assert!(!decision.is_ok() && admitted.is_none());
        decision
    }

    fn close(&mut self, id: &str) {
        assert_eq!(self.feed(Input::Closed { id: id.into() }), None);
    }

    fn reserved(&self) -> Rate {
        self.manager.ledger().totals("eth0").unwrap().sending.reserved
    }

    /// The commands since the last call.
    fn commands(&mut self) -> Vec<String> {
        std::mem::take(&mut self.kernel.asked)
    }

    /// Nothing is reserved, and no flow has a class.
    #[track_caller]
    fn assert_clean(&self, name: &str) {
        assert_eq!((self.reserved(), self.manager.ledger().flows()), (Rate::ZERO, 0), "{name}");
        assert!(self.manager.classes("eth0").is_empty(), "{name}");
    }
}

#[test]
fn a_flow_is_provisional_until_kernel_and_peer_have_answered() {
    let mut world = World::seen("auto", Root::Default);
    assert_eq!(world.commands().len(), 4, "root, link, default and its queue");
    world.kernel.held = Some(vec![]);
    assert_eq!(world.reserve("v1", 6), None, "the kernel has not answered");
    assert_eq!(world.manager.phase("v1"), Some(FlowPhase::Applying));
    assert_eq!(world.reserved(), Rate::from_mbit(6), "and no other flow gets it meanwhile");
    let id = world.kernel.held.take().unwrap()[0];
    let (decision, admitted) = world.feed(Input::Applied { id, result: Ok(()) }).unwrap();
    assert_eq!(admitted.unwrap().class.unwrap().to_string(), "6771:100");
    assert_eq!(decision.enforced().cloned().unwrap().class.unwrap().to_string(), "6771:100 dev eth0");
    assert_eq!(world.manager.phase("v1"), Some(FlowPhase::Provisional));
    world.feed(Input::Connected { id: "v1".into() });
    assert_eq!(world.manager.phase("v1"), Some(FlowPhase::Established));
    world.commands();
    world.close("v1");
    assert_eq!(world.commands(), ["class del classid 6771:100"]);
    world.assert_clean("after the end");
    assert_eq!(world.kernel.ended.len(), 1);
}

#[test]
fn a_kernel_failure_after_admission_releases_everything() {
    let mut world = World::seen("kernel", Root::Default);
    world.kernel.fails = Some("class add");
    let decision = world.refused("v1", 6);
    assert_eq!((decision.code(), decision.reason()), (10045, Some(Reason::TrafficControl)));
    assert!(decision.message().contains("No buffer space"), "{}", decision.message());
    world.assert_clean("after the failure");
    world.kernel.fails = None;
    assert!(world.admitted("v1", 80).is_some(), "all of the budget is there");
    world.close("v1");
    world.assert_clean("and again");
}

#[test]
fn a_flow_whose_class_the_kernel_refuses_is_admitted_where_user_space_may_enforce_it() {
    let mut world = World::seen("auto", Root::Default);
    world.kernel.fails = Some("class add");
    let (decision, admitted) = world.reserve("v1", 6).unwrap();
    assert!(
        admitted.is_some_and(|admitted| admitted.class.is_some()),
        "it has its class once the tree is repaired"
    );
    let enforced = decision.enforced().cloned().unwrap();
    assert_eq!(enforced.class, None);
    assert!(enforced.lacking_text().unwrap().contains("No buffer space"), "{enforced:?}");
    assert!(world.manager.is_in_doubt("eth0"));
    world.kernel.fails = None;
    world.commands();
    let observed = Box::new(ObservedTree::new(tc::ObservedRoot::Default, [], []));
    world.feed(Input::Observed { interface: "eth0".into(), observed });
    let repair = world.commands();
    assert_eq!(repair.len(), 5, "the root and the trunk, and the flow's class: {repair:?}");
    assert!(repair[4].starts_with("class add parent 6771:1 classid 6771:100"), "{repair:?}");
    assert!(!world.manager.is_in_doubt("eth0"));
    let (decision, _) = world.reserve("v2", 6).unwrap();
    assert_eq!(decision.enforced().unwrap().lacking, []);
    world.close("v1");
    world.close("v2");
    world.assert_clean("after both");
}

#[test]
fn flows_of_a_deleted_interface_are_released_and_notified() {
    let mut world = World::seen("auto", Root::Default);
    world.admitted("v1", 60);
    world.kernel.held = Some(vec![]);
    assert_eq!(world.reserve("v2", 20), None, "the kernel has not answered");
    world.feed(Input::Gone { interface: "eth0".into() });
    world.feed(Input::Gone { interface: "eth0".into() });
    assert_eq!(world.reserved(), Rate::ZERO);
    let id = world.kernel.held.take().unwrap()[0];
    let failure = KernelCall("RTM_NEWTCLASS").failed("6771:101", Errno::ENODEV);
    world.feed(Input::Applied { id, result: Err(failure) });
    world.manager.invariants();
    assert!(!world.manager.knows("eth0"));
    world.commands();
    world.feed(Input::Seen(seen(Root::Default)));
    assert_eq!(world.commands().len(), 4, "the link that returns has a tree");
    assert_eq!(world.manager.index("eth0"), Some(7));
    assert!(world.admitted("v3", 80).is_some());
    world.close("v3");
    world.assert_clean("after the return");
}

/// A flow of 6 Mbit/s has ended, and owes 30,000 of the 65,536 bytes of its bucket.
fn indebted(enforcement: &str) -> World {
    let mut world = World::seen(enforcement, Root::Default);
    world.admitted("v1", 6);
    world.feed(Input::Connected { id: "v1".into() });
    let missing = Both { sending: Some(Bytes::new(30_000)), receiving: None };
    world.feed(Input::Spent { id: "v1".into(), missing });
    world.close("v1");
    world.commands();
    world
}

#[test]
fn a_class_starts_without_the_tokens_that_are_owed() {
    let mut world = indebted("auto");
    let (_, admitted) = world.reserve("v2", 6).unwrap();
    // Two microseconds at 750 kB/s have passed since then, rounded up.
    assert_eq!(admitted.unwrap().owed, Both { sending: Bytes::new(29_999), receiving: Bytes::ZERO });
    let class = |verb: &str, burst: u64| {
        format!(
            "class {verb} parent 6771:1 classid 6771:101 htb rate 7312504bit ceil 7312504bit burst {burst}b cburst {burst}b quantum 11425 prio 0"
        )
    };
    // With 78 bytes on the link for each 64: 79,872 of the bucket, less a packet of 1514, and 36,562 that are owed.
    assert_eq!(world.commands(), [class("add", 78_358 - 36_562), class("change", 78_358)]);
}

#[test]
fn a_class_that_cannot_be_changed_to_its_bucket_is_taken_back() {
    let mut world = indebted("kernel");
    world.kernel.fails = Some("class change");
    world.refused("v2", 6);
    assert_eq!(world.commands().len(), 2, "the kernel has undone both, and nothing is corrected");
    world.assert_clean("after the failure");
    world.kernel.fails = None;
    let (_, admitted) = world.reserve("v3", 6).unwrap();
    assert!(admitted.unwrap().owed.sending > Bytes::new(29_990), "the debt is still there");
}

#[test]
fn a_refused_and_a_timed_out_connection_release_everything() {
    for phase in ["provisional", "established"] {
        let mut world = World::seen("auto", Root::Default);
        world.admitted("v1", 80);
        if phase == "established" {
            world.feed(Input::Connected { id: "v1".into() });
        }
        world.close("v1");
        world.assert_clean(phase);
        world.close("v1");
        assert_eq!(world.kernel.ended.len(), 1, "{phase}: given back exactly once");
    }
}

#[test]
fn a_flow_whose_caller_gives_up_is_released_once_the_kernel_has_answered() {
    let mut world = World::seen("auto", Root::Default);
    world.kernel.held = Some(vec![]);
    world.reserve("v1", 6);
    world.close("v1");
    assert_eq!(world.reserved(), Rate::from_mbit(6), "not before the kernel has answered");
    let id = world.kernel.held.take().unwrap()[0];
    world.commands();
    world.feed(Input::Applied { id, result: Ok(()) });
    assert_eq!(world.commands(), ["class del classid 6771:100"]);
    world.assert_clean("at the end");
}

#[test]
fn the_budget_is_released_after_the_class_is_deleted_and_not_before() {
    let mut world = World::seen("auto", Root::Default);
    world.admitted("v1", 80);
    world.kernel.held = Some(vec![]);
    world.close("v1");
    assert_eq!(world.manager.phase("v1"), Some(FlowPhase::Releasing));
    assert_eq!(world.refused("v2", 1).reason(), Some(Reason::InterfaceBudget));
    world.close("v1");
    let changes = world.kernel.held.take().unwrap();
    assert_eq!(changes.len(), 1, "the kernel is asked once");
    world.feed(Input::Applied { id: changes[0], result: Ok(()) });
    world.assert_clean("at the end");
}

#[test]
fn a_class_that_cannot_be_deleted_is_not_used_again_and_its_budget_is() {
    let mut world = World::seen("auto", Root::Default);
    world.admitted("v1", 80);
    world.kernel.fails = Some("class del");
    world.close("v1");
    world.assert_clean("the flow is gone");
    world.kernel.fails = None;
    assert_eq!(world.admitted("v2", 80).unwrap().to_string(), "6771:101");
}

#[test]
fn the_root_qdisc_decides_whether_a_tree_is_programmed() {
    let foreign = || Root::Foreign { kind: "htb".into(), handle: Handle::qdisc(1) };
    for (enforcement, root, class, lacking) in [
        ("auto", Root::Default, true, None),
        ("auto", foreign(), false, Some("left alone")),
        ("auto", Root::Vrf, false, Some("it is a VRF")),
        ("user-space", Root::Default, false, Some("user-space")),
        ("kernel", Root::Default, true, None),
    ] {
        let mut world = World::seen(enforcement, root.clone());
        let (decision, admitted) = world.reserve("v1", 6).unwrap();
        assert_eq!(admitted.unwrap().class.is_some(), class, "{enforcement} {root:?}");
        let told = decision.enforced().cloned().unwrap();
        assert!(told.sending, "user space always holds it");
        match lacking {
            None => assert_eq!(told.lacking, []),
            Some(word) => assert!(told.lacking_text().unwrap().contains(word), "{enforcement} {root:?}"),
        }
        world.close("v1");
        world.assert_clean(enforcement);
    }
    let mut world = World::seen("auto", Root::Taken { holder: "process 7, gqos demo".to_owned().into() });
    let refused = world.refused("v1", 6);
    assert_eq!(refused.reason(), Some(Reason::TrafficControl));
    assert!(
        refused.message().contains("another gqos manages the interface: process 7, gqos demo"),
        "{refused:?}"
    );
    world.assert_clean("refused for another manager");
    for root in [foreign(), Root::Vrf] {
        let mut world = World::seen("kernel", root);
        assert_eq!(world.refused("v1", 6).reason(), Some(Reason::TrafficControl));
        world.assert_clean("refused for lack of a tree");
        assert!(world.commands().is_empty(), "neither a foreign qdisc nor a VRF is touched");
    }
    let world = World::seen("auto", Root::Vrf);
    assert_eq!(world.manager.lacks_tree("eth0"), None, "a VRF never gets one");
}

#[test]
fn a_tree_that_cannot_be_set_up_leaves_the_interface_to_user_space() {
    let mut world = World::new("auto");
    world.kernel.fails = Some("qdisc add root");
    world.feed(Input::Seen(seen(Root::Default)));
    let (decision, admitted) = world.reserve("v1", 6).unwrap();
    assert_eq!(admitted.unwrap().class, None);
    assert!(decision.enforced().cloned().unwrap().lacking_text().unwrap().contains("No buffer space"));
}

#[test]
fn a_stale_tree_of_gqos_is_deleted_first() {
    let stale = HtbRoot { handle: ROOT_QDISC, default: 2, direct_queue: 0 };
    let mut world = World::seen("auto", Root::Ours(stale));
    let commands = world.commands();
    assert_eq!(
        commands[..2],
        ["qdisc del root handle 6771:", "qdisc add root handle 6771: htb default 2 direct_qlen 0"]
    );
}

#[test]
fn requests_wait_for_the_tree() {
    let mut world = World::new("auto");
    world.kernel.held = Some(vec![]);
    world.feed(Input::Seen(seen(Root::Default)));
    assert_eq!(world.reserve("v1", 6), None);
    let id = world.kernel.held.take().unwrap()[0];
    let (decision, admitted) = world.feed(Input::Applied { id, result: Ok(()) }).unwrap();
    assert!(decision.is_ok() && admitted.unwrap().class.is_some());
}

#[test]
fn best_effort_has_no_class_and_charges_nothing() {
    let mut world = World::seen("kernel", Root::Default);
    world.commands();
    let request = Request::new(NewFlow { id: "b", interface: "eth0" }, Qos::BEST_EFFORT);
    let (decision, admitted) = world.request(Operation::Reserve(Box::new(request.into()))).unwrap();
    assert!(decision.is_ok());
    assert_eq!(admitted.unwrap().class, None);
    assert!(world.commands().is_empty() && world.reserved() == Rate::ZERO);
}

#[test]
fn stop_deletes_the_tree() {
    let mut world = World::seen("auto", Root::Default);
    world.admitted("v1", 6);
    world.commands();
    world.feed(Input::Stop);
    assert_eq!(world.commands(), ["qdisc del root handle 6771:"]);
}

#[test]
fn an_interface_that_a_reload_drops_is_left_once_its_last_flow_has_ended() {
    let other =
        || Input::Policy(policy("version = 1\n[interface.eth5]\negress = { capacity = \"100 Mbit/s\" }\n"));
    for (root, has_tree) in
        [(Root::Default, true), (Root::Foreign { kind: "prio".into(), handle: Handle::qdisc(1) }, false)]
    {
        let left = format!("eth0 is left, with a tree: {has_tree}");
        let mut world = World::seen("auto", root.clone());
        world.feed(other());
        assert_eq!(world.kernel.told, [left.as_str()], "without a flow at once");
        assert_eq!((world.manager.knows("eth0"), world.manager.status("eth0")), (false, None));
        let mut world = World::seen("auto", root);
        world.admitted("v1", 6);
        world.admitted("v2", 10);
        world.feed(other());
        let status = world.manager.status("eth0").unwrap();
        let sending = status.totals.sending;
        assert_eq!((status.dropped, status.flows, status.kernel.is_ok()), (true, 2, has_tree));
        assert_eq!((sending.reserved, sending.budget), (Rate::from_mbit(16), Rate::ZERO));
        world.refused("v3", 1);
        world.close("v1");
        assert!(world.kernel.told.is_empty() && world.manager.is_dropped("eth0"));
        // The kernel has not deleted the class of the last flow.
        world.kernel.held = Some(vec![]);
        world.close("v2");
        for id in world.kernel.held.take().unwrap() {
            assert!(world.kernel.told.is_empty(), "{:?}", world.kernel.told);
            world.feed(Input::Applied { id, result: Ok(()) });
        }
        assert_eq!(world.kernel.told, [left.as_str()]);
        assert_eq!((world.manager.knows("eth0"), world.manager.is_dropped("eth0")), (false, false));
        world.manager.invariants();
    }
}

#[test]
fn an_interface_that_is_dropped_and_comes_back_stays() {
    let mut world = World::seen("auto", Root::Default);
    let before = std::sync::Arc::clone(world.manager.ledger().policy());
    world.admitted("v1", 6);
    world.feed(Input::Policy(policy(
        "version = 1\n[interface.eth5]\negress = { capacity = \"100 Mbit/s\" }\n",
    )));
    world.feed(Input::Policy(before));
    world.close("v1");
    assert!(world.kernel.told.is_empty() && !world.manager.is_dropped("eth0"));
    assert!(world.admitted("v2", 80).is_some());
}

#[test]
fn a_decision_is_one_line_of_the_contracts_json() {
    let mut world = World::seen("user-space", Root::Default);
    world.admitted("v1", 79);
    let json = serde_json::to_string(&world.refused("v2", 2)).unwrap();
    assert_eq!(
        json,
        r#"{"at_us":3,"op":"reserve","id":"v2","ok":false,"error":"WSAEOPNOTSUPP","code":10045,"status":"WSA_QOS_ADMISSION_FAILURE","reason":"interface_budget","message":"eth0 sending: 2 Mbit/s asked, 79 Mbit/s reserved of 80 Mbit/s, 1 Mbit/s available: 1 Mbit/s short; most is held by v1 (79 Mbit/s); at most 1 Mbit/s would fit","charged":{"sending":0,"receiving":0},"reserved":{"eth0":{"sending":9875000,"receiving":0}},"available":{"eth0":{"sending":125000,"receiving":10000000}},"preempted":[],"shed":[],"would_fit":125000,"rule":"test:2"}"#
    );
}

proptest::proptest! {
    /// In any order of requests and closes, with a kernel that fails at random: the classes are those of the flows,
    /// and once all flows are closed nothing is reserved.
    #[test]
    fn no_order_of_inputs_leaks_a_reservation(steps in proptest::collection::vec((0u8..4, 0u8..12, proptest::bool::weighted(0.2)), 1..200)) {
        let mut world = World::seen("auto", Root::Default);
        for (what, flow, fails) in steps {
            world.kernel.fails = fails.then_some("class");
            let id = format!("v{flow}");
            match what {
                0 | 1 => drop(world.reserve(&id, 10)),
                2 => drop(world.feed(Input::Connected { id })),
                _ => world.close(&id),
            }
            let flows = world.manager.ledger().flows() as u64;
            proptest::prop_assert_eq!(world.reserved(), Rate::from_mbit(10 * flows));
            proptest::prop_assert_eq!(world.manager.classes("eth0").len() as u64, flows);
        }
        world.kernel.fails = None;
        for flow in 0..12 {
            world.close(&format!("v{flow}"));
        }
        world.assert_clean("at the end");
    }
}

impl World {
    fn renegotiate(&mut self, id: &str, megabits: u64) -> Answered {
        let qos = Qos::sending(Flowspec::guaranteed(Rate::from_mbit(megabits), Bytes::new(65_536)));
        self.request(Operation::Renegotiate { id: id.into(), flowspecs: Box::new(qos.map(Some)) })
    }
}

#[test]
fn a_flow_renegotiates_within_the_budget() {
    let mut world = World::seen("auto", Root::Default);
    let class = world.admitted("a", 20);
    world.admitted("b", 40);
    world.commands();
    // More: the same class, at another rate.
    let (decision, admitted) = world.renegotiate("a", 40).unwrap();
    assert!(decision.is_ok(), "{}", decision.message());
    assert_eq!((admitted.unwrap().class, world.reserved()), (class, Rate::from_mbit(80)));
    let commands = world.commands();
    assert!(commands.len() == 1 && commands[0].contains("class"), "{commands:?}");
    // More than there is: nothing changes, the kernel is not asked.
    let (decision, admitted) = world.renegotiate("a", 41).unwrap();
    assert_eq!((decision.reason(), admitted), (Some(Reason::InterfaceBudget), None));
    assert_eq!((world.reserved(), world.commands().len()), (Rate::from_mbit(80), 0));
    // Less.
    assert!(world.renegotiate("a", 10).unwrap().0.is_ok());
    assert_eq!(world.reserved(), Rate::from_mbit(50));
    // An unknown flow, and one that has ended.
    assert_eq!(world.renegotiate("x", 1).unwrap().0.reason(), Some(Reason::UnknownId));
    world.close("a");
    assert_eq!(world.renegotiate("a", 1).unwrap().0.reason(), Some(Reason::UnknownId));
    world.close("b");
    world.assert_clean("all have ended");
}

#[test]
fn a_renegotiation_that_the_kernel_refuses_changes_nothing() {
    let mut world = World::seen("auto", Root::Default);
    world.admitted("a", 20);
    world.kernel.fails = Some("class");
    let (decision, admitted) = world.renegotiate("a", 40).unwrap();
    assert_eq!((decision.reason(), admitted), (Some(Reason::TrafficControl), None));
    assert_eq!(world.reserved(), Rate::from_mbit(20), "it has what it had");
    world.kernel.fails = None;
    world.commands();
    assert!(world.renegotiate("a", 20).unwrap().0.is_ok());
    assert_eq!(world.commands(), [""; 0], "and the tree stands as it stood");
    // The flow ends while its change is pending: the request is answered all the same.
    world.kernel.held = Some(Vec::new());
    assert_eq!(world.renegotiate("a", 30), None);
    world.close("a");
    let changes = world.kernel.held.take().unwrap();
    let answers: Vec<_> =
        changes.into_iter().filter_map(|id| world.feed(Input::Applied { id, result: Ok(()) })).collect();
    assert_eq!(answers.len(), 1, "one answer, whichever it is");
    world.assert_clean("after both");
}
