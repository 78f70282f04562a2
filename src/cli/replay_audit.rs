//! `gqos replay --audit`: an audit log under another policy.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use gqos::policy::Policy;
use gqos::scenario::audit::{
    AuditComparison, AuditReplay, ComparedKind, ComparedVerdict, Differing, LoggedWord, ReplayedLine,
};

use super::audit_files::{each_line, is_closed, written};
use super::failure::CommandFailure;
use super::output::counted;
use super::plain::plain;

/// What is printed of a replay.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ReplayOutput {
    /// One decision a line, as of a trace.
    Decisions,
    /// What differs, for people.
    Summary,
    /// The same as one JSON document.
    Json,
}

/// The verdicts that people are shown one by one; the sums count all of them.
const MOST_SHOWN: usize = 1000;

pub(super) fn run(
    policy: Arc<Policy>,
    files: &[PathBuf],
    shown: ReplayOutput,
) -> Result<ExitCode, CommandFailure> {
    let mut replay = AuditReplay::new(Arc::clone(&policy));
    let mut differing: Vec<ComparedVerdict> = Vec::new();
    let mut listed = 0_u64;
    let mut output = std::io::BufWriter::new(std::io::stdout().lock());
    let result = each_line(files, &policy, |line| {
        let replayed = replay.line(line);
        if let (ReplayOutput::Decisions, ReplayedLine::Decided(decision, _)) = (shown, &replayed) {
            let json = serde_json::to_string(decision).map_err(|error| written(error.into()))?;
            return writeln!(output, "{json}").map_err(written);
        }
        let verdict = replayed.verdict().filter(|verdict| {
            matches!(verdict.kind, ComparedKind::RefusedNow | ComparedKind::AdmittedNow)
                && verdict.is_of_a_request()
        });
        let Some(verdict) = verdict else { return Ok(()) };
        if shown == ReplayOutput::Json {
            // All of them, however many: none is kept in memory.
            let json = serde_json::to_string(verdict).map_err(|error| written(error.into()))?;
            let separator = if listed == 0 { "{\"differing\":[" } else { "," };
            listed += 1;
            return write!(output, "{separator}{json}").map_err(written);
        }
        if differing.len() < MOST_SHOWN {
            differing.push(verdict.clone());
        }
        Ok(())
    });
    if is_closed(result)? {
        return Ok(ExitCode::SUCCESS);
    }
    let comparison = replay.comparison().summed_up();
    let text = match shown {
        ReplayOutput::Decisions => String::new(),
        ReplayOutput::Json => {
            let begin = if listed == 0 { "{\"differing\":[" } else { "" };
            format!("{begin}],\"summary\":{}}}\n", serde_json::json!(comparison))
        }
        ReplayOutput::Summary => text(&comparison, &differing),
    };
    let done = output.write_all(text.as_bytes()).and_then(|()| output.flush()).map_err(written);
    is_closed(done).map(|_| ExitCode::SUCCESS)
}

fn text(comparison: &AuditComparison, differing: &[ComparedVerdict]) -> String {
    let AuditComparison { decided, same, refused_now, admitted_now, held, .. } = comparison;
    let mut lines = Vec::new();
    for verdict in differing {
        let then = match verdict.kind {
            ComparedKind::RefusedNow => "admitted then, refused now",
            _ => "refused then, admitted now",
        };
        let ComparedVerdict { time, id, message, .. } = verdict;
        lines.push(plain(&format!("{time}  {id}: {then}: {message}")).into_owned());
    }
    let total = refused_now + admitted_now;
    if total > differing.len() as u64 {
        lines.push(format!("and {} more", total - differing.len() as u64));
    }
    if !lines.is_empty() {
        lines.push(String::new());
    }
    lines.push(format!("{}: {same} have the same verdict", counted(usize(*decided), "request")));
    lines.push(format!("  admitted then, refused now: {refused_now}"));
    lines.push(format!("  refused then, admitted now: {admitted_now}"));
    lines.push(format!("  refused for another reason: {}", comparison.other_reason));
    lines.push(format!("  admitted as another rendition: {}", comparison.other_rendition));
    lines.push(format!("  held when the log began, and still admitted: {held}"));
    lines.push(format!(
        "  refused by the kernel, in a race or as invalid (such as a priority above 7), which no policy decides: {}",
        comparison.not_by_policy
    ));
    lines.extend(comparison.by.iter().map(|by| plain(&by_text(by)).into_owned()));
    if comparison.reloads > 0 {
        let reloads = counted(usize(comparison.reloads), "reload");
        lines
            .push(format!("the log has {reloads}: all of it was decided under the one policy that is given"));
    }
    if comparison.missing > 0 {
        lines.push(format!("the log is incomplete: {} facts are missing", comparison.missing));
    }
    if comparison.without_end > 0 {
        let runs = counted(usize(comparison.without_end), "run");
        lines.push(format!(
            "the log does not have the end of {runs}: what the daemon did last may be missing"
        ));
    }
    lines.join("\n") + "\n"
}

fn by_text(differing: &Differing) -> String {
    let Differing { kind, template, class, reason, count } = differing;
    let kind = match kind {
        ComparedKind::RefusedNow => "refused now",
        ComparedKind::AdmittedNow => "admitted now",
        ComparedKind::OtherReason => "other reason",
        ComparedKind::OtherRendition => "other rendition",
        ComparedKind::Same => "same",
    };
    let named = |name: &str, value: Option<&str>| value.map(|value| format!(" {name} {value}"));
    let reason = reason.as_ref().map(LoggedWord::as_str);
    let values = [("template", template.as_deref()), ("class", class.as_deref()), ("reason", reason)];
    let parts: String = values.map(|(name, value)| named(name, value)).into_iter().flatten().collect();
    format!("  {count} {kind}:{parts}")
}

fn usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
