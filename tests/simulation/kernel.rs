//! A kernel that outlives the daemons on it: it answers late, out of order or never, refuses, loses its answers, and other
//! programs change its trees.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use flowspec::{Bytes, Errno, Micros};
use gqos::engine::{ClaimedRoot, Kernel, KernelFuture};
use gqos::failure::{KernelCall, KernelFailure};
use gqos::linux::{ClassState, Link, LinkEvent, LinkEvents, LinkState, RouteQuery};
use gqos::manager::Root;
use gqos::tc::{Change, ForeignRoot, Handle, HtbClass, ObservedTree, Op};
use tokio::sync::{mpsc, watch};

use crate::log::Log;
use crate::random::Random;
use crate::tree::Tree;

/// The numbers of the interfaces that there are: `eth1` has the number 1.
pub(crate) const INTERFACES: [u32; 2] = [1, 2];

pub(crate) fn name(index: u32) -> String {
    format!("eth{index}")
}

/// How the kernel answers about an interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    Quick,
    /// Within as many microseconds.
    Slow(u64),
    Silent,
    /// It does what it is asked, and never says so.
    LosesAnswers,
    Refuses(Errno),
}

pub(crate) struct FakeKernel {
    state: Mutex<KernelState>,
    /// Counts changes of the faults.
    faults_changed: watch::Sender<u64>,
    log: Log,
}

pub(crate) struct KernelState {
    random: Random,
    pub(crate) trees: BTreeMap<u32, Tree>,
    faults: BTreeMap<u32, Fault>,
    down: BTreeSet<u32>,
    /// The daemon that runs; 0 where none does.
    running: u64,
    under_way: BTreeMap<u64, (u32, Change)>,
    calls: u64,
    watcher: Option<mpsc::UnboundedSender<LinkEvent>>,
    /// Interfaces whose tree may not be as the daemon that runs knows it.
    pub(crate) disturbed: BTreeSet<u32>,
    /// The daemon ends: classes go with their trees, or before them.
    pub(crate) is_ending: bool,
    /// The classes that a daemon has deleted since they were taken.
    pub(crate) deleted: Vec<(u32, Handle)>,
}

impl FakeKernel {
    pub(crate) fn new(random: Random, log: Log) -> Arc<Self> {
        let state = KernelState {
            random,
            trees: INTERFACES.iter().map(|index| (*index, Tree::default())).collect(),
            faults: INTERFACES.iter().map(|index| (*index, Fault::Quick)).collect(),
            down: BTreeSet::new(),
            running: 0,
            under_way: BTreeMap::new(),
            calls: 0,
            watcher: None,
            disturbed: BTreeSet::new(),
            is_ending: false,
            deleted: Vec::new(),
        };
        Arc::new(Self { state: Mutex::new(state), faults_changed: watch::Sender::new(0), log })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, KernelState> {
        self.state.lock().unwrap()
    }

    /// The kernel as the daemon of this number sees it.
    pub(crate) fn start(self: &Arc<Self>, daemon: u64) -> Arc<dyn Kernel> {
        let mut state = self.state();
        (state.running, state.is_ending) = (daemon, false);
        drop(state);
        Arc::new(DaemonKernel { kernel: Arc::clone(self), daemon })
    }

    /// The daemon is killed: of each change that is under way some operations are carried out, or all, or none.
    pub(crate) fn kill(&self) {
        let mut state = self.state();
        state.running = 0;
        state.watcher = None;
        for (index, change) in std::mem::take(&mut state.under_way).into_values() {
            let done = state.random.index(change.ops.len() + 1);
            let refused = state.tree(index).apply(&change.ops[..done]);
            state.disturbed.insert(index);
            self.log.line(format_args!(
                "kernel: eth{index} has {done} of {} operations {refused:?}",
                change.ops.len()
            ));
        }
    }

    pub(crate) fn set_fault(&self, index: u32, fault: Fault) {
        self.log.line(format_args!("kernel: eth{index} {fault:?}"));
        self.state().faults.insert(index, fault);
        self.faults_changed.send_modify(|count| *count += 1);
    }

    pub(crate) fn clear_faults(&self) {
        for index in INTERFACES {
            self.set_fault(index, Fault::Quick);
            self.set_link(index, true);
            let mut state = self.state();
            if state.tree(index).foreign {
                *state.tree(index) = Tree::default();
                state.report(LinkEvent::Traffic { index });
            }
        }
    }

    /// Another program changes a tree. Its events come, or others in their place.
    pub(crate) fn meddle(&self, index: u32) {
        let mut state = self.state();
        let mut random = state.random.fork();
        let done = state.tree(index).meddle(&mut random);
        state.disturbed.insert(index);
        self.log.line(format_args!("kernel: another program {done} on eth{index}"));
        let event = match random.one_in(3) {
            true => LinkEvent::All(INTERFACES.map(|index| state.link_state(index)).into()),
            false => LinkEvent::Traffic { index },
        };
        state.report(event);
    }

    pub(crate) fn set_link(&self, index: u32, carries: bool) {
        let mut state = self.state();
        let was_down = state.down.contains(&index);
        if was_down != carries {
            return;
        }
        self.log.line(format_args!("kernel: eth{index} carries: {carries}"));
        if carries {
            state.down.remove(&index);
        } else {
            state.down.insert(index);
        }
        let event = LinkEvent::Changed(state.link_state(index));
        state.report(event);
    }
}

impl KernelState {
    pub(crate) fn tree(&mut self, index: u32) -> &mut Tree {
        self.trees.get_mut(&index).unwrap()
    }

