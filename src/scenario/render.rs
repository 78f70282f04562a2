//! Renders the report of a test run: text, JSON, TAP, or annotations. JUnit has a file of its own.

use std::fmt::Write;

use serde::Serialize;

use super::junit::junit;
use super::outcome::Verdict;
use super::report::{FileProblem, InvalidFile, RunReport, VerdictCounts};

/// The output of `gqos test`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ReportFormat {
    /// For people: one line per test, and failures in full.
    Text,
    /// One document for the whole run.
    Json,
    /// JUnit's XML.
    Junit,
    /// The Test Anything Protocol, version 13.
    Tap,
    /// Annotations of a GitHub workflow.
    Github,
}

/// The whole report as one text, which ends with a line break.
pub fn render(report: &RunReport<'_>, format: ReportFormat) -> String {
    match format {
        ReportFormat::Text => text(report),
        ReportFormat::Json => json(report),
        ReportFormat::Junit => junit(report),
        ReportFormat::Tap => tap(report),
        ReportFormat::Github => github(report),
    }
}

fn text(run: &RunReport<'_>) -> String {
    let mut text = String::new();
    for report in run.tests {
        let (file, line, name) = (&report.file, report.line, &report.name);
        // Writing to a String cannot fail, here and below.
        let _ = match &report.outcome.verdict {
            Verdict::Ok => writeln!(text, "{file}:{line} {name} ... ok"),
            Verdict::Failed(_) => writeln!(text, "{file}:{line} {name} ... FAILED"),
            Verdict::Skipped(reason) => writeln!(text, "{file}:{line} {name} ... skipped: {reason}"),
        };
    }
    for invalid in run.invalid {
        let _ = writeln!(text, "{} ... INVALID", invalid.file);
    }
    for report in run.tests {
        if let Verdict::Failed(failure) = &report.outcome.verdict {
            let _ = writeln!(text, "\n{}", report.name);
            for line in report.describe(failure).lines() {
                let _ = writeln!(text, "  {line}");
            }
        }
    }
    for invalid in run.invalid.iter().filter(|invalid| !invalid.problems.is_empty()) {
        let _ = writeln!(text, "\n{} cannot be run", invalid.file);
        invalid.problems.iter().for_each(|problem| {
            let _ = writeln!(text, "  {problem}");
        });
    }
    for coverage in run.coverage {
        let _ = writeln!(text, "\n{}", coverage.summary());
        coverage.coverage.uncovered().for_each(|item| {
            let _ = writeln!(text, "  not covered: {item}");
        });
    }
    let VerdictCounts { passed, failed, skipped } = VerdictCounts::of(run.tests);
    let _ = write!(text, "\n{passed} passed, {failed} failed, {skipped} skipped");
    match run.invalid.len() {
        0 => {}
        1 => text.push_str(", 1 file is invalid"),
        files => {
            let _ = write!(text, ", {files} files are invalid");
        }
    }
    text.push('\n');
    text
}

/// The JSON report. The order of the fields is part of the output.
#[derive(Serialize)]
struct JsonReport<'a> {
    tests: Vec<JsonTest<'a>>,
    invalid: Vec<JsonInvalid<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    coverage: Vec<JsonCoverage<'a>>,
    passed: usize,
    failed: usize,
    skipped: usize,
}

#[derive(Serialize)]
struct JsonTest<'a> {
    file: &'a str,
    line: usize,
    name: &'a str,
    result: &'static str,
    failure: Option<JsonFailure<'a>>,
    skipped: Option<String>,
}

#[derive(Serialize)]
struct JsonFailure<'a> {
    line: usize,
    column: usize,
    what: String,
    expected: &'a str,
    actual: &'a str,
    why: String,
    rule: Option<&'a str>,
    ledger: String,
}

#[derive(Serialize)]
pub(super) struct JsonInvalid<'a> {
    file: &'a str,
    problems: &'a [FileProblem],
}

#[derive(Serialize)]
struct JsonCoverage<'a> {
    policy: &'a str,
    percent: u64,
    covered: Vec<String>,
    uncovered: Vec<String>,
}

