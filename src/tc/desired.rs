//! The desired tree of an interface.
//!
//! ```text
//! 6771: htb root
//!  └ 6771:1     the link: rate = ceil = 99 % of the capacity
//!     ├ 6771:2     traffic without a reservation: borrows what is unused
//!     ├ 6771:10…   one class for each policy class, for its flows beyond the bound
//!     └ 6771:100…  one class for each admitted flow; in a large tree some without flows
//! ```
//!
//! These are the numbers of block 0. The trees of a manager have different blocks: [`ClassBlock`](super::ClassBlock).
//!
//! HTB serves a leaf with tokens of its own before every leaf that borrows, so a reserved flow never waits for bulk
//! traffic longer than one packet takes. HTB does not compare the rates of the leaves with that of their parent:
//! admission keeps their sum within the link.

use flowspec::{Micros, Rate};

use super::change::{Change, Op};
use super::htb::{HtbClass, HtbRoot};
use super::idle::{IdleClass, LEAST_POOLED, MOST_COUNTED};
use super::layout::{DEFAULT_CLASS, LINK_CLASS, OWN_ROOT, ROOT_QDISC, flow_number, is_shared_class};
use super::shape::{Framed, LinkShape};
use crate::kernel::Handle;
use crate::ordered::OrderedMap;

/// The tree that an interface is to have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Desired {
    shape: LinkShape,
    leaves: OrderedMap<Handle, Leaf>,
    /// Classes without flows.
    idle: OrderedMap<Handle, IdleClass>,
}

/// The class of flows, and their traffic.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Leaf {
    class: HtbClass,
    traffic: Framed,
}

/// [`Desired::invariants`] runs after each change of a tree with at most this many leaves, in debug builds: it takes
/// time in proportion to them. Of a larger tree the changed leaf alone is checked.
const CHECKED_LEAVES: usize = 64;

impl Desired {
    /// The tree without flows.
    pub const fn new(shape: LinkShape) -> Self {
        Self { shape, leaves: OrderedMap::new(), idle: OrderedMap::new() }
    }

    /// The link that the tree is built for.
    pub const fn shape(&self) -> &LinkShape {
        &self.shape
    }

    /// The HTB that all classes are below.
    pub const fn root(&self) -> HtbRoot {
        OWN_ROOT
    }

    /// The classes of the link and of traffic without a reservation, parents first.
    pub fn trunk(&self) -> [HtbClass; 2] {
        [self.shape.link_class(), self.shape.default_class()]
    }

    /// The settings of the leaf with this handle; `None` where the tree has none.
    pub fn leaf(&self, handle: Handle) -> Option<HtbClass> {
        self.leaves.get(&handle).map(|leaf| leaf.class)
    }

    /// The classes of flows.
    pub fn leaves(&self) -> impl Iterator<Item = &HtbClass> {
        self.leaves.values().map(|leaf| &leaf.class)
    }

    /// The classes without flows.
    pub fn idle(&self) -> impl Iterator<Item = &HtbClass> {
        self.idle.values().map(|idle| &idle.class)
    }

    /// All classes, parents first.
    pub fn classes(&self) -> impl Iterator<Item = HtbClass> {
        self.trunk().into_iter().chain(self.below_trunk().copied())
    }

    /// The classes of flows, and those without flows.
    pub(super) fn below_trunk(&self) -> impl Iterator<Item = &HtbClass> {
        self.leaves().chain(self.idle())
    }

    /// How many classes are without flows.
    pub fn idle_count(&self) -> usize {
        self.idle.len()
    }

    /// How long an idle class has to have been idle for this traffic to start with full buckets; `None` where it is not
    /// idle, or would never have them.
    pub fn rest_before(&self, handle: Handle, traffic: Framed) -> Option<Micros> {
        self.idle.get(&handle)?.rest_before(&self.shape.leaf(handle, traffic))
    }

