//! The engine of this process.
//!
//! A request that needs no kernel change completes on the caller's thread, unless a command that may free capacity is
//! queued before it. Every other request is a command to the engine's task, the [`Driver`].

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use flowspec::{Direction, Micros};
use tokio::sync::{Notify, oneshot};

use super::audit::MakeAuditSink;
use super::clock::ManagerClock;
use super::core::{Core, lock};
use super::driver::Driver;
use super::error::EngineError;
use super::events::Events;
use super::handle::{Egress, Engine, EngineFuture, OnOvercommitment};
use super::kept::{Adoptions, KeptReservations};
use super::kernel::Kernel;
use super::lingering::Lingering;
use super::owner;
use super::peer::PeerSocket;
use super::pending::PendingReservation;
use super::queues::{Commands, EngineCommand, MOST_QUEUED_REQUESTS, queue};
use super::report::InterfaceReport;
use super::request::{Placement, ReceivedPackets, Rendition, ReservationRequest, Submission};
use super::reservation::{Granted, ReservationBackend, ReservationState, Usage};
use super::routes::RouteCache;
use super::waiters::WaitingFlows;
use super::watches::Watches;
use crate::admission::{NotProgrammed, Operation, Refusal};
use crate::kernel::KernelClass;
use crate::linux::{Netlink, RouteQuery};
use crate::manager::{Answer, Input};
use crate::policy::{Owner, PeerTimeouts, Policy};
use crate::tc::Handle;
#[cfg(feature = "daemon")]
use crate::telemetry::audit::{AuditFact, Audited};

/// An engine that runs its manager in this process, and a task that carries out the manager's effects.
///
/// It belongs to the network namespace of the thread that started it and to that thread's tokio runtime. The task ends
/// with [`stop`](Engine::stop), or once the last handle and the last reservation are dropped.
pub struct LocalEngine {
    core: Arc<Mutex<Core>>,
    commands: Commands,
    pub(super) kernel: Arc<dyn Kernel>,
    pub(super) routes: RouteCache,
    waiters: WaitingFlows,
    watches: Watches,
    clock: ManagerClock,
    /// How many flows have been given an id.
    named: AtomicU64,
    /// Whether the policy has classes for some owners alone.
    pub(super) needs_owner: AtomicBool,
}

impl LocalEngine {
    /// Starts an engine under this policy.
    ///
    /// The interfaces that the policy names are prepared before this returns: each gets its tree, unless a foreign qdisc
    /// is installed at its root. Every other interface is prepared with its first flow. An interface that cannot be
    /// programmed is no error: [`report`](Engine::report) and every decision about it state why.
    ///
    /// - **Errors**: netlink cannot be opened; the kernel's.
    pub async fn start(policy: Arc<Policy>) -> Result<Arc<Self>, EngineError> {
        Self::start_on(policy, Arc::new(Netlink::open()?)).await
    }

    /// [`start_keeping`](Self::start_keeping) with an audit trail, which begins with the engine.
    ///
    /// - **Errors**: those of [`start`](Self::start).
    pub async fn start_audited(
        policy: Arc<Policy>,
        kernel: Arc<dyn Kernel>,
        kept: &KeptReservations,
        audit: MakeAuditSink,
    ) -> Result<(Arc<Self>, Adoptions), EngineError> {
        Self::start_with(policy, kernel, kept, Some(audit)).await
    }

    /// [`start`](Self::start) on another kernel, for simulations and tests.
    ///
    /// - **Errors**: the kernel's.
    pub async fn start_on(policy: Arc<Policy>, kernel: Arc<dyn Kernel>) -> Result<Arc<Self>, EngineError> {
        let (engine, _) = Self::start_keeping(policy, kernel, &KeptReservations::default()).await?;
        Ok(engine)
    }

