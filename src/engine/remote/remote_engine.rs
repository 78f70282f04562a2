//! The engine that a client uses: connects, connects again, and keeps what it holds.

mod backend;
mod within_slice;

use std::fmt;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use flowspec::{Both, Flowspec, Moment};
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;

use super::absence::DaemonAbsence;
use super::calls::DecidedCall;
use super::connection::{DaemonConnection, OnReply, failure};
use super::error::DaemonError;
use super::fallback::NOWHERE;
use super::held::{HeldFlow, HeldFlows};
use super::slices::Slices;
use super::{calls, peers, streams};
use crate::admission::{Decision, NotProgrammed, Operation, Reason};
use crate::control::{
    ClientNotice, ControlError, EgressReply, FlowId, MethodCall, Nothing, RenditionsReply, Reply,
    ReserveCall, StatusCall, StatusReply, UngroupCall,
};
use crate::engine::clock::ManagerClock;
use crate::engine::error::EngineError;
use crate::engine::events::{Events, Subscribers};
use crate::engine::handle::{Egress, Engine, EngineFuture, OnOvercommitment};
use crate::engine::pending::PendingReservation;
use crate::engine::report::InterfaceReport;
use crate::engine::request::{ReceivedPackets, Rendition, ReservationRequest};
use crate::engine::reservation::{AttachedSocket, Granted, Reservation, ReservationState, Usage};
use crate::engine::routes::LocalRoutes;
use crate::engine::waiters::WaitingFlows;
use crate::engine::watches::Watches;
use crate::kernel::KernelClass;
use crate::linux::{RouteQuery, random_name};
use crate::manager::{Admitted, Answer, Loss, Lost};
use crate::policy::Policy;

/// The daemon's engine, by its control socket.
///
/// It belongs to the tokio runtime on which it was connected, and whose tasks tell the daemon of flows that are released: a
/// runtime of the current thread has to run on after that. Everything that it holds is released when it is dropped, and
/// when the process ends.
pub struct RemoteEngine {
    me: Weak<Self>,
    path: PathBuf,
    runtime: Handle,
    /// The connection for calls; closed, or absent, while the daemon is not there.
    connection: Mutex<Option<Arc<DaemonConnection>>>,
    /// One attempt to connect at a time.
    connecting: tokio::sync::Mutex<()>,
    held: HeldFlows,
    slices: Slices,
    /// The routes of flows in slices, since the first slice.
    routes: OnceLock<LocalRoutes>,
    waiters: WaitingFlows,
    watches: Watches,
    clock: ManagerClock,
    subscribers: Mutex<Vec<OnOvercommitment>>,
    tasks: Mutex<Tasks>,
    /// How it goes on without the daemon.
    absence: DaemonAbsence,
}

#[derive(Default)]
struct Tasks {
    /// Those that run; ended ones are removed with the next connection.
    running: Vec<AbortHandle>,
    is_stopped: bool,
}

/// How long the daemon may take until it has said that it will send notices.
const PATIENCE: Duration = Duration::from_secs(5);

/// The pauses between attempts to connect again: each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

impl fmt::Debug for RemoteEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteEngine").field("path", &self.path).finish_non_exhaustive()
    }
}

impl RemoteEngine {
    /// Connects to the daemon whose control socket this is.
    ///
    /// - **Errors**: the daemon is not there, or does not answer within five seconds.
    pub async fn connect(path: impl Into<PathBuf>) -> Result<Arc<Self>, EngineError> {
        let engine = Self::new(path.into(), None);
        engine.connection().await?;
        Ok(engine)
    }

    /// The same for a client with a policy of its own, whose `degrade` says what requests get while the daemon is not there;
    /// where that is not to refuse, the daemon need not be there yet.
    ///
    /// - **Errors**: the daemon is not there and requests would be refused; it does not answer as it should.
    pub async fn connect_under(path: impl Into<PathBuf>, policy: &Policy) -> Result<Arc<Self>, EngineError> {
        let has_policy = policy.daemon.as_ref().is_some_and(|daemon| daemon.degrade.is_some());
        let engine = Self::new(path.into(), has_policy.then_some(policy));
        match engine.connection().await {
            Err(EngineError::Daemon(error))
                if error.is_unreachable() && engine.absence.fallback().is_some() =>
            {
                engine.spawn(connect_again(Weak::clone(&engine.me)));
            }
            connected => drop(connected?),
        }
        Ok(engine)
    }

