//! The daemon behind its control socket and its state file: what it shares among connections, and how it serves one.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::net::UnixStream;

use super::audit::{self, AuditLog, Named, Owners};
use super::calls::CallingPeer;
use super::confined::Confined;
use super::connection::serve;
use super::error::DaemonStartError;
use super::group_requests::GroupRequests;
use super::held::{Client, ConnectionId};
use super::holdings::Reservations;
use super::journal::Journal;
use super::marks::{self, Marks};
use super::notices::{Notices, Process};
use super::observed::Observed;
use super::peer::Peer;
use super::recovered::{Recovered, RecoveryProblem};
use super::recovery::Recovery;
use super::replies::refuse;
use super::sockets::HostSockets;
use super::state::DaemonServer;
use super::users::{UserLimits, Users};
use super::watched::Watched;
use crate::control::ClientNotice;
use crate::control::limits::{
    MOST_CALLS_A_SECOND, MOST_CONNECTIONS, MOST_CONNECTIONS_OF_A_USER, MOST_FLOWS_OF_A_USER,
};
use crate::engine::{Adoptions, Engine, KeptReservations, Kernel, LocalEngine};
use crate::policy::Policy;
use crate::telemetry::audit::AuditClient;

/// What a daemon is started with.
pub(super) struct Parts {
    pub(super) policy: Policy,
    /// The files that the policy was read from.
    pub(super) files: Vec<PathBuf>,
    /// The group whose members are administrators.
    pub(super) administrators: Option<u32>,
    pub(super) confined: Confined,
    pub(super) kernel: Arc<dyn Kernel>,
    pub(super) sockets: Arc<dyn HostSockets>,
    /// The name of this run of the daemon.
    pub(super) epoch: String,
    /// What a daemon before this one has left.
    pub(super) recovery: Recovery,
}

/// A daemon that has started its engine.
pub(super) struct Core {
    pub(super) server: Arc<DaemonServer>,
    /// Notes nothing until it is opened.
    pub(super) journal: Arc<Journal>,
    pub(super) recovered: Recovered,
    pub(super) audit: Option<AuditLog>,
}

impl Core {
    /// Starts the engine, which grants again what was held before.
    ///
    /// - **Errors**: the kernel's; the audit log's.
    pub(super) async fn start(parts: Parts) -> Result<Self, DaemonStartError> {
        let Parts { policy, files, administrators, confined, kernel, sockets, epoch, mut recovery } = parts;
        recovery.leave_out_ended(&*sockets).await;
        let limits = limits(&policy);
        let notices: Arc<Notices> = Arc::default();
        let journal = Journal::new();
        let holdings = Reservations::new(Arc::clone(&notices), Arc::clone(&journal), &epoch);
        let begun_with = policy.clone();
        let (marked, unlisted) = match marks::listed(&*sockets).await {
            Ok(marked) => (marked, None),
            Err(failure) => (Vec::new(), Some(failure)),
        };
        let kept = KeptReservations { marked: marked.clone(), ..recovery.kept() };
        let group_requests: Arc<GroupRequests> = Arc::default();
        let held = (&holdings, &group_requests);
        let (engine, adoptions, audit) = start_engine(policy, kernel, held, (&recovery, &kept)).await?;
        let overcommitted = Arc::clone(&notices);
        engine.subscribe(Arc::new(move |interface: &str, over| {
            overcommitted.notify_all(&ClientNotice::Overcommitted { interface: interface.to_owned(), over });
        }));
        let groups_ended = recovery.groups_ended();
        let mut recovered = recovery.adopt(adoptions, &holdings);
        groups_ended.into_iter().for_each(|id| engine.end_group(id));
        let marks = Marks::new(Arc::clone(&engine));
        marks.begin(&marked);
        if let Some(failure) = unlisted {
            recovered.problems.push(RecoveryProblem::MarksNotListed(failure));
        }
        let watched = Watched::new(Arc::clone(&engine), Arc::clone(&holdings));
        let server = Arc::new(DaemonServer {
            engine,
            holdings,
            group_requests,
            notices,
            sockets,
            marks,
            users: Users::new(limits),
            files,
            begun_with,
            reload: tokio::sync::Mutex::default(),
            draining: AtomicBool::new(false),
            connections: AtomicU64::new(0),
            observed: Observed::default(),
            watched,
            confined,
            administrators: Mutex::new(administrators),
        });
        Ok(Self { server, journal, recovered, audit })
    }
}

