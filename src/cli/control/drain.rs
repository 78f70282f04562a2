//! `gqos drain`: the daemon takes no new flows.

use std::process::ExitCode;

use gqos::control::{DrainCall, DrainReply, MethodCall};

use super::client::SocketArgument;
use crate::cli::failure::{CommandFailure, Exit};
use crate::cli::output::{counted, print};

/// Make the daemon refuse new flows; existing flows keep their reservations. For root and the daemon's group.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Accept new flows again.
    #[arg(long)]
    resume: bool,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    socket: SocketArgument,
}

pub(in crate::cli) fn run(arguments: &Arguments) -> Result<ExitCode, CommandFailure> {
    let request = MethodCall::Drain(DrainCall { resume: arguments.resume.then_some(true) });
    let reply: DrainReply = arguments.socket.connect()?.call(&request)?;
    let DrainReply { draining, flows } = reply;
    let document = match arguments.json {
        true => {
            serde_json::to_string(&reply).map_err(|error| CommandFailure::new(Exit::OsError, error))? + "\n"
        }
        false if draining => format!("no new flows are taken; {} held\n", counted(flows, "reservation")),
        false => format!("new flows are taken; {} held\n", counted(flows, "reservation")),
    };
    print(&document)?;
    Ok(ExitCode::SUCCESS)
}
