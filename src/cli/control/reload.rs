//! `gqos reload`: the daemon reads its policy again.

use std::process::ExitCode;

use gqos::control::{MethodCall, Nothing, ReloadReply};
use serde_json::Value;

use super::client::SocketArgument;
use crate::cli::failure::CommandFailure;
use crate::cli::output::print;

/// Make the daemon read its policy files again, and print the changes.
///
/// Waits until the new policy is in force. An invalid policy changes nothing; every problem is printed, and the exit
/// code is 78. Flows keep their reservations. For root and the daemon's group.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Print what would change, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print the changes as one JSON document.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    socket: SocketArgument,
}

pub(in crate::cli) fn run(arguments: &Arguments) -> Result<ExitCode, CommandFailure> {
    let request = match arguments.dry_run {
        true => MethodCall::Plan(Nothing {}),
        false => MethodCall::Reload(Nothing {}),
    };
    let ReloadReply { changes } = arguments.socket.connect()?.call(&request)?;
    print(&if arguments.json { format!("{changes}\n") } else { text(&changes, arguments.dry_run) })?;
    Ok(ExitCode::SUCCESS)
}

fn text(changes: &Value, is_dry_run: bool) -> String {
    let mut lines = Vec::new();
    let mut changes = changes.clone();
    let needs_restart = changes.as_object_mut().and_then(|fields| fields.remove("needs_restart"));
    list("", &changes, &mut lines);
    let head = match (is_dry_run, lines.is_empty()) {
        (false, true) => "the policy was read again; it has not changed",
        (false, false) => "the policy is in force; what has changed:",
        (true, true) => "the policy has not changed",
        (true, false) => "a reload would change:",
    };
    let lines: String = lines.iter().map(|line| format!("  {line}\n")).collect();
    let keys = needs_restart.iter().flat_map(|keys| keys.as_array().into_iter().flatten());
    let keys: String = keys.filter_map(Value::as_str).map(|key| format!("  {key}\n")).collect();
    match keys.is_empty() {
        true => format!("{head}\n{lines}"),
        false => format!("{head}\n{lines}in force once the daemon is started again:\n{keys}"),
    }
}

/// Each value that is not empty, with its path.
fn list(path: &str, value: &Value, lines: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                list(&if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, value, lines);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| lines.push(format!("{path}: {value}"))),
        Value::Null => {}
        value => lines.push(format!("{path}: {value}")),
    }
}