    /// Takes the traffic from a class, which is kept for the next where the tree is large, and else deleted: the change to
    /// apply.
    ///
    /// `full_in` is how long the class takes until its buckets are full; `None` where that is not known.
    pub fn end_leaf(&mut self, handle: Handle, full_in: Option<Micros>) -> Change {
        let is_large = self.leaves.len() + self.idle.len() >= LEAST_POOLED;
        let fits_now = self.idle.len() < usize::from(self.shape.rates.most_idle());
        match (self.leaves.get(&handle), full_in.filter(|full_in| *full_in <= MOST_COUNTED)) {
            (Some(leaf), Some(full_in)) if is_large && fits_now && flow_number(handle).is_some() => {
                let (from, idle) = (leaf.class, IdleClass::new(&self.shape, &leaf.class, full_in));
                self.leaves.remove(&handle);
                self.idle.insert(handle, idle);
                Change::of_class(Some(from), Some(idle.class))
            }
            _ => self.set_leaf(handle, None),
        }
    }

    /// Gives a class to this traffic, or changes it, or deletes it where there is no traffic: the change to apply. An idle
    /// class is changed or deleted as well.
    pub fn set_leaf(&mut self, handle: Handle, traffic: Option<Framed>) -> Change {
        let leaf = traffic.map(|traffic| Leaf { class: self.shape.leaf(handle, traffic), traffic });
        let idle = self.idle.remove(&handle);
        let before = match leaf {
            Some(leaf) => self.leaves.insert(handle, leaf),
            None => self.leaves.remove(&handle),
        };
        if cfg!(debug_assertions) {
            match leaf {
                Some(leaf) if self.leaves.len() > CHECKED_LEAVES => self.check_leaf(&leaf),
                _ => self.invariants(),
            }
        }
        let before = before.map(|leaf| leaf.class).or(idle.map(|idle| idle.class));
        Change::of_class(before, leaf.map(|leaf| leaf.class))
    }

    /// Builds the tree for another link from now on: the change to apply. Leaves stay as they are, but for the rate that
    /// they have of their own where another part of the link is left for them.
    ///
    /// A link that carries nothing changes nothing: its queues drain when it carries something again.
    pub fn reshape(&mut self, shape: LinkShape) -> Change {
        if shape.rates.capacity == Rate::ZERO {
            return Change::default();
        }
        let (before, queue) = (self.trunk(), self.shape.default_queue());
        self.shape = shape;
        let idle = self.reshape_idle();
        let leaves: Vec<_> = self
            .leaves
            .values_mut()
            .flat_map(|leaf| {
                let from = leaf.class;
                leaf.class.rate = shape.rates.own_rate(&leaf.traffic);
                Change::of_class(Some(from), Some(leaf.class)).ops
            })
            .collect();
        if cfg!(debug_assertions) {
            self.invariants();
        }
        let classes = before.into_iter().zip(self.trunk());
        let mut ops: Vec<_> =
            classes.flat_map(|(from, to)| Change::of_class(Some(from), Some(to)).ops).collect();
        let to = self.shape.default_queue();
        if to != queue {
            ops.push(Op::ChangeQueue { parent: DEFAULT_CLASS, to, from: queue });
        }
        ops.extend(leaves);
        ops.extend(idle);
        Change { ops }
    }

    /// Brings the idle classes in line with the link: one that does not fit is deleted.
    fn reshape_idle(&mut self) -> Vec<Op> {
        let most = usize::from(self.shape.rates.most_idle());
        let kept: Vec<_> = self.idle.keys().copied().take(most).collect();
        let before = std::mem::take(&mut self.idle);
        let mut ops = Vec::new();
        for (handle, idle) in before {
            let to = kept.contains(&handle).then(|| self.shape.idle_class(handle));
            if let Some(class) = to {
                self.idle.insert(handle, IdleClass { class, ..idle });
            }
            ops.extend(Change::of_class(Some(idle.class), to).ops);
        }
        ops
    }

    /// The change that deletes the tree.
    pub fn tear_down(&self) -> Change {
        Change { ops: vec![Op::DeleteRoot(self.root())] }
    }

