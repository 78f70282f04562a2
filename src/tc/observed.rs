//! The observed tree of an interface: what a dump of its qdiscs and classes shows.

use std::fmt;

use super::htb::{HtbClass, HtbRoot};
use super::layout::{DEFAULT_CLASS, LINK_CLASS, OWN_ROOT, ROOT_QDISC, flow_number, is_shared_class};
use super::observed_filter::ObservedFilter;
use super::queue::Queue;
use super::shape::LinkShape;
use crate::kernel::Handle;
use crate::ordered::{OrderedMap, OrderedSet};

/// The root qdisc of an interface.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum ObservedRoot {
    /// The kernel's default, which has no handle and returns whenever another root is deleted.
    #[default]
    Default,
    /// An HTB, which may be a tree of gqos.
    Htb(HtbRoot),
    /// A qdisc of another kind.
    Other(ForeignRoot),
}

impl fmt::Display for ObservedRoot {
    /// In `tc`'s words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("no root qdisc but the kernel's own"),
            Self::Htb(HtbRoot { handle, default, direct_queue }) => {
                write!(f, "qdisc root handle {handle} htb default {default:x} direct_qlen {direct_queue}")
            }
            Self::Other(ForeignRoot { kind, handle }) => write!(f, "qdisc root handle {handle} {kind}"),
        }
    }
}

/// A root qdisc that is not gqos's: it is left alone.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{kind} {handle}")]
pub struct ForeignRoot {
    /// TCA_KIND: `fq_codel`.
    pub kind: String,
    /// `major:`; zero for a qdisc that the kernel has made.
    pub handle: Handle,
}

/// Why a tree whose root has gqos's handle is not gqos's.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NotOfGqos {
    /// The root has other settings.
    #[error(
        "its root has default {default:x} and direct_qlen {direct_queue}; gqos's has default 2 and direct_qlen 0"
    )]
    Root {
        /// The minor number of the default class.
        default: u16,
        /// The length of the direct queue in packets.
        direct_queue: u32,
    },
    /// gqos makes no such class.
    #[error("gqos makes no class {handle} below {parent}")]
    Class {
        /// The class that the dump names.
        handle: Handle,
        /// The class or qdisc above it.
        parent: Handle,
    },
}

/// The root, classes and queues of an interface, as one dump has them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ObservedTree {
    pub(super) root: Option<HtbRoot>,
    /// What is below the root; `None` where it is not known.
    pub(super) below: Option<TreeBelow>,
}

/// What is below the root.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct TreeBelow {
    pub(super) classes: OrderedMap<Handle, HtbClass>,
    /// The queues of classes that have another than the kernel's default.
    pub(super) queues: OrderedMap<Handle, Queue>,
    /// The filters of the root and of classes.
    pub(super) filters: OrderedSet<ObservedFilter>,
}

impl ObservedRoot {
    /// The root that may be replaced: `None` for the kernel's default.
    ///
    /// - **Errors**: a qdisc that is not gqos's.
    pub fn own(self) -> Result<Option<HtbRoot>, ForeignRoot> {
        match self {
            Self::Default => Ok(None),
            Self::Htb(root) if root.handle == ROOT_QDISC => Ok(Some(root)),
            Self::Htb(root) => Err(ForeignRoot { kind: HtbRoot::KIND.to_owned(), handle: root.handle }),
            Self::Other(foreign) => Err(foreign),
        }
    }
}

impl HtbRoot {
    /// This root if it is gqos's by all its settings: another program's may have the same handle.
    ///
    /// - **Errors**: a root with other settings.
    pub fn own(self) -> Result<Self, ForeignRoot> {
        match self == OWN_ROOT {
            true => Ok(self),
            false => Err(ForeignRoot { kind: Self::KIND.to_owned(), handle: self.handle }),
        }
    }
}

impl ObservedTree {
    /// This tree if its root, where it has one, is gqos's by all its settings.
    ///
    /// - **Errors**: a root with other settings.
    pub fn own(self) -> Result<Self, ForeignRoot> {
        match self.root.map(HtbRoot::own) {
            Some(Err(foreign)) => Err(foreign),
            Some(Ok(_)) | None => Ok(self),
        }
    }

