//! An engine in this process.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use flowspec::Direction;
use tokio::sync::oneshot;

use super::command::{Command, Commands};
use super::core::{Core, lock};
use super::driver::Driver;
use super::error::EngineError;
use super::handle::{Egress, Engine, EngineFuture, OnOvercommitment};
use super::lingering::Lingering;
use super::owner;
use super::pending::PendingReservation;
use super::report::InterfaceReport;
use super::request::{Placement, ReservationRequest, Submission};
use super::reservation::{Granted, ReservationBackend};
use super::routes::RouteCache;
use super::waiters::Waiters;
use crate::admission::Operation;
use crate::failure::KernelFailure;
use crate::linux::{Link, Netlink};
use crate::manager::{Answer, Input};
use crate::policy::{Owner, Policy};

/// The engine of this process: a manager, and the task that carries out its effects.
///
/// Belongs to the network namespace of the thread that started it, and to its tokio runtime. Its task ends with
/// [`stop`](Engine::stop), or with the last handle and the last reservation.
pub struct LocalEngine {
    core: Arc<Mutex<Core>>,
    commands: Commands,
    netlink: Netlink,
    routes: RouteCache,
    waiters: Waiters,
    /// How many flows have been given an id.
    named: AtomicU64,
    /// Whether the policy has classes for some owners alone.
    needs_owner: bool,
}

impl LocalEngine {
    /// Starts an engine under this policy.
    ///
    /// Interfaces that the policy names are prepared at once: their tree is programmed, unless a foreign qdisc is
    /// installed at the root. Others are prepared with their first flow.
    ///
    /// - **Errors**: netlink cannot be opened. An interface that cannot be programmed is no error here:
    ///   [`report`](Engine::report) and every decision name it.
    pub async fn start(policy: Arc<Policy>) -> Result<Arc<Self>, KernelFailure> {
        if let Some(what) = policy.unsupported() {
            let cause = std::io::Error::new(std::io::ErrorKind::Unsupported, what);
            return Err(KernelFailure::new("start", "the policy", cause));
        }
        let netlink = Netlink::open()?;
        let (commands, inbox) = Commands::new();
        let engine = Arc::new_cyclic(|me: &Weak<Self>| {
            let waiters = Waiters::default();
            let core = Core::new(&policy, waiters.clone(), Weak::clone(me) as Weak<dyn ReservationBackend>);
            Self {
                core: Arc::new(Mutex::new(core)),
                commands,
                netlink,
                routes: RouteCache::default(),
                waiters,
                named: AtomicU64::new(0),
                needs_owner: policy.classes.values().any(|class| class.matches.is_some()),
            }
        });
        let netlink = &engine.netlink;
        let mut driver = Driver::new(Arc::clone(&engine.core), netlink.clone(), engine.commands.downgrade());
        // Opened before the interfaces are looked at, so that no change is missed. Where the kernel does not report
        // links, their changes go unnoticed.
        let links = netlink.watch_links().ok();
        for name in policy.interfaces.keys() {
            let looked = match netlink.link_by_name(name).await {
                Ok(link) => driver.look_at(&link).await,
                // An interface that does not exist yet is looked at with its first flow.
                Err(error) if error.is_absent() => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = looked {
                // All or nothing: the trees of the interfaces before this one are removed.
                driver.feed(Input::Stop).await;
                return Err(error);
            }
        }
        tokio::spawn(driver.run(inbox, links));
        Ok(engine)
    }

    /// The link by which packets to the peer leave.
    async fn link(&self, peer: IpAddr) -> Result<Arc<Link>, EngineError> {
        if let Some(link) = self.routes.get(peer) {
            return Ok(link);
        }
        let route = self.netlink.route(peer).await?;
        let link = Arc::new(self.netlink.link(route.index).await?);
        self.routes.keep(peer, Arc::clone(&link));
        Ok(link)
    }

    /// The credentials that a request's class is matched against, where the policy matches any.
    fn owner(&self, request: &ReservationRequest) -> Owner {
        match &request.owner {
            Some(owner) => owner.clone(),
            None if self.needs_owner => owner::of_this_process(),
            None => Owner::default(),
        }
    }

    fn id(&self, request: &ReservationRequest) -> String {
        let number = || self.named.fetch_add(1, Ordering::Relaxed) + 1;
        request.ask.id.clone().unwrap_or_else(|| format!("flow-{}", number()))
    }

    /// Feeds the manager an input about a flow, on the caller's thread, where the flow has no class in the kernel and
    /// no command is queued that has to come first. Returns the input otherwise.
    fn feed_here(&self, id: &str, input: Input) -> Result<(), Input> {
        // The lock's holder may be the one that drops this reservation.
        let Ok(mut core) = self.core.try_lock() else { return Err(input) };
        if !self.commands.are_done() || core.manager.class(id).is_some() {
            return Err(input);
        }
        let effects = core.handle(input);
        core.settle_here(effects).finish(&self.commands, core);
        Ok(())
    }

    async fn submitted(&self, operation: Operation) -> Result<Answer, EngineError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Submit { operation: Box::new(operation), reply });
        answer.await.map_err(|_| EngineError::Stopped)
    }
}

