//! A kernel that answers when it is let, with a tree for each interface.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use flowspec::{Bytes, Errno};
use gqos::engine::{ClaimedRoot, Kernel, KernelFuture};
use gqos::failure::{KernelCall, KernelFailure};
use gqos::linux::{ClassState, Link, LinkEvent, LinkEvents, LinkState, ReceivingLinks, RouteQuery};
use gqos::manager::Root;
use gqos::tc::{
    Change, Desired, ForeignRoot, Handle, HtbClass, HtbRoot, ObservedRoot, ObservedTree, Op, PlacedFilter,
    Queue,
};
use tokio::sync::{mpsc, watch};

pub(crate) struct TestKernel {
    hung: watch::Sender<BTreeSet<u32>>,
    calls: Mutex<Calls>,
}

#[derive(Default)]
pub(crate) struct Calls {
    /// How many calls of each interface are under way.
    now: BTreeMap<u32, usize>,
    /// The most calls of one interface that were under way at once.
    pub(crate) most: usize,
    /// The changes that were applied, by interface, in order.
    pub(crate) applied: BTreeMap<u32, Vec<Change>>,
    /// Interfaces whose root cannot be read.
    pub(crate) broken: BTreeSet<u32>,
    /// Interfaces with other names than `ethN`.
    pub(crate) renamed: BTreeSet<u32>,
    /// How long the set-up of an ifb takes.
    pub(crate) set_up_takes: Duration,
    watcher: Option<mpsc::UnboundedSender<LinkEvent>>,
    /// Changes whose caller does not wait any more are carried out all the same: the answer was lost.
    pub(crate) loses_answers: bool,
    trees: BTreeMap<u32, Tree>,
}

/// What an interface has, as operations have left it.
#[derive(Default)]
struct Tree {
    root: Option<HtbRoot>,
    classes: BTreeMap<Handle, HtbClass>,
    queues: BTreeMap<Handle, Queue>,
}

impl TestKernel {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { hung: watch::Sender::new(BTreeSet::new()), calls: Mutex::default() })
    }

    pub(crate) fn hang(&self, index: u32) {
        self.hung.send_modify(|hung| {
            hung.insert(index);
        });
    }

    pub(crate) fn go_on(&self, index: u32) {
        self.hung.send_modify(|hung| {
            hung.remove(&index);
        });
    }

    /// Reports a link as it is now.
    pub(crate) fn report(&self, index: u32, name: &str, mtu: u64) {
        let state = LinkState { index, name: name.to_owned(), mtu: Bytes::new(mtu), carries: true };
        let calls = self.calls();
        calls.watcher.as_ref().unwrap().send(LinkEvent::Changed(state)).unwrap();
    }

    /// Reports that a link is gone.
    pub(crate) fn report_gone(&self, index: u32) {
        self.calls().watcher.as_ref().unwrap().send(LinkEvent::Gone { index }).unwrap();
    }

    pub(crate) fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap()
    }

    /// How many operations of a kind were applied to an interface.
    pub(crate) fn count(&self, index: u32, of: impl Fn(&Op) -> bool) -> usize {
        let calls = self.calls();
        let changes = calls.applied.get(&index).into_iter().flatten();
        changes.flat_map(|change| &change.ops).filter(|op| of(op)).count()
    }

    /// The classes that an interface has now.
    pub(crate) fn classes(&self, index: u32) -> Vec<Handle> {
        let calls = self.calls();
        calls.trees.get(&index).into_iter().flat_map(|tree| tree.classes.keys().copied()).collect()
    }
}

impl Calls {
    fn apply(&mut self, index: u32, change: Change) {
        let tree = self.trees.entry(index).or_default();
        for op in &change.ops {
            match *op {
                Op::AddRoot(root) => tree.root = Some(root),
                Op::DeleteRoot(_) => *tree = Tree::default(),
                Op::AddClass(class) | Op::ChangeClass { to: class, .. } => {
                    tree.classes.insert(class.handle, class);
                }
                Op::DeleteClass(class) => drop(tree.classes.remove(&class.handle)),
                Op::AddQueue { parent, queue } | Op::ChangeQueue { parent, to: queue, .. } => {
                    tree.queues.insert(parent, Queue::Bfifo(queue.bfifo));
                }
                Op::DeleteQueue { parent, .. } => drop(tree.queues.remove(&parent)),
                ref other => unreachable!("an operation that this kernel does not know: {other}"),
            }
        }
        self.applied.entry(index).or_default().push(change);
    }

    fn observed(&self, index: u32) -> Result<ObservedTree, ForeignRoot> {
        match self.trees.get(&index) {
            Some(Tree { root: Some(root), classes, queues }) => {
                let queues = queues.iter().map(|(parent, queue)| (*parent, queue.clone()));
                ObservedTree::new(ObservedRoot::Htb(*root), queues, classes.values().copied())
            }
            _ => Ok(ObservedTree::default()),
        }
    }
}

type GivenUp = Box<dyn FnOnce(&mut Calls) + Send>;

/// A call that is under way; what happens where its caller does not wait for it any more.
struct UnderWay {
    kernel: Arc<TestKernel>,
    index: u32,
    given_up: Option<GivenUp>,
}

