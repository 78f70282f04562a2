//! The difference between the tree that is desired and the one that is observed.

use super::change::{Change, Op};
use super::desired::Desired;
use super::htb::HtbClass;
use super::layout::{DEFAULT_CLASS, LINK_CLASS};
use super::observed::{ObservedTree, TreeBelow};
use crate::kernel::Handle;
use crate::ordered::OrderedSet;

/// The change that makes the desired tree of the observed one. Empty where they are equal.
///
/// The root comes first, then classes with parents before their children, changed in place where they exist, and
/// deletions last, children before their parents. A root that cannot be kept is replaced with everything below it: HTB
/// changes neither the settings of a root nor the parent of a class, and a tree of which only the root is known may
/// have any classes.
///
/// The undo of the change makes the observed tree of the desired one, but for a root that was replaced: then it leaves
/// the kernel's default; filters and queues of other programs that were deleted do not return. Queues below classes other
/// than the default are no part of a tree.
pub fn diff(desired: &Desired, observed: &ObservedTree) -> Change {
    let kept = match (observed.root, &observed.below) {
        (Some(root), Some(below)) if root == desired.root() && is_changeable(desired, below) => below,
        (Some(root), _) => {
            let mut change = set_up(desired);
            change.ops.insert(0, Op::DeleteRoot(root));
            return change;
        }
        (None, _) => return set_up(desired),
    };
    let mut ops = Vec::new();
    delete_filters(&mut ops, desired, kept);
    delete_queues(&mut ops, desired, kept);
    for class in desired.trunk() {
        update_class(&mut ops, class, kept);
    }
    update_queue(&mut ops, desired, kept);
    for class in desired.below_trunk() {
        update_class(&mut ops, *class, kept);
    }
    delete_others(&mut ops, desired, kept);
    Change { ops }
}

/// Everything that an interface with the kernel's default qdisc needs.
///
/// The default class has its queue before the first leaf is added.
fn set_up(desired: &Desired) -> Change {
    let mut ops = vec![Op::AddRoot(desired.root())];
    ops.extend(desired.trunk().map(Op::AddClass));
    ops.push(Op::AddQueue { parent: DEFAULT_CLASS, queue: desired.shape().default_queue() });
    ops.extend(desired.below_trunk().copied().map(Op::AddClass));
    Change { ops }
}

/// Whether operations on single classes can make the desired tree of this one.
fn is_changeable(desired: &Desired, below: &TreeBelow) -> bool {
    let parents: OrderedSet<_> = below.classes.values().map(|class| class.parent).collect();
    let fits = |class: HtbClass| {
        below.classes.get(&class.handle).is_none_or(|found| {
            // The kernel ignores another parent of a class, and another quantum of a class with children.
            found.parent == class.parent && (class.handle == LINK_CLASS || !parents.contains(&class.handle))
        })
    };
    desired.classes().all(fits)
}

fn update_class(ops: &mut Vec<Op>, class: HtbClass, below: &TreeBelow) {
    let has_children = class.handle == LINK_CLASS && below.is_inner(LINK_CLASS);
    match below.classes.get(&class.handle) {
        None => ops.push(Op::AddClass(class)),
        Some(found) if class.is_kept_as(found, has_children) => {}
        Some(found) => ops.push(Op::ChangeClass { to: class, from: *found }),
    }
}

fn update_queue(ops: &mut Vec<Op>, desired: &Desired, below: &TreeBelow) {
    let (parent, queue) = (DEFAULT_CLASS, desired.shape().default_queue());
    // The queue of a class that is added anew cannot exist.
    let found = below.queues.get(&parent).filter(|_| below.classes.contains_key(&parent));
    match found {
        Some(found) if queue.is_kept_as(found) => {}
        Some(found) => match queue.with(found) {
            Some(from) => ops.push(Op::ChangeQueue { parent, to: queue, from }),
            None => ops.extend([Op::DeleteForeignQueue { parent }, Op::AddQueue { parent, queue }]),
        },
        None => ops.push(Op::AddQueue { parent, queue }),
    }
}

