//! The desired tree of an interface.
//!
//! ```text
//! 6771: htb root
//!  └ 6771:1     the link: rate = ceil = 99 % of the capacity
//!     ├ 6771:2     traffic without a reservation: borrows what is unused
//!     ├ 6771:10…   one class for each policy class, for its flows beyond the bound
//!     └ 6771:100…  one class for each admitted flow
//! ```
//!
//! These are the numbers of block 0. The trees of a manager have different blocks: [`ClassBlock`](super::ClassBlock).
//!
//! HTB serves a leaf with tokens of its own before every leaf that borrows, so a reserved flow never waits for bulk
//! traffic longer than one packet takes. HTB does not compare the rates of the leaves with that of their parent:
//! admission keeps their sum within the link.

use std::collections::BTreeMap;

use flowspec::Rate;

use super::change::{Change, Op};
use super::handle::Handle;
use super::htb::{HtbClass, HtbRoot};
use super::layout::{DEFAULT_CLASS, LINK_CLASS, OWN_ROOT, ROOT_QDISC, flow_number, is_shared_class};
use super::shape::{Framed, LinkShape};

/// The tree that an interface is to have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Desired {
    shape: LinkShape,
    leaves: BTreeMap<Handle, Leaf>,
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
        Self { shape, leaves: BTreeMap::new() }
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

    /// All classes, parents first.
    pub fn classes(&self) -> impl Iterator<Item = HtbClass> {
        self.trunk().into_iter().chain(self.leaves().copied())
    }

    /// Gives a class to this traffic, or changes it, or deletes it where there is no traffic: the change to apply.
    pub fn set_leaf(&mut self, handle: Handle, traffic: Option<Framed>) -> Change {
        let leaf = traffic.map(|traffic| Leaf { class: self.shape.leaf(handle, traffic), traffic });
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
        Change::of_class(before.map(|leaf| leaf.class), leaf.map(|leaf| leaf.class))
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
        Change { ops }
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
        let reserved = default.rate.checked_add(self.shape.rates.left_for_leaves());
        assert_eq!(reserved, Some(link.rate), "the default class and the leaves have the link");
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
        budgeted: Rate::new(1000),
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
        let faster = Framed { rate: Rate::new(2000), budgeted: Rate::new(2000), ..TRAFFIC };
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
                "class change parent 6771:1 classid 6771:2 htb rate 750000bit ceil 49500000bit burst 3028b cburst 6187b quantum 1514 prio 7",
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
        let traffic = Framed { rate, budgeted: rate, ..TRAFFIC };
        tree.set_leaf(flow_class(0), Some(traffic));
        let rates = LinkRates { budget: Rate::from_mbit(100), ..SHAPE.rates };
        let change = tree.reshape(LinkShape { rates, ..SHAPE });
        // 12 251 250 of 15 234 375 B/s.
        let last = change.ops.last().map(Op::to_string).unwrap_or_default();
        assert!(
            last.starts_with(
                "class change parent 6771:1 classid 6771:100 htb rate 32167384bit ceil 40000000bit"
            ),
            "{last}"
        );
        let back = tree.reshape(SHAPE);
        let last = back.ops.last().map(Op::to_string).unwrap_or_default();
        assert!(last.contains("rate 40000000bit ceil 40000000bit"), "{last}");
        assert_eq!(tree.reshape(SHAPE), Change::default());
    }

    #[test]
    #[should_panic(expected = "6771:2 is no class for flows")]
    fn the_trunk_is_no_place_for_flows() {
        Desired::new(SHAPE).set_leaf(DEFAULT_CLASS, Some(TRAFFIC));
    }
}
