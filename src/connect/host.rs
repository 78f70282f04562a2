//! An engine, as its clients see it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flowspec::{Qos, Rate};
use shaper::transfer::Limits as TransferLimits;

use super::error::ConnectError;
use super::transfers::HostWorkers;
use crate::admission::{Decision, GroupRequest, Operation};
use crate::engine::{
    Admitted, Answer, DaemonError, DaemonSocket, Engine, Events, InterfaceReport, LocalEngine, RemoteEngine,
    Slice, SliceRequest,
};
use crate::linux::RouteQuery;
use crate::policy::{GroupMode, Policy};

/// A handle on an engine. Cheap to clone.
///
/// The engine of this process, started by [`start`](Self::start), belongs to the network namespace of the thread that
/// started it and to its tokio runtime.
///
/// ```no_run
/// use gqos::connect::{Ask, Host};
/// use gqos::policy::Policy;
///
/// #[tokio::main]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let host = Host::start(Policy::from_paths(["base.toml", "site.toml"])?).await?;
///     for report in host.report().await? {
///         match report.status.kernel {
///             Ok(()) => println!("{}: classes in the kernel", report.interface),
///             Err(why) => println!("{}: user space alone: {why}", report.interface),
///         }
///     }
///     let connection = host.connector().connect("192.0.2.7:9000".parse()?, &Ask::template("1080p")).await?;
///     drop(connection);
///     tokio::signal::ctrl_c().await?;
///     host.stop().await;
///     Ok(())
/// }
/// ```
///
/// # The end of a host
///
/// While it runs, the engine has an HTB tree at the root of each interface that it manages. How it ends decides what becomes
/// of the tree:
///
/// | end | the tree |
/// | --- | --- |
/// | [`stop`](Self::stop) | removed once the changes under way are applied; the kernel's default qdisc is back when the call returns |
/// | the last handle and the last reservation are dropped | the same, in the background |
/// | the runtime ends first: `main` returns, or a panic unwinds through it | removed while the runtime is dropped, by calls that block; a tree that was just being set up may stay |
/// | `std::process::exit`, `abort`, a panic with `panic = "abort"` | stays |
/// | a signal that the program does not handle, SIGTERM and SIGKILL among them | stays |
///
/// A program that is to end cleanly handles SIGTERM and returns from `main`. A tree that stays limits the interface to the
/// capacity of the policy, with best effort for everything: the classes of ended flows carry nothing. The next engine for
/// the interface replaces it, and `tc qdisc del dev <interface> root` removes it.
///
/// Connections that outlive the engine go on: without their class, and shaped by their last plan until they are dropped.
#[derive(Clone)]
pub struct Host {
    pub(super) engine: Arc<dyn Engine>,
    /// The same where it is that of the daemon.
    daemon: Option<Arc<RemoteEngine>>,
    pub(super) workers: HostWorkers,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("daemon", &self.daemon()).finish_non_exhaustive()
    }
}

impl Host {
    /// Starts an engine in this process under this policy (a [`Policy`], or an `Arc` of one), in this thread's network
    /// namespace.
    ///
    /// The interfaces that the policy names are prepared before this returns, every other one with its first flow. An
    /// interface that cannot be programmed is no error: [`report`](Self::report) and every decision about it state why.
    ///
    /// - **Errors**: netlink cannot be opened; the policy has a part that a running host cannot carry out.
    pub async fn start(policy: impl Into<Arc<Policy>>) -> Result<Self, ConnectError> {
        Ok(Self::on(LocalEngine::start(policy.into()).await?))
    }

    /// A client of an engine that the caller has started.
    pub fn on(engine: Arc<dyn Engine>) -> Self {
        Self { engine, daemon: None, workers: HostWorkers::default() }
    }

    /// A client of the daemon whose control socket this is. The daemon's policy decides, and its budget is that of the whole
    /// host: flows of other processes count too.
    ///
    /// The daemon sends the packets of TCP connections and of connected UDP sockets to their classes, so that this process
    /// needs no privilege. A datagram socket with several flows is shaped in user space alone.
    ///
    /// ```no_run
    /// use gqos::connect::{Ask, ConnectError, Connection, Host};
    ///
    /// async fn connect() -> Result<Connection, ConnectError> {
    ///     let host = Host::connect_daemon("/run/gqos/gqos.sock").await?;
    ///     host.connector().connect(([192, 0, 2, 7], 9000).into(), &Ask::template("1080p")).await
    /// }
    /// ```
    ///
    /// It belongs to the tokio runtime on which it is called. Where that is of the current thread, it has to run on after a flow is
    /// released, since its tasks tell the daemon so.
    ///
    /// While the daemon is not there, requests fail with [`ConnectError::Daemon`], which is WSAENETDOWN, five seconds after its end at
    /// the earliest; or they begin without a reservation, where the daemon's policy had said so (`degrade`). Reservations stand:
    /// the client connects to the next daemon and asks for them again.
    ///
    /// - **Errors**: the daemon is not there, or does not answer within five seconds.
    pub async fn connect_daemon(socket: impl Into<PathBuf>) -> Result<Self, ConnectError> {
        Ok(Self::by_daemon(RemoteEngine::connect(socket).await?))
    }