    fn new(path: PathBuf, policy: Option<&Policy>) -> Arc<Self> {
        let wake = Arc::new(Notify::new());
        let engine = Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            path,
            runtime: Handle::current(),
            connection: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
            held: HeldFlows::default(),
            slices: Slices::default(),
            routes: OnceLock::new(),
            waiters: WaitingFlows::default(),
            watches: Watches::new(Arc::clone(&wake)),
            clock: ManagerClock::start(),
            subscribers: Mutex::default(),
            tasks: Mutex::default(),
            absence: DaemonAbsence::of(policy),
        });
        let me = Weak::clone(&engine.me);
        let lose = move |id: &str, why| {
            if let Some(engine) = me.upgrade() {
                engine.lose_peer(id, why);
            }
        };
        engine.spawn(peers::look((engine.watches.clone(), engine.clock), wake, lose));
        engine
    }

    /// Whether it is connected to the daemon.
    pub fn is_connected(&self) -> bool {
        self.open_connection().is_some()
    }

    /// The path of the control socket.
    pub fn socket(&self) -> &Path {
        &self.path
    }

    pub(super) fn now(&self) -> Moment {
        self.clock.now()
    }

    /// The connection; a new one where the last has ended.
    fn connection(&self) -> EngineFuture<'_, Result<Arc<DaemonConnection>, EngineError>> {
        Box::pin(async move {
            if let Some(open) = self.open_connection() {
                return Ok(open);
            }
            let _alone = self.connecting.lock().await;
            if let Some(open) = self.open_connection() {
                return Ok(open);
            }
            if lock(&self.tasks).is_stopped {
                return Err(EngineError::Stopped);
            }
            let me = Weak::clone(&self.me);
            let on_notice = move |notice| {
                if let Some(engine) = me.upgrade() {
                    engine.take_notice(notice);
                }
            };
            let (notices, listening) = streams::listen(&self.path, on_notice).await?;
            let connection = DaemonConnection::open(&self.path, None).await?;
            self.spawn(attend(Weak::clone(&self.me), [Arc::clone(&connection), Arc::clone(&notices)]));
            let listening = tokio::time::timeout(PATIENCE, listening).await;
            let answered = match listening {
                Ok(Ok(answered)) => answered,
                Ok(Err(_)) => Err(notices.disconnected()),
                Err(_) => {
                    let silent = std::io::ErrorKind::TimedOut.into();
                    let socket = self.path.display().to_string();
                    Err(DaemonError::Unreachable(failure("recv", &socket, silent)))
                }
            };
            if let Err(error) = answered {
                connection.close();
                return Err(error.into());
            }
            let slices = self.make_slices_again(&connection);
            let reserved = self.reserve_again(&connection).await;
            slices.await;
            *lock(&self.connection) = Some(Arc::clone(&connection));
            self.absence.connected();
            // Those that were released meanwhile had no connection to say so.
            for id in reserved.into_iter().filter(|id| !self.held.contains(id)) {
                self.send(calls::release(id, Usage::default(), false));
            }
            self.release_again();
            self.waiters.notify_all();
            Ok(connection)
        })
    }

    fn open_connection(&self) -> Option<Arc<DaemonConnection>> {
        lock(&self.connection).clone().filter(|connection| !connection.is_closed())
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = lock(&self.tasks);
        tasks.running.retain(|task| !task.is_finished());
        tasks.running.push(self.runtime.spawn(task).abort_handle());
    }

    /// Asks the daemon of a new connection for everything that is held, and gives what it has reserved. What it has kept
    /// meanwhile, or a daemon after it has adopted, stands.
    async fn reserve_again(&self, connection: &DaemonConnection) -> Vec<String> {
        let mut reserved = Vec::new();
        let mut answers = Vec::new();
        for (id, flow) in self.held.all() {
            let request = MethodCall::Reserve(Box::new(ReserveCall::clone(&flow.request)));
            answers.push((id, flow, connection.asked(&request)));
        }
        let mut kept = Vec::new();
        for (id, flow, answer) in answers {
            let stands = match calls::decided(answer.await) {
                Ok(DecidedCall { admitted: Some(admitted), epoch, decision }) => {
                    self.held.granted_by(&id, epoch);
                    self.held.attach_again(&id);
                    if flow.is_without_daemon {
                        self.granted_later(&id, (admitted, decision));
                    }
                    true
                }
                Ok(DecidedCall { decision, .. }) => decision.reason() == Some(Reason::DuplicateId),
                // The daemon is gone once more: the next one is asked.
                Err(EngineError::Daemon(error)) if error.is_unreachable() => return reserved,
                Err(_) => false,
            };
            if !stands {
                self.lose(Lost { id, interface: flow.interface, why: Loss::EngineGone });
                continue;
            }
            self.attach_to(connection, &id, (flow.socket.as_ref(), ignore()));
            reserved.push(id.clone());
            if flow.is_connected {
                // Another user's reservation of this id is not this one.
                let commit = connection.asked(&MethodCall::Commit(FlowId { id: id.clone() }));
                kept.push((id, flow.interface, commit));
            }
        }
        for (id, interface, committed) in kept {
            let committed = committed
                .await
                .and_then(|reply| reply.parameters::<Nothing>().map_err(DaemonError::Answered));
            if let Err(DaemonError::Answered(ControlError::UnknownId { .. })) = committed {
                self.lose(Lost { id, interface, why: Loss::EngineGone });
            }
        }
        reserved
    }

    fn attach_to(
        &self,
        connection: &DaemonConnection,
        id: &str,
        (socket, on_reply): (Option<&AttachedSocket>, OnReply),
    ) {
        let Some(socket) = socket.and_then(Weak::upgrade) else { return };
        // The process has no descriptor left: the flow goes without its class.
        let Ok(descriptor) = socket.as_fd().try_clone_to_owned() else { return };
        connection.call(&MethodCall::Attach(FlowId { id: id.to_owned() }), Some(descriptor), Some(on_reply));
    }

    fn take_notice(&self, notice: ClientNotice) {
        match notice {
            // What this daemon says comes after it.
            ClientNotice::Listening {} => self.absence.told(None),
            ClientNotice::Degrade { policy } => self.absence.told(policy.as_deref()),
            ClientNotice::Lost { lost } => self.lose(lost),
            ClientNotice::Begun { id, admitted } => self.held.begin(&id, *admitted),
            ClientNotice::Moved { id, details, admitted } => {
                self.held.attach_again(&id);
                self.held.moved(&id, Answer { decision: details.0, admitted: Some(*admitted) });
            }
            ClientNotice::Capacity { id } => {
                if let Some(waiter) = self.waiters.get(&id) {
                    waiter.notify_one();
                }
            }
            ClientNotice::Overcommitted { interface, over } => {
                self.slices.overcommitted(&interface, over);
                let subscribers = lock(&self.subscribers).clone();
                subscribers.iter().for_each(|notify| notify(&interface, over));
            }
        }
    }

    fn lose(&self, lost: Lost) {
        let (id, why) = (lost.id.clone(), lost.why.clone());
        if let Some(slice) = self.held.slice(&id) {
            slice.left(&id, self.now());
        }
        if let Some(state) = self.held.state(&id) {
            self.held.lose(lost);
            self.watches.lost(&state, &why);
        } else {
            self.held.lose(lost);
        }
    }

    /// The peer of a flow is gone or takes no data: its reservation ends.
    fn lose_peer(&self, id: &str, why: Loss) {
        let Some(state) = self.held.state(id) else { return };
        let slice = self.held.slice(id);
        self.send_release((id, slice), calls::release(id.to_owned(), state.usage(), why == Loss::Dead));
        self.held.take(id, why.clone());
        self.watches.lost(&state, &why);
    }

    /// Sends what needs no answer. Without a connection there is nothing to tell: what lived with it is released.
    fn send(&self, request: MethodCall) {
        if let Some(connection) = self.open_connection() {
            connection.call(&request, None, None);
        }
    }

    /// Sends a call and waits for its reply.
    pub(super) async fn call(&self, request: MethodCall) -> Result<Reply, EngineError> {
        Ok(self.connection().await?.asked(&request).await?)
    }

    /// What came of a request for a reservation.
    fn granted(
        &self,
        reply: Result<Reply, DaemonError>,
        request: ReserveCall,
    ) -> Result<Granted, EngineError> {
        let DecidedCall { decision, admitted, epoch } = calls::decided(reply)?;
        let (Some(admitted), Some(id)) = (admitted, decision.id().map(str::to_owned)) else {
            return Err(EngineError::Refused(Box::new(decision)));
        };
        let interface = decision.totals.keys().next().cloned().unwrap_or_default();
        self.hold((admitted, decision), ReserveCall { id: Some(id), epoch, ..request }, interface)
    }

    /// Keeps what was granted under the id of its request.
    fn hold(
        &self,
        (admitted, decision): (Admitted, Decision),
        request: ReserveCall,
        interface: String,
    ) -> Result<Granted, EngineError> {
        let engine = self.me.upgrade().ok_or(EngineError::Stopped)?;
        let id = request.id.clone().unwrap_or_default();
        let state = Arc::<ReservationState>::default();
        let flow = HeldFlow {
            state: Arc::downgrade(&state),
            request: Arc::new(request),
            interface,
            is_connected: false,
            socket: None,
            is_without_daemon: decision.is_unconfirmed(),
            slice: None,
            is_attached: false,
        };
        self.held.insert(&id, flow);
        Ok(Granted { admitted, decision, reservation: Reservation::new(engine, id, state) })
    }

    /// The connection for a request. A daemon that has ended just now may be starting again, and is waited for, unless the
    /// request can go on without it.
    async fn connection_for_request(&self) -> Result<Arc<DaemonConnection>, EngineError> {
        loop {
            match self.connection().await {
                Err(EngineError::Daemon(error)) if error.is_unreachable() => {
                    if self.absence.fallback().is_some() || !self.absence.may_restart(self.now()) {
                        return Err(error.into());
                    }
                }
                other => return other,
            }
            tokio::time::sleep(FIRST_PAUSE).await;
        }
    }

    /// What a request gets while the daemon is not there: the error, or a flow that has no reservation yet.
    fn without_daemon(
        &self,
        request: &ReservationRequest,
        error: EngineError,
    ) -> Result<Granted, EngineError> {
        let is_unreachable = matches!(&error, EngineError::Daemon(error) if error.is_unreachable());
        let Some(fallback) = self.absence.fallback().filter(|_| is_unreachable) else { return Err(error) };
        let id = match request.ask.id.clone().filter(|id| !id.is_empty()) {
            Some(id) => id,
            None => random_name().map_err(EngineError::Kernel)?,
        };
        if self.held.contains(&id) {
            return Err(error);
        }
        let Some(granted) = fallback.grant(request, &id) else { return Err(error) };
        let granted = granted.map_err(EngineError::Refused)?;
        let call = ReserveCall { id: Some(id), ..calls::reserve(request) };
        self.hold(granted, call, NOWHERE.to_owned())
    }
}

