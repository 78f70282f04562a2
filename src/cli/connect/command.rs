//! The engine of a flow, and how the command ends.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use gqos::connect::{ConnectError, Host};
use gqos::control::DEFAULT_SOCKET;
use gqos::engine::DaemonError;
use gqos::failure::KernelFailure;
use gqos::policy::Policy;

use super::arguments::Arguments;
use super::screen::Screen;
use super::session;
use crate::cli::failure::{CommandFailure, Exit};
use crate::cli::input::load_policy;
use crate::cli::signals::signalled;

pub(in crate::cli) fn run(arguments: &Arguments) -> Result<ExitCode, CommandFailure> {
    let destination = arguments.destination()?;
    let engine = EngineChoice::of(arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.context("tokio runtime").map_err(|error| CommandFailure::new(Exit::OsError, error))?;
    let ended = runtime.block_on(async {
        let host = match engine {
            EngineChoice::Daemon(socket) => Host::connect_daemon(socket).await?,
            EngineChoice::DaemonUnder(socket, policy) => Host::connect_daemon_under(socket, &policy).await?,
            EngineChoice::Process(policy) => Host::start(*policy).await?,
        };
        let ended = tokio::select! {
            ended = session::run(&host, arguments, &destination) => ended.map(|()| ExitCode::SUCCESS),
            exit = signalled() => Ok(exit.into()),
        };
        let ended = match ended {
            Err(ConnectError::Refused(decision)) if arguments.json => {
                Screen { json: true }.decision(&decision, &host);
                Ok(Exit::Difference.into())
            }
            ended => ended,
        };
        host.stop().await;
        ended
    });
    // A read of standard input that is under way cannot be cancelled.
    runtime.shutdown_background();
    ended.map_err(failure)
}

/// What decides about the flow.
enum EngineChoice {
    /// The control socket.
    Daemon(PathBuf),
    /// The same, and what says how the flow goes on without the daemon.
    DaemonUnder(PathBuf, Box<Policy>),
    Process(Box<Policy>),
}

impl EngineChoice {
    /// - **Errors**: the policy is invalid; there is neither a policy nor a daemon.
    fn of(arguments: &Arguments) -> Result<Self, CommandFailure> {
        if !arguments.policy.is_empty() {
            let policy = Box::new(load_policy(&arguments.policy)?);
            return Ok(match &arguments.socket.socket {
                Some(socket) => Self::DaemonUnder(socket.clone(), policy),
                None => Self::Process(policy),
            });
        }
        arguments.socket.found().map(Self::Daemon).ok_or_else(|| {
            let error = anyhow!(
                "no daemon is at {DEFAULT_SOCKET}; --socket PATH names another place, and --policy POLICY starts an engine in this process"
            );
            CommandFailure::new(Exit::Unreachable, error)
        })
    }
}

fn failure(error: ConnectError) -> CommandFailure {
    match error {
        ConnectError::Daemon(DaemonError::Unreachable(_) | DaemonError::Disconnected { .. }) => {
            CommandFailure::new(Exit::Unreachable, error)
        }
        ConnectError::Refused(_) | ConnectError::Daemon(DaemonError::Answered(_)) => {
            CommandFailure::new(Exit::Difference, error)
        }
        ConnectError::Address { .. } => CommandFailure::new(Exit::Usage, error),
        ConnectError::Kernel(failure) if is_reserved_port(&failure) => {
            let error = anyhow!(failure).context("ports below 1024 need CAP_NET_BIND_SERVICE");
            CommandFailure::new(Exit::NoPrivilege, error)
        }
        error => CommandFailure::new(Exit::OsError, error),
    }
}

fn is_reserved_port(failure: &KernelFailure) -> bool {
    failure.call == "bind" && failure.is_permission()
}