    /// The same for a program that has a policy of its own: `degrade` of its `[daemon]` says what flows get while the daemon is
    /// not there. Where that is `"local-bucket"` or `"best_effort"`, the daemon need not be there yet: flows begin without a
    /// reservation, which [`Lack::Reservation`](crate::admission::Lack::Reservation) in the decision says, and get one when it is. Without
    /// `degrade` in this policy, that of the daemon counts.
    ///
    /// - **Errors**: those of [`connect_daemon`](Self::connect_daemon).
    pub async fn connect_daemon_under(
        socket: impl Into<PathBuf>,
        policy: &Policy,
    ) -> Result<Self, ConnectError> {
        Ok(Self::by_daemon(RemoteEngine::connect_under(socket, policy).await?))
    }

    fn by_daemon(engine: Arc<RemoteEngine>) -> Self {
        let daemon = Some(Arc::clone(&engine));
        Self { engine, daemon, workers: HostWorkers::default() }
    }

    /// A client of the daemon where there is one, else an engine in this process under this policy: [`daemon`](Self::daemon)
    /// says which.
    ///
    /// The control socket is the one that the environment names in GQOS_SOCKET, which then has to be there; else
    /// `/run/gqos/gqos.sock`, if that exists.
    ///
    /// ```no_run
    /// use gqos::connect::{ConnectError, Host};
    /// use gqos::policy::Policy;
    ///
    /// async fn host(policy: Policy) -> Result<Host, ConnectError> {
    ///     let host = Host::discover(policy).await?;
    ///     match host.daemon() {
    ///         Some(socket) => println!("reservations by the daemon at {}", socket.display()),
    ///         None => println!("reservations by an engine in this process"),
    ///     }
    ///     Ok(host)
    /// }
    /// ```
    ///
    /// - **Errors**: those of [`start`](Self::start); a socket is there, nothing listens at it, and the policy's `degrade` is
    ///   not set.
    pub async fn discover(policy: impl Into<Arc<Policy>>) -> Result<Self, ConnectError> {
        let policy = policy.into();
        match DaemonSocket::find() {
            DaemonSocket::Absent => Self::start(policy).await,
            DaemonSocket::Named(socket) | DaemonSocket::Found(socket) => {
                Self::connect_daemon_under(socket, &policy).await
            }
        }
    }

    /// The control socket of the daemon whose engine this is; `None` for an engine that runs in this process.
    pub fn daemon(&self) -> Option<&Path> {
        self.daemon.as_deref().map(RemoteEngine::socket)
    }

    /// Reserves room for flows that are alike, by the daemon: from then on each of them is admitted at once, and the daemon is told
    /// without waiting for its answer. That is for programs that begin many flows, and for those whose flows must not wait for
    /// a daemon that is busy. [`Slice`] has an example.
    ///
    /// A request is for the slice if it asks for the same, and its packets leave by the slice's interface; while the slice is full, it
    /// goes to the daemon as without one. The decision of a flow within a slice names it
    /// ([`Enforced::slice`](crate::admission::Enforced::slice)), and until the daemon has answered, its class is not known
    /// ([`Lack::Confirmation`](crate::admission::Lack::Confirmation)): its packets are shaped in user space, and leave by the
    /// default class of the interface.
    ///
    /// - **Errors**: the refusal; a request that is for no slice; the engine runs in this process, or the daemon is not there.
    pub async fn slice(&self, request: SliceRequest) -> Result<Slice, ConnectError> {
        match &self.daemon {
            Some(engine) => Ok(Slice::request(engine, request).await?),
            None => {
                let problem = "the engine runs in this process, and its requests wait for no daemon";
                Err(ConnectError::Daemon(DaemonError::NoSlice { problem }))
            }
        }
    }

    /// The state of every interface that has been seen, with what the kernel counts.
    ///
    /// - **Errors**: the kernel's; the engine has stopped.
    pub async fn report(&self) -> Result<Vec<InterfaceReport>, ConnectError> {
        Ok(self.engine.report().await?)
    }

