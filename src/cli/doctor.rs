//! `gqos doctor`: what this machine offers for enforcement in the kernel.

use std::fmt::Write;
use std::process::ExitCode;

use gqos::doctor::{Facts, Finding, FindingState, judge};

use super::failure::{CommandFailure, Exit};
use super::kernel::{refused, with_netlink};
use super::output::{print, wrapped};

/// Report what this machine offers for enforcement in the kernel, the consequence of each missing feature, and how to
/// mend it.
///
/// Kernel features are tried in a temporary network namespace, which needs root or an unprivileged user namespace.
/// Without a namespace, a feature counts as present if its module is loaded or modprobe finds it. Nothing on the
/// machine is changed. The exit code is 0 if everything that enforcement = "kernel" needs is present, and 1 if
/// something is missing and guarantees are lost.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

/// The width of the columns for the state and for the subject.
const STATE: usize = 9;
const SUBJECT: usize = 24;

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, CommandFailure> {
    // The runtime ends before the features are tried, which may need a process with a single thread.
    let mut facts = with_netlink(async |netlink| {
        Facts::read(&netlink).await.map_err(|failure| refused(failure, "the state of interfaces"))
    })?;
    facts.try_features();
    let findings = judge(&facts);
    let lacking = findings.iter().filter(|finding| finding.state == FindingState::Lacking).count();
    let document = match arguments.json {
        true => format!("{:#}\n", serde_json::json!({ "lacking": lacking, "findings": findings })),
        false => text(&findings, lacking),
    };
    print(&document)?;
    Ok(if lacking > 0 { Exit::Difference.into() } else { ExitCode::SUCCESS })
}

fn text(findings: &[Finding], lacking: usize) -> String {
    let mut text = String::new();
    let mut topic = "";
    for finding in findings {
        if finding.topic != topic {
            topic = &finding.topic;
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{topic}");
        }
        let start = format!("  {:<STATE$}{:<SUBJECT$} ", finding.state, finding.subject);
        text.push_str(&wrapped(&start, &finding.found));
        for (word, what) in [("costs", &finding.costs), ("mend", &finding.mend)] {
            if let Some(what) = what {
                text.push_str(&wrapped(&format!("{:width$}{word}: ", "", width = STATE + 2), what));
            }
        }
    }
    let _ = match lacking {
        0 => writeln!(text, "\nEverything is there that enforcement = \"kernel\" needs."),
        1 => writeln!(text, "\n1 lack that costs guarantees."),
        count => writeln!(text, "\n{count} lacks that cost guarantees."),
    };
    text
}
