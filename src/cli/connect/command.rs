//! The engine of a flow, and how the command ends.

use std::process::ExitCode;

use anyhow::{Context, anyhow};
use gqos::connect::{ConnectError, Host};
use gqos::failure::KernelFailure;

use super::arguments::Arguments;
use super::screen::Screen;
use super::session;
use crate::cli::failure::{CommandFailure, Exit};
use crate::cli::input::load_policy;
use crate::cli::signals::signalled;

pub(in crate::cli) fn run(arguments: &Arguments) -> Result<ExitCode, CommandFailure> {
    let destination = arguments.destination()?;
    if arguments.policy.is_empty() {
        let error = anyhow!("no engine decides about the flow: --policy POLICY starts one in this process");
        return Err(CommandFailure::new(Exit::Unreachable, error));
    }
    let policy = load_policy(&arguments.policy)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.context("tokio runtime").map_err(|error| CommandFailure::new(Exit::OsError, error))?;
    let ended = runtime.block_on(async {
        let host = Host::start(policy).await?;
        let ended = tokio::select! {
            ended = session::run(&host, arguments, &destination) => ended.map(|()| ExitCode::SUCCESS),
            exit = signalled() => Ok(exit.into()),
        };
        host.stop().await;
        ended
    });
    // A read of standard input that is under way cannot be cancelled.
    runtime.shutdown_background();
    match ended {
        Err(ConnectError::Refused(decision)) if arguments.json => {
            Screen { json: true }.decision(&decision);
            Ok(Exit::Difference.into())
        }
        ended => ended.map_err(failure),
    }
}

fn failure(error: ConnectError) -> CommandFailure {
    match error {
        ConnectError::Refused(_) => CommandFailure::new(Exit::Difference, error),
        ConnectError::Unsupported(_) => CommandFailure::new(Exit::InvalidFile, error),
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
