//! The observed tree of an interface: what a dump of its qdiscs and classes shows.

use std::collections::BTreeMap;

use super::fifo::Bfifo;
use super::handle::Handle;
use super::htb::{HtbClass, HtbRoot};
use super::layout::{DEFAULT_CLASS, ROOT_QDISC};

/// The root qdisc of an interface.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Root {
    /// The kernel's default, which has no handle and returns whenever another root is deleted.
    #[default]
    Default,
    /// An HTB.
    Htb(HtbRoot),
    /// A qdisc of another kind.
    Other(ForeignRoot),
}

/// A root qdisc that is not gqos's: it is left alone.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{kind} {handle}")]
pub struct ForeignRoot {
    /// Its kind, as in TCA_KIND.
    pub kind: String,
    /// Its handle.
    pub handle: Handle,
}

/// The queue of a class.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Queue {
    /// A bfifo.
    Bfifo(Bfifo),
    /// A qdisc of another kind, by TCA_KIND.
    Other(String),
}

/// The tree that an interface has.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Observed {
    pub(super) root: Option<HtbRoot>,
    /// What is below the root; `None` where it is not known.
    pub(super) below: Option<Below>,
}

/// What is below the root.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Below {
    pub(super) classes: BTreeMap<Handle, HtbClass>,
    /// The queue of the default class; `None` for the kernel's default. Queues of other classes go with them.
    pub(super) queue: Option<Queue>,
}

impl Root {
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

impl Observed {
    /// The tree in a dump: its root, the queues by their classes, and the classes.
    ///
    /// - **Errors**: the root is not gqos's, so there is nothing that may be changed.
    pub fn new(
        root: Root,
        queues: impl IntoIterator<Item = (Handle, Queue)>,
        classes: impl IntoIterator<Item = HtbClass>,
    ) -> Result<Self, ForeignRoot> {
        let Some(root) = root.own()? else { return Ok(Self::default()) };
        let of_the_default = |(parent, queue)| (parent == DEFAULT_CLASS).then_some(queue);
        let below = Below {
            classes: classes.into_iter().map(|class| (class.handle, class)).collect(),
            queue: queues.into_iter().find_map(of_the_default),
        };
        Ok(Self { root: Some(root), below: Some(below) })
    }

    /// A tree of which the root alone is known. [`diff`](super::diff) replaces it.
    pub const fn root_only(root: HtbRoot) -> Self {
        Self { root: Some(root), below: None }
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

impl Below {
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
    use super::super::layout::{LINK_CLASS, flow_class};
    use super::*;
    use flowspec::{Bytes, Rate};

    const ROOT: HtbRoot = HtbRoot { handle: ROOT_QDISC, default: 2, direct_queue: 0 };

    fn class(handle: Handle, parent: Handle) -> HtbClass {
        let (rate, size) = (Rate::new(1000), Bytes::new(3000));
        HtbClass { handle, parent, rate, ceil: rate, burst: size, cburst: size, quantum: size, prio: 0 }
    }

    #[test]
    fn a_foreign_root_is_not_observed() {
        let other = ForeignRoot { kind: "fq_codel".into(), handle: Handle::qdisc(0x8001) };
        assert_eq!(Observed::new(Root::Other(other.clone()), [], []), Err(other));
        let htb = Root::Htb(HtbRoot { handle: Handle::qdisc(1), ..ROOT });
        let error = Observed::new(htb, [], []).expect_err("another handle");
        assert_eq!(error.to_string(), "htb 1:");
        assert_eq!(Observed::new(Root::Default, [], []), Ok(Observed::default()));
    }

    #[test]
    fn the_queue_of_the_default_class_is_part_of_the_tree_and_others_are_not() {
        let queue = Queue::Bfifo(Bfifo { limit: Bytes::new(1000) });
        let queues = [(flow_class(0), Queue::Other("sfq".into())), (DEFAULT_CLASS, queue.clone())];
        let tree = Observed::new(Root::Htb(ROOT), queues, [class(LINK_CLASS, ROOT_QDISC)]).expect("ours");
        assert_eq!(tree.root(), Some(ROOT));
        assert_eq!(tree.below.expect("known").queue, Some(queue));
    }

    #[test]
    fn depth_is_bounded_even_in_a_circle() {
        let classes = [class(LINK_CLASS, ROOT_QDISC), class(flow_class(0), LINK_CLASS)];
        let circle = [class(flow_class(1), flow_class(2)), class(flow_class(2), flow_class(1))];
        let tree = Observed::new(Root::Htb(ROOT), [], classes.into_iter().chain(circle)).expect("ours");
        let below = tree.below.as_ref().expect("known");
        let depths: Vec<_> = tree.classes().map(|class| below.depth(class)).collect();
        assert_eq!(depths, [1, 2, MOST_LEVELS, MOST_LEVELS]);
        assert!(below.is_inner(LINK_CLASS) && !below.is_inner(flow_class(0)));
    }
}
