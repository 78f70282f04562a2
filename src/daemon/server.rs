//! The daemon: starts the engine, accepts connections and serves them, and ends.

use std::future::Future;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::net::UnixStream;
use tokio::task::JoinSet;

use super::attached::follow_ends;
use super::audit::AuditLog;
use super::confined::Confined;
use super::control_file::ControlFile;
use super::core::{Core, Parts, serve_client};
use super::error::DaemonStartError;
#[cfg(feature = "cli")]
use super::http::{BoundEndpoint, HttpEndpoint};
use super::keeper::{KeeperParts, StateKeeper, grace};
use super::notifications::tell_stopping;
use super::options::DaemonOptions;
use super::peer::Peer;
use super::recovered::Recovered;
use super::recovery::{Recovery, end_unclaimed, state_path};
use super::service::keep_alive;
use super::sockets::SystemSockets;
use super::state::{DaemonServer, administrators, read};
use crate::admission::GroupDifference;
use crate::control::{ControlError, DEFAULT_SOCKET};
use crate::engine::{Engine, EngineError, Events, InterfaceReport};
use crate::failure::KernelFailure;
use crate::linux::service_manager::{passed_as, passed_listener};
use crate::linux::{Netlink, random_name, system_id};
use crate::policy::HttpAddress;

/// A daemon that listens.
pub struct Daemon {
    server: Arc<DaemonServer>,
    control: ControlFile,
    socket: PathBuf,
    #[cfg(feature = "cli")]
    http: Option<HttpEndpoint>,
    state: StateKeeper,
    audit: Option<AuditLog>,
}

/// What signals ask of a daemon.
#[derive(Clone)]
pub struct DaemonHandle(Arc<DaemonServer>);

/// The name of a passed socket that is not the control socket.
const HTTP_SOCKET: &str = "http";

/// The pause after a connection that could not be accepted, since descriptors are exhausted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

impl Daemon {
    /// Reads the policy, starts the engine and listens on the control socket.
    ///
    /// - **Errors**: the policy is invalid; another daemon serves the socket; the kernel's.
    pub async fn start(options: DaemonOptions) -> Result<Self, DaemonStartError> {
        let policy = read(&options.policy)?;
        let socket =
            options.socket.clone().or_else(|| policy.daemon.as_ref()?.socket.clone().map(PathBuf::from));
        let socket = socket.unwrap_or_else(|| PathBuf::from(DEFAULT_SOCKET));
        let administrators = administrators(&policy)?;
        // Before the engine: a second daemon must not touch what the first has programmed.
        let passed = passed_listener(&[HTTP_SOCKET])?;
        let socket = passed.as_ref().and_then(path_of).unwrap_or(socket);
        let control = match passed {
            Some(listener) => ControlFile::passed(listener, &socket)?,
            None => ControlFile::listen(&socket)?,
        };
        let http = options.http.clone().or_else(|| policy.daemon.as_ref()?.http.clone());
        check_http(http.as_ref(), &socket)?;
        #[cfg(feature = "cli")]
        let http = http.map(|address| BoundEndpoint::bind(&address, administrators)).transpose()?;
        #[cfg(not(feature = "cli"))]
        if http.is_some() {
            return Err(DaemonStartError::NoHttp);
        }
        // Before the first thread, and after what needs more.
        let confined = Confined::of(&options, &policy, &socket);
        let sockets = Arc::new(SystemSockets::open()?);
        let (grace, system) = (grace(&policy), system_id()?);
        let state = state_path(&socket);
        let parts = Parts {
            policy,
            files: options.policy,
            administrators,
            confined,
            kernel: Arc::new(Netlink::open()?),
            sockets,
            epoch: random_name()?,
            recovery: Recovery::read(&state, &system),
        };
        let Core { server, journal, recovered, audit } = Core::start(parts).await?;
        let (engine, holdings) = (&server.engine, &server.holdings);
        let state = KeeperParts { journal, path: state, system, engine, holdings, recovered, grace };
        let state = StateKeeper::start(state)?;
        #[cfg(feature = "cli")]
        let http = http.map(|bound| bound.start(Arc::clone(&server))).transpose()?;
        Ok(Self {
            server,
            control,
            socket,
            audit,
            #[cfg(feature = "cli")]
            http,
            state,
        })
    }