    /// The tree in a dump: its root, the queues by their classes, and the classes.
    ///
    /// - **Errors**: the root is not gqos's, so there is nothing that may be changed.
    pub fn new(
        root: ObservedRoot,
        queues: impl IntoIterator<Item = (Handle, Queue)>,
        classes: impl IntoIterator<Item = HtbClass>,
    ) -> Result<Self, ForeignRoot> {
        let Some(root) = root.own()? else { return Ok(Self::default()) };
        let below = TreeBelow {
            classes: classes.into_iter().map(|class| (class.handle, class)).collect(),
            // What a queue of another program has below it goes with that.
            queues: queues.into_iter().filter(|(parent, _)| parent.major() == ROOT_QDISC.major()).collect(),
            filters: OrderedSet::new(),
        };
        Ok(Self { root: Some(root), below: Some(below) })
    }

    /// The same with the filters of its root and of its classes.
    #[must_use]
    pub fn with_filters(mut self, filters: impl IntoIterator<Item = ObservedFilter>) -> Self {
        if let Some(below) = &mut self.below {
            below.filters.extend(filters);
        }
        self
    }

    /// A tree of which the root alone is known. [`diff`](super::diff) replaces it.
    pub const fn root_only(root: HtbRoot) -> Self {
        Self { root: Some(root), below: None }
    }

    /// The tree without the classes that gqos may have made for flows of a link of this shape, which a running manager adds and
    /// deletes, and how many there are. Filters that lead to them are left out as well.
    #[must_use]
    pub fn without_flows(mut self, shape: &LinkShape) -> (Self, usize) {
        let Some(below) = &mut self.below else { return (self, 0) };
        let inner: OrderedSet<_> = below.classes.values().map(|class| class.parent).collect();
        let is_flows = |class: &HtbClass| !inner.contains(&class.handle) && shape.may_be_of_a_flow(class);
        let of_flows: OrderedSet<_> =
            below.classes.values().filter(|class| is_flows(class)).map(|class| class.handle).collect();
        below.classes.retain(|handle, _| !of_flows.contains(handle));
        below.filters.retain(|filter| filter.unwanted(|class| of_flows.contains(&class)).is_some());
        (self, of_flows.len())
    }

    /// Whether gqos has made this tree, by more than the handle of its root: the settings of the root and the place of each
    /// class are gqos's as well. A tree that is not complete is gqos's too.
    ///
    /// - **Errors**: the first object that gqos does not make.
    pub fn check_layout(&self) -> Result<(), NotOfGqos> {
        let Some(root) = self.root else { return Ok(()) };
        if root != OWN_ROOT {
            return Err(NotOfGqos::Root { default: root.default, direct_queue: root.direct_queue });
        }
        let is_own = |class: &&HtbClass| {
            let HtbClass { handle, parent, .. } = **class;
            let is_flow = || flow_number(handle).is_some() || is_shared_class(handle);
            (handle == LINK_CLASS && parent == ROOT_QDISC)
                || (parent == LINK_CLASS && (handle == DEFAULT_CLASS || is_flow()))
        };
        match self.classes().find(|class| !is_own(class)) {
            Some(class) => Err(NotOfGqos::Class { handle: class.handle, parent: class.parent }),
            None => Ok(()),
        }
    }

    /// The root, where there is one.
    pub const fn root(&self) -> Option<HtbRoot> {
        self.root
    }

    /// The classes, as far as they are known.
    pub fn classes(&self) -> impl Iterator<Item = &HtbClass> {
        self.below.iter().flat_map(|below| below.classes.values())
    }
}

impl TreeBelow {
    /// Whether the class has children.
    pub(super) fn is_inner(&self, handle: Handle) -> bool {
        self.classes.values().any(|class| class.parent == handle)
    }

    /// How many classes are above this one.
    pub(super) fn depth(&self, class: &HtbClass) -> usize {
        let parents = std::iter::successors(Some(class), |class| self.classes.get(&class.parent));
        // A dump cannot show a circle, but a limit costs nothing.
        parents.take(MOST_LEVELS).count()
    }
}