    /// [`start_on`](Self::start_on) where an engine has ended without removing what it had programmed: its reservations are
    /// granted again, with the classes that they have in the kernel, which are not touched. Returns what becomes of each, in
    /// their order.
    ///
    /// - **Errors**: the kernel's.
    pub async fn start_keeping(
        policy: Arc<Policy>,
        kernel: Arc<dyn Kernel>,
        kept: &KeptReservations,
    ) -> Result<(Arc<Self>, Adoptions), EngineError> {
        Self::start_with(policy, kernel, kept, None).await
    }

    async fn start_with(
        policy: Arc<Policy>,
        kernel: Arc<dyn Kernel>,
        kept: &KeptReservations,
        audit: Option<MakeAuditSink>,
    ) -> Result<(Arc<Self>, Adoptions), EngineError> {
        let ((commands, inbox), wake) = (queue(), Arc::new(Notify::new()));
        let engine = Arc::new_cyclic(|me: &Weak<Self>| {
            let (waiters, me) = (WaitingFlows::default(), Weak::clone(me) as Weak<dyn ReservationBackend>);
            let core = Core::new(&policy, waiters.clone(), Arc::clone(&wake), me);
            let (watches, clock) = (core.watches.clone(), core.clock);
            Self {
                watches,
                clock,
                core: Arc::new(Mutex::new(core)),
                commands,
                kernel,
                routes: RouteCache::default(),
                waiters,
                named: AtomicU64::new(0),
                needs_owner: AtomicBool::new(policy.matches_owners()),
            }
        });
        if let Some(audit) = audit {
            lock(&engine.core).start_audit(audit);
        }
        let (core, kernel) = (Arc::clone(&engine.core), Arc::clone(&engine.kernel));
        let mut driver = Driver::new((core, engine.routes.clone()), kernel, engine.commands.downgrade());
        // Opened before the interfaces are looked at, so that no change is missed.
        let links = engine.kernel.watch_links();
        let routes = engine.kernel.watch_routes();
        driver.prepare_all(policy.interfaces.keys().cloned().collect(), kept).await?;
        let adopted = driver.adopt(kept).await;
        driver.sweep().await;
        tokio::spawn(driver.run(inbox, wake, (links, routes)));
        Ok((engine, adopted))
    }

    pub(super) const fn core(&self) -> &Arc<Mutex<Core>> {
        &self.core
    }

    /// A socket sends to a class from now on, whatever becomes of the flow that has it: no other flow gets the class before
    /// [`socket_unmarked`](Self::socket_unmarked). Without a flow the class is that of any interface.
    pub fn socket_marked(&self, socket: u64, class: Handle, flow: Option<&str>) {
        let flow = flow.map(str::to_owned);
        lock(&self.core).feed(Input::SocketMarked { socket, class, flow });
    }

    /// A socket has ended, or does not send to this class any more.
    pub fn socket_unmarked(&self, socket: u64, class: Handle) {
        lock(&self.core).feed(Input::SocketUnmarked { socket, class });
    }

    /// What the clock of the system shows.
    pub(super) fn uptime(&self) -> Option<Micros> {
        self.kernel.uptime()
    }

    /// The credentials that a request's class is matched against, where the policy matches any.
    fn owner(&self, request: &ReservationRequest) -> Owner {
        match &request.owner {
            Some(owner) => owner.clone(),
            None if self.needs_owner.load(Ordering::Relaxed) => owner::of_this_process(),
            None => Owner::default(),
        }
    }

    fn id(&self, request: &ReservationRequest) -> String {
        let number = || self.named.fetch_add(1, Ordering::Relaxed) + 1;
        let chosen = request.ask.id.clone().filter(|id| !id.is_empty());
        chosen.unwrap_or_else(|| format!("flow-{}", number()))
    }

    /// Feeds the manager inputs about a flow on the caller's thread and returns `true`, where the flow has no class in
    /// the kernel and no command that may free capacity is queued.
    fn feed_here<const N: usize>(&self, id: &str, inputs: impl FnOnce() -> [Input; N]) -> bool {
        // The lock's holder may be the one that drops this reservation.
        let Ok(mut core) = self.core.try_lock() else { return false };
        if !self.commands.none_may_free_capacity() || !core.takes_here(id) {
            return false;
        }
        inputs().into_iter().for_each(|input| core.feed(input));
        core.wake();
        true
    }