    pub(crate) fn fault(&self, index: u32) -> Fault {
        self.faults[&index]
    }

    pub(crate) fn is_down(&self, index: u32) -> bool {
        self.down.contains(&index)
    }

    fn report(&mut self, event: LinkEvent) {
        if let Some(watcher) = &self.watcher {
            // The daemon may have ended.
            let _ = watcher.send(event);
        }
    }

    fn link_state(&self, index: u32) -> LinkState {
        LinkState { index, name: name(index), mtu: Bytes::new(1500), carries: !self.is_down(index) }
    }

    fn link(&self, index: u32) -> Link {
        let LinkState { index, name, mtu, carries } = self.link_state(index);
        Link { index, name, mtu, speed: None, carries, shares_wire_with: None, is_vrf: false }
    }

    /// All of a change, or none of it.
    fn apply(&mut self, index: u32, change: &Change, log: &Log) -> Result<(), KernelFailure> {
        let mut next = self.tree(index).clone();
        if let Err((at, errno)) = next.apply(&change.ops) {
            let op = change.ops[at];
            log.line(format_args!("kernel: eth{index} refuses {op}: {errno:?}"));
            if !self.disturbed.contains(&index) && !self.is_ending {
                log.violation(format_args!(
                    "eth{index} is as the daemon knows it, and {op} fails: {errno:?}"
                ));
            }
            return Err(KernelCall("RTM_NEWTCLASS").failed(format!("{op}"), errno));
        }
        for op in &change.ops {
            log.line(format_args!("kernel: eth{index} {op}"));
            match op {
                Op::DeleteClass(class) => self.deleted.push((index, class.handle)),
                Op::DeleteRoot(_) => {
                    let classes: Vec<_> =
                        self.tree(index).leaves().map(|class| (index, class.handle)).collect();
                    self.deleted.extend(classes);
                }
                _ => {}
            }
        }
        *self.tree(index) = next;
        Ok(())
    }
}

/// A change that is under way. One that its caller gives up is carried out all the same, or not.
struct UnderWay {
    kernel: Arc<FakeKernel>,
    call: u64,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.kernel.state();
        let Some((index, change)) = state.under_way.remove(&self.call) else { return };
        state.disturbed.insert(index);
        let is_done = state.random.one_in(2);
        self.kernel.log.line(format_args!("kernel: a change of eth{index} is given up, and done: {is_done}"));
        if is_done {
            let _ = state.apply(index, &change, &self.kernel.log);
        }
    }
}

/// The kernel as one daemon sees it, as long as that runs.
struct DaemonKernel {
    kernel: Arc<FakeKernel>,
    daemon: u64,
}

impl DaemonKernel {
    /// Answers as the faults of the interface say; what is asked of a daemon that has been killed is not done.
    fn call<T: Send + 'static>(
        &self,
        index: u32,
        change: Option<Change>,
        then: impl FnOnce(&mut KernelState) -> Result<T, KernelFailure> + Send + 'static,
    ) -> KernelFuture<T> {
        let (kernel, daemon) = (Arc::clone(&self.kernel), self.daemon);
        let under_way = change.map(|change| {
            let mut state = kernel.state();
            state.calls += 1;
            let call = state.calls;
            if state.running == daemon {
                state.under_way.insert(call, (index, change));
            }
            UnderWay { kernel: Arc::clone(&kernel), call }
        });
        Box::pin(async move {
            tokio::task::yield_now().await;
            let fault = kernel.answers(index).await;
            match kernel.carry_out((index, daemon), (fault, under_way), then) {
                Some(answer) => answer,
                // The answer is lost.
                None => std::future::pending().await,
            }
        })
    }
}

