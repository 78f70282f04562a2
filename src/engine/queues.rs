//! Commands to the engine's task, and the queues in which they wait: for the task, and then for their interface.
//!
//! A queue exists while its interface is busy with kernel changes. It keeps the order of one interface: its changes reach
//! the kernel one at a time as the manager ordered them, and a job runs once all changes before it are applied. Other
//! interfaces do not wait for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{mpsc, oneshot};

use super::drain::{Drained, EndedReservation};
use super::error::EngineError;
use super::flow_routes::RerouteReply;
use super::left_interface::LeftInterface;
use super::lingering::Lingering;
use super::report::InterfaceReport;
use super::request::Submission;
use super::reservation::{ReserveReply, Usage};
use crate::admission::{NotProgrammed, Operation};
use crate::failure::KernelFailure;
use crate::kernel::KernelClass;
use crate::linux::Link;
use crate::manager::{Answer, ChangeId};
use crate::ordered::OrderedMap;
use crate::tc::{Arriving, Change};

/// The most requests that are queued, for the engine's task and again for each interface whose kernel changes are
/// under way. Beyond it a request is refused.
///
/// A queued request takes about half a kilobyte, so that a full queue takes 8 MB. The kernel takes some 5,000 changes
/// a second here: the last request of a full queue waits for three seconds, and a caller is better off with a refusal
/// than with a longer wait.
pub const MOST_QUEUED_REQUESTS: usize = 16_384;

/// A command to the engine's task.
pub(super) enum EngineCommand {
    /// A client's request for a reservation.
    Reserve { submission: Box<Submission>, reply: oneshot::Sender<ReserveReply> },
    /// A client's operation on the ledger.
    Submit { operation: Box<Operation>, reply: oneshot::Sender<Result<Answer, EngineError>> },
    /// A flow is to have a class for what it receives.
    Receive { id: String, arriving: Arriving, reply: oneshot::Sender<Result<KernelClass, NotProgrammed>> },
    /// A flow's packets leave by this link, on which it is to be requested.
    Reroute { id: String, link: Arc<Link>, reply: Option<RerouteReply> },
    /// A flow's peer has answered.
    Connected { id: String },
    /// A flow has ended with this use of its buckets, or waits for capacity no longer.
    Closed { id: String, lingering: Lingering, usage: Usage },
    /// The data of a flow that has ended has left.
    Drained { of: EndedReservation, drained: Drained },
    /// A flow has ended with this use of its buckets, since its peer is gone.
    PeerGone { id: String, usage: Usage },
    /// The last member of a group has left.
    EndGroup { id: String },
    /// The state of every interface is asked for.
    Report { reply: oneshot::Sender<Result<Vec<InterfaceReport>, KernelFailure>> },
    /// The engine is to stop.
    Stop { reply: oneshot::Sender<()> },
}

/// The sending end of the queue.
///
/// Requests are bounded in number. Releases always find a place, since they are bounded by what they release: a
/// reservation is connected once, closed once and drained once, a flow stops waiting once, and a group ends once.
#[derive(Clone)]
pub(super) struct Commands {
    sender: mpsc::UnboundedSender<EngineCommand>,
    counts: Arc<QueueLengths>,
}

/// The same, without keeping the queue open.
#[derive(Clone)]
pub(super) struct WeakCommands {
    sender: mpsc::WeakUnboundedSender<EngineCommand>,
    counts: Arc<QueueLengths>,
}

/// The receiving end of the queue.
pub(super) struct Inbox {
    receiver: mpsc::UnboundedReceiver<EngineCommand>,
    counts: Arc<QueueLengths>,
}

#[derive(Default)]
struct QueueLengths {
    /// Commands of clients that wait for an answer.
    requests: AtomicUsize,
    /// Commands that have to come before a request, with the one being executed.
    may_free_capacity: AtomicUsize,
}

