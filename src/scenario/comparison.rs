//! The report of a comparison with another policy, in every format.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use flowspec::Moment;
use serde::Serialize;

use super::difference::DecisionDifference;
use super::junit;
use super::render::{
    JsonInvalid, ReportFormat, github_invalid, github_property, github_text, json_line, tap_invalid, tap_name,
};
use super::report::InvalidFile;
use crate::admission::Decision;

/// All that a comparison of tests with another policy reports.
#[derive(Clone, Copy, Debug)]
pub struct TestComparison<'a> {
    /// The path of the other policy.
    pub other: &'a str,
    /// The tests that were run under both policies, in order.
    pub tests: &'a [ComparedTest],
    /// The test files that could not be run, and the other policy if it cannot be used.
    pub invalid: &'a [InvalidFile],
}

/// A test that was run under its own policy and under another one.
#[derive(Clone, Debug)]
pub struct ComparedTest {
    /// The path of the test file.
    pub file: String,
    /// As the file states it; unique in the file.
    pub name: String,
    /// Where the test begins in its file, from 1.
    pub line: usize,
    /// The path of its own policy.
    pub policy: String,
    /// How long both runs took, by the clock of the caller.
    pub duration: Duration,
    /// The decisions that differ, in order.
    pub decisions: Vec<ComparedDecision>,
}

/// One step that two policies decide differently.
#[derive(Clone, Debug)]
pub struct ComparedDecision {
    /// The rule and the templates of the request, in words: `p.toml:12 rule 1, template hd`.
    pub requested: String,
    /// The decision under each of the two policies.
    pub difference: DecisionDifference,
}

impl TestComparison<'_> {
    /// How many decisions differ.
    pub fn count(&self) -> usize {
        self.tests.iter().map(|test| test.decisions.len()).sum()
    }

    /// `5 decisions differ under r.toml`.
    pub fn summary(&self) -> String {
        summary(self.count(), self.other)
    }

    /// Renders the comparison in a format. A test with decisions that differ counts as failed. The text is empty if none
    /// differs and all files could be run.
    pub fn render(&self, format: ReportFormat) -> String {
        match format {
            ReportFormat::Text => self.text(),
            ReportFormat::Json => self.json(),
            ReportFormat::Junit => self.junit(),
            ReportFormat::Tap => self.tap(),
            ReportFormat::Github => self.github(),
        }
    }

    fn text(&self) -> String {
        let (mut list, mut kinds) = (String::new(), BTreeMap::<_, usize>::new());
        for test in self.tests {
            for decision in &test.decisions {
                // Writing to a String cannot fail, here and below.
                let _ = writeln!(
                    list,
                    "{}:{} {}: {}",
                    test.file,
                    test.line,
                    test.name,
                    self.describe(test, decision)
                );
                *kinds.entry((&decision.requested, decision.difference.verdicts())).or_default() += 1;
            }
        }
        let mut text = String::new();
        for ((requested, [own, other]), count) in kinds {
            let _ = writeln!(text, "{requested}: {count} × {own} → {other}");
        }
        if !list.is_empty() {
            let _ = write!(text, "\n{list}");
        }
        for InvalidFile { file, problems } in self.invalid {
            let _ = writeln!(text, "{file} ... INVALID");
            problems.iter().for_each(|problem| {
                let _ = writeln!(text, "  {problem}");
            });
        }
        text
    }

    fn json(&self) -> String {
        let decision = |ComparedDecision { requested, difference }: &ComparedDecision| {
            let DecisionDifference { requested: names, own, other } = difference;
            let [before, after] = difference.verdicts();
            JsonDifference {
                flow: own.id().map(str::to_owned),
                at_us: own.at,
                requested: requested.clone(),
                rule: names.rule,
                templates: names.templates.clone(),
                own: JsonDecision::new(before, own),
                other: JsonDecision::new(after, other),
            }
        };
        let tests = self.tests.iter().map(|test| JsonComparedTest {
            file: &test.file,
            line: test.line,
            name: &test.name,
            policy: &test.policy,
            differences: test.decisions.iter().map(decision).collect(),
        });
        json_line(&JsonComparison {
            against: self.other,
            tests: tests.collect(),
            invalid: self.invalid.iter().map(JsonInvalid::from).collect(),
            differ: self.count(),
        })
    }

    fn junit(&self) -> String {
        let cases = self.tests.iter().map(|test| junit::Case {
            file: &test.file,
            line: test.line,
            name: &test.name,
            duration: test.duration,
            result: match test.decisions.len() {
                0 => junit::CaseResult::Passed,
                count => junit::CaseResult::Failed {
                    kind: "difference",
                    message: summary(count, self.other),
                    body: self.list(test),
                },
            },
        });
        junit::document(&cases.collect::<Vec<_>>(), self.invalid, &[])
    }

    fn tap(&self) -> String {
        let mut text = format!("TAP version 13\n1..{}\n", self.tests.len() + self.invalid.len());
        for (test, number) in self.tests.iter().zip(1..) {
            let not = if test.decisions.is_empty() { "" } else { "not " };
            let _ = writeln!(text, "{not}ok {number} - {}", tap_name(&test.name));
            for decision in &test.decisions {
                let _ = writeln!(text, "# {}", self.describe(test, decision));
            }
        }
        tap_invalid(&mut text, self.tests.len() + 1, self.invalid);
        text
    }

    fn github(&self) -> String {
        let mut text = String::new();
        for test in self.tests.iter().filter(|test| !test.decisions.is_empty()) {
            let (file, title) = (github_property(&test.file), github_property(&test.name));
            let body = github_text(self.list(test).trim_end());
            let _ = writeln!(text, "::error file={file},line={},title={title}::{body}", test.line);
        }
        github_invalid(&mut text, self.invalid);
        text
    }

    /// The decisions of a test that differ, one a line.
    fn list(&self, test: &ComparedTest) -> String {
        test.decisions.iter().map(|decision| self.describe(test, decision) + "\n").collect()
    }

    /// `v3 at 0 us: refused (class_share) under p.toml, admitted under r.toml`.
    fn describe(
        &self,
        test: &ComparedTest,
        ComparedDecision { difference, .. }: &ComparedDecision,
    ) -> String {
        let [before, after] = difference.verdicts();
        let (id, at) = (difference.own.id().unwrap_or_default(), difference.own.at.as_micros());
        format!("{id} at {at} us: {before} under {}, {after} under {}", test.policy, self.other)
    }
}

fn summary(count: usize, other: &str) -> String {
    let noun = if count == 1 { "decision differs" } else { "decisions differ" };
    format!("{count} {noun} under {other}")
}

/// The JSON report. The order of the fields is part of the output.
#[derive(Serialize)]
struct JsonComparison<'a> {
    against: &'a str,
    tests: Vec<JsonComparedTest<'a>>,
    invalid: Vec<JsonInvalid<'a>>,
    differ: usize,
}

#[derive(Serialize)]
struct JsonComparedTest<'a> {
    file: &'a str,
    line: usize,
    name: &'a str,
    policy: &'a str,
    differences: Vec<JsonDifference>,
}

#[derive(Serialize)]
struct JsonDifference {
    flow: Option<String>,
    at_us: Moment,
    requested: String,
    rule: Option<usize>,
    templates: Vec<String>,
    own: JsonDecision,
    other: JsonDecision,
}

#[derive(Serialize)]
struct JsonDecision {
    verdict: String,
    message: String,
}

impl JsonDecision {
    fn new(verdict: String, decision: &Decision) -> Self {
        Self { verdict, message: decision.message() }
    }
}