impl FakeKernel {
    /// Does what a daemon asks, if that runs still. `None` where the answer does not reach it.
    fn carry_out<T>(
        &self,
        (index, daemon): (u32, u64),
        (fault, under_way): (Fault, Option<UnderWay>),
        then: impl FnOnce(&mut KernelState) -> Result<T, KernelFailure>,
    ) -> Option<Result<T, KernelFailure>> {
        let mut state = self.state();
        if state.running != daemon {
            drop(state);
            return Some(Err(KernelCall("send").failed(format!("interface {index}"), Errno::ENODEV)));
        }
        if let Some(under_way) = &under_way {
            state.under_way.remove(&under_way.call);
        }
        if let Fault::Refuses(errno) = fault {
            // What takes a change back may be refused as well: the tree is in doubt until it is compared.
            state.disturbed.insert(index);
            self.log.line(format_args!("kernel: eth{index} refuses: {errno:?}"));
            drop(state);
            return Some(Err(KernelCall("rtnetlink").failed(format!("interface {index}"), errno)));
        }
        let answer = then(&mut state);
        if fault == Fault::LosesAnswers {
            state.disturbed.insert(index);
            drop(state);
            return None;
        }
        drop(state);
        Some(answer)
    }

    /// Waits until the kernel does what it is asked about an interface, or refuses it.
    async fn answers(&self, index: u32) -> Fault {
        let mut changed = self.faults_changed.subscribe();
        loop {
            let fault = self.state().fault(index);
            match fault {
                Fault::Quick | Fault::LosesAnswers | Fault::Refuses(_) => return fault,
                Fault::Slow(most) => {
                    let delay = self.state().random.below(most);
                    tokio::time::sleep(Duration::from_micros(delay)).await;
                    return Fault::Quick;
                }
                Fault::Silent => drop(changed.changed().await),
            }
        }
    }
}

impl Kernel for DaemonKernel {
    fn route(&self, query: RouteQuery) -> KernelFuture<Link> {
        let std::net::IpAddr::V4(v4) = query.peer else { unreachable!("the simulation uses IPv4") };
        let link = self.kernel.state().link(u32::from(v4.octets()[2]));
        Box::pin(std::future::ready(Ok(link)))
    }

    fn link(&self, asked: &str) -> KernelFuture<Option<Link>> {
        let index = INTERFACES.into_iter().find(|index| name(*index) == asked);
        let link = index.map(|index| self.kernel.state().link(index));
        Box::pin(std::future::ready(Ok(link)))
    }

    fn root(&self, index: u32) -> KernelFuture<ClaimedRoot> {
        self.call(index, None, move |state| {
            let root = match (state.tree(index).foreign, state.tree(index).root) {
                (true, _) => Root::Foreign { kind: "fq_codel".into(), handle: Handle::qdisc(0x8001) },
                (false, None) => Root::Default,
                (false, Some(root)) => Root::Ours(root),
            };
            Ok(ClaimedRoot::new(root, None))
        })
    }

    fn observe(&self, index: u32) -> Option<KernelFuture<Result<ObservedTree, ForeignRoot>>> {
        Some(self.call(index, None, move |state| Ok(state.tree(index).observed())))
    }

    fn apply(&self, index: u32, change: Change) -> KernelFuture<Vec<ClassState>> {
        let log = self.kernel.log.clone();
        self.call(index, Some(change.clone()), move |state| {
            state.apply(index, &change, &log)?;
            Ok(Vec::new())
        })
    }

    fn apply_at_exit(&self, _: u32, _: &Change) {
        // A daemon that is killed does nothing at its exit.
    }

    fn classes(&self, index: u32) -> KernelFuture<Vec<ClassState>> {
        self.call(index, None, move |state| {
            Ok(state.tree(index).classes.values().map(|class| unused(*class)).collect())
        })
    }

    fn class(&self, index: u32, handle: Handle) -> KernelFuture<Option<ClassState>> {
        self.call(index, None, move |state| {
            Ok(state.tree(index).classes.get(&handle).map(|class| unused(*class)))
        })
    }

    fn direct_packets(&self, index: u32) -> KernelFuture<u32> {
        self.call(index, None, |_| Ok(0))
    }

    fn uptime(&self) -> Option<Micros> {
        Some(self.kernel.log.uptime())
    }

    fn watch_links(&self) -> Option<LinkEvents> {
        let (watcher, events) = mpsc::unbounded_channel();
        self.kernel.state().watcher = Some(watcher);
        Some(LinkEvents::of_channel(events))
    }
}

/// A class that nothing was sent through.
fn unused(class: HtbClass) -> ClassState {
    ClassState {
        class,
        level: 0,
        sent_bytes: 0,
        sent_packets: 0,
        dropped: 0,
        delayed: 0,
        queued: 0,
        queued_bytes: 0,
        missing: Bytes::ZERO,
        full_in: Micros::new(0),
    }
}
