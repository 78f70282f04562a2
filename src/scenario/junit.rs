//! The report of a test run as JUnit's XML.

use std::fmt::Write;
use std::time::Duration;

use super::outcome::Verdict;
use super::report::{InvalidFile, PolicyCoverage, RunReport, TestReport, summary};

pub(super) struct Case<'a> {
    pub(super) file: &'a str,
    pub(super) line: usize,
    pub(super) name: &'a str,
    pub(super) duration: Duration,
    pub(super) result: CaseResult,
}

/// What became of a test.
pub(super) enum CaseResult {
    Passed,
    Failed { kind: &'static str, message: String, body: String },
    Skipped(String),
}

pub(super) fn junit(run: &RunReport<'_>) -> String {
    let cases: Vec<_> = run.tests.iter().map(Case::from).collect();
    document(&cases, run.invalid, run.coverage)
}

/// A document with a suite for each file.
pub(super) fn document(cases: &[Case<'_>], invalid: &[InvalidFile], coverage: &[PolicyCoverage]) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let (all, errors) = (cases.len() + invalid.len(), invalid.len());
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(
        text,
        "<testsuites name=\"gqos\" tests=\"{all}\" failures=\"{}\" skipped=\"{}\" errors=\"{errors}\" time=\"{}\">",
        failed(cases),
        skipped(cases),
        seconds(cases)
    );
    for suite in cases.chunk_by(|one, next| one.file == next.file) {
        let file = xml(suite[0].file);
        let _ = writeln!(
            text,
            "  <testsuite name=\"{file}\" file=\"{file}\" tests=\"{}\" failures=\"{}\" skipped=\"{}\" errors=\"0\" time=\"{}\">",
            suite.len(),
            failed(suite),
            skipped(suite),
            seconds(suite)
        );
        suite.iter().for_each(|case| test_case(&mut text, case));
        text.push_str("  </testsuite>\n");
    }
    invalid.iter().for_each(|invalid| invalid_file(&mut text, invalid));
    if !coverage.is_empty() {
        text.push_str(
            "  <testsuite name=\"coverage\" tests=\"0\" failures=\"0\" skipped=\"0\" errors=\"0\">\n    <properties>\n",
        );
        coverage.iter().for_each(|coverage| properties(&mut text, coverage));
        text.push_str("    </properties>\n  </testsuite>\n");
    }
    text.push_str("</testsuites>\n");
    text
}

impl<'a> From<&'a TestReport> for Case<'a> {
    fn from(report: &'a TestReport) -> Self {
        let result = match &report.outcome.verdict {
            Verdict::Ok => CaseResult::Passed,
            Verdict::Failed(failure) => CaseResult::Failed {
                kind: "expectation",
                message: summary(failure),
                body: report.describe(failure),
            },
            Verdict::Skipped(reason) => CaseResult::Skipped(reason.to_string()),
        };
        let TestReport { file, line, name, duration, .. } = report;
        Self { file, line: *line, name, duration: *duration, result }
    }
}

fn test_case(text: &mut String, case: &Case<'_>) {
    let (name, file, line) = (xml(case.name), xml(case.file), case.line);
    let time = seconds(std::slice::from_ref(case));
    let start = format!(
        "<testcase name=\"{name}\" classname=\"{file}\" file=\"{file}\" line=\"{line}\" time=\"{time}\""
    );
    let _ = match &case.result {
        CaseResult::Passed => writeln!(text, "    {start}/>"),
        CaseResult::Failed { kind, message, body } => {
            let (message, body) = (xml(message), xml(body));
            writeln!(
                text,
                "    {start}>\n      <failure message=\"{message}\" type=\"{kind}\">{body}</failure>\n    </testcase>"
            )
        }
        CaseResult::Skipped(reason) => {
            let reason = xml(reason);
            writeln!(text, "    {start}>\n      <skipped message=\"{reason}\"/>\n    </testcase>")
        }
    };
}

fn failed(cases: &[Case<'_>]) -> usize {
    cases.iter().filter(|case| matches!(case.result, CaseResult::Failed { .. })).count()
}

fn skipped(cases: &[Case<'_>]) -> usize {
    cases.iter().filter(|case| matches!(case.result, CaseResult::Skipped(_))).count()
}

/// A file that could not be run is a suite with one case that has an error.
fn invalid_file(text: &mut String, invalid: &InvalidFile) {
    let file = xml(&invalid.file);
    let problems: Vec<_> = invalid.problems.iter().map(ToString::to_string).collect();
    let (first, body) = (xml(problems.first().map_or("", String::as_str)), xml(&problems.join("\n")));
    // A problem of a policy has a line in the policy.
    let line = invalid
        .problems
        .iter()
        .find(|problem| problem.file == invalid.file)
        .map_or(1, |problem| problem.line);
    let _ = writeln!(
        text,
        "  <testsuite name=\"{file}\" file=\"{file}\" tests=\"1\" failures=\"0\" skipped=\"0\" errors=\"1\" time=\"0.000000\">\n    <testcase name=\"the file is valid\" classname=\"{file}\" file=\"{file}\" line=\"{line}\" time=\"0.000000\">\n      <error message=\"{first}\" type=\"invalid\">{body}</error>\n    </testcase>\n  </testsuite>"
    );
}

fn properties(text: &mut String, of: &PolicyCoverage) {
    let mut property = |name: &str, value: &str| {
        let _ = writeln!(text, "      <property name=\"{}\" value=\"{}\"/>", xml(name), xml(value));
    };
    property("covered", &of.summary());
    for uncovered in of.coverage.uncovered() {
        property("not covered", &format!("{}: {uncovered}", of.policy));
    }
}

/// How long tests ran together, in seconds with six decimals.
fn seconds(cases: &[Case<'_>]) -> String {
    let time: Duration = cases.iter().map(|case| case.duration).sum();
    format!("{}.{:06}", time.as_secs(), time.subsec_micros())
}

/// Escapes text for XML. A character that XML does not allow becomes U+FFFD.
fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(character),
            control if control.is_control() => escaped.push('\u{FFFD}'),
            '\u{FFFE}' | '\u{FFFF}' => escaped.push('\u{FFFD}'),
            plain => escaped.push(plain),
        }
    }
    escaped
}