/// Deletes the filters that are not wanted: first, since the kernel does not delete a class to which a filter leads.
fn delete_filters(ops: &mut Vec<Op>, desired: &Desired, below: &TreeBelow) {
    let wanted: OrderedSet<_> = desired.classes().map(|class| class.handle).collect();
    let unwanted = below.filters.iter().filter_map(|filter| filter.unwanted(|class| wanted.contains(&class)));
    ops.extend(unwanted.collect::<OrderedSet<_>>().into_iter().map(Op::DeleteFilter));
}

/// Deletes the queues of classes that have the kernel's default, but for those that go with their class: before a class is
/// added below one, which loses its queue then.
fn delete_queues(ops: &mut Vec<Op>, desired: &Desired, below: &TreeBelow) {
    let wanted: OrderedSet<_> = desired.classes().map(|class| class.handle).collect();
    let stays = |parent: &Handle| wanted.contains(parent) || !below.classes.contains_key(parent);
    let foreign = below.queues.keys().filter(|parent| **parent != DEFAULT_CLASS && stays(parent));
    ops.extend(foreign.map(|parent| Op::DeleteForeignQueue { parent: *parent }));
}

fn delete_others(ops: &mut Vec<Op>, desired: &Desired, below: &TreeBelow) {
    let wanted: OrderedSet<_> = desired.classes().map(|class| class.handle).collect();
    let mut others: Vec<_> = below.classes.values().filter(|class| !wanted.contains(&class.handle)).collect();
    others.sort_by_key(|class| std::cmp::Reverse(below.depth(class)));
    ops.extend(others.into_iter().copied().map(Op::DeleteClass));
}

#[cfg(test)]
mod tests {
    use crate::ordered::OrderedMap;

    use flowspec::{Bytes, Micros, Rate, Ratio};
    use proptest::prelude::*;

    use super::super::fifo::Bfifo;
    use super::super::filter::Target;
    use super::super::fq_codel::FqCodel;
    use super::super::htb::HtbRoot;
    use super::super::layout::{LARGEST_FLOW_CLASSES, ROOT_QDISC, flow_class, shared_class};
    use super::super::observed::ObservedRoot;
    use super::super::observed_filter::{FilterPlace, ObservedFilter};
    use super::super::queue::Queue;
    use super::super::shape::{Framed, LinkRates, LinkShape};
    use super::*;

    /// The rules of sch_htb and sch_fifo for the operations of this module.
    #[derive(Clone, Debug, Default, PartialEq)]
    struct KernelRules {
        root: Option<HtbRoot>,
        classes: OrderedMap<Handle, HtbClass>,
        queues: OrderedMap<Handle, Queue>,
        /// The class that each filter leads to.
        filters: OrderedMap<FilterPlace, Handle>,
    }

    impl KernelRules {
        fn is_inner(&self, handle: Handle) -> bool {
            self.classes.values().any(|class| class.parent == handle)
        }