/// Starts the engine, with its audit log where the policy wants one.
async fn start_engine(
    policy: Policy,
    kernel: Arc<dyn Kernel>,
    (holdings, groups): (&Arc<Reservations>, &Arc<GroupRequests>),
    (recovery, kept): (&Recovery, &KeptReservations),
) -> Result<(Arc<LocalEngine>, Adoptions, Option<AuditLog>), DaemonStartError> {
    let Some(settings) = policy.daemon.as_ref().and_then(|daemon| daemon.audit.as_ref()) else {
        let (engine, adoptions) = LocalEngine::start_keeping(Arc::new(policy), kernel, kept).await?;
        return Ok((engine, adoptions, None));
    };
    let (holdings, groups) = (Arc::downgrade(holdings), Arc::clone(groups));
    // What is adopted is held once the engine has granted it.
    let (flows_before, groups_before) = (recovery.processes(), recovery.group_processes());
    let owners: Owners = Arc::new(move |named: Named<'_>| {
        let holdings = holdings.upgrade();
        let process = match named {
            Named::Flow(id) => {
                holdings.and_then(|held| held.process(id)).or_else(|| flows_before.get(id).copied())
            }
            Named::Group(id) => groups
                .process(id)
                .or_else(|| holdings.and_then(|held| held.group_process(id)))
                .or_else(|| groups_before.get(id).copied()),
        };
        let client = |process: Process| AuditClient { uid: Some(process.uid), pid: process.pid };
        process.map_or_else(AuditClient::default, client)
    });
    let (log, sink) = audit::start(settings, &policy, owners)?;
    let (engine, adoptions) = LocalEngine::start_audited(Arc::new(policy), kernel, kept, sink).await?;
    Ok((engine, adoptions, Some(log)))
}

/// Serves one connection and releases what lives with it.
pub(super) async fn serve_client(server: Arc<DaemonServer>, stream: UnixStream, peer: Peer) {
    let counted = match server.users.connect(peer.uid, !peer.is_administrator) {
        Ok(counted) => counted,
        Err(error) => return refuse(&stream, &error),
    };
    let connection = ConnectionId(server.connections.fetch_add(1, Ordering::Relaxed));
    let process = Process { uid: peer.uid, pid: peer.pid };
    let guard = Connected::new(&server, connection);
    let caller = CallingPeer { server: Arc::clone(&server), peer, client: Client { connection, process } };
    serve(&stream, &caller, &counted).await;
    drop(guard);
}

/// A connection that is open. Dropped, also when its task is aborted, it releases what lives with it.
struct Connected<'a> {
    server: &'a DaemonServer,
    connection: ConnectionId,
}

impl<'a> Connected<'a> {
    fn new(server: &'a DaemonServer, connection: ConnectionId) -> Self {
        server.holdings.connected(connection);
        Self { server, connection }
    }
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        let left = self.server.holdings.disconnected(self.connection);
        left.waiting.iter().for_each(|id| self.server.engine.stop_waiting(id));
        left.groups.into_iter().for_each(|id| self.server.engine.end_group(id));
    }
}

fn limits(policy: &Policy) -> UserLimits {
    let daemon = policy.daemon.clone().unwrap_or_default();
    UserLimits {
        connections: daemon.connections_per_user.unwrap_or(MOST_CONNECTIONS_OF_A_USER),
        flows: daemon.flows_per_user.unwrap_or(MOST_FLOWS_OF_A_USER),
        calls_a_second: daemon.calls_per_second.unwrap_or(MOST_CALLS_A_SECOND),
        all_connections: MOST_CONNECTIONS,
    }
}
