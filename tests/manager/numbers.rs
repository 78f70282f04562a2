//! Which flow gets the number of a class that another one has had.

use super::*;

/// No packets of a flow are left in its class, whose buckets are full after this time.
fn drained(world: &mut World, id: &str, micros: u64) {
    let full_in = Micros::new(micros);
    assert_eq!(world.feed(Input::Drained { id: id.into(), full_in }), None);
    world.close(id);
}

/// A manager with 80 flows of half a megabit, of which the first 16 have ended: their classes are idle.
fn with_idle_classes(full_in: u64) -> World {
    let mut world = World::seen("kernel", Root::Default);
    for number in 0..80 {
        world.admitted(&format!("f{number}"), 0);
    }
    for number in 0..16 {
        drained(&mut world, &format!("f{number}"), full_in);
    }
    world.kernel.asked.clear();
    world
}

#[test]
fn a_flow_gets_the_class_of_one_that_has_ended_once_its_buckets_are_full() {
    let mut world = with_idle_classes(10_000);
    let of_first = Some(tc::flow_class(0));
    assert_eq!(world.admitted("early", 0), Some(tc::flow_class(80)), "none has rested");
    assert!(world.kernel.asked[0].starts_with("class add"), "{:?}", world.kernel.asked);
    world.now += 10_000;
    world.kernel.asked.clear();
    assert_eq!(world.admitted("late", 0), of_first);
    assert_eq!(world.kernel.asked.len(), 1, "{:?}", world.kernel.asked);
    assert!(
        world.kernel.asked[0].starts_with("class change parent 6771:1 classid 6771:100 htb rate 609376bit")
    );
    // Fifteen are left, which rest until there are more.
    assert_eq!(world.admitted("later", 0), Some(tc::flow_class(81)));
    world.manager.invariants();
}

#[test]
fn a_flow_that_owes_tokens_gets_a_class_that_is_added() {
    let mut world = with_idle_classes(0);
    world.now += 1_000_000;
    let missing = Both { sending: Some(Bytes::new(60_000)), receiving: None };
    assert_eq!(world.feed(Input::Spent { id: "f20".into(), missing }), None);
    drained(&mut world, "f20", 100_000);
    world.kernel.asked.clear();
    assert_eq!(world.admitted("debtor", 0), Some(tc::flow_class(80)));
    let [added, changed] = &world.kernel.asked[..] else { panic!("{:?}", world.kernel.asked) };
    assert!(added.starts_with("class add") && changed.starts_with("class change"), "{added} {changed}");
}

#[test]
fn a_class_is_deleted_where_it_is_not_known_when_its_buckets_are_full() {
    let mut world = with_idle_classes(0);
    world.close("f30");
    assert_eq!(world.kernel.asked, ["class del classid 6771:11e"]);
    drained(&mut world, "f31", 60_000_001);
    assert_eq!(world.kernel.asked[1], "class del classid 6771:11f", "the kernel counts one minute");
}

#[test]
fn an_idle_class_that_the_kernel_does_not_change_is_deleted() {
    let mut world = with_idle_classes(0);
    world.now += 1_000_000;
    world.kernel.fails = Some("class change");
    let decision = world.refused("new", 0);
    assert_eq!(decision.reason(), Some(Reason::TrafficControl));
    assert_eq!(world.kernel.asked.last().map(String::as_str), Some("class del classid 6771:100"));
    world.kernel.fails = None;
    world.manager.invariants();
    assert_eq!(world.admitted("next", 0), Some(tc::flow_class(80)), "fifteen are left");
}

#[test]
fn idle_classes_are_part_of_the_tree() {
    let mut world = with_idle_classes(0);
    let root = HtbRoot { handle: ROOT_QDISC, default: 2, direct_queue: 0 };
    // The kernel has the root alone.
    let observed = Box::new(Ok(ObservedTree::new(tc::ObservedRoot::Htb(root), [], []).unwrap()));
    world.feed(Input::Observed { interface: "eth0".into(), observed });
    let idle = world.kernel.asked.iter().filter(|op| op.starts_with("class add") && op.contains("rate 8bit"));
    assert_eq!(idle.count(), 16, "{:#?}", world.kernel.asked);
}

#[test]
fn a_class_to_which_a_socket_sends_is_no_other_flow_s() {
    let mut world = World::seen("auto", Root::Default);
    let class = world.admitted("first", 1).unwrap();
    let (socket, flow) = (7, Some("first".to_owned()));
    world.feed(Input::SocketMarked { socket, class, flow });
    world.close("first");
    // Every number comes again within so many flows.
    let comes_again = |world: &mut World| {
        (0..2 * usize::from(tc::LARGEST_FLOW_CLASSES)).any(|_| {
            let next = world.admitted("next", 1);
            world.close("next");
            next == Some(class)
        })
    };
    assert!(!comes_again(&mut world), "the socket sends to {class}");
    // An interface that comes again under its name has the same sockets.
    world.feed(Input::Gone { interface: "eth0".into() });
    world.feed(Input::Seen(seen(Root::Default)));
    assert!(!comes_again(&mut world), "the socket sends to {class} still");
    world.feed(Input::SocketUnmarked { socket, class });
    assert!(comes_again(&mut world), "no socket sends to {class}");
    world.assert_clean("all have ended");
}

#[test]
fn a_class_is_free_once_its_flow_has_ended_and_its_socket_has() {
    for socket_ends_first in [true, false] {
        let mut world = World::seen("auto", Root::Default);
        let class = world.admitted("first", 1).unwrap();
        let socket = 7;
        world.feed(Input::SocketMarked { socket, class, flow: Some("first".into()) });
        // Twice counts once.
        world.feed(Input::SocketMarked { socket, class, flow: Some("first".into()) });
        if socket_ends_first {
            world.feed(Input::SocketUnmarked { socket, class });
            assert_ne!(world.admitted("second", 1), Some(class), "the flow has it");
            world.close("second");
            world.close("first");
        } else {
            world.close("first");
            world.feed(Input::SocketUnmarked { socket, class });
        }
        world.assert_clean("all have ended");
        world.manager.invariants();
    }
}
