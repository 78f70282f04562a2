//! Trees by netlink, without a host: read, changed, repaired and undone.

use std::time::Duration;

use flowspec::{Bytes, Errno, Micros, Rate, Ratio};
use gqos::failure::Cause;
use gqos::linux::{Netlink, NewQdisc, RootState};
use gqos::tc::{
    Bfifo, Change, Desired, Framed, Handle, HtbClass, LinkRates, LinkShape, ObservedTree, Op, QueueKind,
    diff, flow_class,
};

use super::common::{inside, lab, lab_with};

#[test]
fn tc_and_gqos_read_each_others_classes() {
    let Some(network) = lab_with(100, &["tc"]) else { return };
    let class = HtbClass {
        handle: Handle::qdisc(1).class(0x10),
        parent: Handle::qdisc(1).class(1),
        rate: Rate::from_mbit(10),
        ceil: Rate::from_mbit(100),
        burst: Bytes::new(15_000),
        cburst: Bytes::new(1_600),
        quantum: Bytes::new(3_000),
        prio: 2,
    };
    for command in [
        "tc qdisc add dev eth0 root handle 1: htb default 10",
        "tc class add dev eth0 parent 1: classid 1:1 htb rate 100mbit",
        "tc class add dev eth0 parent 1:1 classid 1:10 htb rate 10mbit ceil 100mbit burst 15000b cburst 1600b quantum 3000 prio 2",
    ] {
        inside(&network.server, &command.split(' ').collect::<Vec<_>>());
    }
    let theirs = network.server.run(async move {
        let netlink = Netlink::open().unwrap();
        let index = netlink.link_by_name("eth0").await.unwrap().index;
        let theirs = netlink.class(index, class.handle).await.unwrap().unwrap().class;
        let ours = HtbClass { handle: Handle::qdisc(1).class(0x11), ..class };
        netlink.apply(index, &Change { ops: vec![Op::AddClass(ours)] }).await.unwrap();
        theirs
    });
    assert_eq!(Ok(theirs.unwrap()), class.as_kept(), "gqos reads what tc made");
    let shown = inside(&network.server, &["tc", "class", "show", "dev", "eth0"]);
    let of = |handle: &str| {
        let line = shown.lines().find(|line| line.contains(handle)).unwrap_or_else(|| panic!("{shown}"));
        line.replace(handle, "").split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(of("1:10"), of("1:11"), "tc shows both alike");
}

#[test]
fn a_change_that_fails_is_undone() {
    let Some(network) = lab(100) else { return };
    let work = async move {
        let netlink = Netlink::open().unwrap();
        let index = netlink.link_by_name("eth0").await.unwrap().index;
        let shape = LinkShape {
            rates: LinkRates { capacity: Rate::from_mbit(100), budget: Rate::from_mbit(80) },
            mtu: Bytes::new(1500),
            wait: Micros::new(0),
        };
        let mut change = diff(&Desired::new(shape), &ObservedTree::default());
        // The class exists already.
        change.ops.push(change.ops[1]);
        let error = netlink.apply(index, &change).await.unwrap_err();
        assert_eq!(error.errno(), Some(Errno::EEXIST), ": {error}");
        assert!(
            error.to_string().contains("RTM_NEWTCLASS (tc class add parent 6771: classid 6771:1"),
            "{error}"
        );
        netlink.root(index).await.unwrap()
    };
    assert_eq!(network.server.run(work).unwrap(), RootState::default(), "the whole change is undone");
}

/// The tree of a link with this rate, four fifths of which may be reserved, with one leaf.
fn tree(capacity: Rate) -> Desired {
    let rates = LinkRates { capacity, budget: capacity.scale_down(Ratio::percent(80)) };
    let mut tree = Desired::new(LinkShape { rates, mtu: Bytes::new(1500), wait: Micros::new(0) });
    let (rate, packet) = (Rate::new(125_000), Bytes::new(1514));
    tree.set_leaf(
        flow_class(0),
        Some(Framed { rate, charged: rate, peak: None, bucket: Bytes::new(10_000), packet }),
    );
    tree
}

#[test]
fn a_tree_that_another_program_changed_is_repaired_in_place() {
    let Some(network) = lab_with(100, &["tc"]) else { return };
    let tree = tree(Rate::from_mbit(100));
    let observe = || async {
        let netlink = Netlink::open().unwrap();
        let index = netlink.link_by_name("eth0").await.unwrap().index;
        let observed = netlink.observe(index).await.unwrap().expect("a tree of gqos");
        (netlink, index, observed)
    };
    let set_up = tree.clone();
    let work = async move {
        let (netlink, index, observed) = observe().await;
        assert_eq!(observed, ObservedTree::default());
        netlink.apply(index, &diff(&set_up, &observed)).await.unwrap();
        let (.., observed) = observe().await;
        assert_eq!(diff(&set_up, &observed), Change::default(), "the kernel has the desired tree");
    };
    network.server.run(work).unwrap();
    let kind = network.server.run(async { Netlink::open().unwrap().queue_kind().await }).unwrap();
    let (edit, repaired_queue) = match kind {
        QueueKind::Bfifo => ("bfifo limit 1000", "qdisc change parent 6771:2 bfifo limit 625000"),
        QueueKind::FqCodel => {
            ("fq_codel target 1ms", "qdisc change parent 6771:2 fq_codel target 5000us interval 100000us")
        }
        other => panic!("a queue of an unknown kind, {}", other.name()),
    };
    for command in [
        "tc class change dev eth0 parent 6771:1 classid 6771:100 htb rate 5mbit ceil 7mbit",
        "tc class add dev eth0 parent 6771:1 classid 6771:5 htb rate 1mbit",
        "tc class add dev eth0 parent 6771:5 classid 6771:6 htb rate 1mbit",
        &format!("tc qdisc change dev eth0 parent 6771:2 {edit}"),
    ] {
        inside(&network.server, &command.split(' ').collect::<Vec<_>>());
    }
    let work = async move {
        let (netlink, index, observed) = observe().await;
        let repair = diff(&tree, &observed);
        let commands: Vec<_> = repair.ops.iter().map(|op| op.text(kind)).collect();
        assert_eq!(commands[0], repaired_queue);
        assert!(commands[1].starts_with("class change parent 6771:1 classid 6771:100"), "{commands:?}");
        assert_eq!(commands[2..], ["class del classid 6771:6", "class del classid 6771:5"]);
        netlink.apply(index, &repair).await.unwrap();
        let (_, _, repaired) = observe().await;
        assert_eq!(diff(&tree, &repaired), Change::default());
        netlink.apply(index, &repair.undo()).await.unwrap();
        let (.., undone) = observe().await;
        assert_eq!(undone, observed, "the undo restores what was observed");
    };
    network.server.run(work).unwrap();
}

#[test]
fn a_slower_link_changes_a_trunk_with_leaves() {
    let Some(network) = lab(100) else { return };
    let work = async move {
        let netlink = Netlink::open().unwrap();
        let index = netlink.link_by_name("eth0").await.unwrap().index;
        let mut tree = tree(Rate::from_mbit(100));
        netlink.apply(index, &diff(&tree, &ObservedTree::default())).await.unwrap();
        // The kernel keeps the quantum of a class with children, which a slower link would make smaller.
        for megabits in [10, 1000] {
            let capacity = Rate::from_mbit(megabits);
            let rates = LinkRates { capacity, budget: capacity.scale_down(Ratio::percent(50)) };
            let change = tree.reshape(LinkShape { rates, ..*tree.shape() });
            assert!(!change.ops.is_empty());
            netlink.apply(index, &change).await.unwrap();
            let observed = netlink.observe(index).await.unwrap().unwrap();
            assert_eq!(diff(&tree, &observed), Change::default(), "{megabits} Mbit/s");
        }
    };
    network.server.run(work).unwrap();
}

#[test]
fn the_state_of_every_link_can_be_read() {
    let Some(network) = lab_with(100, &["ip"]) else { return };
    let states = || async {
        let netlink = Netlink::open().unwrap();
        let index = netlink.link_by_name("eth0").await.unwrap().index;
        let states = netlink.link_states().await.unwrap();
        states.iter().find(|state| state.index == index).map(|state| state.carries)
    };
    // The kernel announces a carrier a moment after it has one.
    let until = |expected: bool| {
        let found = async move {
            for _ in 0..150 {
                if states().await == Some(expected) {
                    return true;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            false
        };
        network.server.run(found).unwrap()
    };
    assert!(until(true), "the link is up");
    inside(&network.server, &["ip", "link", "set", "eth0", "down"]);
    assert!(until(false), "the link is down");
}

#[test]
fn a_foreign_tree_is_observed_as_foreign() {
    let Some(network) = lab_with(100, &["tc"]) else { return };
    inside(&network.server, &["tc", "qdisc", "add", "dev", "eth0", "root", "handle", "1:", "htb"]);
    let work = async move {
        let netlink = Netlink::open().unwrap();
        let index = netlink.link_by_name("eth0").await.unwrap().index;
        netlink.observe(index).await.unwrap().unwrap_err().to_string()
    };
    assert_eq!(network.server.run(work).unwrap(), "htb 1:");
}

#[test]
fn a_refused_request_carries_the_kernels_explanation() {
    let Some(network) = lab(100) else { return };
    let work = async move {
        let netlink = Netlink::open().unwrap();
        let index = netlink.link_by_name("eth0").await.unwrap().index;
        let handle = Handle::qdisc(1);
        let qdisc = NewQdisc { parent: Handle::ROOT, handle, kind: Bfifo::KIND, options: vec![0, 0, 1, 0] };
        netlink.add_qdisc(index, qdisc.clone()).await.unwrap();
        netlink.add_qdisc(index, qdisc).await.unwrap_err()
    };
    let failure = network.server.run(work).unwrap();
    assert_eq!(failure.call, "RTM_NEWQDISC");
    let extended_ack = Some("Exclusivity flag on, cannot modify".to_owned());
    assert_eq!(failure.cause, Cause::Errno { errno: Errno::EEXIST, extended_ack }, "{failure}");
}

#[test]
fn the_leaves_of_a_whole_budget_stay_within_a_small_link() {
    let Some(network) = lab(100) else { return };
    let work = async move {
        let netlink = Netlink::open().unwrap();
        let index = netlink.link_by_name("eth0").await.unwrap().index;
        for (bits, percent) in [(100_000, 80), (100_000_000, 80), (100_000_000, 95)] {
            let capacity = Rate::new(bits / 8);
            let rates = LinkRates { capacity, budget: capacity.scale_down(Ratio::percent(percent)) };
            let mut tree = Desired::new(LinkShape { rates, mtu: Bytes::new(1500), wait: Micros::new(0) });
            // Packets of 64 bytes: 78 with their headers.
            let charged = Rate::new(rates.budget.get() / 4);
            let rate = Rate::new(charged.get() * 78 / 64);
            let (bucket, packet) = (Bytes::new(3_000), Bytes::new(1514));
            for number in 0..4 {
                tree.set_leaf(flow_class(number), Some(Framed { rate, charged, peak: None, bucket, packet }));
            }
            netlink.apply(index, &diff(&tree, &ObservedTree::default())).await.unwrap();
            let classes: Vec<_> =
                netlink.classes(index).await.unwrap().iter().map(|state| state.class).collect();
            let link = classes.iter().find(|class| class.parent == tree.root().handle).unwrap();
            let below = classes.iter().filter(|class| class.parent == link.handle);
            let sum: u64 = below.map(|class| class.rate.get()).sum();
            assert!(sum <= link.rate.get(), "{bits} bit/s at {percent} %: {sum} of {}", link.rate.get());
            netlink.apply(index, &tree.tear_down()).await.unwrap();
        }
    };
    network.server.run(work).unwrap();
}

#[test]
fn a_queue_that_the_kernel_cannot_hold_is_refused_before_it_gets_there() {
    let Some(network) = lab(100) else { return };
    let work = async move {
        let netlink = Netlink::open().unwrap();
        let index = netlink.link_by_name("eth0").await.unwrap().index;
        let tree = tree(Rate::from_mbit(100));
        let mut change = diff(&tree, &ObservedTree::default());
        for op in &mut change.ops {
            if let Op::AddQueue { queue, .. } = op {
                queue.bfifo.limit = Bytes::new(1 << 32);
                queue.fq_codel.target = Micros::new(1 << 32);
            }
        }
        let failure = netlink.apply(index, &change).await.unwrap_err();
        assert!(failure.is_not_expressible(), "{failure}");
        assert!(failure.to_string().contains("32 bits of its"), "{failure}");
        assert_eq!(netlink.root(index).await.unwrap(), RootState::default(), "the whole change is undone");
    };
    network.server.run(work).unwrap();
}

#[test]
fn dumps_at_the_same_time_are_all_answered() {
    let Some(network) = lab(100) else { return };
    let work = async {
        let netlink = Netlink::open().unwrap();
        let index = netlink.link_by_name("eth0").await.unwrap().index;
        let mut dumps = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let netlink = netlink.clone();
            dumps.spawn(async move { netlink.observe(index).await.map(drop) });
        }
        while let Some(dumped) = dumps.join_next().await {
            assert_eq!(dumped.unwrap(), Ok(()));
        }
    };
    network.server.run(work).unwrap();
}
