//! `gqos test --against`: compares the decisions of two policies.

use std::path::Path;
use std::process::ExitCode;

use gqos::admission::Decision;

use super::file::{LoadedPolicy, Selected};
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::print;

/// Runs the selected tests under another policy as well, and prints the decisions that differ.
pub(super) fn against(selected: &[Selected<'_>], other: &Path) -> Result<ExitCode, Failure> {
    let other = LoadedPolicy::load(other)?;
    let mut differences = 0;
    for test in selected {
        // Without expectations, so that a difference does not end the test.
        let bare = test.test.without_expectations();
        let own = test.run_under(&test.policy().policy, &bare, None);
        let others = test.run_under(&other.policy, &bare, None);
        for (own, others) in own.decisions.iter().zip(&others.decisions) {
            let (own, others) = (&own.decision, &others.decision);
            if (own.is_ok(), own.reason()) != (others.is_ok(), others.reason()) {
                differences += 1;
                print(&format!(
                    "{}:{} {}: {} at {} us: {} under {}, {} under {}\n",
                    test.file.name,
                    test.line(),
                    test.test.name,
                    own.id().unwrap_or_default(),
                    own.at.as_micros(),
                    verdict(own),
                    test.policy().path,
                    verdict(others),
                    other.path
                ))?;
            }
        }
    }
    let noun = if differences == 1 { "decision differs" } else { "decisions differ" };
    eprintln!("gqos: {differences} {noun}");
    Ok(if differences > 0 { Exit::Difference.into() } else { ExitCode::SUCCESS })
}

fn verdict(decision: &Decision) -> String {
    decision.reason().map_or_else(|| "admitted".to_owned(), |reason| format!("refused ({reason})"))
}
