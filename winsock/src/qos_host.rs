//! The gqos host of this process and the thread that runs it: reservations for sockets and groups.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;

use flowspec::{Qos, Rate, Wsa};
use gqos::admission::{Decision, Operation};
use gqos::connect::{ConnectError, Host};
use gqos::engine::{Admitted, Granted, LocalEngine, OwedTokens, ReceivedPackets, ReservationRequest};
use gqos::linux::RouteQuery;
use gqos::policy::Policy;
use tokio::runtime::{Builder, EnterGuard, Handle};
use tokio::sync::oneshot;

use super::Result;
use super::blocking::become_reactor;
use super::status::QosStatus;
use crate::sys;

/// A reactor thread and, where there is a policy, the host that reserves by it.
pub(crate) struct QosHost {
    reactor: Handle,
    host: Option<Host>,
    last_flow: AtomicU64,
    process: u32,
    stop: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

/// Why nothing was reserved.
#[derive(Debug)]
pub(crate) enum ReserveError {
    /// There is no policy to reserve by.
    NoPolicy,
    /// The reactor has ended.
    Stopped,
    /// The refusal, or what failed.
    Connect(Box<ConnectError>),
}

type ReserveResult<T> = core::result::Result<T, ReserveError>;

/// What the flows of the last host owe: a program that ends the provider and starts it again gets no full buckets by that.
fn owed() -> MutexGuard<'static, Option<OwedTokens>> {
    static OWED: Mutex<Option<OwedTokens>> = Mutex::new(None);
    OWED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl QosHost {
    /// Starts the reactor and the host. `on_overcommitment` is called whenever an interface's reservations exceed its
    /// capacity (`true`), and when that is over.
    ///
    /// - **Errors**: WSASYSNOTREADY.
    pub(crate) fn start(policy: Option<Arc<Policy>>, on_overcommitment: fn(&str, bool)) -> Result<Self> {
        let (ready, started) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let reactor = move || {
            become_reactor();
            sys::keep_network_capability();
            let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
            runtime.block_on(async {
                let engine = match policy {
                    None => None,
                    Some(policy) => match LocalEngine::start(policy).await {
                        Ok(engine) => Some(engine),
                        Err(_) => return,
                    },
                };
                let host = engine.clone().map(|engine| Host::on(engine));
                if let (Some(engine), Some(host)) = (&engine, &host) {
                    if let Some(tokens) = owed().take() {
                        engine.begin_with(tokens);
                    }
                    host.on_overcommitment(on_overcommitment);
                }
                let _ = ready.send((Handle::current(), host.clone()));
                // An error means that the sender is gone without `stop`: the reactor ends likewise.
                let _ = stopped.await;
                if let (Some(engine), Some(host)) = (engine, host) {
                    host.stop().await;
                    *owed() = Some(engine.owed());
                }
            });
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("gqos-winsock".into()).spawn(reactor);
        let thread = thread.map_err(|_| Wsa::SysNotReady)?;
        let (reactor, host) = started.recv().map_err(|_| Wsa::SysNotReady)?;
        Ok(Self {
            reactor,
            host,
            last_flow: AtomicU64::new(0),
            process: sys::process_id(),
            stop: Mutex::new(Some((stop, thread))),
        })
    }

    /// Stops the host and waits until the reactor has ended. On the reactor itself it does nothing.
    pub(crate) fn stop(&self) {
        let stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((stop, thread)) = stop
            && thread.thread().id() != std::thread::current().id()
        {
            // An error means that the reactor has ended already.
            let _ = stop.send(());
            // A panic was reported where it happened.
            let _ = thread.join();
        }
    }

    /// Drops the reactor's capabilities that are needed no more after the process has changed its user.
    fn follow_user(&self) {
        if sys::has_left_root() {
            self.spawn(async { sys::drop_other_capabilities() });
        }
    }

    /// An id for a flow, unique among the flows of all processes.
    pub(crate) fn new_flow_id(&self) -> String {
        format!("winsock-{}-{}", self.process, self.last_flow.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Whether there is a policy to reserve by.
    pub(crate) const fn has_policy(&self) -> bool {
        self.host.is_some()
    }

    /// Reserves for a flow and waits for the answer; on this thread, where no kernel change is needed.
    pub(crate) fn reserve(&self, request: ReservationRequest) -> ReserveResult<Granted> {
        self.follow_user();
        let host = self.host.clone().ok_or(ReserveError::NoPolicy)?;
        if let Some(pending) = host.try_reserve(&request) {
            let reserved = match pending.ready() {
                Ok(reserved) => reserved,
                Err(pending) => self.wait_for(pending).ok_or(ReserveError::Stopped)?,
            };
            return reserved.map_err(|error| ReserveError::Connect(Box::new(error.into())));
        }
        self.run(async move { host.reserve(request).await })
    }

    /// Requests other flowspecs for a reserved flow and waits for the answer.
    pub(crate) fn renegotiate(&self, id: String, qos: Qos) -> ReserveResult<(Admitted, Decision)> {
        let host = self.host.clone().ok_or(ReserveError::NoPolicy)?;
        self.run(async move { host.renegotiate(id, qos).await })
    }

    /// The same for a caller that awaits the answer; `None` where it was refused.
    pub(crate) fn renegotiate_later(
        &self,
        id: String,
        qos: Qos,
    ) -> impl Future<Output = Option<(Admitted, Decision)>> + Send + 'static {
        let host = self.host.clone();
        async move { host?.renegotiate(id, qos).await.ok() }
    }

    /// Restores the earlier flowspecs of a flow. Nothing waits for the answer, since the caller may be the reactor.
    pub(crate) fn restore_flow(&self, id: String, qos: Qos) {
        let restored = self.renegotiate_later(id, qos);
        // A refusal changes nothing: the capacity may have been reserved by others meanwhile.
        self.spawn(async move { drop(restored.await) });
    }

    /// Assigns the packets that a flow receives to their class: the decision, which says whether it has one.
    pub(crate) fn receive(
        &self,
        packets: ReceivedPackets,
        (admitted, mut decision): (Admitted, Decision),
    ) -> impl Future<Output = Option<Decision>> + Send + 'static {
        let host = self.host.clone();
        async move {
            host?.receive(packets, &admitted, &mut decision).await;
            Some(decision)
        }
    }

    /// Reserves for a group on the way to a peer and waits for the answer: the interface.
    pub(crate) fn reserve_group(&self, id: String, qos: Qos, to: RouteQuery) -> ReserveResult<String> {
        let host = self.host.clone().ok_or(ReserveError::NoPolicy)?;
        self.run(async move { host.group(id, qos, to).await })
    }

    /// Restores the earlier reservation of a group. Nothing waits for the answer, as for [`restore_flow`].
    ///
    /// [`restore_flow`]: Self::restore_flow
    pub(crate) fn restore_group(&self, id: String, qos: Qos, to: RouteQuery) {
        let Some(host) = self.host.clone() else { return };
        self.spawn(async move { drop(host.group(id, qos, to).await) });
    }

    /// Releases a group's reservation once its last member has left.
    pub(crate) fn release_group(&self, id: String) {
        if let Some(host) = &self.host {
            host.end_group(id);
        }
    }

    /// Calls back on the reactor when capacity is free for a refused flow that waits.
    pub(crate) fn on_capacity(&self, id: String, notify: impl FnOnce() + Send + 'static) {
        let Some(host) = self.host.clone() else { return };
        self.spawn(async move {
            if host.wait_for_capacity(&id).await.is_ok() {
                notify();
            }
        });
    }

    /// Removes a flow from the waiting queue.
    pub(crate) fn stop_waiting(&self, id: &str) {
        if let Some(host) = &self.host {
            host.stop_waiting(id);
        }
    }

    /// Submits an operation to the ledger and waits for the decision.
    ///
    /// - **Errors**: WSAEOPNOTSUPP without a policy; WSAENETDOWN where the host has ended.
    pub(crate) fn submit(&self, operation: Operation) -> Result<Decision> {
        let host = self.host.clone().ok_or(Wsa::Eopnotsupp)?;
        let decision = self.wait_for(async move { host.submit(operation).await });
        decision.and_then(core::result::Result::ok).ok_or(Wsa::Enetdown)
    }

    /// The interface by which packets leave; `None` where that is not known.
    pub(crate) fn interface(&self, to: impl Into<RouteQuery>) -> Option<String> {
        let (host, query) = (self.host.clone()?, to.into());
        self.wait_for(async move { host.interface(query).await.ok() })?
    }

    /// The capacity of the interface by which a peer is reached; `None` where that is not known.
    pub(crate) fn line_rate(&self, to: impl Into<RouteQuery>) -> Option<Rate> {
        let (host, query) = (self.host.clone()?, to.into());
        self.wait_for(async move { host.line_rate(query).await.ok() })??
    }

    /// Has descriptors that the calling thread registers watched by the reactor, until the value is dropped.
    pub(crate) fn enter(&self) -> EnterGuard<'_> {
        self.reactor.enter()
    }

    /// Runs a future on the reactor.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.reactor.spawn(future);
    }

