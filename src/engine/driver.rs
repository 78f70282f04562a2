//! The engine's task: it feeds the manager inputs and carries out its effects. It has no rule of its own.
//!
//! The task never waits for one interface while another has work: calls to the kernel run beside each other, one for
//! each interface, and what an interface has to wait for waits in its queue.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use flowspec::{Both, Moment, Rate};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::clock;
use super::core::{Caller, CallerNotification, Core, lock};
use super::drain::{DrainingFlow, EndedReservation, KernelClassCounters};
use super::error::EngineError;
use super::flow_routes::FoundRoutes;
use super::kernel::{ClaimedRoot, Kernel};
use super::left_interface::{TakenOver, UprootedInterface};
use super::lingering::Lingering;
use super::meter::InterfaceMeter;
use super::patience::{in_time, patience};
use super::queues::{EngineCommand, Inbox, InterfaceQueues, Job, MOST_QUEUED_REQUESTS, WeakCommands, Work};
use super::receiver::{AppliedChange, ChangedIfb, Receiver, ReceiverChange};
use super::report::{Counts, InterfaceReport, ReportPart};
use super::request::Submission;
use super::reservation::ReserveReply;
use super::routes::RouteCache;
use super::schedule::Upkeep;
use crate::admission::{NotProgrammed, Operation, Refusal};
use crate::failure::KernelFailure;
use crate::linux::{Claim, ClassState, Link, LinkEvent, LinkEvents, RouteEvents};
use crate::manager::{ChangeId, Input};
use crate::ordered::OrderedMap;
use crate::tc::{Change, ForeignRoot, Handle, ObservedTree, ReceivingState};

/// The state of the engine's task.
pub(super) struct Driver {
    pub(super) core: Arc<Mutex<Core>>,
    pub(super) kernel: Arc<dyn Kernel>,
    pub(super) routes: RouteCache,
    /// For the tasks that drain flows, without keeping the queue open.
    pub(super) commands: WeakCommands,
    pub(super) queues: InterfaceQueues,
    /// The calls to the kernel that are under way.
    pub(super) calls: FuturesUnordered<PendingKernelCall>,
    /// By the numbers of the interfaces.
    pub(super) claims: OrderedMap<u32, Claim>,
    /// The foreign trees in whose place those of gqos are, by the numbers of the interfaces.
    pub(super) taken_over: OrderedMap<u32, TakenOver>,
    /// Interfaces that are down, with what they carried before.
    pub(super) down: OrderedMap<String, Both<Option<Rate>>>,
    /// What the classes of interfaces have sent, where something is measured.
    pub(super) meters: OrderedMap<String, InterfaceMeter>,
    pub(super) is_shut_down: bool,
    /// Whether the routes of the flows are being looked up.
    pub(super) is_looking_up: bool,
    /// Whether trees that an ended process has left are kept, while interfaces are prepared.
    pub(super) keeps_trees: bool,
    /// The process that started the engine.
    process: u32,
    pub(super) upkeep: Upkeep,
    /// What classes had counted when they became a flow's, by interface; nothing for a class that was added for it.
    pub(super) counts: OrderedMap<(u32, Handle), KernelClassCounters>,
    /// The ifbs for what interfaces receive, by the numbers of the interfaces.
    pub(super) receivers: OrderedMap<u32, Receiver>,
}

pub(super) type PendingKernelCall = Pin<Box<dyn Future<Output = Returned> + Send>>;

