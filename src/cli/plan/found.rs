//! What the kernel has of an interface.

use gqos::kernel::ClaimHolder;
use gqos::linux::{Ingress, Link};
use gqos::tc::{ForeignRoot, ObservedTree, QueueKind};

/// An interface, as it was looked at.
pub(super) struct Found {
    pub(super) name: String,
    /// Which queue the kernel offers.
    pub(super) queue: QueueKind,
    /// The link, its tree and the process that manages it; `None` where the machine has no such link.
    pub(super) present: Option<(Link, Result<ObservedTree, ForeignRoot>, Option<ClaimHolder>)>,
    /// What it has for what it receives; `None` where the machine has no such link.
    pub(super) receiving: Option<FoundReceiving>,
}

/// What the kernel has of the receiving half of an interface.
pub(super) struct FoundReceiving {
    /// What has the packets that it receives.
    pub(super) ingress: Ingress,
    /// The tree of its ifb, if it has one of gqos.
    pub(super) tree: Option<ObservedTree>,
}