        fn apply(&mut self, op: &Op) -> Result<(), &'static str> {
            match *op {
                Op::AddRoot(root) if self.root.is_none() => self.root = Some(root),
                Op::DeleteRoot(root) if self.root == Some(root) => *self = Self::default(),
                Op::AddClass(class) => {
                    let above = Some(class.parent) == self.root.map(|root| root.handle)
                        || self.classes.contains_key(&class.parent);
                    if !above || self.classes.contains_key(&class.handle) {
                        return Err("ENOENT or EEXIST");
                    }
                    self.classes.insert(class.handle, class.as_kept().map_err(|_| "not encodable")?);
                    // A class with children has no queue.
                    self.queues.remove(&class.parent);
                }
                Op::ChangeClass { to, from } => {
                    let inner = self.is_inner(to.handle);
                    let found = self.classes.get_mut(&to.handle).ok_or("ENOENT")?;
                    assert!(from.is_kept_as(found, inner), "{from} is not {found}");
                    let (parent, quantum, prio) = (found.parent, found.quantum, found.prio);
                    *found = HtbClass { parent, ..to.as_kept().map_err(|_| "not encodable")? };
                    if inner {
                        (found.quantum, found.prio) = (quantum, prio);
                    }
                }
                Op::DeleteClass(class) => {
                    let is_used =
                        self.is_inner(class.handle) || self.filters.values().any(|to| *to == class.handle);
                    if is_used || self.classes.remove(&class.handle).is_none() {
                        return Err("EBUSY or ENOENT");
                    }
                    self.forget(class.handle);
                }
                Op::AddQueue { parent, queue } => {
                    if self.is_inner(parent) || !self.classes.contains_key(&parent) {
                        return Err("ENOENT");
                    }
                    if self.queues.insert(parent, Queue::Bfifo(queue.bfifo)).is_some() {
                        return Err("EEXIST");
                    }
                }
                Op::ChangeQueue { parent, to, from } => {
                    let found = self.queues.get_mut(&parent).ok_or("ENOENT")?;
                    assert!(from.is_kept_as(found), "{from:?} is not {found:?}");
                    *found = match found {
                        Queue::FqCodel(_) => Queue::FqCodel(to.fq_codel.as_kept()),
                        _ => Queue::Bfifo(to.bfifo),
                    };
                }
                Op::DeleteQueue { parent, .. } => {
                    self.queues.remove(&parent).ok_or("ENOENT")?;
                }
                Op::DeleteForeignQueue { parent } => {
                    self.queues.remove(&parent).ok_or("ENOENT")?;
                }
                Op::DeleteFilter(place) => {
                    self.filters.remove(&place).ok_or("ENOENT")?;
                }
                Op::AddRoot(_) | Op::DeleteRoot(_) => return Err("EEXIST or ENOENT"),
            }
            Ok(())
        }

        /// What is below a class goes with it.
        fn forget(&mut self, class: Handle) {
            self.queues.remove(&class);
            self.filters.retain(|place, _| place.parent != class);
        }

        /// The same without what operations have deleted that is not undone.
        fn without_deleted(&self, ops: &[Op]) -> Self {
            let mut left = self.clone();
            for op in ops {
                match op {
                    Op::DeleteForeignQueue { parent } => drop(left.queues.remove(parent)),
                    Op::DeleteFilter(place) => drop(left.filters.remove(place)),
                    Op::DeleteClass(class) => left.forget(class.handle),
                    _ => {}
                }
            }
            left
        }

        fn apply_all(&mut self, ops: &[Op]) {
            for op in ops {
                self.apply(op).unwrap_or_else(|error| panic!("{op}: {error} in {self:#?}"));
            }
        }

        fn observed(&self) -> ObservedTree {
            let root = self.root.map_or(ObservedRoot::Default, ObservedRoot::Htb);
            let tree = ObservedTree::new(root, self.queues.clone(), self.classes.values().copied());
            let filter = |(place, to): (&FilterPlace, &Handle)| {
                let target = Target { class: Some(*to), redirect: None };
                ObservedFilter::new(*place, "flower", 1, Some(&target))
            };
            tree.expect("ours").with_filters(self.filters.iter().map(filter))
        }