/// A call to the kernel has returned.
pub(super) enum Returned {
    Applied {
        index: u32,
        id: ChangeId,
        /// The flow that has a class for what it receives, with the change.
        flow: Option<String>,
        /// The classes that become a flow's.
        begun: Vec<Handle>,
        result: Result<AppliedChange, KernelFailure>,
    },
    /// An interface was looked at for a request, which goes on now.
    Looked {
        link: Arc<Link>,
        root: Result<ClaimedRoot, KernelFailure>,
        request: EngineCommand,
    },
    /// An interface was looked at again.
    Found {
        interface: String,
        link: Result<Option<Link>, KernelFailure>,
    },
    /// Its root was read again.
    Read {
        link: Link,
        root: Result<ClaimedRoot, KernelFailure>,
    },
    /// The tree of an interface was read.
    Observed {
        index: u32,
        interface: String,
        observed: Result<Result<ObservedTree, ForeignRoot>, KernelFailure>,
    },
    Measured {
        index: u32,
        interface: String,
        at: Moment,
        classes: Result<Vec<ClassState>, KernelFailure>,
    },
    /// The class of a flow that has ended was read.
    Ended {
        index: u32,
        of: EndedReservation,
        ended: DrainingFlow,
        lingering: Lingering,
        state: Result<Option<ClassState>, KernelFailure>,
    },
    /// An interface was read for a report.
    Reported {
        index: u32,
        part: ReportPart,
        counts: Result<Counts, KernelFailure>,
        reply: oneshot::Sender<Result<InterfaceReport, KernelFailure>>,
    },
    /// The kernel has answered a change of an ifb's tree.
    IfbChanged(Box<ChangedIfb>),
    /// An ifb was compared.
    ReceiverObserved {
        index: u32,
        state: Result<ReceivingState, KernelFailure>,
    },
    /// An interface is managed no more.
    Uprooted(UprootedInterface),
    /// The routes of the flows were looked up.
    Routed(FoundRoutes),
    /// A whole report has been sent.
    Collected,
}

/// How often measured classes are measured.
const MEASURE: Duration = Duration::from_secs(1);

/// How long a stop waits for changes that are under way, and again for the removal of the trees. Longer than a call to
/// the kernel may take, so that only a kernel that does not answer at all is left with a tree.
pub(super) const STOP_PATIENCE: Duration = Duration::from_secs(15);

/// How often the removal of the trees is tried that the kernel refuses, and the pause in between.
const STOP_ATTEMPTS: usize = 4;
const STOP_PAUSE: Duration = Duration::from_millis(50);

impl Driver {
    pub(super) fn new(
        (core, routes): (Arc<Mutex<Core>>, RouteCache),
        kernel: Arc<dyn Kernel>,
        commands: WeakCommands,
    ) -> Self {
        Self {
            core,
            kernel,
            routes,
            commands,
            queues: InterfaceQueues::default(),
            calls: FuturesUnordered::new(),
            claims: OrderedMap::new(),
            taken_over: OrderedMap::new(),
            down: OrderedMap::new(),
            meters: OrderedMap::new(),
            is_shut_down: false,
            is_looking_up: false,
            keeps_trees: false,
            process: std::process::id(),
            upkeep: Upkeep::default(),
            counts: OrderedMap::new(),
            receivers: OrderedMap::new(),
        }
    }