    /// Queues a client's request. Where the queue is full, a reservation is refused and any other request fails.
    fn request(&self, command: EngineCommand) -> Result<(), EngineError> {
        match self.commands.request(command) {
            Ok(()) => Ok(()),
            Err(EngineCommand::Reserve { submission, reply }) => {
                let refusal =
                    Refusal::TooManyRequests { waiting: MOST_QUEUED_REQUESTS, limit: MOST_QUEUED_REQUESTS };
                lock(&self.core).refuse((&submission.request, &submission.placement), refusal, reply);
                Ok(())
            }
            Err(_) => Err(EngineError::TooManyRequests { limit: MOST_QUEUED_REQUESTS }),
        }
    }

    async fn submitted(&self, operation: Operation) -> Result<Answer, EngineError> {
        let (reply, answer) = oneshot::channel();
        self.request(EngineCommand::Submit { operation: Box::new(operation), reply })?;
        answer.await.map_err(|_| EngineError::Stopped)?
    }

    /// Records a call that has failed in the audit trail, where there is one.
    #[cfg(feature = "daemon")]
    pub(crate) fn audit_failure(&self, fact: impl FnOnce() -> AuditFact) {
        let mut core = lock(&self.core);
        if core.is_audited() {
            let at = self.clock.now();
            core.audit(vec![Audited { at, fact: fact() }]);
        }
    }
}

impl ReservationBackend for LocalEngine {
    fn connected(&self, id: &str) {
        if !self.feed_here(id, || [Input::Connected { id: id.to_owned() }]) {
            self.commands.send(EngineCommand::Connected { id: id.to_owned() });
        }
    }

    fn release(&self, id: String, lingering: Lingering, usage: Usage) {
        let missing = usage.missing;
        let inputs = || [Input::Spent { id: id.clone(), missing }, Input::Closed { id: id.clone() }];
        if matches!(lingering, Lingering::Nothing) && self.feed_here(&id, inputs) {
            return;
        }
        self.commands.send(EngineCommand::Closed { id, lingering, usage });
    }

    fn peer_gone(&self, id: String, usage: Usage) {
        self.commands.send(EngineCommand::PeerGone { id, usage });
    }

    fn watch(&self, flow: (&str, &Arc<ReservationState>), socket: PeerSocket, timeouts: PeerTimeouts) {
        self.watches.add(flow, socket, timeouts, self.clock.now());
    }

    fn unwatch(&self, state: &Arc<ReservationState>) {
        self.watches.remove(state);
    }
}

impl Engine for LocalEngine {
    fn try_reserve(&self, request: &ReservationRequest) -> Option<PendingReservation> {
        if request.interface.is_some() {
            return None;
        }
        let link = self.routes.get(&self.routes.asked(request.route())?)?;
        let owner = self.owner(request);
        let mut core = lock(&self.core);
        if !self.commands.none_may_free_capacity() || !core.answers_here(&link.name) {
            return None;
        }
        let placement = Placement { id: self.id(request), link, owner };
        let waiting = request.ask.wait.then(|| self.waiters.enter(&placement.id));
        let (reply, answer) = oneshot::channel();
        core.reserve(request, &placement, reply);
        core.wake();
        drop(core);
        Some(PendingReservation::new(answer, waiting))
    }

