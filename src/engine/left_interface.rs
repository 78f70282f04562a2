//! What is known of an interface that is managed no more, until its tree is deleted.

use crate::failure::KernelFailure;
use crate::linux::{KeptRoot, SavedTree};
use crate::tc::HtbRoot;

/// An interface that is managed no more.
pub(super) struct LeftInterface {
    /// The number of its link.
    pub(super) index: u32,
    /// The name that it was managed under.
    pub(super) interface: String,
    /// The root of its tree; `None` where it has none.
    pub(super) root: Option<HtbRoot>,
}

/// What became of an interface that is managed no more.
pub(super) struct UprootedInterface {
    pub(super) index: u32,
    pub(super) interface: String,
    pub(super) outcome: Result<Uprooted, KernelFailure>,
}

/// What became of its tree.
pub(super) enum Uprooted {
    /// It is deleted; with what became of the qdisc that was taken over.
    Deleted(KeptRoot),
    /// Its link is gone.
    LinkGone,
}

/// A foreign root qdisc in whose place gqos's tree is.
pub(super) struct TakenOver {
    /// The name under which the interface is managed.
    pub(super) interface: String,
    pub(super) saved: SavedTree,
}
