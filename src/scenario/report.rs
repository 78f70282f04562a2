//! What a run of tests is told as: text, JSON, JUnit, TAP, or annotations.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::json;

use super::run::{Failure, Outcome, Touched, Verdict};
use crate::admission::Reason;
use crate::policy::{ClassModel, Policy};

/// How a report is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// For people: one line a test, failures in full.
    Text,
    /// One JSON document.
    Json,
    /// JUnit's XML.
    Junit,
    /// The Test Anything Protocol, version 13.
    Tap,
    /// Annotations of a hosted workflow.
    Github,
}

/// A test that was run, with places as people read them.
#[derive(Clone, Debug)]
pub struct Report {
    /// The file.
    pub file: String,
    /// The test.
    pub name: String,
    /// Its line.
    pub line: usize,
    /// The line of the step that failed.
    pub step_line: usize,
    /// Where the constraint stands that decided: `file:line`.
    pub rule: Option<String>,
    /// How it went.
    pub outcome: Outcome,
}

/// What of a policy the tests have touched.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Coverage {
    /// What there is to touch.
    pub all: BTreeSet<Touched>,
    /// What was.
    pub touched: BTreeSet<Touched>,
}

impl Coverage {
    /// What there is to touch in a policy: everything it defines, and every kind of refusal that what it
    /// defines can give.
    pub fn of(policy: &Policy) -> Self {
        let mut all = BTreeSet::new();
        all.extend(policy.interfaces.keys().cloned().map(Touched::Interface));
        all.extend(policy.any_interface.iter().map(|_| Touched::Interface("*".into())));
        all.extend(policy.classes.keys().cloned().map(Touched::Class));
        all.extend(policy.groups.keys().cloned().map(Touched::Group));
        all.extend(policy.templates.keys().cloned().map(Touched::Template));
        all.extend((1..=policy.rules.len()).map(Touched::Rule));
        let interfaces = || policy.interfaces.values().chain(&policy.any_interface);
        let mut reason = |can_be: bool, name| {
            if can_be {
                all.insert(Touched::Reason(name));
            }
        };
        reason(interfaces().next().is_some(), Reason::InterfaceBudget);
        reason(interfaces().any(|interface| interface.max_flows.is_some()), Reason::InterfaceFlows);
        reason(interfaces().any(|interface| interface.buffer.is_some()), Reason::Buffer);
        let whole = |class: &crate::policy::Class| {
            class.share.is_none_or(|share| share == flowspec::Share::Part(1_000_000_000))
        };
        let limited = interfaces().any(|interface| interface.class_model != ClassModel::Rdm)
            && policy.classes.values().any(|class| !whole(class));
        reason(limited, Reason::ClassShare);
        reason(policy.classes.values().any(|class| class.max_flows.is_some()), Reason::ClassFlows);
        reason(policy.classes.values().any(|class| class.max_rate.is_some()), Reason::FlowRate);
        reason(!policy.groups.is_empty(), Reason::GroupBudget);
        reason(!policy.clients.is_empty(), Reason::ClientLimit);
        Self { all, touched: BTreeSet::new() }
    }

    /// Counts what a test touched.
    pub fn count(&mut self, outcome: &Outcome) {
        self.touched.extend(outcome.touched.intersection(&self.all).cloned());
    }

    /// What no test touched.
    pub fn untouched(&self) -> impl Iterator<Item = &Touched> {
        self.all.difference(&self.touched)
    }

    /// The part that was touched, in per cent, rounded down; all of nothing is all.
    pub fn percent(&self) -> u64 {
        (self.touched.len() as u64 * 100).checked_div(self.all.len() as u64).unwrap_or(100)
    }
}

impl std::fmt::Display for Touched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Interface(name) => write!(f, "interface {name}"),
            Self::Class(name) => write!(f, "class {name}"),
            Self::Group(name) => write!(f, "group {name}"),
            Self::Template(name) => write!(f, "template {name}"),
            Self::Rule(number) => write!(f, "rule {number}"),
            Self::Reason(reason) => write!(f, "reason {reason}"),
        }
    }
}

