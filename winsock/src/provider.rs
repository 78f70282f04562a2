//! The provider of this process: how often it was started, and the host that guarantees.

use std::future::Future;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, RwLock, RwLockWriteGuard, mpsc};
use std::thread::JoinHandle;

use flowspec::{Qos, Rate, Wsa};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::Result;
use super::group::{Groups, tell_groups};
use super::waiting::calling_back;
use super::wishes::Status;
use crate::sys::raw;
use gqos::admission::{Decision, Operation};
use gqos::connect::{Ask, ConnectError, Host};
use gqos::engine::{Granted, ReservationRequest};
use gqos::manager::Admitted;
use gqos::policy::{Policy, Protocol, Source, Subject};

/// Where the policy is found: paths, separated by colons.
const POLICY_VARIABLE: &str = "GQOS_POLICY";

/// What is shared by all sockets of the process.
pub(super) struct Provider {
    /// The reactor's: what is spawned here runs on its thread.
    runtime: Handle,
    host: Option<Host>,
    pub(super) policy: Arc<Policy>,
    names: AtomicU64,
    groups: Mutex<Groups>,
    callbacks: Mutex<Option<mpsc::Sender<Work>>>,
    process: u32,
    stop: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

/// A callback that is due.
type Work = Box<dyn FnOnce() + Send>;

struct Started {
    times: u64,
    provider: Arc<Provider>,
}

static STARTED: RwLock<Option<Started>> = RwLock::new(None);

fn started() -> RwLockWriteGuard<'static, Option<Started>> {
    // What is inside is whole between any two statements that can panic.
    STARTED.write().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the provider, or counts one start more. The policy is the one that `GQOS_POLICY` names; without
/// one there is nothing to guarantee with, and every flow specification that reserves is refused.
///
/// - **Errors**: WSASYSNOTREADY where the policy cannot be read or the manager not be started.
/// - **Source**: WSAStartup.
pub fn startup() -> Result<()> {
    start(|| match std::env::var(POLICY_VARIABLE) {
        Err(_) => Ok(None),
        Ok(paths) => {
            let paths: Vec<_> = paths.split(':').filter(|path| !path.is_empty()).map(str::to_owned).collect();
            let texts = paths.iter().map(std::fs::read_to_string).collect::<std::io::Result<Vec<_>>>();
            let texts = texts.map_err(|_| Wsa::SysNotReady)?;
            let sources: Vec<_> =
                paths.iter().zip(&texts).map(|(name, text)| Source { name, text }).collect();
            let (policy, _) = Policy::parse(&sources).map_err(|_| Wsa::SysNotReady)?;
            Ok(Some(Arc::new(policy)))
        }
    })
}

/// The same, under this policy.
///
/// - **Errors**: WSASYSNOTREADY where the manager cannot be started.
pub fn startup_with(policy: Arc<Policy>) -> Result<()> {
    start(|| Ok(Some(policy)))
}

fn start(policy: impl FnOnce() -> Result<Option<Arc<Policy>>>) -> Result<()> {
    let mut started = started();
    match &mut *started {
        // A child after fork has none of its parent's threads: it starts anew.
        Some(known) if known.provider.process == raw::process() => {
            known.times += 1;
            return Ok(());
        }
        Some(of_the_parent) => std::mem::forget(Arc::clone(&of_the_parent.provider)),
        None => {}
    }
    let provider = Provider::start(policy()?)?;
    AT_EXIT.call_once(|| {
        // Without it, what is programmed stays after a program that does not clean up.
        let _ = raw::at_exit(end_at_exit);
    });
    *started = Some(Started { times: 1, provider: Arc::new(provider) });
    Ok(())
}

static AT_EXIT: Once = Once::new();

/// A program ends that has not cleaned up: what was programmed is taken back.
extern "C" fn end_at_exit() {
    // Whoever holds it is in the middle of a start or an end, and is not waited for.
    let started = (0..100).find_map(|_| {
        std::thread::yield_now();
        STARTED.try_write().ok()
    });
    let Some(mut started) = started else { return };
    let own = started.as_ref().is_some_and(|known| known.provider.process == raw::process());
    if let Some(Started { provider, .. }) = started.take_if(|_| own) {
        drop(started);
        provider.end();
    }
}

/// Asks the provider's manager something: another capacity, what is free.
///
/// - **Errors**: WSANOTINITIALISED; WSAEOPNOTSUPP without a policy; WSAENETDOWN where the manager has ended. A
///   refusal is a decision.
pub fn ask(operation: Operation) -> Result<Decision> {
    let provider = provider()?;
    let host = provider.host.clone().ok_or(Wsa::Eopnotsupp)?;
    let answered = provider.wait(async move { host.submit(operation).await });
    answered.and_then(core::result::Result::ok).ok_or(Wsa::Enetdown)
}

/// Takes one start back; with the last one the provider ends, and every socket with it.
///
/// - **Errors**: WSANOTINITIALISED.
/// - **Source**: WSACleanup.
pub fn cleanup() -> Result<()> {
    let ended = {
        let mut started = started();
        let Some(known) = &mut *started else { return Err(Wsa::NotInitialised) };
        known.times -= 1;
        if known.times > 0 {
            return Ok(());
        }
        started.take()
    };
    super::socket::close_all();
    if let Some(Started { provider, .. }) = ended {
        provider.end();
    }
    Ok(())
}

/// That it has been started, by this process.
///
/// - **Errors**: WSANOTINITIALISED.
pub(super) fn running() -> Result<()> {
    match &*STARTED.read().unwrap_or_else(PoisonError::into_inner) {
        Some(known) if known.provider.process == raw::process() => Ok(()),
        _ => Err(Wsa::NotInitialised),
    }
}

/// The provider, if it has been started.
pub(super) fn provider() -> Result<Arc<Provider>> {
    match &*STARTED.read().unwrap_or_else(PoisonError::into_inner) {
        Some(known) if known.provider.process == raw::process() => Ok(Arc::clone(&known.provider)),
        _ => Err(Wsa::NotInitialised),
    }
}

impl Provider {
    fn start(policy: Option<Arc<Policy>>) -> Result<Self> {
        let (ready, started) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let asked = policy.clone();
        let body = move || {
            let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
            runtime.block_on(async {
                // Groups are never made to go: they are told where they may not get what they were promised.
                let host = match asked {
                    None => None,
                    Some(policy) => match Host::start(policy).await {
                        Ok(host) => {
                            host.on_overcommitment(tell_groups);
                            Some(host)
                        }
                        Err(_) => return,
                    },
                };
                // Who started it waits for this.
                let _ = ready.send((Handle::current(), host.clone()));
                // An error means that nobody will stop it: it is time to end.
                let _ = stopped.await;
                if let Some(host) = host {
                    host.stop().await;
                }
            });
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("gqos-winsock".into()).spawn(body);
        let thread = thread.map_err(|_| Wsa::SysNotReady)?;
        let (runtime, host) = started.recv().map_err(|_| Wsa::SysNotReady)?;
        Ok(Self {
            runtime,
            host,
            policy: policy.unwrap_or_default(),
            names: AtomicU64::new(0),
            groups: Mutex::default(),
            callbacks: Mutex::default(),
            process: raw::process(),
            stop: Mutex::new(Some((stop, thread))),
        })
    }

    fn end(&self) {
        let stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((stop, thread)) = stop
            && thread.thread().id() != std::thread::current().id()
        {
            // An error means that it has ended by itself.
            let _ = stop.send(());
            // Its panic, if any, was reported where it happened.
            let _ = thread.join();
        }
    }

    /// A flow's name that nobody else has here.
    pub(super) fn name(&self) -> String {
        format!("winsock-{}-{}", self.process, self.names.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Whether there is anything to guarantee with.
    pub(super) const fn guarantees(&self) -> bool {
        self.host.is_some()
    }

    /// Asks the manager for a reservation, and waits for its answer.
    ///
    /// - **Errors**: the refusal; WSAEOPNOTSUPP where nothing can be guaranteed.
    pub(super) fn reserve(
        &self,
        ask: Ask,
        peer: IpAddr,
        protocol: Protocol,
        local_port: u16,
    ) -> core::result::Result<Granted, Refused> {
        let host = self.host.clone().ok_or(Refused::NoPolicy)?;
        let request = ReservationRequest::new(ask, Subject { protocol, local_port, peer });
        if let Some(pending) = host.try_reserve(&request) {
            let reserved = match pending.ready() {
                Ok(reserved) => reserved,
                Err(pending) => self.wait(pending).ok_or(Refused::Stopped)?,
            };
            return reserved.map_err(|error| Refused::Error(Box::new(error.into())));
        }
        let reserved = self.wait(async move { host.reserve(request).await });
        reserved.ok_or(Refused::Stopped)?.map_err(|error| Refused::Error(Box::new(error)))
    }

    /// The groups there are.
    pub(super) fn groups(&self) -> MutexGuard<'_, Groups> {
        // Whole between any two statements that can panic.
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for what a group is to get on the way to a peer, and waits for the answer: by which interface that is.
    pub(super) fn group(&self, id: String, qos: Qos, peer: IpAddr) -> core::result::Result<String, Refused> {
        let host = self.host.clone().ok_or(Refused::NoPolicy)?;
        let asked = self.wait(async move { host.group(id, qos, peer).await });
        asked.ok_or(Refused::Stopped)?.map_err(|error| Refused::Error(Box::new(error)))
    }

    /// Gives a group back what it had; nobody waits for that, since it may be on the reactor itself.
    pub(super) fn group_again(&self, id: String, qos: Qos, peer: IpAddr) {
        let Some(host) = self.host.clone() else { return };
        self.spawn(async move {
            // What is refused now stays as it is: more may have been promised to others meanwhile.
            let _ = host.group(id, qos, peer).await;
        });
    }

    /// Ends a group: with its last member, or at once.
    pub(super) fn ungroup(&self, id: String) {
        if let Some(host) = &self.host {
            host.end_group(id);
        }
    }

    /// Waits for room for one who was refused, on the reactor.
    pub(super) fn when_room(&self, id: String, tell: impl FnOnce() + Send + 'static) {
        let Some(host) = self.host.clone() else { return };
        self.spawn(async move {
            if host.wait_for_capacity(&id).await.is_ok() {
                tell();
            }
        });
    }

    /// One who waits for room does so no longer.
    pub(super) fn give_up(&self, id: &str) {
        if let Some(host) = &self.host {
            host.stop_waiting(id);
        }
    }

    /// Asks for something else for a flow that has a reservation, and waits for the answer.
    pub(super) fn renegotiate(
        &self,
        id: String,
        qos: Qos,
    ) -> core::result::Result<(Admitted, Decision), Refused> {
        let host = self.host.clone().ok_or(Refused::NoPolicy)?;
        let changed = self.wait(async move { host.renegotiate(id, qos).await });
        changed.ok_or(Refused::Stopped)?.map_err(|error| Refused::Error(Box::new(error)))
    }

    /// Gives a flow back what it had before; nobody waits for that, since it may be on the reactor itself.
    pub(super) fn renegotiate_again(&self, id: String, qos: Qos) {
        let changed = self.renegotiated(id, qos);
        // What is refused now stays as it is: more may have been promised to others meanwhile.
        self.spawn(async move { drop(changed.await) });
    }

    /// The same for one who awaits it; nothing where it was refused.
    pub(super) fn renegotiated(
        &self,
        id: String,
        qos: Qos,
    ) -> impl Future<Output = Option<(Admitted, Decision)>> + Send + 'static {
        let host = self.host.clone();
        async move { host?.renegotiate(id, qos).await.ok() }
    }

    /// By which interface a peer is reached; nothing where that is not known.
    pub(super) fn interface(&self, peer: IpAddr) -> Option<String> {
        let host = self.host.clone()?;
        self.wait(async move { host.interface(peer).await.ok() })?
    }

    /// What the link carries by which a peer is reached; nothing where that is not known.
    pub(super) fn line_rate(&self, peer: IpAddr) -> Option<Rate> {
        let host = self.host.clone()?;
        self.wait(async move { host.line_rate(peer).await.ok() })??
    }

    /// Runs a future on the reactor and waits for it. Nothing where the reactor has ended.
    pub(super) fn wait<F>(&self, future: F) -> Option<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let (send, receive) = mpsc::channel();
        self.runtime.spawn(async move {
            // Who asked waits below.
            let _ = send.send(future.await);
        });
        receive.recv().ok()
    }

    /// Runs something that waits on a thread of its own.
    pub(super) fn spawn_blocking(&self, work: impl FnOnce() + Send + 'static) {
        self.runtime.spawn_blocking(work);
    }

    /// Calls the program back, after what is due already: not on the reactor, which its calls may wait for.
    pub(super) fn call_back(&self, work: Work) {
        let mut callbacks = self.callbacks.lock().unwrap_or_else(PoisonError::into_inner);
        if callbacks.is_none() {
            let (due, inbox) = mpsc::channel::<Work>();
            let body = move || inbox.into_iter().for_each(calling_back);
            // Without a thread nobody is called; there is none for anything else then, either.
            if std::thread::Builder::new().name("gqos-callbacks".into()).spawn(body).is_ok() {
                *callbacks = Some(due);
            }
        }
        if let Some(callbacks) = &*callbacks {
            // An error means that one has panicked: then nobody is called any more.
            let _ = callbacks.send(work);
        }
    }

    /// Runs a future on the reactor.
    pub(super) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(future);
    }
}

/// Why nothing was reserved.
#[derive(Debug)]
pub(super) enum Refused {
    /// There is no policy to reserve by.
    NoPolicy,
    /// The provider has ended meanwhile.
    Stopped,
    /// The refusal, or what failed.
    Error(Box<ConnectError>),
}

impl Refused {
    /// Whether the flow waits for room.
    pub(super) fn waits(&self) -> bool {
        matches!(self, Self::Error(error) if matches!(&**error, ConnectError::Refused(decision) if decision.is_waiting()))
    }

    /// What the call returns, and what is said besides.
    pub(super) fn codes(&self) -> (Wsa, Status) {
        match self {
            Self::NoPolicy => (Wsa::Eopnotsupp, Wsa::QosPolicyFailure.into()),
            Self::Stopped => (Wsa::Enetdown, Wsa::QosGenericError.into()),
            Self::Error(error) => match &**error {
                ConnectError::Refused(decision) => (Wsa::Eopnotsupp, Status::refused(decision)),
                error => (error.wsa(), Wsa::QosGenericError.into()),
            },
        }
    }
}