impl EngineCommand {
    const fn is_request(&self) -> bool {
        match self {
            Self::Reserve { .. }
            | Self::Submit { .. }
            | Self::Receive { .. }
            | Self::Reroute { .. }
            | Self::Report { .. } => true,
            Self::Connected { .. }
            | Self::Closed { .. }
            | Self::Drained { .. }
            | Self::PeerGone { .. }
            | Self::EndGroup { .. }
            | Self::Stop { .. } => false,
        }
    }

    /// Whether a request may be answered otherwise after it than before: admitted instead of refused, or with other
    /// tokens at the start. A reservation is one of these, since it may preempt.
    pub(super) const fn may_free_capacity(&self) -> bool {
        match self {
            // Lingering data frees its capacity later, as `Drained`; but the next flow starts without what is owed.
            Self::Reserve { .. }
            | Self::Submit { .. }
            | Self::Reroute { .. }
            | Self::Closed { .. }
            | Self::Drained { .. }
            | Self::PeerGone { .. }
            | Self::EndGroup { .. } => true,
            Self::Receive { .. } | Self::Connected { .. } | Self::Report { .. } | Self::Stop { .. } => false,
        }
    }
}

/// A queue with a receiving end.
pub(super) fn queue() -> (Commands, Inbox) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let counts: Arc<QueueLengths> = Arc::default();
    (Commands { sender, counts: Arc::clone(&counts) }, Inbox { receiver, counts })
}

impl Commands {
    /// Queues a client's request.
    ///
    /// - **Errors**: the request, where as many as there may be are queued.
    pub(super) fn request(&self, command: EngineCommand) -> Result<(), EngineCommand> {
        if self.sender.is_closed() {
            // The dropped reply says that the engine has stopped.
            return Ok(());
        }
        let one_more = |queued| (queued < MOST_QUEUED_REQUESTS).then_some(queued + 1);
        match self.counts.requests.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more) {
            Ok(_) => {
                self.send(command);
                Ok(())
            }
            Err(_) => Err(command),
        }
    }

    /// Queues a command that is not a request.
    pub(super) fn send(&self, command: EngineCommand) {
        if command.may_free_capacity() {
            self.counts.may_free_capacity.fetch_add(1, Ordering::AcqRel);
        }
        // An engine that has stopped has released everything; a dropped reply says that it has stopped.
        let _ = self.sender.send(command);
    }

    /// Whether no command is queued that has to come before a request.
    pub(super) fn none_may_free_capacity(&self) -> bool {
        self.counts.may_free_capacity.load(Ordering::Acquire) == 0
    }

    pub(super) fn downgrade(&self) -> WeakCommands {
        WeakCommands { sender: self.sender.downgrade(), counts: Arc::clone(&self.counts) }
    }
}

impl WeakCommands {
    pub(super) fn upgrade(&self) -> Option<Commands> {
        Some(Commands { sender: self.sender.upgrade()?, counts: Arc::clone(&self.counts) })
    }
}

impl Inbox {
    /// The next command; `None` once nothing can be queued any more. If the command may free capacity, the caller says
    /// when it is [executed](Self::executed).
    pub(super) async fn next(&mut self) -> Option<EngineCommand> {
        let command = self.receiver.recv().await?;
        if command.is_request() {
            self.counts.requests.fetch_sub(1, Ordering::AcqRel);
        }
        Some(command)
    }