    fn reserve(&self, request: ReservationRequest) -> EngineFuture<'_, Result<Granted, EngineError>> {
        Box::pin(async move {
            let link = self.link_for(&request).await?;
            if let Some(pending) = self.try_reserve(&request) {
                return pending.await;
            }
            let placement = Placement { id: self.id(&request), link, owner: self.owner(&request) };
            let waiting = request.ask.wait.then(|| self.waiters.enter(&placement.id));
            let (reply, answer) = oneshot::channel();
            let submission = Box::new(Submission { request, placement });
            self.request(EngineCommand::Reserve { submission, reply })?;
            PendingReservation::new(answer, waiting).await
        })
    }

    fn renditions(
        &self,
        request: ReservationRequest,
    ) -> EngineFuture<'_, Result<Vec<Rendition>, EngineError>> {
        Box::pin(async move {
            let link = self.link_for(&request).await?;
            lock(&self.core).renditions(&request, &link.name).map_err(EngineError::Refused)
        })
    }

    fn submit(&self, operation: Operation) -> EngineFuture<'_, Result<Answer, EngineError>> {
        Box::pin(self.submitted(operation))
    }

    fn end_group(&self, id: String) {
        self.commands.send(EngineCommand::EndGroup { id });
    }

    fn wait_for_capacity(&self, id: &str) -> EngineFuture<'_, Result<(), EngineError>> {
        Box::pin(self.waiters.wait(id))
    }

    fn stop_waiting(&self, id: &str) {
        if self.waiters.remove(id) {
            let (id, usage) = (id.to_owned(), Usage::default());
            self.commands.send(EngineCommand::Closed { id, lingering: Lingering::Nothing, usage });
        }
    }

    fn subscribe(&self, notify: OnOvercommitment) {
        lock(&self.core).subscribe(notify);
    }

    fn events(&self) -> Events {
        lock(&self.core).events()
    }

    fn egress(&self, query: RouteQuery) -> EngineFuture<'_, Result<Egress, EngineError>> {
        Box::pin(async move {
            let interface = self.link(query).await?.name.clone();
            let line_rate = lock(&self.core).manager.ledger().capacity(&interface, Direction::Sending);
            Ok(Egress { interface, line_rate })
        })
    }

    fn report(&self) -> EngineFuture<'_, Result<Vec<InterfaceReport>, EngineError>> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            self.request(EngineCommand::Report { reply })?;
            Ok(answer.await.map_err(|_| EngineError::Stopped)??)
        })
    }

    fn receive(
        &self,
        id: String,
        packets: ReceivedPackets,
    ) -> EngineFuture<'_, Result<KernelClass, NotProgrammed>> {
        let arriving = packets.arriving();
        Box::pin(async move {
            let refused = {
                let core = lock(&self.core);
                let manager = &core.manager;
                let interface = manager.ledger().flow(&id).map(|(interface, ..)| interface.to_owned());
                let status = interface.and_then(|interface| manager.status(&interface));
                status.map_or(Some(NotProgrammed::NotSeen), |status| status.kernel.err())
            };
            if let Some(why) = refused {
                return Err(why);
            }
            let (reply, answer) = oneshot::channel();
            let queued = self.commands.request(EngineCommand::Receive { id, arriving, reply });
            queued.map_err(|_| NotProgrammed::TooManyRequests { limit: MOST_QUEUED_REQUESTS })?;
            answer.await.unwrap_or(Err(NotProgrammed::NotSeen))
        })
    }

    fn follow_route(
        &self,
        id: String,
        route: RouteQuery,
    ) -> EngineFuture<'_, Result<Option<Answer>, EngineError>> {
        Box::pin(async move {
            lock(&self.core).flow_routes.follow(&id, route);
            let link = self.link(route).await?;
            if !lock(&self.core).is_on_another(&id, &link.name) {
                return Ok(None);
            }
            let (reply, answer) = oneshot::channel();
            self.request(EngineCommand::Reroute { id, link, reply: Some(reply) })?;
            answer.await.map_err(|_| EngineError::Stopped)?
        })
    }

    fn stop(&self) -> EngineFuture<'_, ()> {
        Box::pin(async move {
            let (reply, done) = oneshot::channel();
            self.commands.send(EngineCommand::Stop { reply });
            // An error means that the engine has stopped already.
            let _ = done.await;
        })
    }
}