impl Failure {
    /// The failure in full.
    fn text(&self, report: &Report) -> String {
        let Self { what, expected, actual, why, ledger, .. } = self;
        let mut text =
            format!("{}:{}: {what}: {expected} expected, {actual} found\n", report.file, report.step_line);
        if !why.is_empty() {
            let _ = writeln!(text, "why: {why}");
        }
        if let Some(rule) = &report.rule {
            let _ = writeln!(text, "decided by {rule}");
        }
        text.push_str(ledger);
        text
    }
}

/// The reports in a format.
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
            Verdict::Skipped(why) => writeln!(text, "{file}:{line} {name} ... skipped: {why}"),
        };
    }
    for report in reports {
        if let Verdict::Failed(failure) = &report.outcome.verdict {
            let _ = writeln!(text, "\n{}", report.name);
            for line in failure.text(report).lines() {
                let _ = writeln!(text, "  {line}");
            }
        }
    }
    let (passed, failed, skipped) = counts(reports);
    let _ = writeln!(text, "\n{passed} passed, {failed} failed, {skipped} skipped");
    text
}

fn json(reports: &[Report]) -> String {
    let tests = reports.iter().map(|report| {
        let (result, failure) = match &report.outcome.verdict {
            Verdict::Ok => ("ok", None),
            Verdict::Failed(failure) => ("failed", Some(failure)),
            Verdict::Skipped(_) => ("skipped", None),
        };
        json!({
            "file": report.file, "line": report.line, "name": report.name, "result": result,
            "failure": failure.map(|failure| json!({
                "line": report.step_line, "what": failure.what, "expected": failure.expected,
                "actual": failure.actual, "why": failure.why, "rule": report.rule, "ledger": failure.ledger,
            })),
            "skipped": match &report.outcome.verdict { Verdict::Skipped(why) => Some(why), _ => None },
        })
    });
    let (passed, failed, skipped) = counts(reports);
    let document = json!({
        "tests": tests.collect::<Vec<_>>(), "passed": passed, "failed": failed, "skipped": skipped,
    });
    format!("{document}\n")
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
        for report in suite {
            let case =
                format!("<testcase name=\"{}\" classname=\"{}\"", xml(&report.name), xml(&report.file));
            let _ = match &report.outcome.verdict {
                Verdict::Ok => writeln!(text, "    {case}/>"),
                Verdict::Failed(failure) => {
                    let message =
                        format!("{}: {} expected, {} found", failure.what, failure.expected, failure.actual);
                    let (message, body) = (xml(&message), xml(&failure.text(report)));
                    writeln!(
                        text,
                        "    {case}>\n      <failure message=\"{message}\" type=\"expectation\">{body}</failure>\n    </testcase>"
                    )
                }
                Verdict::Skipped(why) => {
                    writeln!(text, "    {case}>\n      <skipped message=\"{}\"/>\n    </testcase>", xml(why))
                }
            };
        }
        text.push_str("  </testsuite>\n");
    }
    text.push_str("</testsuites>\n");
    text
}

fn tap(reports: &[Report]) -> String {
    let mut text = format!("TAP version 13\n1..{}\n", reports.len());
    for (number, report) in reports.iter().enumerate() {
        let number = number + 1;
        // A number sign would begin a directive.
        let name = report.name.replace('#', "\\#");
        let _ = match &report.outcome.verdict {
            Verdict::Ok => writeln!(text, "ok {number} - {name}"),
            Verdict::Skipped(why) => writeln!(text, "ok {number} - {name} # SKIP {why}"),
            Verdict::Failed(failure) => {
                let _ = writeln!(text, "not ok {number} - {name}");
                failure.text(report).lines().try_for_each(|line| writeln!(text, "# {line}"))
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
            let body = escape(failure.text(report).trim_end());
            let _ = writeln!(text, "::error file={file},line={},title={title}::{body}", report.step_line);
        }
    }
    text
}

/// Text inside XML; what XML has no character for becomes a replacement.
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