    /// Starts the threads by which connections send files and bytes ([`Connection::send`](super::Connection::send)), with other
    /// limits than the default ones. Without this call the first transfer starts them.
    ///
    /// - **Errors**: they have started already (`AlreadyExists`); no descriptors or threads are left.
    pub fn start_transfers(&self, limits: TransferLimits) -> io::Result<()> {
        self.workers.start(limits)
    }

    /// Stops the engine: what it has programmed is removed, and the kernel's defaults return.
    pub async fn stop(self) {
        self.engine.stop().await;
    }

    /// Asks for other flowspecs for a flow that has a reservation.
    ///
    /// - **Errors**: the refusal; the engine has stopped.
    pub async fn renegotiate(&self, id: String, qos: Qos) -> Result<(Admitted, Decision), ConnectError> {
        let Answer { decision, admitted } = self.engine.renegotiate(id, qos.map(Some)).await?;
        match admitted {
            Some(admitted) => Ok((admitted, decision)),
            None => Err(ConnectError::Refused(Box::new(decision))),
        }
    }

    /// Performs an operation on the ledger: a group, another capacity, a query. Flows are better reserved by their
    /// connections, which release them.
    ///
    /// - **Errors**: the engine has stopped. A refusal is a decision.
    pub async fn submit(&self, operation: Operation) -> Result<Decision, ConnectError> {
        Ok(self.engine.submit(operation).await?.decision)
    }

    /// Reserves for a group on the way to a peer: an envelope that its members stay within. Returns the interface.
    ///
    /// - **Errors**: the refusal; no route to the peer; the engine has stopped.
    pub async fn group(
        &self,
        id: String,
        qos: Qos,
        to: impl Into<RouteQuery>,
    ) -> Result<String, ConnectError> {
        let interface = self.interface(to).await?;
        let mode = GroupMode::Envelope;
        let request = GroupRequest { id, interface: interface.clone(), class: None, mode, qos };
        let decision = self.submit(Operation::Group(Box::new(request))).await?;
        if decision.is_ok() { Ok(interface) } else { Err(ConnectError::Refused(Box::new(decision))) }
    }

    /// Ends a group once its last member has left.
    pub fn end_group(&self, id: String) {
        self.engine.end_group(id);
    }

    /// Waits until capacity is free for a flow that was refused and [waits](super::Ask::wait).
    ///
    /// The notification reserves nothing: the capacity goes to the next request that fits. A flow that does not ask
    /// again within five seconds loses its place in the queue.
    ///
    /// - **Errors**: no flow of this id waits.
    pub async fn wait_for_capacity(&self, id: &str) -> Result<(), ConnectError> {
        Ok(self.engine.wait_for_capacity(id).await?)
    }

    /// An id that no other flow has, for one that may have to wait.
    ///
    /// - **Errors**: `getrandom`.
    #[cfg(feature = "proxy")]
    pub(crate) fn new_id(&self) -> Result<String, ConnectError> {
        Ok(crate::linux::random_name()?)
    }

    /// Takes a flow out of the waiting queue.
    pub fn stop_waiting(&self, id: &str) {
        self.engine.stop_waiting(id);
    }

    /// Calls back with an interface whenever more is reserved on it than it carries (`true`), and when that is over
    /// (`false`). The call comes from the engine's task and must not block.
    pub fn on_overcommitment(&self, notify: impl Fn(&str, bool) + Send + Sync + 'static) {
        self.engine.subscribe(Arc::new(notify));
    }

    /// What happens from now on: flows admitted, refused and ended, capacities, trees.
    ///
    /// A subscriber that lets more than [`MOST_WAITING_EVENTS`](crate::engine::MOST_WAITING_EVENTS) wait loses the
    /// newest; [`Events::dropped`] counts them. The engine never waits for it.
    pub fn events(&self) -> Events {
        self.engine.events()
    }

    /// The interface by which packets leave to a peer, or those of a socket: a [`RouteQuery`] has its options.
    ///
    /// - **Errors**: no route, or the kernel's.
    pub async fn interface(&self, to: impl Into<RouteQuery>) -> Result<String, ConnectError> {
        Ok(self.engine.egress(to.into()).await?.interface)
    }

    /// What the interface carries by which packets to the peer leave, as far as that is known.
    ///
    /// - **Errors**: no route, or the kernel's.
    pub async fn line_rate(&self, to: impl Into<RouteQuery>) -> Result<Option<Rate>, ConnectError> {
        Ok(self.engine.egress(to.into()).await?.line_rate)
    }
}
