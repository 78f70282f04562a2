//! What a test run reports: the tests, the files that could not be run, and what the tests cover.

use std::fmt::Write;
use std::time::Duration;

use super::coverage::Coverage;
use super::outcome::{TestFailure, TestOutcome, Verdict};

/// Everything that a run of tests reports, whatever the format.
#[derive(Clone, Copy, Debug)]
pub struct RunReport<'a> {
    /// The tests that were run, in order.
    pub tests: &'a [TestReport],
    /// The test files that could not be run.
    pub invalid: &'a [InvalidFile],
    /// What the tests cover of each policy; empty if that is not asked for.
    pub coverage: &'a [PolicyCoverage],
}

/// The result of one test, with places as files and lines.
#[derive(Clone, Debug)]
pub struct TestReport {
    /// The path of the test file.
    pub file: String,
    /// As the file states it.
    pub name: String,
    /// Where the test begins in its file, from 1.
    pub line: usize,
    /// Where the expectation is that does not hold, if the test failed.
    pub failed_at: Option<FailedAt>,
    /// The `file:line` of the constraint that refused the request, in the policy.
    pub rule: Option<String>,
    /// How long the test ran, by the clock of the caller.
    pub duration: Duration,
    /// The verdict and everything that led to it.
    pub outcome: TestOutcome,
}

/// The place of an expectation that does not hold.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FailedAt {
    /// The line in the test file, from 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The line itself with a caret below the expectation; may have several lines.
    pub snippet: String,
}

/// A test file that could not be run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvalidFile {
    /// The path of the test file.
    pub file: String,
    /// Everything that is wrong with it and with its policies.
    pub problems: Vec<FileProblem>,
}

/// A problem of a test file or of one of its policies.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct FileProblem {
    /// The path as the command line has it.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// One sentence, without the place.
    pub message: String,
}

/// What the tests cover of a policy.
#[derive(Clone, Debug)]
pub struct PolicyCoverage {
    /// The path as the test files name it.
    pub policy: String,
    /// What all tests of the policy have used together.
    pub coverage: Coverage,
}

/// How many tests have each verdict.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct VerdictCounts {
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) skipped: usize,
}

impl TestReport {
    pub(super) fn describe(&self, failure: &TestFailure) -> String {
        let place = self.failed_at.clone().unwrap_or_default();
        let FailedAt { line, column, snippet } = place;
        let mut text = format!("{}:{line}:{column}: {}\n", self.file, summary(failure));
        if !snippet.is_empty() {
            text.push_str(&snippet);
            text.push('\n');
        }
        let explanation = failure.explanation();
        if !explanation.is_empty() {
            // Writing to a String cannot fail, here and below.
            let _ = writeln!(text, "why: {explanation}");
        }
        if let Some(rule) = &self.rule {
            let _ = writeln!(text, "decided by {rule}");
        }
        let _ = write!(text, "{}", failure.ledger);
        text
    }
}

pub(super) fn summary(failure: &TestFailure) -> String {
    let TestFailure { compared, expected, actual, .. } = failure;
    format!("{compared}: expected {expected}, found {actual}")
}

impl VerdictCounts {
    pub(super) fn of(reports: &[TestReport]) -> Self {
        let mut counts = Self::default();
        for report in reports {
            *match report.outcome.verdict {
                Verdict::Ok => &mut counts.passed,
                Verdict::Failed(_) => &mut counts.failed,
                Verdict::Skipped(_) => &mut counts.skipped,
            } += 1;
        }
        counts
    }
}

impl std::fmt::Display for FileProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { file, line, column, message } = self;
        write!(f, "{file}:{line}:{column}: {message}")
    }
}

impl PolicyCoverage {
    /// `p.toml: 60% of 5 covered`.
    pub(super) fn summary(&self) -> String {
        let Self { policy, coverage } = self;
        format!("{policy}: {}% of {} covered", coverage.percent(), coverage.all.len())
    }
}