    /// Checks what the rest of the module relies on. Takes time in proportion to the leaves.
    ///
    /// - **Panics**: where the tree is not as this module builds it.
    pub fn invariants(&self) {
        let [link, default] = self.trunk();
        assert_eq!((link.handle, link.parent), (LINK_CLASS, ROOT_QDISC));
        assert_eq!((default.handle, default.parent), (DEFAULT_CLASS, LINK_CLASS));
        assert_eq!(link.rate, link.ceil, "the link has nothing to borrow from");
        assert!(default.rate <= default.ceil && default.ceil <= link.rate, "{default} below {link}");
        let rates = self.shape.rates;
        let reserved = default.rate.checked_add(rates.left_for_leaves());
        let reserved = reserved.and_then(|reserved| reserved.checked_add(rates.idle_rate()));
        assert_eq!(reserved, Some(link.rate), "the default class, the leaves and idle classes have the link");
        assert!(self.idle.len() <= usize::from(rates.most_idle()), "{} idle classes", self.idle.len());
        for (handle, idle) in &self.idle {
            assert_eq!(self.shape.idle_class(*handle), idle.class);
            assert!(flow_number(*handle).is_some(), "{handle} is no flow's class");
            assert!(!self.leaves.contains_key(handle), "{handle} is idle and has flows");
        }
        for (handle, leaf) in &self.leaves {
            assert_eq!(*handle, leaf.class.handle);
            self.check_leaf(leaf);
        }
    }