/// `TC_HTB_MAXDEPTH`.
const MOST_LEVELS: usize = 8;

#[cfg(test)]
mod tests {
    use super::super::fifo::Bfifo;
    use super::super::layout::{flow_class, shared_class};
    use super::super::shape::{Framed, LinkRates};
    use super::*;
    use flowspec::{Bytes, Micros, Rate};

    const ROOT: HtbRoot = HtbRoot { handle: ROOT_QDISC, default: 2, direct_queue: 0 };

    fn class(handle: Handle, parent: Handle) -> HtbClass {
        let (rate, size) = (Rate::new(1000), Bytes::new(3000));
        HtbClass { handle, parent, rate, ceil: rate, burst: size, cburst: size, quantum: size, prio: 0 }
    }

    #[test]
    fn what_is_observed_is_said_in_the_words_of_tc() {
        let check = |found: &dyn fmt::Display, words: &str| assert_eq!(found.to_string(), words);
        check(&ObservedRoot::Default, "no root qdisc but the kernel's own");
        check(&ObservedRoot::Htb(ROOT), "qdisc root handle 6771: htb default 2 direct_qlen 0");
        let other = ForeignRoot { kind: "fq_codel".into(), handle: Handle::qdisc(0x8001) };
        check(&ObservedRoot::Other(other), "qdisc root handle 8001: fq_codel");
        check(&Queue::Bfifo(Bfifo { limit: Bytes::new(1000) }), "bfifo limit 1000");
        check(&Queue::Other("prio".into()), "prio");
    }

    #[test]
    fn a_foreign_root_is_not_observed() {
        let other = ForeignRoot { kind: "fq_codel".into(), handle: Handle::qdisc(0x8001) };
        assert_eq!(ObservedTree::new(ObservedRoot::Other(other.clone()), [], []), Err(other));
        let htb = ObservedRoot::Htb(HtbRoot { handle: Handle::qdisc(1), ..ROOT });
        let error = ObservedTree::new(htb, [], []).expect_err("another handle");
        assert_eq!(error.to_string(), "htb 1:");
        assert_eq!(ObservedTree::new(ObservedRoot::Default, [], []), Ok(ObservedTree::default()));
    }

    #[test]
    fn the_queues_of_classes_are_part_of_the_tree_and_those_below_queues_are_not() {
        let queue = Queue::Bfifo(Bfifo { limit: Bytes::new(1000) });
        let other = (flow_class(0), Queue::Other("prio".into()));
        let below = (Handle::qdisc(0x8001).class(1), Queue::Other("sfq".into()));
        let queues = [other.clone(), below, (DEFAULT_CLASS, queue.clone())];
        let tree = ObservedTree::new(ObservedRoot::Htb(ROOT), queues, [class(LINK_CLASS, ROOT_QDISC)])
            .expect("ours");
        assert_eq!(tree.root(), Some(ROOT));
        assert_eq!(tree.below.expect("known").queues, OrderedMap::from([other, (DEFAULT_CLASS, queue)]));
    }

    const SHAPE: LinkShape = LinkShape {
        rates: LinkRates { capacity: Rate::from_mbit(100), budget: Rate::from_mbit(80) },
        mtu: Bytes::new(1500),
        wait: Micros::new(0),
    };

    fn leaf(handle: Handle, rate: Rate, peak: Option<Rate>) -> HtbClass {
        let (bucket, packet) = (Bytes::new(20_000), Bytes::new(1514));
        SHAPE.leaf(handle, Framed { rate, charged: rate, peak, bucket, packet })
    }