    /// A command that may free capacity has been executed, or waits for its interface.
    pub(super) fn executed(&self) {
        self.counts.may_free_capacity.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The busy interfaces, by their numbers.
#[derive(Default)]
pub(super) struct InterfaceQueues(OrderedMap<u32, InterfaceQueue>);

#[derive(Default)]
struct InterfaceQueue {
    /// Whether a call to the kernel is under way.
    calling: bool,
    changes: VecDeque<(ChangeId, Change)>,
    /// The last change of the link, where one is to be reported to the manager: it replaces earlier ones.
    link: Option<bool>,
    jobs: VecDeque<Job>,
}

/// Something to be done once an interface's changes are applied.
pub(super) enum Job {
    Command(EngineCommand),
    /// The link has changed; whether it carries anything now.
    Link(bool),
    /// A flow that has ended is to lose its class for what it received.
    Leave(String),
    /// The ifb of the interface is to be compared.
    CompareReceiver,
    /// The interface's classes are to be measured.
    Measure,
    /// The interface's tree is to be read and compared.
    Compare,
    /// The interface is managed no more: its tree is to be deleted.
    Uproot(LeftInterface),
    Report(oneshot::Sender<Result<InterfaceReport, KernelFailure>>),
}

/// What can be done next.
pub(super) enum Work {
    /// A change is to be applied. The queue counts as calling.
    Change(u32, ChangeId, Change),
    Job(u32, Job),
}

impl InterfaceQueues {
    pub(super) fn is_busy(&self, index: u32) -> bool {
        self.0.contains_key(&index)
    }

    pub(super) fn is_any_busy(&self) -> bool {
        !self.0.is_empty()
    }

    /// How many jobs wait for an interface.
    pub(super) fn waiting(&self, index: u32) -> usize {
        self.0.get(&index).map_or(0, |queue| queue.jobs.len())
    }

    pub(super) fn order(&mut self, index: u32, id: ChangeId, change: Change) {
        self.queue_of(index).changes.push_back((id, change));
    }

    pub(super) fn defer(&mut self, index: u32, job: Job) {
        let queue = self.queue_of(index);
        match job {
            Job::Link(carries) => queue.link = Some(carries),
            // One measurement is enough.
            Job::Measure if queue.jobs.iter().any(|job| matches!(job, Job::Measure)) => {}
            // So is one comparison, and it comes before the commands, which rely on the tree.
            Job::Compare if queue.jobs.iter().any(|job| matches!(job, Job::Compare)) => {}
            Job::CompareReceiver if queue.jobs.iter().any(|job| matches!(job, Job::CompareReceiver)) => {}
            Job::Compare | Job::CompareReceiver => queue.jobs.push_front(job),
            job => queue.jobs.push_back(job),
        }
    }

    /// A command that had begun goes on before all others.
    pub(super) fn resume(&mut self, index: u32, command: EngineCommand) {
        self.queue_of(index).jobs.push_front(Job::Command(command));
    }

    /// A call to the kernel begins.
    pub(super) fn call(&mut self, index: u32) {
        let queue = self.queue_of(index);
        debug_assert!(!queue.calling, "interface {index} has one call at a time");
        queue.calling = true;
    }

    /// The call of an interface has ended.
    pub(super) fn returned(&mut self, index: u32) {
        self.queue_of(index).calling = false;
    }

    /// Takes the changes of an interface that have not begun.
    pub(super) fn take_changes(&mut self, index: u32) -> Vec<ChangeId> {
        let changes = self.0.get_mut(&index).map(|queue| std::mem::take(&mut queue.changes));
        changes.unwrap_or_default().into_iter().map(|(id, _)| id).collect()
    }

    /// What can be done without waiting for the kernel, changes first. `None` where every busy interface waits for it.
    pub(super) fn next(&mut self) -> Option<Work> {
        loop {
            let (&index, queue) = self.0.iter_mut().find(|(_, queue)| !queue.calling)?;
            if let Some((id, change)) = queue.changes.pop_front() {
                queue.calling = true;
                return Some(Work::Change(index, id, change));
            }
            if let Some(carries) = queue.link.take() {
                return Some(Work::Job(index, Job::Link(carries)));
            }
            if let Some(job) = queue.jobs.pop_front() {
                return Some(Work::Job(index, job));
            }
            self.0.remove(&index);
        }
    }

    fn queue_of(&mut self, index: u32) -> &mut InterfaceQueue {
        self.0.entry(index).or_default()
    }
}