    fn check_leaf(&self, leaf: &Leaf) {
        let Leaf { class, traffic } = leaf;
        let handle = class.handle;
        assert!(flow_number(handle).is_some() || is_shared_class(handle), "{handle} is no class for flows");
        assert_eq!(class.parent, LINK_CLASS, "{handle}");
        assert_eq!(class.rate, self.shape.rates.own_rate(traffic), "{class}");
        assert!(class.rate <= class.ceil && traffic.rate <= class.ceil, "{class}");
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::{flow_class, shared_class};
    use super::super::shape::LinkRates;
    use super::*;
    use flowspec::{Bytes, Micros};

    const SHAPE: LinkShape = LinkShape {
        rates: LinkRates { capacity: Rate::from_mbit(100), budget: Rate::from_mbit(80) },
        mtu: Bytes::new(1500),
        wait: Micros::new(0),
    };

    const TRAFFIC: Framed = Framed {
        rate: Rate::new(1000),
        charged: Rate::new(1000),
        peak: None,
        bucket: Bytes::new(10_000),
        packet: Bytes::new(1514),
    };

    #[test]
    fn a_leaf_is_added_changed_and_deleted() {
        let mut tree = Desired::new(SHAPE);
        let empty = tree.clone();
        let added = tree.set_leaf(flow_class(7), Some(TRAFFIC));
        let leaf = *tree.leaves().next().expect("a leaf");
        assert_eq!(added.ops, [Op::AddClass(leaf)]);
        assert_eq!(tree.set_leaf(flow_class(7), Some(TRAFFIC)), Change::default(), "as it is");
        let faster = Framed { rate: Rate::new(2000), charged: Rate::new(2000), ..TRAFFIC };
        let changed = tree.set_leaf(flow_class(7), Some(faster));
        let to = *tree.leaves().next().expect("a leaf");
        assert_eq!(changed.ops, [Op::ChangeClass { to, from: leaf }]);
        assert_eq!(tree.set_leaf(flow_class(7), None).ops, [Op::DeleteClass(to)]);
        assert_eq!(tree.set_leaf(flow_class(7), None), Change::default(), "there is none");
        assert_eq!(tree, empty);
    }

    #[test]
    fn another_capacity_changes_the_trunk_and_its_queue() {
        let mut tree = Desired::new(SHAPE);
        tree.set_leaf(shared_class(0), Some(TRAFFIC));
        let before = tree.clone();
        let rates = LinkRates { capacity: Rate::from_mbit(50), budget: Rate::from_mbit(40) };
        let slower = LinkShape { rates, ..SHAPE };
        let commands: Vec<_> = tree.reshape(slower).ops.iter().map(Op::to_string).collect();
        assert_eq!(
            commands,
            [
                "class change parent 6771: classid 6771:1 htb rate 49500000bit ceil 49500000bit burst 6187b cburst 6187b quantum 60000 prio 0",
                "class change parent 6771:1 classid 6771:2 htb rate 747952bit ceil 49500000bit burst 3028b cburst 6187b quantum 1514 prio 7",
                "qdisc change parent 6771:2 bfifo limit 312500",
            ]
        );
        assert_eq!(tree.leaves().collect::<Vec<_>>(), before.leaves().collect::<Vec<_>>());
        assert_eq!(tree.reshape(slower), Change::default());
        let down = tree.clone();
        assert_eq!(
            tree.reshape(LinkShape { rates: LinkRates { capacity: Rate::ZERO, ..rates }, ..slower }),
            Change::default()
        );
        assert_eq!(tree, down, "a link that is down changes nothing");
    }

    #[test]
    fn leaves_have_less_of_their_own_where_the_budget_leaves_less() {
        let mut tree = Desired::new(SHAPE);
        let rate = Rate::from_mbit(40);
        let traffic = Framed { rate, charged: rate, ..TRAFFIC };
        tree.set_leaf(flow_class(0), Some(traffic));
        let rates = LinkRates { budget: Rate::from_mbit(100), ..SHAPE.rates };
        let change = tree.reshape(LinkShape { rates, ..SHAPE });
        // 12 251 250 of 12 500 000 B/s.
        let last = change.ops.last().map(Op::to_string).unwrap_or_default();
        assert!(
            last.starts_with(
                "class change parent 6771:1 classid 6771:100 htb rate 39204000bit ceil 40000000bit"
            ),
            "{last}"
        );
        let back = tree.reshape(SHAPE);
        let last = back.ops.last().map(Op::to_string).unwrap_or_default();
        assert!(last.contains("rate 40000000bit ceil 40000000bit"), "{last}");
        assert_eq!(tree.reshape(SHAPE), Change::default());
    }

    /// A tree of flows with these numbers.
    fn of_flows(numbers: std::ops::Range<u16>) -> Desired {
        let mut tree = Desired::new(SHAPE);
        for number in numbers {
            tree.set_leaf(flow_class(number), Some(TRAFFIC));
        }
        tree
    }

    #[test]
    fn a_large_tree_keeps_the_class_of_a_flow_that_ends() {
        let full_in = Some(Micros::new(5));
        let mut small = of_flows(0..63);
        let leaf = small.leaf(flow_class(1)).expect("a leaf");
        assert_eq!(small.end_leaf(flow_class(1), full_in).ops, [Op::DeleteClass(leaf)]);
        let mut tree = of_flows(0..65);
        assert_eq!(
            tree.end_leaf(flow_class(2), None).ops,
            [Op::DeleteClass(HtbClass { handle: flow_class(2), ..leaf })],
            "not known when it is full"
        );
        let to = SHAPE.idle_class(flow_class(1));
        assert_eq!(tree.end_leaf(flow_class(1), full_in).ops, [Op::ChangeClass { to, from: leaf }]);
        assert_eq!((tree.leaf(flow_class(1)), tree.idle_count()), (None, 1));
        assert!(tree.classes().any(|class| class == to), "it is part of the tree");
        assert_eq!(tree.rest_before(flow_class(1), TRAFFIC), full_in);
        assert_eq!(tree.rest_before(flow_class(3), TRAFFIC), None, "it has flows");
        assert_eq!(tree.set_leaf(flow_class(1), Some(TRAFFIC)).ops, [Op::ChangeClass { to: leaf, from: to }]);
        assert_eq!(tree.idle_count(), 0);
        tree.end_leaf(flow_class(1), full_in);
        assert_eq!(tree.set_leaf(flow_class(1), None).ops, [Op::DeleteClass(to)]);
        tree.invariants();
    }

    #[test]
    fn idle_classes_are_bounded_and_follow_the_link() {
        let mut tree = of_flows(0..400);
        for number in 0..300 {
            tree.end_leaf(flow_class(number), Some(Micros::new(0)));
        }
        assert_eq!((tree.idle_count(), tree.leaves().count()), (256, 100));
        tree.invariants();
        let rates = LinkRates { capacity: Rate::from_mbit(200), ..SHAPE.rates };
        let change = tree.reshape(LinkShape { rates, ..SHAPE });
        assert_eq!(change.ops.len(), 3 + 256, "the trunk, its queue and the idle classes");
        let rates = LinkRates { capacity: Rate::from_mbit(9), budget: Rate::from_mbit(5) };
        let change = tree.reshape(LinkShape { rates, ..SHAPE });
        let deleted = change.ops.iter().filter(|op| matches!(op, Op::DeleteClass(_))).count();
        assert_eq!((deleted, tree.idle_count()), (256, 0), "a slow link has none");
        tree.invariants();
    }

    #[test]
    #[should_panic(expected = "6771:2 is no class for flows")]
    fn the_trunk_is_no_place_for_flows() {
        Desired::new(SHAPE).set_leaf(DEFAULT_CLASS, Some(TRAFFIC));
    }
}