        #[track_caller]
        fn assert_is(&self, desired: &Desired) {
            assert_eq!(self.root, Some(desired.root()));
            let queue = desired.shape().default_queue();
            let found = self.queues.get(&DEFAULT_CLASS);
            assert!(found.is_some_and(|found| queue.is_kept_as(found)), "{queue:?} is {found:?}");
            assert_eq!((self.queues.len(), self.filters.len()), (1, 0), "{self:#?}");
            assert_eq!(self.classes.len(), desired.classes().count(), "{self:#?}");
            for class in desired.classes() {
                let found = self.classes.get(&class.handle).unwrap_or_else(|| panic!("no {class}"));
                assert!(class.is_kept_as(found, self.is_inner(class.handle)), "{class} is {found}");
            }
        }
    }

    fn shape() -> impl Strategy<Value = LinkShape> {
        (1u64..10_000, 0u64..=100, 0u64..50_000).prop_map(|(megabits, percent, wait)| {
            let capacity = Rate::from_mbit(megabits);
            let budget = capacity.scale_down(Ratio::percent(percent));
            LinkShape {
                rates: LinkRates { capacity, budget },
                mtu: Bytes::new(1500),
                wait: Micros::new(wait),
            }
        })
    }

    /// Traffic with a bucket that the kernel can express, which lasts less than 274 s at four fifths of the rate.
    fn traffic() -> impl Strategy<Value = Framed> {
        (1000u64..10_000_000, proptest::option::of(1u64..4), 100u64..200_000).prop_map(
            |(rate, peak, bucket)| Framed {
                rate: Rate::new(rate),
                charged: Rate::new(rate),
                peak: peak.map(|factor| Rate::new(rate * factor)),
                bucket: Bytes::new(bucket),
                packet: Bytes::new(1514),
            },
        )
    }

    fn leaf_handle() -> impl Strategy<Value = Handle> {
        prop_oneof![
            (0u16..5).prop_map(flow_class),
            Just(flow_class(LARGEST_FLOW_CLASSES - 1)),
            (0usize..3).prop_map(shared_class)
        ]
    }

    fn desired() -> impl Strategy<Value = Desired> {
        (shape(), proptest::collection::vec((leaf_handle(), traffic()), 0..8)).prop_map(|(shape, leaves)| {
            let mut tree = Desired::new(shape);
            for (handle, traffic) in leaves {
                tree.set_leaf(handle, Some(traffic));
            }
            tree
        })
    }

    /// What another program does to a tree.
    #[derive(Clone, Debug)]
    enum Tampering {
        DeleteRoot,
        ReplaceRoot(u16),
        Delete(Handle),
        Add(HtbClass),
        Change(Handle, u64),
        Queue(Handle, Option<Queue>),
        Filter(FilterPlace, Handle),
    }

    fn any_handle() -> impl Strategy<Value = Handle> {
        let odd = (3u16..7).prop_map(|minor| ROOT_QDISC.class(minor));
        prop_oneof![Just(LINK_CLASS), Just(DEFAULT_CLASS), leaf_handle(), odd]
    }

    fn tampering() -> impl Strategy<Value = Tampering> {
        let class = (any_handle(), any_handle(), shape(), traffic())
            .prop_map(|(handle, parent, shape, traffic)| HtbClass { parent, ..shape.leaf(handle, traffic) });
        let limit = (1u64..1_000_000).prop_map(|limit| Queue::Bfifo(Bfifo { limit: Bytes::new(limit) }));
        let times = (1u64..1_000_000, 1u64..1_000_000).prop_map(|(target, interval)| {
            let queue = FqCodel { target: Micros::new(target), interval: Micros::new(interval) };
            Queue::FqCodel(queue.as_kept())
        });
        let queue = prop_oneof![limit, times, Just(Queue::Other("sfq".into()))];
        let parent = prop_oneof![Just(ROOT_QDISC), any_handle()];
        let filter = (parent, 0u32..2, 1u16..4, any_handle()).prop_map(|(parent, chain, priority, to)| {
            (FilterPlace { parent, chain, priority, u32_handle: None }, to)
        });
        prop_oneof![
            1 => Just(Tampering::DeleteRoot),
            1 => (0u16..4).prop_map(Tampering::ReplaceRoot),
            8 => any_handle().prop_map(Tampering::Delete),
            8 => class.prop_map(Tampering::Add),
            8 => (any_handle(), 1000u64..1_000_000).prop_map(|(handle, number)| Tampering::Change(handle, number)),
            4 => (any_handle(), proptest::option::of(queue)).prop_map(|(class, queue)| Tampering::Queue(class, queue)),
            4 => filter.prop_map(|(place, to)| Tampering::Filter(place, to)),
        ]
    }

    fn tamper(kernel: &mut KernelRules, tampering: Tampering) {
        let existing = |handle: Handle| kernel.classes.get(&handle).copied();
        let op = match tampering {
            Tampering::DeleteRoot => kernel.root.map(Op::DeleteRoot),
            Tampering::ReplaceRoot(default) => {
                if let Some(root) = &mut kernel.root {
                    root.default = default;
                }
                None
            }
            Tampering::Delete(handle) => existing(handle).map(Op::DeleteClass),
            Tampering::Add(class) => Some(Op::AddClass(class)),
            Tampering::Change(handle, number) => existing(handle).map(|from| {
                let to = HtbClass { ceil: Rate::new(number), quantum: Bytes::new(number), prio: 3, ..from };
                Op::ChangeClass { to, from }
            }),
            Tampering::Queue(class, queue) => {
                let is_leaf = kernel.classes.contains_key(&class) && !kernel.is_inner(class);
                kernel.queues.remove(&class);
                kernel.queues.extend(queue.filter(|_| is_leaf).map(|queue| (class, queue)));
                None
            }
            Tampering::Filter(place, to) => {
                let exists = |handle: Handle| handle == ROOT_QDISC || kernel.classes.contains_key(&handle);
                if kernel.root.is_some() && exists(place.parent) && exists(to) {
                    kernel.filters.insert(place, to);
                }
                None
            }
        };
        // The kernel refuses what is not possible.
        let _ = op.map(|op| kernel.apply(&op));
    }

    fn check(kernel: &KernelRules, desired: &Desired) {
        let change = diff(desired, &kernel.observed());
        let mut after = kernel.clone();
        after.apply_all(&change.ops);
        after.assert_is(desired);
        assert_eq!(diff(desired, &after.observed()), Change::default(), "a second diff is empty");
        let is_replaced = matches!(change.ops.first(), Some(Op::DeleteRoot(_)));
        // The kernel may refuse any of the operations: those before it are undone.
        for done in 0..=change.ops.len() {
            let mut partly = kernel.clone();
            partly.apply_all(&change.ops[..done]);
            partly.apply_all(&Change { ops: change.ops[..done].to_vec() }.undo().ops);
            let before = match is_replaced && done > 0 {
                true => KernelRules::default(),
                false => kernel.without_deleted(&change.ops[..done]),
            };
            assert_eq!(partly, before, "after {done} operations of {change:#?}");
        }
    }

    proptest! {
        #[test]
        fn a_diff_makes_the_desired_tree_and_its_undo_the_observed_one(
            before in desired(),
            tampered in proptest::collection::vec(tampering(), 0..12),
            after in desired(),
        ) {
            let mut kernel = KernelRules::default();
            check(&kernel, &before);
            kernel.apply_all(&diff(&before, &kernel.observed()).ops);
            for tampering in tampered {
                tamper(&mut kernel, tampering);
            }
            check(&kernel, &after);
        }

        #[test]
        fn single_changes_keep_the_kernel_as_desired(
            mut tree in desired(),
            changes in proptest::collection::vec((leaf_handle(), proptest::option::of(traffic())), 0..20),
            shapes in proptest::collection::vec(shape(), 0..3),
        ) {
            let mut kernel = KernelRules::default();
            kernel.apply_all(&diff(&tree, &kernel.observed()).ops);
            for (handle, traffic) in changes {
                kernel.apply_all(&tree.set_leaf(handle, traffic).ops);
            }
            for shape in shapes {
                kernel.apply_all(&tree.reshape(shape).ops);
            }
            kernel.assert_is(&tree);
            prop_assert_eq!(diff(&tree, &kernel.observed()), Change::default());
            kernel.apply_all(&tree.tear_down().ops);
            prop_assert_eq!(kernel, KernelRules::default());
        }
    }

    fn commands(change: &Change) -> Vec<String> {
        change.ops.iter().map(Op::to_string).collect()
    }

    fn small_tree() -> Desired {
        let mut tree = Desired::new(LinkShape {
            rates: LinkRates { capacity: Rate::from_mbit(100), budget: Rate::from_mbit(80) },
            mtu: Bytes::new(1500),
            wait: Micros::new(0),
        });
        let (rate, packet) = (Rate::new(125_000), Bytes::new(1514));
        tree.set_leaf(
            flow_class(0),
            Some(Framed { rate, charged: rate, peak: None, bucket: Bytes::new(10_000), packet }),
        );
        tree
    }

    const SET_UP: [&str; 5] = [
        "qdisc add root handle 6771: htb default 2 direct_qlen 0",
        "class add parent 6771: classid 6771:1 htb rate 99000000bit ceil 99000000bit burst 12375b cburst 12375b quantum 60000 prio 0",
        "class add parent 6771:1 classid 6771:2 htb rate 1497952bit ceil 99000000bit burst 3028b cburst 12375b quantum 2340 prio 7",
        "qdisc add parent 6771:2 bfifo limit 625000",
        "class add parent 6771:1 classid 6771:100 htb rate 1000000bit ceil 1000000bit burst 8486b cburst 8486b quantum 1562 prio 0",
    ];

    #[test]
    fn a_set_up_reads_like_tc() {
        assert_eq!(commands(&diff(&small_tree(), &ObservedTree::default())), SET_UP);
    }

    #[test]
    fn a_tree_of_which_only_the_root_is_known_is_replaced() {
        let tree = small_tree();
        let change = diff(&tree, &ObservedTree::root_only(tree.root()));
        assert_eq!(commands(&change), [&["qdisc del root handle 6771:"][..], &SET_UP].concat());
    }

    #[test]
    fn a_tree_with_other_leaves_is_changed_in_place() {
        let tree = small_tree();
        let mut kernel = KernelRules::default();
        kernel.apply_all(&diff(&tree, &ObservedTree::default()).ops);
        let leaf = kernel.classes[&flow_class(0)];
        let slow = HtbClass { rate: Rate::new(1000), ..leaf };
        let child = HtbClass { handle: ROOT_QDISC.class(6), parent: ROOT_QDISC.class(5), ..leaf };
        kernel.apply_all(&[
            Op::DeleteQueue { parent: DEFAULT_CLASS, queue: tree.shape().default_queue() },
            Op::ChangeClass { to: slow, from: leaf },
            Op::AddClass(HtbClass { handle: ROOT_QDISC.class(5), ..leaf }),
            Op::AddClass(child),
        ]);
        assert_eq!(
            commands(&diff(&tree, &kernel.observed())),
            [
                SET_UP[3],
                &SET_UP[4].replace("add", "change"),
                "class del classid 6771:6",
                "class del classid 6771:5",
            ]
        );
    }

    #[test]
    fn a_foreign_class_goes_after_the_filters_that_lead_to_it() {
        let tree = small_tree();
        let mut kernel = KernelRules::default();
        kernel.apply_all(&diff(&tree, &ObservedTree::default()).ops);
        let foreign = HtbClass { handle: ROOT_QDISC.class(0x8000), ..kernel.classes[&flow_class(0)] };
        kernel.apply_all(&[Op::AddClass(foreign)]);
        let place = FilterPlace { parent: ROOT_QDISC, chain: 0, priority: 1, u32_handle: None };
        kernel.filters.insert(place, foreign.handle);
        kernel.filters.insert(FilterPlace { parent: flow_class(0), chain: 3, ..place }, foreign.handle);
        let change = diff(&tree, &kernel.observed());
        assert_eq!(
            commands(&change),
            [
                "filter del parent 6771: prio 1",
                "filter del parent 6771:100 chain 3 prio 1",
                "class del classid 6771:8000",
            ]
        );
        assert_eq!(
            change.repaired().to_string(),
            "a filter below 6771: was added by another program, a filter below 6771:100 was added by another program, \
             class 6771:8000 was added by another program"
        );
    }

    #[test]
    fn foreign_queues_are_replaced_and_the_tree_stays() {
        let tree = small_tree();
        let mut kernel = KernelRules::default();
        kernel.apply_all(&diff(&tree, &ObservedTree::default()).ops);
        let foreign = HtbClass { handle: ROOT_QDISC.class(0x8000), ..kernel.classes[&flow_class(0)] };
        kernel.apply_all(&[Op::AddClass(foreign)]);
        for class in [DEFAULT_CLASS, flow_class(0), foreign.handle] {
            kernel.queues.insert(class, Queue::Other("pfifo".into()));
        }
        let change = diff(&tree, &kernel.observed());
        assert_eq!(
            commands(&change),
            [
                "qdisc del parent 6771:100",
                "qdisc del parent 6771:2",
                SET_UP[3],
                "class del classid 6771:8000",
            ]
        );
        let (trunk, flows) = kernel.observed().without_flows(tree.shape());
        let without = commands(&diff(&Desired::new(*tree.shape()), &trunk));
        assert_eq!(flows, 2);
        assert_eq!(
            without[..2],
            ["qdisc del parent 6771:100", "qdisc del parent 6771:8000"],
            "queues of flows are compared where their classes are not"
        );
    }
}
