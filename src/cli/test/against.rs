//! `gqos test --against`: compares the decisions of two policies.

use std::path::Path;
use std::process::ExitCode;

use gqos::scenario::{ComparedDecision, ComparedTest, DecisionDifference, TestComparison, differences};

use super::arguments::Arguments;
use super::file::{Announce, LoadedPolicy, RefusedFile, Selected, announced, exit_of, load_other};
use crate::cli::failure::{CommandFailure, Exit};
use crate::cli::output::{print, write};
use crate::cli::stopwatch::Stopwatch;

/// Runs the selected tests under another policy as well, and reports how many decisions differ, by rule and template and
/// by what becomes of them, and then each of them. Another policy that cannot be used is one more invalid file.
pub(super) fn against(
    arguments: &Arguments,
    other: &Path,
    selected: &[Selected<'_>],
    mut refused: Vec<RefusedFile>,
) -> Result<ExitCode, CommandFailure> {
    let name = other.display().to_string();
    let tests: Option<Vec<_>> = match load_other(other, Announce::of(arguments.format)) {
        Ok(other) => Some(selected.iter().map(|test| compare(*test, &other)).collect()),
        Err(invalid) => {
            refused.push(invalid);
            None
        }
    };
    let invalid: Vec<_> = refused.iter().map(|refused| refused.file.clone()).collect();
    let comparison =
        TestComparison { other: &name, tests: tests.as_deref().unwrap_or_default(), invalid: &invalid };
    let announced = announced(arguments.format, &invalid);
    print(&TestComparison { invalid: &announced, ..comparison }.render(arguments.format.into()))?;
    for (format, path) in &arguments.out {
        write(path, comparison.render((*format).into()))?;
    }
    if tests.is_some() {
        crate::cli::output::say(&format!("gqos: {}", comparison.summary()));
    }
    let runs_none = selected.is_empty() && !arguments.allow_empty;
    let exit = exit_of(&refused).or((comparison.count() > 0 || runs_none).then_some(Exit::Difference));
    Ok(exit.map_or(ExitCode::SUCCESS, ExitCode::from))
}

fn compare(test: Selected<'_>, other: &LoadedPolicy) -> ComparedTest {
    let stopwatch = Stopwatch::start();
    // Without expectations, so that a difference does not end the test.
    let bare = test.test.without_expectations();
    let own = test.run_under(&test.policy().policy, &bare, None);
    let others = test.run_under(&other.policy, &bare, None);
    let decisions = differences(&own, &others).into_iter();
    let decisions = decisions
        .map(|difference| ComparedDecision { requested: requested(test, &difference), difference })
        .collect();
    let (file, name, policy) = (test.file.name.clone(), test.test.name.clone(), test.policy().path.clone());
    ComparedTest { file, name, line: test.line(), policy, duration: stopwatch.time(), decisions }
}

/// What was requested: `p.toml:12, rule 1, template hd`.
fn requested(test: Selected<'_>, difference: &DecisionDifference) -> String {
    let requested = &difference.requested;
    let policy = test.policy_after(requested.policy.as_deref());
    let rule = requested.rule.map(|number| {
        let line = policy.policy.rules.get(number - 1).map_or(0, |rule| rule.place.line);
        format!("{}:{line} rule {number}", policy.path)
    });
    let templates = match &requested.templates[..] {
        [] => None,
        [one] => Some(format!("template {one}")),
        several => Some(format!("templates {}", several.join(", "))),
    };
    let parts: Vec<_> = rule.into_iter().chain(templates).collect();
    if parts.is_empty() { difference.own.operation().name().to_owned() } else { parts.join(", ") }
}
