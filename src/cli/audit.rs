//! `gqos audit`: lines of the daemon's audit log.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;
use gqos::admission::{OperationKind, Reason};
use gqos::flowspec::Moment;
use gqos::policy::Policy;
use gqos::scenario::audit::{AuditLine, AuditRecord, LoggedWord};
use gqos::telemetry::audit::parse_time;
use serde_json::Value;
use thiserror::Error;

use super::audit_files::{each_line, is_closed, written};
use super::failure::{CommandFailure, Exit};
use super::names::NamedValue;
use super::plain::{plain, plain_json};

/// Show the requests and decisions in the daemon's audit log, filtered by time, client, user, reason and others.
///
/// The files may be given in any order. `gqos replay --audit` decides their requests again under another policy. The
/// exit code is 1 if no line matches.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The files of the log; "-" is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Show only lines from this time on: 2026-11-27, 2026-11-27T02:03 or 2026-11-27T02:03:04.5Z, in UTC.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Moment>,
    /// Show only lines before this time.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Moment>,
    /// Show only requests of this client.
    #[arg(long, value_name = "CLIENT")]
    client: Option<String>,
    /// Show only the flow or the group with this id.
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Show only requests of flows of this class.
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    /// Show only requests for this interface.
    #[arg(long, value_name = "INTERFACE")]
    interface: Option<String>,
    /// Show only requests of this user.
    #[arg(long, value_name = "UID")]
    uid: Option<u32>,
    /// Show only refusals for this reason, such as interface_budget.
    #[arg(long, value_name = "REASON", value_parser = REASON, hide_possible_values = true)]
    reason: Option<String>,
    /// Show only this operation: reserve, renegotiate, release, capacity and so on.
    #[arg(long, value_name = "OP", value_parser = OPERATION, hide_possible_values = true)]
    op: Option<String>,
    /// Show only refusals.
    #[arg(long, conflicts_with = "admitted")]
    refused: bool,
    /// Show only operations that were not refused.
    #[arg(long)]
    admitted: bool,
    /// Print the lines unchanged.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Error)]
#[error("not a time such as 2026-11-27 or 2026-11-27T02:03:04Z")]
struct NotATime;

fn time(text: &str) -> Result<Moment, NotATime> {
    parse_time(text).ok_or(NotATime)
}

/// The operations of lines that are no requests.
const OTHER_OPERATIONS: [&str; 7] = ["audit", "reload", "link", "refused", "failed", "gap", "stop"];

/// The names of operations.
const OPERATION: NamedValue = NamedValue {
    kind: "operation",
    names: || OperationKind::ALL.iter().map(|kind| kind.name()).chain(OTHER_OPERATIONS).collect(),
};

/// The names of reasons of refusals.
const REASON: NamedValue =
    NamedValue { kind: "reason", names: || Reason::ALL.iter().map(|reason| reason.name()).collect() };

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, CommandFailure> {
    let mut output = std::io::BufWriter::new(std::io::stdout().lock());
    let (mut shown, mut missing) = (0_u64, 0_u64);
    // Templates have no meaning here.
    let result = each_line(&arguments.files, &Policy::default(), |line| {
        if let AuditRecord::Gap { missing: facts } = line.record {
            missing += facts;
        }
        if !matches(arguments, line) {
            return Ok(());
        }
        shown += 1;
        let text = match arguments.json {
            true => plain_json(&Value::Object(line.fields.clone()).to_string()).into_owned(),
            false => text(line),
        };
        writeln!(output, "{text}").map_err(written)
    });
    if is_closed(result.and_then(|()| output.flush().map_err(written)))? {
        return Ok(ExitCode::SUCCESS);
    }
    if missing > 0 {
        eprintln!("gqos: the log is incomplete: {missing} facts could not be written");
    }
    if shown == 0 {
        return Err(CommandFailure::new(Exit::Difference, anyhow!("no line of the log matches")));
    }
    Ok(ExitCode::SUCCESS)
}

fn matches(arguments: &Arguments, line: &AuditLine) -> bool {
    let Arguments { since, until, client, id, class, interface, uid, reason, op, .. } = arguments;
    let is =
        |asked: &Option<String>, field| asked.as_deref().is_none_or(|asked| line.text(field) == Some(asked));
    let ok = line.decision.as_ref().map(|decision| decision.ok);
    let why = line.decision.as_ref().and_then(|decision| decision.reason.as_ref()).map(LoggedWord::as_str);
    // What a file states at its begin was recorded before.
    !line.held
        && since.is_none_or(|since| line.at >= since)
        && until.is_none_or(|until| line.at < until)
        && is(client, "client")
        && is(id, "id")
        && is(class, "class")
        && is(interface, "interface")
        && uid.is_none_or(|uid| line.fields.get("uid").and_then(Value::as_u64) == Some(u64::from(uid)))
        && reason.as_deref().is_none_or(|reason| why == Some(reason))
        && op.as_deref().is_none_or(|op| line.operation() == op || line.text("op") == Some(op))
        && (!arguments.refused || ok == Some(false))
        && (!arguments.admitted || ok == Some(true))
}

/// A line as people read it.
fn text(line: &AuditLine) -> String {
    let mut parts = vec![line.text("time").unwrap_or_default().to_owned(), line.operation().to_owned()];
    let verdict = line.decision.as_ref().map(|decision| match (&decision.reason, decision.ok) {
        (_, true) => "ok".to_owned(),
        (reason, false) => {
            format!("refused ({})", reason.as_ref().map(LoggedWord::as_str).unwrap_or_default())
        }
    });
    parts.extend(verdict);
    parts.extend(line.text("id").map(str::to_owned));
    for field in ["interface", "class", "group", "client", "template", "method", "error"] {
        parts.extend(line.text(field).map(|value| format!("{field}={value}")));
    }
    for field in ["uid", "pid", "missing", "flows"] {
        parts.extend(line.fields.get(field).map(|value| format!("{field}={value}")));
    }
    let problem = line.text("problem").or_else(|| Some(line.decision.as_ref()?.message.as_str()));
    if let Some(problem) = problem {
        parts.push(format!("| {problem}"));
    }
    plain(&parts.join("  ")).into_owned()
}