impl ReservationBackend for LocalEngine {
    fn connected(&self, id: &str) {
        let input = Input::Connected { id: id.to_owned() };
        if let Err(Input::Connected { id }) = self.feed_here(id, input) {
            self.commands.send(Command::Connected { id });
        }
    }

    fn release(&self, id: String, lingering: Lingering) {
        if let Lingering::Nothing = lingering {
            let input = Input::Closed { id: id.clone() };
            if self.feed_here(&id, input).is_ok() {
                return;
            }
        }
        self.commands.send(Command::Closed { id, lingering });
    }
}

impl Engine for LocalEngine {
    fn try_reserve(&self, request: &ReservationRequest) -> Option<PendingReservation> {
        let link = self.routes.get(request.subject.peer)?;
        let owner = self.owner(request);
        let mut core = lock(&self.core);
        if !self.commands.are_done() || !core.manager.is_in_user_space(&link.name) {
            return None;
        }
        let placement = Placement { id: self.id(request), link, owner };
        let waiting = request.ask.wait.then(|| self.waiters.enter(&placement.id));
        let (reply, answer) = oneshot::channel();
        let effects = core.reserve(request, &placement, reply);
        core.settle_here(effects).finish(&self.commands, core);
        Some(PendingReservation::new(answer, waiting))
    }

    fn reserve(&self, request: ReservationRequest) -> EngineFuture<'_, Result<Granted, EngineError>> {
        Box::pin(async move {
            let link = self.link(request.subject.peer).await?;
            if let Some(pending) = self.try_reserve(&request) {
                return pending.await;
            }
            let placement = Placement { id: self.id(&request), link, owner: self.owner(&request) };
            let waiting = request.ask.wait.then(|| self.waiters.enter(&placement.id));
            let (reply, answer) = oneshot::channel();
            let submission = Box::new(Submission { request, placement });
            self.commands.send(Command::Reserve { submission, reply });
            PendingReservation::new(answer, waiting).await
        })
    }

    fn submit(&self, operation: Operation) -> EngineFuture<'_, Result<Answer, EngineError>> {
        Box::pin(self.submitted(operation))
    }

    fn end_group(&self, id: String) {
        let (reply, _) = oneshot::channel();
        self.commands.send(Command::Submit { operation: Box::new(Operation::Ungroup { id }), reply });
    }

    fn wait_for_capacity(&self, id: &str) -> EngineFuture<'_, Result<(), EngineError>> {
        let entry = self.waiters.get(id).ok_or_else(|| EngineError::NotWaiting { id: id.to_owned() });
        Box::pin(async move {
            entry?.notified().await;
            Ok(())
        })
    }

    fn stop_waiting(&self, id: &str) {
        if self.waiters.remove(id) {
            self.commands.send(Command::Closed { id: id.to_owned(), lingering: Lingering::Nothing });
        }
    }

    fn subscribe(&self, notify: OnOvercommitment) {
        lock(&self.core).subscribe(notify);
    }

    fn egress(&self, peer: IpAddr) -> EngineFuture<'_, Result<Egress, EngineError>> {
        Box::pin(async move {
            let interface = self.link(peer).await?.name.clone();
            let line_rate = lock(&self.core).manager.ledger().capacity(&interface, Direction::Sending);
            Ok(Egress { interface, line_rate })
        })
    }

    fn report(&self) -> EngineFuture<'_, Result<Vec<InterfaceReport>, EngineError>> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            self.commands.send(Command::Report { reply });
            Ok(answer.await.map_err(|_| EngineError::Stopped)??)
        })
    }

    fn stop(&self) -> EngineFuture<'_, ()> {
        Box::pin(async move {
            let (reply, done) = oneshot::channel();
            self.commands.send(Command::Stop { reply });
            // An error means that the engine has stopped already.
            let _ = done.await;
        })
    }
}