/// Carries both connections until one ends, which ends the other. Then connects again, for as long as the engine is there.
async fn attend(engine: Weak<RemoteEngine>, [calls, notices]: [Arc<DaemonConnection>; 2]) {
    tokio::select! {
        () = calls.run() => {}
        () = notices.run() => {}
    }
    if let Some(engine) = engine.upgrade() {
        engine.absence.ended(engine.now());
    }
    connect_again(engine).await;
}

/// Connects, for as long as the engine is there.
async fn connect_again(engine: Weak<RemoteEngine>) {
    let mut pause = FIRST_PAUSE;
    loop {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        let Some(engine) = engine.upgrade() else { return };
        if matches!(engine.connection().await, Ok(_) | Err(EngineError::Stopped)) {
            return;
        }
    }
}

fn ignore() -> OnReply {
    Box::new(|_| {})
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is locked is whole between any two statements that can panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for RemoteEngine {
    fn drop(&mut self) {
        let tasks = self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner);
        tasks.running.iter().for_each(AbortHandle::abort);
    }
}

impl Engine for RemoteEngine {
    fn try_reserve(&self, _: &ReservationRequest) -> Option<PendingReservation> {
        None
    }

    fn reserve(&self, request: ReservationRequest) -> EngineFuture<'_, Result<Granted, EngineError>> {
        Box::pin(async move {
            if let Some(granted) = self.within_slice(&request).await {
                return Ok(granted);
            }
            let connection = match self.connection_for_request().await {
                Ok(connection) => connection,
                Err(error) => return self.without_daemon(&request, error),
            };
            let call = calls::reserve(&request);
            let waits = call.wait.and(call.id.as_deref()).map(|id| self.waiters.enter(id));
            let _requested = self.held.request();
            let (reply, answer) = oneshot::channel();
            let (me, asked) = (Weak::clone(&self.me), call.clone());
            // A caller that has given up drops the answer, which releases what was granted.
            let on_reply: OnReply = Box::new(move |answered| {
                let granted = match me.upgrade() {
                    Some(engine) => engine.granted(answered, asked),
                    None => Err(EngineError::Stopped),
                };
                drop(reply.send(granted));
            });
            connection.call(&MethodCall::Reserve(Box::new(call)), None, Some(on_reply));
            let granted = answer.await.unwrap_or_else(|_| Err(connection.disconnected().into()));
            if let Some(entry) = waits {
                entry.answered(match &granted {
                    Ok(granted) => granted.decision.is_waiting(),
                    Err(EngineError::Refused(decision)) => decision.is_waiting(),
                    Err(_) => false,
                });
            }
            granted.or_else(|error| self.without_daemon(&request, error))
        })
    }

    fn renditions(
        &self,
        request: ReservationRequest,
    ) -> EngineFuture<'_, Result<Vec<Rendition>, EngineError>> {
        Box::pin(async move {
            let call = MethodCall::Renditions(Box::new(calls::reserve(&request)));
            let reply = match self.call(call).await {
                Err(EngineError::Daemon(error)) if error.is_unreachable() => {
                    let renditions =
                        self.absence.fallback().and_then(|fallback| fallback.renditions(&request));
                    return renditions.ok_or_else(|| error.into());
                }
                reply => reply?,
            };
            let RenditionsReply { renditions } = calls::parameters(Ok(reply))?;
            Ok(renditions.into_iter().map(calls::rendition).collect())
        })
    }

    fn submit(&self, operation: Operation) -> EngineFuture<'_, Result<Answer, EngineError>> {
        Box::pin(async move { calls::answer(Ok(self.call(calls::operation(operation)?).await?)) })
    }

    fn renegotiate(
        &self,
        id: String,
        flowspecs: Both<Option<Flowspec>>,
    ) -> EngineFuture<'_, Result<Answer, EngineError>> {
        Box::pin(async move {
            if let Some(slice) = self.held.slice(&id) {
                slice.renegotiating(&id);
            }
            let answer = calls::answer(Ok(self.call(calls::renegotiate(id.clone(), flowspecs)).await?))?;
            if answer.admitted.is_some() {
                self.held.renegotiated(&id, flowspecs);
            }
            Ok(answer)
        })
    }

    fn receive(&self, _: String, _: ReceivedPackets) -> EngineFuture<'_, Result<KernelClass, NotProgrammed>> {
        Box::pin(std::future::ready(Err(NotProgrammed::ClientOfDaemon)))
    }

    fn end_group(&self, id: String) {
        self.send(MethodCall::Ungroup(UngroupCall { id, details: None }));
    }

    fn wait_for_capacity(&self, id: &str) -> EngineFuture<'_, Result<(), EngineError>> {
        Box::pin(self.waiters.wait(id))
    }

    fn stop_waiting(&self, id: &str) {
        if self.waiters.remove(id) {
            self.send(calls::release(id.to_owned(), Usage::default(), false));
        }
    }

    fn subscribe(&self, notify: OnOvercommitment) {
        lock(&self.subscribers).push(notify);
    }

    /// Ends at once: the daemon's events are records in JSON, which `gqos events` prints.
    fn events(&self) -> Events {
        Subscribers::default().subscribe()
    }

    fn egress(&self, query: RouteQuery) -> EngineFuture<'_, Result<Egress, EngineError>> {
        Box::pin(async move {
            let EgressReply { interface, line_rate } =
                calls::parameters(Ok(self.call(calls::egress(query)).await?))?;
            Ok(Egress { interface, line_rate })
        })
    }

    fn report(&self) -> EngineFuture<'_, Result<Vec<InterfaceReport>, EngineError>> {
        Box::pin(async move {
            let call = MethodCall::Status(StatusCall { classes: Some(true), sums: None });
            let status: StatusReply = calls::parameters(Ok(self.call(call).await?))?;
            Ok(status.interfaces.into_iter().map(calls::interface).collect())
        })
    }

    /// Ends the connection to the daemon, which goes on for its other clients.
    fn stop(&self) -> EngineFuture<'_, ()> {
        Box::pin(async move {
            lock(&self.tasks).is_stopped = true;
            if let Some(connection) = lock(&self.connection).take() {
                connection.close();
            }
        })
    }
}