    pub(super) async fn run(
        mut self,
        mut inbox: Inbox,
        wake: Arc<Notify>,
        (mut links, mut routes): (Option<LinkEvents>, Option<RouteEvents>),
    ) {
        let mut next_measure = clock::now() + MEASURE;
        let stopped = loop {
            self.proceed();
            let (due, next_look, measures) = {
                let mut core = self.core();
                // Another policy may measure others.
                let measures = core.manager.ledger().policy().has_measured_class();
                (core.next_wake().map(|due| core.clock.instant(due)), core.watches.next(), measures)
            };
            tokio::select! {
                // The same inputs have the same effects, whatever comes at once: what there are few of first, and commands,
                // of which there may be many, last.
                biased;
                Some(returned) = self.calls.next(), if !self.calls.is_empty() => self.returned(returned),
                // The outbox has something, or the next wake comes earlier.
                () = wake.notified() => {}
                event = next(&mut links) => self.link_event(event),
                () = next_route(&mut routes) => self.routes_changed(),
                () = sleep_until(next_measure), if measures => {
                    self.measure_all();
                    next_measure = clock::now() + MEASURE;
                }
                () = until(self.upkeep.next()) => self.keep_up(),
                () = until(next_look) => self.look(),
                () = until(due) => self.core().submit(Box::new(Operation::Tick), Caller::Engine),
                command = inbox.next() => match command {
                    None => break None,
                    Some(EngineCommand::Stop { reply }) => break Some(reply),
                    Some(command) => {
                        let may_free_capacity = command.may_free_capacity();
                        self.dispatch(command);
                        if may_free_capacity {
                            inbox.executed();
                        }
                    }
                },
            }
        };
        self.shut_down().await;
        self.core().stop();
        // The caller may start another engine at once.
        self.claims.clear();
        if let Some(reply) = stopped {
            // The caller may have gone.
            let _ = reply.send(());
        }
    }

    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        lock(&self.core)
    }

    /// Removes what was programmed, once the changes under way are applied.
    pub(super) async fn shut_down(&mut self) {
        // What does not end in time is left: its interface does not answer.
        let _ = timeout(STOP_PATIENCE, self.idle()).await;
        for _ in 0..STOP_ATTEMPTS {
            self.core().feed(Input::Stop);
            let _ = timeout(STOP_PATIENCE, self.idle()).await;
            let is_over = self.queues.is_any_busy() || !self.core().manager.has_trees();
            if is_over {
                break;
            }
            tokio::time::sleep(STOP_PAUSE).await;
        }
        let _ = timeout(STOP_PATIENCE, self.stop_receiving()).await;
        self.restore_all().await;
        self.is_shut_down = true;
    }

    /// Goes on until no interface is busy.
    pub(super) async fn idle(&mut self) {
        loop {
            self.proceed();
            match self.calls.next().await {
                Some(returned) => self.returned(returned),
                None => return,
            }
        }
    }

    /// Does everything that can be done without waiting.
    fn proceed(&mut self) {
        loop {
            let outbox = self.core().take_outbox();
            outbox.notifications.into_iter().for_each(CallerNotification::call);
            for (index, id, change) in outbox.changes {
                self.queues.order(index, id, change);
            }
            outbox.left.iter().for_each(|id| self.leave(id));
            outbox.uprooted.into_iter().for_each(|left| self.leave_interface(left));
            match self.queues.next() {
                // An interface is busy until there is nothing more to do for it.
                None => return self.reshape_receivers(),
                Some(Work::Change(index, id, change)) => self.apply_change(index, id, change),
                Some(Work::Job(index, job)) => self.perform(index, job),
            }
        }
    }

    /// Applies a change of the manager.
    fn apply_change(&mut self, index: u32, id: ChangeId, change: Change) {
        let receiving = self.receiving_change(index, id);
        // One that the kernel cannot have gets the class once it can.
        let receiving = match receiving {
            Some(ReceiverChange { flow, receiver, .. }) if receiver.lacking.is_some() => {
                self.core().receiving.insert(flow);
                self.receivers.insert(index, receiver);
                None
            }
            receiving => receiving,
        };
        let operations = change.ops.len() + receiving.as_ref().map_or(0, ReceiverChange::operations);
        let flow = receiving.as_ref().map(|receiving| receiving.flow.clone());
        let begun = self.begun(index, &change);
        let kernel = Arc::clone(&self.kernel);
        let both = in_time(index, patience(operations), async move {
            let states = match change.ops.is_empty() {
                true => Vec::new(),
                false => kernel.apply(index, change.clone()).await?,
            };
            let Some(receiving) = receiving else { return Ok(AppliedChange { states, receiver: None }) };
            match receiving.carry_out(&*kernel, index).await {
                Ok(receiver) => Ok(AppliedChange { states, receiver: Some(receiver) }),
                Err(why) => match why.failure() {
                    // Its flow gets a class once the kernel can have one.
                    None => Ok(AppliedChange { states, receiver: None }),
                    Some(failure) => {
                        // What has failed first is the error.
                        let _ = kernel.apply(index, change.undo()).await;
                        Err(failure)
                    }
                },
            }
        });
        self.calls
            .push(Box::pin(async move { Returned::Applied { index, id, flow, begun, result: both.await } }));
    }

    fn perform(&mut self, index: u32, job: Job) {
        match job {
            Job::Command(command) => self.execute(command),
            Job::Link(carries) => self.link_changed(index, carries),
            Job::Leave(id) => self.leave_now(&id),
            Job::CompareReceiver => self.compare_receiver(index),
            Job::Measure => self.measure(index),
            Job::Compare => self.compare(index),
            Job::Uproot(left) => self.uproot_now(left),
            Job::Report(reply) => self.report(index, reply),
        }
    }

    fn returned(&mut self, returned: Returned) {
        match returned {
            Returned::Applied { index, id, flow, begun, result } => {
                self.change_applied((index, id), (flow, begun), result);
            }
            Returned::Found { interface, link } => self.found(interface, link),
            Returned::Read { link, root } => {
                self.read_returned(link.index);
                self.read(&link, root);
            }
            Returned::Observed { index, interface, observed } => {
                self.read_returned(index);
                self.observed(interface, observed);
            }
            Returned::Looked { link, root, request } => self.looked(&link, root, request),
            Returned::Measured { index, interface, at, classes } => {
                self.queues.returned(index);
                match classes {
                    Ok(classes) => self.measured(&interface, at, &classes),
                    Err(failure) => self.call_failed(index, &failure),
                }
            }
            Returned::Ended { index, of, ended, lingering, state } => {
                self.queues.returned(index);
                if let Err(failure) = &state {
                    self.call_failed(index, failure);
                }
                let state = state.ok().flatten();
                let mut missing = ended.usage.missing;
                missing.sending = state.and_then(|state| ended.missing(&state)).or(missing.sending);
                self.report_spent(of, ended, (missing, lingering));
            }
            Returned::Reported { index, part, counts, reply } => self.reported(index, part, counts, reply),
            Returned::ReceiverObserved { index, state } => self.receiver_observed(index, state),
            Returned::IfbChanged(changed) => self.ifb_changed(*changed),
            Returned::Uprooted(uprooted) => self.interface_uprooted(uprooted),
            Returned::Routed(found) => self.routed(found),
            Returned::Collected => {}
        }
    }

    /// Executes a command, or lets it wait for its interface.
    pub(super) fn dispatch(&mut self, command: EngineCommand) {
        match self.interface_of(&command).filter(|index| self.queues.is_busy(*index)) {
            None => self.execute(command),
            Some(index) if self.queues.waiting(index) < MOST_QUEUED_REQUESTS => {
                self.queues.defer(index, Job::Command(command));
            }
            Some(index) => match command {
                EngineCommand::Reserve { submission, reply } => {
                    let (waiting, limit) = (self.queues.waiting(index), MOST_QUEUED_REQUESTS);
                    let refusal = Refusal::TooManyRequests { waiting, limit };
                    self.core().refuse((&submission.request, &submission.placement), refusal, reply);
                }
                // A caller that has gone needs no answer.
                EngineCommand::Submit { reply, .. } => {
                    drop(reply.send(Err(EngineError::TooManyRequests { limit: MOST_QUEUED_REQUESTS })))
                }
                EngineCommand::Reroute { reply: Some(reply), .. } => {
                    drop(reply.send(Err(EngineError::TooManyRequests { limit: MOST_QUEUED_REQUESTS })))
                }
                EngineCommand::Receive { reply, .. } => {
                    drop(reply.send(Err(NotProgrammed::TooManyRequests { limit: MOST_QUEUED_REQUESTS })))
                }
                release => self.queues.defer(index, Job::Command(release)),
            },
        }
    }

    /// The interface that a command is about, where it is about one.
    fn interface_of(&self, command: &EngineCommand) -> Option<u32> {
        let core = self.core();
        let (manager, ledger) = (&core.manager, core.manager.ledger());
        let interface = match command {
            EngineCommand::Reserve { submission, .. } => return Some(submission.placement.link.index),
            EngineCommand::Reroute { link, .. } => return Some(link.index),
            EngineCommand::Connected { id }
            | EngineCommand::Receive { id, .. }
            | EngineCommand::Closed { id, .. }
            | EngineCommand::Drained { of: EndedReservation { id, .. }, .. }
            | EngineCommand::PeerGone { id, .. } => ledger.flow(id)?.0,
            EngineCommand::EndGroup { id } => ledger.group_totals(id)?.0,
            EngineCommand::Submit { operation, .. } => match &**operation {
                Operation::Reserve(ladder) => &ladder.request.interface,
                Operation::Renegotiate { id, .. }
                | Operation::Refresh { id, .. }
                | Operation::Peer { id, .. }
                | Operation::Release { id } => ledger.flow(id)?.0,
                Operation::Group(request) => &request.interface,
                Operation::Ungroup { id } => ledger.group_totals(id)?.0,
                Operation::Capacity { interface, .. }
                | Operation::Measure { interface, .. }
                | Operation::Query { interface, .. } => interface,
                _ => return None,
            },
            EngineCommand::Report { .. } | EngineCommand::Stop { .. } => return None,
        };
        manager.index(interface)
    }

    fn execute(&mut self, command: EngineCommand) {
        match command {
            EngineCommand::Reserve { submission, reply } => self.reserve(submission, reply),
            EngineCommand::Submit { operation, reply } => {
                self.core().submit(operation, Caller::Submit(reply))
            }
            EngineCommand::Receive { id, arriving, reply } => self.receive(id, arriving, reply),
            EngineCommand::Reroute { id, link, reply } => self.reroute(id, link, reply),
            EngineCommand::Connected { id } => self.core().feed(Input::Connected { id }),
            EngineCommand::Closed { id, lingering, usage } => self.close(id, lingering, usage),
            EngineCommand::Drained { of, drained } => self.drained(of, drained),
            EngineCommand::PeerGone { id, usage } => {
                let missing = usage.missing;
                self.core().feed(Input::Spent { id: id.clone(), missing });
                self.core().peer_gone(id);
            }
            EngineCommand::EndGroup { id } => {
                self.core().submit(Box::new(Operation::Ungroup { id }), Caller::Engine);
            }
            EngineCommand::Report { reply } => self.report_all(reply),
            // The loop itself ends.
            EngineCommand::Stop { .. } => {}
        }
    }

    fn reserve(&mut self, submission: Box<Submission>, reply: oneshot::Sender<ReserveReply>) {
        if reply.is_closed() {
            return;
        }
        let link = Arc::clone(&submission.placement.link);
        self.follow_name(&link);
        let Submission { request, placement } = &*submission;
        let known = self.core().manager.knows(&link.name);
        match if known { None } else { self.root_to_read(&link) } {
            None => self.core().reserve(request, placement, reply),
            Some(root) => self.look_first(link, root, EngineCommand::Reserve { submission, reply }),
        }
    }

    /// Looks at the sockets of reserved flows, and reports what is seen of their peers.
    fn look(&self) {
        let (now, watches) = {
            let core = self.core();
            (core.now(), core.watches.clone())
        };
        for report in watches.look(now) {
            self.core().report_peer(report);
        }
    }

    pub(super) fn name(&self, index: u32) -> Option<String> {
        self.core().manager.interface(index).map(str::to_owned)
    }
}

impl Drop for Driver {
    /// Where the runtime ends before the engine does, nothing awaits the kernel any more: what was programmed is removed
    /// by calls that block. A copy of the engine in a forked process has programmed nothing.
    fn drop(&mut self) {
        if self.is_shut_down || std::process::id() != self.process {
            return;
        }
        let outbox = {
            let mut core = self.core();
            // Changes that were not sent are not needed any more.
            drop(core.take_outbox());
            core.feed(Input::Stop);
            core.stop();
            core.take_outbox()
        };
        for (index, _, change) in outbox.changes {
            self.kernel.apply_at_exit(index, &change);
        }
        self.stop_receiving_at_exit();
        self.restore_all_at_exit();
    }
}

async fn next(links: &mut Option<LinkEvents>) -> LinkEvent {
    if let Some(events) = links
        && let Some(event) = events.next().await
    {
        return event;
    }
    *links = None;
    std::future::pending().await
}

async fn next_route(routes: &mut Option<RouteEvents>) {
    if let Some(events) = routes
        && events.next().await.is_some()
    {
        return;
    }
    *routes = None;
    std::future::pending().await
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
