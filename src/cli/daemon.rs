//! `gqos daemon`: one budget for the whole host.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use gqos::admission::GroupDifference;
use gqos::daemon::{Daemon, DaemonHandle, DaemonOptions, DaemonStartError, Recovered, RefusedAdoption};
use gqos::engine::EngineError;
use gqos::policy::HttpAddress;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::demo_directory::DemoFiles;
use super::failure::{CommandFailure, Exit};
use super::input::load_policy;
use super::kernel::refused;
use super::log::{DaemonLog, LogFormat};
use super::output::print;
use super::plain::plain;
use super::signals::caught;

/// Run the daemon: it manages one budget for all processes, which reserve through its control socket.
///
/// A reservation ends with its client's connection, or, when a socket is attached, with that socket. On SIGHUP, the
/// daemon reads the policy's files again; an invalid policy changes nothing. On SIGTERM and SIGINT, it removes what
/// it has programmed, and ends. After SIGKILL, flows keep their classes in the kernel, and the next daemon adopts
/// them.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The policy; several files are merged.
    #[arg(long, short, value_name = "POLICY", required = true)]
    policy: Vec<PathBuf>,
    /// The path of the control socket; takes precedence over the policy. The default is /run/gqos/gqos.sock.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Serve a status page, metrics and health by HTTP at a loopback address with a port, or at the path of a socket.
    ///
    /// Takes precedence over the policy's `http`. There is no authentication: every user of this host can read a
    /// port; a socket can be read by the daemon's user and group.
    #[arg(long, value_name = "ADDRESS")]
    http: Option<HttpAddress>,
    /// Keep every privilege that the process has, for debuggers and tracers.
    ///
    /// Without this option, the daemon keeps only CAP_NET_ADMIN, opens files only in the directories of the policy,
    /// of its socket and of its audit log, and can make only the system calls that it needs. `gqos status` shows the
    /// restrictions in force.
    #[arg(long)]
    no_confine: bool,
    /// How events are logged: as lines on standard error, or as entries of systemd's journal with a field for each
    /// value.
    #[arg(long, value_enum, default_value = "auto", value_name = "FORMAT")]
    log_format: LogFormat,
}

