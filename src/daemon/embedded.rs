//! A daemon without a control socket, a state file and a kernel of its own: for simulations and tests.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;

use super::attached::follow_ends;
use super::confined::Confined;
use super::core::{Core, Parts, serve_client};
use super::error::DaemonStartError;
use super::journal::Journal;
use super::keeper::{grace, lines};
use super::peer::Peer;
use super::recovered::Recovered;
use super::recovery::{Recovery, end_unclaimed};
use super::sockets::HostSockets;
use super::state::DaemonServer;
use super::state_log::{StateLog, StateWrite};
use crate::engine::{Kernel, LocalEngine};
use crate::policy::{Owner, Policy};

/// A daemon on another kernel. Its caller brings connections, writes its state file, and runs [what it does by
/// itself](Self::background); nothing of it reads a clock other than tokio's.
pub struct EmbeddedDaemon {
    server: Arc<DaemonServer>,
    journal: Arc<Journal>,
    log: StateLog,
    recovered: Recovered,
    grace: Duration,
}

/// What an embedded daemon is started with.
pub struct EmbeddedOptions {
    /// In place of the files of a policy, of which it has none.
    pub policy: Policy,
    /// Carries out traffic control.
    pub kernel: Arc<dyn Kernel>,
    /// The sockets of its clients.
    pub sockets: Arc<dyn HostSockets>,
    /// The name of this run, which no other has.
    pub epoch: String,
    /// What tells this run of the machine from others.
    pub system: String,
    /// What a daemon before this one has left in its state file.
    pub state: Option<Vec<u8>>,
}

/// A client of an embedded daemon, in place of the credentials that a kernel records.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EmbeddedClient {
    /// Its user.
    pub uid: u32,
    /// Its process.
    pub pid: u32,
    /// Whether it may call administrative methods.
    pub is_administrator: bool,
}

/// A reservation that an embedded daemon holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EmbeddedFlow {
    /// The reservation's id.
    pub id: String,
    /// The user that it belongs to.
    pub uid: u32,
    /// The process that has reserved or claimed it last.
    pub pid: Option<u32>,
    /// The cookie of the socket that it lives with.
    pub cookie: Option<u64>,
}

impl EmbeddedDaemon {
    /// Starts the engine, which grants again what the state says.
    ///
    /// - **Errors**: the kernel's.
    pub async fn start(options: EmbeddedOptions) -> Result<Self, DaemonStartError> {
        let EmbeddedOptions { policy, kernel, sockets, epoch, system, state } = options;
        let recovery = Recovery::of(Ok(state), (Path::new("state"), &system));
        let grace = grace(&policy);
        let parts = Parts {
            policy,
            files: Vec::new(),
            administrators: None,
            confined: Confined::default(),
            kernel,
            sockets,
            epoch,
            recovery,
        };
        let Core { server, journal, recovered, audit: _ } = Core::start(parts).await?;
        journal.open();
        let log = StateLog::new(system, lines(&server.engine, &server.holdings));
        Ok(Self { server, journal, log, recovered, grace })
    }

    /// What became of the reservations of the daemon before.
    pub const fn recovered(&self) -> &Recovered {
        &self.recovered
    }

    /// Serves a connection until it ends. Dropped, the connection has ended.
    pub fn serve(
        &self,
        stream: UnixStream,
        client: EmbeddedClient,
    ) -> impl Future<Output = ()> + Send + 'static {
        let EmbeddedClient { uid, pid, is_administrator } = client;
        let owner = Owner { uid: Some(uid), gid: Some(uid), cgroup: None };
        let peer = Peer { uid, pid: Some(pid), owner, is_administrator };
        serve_client(Arc::clone(&self.server), stream, peer)
    }

    /// What the daemon does without being called: it releases the reservations whose sockets end, and what no client of
    /// the daemon before claims in time. Ends once the kernel reports no more ends.
    pub fn background(&self) -> impl Future<Output = ()> + Send + 'static {
        let (server, grace) = (Arc::clone(&self.server), self.grace);
        async move {
            let ended = follow_ends(Arc::clone(&server));
            let unclaimed = async {
                end_unclaimed(Arc::clone(&server), grace).await;
                std::future::pending().await
            };
            tokio::select! {
                biased;
                _ = ended => {}
                () = unclaimed => {}
            }
        }
    }

    /// The next write of the state file; `None` where nothing has changed.
    pub fn next_write(&mut self) -> Option<StateWrite> {
        let (keys, is_all) = self.journal.noted()?;
        Some(self.log.next(&keys, is_all))
    }

    /// The reservations that are held, in the order of their ids.
    pub fn held(&self) -> Vec<EmbeddedFlow> {
        let shown = self.server.holdings.shown_after(None, usize::MAX);
        let flow = |shown: super::holdings::ShownReservation| EmbeddedFlow {
            id: shown.id,
            uid: shown.process.uid,
            pid: shown.process.pid,
            cookie: shown.cookie,
        };
        shown.into_iter().map(flow).collect()
    }

    /// Its engine, for a look at flows and trees past the protocol.
    pub fn engine(&self) -> &Arc<LocalEngine> {
        &self.server.engine
    }
}
