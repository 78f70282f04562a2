//! `gqos replay`: reads a trace of requests and writes one decision per line.

use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::anyhow;
use gqos::manager::DryRun;
use gqos::policy::Policy;
use gqos::scenario::audit::{AuditLine, AuditRecord};
use gqos::scenario::{LONGEST_LINE, TraceReader};

use super::failure::{CommandFailure, Exit};
use super::input::load_policy;
use super::replay_audit::{self, ReplayOutput};

/// Replay a trace of requests in virtual time and print one decision per line.
///
/// Use this to see what another policy would have decided. The same trace and policy give the same output, byte for
/// byte. A refusal is a decision; the exit code is 0. A line that is not a request ends the replay with exit code 78.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The policy; several files are merged.
    #[arg(long, short, value_name = "POLICY", required = true)]
    policy: Vec<PathBuf>,
    /// The trace, as JSON lines; standard input if it is absent or "-".
    #[arg(value_name = "TRACE")]
    trace: Option<PathBuf>,
    /// Read files of the daemon's audit log instead of a trace, and show which requests the policy decides
    /// differently.
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "trace")]
    audit: Vec<PathBuf>,
    /// With --audit, print one JSON document.
    #[arg(long, requires = "audit", conflicts_with = "decisions")]
    json: bool,
    /// With --audit, print one decision per line, as for a trace.
    #[arg(long, requires = "audit")]
    decisions: bool,
}

/// The bytes that are read and written at once.
const BUFFER: usize = 1 << 16;

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, CommandFailure> {
    let policy = load_policy(&arguments.policy);
    if !arguments.audit.is_empty() {
        let shown = match (arguments.json, arguments.decisions) {
            (true, _) => ReplayOutput::Json,
            (_, true) => ReplayOutput::Decisions,
            _ => ReplayOutput::Summary,
        };
        return replay_audit::run(Arc::new(policy?), &arguments.audit, shown);
    }
    let path = arguments.trace.as_ref().filter(|path| path.as_os_str() != "-");
    let name = path.map_or("standard input".into(), |path| path.display().to_string());
    let input: Box<dyn Read> = match path {
        Some(path) => match std::fs::File::open(path) {
            Ok(file) => Box::new(file),
            Err(error) => {
                let unreadable = CommandFailure::os("open", &name, error);
                // Of a policy that is invalid as well, both are reported.
                let Err(invalid) = policy else { return Err(unreadable) };
                crate::cli::output::say(&format!("gqos: {:#}", unreadable.error));
                return Err(invalid);
            }
        },
        None => Box::new(std::io::stdin().lock()),
    };
    let policy = Arc::new(policy?);
    let mut output = BufWriter::with_capacity(BUFFER, std::io::stdout().lock());
    let result = replay(&policy, &name, input, &mut output);
    // Decisions before an invalid line are printed too.
    let flushed = output.flush().map_err(Stopped::Output);
    match result.and(flushed) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // The reader of the decisions has closed the pipe.
        Err(Stopped::Output(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(Stopped::Output(error)) => Err(CommandFailure::os("write", "standard output", error)),
        Err(Stopped::Input(failure)) => Err(failure),
    }
}

/// Why a replay did not reach the end of the trace.
enum Stopped {
    Input(CommandFailure),
    Output(std::io::Error),
}

fn replay(
    policy: &Arc<Policy>,
    name: &str,
    input: impl Read,
    output: &mut impl Write,
) -> Result<(), Stopped> {
    let mut input = BufReader::with_capacity(BUFFER, input);
    let mut dry_run = DryRun::new(Arc::clone(policy));
    let mut lines = TraceReader::new(policy);
    let mut text = String::new();
    let mut number = 0_u64;
    loop {
        text.clear();
        number += 1;
        let invalid = |problem: anyhow::Error| {
            Stopped::Input(CommandFailure::new(Exit::InvalidFile, anyhow!("{name}:{number}: {problem}")))
        };
        match input.by_ref().take(LONGEST_LINE as u64 + 1).read_line(&mut text) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                return Err(invalid(anyhow!("not UTF-8")));
            }
            Err(error) => return Err(Stopped::Input(CommandFailure::os("read", name, error))),
        }
        let line = lines.read(&text).map_err(|error| {
            let why = if is_audited(&text, policy) {
                anyhow!("a line of an audit log: gqos replay --audit reads those")
            } else {
                error.into()
            };
            invalid(why)
        });
        let Some(line) = line? else { continue };
        let decision = line.decide_by_manager(&mut dry_run);
        let json = serde_json::to_string(&decision).map_err(|error| invalid(error.into()))?;
        writeln!(output, "{json}").map_err(Stopped::Output)?;
    }
}

/// Whether a line is one of an audit log. Its lines have numbers, and begin with a header.
fn is_audited(text: &str, policy: &Policy) -> bool {
    AuditLine::read(text.trim_end(), policy)
        .is_ok_and(|line| line.seq > 0 || matches!(line.record, AuditRecord::Header(_)))
}
