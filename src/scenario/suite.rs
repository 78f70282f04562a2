//! Test files: `*.qostest.toml`.

use toml::de::DeTable;

use super::step::{Action, Step};
use super::steps::{step, texts};
use crate::policy::problems::Problems;
use crate::policy::read::section::Section;
use crate::policy::{Code, Place, Problem, Source};

/// A test file.
#[derive(Clone, Debug)]
pub struct Suite {
    /// The path of the policy, relative to the file.
    pub policy: Option<String>,
    /// The tests, in order.
    pub tests: Vec<Test>,
}

/// A test: events, and what is expected of them.
#[derive(Clone, Debug)]
pub struct Test {
    /// The name, unique in the file.
    pub name: String,
    /// Tags, for the choice of tests.
    pub tags: Vec<String>,
    /// The path of the test's own policy, relative to the file.
    pub policy: Option<String>,
    /// Where the test is defined.
    pub place: Place,
    pub(super) steps: Vec<Step>,
}

impl Suite {
    /// Reads a test file.
    ///
    /// - **Errors**: every problem, in the order of their places.
    pub fn parse(source: &Source<'_>) -> Result<Self, Vec<Problem>> {
        let problems = Problems::default();
        let (table, errors) = DeTable::parse_recoverable(source.text);
        for error in &errors {
            let place = Place { span: error.span().unwrap_or(0..0), ..Place::default() };
            problems.note(Code::Syntax, place, error.message());
        }
        let mut suite = Self { policy: None, tests: Vec::new() };
        if errors.is_empty() {
            let top = Section::top(&problems, table.get_ref(), "the test file", 0);
            suite.policy = top.text("policy");
            for section in top.sections("test") {
                if let Some(test) = test(section) {
                    if let Some(first) = suite.tests.iter().find(|first| first.name == test.name) {
                        let message = format!("another test is called {:?} already", test.name);
                        let place = test.place.clone();
                        let problem = Problem::new(Code::Duplicate, place, message);
                        problems.add(problem.with_label(first.place.clone(), "first defined here"));
                    }
                    suite.tests.push(test);
                }
            }
            for test in &suite.tests {
                if suite.policy.is_none() && test.policy.is_none() {
                    let message = format!("neither the file nor the test {:?} names a policy", test.name);
                    problems.note(Code::MissingKey, test.place.clone(), message);
                }
            }
            top.finish();
        }
        let problems = problems.into_inner();
        if problems.is_empty() { Ok(suite) } else { Err(problems) }
    }

    /// The paths of all policies that the tests use or reload, relative to the file.
    pub fn policies(&self) -> Vec<&str> {
        let named = self.tests.iter().flat_map(|test| {
            let reloaded = test.steps.iter().filter_map(|step| match &step.action {
                Action::Reload(path) => Some(path.as_str()),
                _ => None,
            });
            test.policy.as_deref().into_iter().chain(reloaded)
        });
        let mut paths: Vec<_> = self.policy.as_deref().into_iter().chain(named).collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }
}

fn test(section: Section<'_>) -> Option<Test> {
    let name = section.text("name");
    if !section.has("name") {
        section.missing("name");
    }
    let tags = texts(&section, "tags");
    let policy = section.text("policy");
    let steps: Vec<_> = section.sections("step").into_iter().map(step).collect();
    if steps.is_empty() && !section.has("step") {
        section.missing("at least one [[test.step]]");
    }
    let place = section.place.clone();
    section.finish();
    let steps = steps.into_iter().collect::<Option<_>>()?;
    Some(Test { name: name?, tags: tags.unwrap_or_default(), policy, place, steps })
}

impl Test {
    /// The same events without expectations.
    #[must_use]
    pub fn without_expectations(&self) -> Self {
        let mut bare = self.clone();
        for step in &mut bare.steps {
            step.expect = None;
        }
        bare
    }
}