impl UnderWay {
    fn new(kernel: &Arc<TestKernel>, index: u32) -> Self {
        let mut calls = kernel.calls();
        let now = calls.now.entry(index).or_default();
        *now += 1;
        calls.most = calls.most.max(*calls.now.get(&index).unwrap());
        drop(calls);
        Self { kernel: Arc::clone(kernel), index, given_up: None }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut calls = self.kernel.calls();
        *calls.now.get_mut(&self.index).unwrap() -= 1;
        if let Some(given_up) = self.given_up.take().filter(|_| calls.loses_answers) {
            given_up(&mut calls);
        }
    }
}

/// Delays an answer as long as its interface hangs.
fn answer<T: Send + 'static>(
    kernel: &Arc<TestKernel>,
    index: u32,
    then: impl FnOnce(&mut Calls) -> Result<T, KernelFailure> + Send + 'static,
) -> KernelFuture<T> {
    let (kernel, mut hung) = (Arc::clone(kernel), kernel.hung.subscribe());
    Box::pin(async move {
        let under_way = UnderWay::new(&kernel, index);
        tokio::task::yield_now().await;
        hung.wait_for(|hung| !hung.contains(&index)).await.unwrap();
        let answered = then(&mut kernel.calls());
        drop(under_way);
        answered
    })
}

/// The same for what a report reads, beside other calls.
fn reading<T: Send + 'static>(kernel: &Arc<TestKernel>, index: u32, read: T) -> KernelFuture<T> {
    let mut hung = kernel.hung.subscribe();
    Box::pin(async move {
        tokio::task::yield_now().await;
        hung.wait_for(|hung| !hung.contains(&index)).await.unwrap();
        Ok(read)
    })
}

/// The engine's handle on the kernel of a test.
pub(crate) struct Shared(pub(crate) Arc<TestKernel>);

fn link(index: u32) -> Link {
    Link {
        index,
        name: format!("eth{index}"),
        mtu: Bytes::new(1500),
        speed: None,
        carries: true,
        shares_wire_with: None,
        is_vrf: false,
    }
}

impl Kernel for Shared {
    fn route(&self, query: RouteQuery) -> KernelFuture<Link> {
        let IpAddr::V4(v4) = query.peer else { unreachable!("the tests use IPv4") };
        Box::pin(std::future::ready(Ok(link(u32::from(v4.octets()[2])))))
    }

    fn link(&self, name: &str) -> KernelFuture<Option<Link>> {
        let index = name.trim_start_matches("eth").parse().ok();
        let index = index.filter(|index| !self.0.calls().renamed.contains(index));
        Box::pin(std::future::ready(Ok(index.map(link))))
    }

    fn root(&self, index: u32) -> KernelFuture<ClaimedRoot> {
        answer(&self.0, index, move |calls| match calls.broken.contains(&index) {
            true => Err(KernelCall("RTM_GETQDISC").failed(format!("interface {index}"), Errno::EPERM)),
            false => {
                let root =
                    calls.trees.get(&index).and_then(|tree| tree.root).map_or(Root::Default, Root::Ours);
                Ok(ClaimedRoot::new(root, None))
            }
        })
    }

    fn observe(&self, index: u32) -> Option<KernelFuture<Result<ObservedTree, ForeignRoot>>> {
        Some(answer(&self.0, index, move |calls| Ok(calls.observed(index))))
    }

    fn apply(&self, index: u32, change: Change) -> KernelFuture<Vec<ClassState>> {
        let (kernel, mut hung) = (Arc::clone(&self.0), self.0.hung.subscribe());
        Box::pin(async move {
            let mut under_way = UnderWay::new(&kernel, index);
            let lost = change.clone();
            under_way.given_up = Some(Box::new(move |calls| calls.apply(index, lost)));
            tokio::task::yield_now().await;
            hung.wait_for(|hung| !hung.contains(&index)).await.unwrap();
            under_way.given_up = None;
            kernel.calls().apply(index, change);
            Ok(Vec::new())
        })
    }

    /// The ifb of `ethN` has the number N + 100.
    fn set_up_receiving(
        &self,
        links: ReceivingLinks,
        _: Desired,
        _: Vec<PlacedFilter>,
    ) -> KernelFuture<Result<u32, ForeignRoot>> {
        let takes = self.0.calls().set_up_takes;
        Box::pin(async move {
            tokio::time::sleep(takes).await;
            Ok(Ok(links.interface + 100))
        })
    }

    fn apply_at_exit(&self, index: u32, change: &Change) {
        self.0.calls().applied.entry(index).or_default().push(change.clone());
    }

    fn classes(&self, index: u32) -> KernelFuture<Vec<ClassState>> {
        reading(&self.0, index, Vec::new())
    }

    fn class(&self, _: u32, _: Handle) -> KernelFuture<Option<ClassState>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn direct_packets(&self, index: u32) -> KernelFuture<u32> {
        reading(&self.0, index, 0)
    }

    fn watch_links(&self) -> Option<LinkEvents> {
        let (watcher, events) = mpsc::unbounded_channel();
        self.0.calls().watcher = Some(watcher);
        Some(LinkEvents::of_channel(events))
    }
}