    /// The path of the control socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Where the HTTP endpoint listens, where there is one: with the port that the kernel has chosen, where it has.
    #[cfg(feature = "cli")]
    pub fn http(&self) -> Option<&HttpAddress> {
        self.http.as_ref().map(HttpEndpoint::address)
    }

    /// What became of the reservations of a daemon before this one that was killed.
    pub const fn recovered(&self) -> &Recovered {
        &self.state.recovered
    }

    /// The first failure to write the state file, by which reservations outlive a daemon that is killed: the call, the
    /// path and the error number.
    pub fn state_failure(&self) -> impl Future<Output = KernelFailure> + Send + 'static {
        self.state.failure()
    }

    /// For signals, and for the daemon's own log.
    pub fn handle(&self) -> DaemonHandle {
        DaemonHandle(Arc::clone(&self.server))
    }

    /// Serves until `stop` is ready; then ends every connection and stops the engine, which removes what it has programmed.
    ///
    /// - **Errors**: the ends of sockets are reported no more.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), DaemonStartError> {
        #[cfg(feature = "cli")]
        let http = self.http;
        let Self { server, control, state, audit, .. } = self;
        let unclaimed = tokio::spawn(end_unclaimed(Arc::clone(&server), state.grace));
        let ended = follow_ends(Arc::clone(&server));
        server.tell_ready();
        let result = tokio::select! {
            () = accept(&server, &control) => Ok(()),
            result = ended => result.map_err(DaemonStartError::from),
            () = keep_alive(&server) => Ok(()),
            () = stop => Ok(()),
        };
        tell_stopping();
        // No client finds a daemon that does not answer any more.
        drop(control);
        #[cfg(feature = "cli")]
        drop(http);
        unclaimed.abort();
        server.engine.stop().await;
        state.writer.remove().await;
        if let Some(audit) = audit {
            audit.finish();
        }
        result
    }
}

impl DaemonHandle {
    /// Reads the policy's files again and uses them from now on; an invalid policy changes nothing. What has changed, as
    /// JSON.
    ///
    /// - **Errors**: the policy is invalid, or has a part that a running host cannot carry out.
    pub async fn reload(&self) -> Result<Value, ControlError> {
        self.0.reload().await
    }

    /// What happens from now on.
    pub fn events(&self) -> Events {
        self.0.engine.events()
    }

    /// The groups that are not as the policy states them, with the reason.
    pub fn group_differences(&self) -> Vec<(String, GroupDifference)> {
        self.0.engine.group_differences()
    }

    /// The state of every interface that has been seen.
    ///
    /// - **Errors**: the kernel's.
    pub async fn report(&self) -> Result<Vec<InterfaceReport>, EngineError> {
        self.0.engine.report().await
    }
}

/// Checks where the HTTP endpoint is to listen.
///
/// - **Errors**: at the control socket; at a descriptor of the service manager.
fn check_http(http: Option<&HttpAddress>, control: &Path) -> Result<(), DaemonStartError> {
    if let Some(descriptor) = passed_as(HTTP_SOCKET) {
        return Err(DaemonStartError::PassedHttp { descriptor, name: HTTP_SOCKET.to_owned() });
    }
    let place = |path: &Path| std::fs::canonicalize(path).ok();
    match http {
        Some(HttpAddress::Socket(path))
            if place(control).is_some_and(|known| place(path.as_ref()) == Some(known)) =>
        {
            Err(DaemonStartError::HttpOnControl { socket: control.to_owned() })
        }
        _ => Ok(()),
    }
}

/// The path at which a socket listens that the service manager has made.
fn path_of(listener: &UnixListener) -> Option<PathBuf> {
    listener.local_addr().ok()?.as_pathname().map(Path::to_owned)
}

/// Accepts connections, for ever. Those that are open end with it.
async fn accept(server: &Arc<DaemonServer>, control: &ControlFile) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = control.listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(connection(Arc::clone(server), stream))),
                // EMFILE and the like end with a connection; the listener stays readable meanwhile.
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

/// Serves one connection.
async fn connection(server: Arc<DaemonServer>, stream: UnixStream) {
    let administrators = *server.administrators.lock().unwrap_or_else(PoisonError::into_inner);
    // A socket without credentials has no peer any more.
    let Ok(peer) = Peer::of(&stream, administrators) else { return };
    serve_client(server, stream, peer).await;
}