fn json(run: &RunReport<'_>) -> String {
    let tests = run.tests.iter().map(|report| {
        let (result, failure, skipped) = match &report.outcome.verdict {
            Verdict::Ok => ("ok", None, None),
            Verdict::Failed(failure) => ("failed", Some(failure), None),
            Verdict::Skipped(reason) => ("skipped", None, Some(reason.to_string())),
        };
        let failure = failure.map(|failure| JsonFailure {
            line: report.failed_at.as_ref().map_or(0, |place| place.line),
            column: report.failed_at.as_ref().map_or(0, |place| place.column),
            what: failure.compared.to_string(),
            expected: &failure.expected,
            actual: &failure.actual,
            why: failure.explanation(),
            rule: report.rule.as_deref(),
            ledger: failure.ledger.to_string(),
        });
        JsonTest { file: &report.file, line: report.line, name: &report.name, result, failure, skipped }
    });
    let coverage = run.coverage.iter().map(|of| JsonCoverage {
        policy: &of.policy,
        percent: of.coverage.percent(),
        covered: of.coverage.covered.iter().map(ToString::to_string).collect(),
        uncovered: of.coverage.uncovered().map(ToString::to_string).collect(),
    });
    let VerdictCounts { passed, failed, skipped } = VerdictCounts::of(run.tests);
    let document = JsonReport {
        tests: tests.collect(),
        invalid: run.invalid.iter().map(JsonInvalid::from).collect(),
        coverage: coverage.collect(),
        passed,
        failed,
        skipped,
    };
    json_line(&document)
}

impl<'a> From<&'a InvalidFile> for JsonInvalid<'a> {
    fn from(InvalidFile { file, problems }: &'a InvalidFile) -> Self {
        Self { file, problems }
    }
}

pub(super) fn json_line(document: &impl Serialize) -> String {
    let text = serde_json::to_string(document).expect("strings and numbers are JSON");
    format!("{text}\n")
}

fn tap(run: &RunReport<'_>) -> String {
    let mut text = format!("TAP version 13\n1..{}\n", run.tests.len() + run.invalid.len());
    for (report, number) in run.tests.iter().zip(1..) {
        let name = tap_name(&report.name);
        let _ = match &report.outcome.verdict {
            Verdict::Ok => writeln!(text, "ok {number} - {name}"),
            Verdict::Skipped(reason) => writeln!(text, "ok {number} - {name} # SKIP {reason}"),
            Verdict::Failed(failure) => {
                let _ = writeln!(text, "not ok {number} - {name}");
                report.describe(failure).lines().try_for_each(|line| writeln!(text, "# {line}"))
            }
        };
    }
    tap_invalid(&mut text, run.tests.len() + 1, run.invalid);
    for coverage in run.coverage {
        let _ = writeln!(text, "# {}", coverage.summary());
        coverage.coverage.uncovered().for_each(|item| {
            let _ = writeln!(text, "#   not covered: {item}");
        });
    }
    text
}

/// A name in which a number sign does not start a directive.
pub(super) fn tap_name(name: &str) -> String {
    name.replace('#', "\\#")
}

/// The files that could not be run, numbered from `first`.
pub(super) fn tap_invalid(text: &mut String, first: usize, invalid: &[InvalidFile]) {
    for (invalid, number) in invalid.iter().zip(first..) {
        let _ = writeln!(text, "not ok {number} - {} is valid", tap_name(&invalid.file));
        invalid.problems.iter().for_each(|problem| {
            let _ = writeln!(text, "# {problem}");
        });
    }
}

fn github(run: &RunReport<'_>) -> String {
    let mut text = String::new();
    for report in run.tests {
        if let Verdict::Failed(failure) = &report.outcome.verdict {
            let (file, title) = (github_property(&report.file), github_property(&report.name));
            let body = github_text(report.describe(failure).trim_end());
            let (line, column) = report.failed_at.as_ref().map_or((0, 0), |place| (place.line, place.column));
            let _ = writeln!(text, "::error file={file},line={line},col={column},title={title}::{body}");
        }
    }
    github_invalid(&mut text, run.invalid);
    for coverage in run.coverage {
        let uncovered: Vec<_> =
            coverage.coverage.uncovered().map(|item| format!("\nnot covered: {item}")).collect();
        let body = github_text(&format!("{}{}", coverage.summary(), uncovered.concat()));
        let _ = writeln!(text, "::notice file={},title=coverage::{body}", github_property(&coverage.policy));
    }
    text
}

/// The text of an annotation, with the characters escaped that would end it.
pub(super) fn github_text(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of a property of an annotation.
pub(super) fn github_property(text: &str) -> String {
    github_text(text).replace(':', "%3A").replace(',', "%2C")
}

pub(super) fn github_invalid(text: &mut String, invalid: &[InvalidFile]) {
    for problem in invalid.iter().flat_map(|invalid| &invalid.problems) {
        let FileProblem { file, line, column, message } = problem;
        let (file, message) = (github_property(file), github_text(message));
        let _ = writeln!(text, "::error file={file},line={line},col={column},title=invalid file::{message}");
    }
}
