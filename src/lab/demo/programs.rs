//! The programs of a managed phase: two servers that reserve by one daemon, which is killed in the middle and started
//! again.

use std::time::Duration;

use tokio::runtime::Handle as Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::error::DemoError;
use super::options::{ProgramCommand, Programs};
use super::program::DemoProgram;
use super::result::{DaemonResult, DaemonState, ServerProcess};
use crate::connect::{ConnectError, Host};

/// The programs while the phase runs.
pub(super) struct RunningPrograms {
    programs: Programs,
    host_runtime: Runtime,
    host: Host,
    servers: Vec<(DemoProgram, ServerProcess)>,
    /// The first daemon, until it is to be killed.
    first: Option<DemoProgram>,
    restart: Option<JoinHandle<Result<Restarted, DemoError>>>,
    state: (watch::Sender<DaemonState>, watch::Receiver<DaemonState>),
}

/// The second daemon, and how it came to serve.
struct Restarted {
    daemon: DemoProgram,
    killed_pid: u32,
    killed_at: Instant,
    served_after: Duration,
    reservations_before: usize,
    reservations_after: usize,
}

/// How many servers there are.
const SERVERS: u16 = 2;

/// How long no daemon is there: longer than a service manager waits before it starts a service again.
const DOWN: Duration = Duration::from_secs(1);

/// How long a client may take to reach the next daemon.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pause between two attempts to reach it.
const PAUSE: Duration = Duration::from_millis(20);

impl RunningPrograms {
    /// Starts the daemon and then the servers on the host of this runtime. The servers listen at ports from `first_port` on.
    pub(super) async fn start(
        programs: &Programs,
        host_runtime: &Runtime,
        first_port: u16,
    ) -> Result<Self, DemoError> {
        let daemon = DemoProgram::start(&programs.daemon, "the daemon", host_runtime).await?;
        let host = host_runtime.spawn(Host::connect_daemon(programs.socket.clone())).await??;
        let mut servers = Vec::new();
        for port in (0..SERVERS).map(|number| first_port + number) {
            let mut command: ProgramCommand = programs.server.clone();
            command.arguments.push(port.to_string().into());
            let server = DemoProgram::start(&command, "a media server", host_runtime).await?;
            let process = ServerProcess { number: servers.len() + 1, pid: server.pid(), port };
            servers.push((server, process));
        }
        let state = watch::channel(DaemonState::Serving { pid: daemon.pid() });
        let (programs, host_runtime) = (programs.clone(), host_runtime.clone());
        Ok(Self { programs, host_runtime, host, servers, first: Some(daemon), restart: None, state })
    }

    /// The daemon's engine.
    pub(super) fn host(&self) -> Host {
        self.host.clone()
    }

    /// The server of a viewer. Both servers have viewers of every rendition and every transport.
    pub(super) fn server_of(&self, viewer: usize) -> Option<&ServerProcess> {
        let number = (viewer + viewer / 4) % self.servers.len().max(1);
        self.servers.get(number).map(|(_, process)| process)
    }

    pub(super) fn state(&self) -> DaemonState {
        *self.state.1.borrow()
    }

    /// Kills the daemon, the first time that this is called, and starts it again in the background.
    pub(super) fn kill_daemon(&mut self) {
        let Some(first) = self.first.take() else { return };
        let (programs, host_runtime) = (self.programs.clone(), self.host_runtime.clone());
        let (host, state) = (self.host.clone(), self.state.0.clone());
        self.restart = Some(tokio::spawn(restart(first, (programs, host_runtime), host, state)));
    }

    /// Waits until the daemon serves again.
    ///
    /// - **Errors**: it does not, or one of the servers has ended.
    pub(super) async fn finish(mut self, started: Instant) -> Result<FinishedPrograms, DemoError> {
        self.kill_daemon();
        let Some(restart) = self.restart.take() else {
            let how = "was not started again".to_owned();
            return Err(DemoError::Program { name: "the daemon", how, said: String::new() });
        };
        let mut restarted = restart.await??;
        restarted.daemon.check()?;
        self.servers.iter_mut().try_for_each(|(server, _)| server.check())?;
        let in_millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let result = DaemonResult {
            servers: self.servers.iter().map(|(_, process)| process.clone()).collect(),
            killed_pid: restarted.killed_pid,
            killed_at_ms: in_millis(restarted.killed_at - started),
            next_pid: restarted.daemon.pid(),
            served_after_ms: in_millis(restarted.served_after),
            reservations_before: restarted.reservations_before,
            reservations_after: restarted.reservations_after,
        };
        Ok(FinishedPrograms { result, _programs: self, _daemon: restarted.daemon })
    }
}

/// What became of the programs, which run until this is dropped.
pub(super) struct FinishedPrograms {
    pub(super) result: DaemonResult,
    _programs: RunningPrograms,
    _daemon: DemoProgram,
}

async fn restart(
    mut first: DemoProgram,
    (programs, host_runtime): (Programs, Runtime),
    host: Host,
    state: watch::Sender<DaemonState>,
) -> Result<Restarted, DemoError> {
    first.check()?;
    let reservations_before = reservations(&host).await?;
    let (killed_pid, killed_at) = (first.pid(), Instant::now());
    first.kill();
    state.send_replace(DaemonState::Killed { pid: killed_pid });
    tokio::time::sleep(DOWN).await;
    let daemon = DemoProgram::start(&programs.daemon, "the daemon", &host_runtime).await?;
    let served_after = killed_at.elapsed();
    let reservations_after = reservations(&host).await?;
    state.send_replace(DaemonState::ServingAgain { pid: daemon.pid(), after: served_after });
    Ok(Restarted { daemon, killed_pid, killed_at, served_after, reservations_before, reservations_after })
}

/// How many reservations the daemon has.
async fn reservations(host: &Host) -> Result<usize, DemoError> {
    let began = Instant::now();
    loop {
        match host.report().await {
            Ok(reports) => return Ok(reports.iter().map(|report| report.status.flows).sum()),
            Err(ConnectError::Daemon(_)) if began.elapsed() < PATIENCE => tokio::time::sleep(PAUSE).await,
            Err(error) => return Err(error.into()),
        }
    }
}
