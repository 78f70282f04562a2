//! `gqos daemon`: one budget for the whole host.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::ValueEnum;
use gqos::control::ControlError;
use gqos::daemon::{Daemon, DaemonHandle, DaemonOptions, DaemonStartError};
use gqos::engine::{EngineError, Events};
use gqos::policy::HttpAddress;
use gqos::telemetry::Recorded;
use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::Level;

use super::demo_directory::DemoFiles;
use super::failure::{CommandFailure, Exit};
use super::input::load_policy;
use super::kernel::refused;
use super::plain::plain;
use super::signals::caught;

/// Run the host-wide manager: one budget for all processes, which ask on a control socket.
///
/// A reservation lives with its client's connection, and with its socket once one is attached. SIGHUP reads the policy's
/// files again; an invalid policy changes nothing. SIGTERM and SIGINT end the daemon and remove what it has programmed.
/// After SIGKILL flows keep their classes in the kernel, and the next daemon adopts them.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The policy; several files merge.
    #[arg(long, short, value_name = "POLICY", required = true)]
    policy: Vec<PathBuf>,
    /// The control socket, in place of the policy's and of /run/gqos/gqos.sock.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Serve a status page, metrics and health by HTTP at a loopback address with a port, or at the path of a socket.
    ///
    /// In place of the policy's `http`. There is no authentication: each user of this host may read what a port serves; a
    /// socket is for the daemon's user and group.
    #[arg(long, value_name = "ADDRESS")]
    http: Option<HttpAddress>,
    /// Keep every privilege that the process has, for debuggers and tracers.
    ///
    /// Without this the daemon keeps CAP_NET_ADMIN alone, opens files in the directories of the policy, of its socket and of its
    /// audit log alone, and makes the system calls that it needs; `gqos status` says what is in force.
    #[arg(long)]
    no_confine: bool,
    /// How events are written on standard error: a line each.
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum LogFormat {
    /// The event's name, and its fields as KEY=VALUE.
    Text,
    /// The objects that `gqos events --json` prints.
    Json,
    /// No events.
    None,
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
    log_facts(*log_format);
    let (policy, socket, http) = (policy.clone(), socket.clone(), http.clone());
    let options = DaemonOptions { policy, socket, http, confine: !no_confine };
    // A signal that comes while the daemon starts counts once it has.
    let (stopped, hangups) = (caught(), signal(SignalKind::hangup()));
    let daemon = Daemon::start(options).await.map_err(failure)?;
    let handle = daemon.handle();
    for report in handle.report().await.map_err(|error| failure(error.into()))? {
        if let Err(why) = report.status.kernel {
            eprintln!("gqos: {}: user space alone: {why}", report.interface);
        }
    }
    if !daemon.recovered().is_nothing() {
        daemon.recovered().to_string().lines().for_each(|line| eprintln!("gqos: {line}"));
    }
    let failure_of_state = daemon.state_failure();
    let state = tokio::spawn(async move {
        let failure = failure_of_state.await;
        eprintln!(
            "gqos: {failure}: reservations are not written down and would end with a daemon that is killed"
        );
    });
    let log = tokio::spawn(log(handle.events(), *log_format));
    let reloads = tokio::spawn(reload_on_hangup(handle, hangups));
    // Scripts wait for this line.
    println!("listening on {}", daemon.socket().display());
    match daemon.http() {
        Some(HttpAddress::Port(address)) => println!("serving http://{address}/"),
        Some(HttpAddress::Socket(path)) => println!("serving HTTP on {path}"),
        None => {}
    }
    drop(std::io::stdout().flush());
    let stop = async {
        stopped.await;
    };
    let ended = daemon.run(stop).await;
    reloads.abort();
    state.abort();
    log.abort();
    ended.map(|()| ExitCode::SUCCESS).map_err(failure)
}

async fn reload_on_hangup(handle: DaemonHandle, hangups: std::io::Result<Signal>) {
    let Ok(mut hangups) = hangups else { return };
    while hangups.recv().await.is_some() {
        match handle.reload().await {
            Ok(changes) => eprintln!("gqos: the policy was reloaded: {changes}"),
            Err(ControlError::InvalidPolicy { problems }) => {
                eprintln!("gqos: the policy is invalid, and the one before stays:");
                problems.iter().for_each(|problem| eprintln!("  {problem}"));
            }
            Err(error) => eprintln!("gqos: the policy was not reloaded: {error}"),
        }
    }
}

async fn log(mut events: Events, format: LogFormat) {
    if format == LogFormat::None {
        return;
    }
    while let Some(event) = events.next().await {
        if let Some(line) = line(&event, format) {
            eprintln!("{line}");
        }
    }
}

/// Writes what the library logs on standard error, beside the events.
fn log_facts(format: LogFormat) {
    let builder =
        tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(Level::INFO).with_ansi(false);
    // Where another subscriber is set already, it stays.
    let _ = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::None => Ok(()),
    };
}

/// An event as a line of the log.
fn line(event: &Recorded, format: LogFormat) -> Option<String> {
    let json = serde_json::to_value(event).ok()?;
    if format == LogFormat::Json {
        return Some(json.to_string());
    }
    let fields = json.as_object()?;
    let name = fields.get("event").and_then(Value::as_str).unwrap_or_default();
    let shown = fields.iter().filter(|(key, value)| *key != "event" && !value.is_null());
    let shown: Vec<_> = shown.map(|(key, value)| format!("{key}={value}")).collect();
    Some(plain(&format!("{name} {}", shown.join(" "))).into_owned())
}

fn failure(error: DaemonStartError) -> CommandFailure {
    match error {
        DaemonStartError::Policy(_) | DaemonStartError::UnknownGroup { .. } => {
            CommandFailure::new(Exit::InvalidFile, error)
        }
        DaemonStartError::Kernel(failure) if failure.is_permission() => {
            refused(failure, "the control socket")
        }
        DaemonStartError::Engine(EngineError::Kernel(failure)) => {
            refused(failure, "the kernel's traffic control")
        }
        error => CommandFailure::new(Exit::OsError, error),
    }
}
