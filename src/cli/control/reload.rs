//! `gqos reload`: the daemon reads its policy again.

use std::process::ExitCode;

use anyhow::anyhow;
use flowspec::Direction;
use gqos::admission::{ObservedCapacity, Reload, Totals};
use gqos::control::{Call, ControlError, MethodCall, Nothing, ReloadReply};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::client::{SocketArgument, failure};
use crate::cli::diagnostics::ProblemRecord;
use crate::cli::failure::{CommandFailure, Exit};
use crate::cli::output::{counted, print};
use crate::cli::plain::{plain, plain_json};

/// Make the daemon read its policy files again, and print the changes.
///
/// Waits until the new policy is in force. An invalid policy changes nothing; every problem is printed, and the exit
/// code is 78. Flows keep their reservations. For root and the daemon's group.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Print what would change, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON document: the changes, or the problems of an invalid policy.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    socket: SocketArgument,
}

/// What a reload has changed, as the daemon says it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reloaded {
    #[serde(flatten)]
    reload: Reload,
    needs_restart: Vec<String>,
}

/// The document of `--json` where the policy is invalid: that of `gqos check --json`.
#[derive(Serialize)]
struct InvalidDocument<'a> {
    is_valid: bool,
    problems: Vec<ProblemRecord<'a>>,
}

/// How many flows a text names.
const MOST_NAMED: usize = 10;

pub(in crate::cli) fn run(arguments: &Arguments) -> Result<ExitCode, CommandFailure> {
    let request = match arguments.dry_run {
        true => MethodCall::Plan(Nothing {}),
        false => MethodCall::Reload(Nothing {}),
    };
    let mut client = arguments.socket.connect()?;
    client.send(&Call::new(&request))?;
    match client.reply()?.parameters() {
        Ok(ReloadReply { changes }) if arguments.json => {
            print(&format!("{}\n", plain_json(&changes.to_string())))?
        }
        Ok(ReloadReply { changes }) => print(&text(changes, arguments.dry_run)?)?,
        Err(ControlError::InvalidPolicy { problems }) if arguments.json => {
            let problems = problems.iter().map(ProblemRecord::reported).collect();
            let document = serde_json::to_string(&InvalidDocument { is_valid: false, problems });
            let document = document.map_err(|error| CommandFailure::new(Exit::InvalidFile, error))?;
            print(&format!("{}\n", plain_json(&document)))?;
            let error = anyhow!("the policy is invalid, and nothing was changed");
            return Err(CommandFailure::new(Exit::InvalidFile, error));
        }
        Err(error) => return Err(failure(error)),
    }
    Ok(ExitCode::SUCCESS)
}

/// The changes as people read them.
///
/// - **Errors**: a daemon of another version says something else.
fn text(changes: Value, is_dry_run: bool) -> Result<String, CommandFailure> {
    let unreadable =
        |error: serde_json::Error| failure(ControlError::Unreadable { problem: error.to_string() });
    let Reloaded { reload, needs_restart } = serde_json::from_value(changes).map_err(unreadable)?;
    let consequences = consequences(&reload);
    let changes: Vec<_> = reload.changes.to_string().lines().map(str::to_owned).collect();
    let head = match (is_dry_run, changes.is_empty()) {
        (false, true) => "the policy was read again; it has not changed",
        (false, false) => "the policy is in force; what has changed:",
        (true, true) => "the policy has not changed",
        (true, false) => "a reload would change:",
    };
    let parts = [
        (head, changes),
        ("flows, groups and links that are not as the policy states them:", consequences),
        ("in force once the daemon is started again:", needs_restart),
    ];
    let mut text = String::new();
    for (number, (head, lines)) in parts.into_iter().enumerate() {
        if number == 0 || !lines.is_empty() {
            text.push_str(head);
            text.push('\n');
        }
        lines.iter().for_each(|line| text.push_str(&format!("  {}\n", plain(line))));
    }
    Ok(text)
}

/// A sentence for each flow, group and link that a policy leaves otherwise than it states.
fn consequences(reload: &Reload) -> Vec<String> {
    let Reload { changes: _, orphans, groups, capacities, over } = reload;
    let mut lines = Vec::new();
    for (interface, direction, totals) in over {
        let Totals { budget, reserved } = *totals;
        let excess = reserved.saturating_sub(budget);
        lines.push(format!(
            "{interface} {}: {reserved} reserved, {excess} more than the budget of {budget}: no flow is admitted until enough have ended",
            word(*direction)
        ));
    }
    if !orphans.is_empty() {
        let named: Vec<_> = orphans.iter().take(MOST_NAMED).map(String::as_str).collect();
        let more = match orphans.len() - named.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let (flows, keep) = (
            counted(orphans.len(), "flow"),
            if orphans.len() == 1 { "keeps its reservation" } else { "keep their reservations" },
        );
        lines.push(format!(
            "{flows} {keep} without interface or class in the policy: {}{more}",
            named.join(", ")
        ));
    }
    lines.extend(groups.iter().map(|(group, difference)| format!("group {group}: {difference}")));
    for ObservedCapacity { interface, direction, observed, stated } in capacities {
        lines.push(format!(
            "{interface} {}: the link was observed to carry {observed}, which counts; the policy states {stated}",
            word(*direction)
        ));
    }
    lines
}

const fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::Sending => "sending",
        Direction::Receiving => "receiving",
    }
}
