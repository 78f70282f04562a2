//! The report of a test run as JUnit's XML.

use std::fmt::Write;
use std::time::Duration;

use super::outcome::Verdict;
use super::report::{InvalidFile, PolicyCoverage, RunReport, TestReport, VerdictCounts, summary};

pub(super) fn junit(run: &RunReport<'_>) -> String {
    let VerdictCounts { failed, skipped, .. } = VerdictCounts::of(run.tests);
    let errors = run.invalid.len();
    let all = run.tests.len() + errors;
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a String cannot fail, here and below.
    let time = seconds(run.tests);
    let _ = writeln!(
        text,
        "<testsuites name=\"gqos\" tests=\"{all}\" failures=\"{failed}\" skipped=\"{skipped}\" errors=\"{errors}\" time=\"{time}\">"
    );
    let mut rest = run.tests;
    while let Some(first) = rest.first() {
        let length = rest.iter().take_while(|report| report.file == first.file).count();
        let (suite, after) = rest.split_at(length);
        rest = after;
        let VerdictCounts { failed, skipped, .. } = VerdictCounts::of(suite);
        let (file, time) = (xml(&first.file), seconds(suite));
        let _ = writeln!(
            text,
            "  <testsuite name=\"{file}\" file=\"{file}\" tests=\"{length}\" failures=\"{failed}\" skipped=\"{skipped}\" errors=\"0\" time=\"{time}\">"
        );
        suite.iter().for_each(|report| test_case(&mut text, report));
        text.push_str("  </testsuite>\n");
    }
    run.invalid.iter().for_each(|invalid| invalid_file(&mut text, invalid));
    if !run.coverage.is_empty() {
        text.push_str(
            "  <testsuite name=\"coverage\" tests=\"0\" failures=\"0\" skipped=\"0\" errors=\"0\">\n    <properties>\n",
        );
        run.coverage.iter().for_each(|coverage| properties(&mut text, coverage));
        text.push_str("    </properties>\n  </testsuite>\n");
    }
    text.push_str("</testsuites>\n");
    text
}

fn test_case(text: &mut String, report: &TestReport) {
    let (name, file, line) = (xml(&report.name), xml(&report.file), report.line);
    let time = seconds(std::slice::from_ref(report));
    let case = format!(
        "<testcase name=\"{name}\" classname=\"{file}\" file=\"{file}\" line=\"{line}\" time=\"{time}\""
    );
    let _ = match &report.outcome.verdict {
        Verdict::Ok => writeln!(text, "    {case}/>"),
        Verdict::Failed(failure) => {
            let (message, body) = (xml(&summary(failure)), xml(&report.describe(failure)));
            writeln!(
                text,
                "    {case}>\n      <failure message=\"{message}\" type=\"expectation\">{body}</failure>\n    </testcase>"
            )
        }
        Verdict::Skipped(reason) => {
            let reason = xml(&reason.to_string());
            writeln!(text, "    {case}>\n      <skipped message=\"{reason}\"/>\n    </testcase>")
        }
    };
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
fn seconds(reports: &[TestReport]) -> String {
    let time: Duration = reports.iter().map(|report| report.duration).sum();
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