impl Arguments {
    /// Those of the daemon of a demo.
    pub(super) fn of_demo(files: &DemoFiles) -> Self {
        Self {
            no_confine: false,
            policy: vec![files.policy()],
            socket: Some(files.socket()),
            http: Some(HttpAddress::Socket(files.http().display().to_string())),
            log_format: LogFormat::None,
        }
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, CommandFailure> {
    // Prints what is wrong with the policy as `gqos check` does.
    load_policy(&arguments.policy)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.context("tokio runtime").map_err(|error| CommandFailure::new(Exit::OsError, error))?;
    runtime.block_on(serve(arguments))
}

async fn serve(arguments: &Arguments) -> Result<ExitCode, CommandFailure> {
    let Arguments { policy, socket, http, no_confine, log_format } = arguments;
    let log = DaemonLog::begin(*log_format);
    let (policy, socket, http) = (policy.clone(), socket.clone(), http.clone());
    let options = DaemonOptions { policy, socket, http, confine: !no_confine };
    // A signal that comes while the daemon starts counts once it has.
    let (stopped, hangups) = (caught(), signal(SignalKind::hangup()));
    let daemon = Daemon::start(options).await.map_err(failure)?;
    let handle = daemon.handle();
    let thread = |error| CommandFailure::os("clone", "the thread of the log", error);
    let following = log.follow(handle.events()).map_err(thread)?;
    tell_start(&daemon).await?;
    let failure_of_state = daemon.state_failure();
    let state = tokio::spawn(async move {
        let failure = failure_of_state.await.to_string();
        tracing::warn!(
            event = "state_not_written",
            failure,
            "reservations are not written down and would end with a daemon that is killed"
        );
    });
    let reloads = tokio::spawn(reload_on_hangup(handle, hangups));
    // Scripts wait for this line.
    let http = match daemon.http() {
        Some(HttpAddress::Port(address)) => format!("serving http://{address}/\n"),
        Some(HttpAddress::Socket(path)) => format!("serving HTTP on {path}\n"),
        None => String::new(),
    };
    // An output that is full costs these lines alone.
    drop(print(&format!("listening on {}\n{http}", daemon.socket().display())));
    let stop = async {
        stopped.await;
    };
    let ended = daemon.run(stop).await;
    reloads.abort();
    state.abort();
    following.end().await;
    tracing::info!(event = "daemon_ended", is_failure = ended.is_err(), "the daemon has ended");
    ended.map(|()| ExitCode::SUCCESS).map_err(failure)
}

/// Logs what the daemon has found: its interfaces, and what the daemon before has left.
async fn tell_start(daemon: &Daemon) -> Result<(), CommandFailure> {
    let (socket, http) = (daemon.socket().display().to_string(), daemon.http().map(ToString::to_string));
    tracing::info!(
        event = "daemon_started",
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        socket,
        http,
        "the daemon serves on {socket}"
    );
    for report in daemon.handle().report().await.map_err(|error| failure(error.into()))? {
        let (interface, totals) = (plain(&report.interface).into_owned(), report.status.totals);
        let (sending, receiving) = (totals.sending.budget.get(), totals.receiving.budget.get());
        match report.status.kernel {
            Err(why) => tracing::warn!(
                event = "interface_found",
                interface,
                enforcement = "user_space",
                why = why.to_string(),
                budget_sending = sending,
                budget_receiving = receiving,
                "{interface}: user space alone: {}",
                plain(&why.to_string())
            ),
            Ok(_) => tracing::info!(
                event = "interface_found",
                interface,
                enforcement = "kernel",
                budget_sending = sending,
                budget_receiving = receiving,
                "{interface}: enforced by the kernel"
            ),
        }
    }
    tell_groups(&daemon.handle().group_differences());
    tell_recovered(daemon.recovered());
    Ok(())
}

/// Logs the groups of the policy that have not been made.
fn tell_groups(differences: &[(String, GroupDifference)]) {
    for (group, why) in differences {
        let (group, why) = (plain(group).into_owned(), plain(&why.to_string()).into_owned());
        tracing::warn!(event = "group_not_made", group, why, "group {group}: {why}");
    }
}

fn tell_recovered(recovered: &Recovered) {
    if recovered.is_nothing() {
        return;
    }
    let Recovered { adopted, ended, refused, problems } = recovered;
    for problem in problems {
        let problem = problem.to_string();
        tracing::warn!(event = "state_file", problem, "{}", plain(&problem));
    }
    tracing::info!(
        event = "recovered",
        adopted,
        ended,
        refused = refused.len(),
        "of the daemon before: {adopted} adopted, {ended} ended meanwhile"
    );
    for RefusedAdoption { id, why } in refused {
        let (id, why) = (plain(id).into_owned(), plain(&why.to_string()).into_owned());
        tracing::warn!(event = "not_adopted", id, why, "{id}: not adopted: {why}");
    }
}

async fn reload_on_hangup(handle: DaemonHandle, hangups: std::io::Result<Signal>) {
    let Ok(mut hangups) = hangups else { return };
    while hangups.recv().await.is_some() {
        // The daemon logs what fails, and the manager's fact says what changes.
        let _ = handle.reload().await;
    }
}

fn failure(error: DaemonStartError) -> CommandFailure {
    match error {
        DaemonStartError::Policy(_)
        | DaemonStartError::UnknownGroup { .. }
        | DaemonStartError::AuditNotAFile { .. }
        | DaemonStartError::AuditInUse { .. }
        | DaemonStartError::HttpOnControl { .. } => CommandFailure::new(Exit::InvalidFile, error),
        DaemonStartError::Kernel(failure) if failure.is_permission() => {
            refused(failure, "the control socket")
        }
        DaemonStartError::Engine(EngineError::Kernel(failure)) => {
            refused(failure, "the kernel's traffic control")
        }
        error => CommandFailure::new(Exit::OsError, error),
    }
}
