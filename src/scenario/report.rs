//! Reports of a test run: text, JSON, JUnit, TAP, or annotations.

use std::fmt::Write;

use serde::Serialize;

use super::outcome::{Failure, Outcome, Verdict};

/// The format of a report.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Format {
    /// For people: one line per test, and failures in full.
    Text,
    /// One JSON document.
    Json,
    /// JUnit's XML.
    Junit,
    /// The Test Anything Protocol, version 13.
    Tap,
    /// Annotations of a GitHub workflow.
    Github,
}

/// The result of one test, with places as files and lines.
#[derive(Clone, Debug)]
pub struct Report {
    /// The path of the test file.
    pub file: String,
    /// The name of the test.
    pub name: String,
    /// The line of the test.
    pub line: usize,
    /// The line of the step that failed; 0 if none did.
    pub step_line: usize,
    /// The `file:line` of the constraint that refused the request, in the policy.
    pub rule: Option<String>,
    /// The result.
    pub outcome: Outcome,
}

impl Report {
    /// A failure in full.
    fn describe(&self, failure: &Failure) -> String {
        let Self { file, step_line, .. } = self;
        let mut text = format!("{file}:{step_line}: {}\n", summary(failure));
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

fn summary(failure: &Failure) -> String {
    let Failure { compared, expected, actual, .. } = failure;
    format!("{compared}: expected {expected}, found {actual}")
}

/// Renders the reports in a format.
pub fn render(reports: &[Report], format: Format) -> String {
    match format {
        Format::Text => text(reports),
        Format::Json => json(reports),
        Format::Junit => junit(reports),
        Format::Tap => tap(reports),
        Format::Github => github(reports),
    }
}

fn counts(reports: &[Report]) -> (usize, usize, usize) {
    let count = |wanted: fn(&Verdict) -> bool| {
        reports.iter().filter(|report| wanted(&report.outcome.verdict)).count()
    };
    let failed = count(|verdict| matches!(verdict, Verdict::Failed(_)));
    let skipped = count(|verdict| matches!(verdict, Verdict::Skipped(_)));
    (reports.len() - failed - skipped, failed, skipped)
}

fn text(reports: &[Report]) -> String {
    let mut text = String::new();
    for report in reports {
        let Report { file, line, name, .. } = report;
        let _ = match &report.outcome.verdict {
            Verdict::Ok => writeln!(text, "{file}:{line} {name} ... ok"),
            Verdict::Failed(_) => writeln!(text, "{file}:{line} {name} ... FAILED"),
            Verdict::Skipped(reason) => writeln!(text, "{file}:{line} {name} ... skipped: {reason}"),
        };
    }
    for report in reports {
        if let Verdict::Failed(failure) = &report.outcome.verdict {
            let _ = writeln!(text, "\n{}", report.name);
            for line in report.describe(failure).lines() {
                let _ = writeln!(text, "  {line}");
            }
        }
    }
    let (passed, failed, skipped) = counts(reports);
    let _ = writeln!(text, "\n{passed} passed, {failed} failed, {skipped} skipped");
    text
}

/// The JSON report. The order of the fields is part of the output.
#[derive(Serialize)]
struct JsonReport<'a> {
    tests: Vec<JsonTest<'a>>,
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
    what: String,
    expected: &'a str,
    actual: &'a str,
    why: String,
    rule: Option<&'a str>,
    ledger: String,
}

fn json(reports: &[Report]) -> String {
    let tests = reports.iter().map(|report| {
        let (result, failure, skipped) = match &report.outcome.verdict {
            Verdict::Ok => ("ok", None, None),
            Verdict::Failed(failure) => ("failed", Some(failure), None),
            Verdict::Skipped(reason) => ("skipped", None, Some(reason.to_string())),
        };
        let failure = failure.map(|failure| JsonFailure {
            line: report.step_line,
            what: failure.compared.to_string(),
            expected: &failure.expected,
            actual: &failure.actual,
            why: failure.explanation(),
            rule: report.rule.as_deref(),
            ledger: failure.ledger.to_string(),
        });
        JsonTest { file: &report.file, line: report.line, name: &report.name, result, failure, skipped }
    });
    let (passed, failed, skipped) = counts(reports);
    let document = JsonReport { tests: tests.collect(), passed, failed, skipped };
    let text = serde_json::to_string(&document).expect("strings and numbers are JSON");
    format!("{text}\n")
}

fn junit(reports: &[Report]) -> String {
    let (_, failed, skipped) = counts(reports);
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let all = reports.len();
    let _ = writeln!(
        text,
        "<testsuites name=\"gqos\" tests=\"{all}\" failures=\"{failed}\" skipped=\"{skipped}\" errors=\"0\">"
    );
    let mut rest = reports;
    while let Some(first) = rest.first() {
        let length = rest.iter().take_while(|report| report.file == first.file).count();
        let (suite, after) = rest.split_at(length);
        rest = after;
        let (_, failed, skipped) = counts(suite);
        let _ = writeln!(
            text,
            "  <testsuite name=\"{}\" tests=\"{length}\" failures=\"{failed}\" skipped=\"{skipped}\" errors=\"0\">",
            xml(&first.file)
        );
        suite.iter().for_each(|report| junit_case(&mut text, report));
        text.push_str("  </testsuite>\n");
    }
    text.push_str("</testsuites>\n");
    text
}

fn junit_case(text: &mut String, report: &Report) {
    let case = format!("<testcase name=\"{}\" classname=\"{}\"", xml(&report.name), xml(&report.file));
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

fn tap(reports: &[Report]) -> String {
    let mut text = format!("TAP version 13\n1..{}\n", reports.len());
    for (number, report) in reports.iter().enumerate() {
        let number = number + 1;
        // A number sign would start a directive.
        let name = report.name.replace('#', "\\#");
        let _ = match &report.outcome.verdict {
            Verdict::Ok => writeln!(text, "ok {number} - {name}"),
            Verdict::Skipped(reason) => writeln!(text, "ok {number} - {name} # SKIP {reason}"),
            Verdict::Failed(failure) => {
                let _ = writeln!(text, "not ok {number} - {name}");
                report.describe(failure).lines().try_for_each(|line| writeln!(text, "# {line}"))
            }
        };
    }
    text
}

fn github(reports: &[Report]) -> String {
    let mut text = String::new();
    for report in reports {
        if let Verdict::Failed(failure) = &report.outcome.verdict {
            let escape = |part: &str| part.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
            let file = escape(&report.file).replace(':', "%3A").replace(',', "%2C");
            let title = escape(&report.name).replace(':', "%3A").replace(',', "%2C");
            let body = escape(report.describe(failure).trim_end());
            let _ = writeln!(text, "::error file={file},line={},title={title}::{body}", report.step_line);
        }
    }
    text
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
