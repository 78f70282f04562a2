//! What the engine asks of the kernel.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;

use flowspec::Micros;

use crate::failure::{AnswerProblem, KernelCall, KernelFailure};
use crate::linux::{
    Claim, ClassState, KeptRoot, Link, LinkEvents, ReceivingLinks, RouteEvents, RouteQuery, SavedTree,
};
use crate::manager::Root;
use crate::tc::{
    Change, Desired, ForeignRoot, Handle, OWN_ROOT, ObservedTree, PlacedFilter, ReceivingChange,
    ReceivingState,
};

/// The kernel's answer to a call of the engine.
pub type KernelFuture<T> = Pin<Box<dyn Future<Output = Result<T, KernelFailure>> + Send>>;

/// The kernel of one network namespace. [`Netlink`](crate::linux::Netlink) is the real one; tests have their own.
///
/// The engine has at most one call of each interface under way at a time, [`class`](Self::class), [`route`](Self::route) and
/// those for a report excepted: [`classes`](Self::classes) and [`direct_packets`](Self::direct_packets). A call that does
/// not return stalls its interface alone, and is given up after some seconds.
pub trait Kernel: Send + Sync {
    /// The link by which the packets of a flow leave.
    fn route(&self, query: RouteQuery) -> KernelFuture<Link>;

    /// Whether the route of a flow may depend on its transport and its ports.
    fn routes_use_ports(&self) -> KernelFuture<bool> {
        Box::pin(std::future::ready(Ok(false)))
    }

    /// Changes of routes from now on; `None` where the kernel does not report them.
    fn watch_routes(&self) -> Option<RouteEvents> {
        None
    }

    /// The link of this name, if there is one.
    fn link(&self, name: &str) -> KernelFuture<Option<Link>>;

    /// The names of all links that carry packets, without loopback; none where links cannot be listed.
    fn carrying_links(&self) -> KernelFuture<Vec<String>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    /// What is installed at the root of an interface, with the claim on it where no other engine has one.
    fn root(&self, index: u32) -> KernelFuture<ClaimedRoot>;

    /// What may be installed where the kernel has not said so in time: a tree of gqos, to be compared once it answers, with
    /// the claim on the interface where no other engine has one.
    fn kept_root(&self, _index: u32) -> ClaimedRoot {
        ClaimedRoot::new(Root::Kept(OWN_ROOT), None)
    }

    /// The same under `takeover = true`: a foreign qdisc that can be restored is saved and deleted, and the root is then
    /// the kernel's default.
    fn take_over(&self, index: u32) -> KernelFuture<ClaimedRoot> {
        self.root(index)
    }

    /// Makes a foreign tree again that [`take_over`](Self::take_over) has saved, or [`root`](Self::root) has found.
    fn restore(&self, _index: u32, _saved: SavedTree) -> KernelFuture<()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// The same when the runtime has ended: blocks until the kernel has answered.
    fn restore_at_exit(&self, _index: u32, _saved: &SavedTree) {}

    /// What was saved of an interface is of no use any more, since its link is gone.
    fn forget_saved(&self, _index: u32) {}

    /// The tree of an interface; the qdisc of another program where that is at the root. `None` where trees cannot be
    /// read: nothing is repaired then.
    fn observe(&self, _index: u32) -> Option<KernelFuture<Result<ObservedTree, ForeignRoot>>> {
        None
    }

    /// Deletes the trees that ended processes have left on interfaces other than these, and restores what they had taken
    /// over: the names of these interfaces, and what became of each.
    fn sweep(&self, _except: BTreeSet<u32>) -> KernelFuture<Vec<(String, KeptRoot)>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    /// Applies a change: all of it or none. The classes that it has added and changed, as they are in force, as far as the
    /// kernel says; a class that was idle may have sent something before.
    fn apply(&self, index: u32, change: Change) -> KernelFuture<Vec<ClassState>>;