    #[test]
    fn classes_of_flows_can_be_left_out() {
        let foreign = HtbClass { handle: ROOT_QDISC.class(0x8000), ..class(LINK_CLASS, LINK_CLASS) };
        let flows = [
            leaf(flow_class(3), Rate::from_mbit(6), None),
            leaf(flow_class(4), Rate::new(1000), Some(Rate::from_mbit(90))),
            leaf(shared_class(1), Rate::from_mbit(79), None),
            SHAPE.idle_class(flow_class(5)),
        ];
        let others =
            [SHAPE.link_class(), SHAPE.default_class(), class(ROOT_QDISC.class(7), LINK_CLASS), foreign];
        let classes = flows.into_iter().chain(others);
        let (tree, count) =
            ObservedTree::new(ObservedRoot::Htb(ROOT), [], classes).expect("ours").without_flows(&SHAPE);
        let kept: Vec<_> = tree.classes().map(|class| class.handle).collect();
        assert_eq!((kept, count), (others.map(|class| class.handle).to_vec(), 4));
        assert_eq!(ObservedTree::default().without_flows(&SHAPE), (ObservedTree::default(), 0));
        let [flow, below] = [9, 10].map(|number| leaf(flow_class(number), Rate::from_mbit(6), None));
        let inner = [flow, HtbClass { parent: flow.handle, ..below }];
        let tree = ObservedTree::new(ObservedRoot::Htb(ROOT), [], inner).expect("ours");
        assert_eq!(tree.without_flows(&SHAPE).1, 0, "a flow's class has none below it");
    }

    #[test]
    fn a_tree_is_of_gqos_by_its_root_and_all_its_classes() {
        let trunk = [class(LINK_CLASS, ROOT_QDISC), class(DEFAULT_CLASS, LINK_CLASS)];
        let check = |root: HtbRoot, more: &[HtbClass], expected: Option<&str>| {
            let classes = trunk.iter().chain(more).copied();
            let found =
                ObservedTree::new(ObservedRoot::Htb(root), [], classes).expect("our handle").check_layout();
            assert_eq!(found.map_err(|error| error.to_string()).err().as_deref(), expected);
        };
        check(ROOT, &[], None);
        check(ROOT, &[class(flow_class(9), LINK_CLASS), class(shared_class(3), LINK_CLASS)], None);
        check(
            ROOT,
            &[class(ROOT_QDISC.class(5), LINK_CLASS)],
            Some("gqos makes no class 6771:5 below 6771:1"),
        );
        check(ROOT, &[class(flow_class(9), ROOT_QDISC)], Some("gqos makes no class 6771:109 below 6771:"));
        let words = "its root has default 10 and direct_qlen 0; gqos's has default 2 and direct_qlen 0";
        check(HtbRoot { default: 0x10, ..ROOT }, &[], Some(words));
        let queue = HtbRoot { direct_queue: 1000, ..ROOT };
        assert!(ObservedTree::root_only(queue).check_layout().is_err());
        assert_eq!(ObservedTree::root_only(ROOT).check_layout(), Ok(()), "a set-up that was cut short");
        assert_eq!(ObservedTree::default().check_layout(), Ok(()));
    }

    #[test]
    fn a_root_with_the_handle_of_gqos_and_other_settings_is_of_another_program() {
        let foreign = ForeignRoot { kind: "htb".to_owned(), handle: ROOT_QDISC };
        for root in [HtbRoot { default: 0x10, ..ROOT }, HtbRoot { direct_queue: 1000, ..ROOT }] {
            assert_eq!(ObservedTree::root_only(root).own(), Err(foreign.clone()));
        }
        for tree in [ObservedTree::root_only(ROOT), ObservedTree::default()] {
            assert_eq!(tree.clone().own(), Ok(tree));
        }
    }

    #[test]
    fn depth_is_bounded_even_in_a_circle() {
        let classes = [class(LINK_CLASS, ROOT_QDISC), class(flow_class(0), LINK_CLASS)];
        let circle = [class(flow_class(1), flow_class(2)), class(flow_class(2), flow_class(1))];
        let tree =
            ObservedTree::new(ObservedRoot::Htb(ROOT), [], classes.into_iter().chain(circle)).expect("ours");
        let below = tree.below.as_ref().expect("known");
        let depths: Vec<_> = tree.classes().map(|class| below.depth(class)).collect();
        assert_eq!(depths, [1, 2, MOST_LEVELS, MOST_LEVELS]);
        assert!(below.is_inner(LINK_CLASS) && !below.is_inner(flow_class(0)));
    }
}