    /// Runs something that blocks, on a thread of its own.
    pub(crate) fn spawn_blocking(&self, work: impl FnOnce() + Send + 'static) {
        self.reactor.spawn_blocking(work);
    }

    /// Runs a future on the reactor and waits for its result; `None` where the reactor has ended.
    pub(crate) fn wait_for<F>(&self, future: F) -> Option<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let (send, receive) = mpsc::channel();
        self.reactor.spawn(async move {
            let _ = send.send(future.await);
        });
        receive.recv().ok()
    }

    fn run<F, T>(&self, future: F) -> ReserveResult<T>
    where
        F: Future<Output = core::result::Result<T, ConnectError>> + Send + 'static,
        T: Send + 'static,
    {
        let result = self.wait_for(future).ok_or(ReserveError::Stopped)?;
        result.map_err(|error| ReserveError::Connect(Box::new(error)))
    }
}

impl ReserveError {
    /// Whether the refused flow waits for capacity.
    pub(crate) fn is_waiting(&self) -> bool {
        let Self::Connect(error) = self else { return false };
        matches!(&**error, ConnectError::Refused(decision) if decision.is_waiting())
    }

    /// The code that the call returns, and the status for SIO_GET_QOS.
    pub(crate) fn codes(&self) -> (Wsa, QosStatus) {
        match self {
            Self::NoPolicy => (Wsa::Eopnotsupp, Wsa::QosPolicyFailure.into()),
            Self::Stopped => (Wsa::Enetdown, Wsa::QosGenericError.into()),
            Self::Connect(error) => match &**error {
                ConnectError::Refused(decision) => (Wsa::Eopnotsupp, QosStatus::refused(decision)),
                error => (error.wsa(), Wsa::QosGenericError.into()),
            },
        }
    }
}