    /// Gives what an interface receives a tree with these filters, on an ifb whose number is the answer: all of it or
    /// none. It replaces the ifb of `links`, which is 0 where there was none. The qdisc of another program where that has
    /// what the interface receives.
    fn set_up_receiving(
        &self,
        links: ReceivingLinks,
        _tree: Desired,
        _filters: Vec<PlacedFilter>,
    ) -> KernelFuture<Result<u32, ForeignRoot>> {
        let object = format!("interface {}", links.interface);
        let failure = KernelCall("RTM_NEWLINK").unexpected(object, AnswerProblem::NoIfb);
        Box::pin(std::future::ready(Err(failure)))
    }

    /// What the kernel has of the ifb of an interface, compared with this tree and these filters. `None` where that cannot
    /// be read: nothing is repaired then.
    fn receiving_state(
        &self,
        _links: ReceivingLinks,
        _tree: Desired,
        _filters: Vec<PlacedFilter>,
    ) -> Option<KernelFuture<ReceivingState>> {
        None
    }

    /// Applies a change to the tree and the filters of an ifb: all of it or none.
    fn apply_receiving(&self, ifb: u32, _change: ReceivingChange) -> KernelFuture<()> {
        let failure = KernelCall("RTM_NEWTCLASS").unexpected(format!("ifb {ifb}"), AnswerProblem::NoIfb);
        Box::pin(std::future::ready(Err(failure)))
    }

    /// Deletes the redirect and the ifb of an interface, as far as they are gqos's.
    fn tear_down_receiving(&self, _index: u32) -> KernelFuture<()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// The same when the runtime has ended: blocks until the kernel has answered.
    fn tear_down_receiving_at_exit(&self, _links: ReceivingLinks) {}

    /// Applies a change when the runtime has ended: blocks until the kernel has answered, and does as much of it as the
    /// kernel accepts. Nothing is left that could handle a failure.
    fn apply_at_exit(&self, index: u32, change: &Change);

    /// Every class of the interface's HTB, gqos's or not.
    fn classes(&self, index: u32) -> KernelFuture<Vec<ClassState>>;

    /// One class, if it exists.
    fn class(&self, index: u32, handle: Handle) -> KernelFuture<Option<ClassState>>;

    /// How many packets have bypassed the classes of an interface.
    fn direct_packets(&self, index: u32) -> KernelFuture<u32>;

    /// The time since the machine started, with that of its sleep; `None` where the kernel does not say.
    fn uptime(&self) -> Option<Micros> {
        crate::linux::uptime().ok()
    }

    /// Changes of links from now on; `None` where the kernel does not report them.
    fn watch_links(&self) -> Option<LinkEvents>;
}

/// What is installed at the root of an interface.
#[derive(Debug)]
pub struct ClaimedRoot {
    /// The qdisc, or the engine that has the interface.
    pub root: Root,
    /// Keeps other engines from the interface as long as it is held.
    pub claim: Option<Claim>,
    /// The foreign tree that was taken over, which is restored when the engine stops.
    pub saved: Option<SavedTree>,
    /// Why the file of that tree is of no use: it could not be written, or is not to be trusted.
    pub file_failure: Option<KernelFailure>,
}

impl ClaimedRoot {
    /// A root in whose place nothing was.
    pub const fn new(root: Root, claim: Option<Claim>) -> Self {
        Self { root, claim, saved: None, file_failure: None }
    }

    /// The same, with a tree that an ended process has left, or may have left, to be kept.
    pub(super) fn keep(mut self, may_be: impl FnOnce() -> Self) -> Self {
        match self.root {
            Root::Ours(root) => self.root = Root::Kept(root),
            Root::Unread { .. } => return may_be(),
            _ => {}
        }
        self
    }

    /// A root that could not be read in time: the interface is looked at again.
    ///
    /// - **Errors**: a failure that the kernel has reported.
    pub(super) fn unread(failure: KernelFailure) -> Result<Self, KernelFailure> {
        match failure.is_timeout() {
            true => Ok(Self::new(Root::Unread { failure }, None)),
            false => Err(failure),
        }
    }
}
