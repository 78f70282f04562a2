//! Test files: `*.qostest.toml`.

use std::collections::BTreeMap;

use flowspec::Micros;
use toml::de::DeTable;

use super::step::{Action, Step, Time};
use super::steps::step;
use crate::policy::problems::Problems;
use crate::policy::read::section::{Placed, Section};
use crate::policy::{Code, Place, Problem, Source};

/// A test file.
#[derive(Clone, Debug, Default)]
pub struct Suite {
    /// The path of the policy, relative to the file.
    pub policy: Option<String>,
    /// In the order of the file, in which they run.
    pub tests: Vec<Test>,
    /// Where policies are named, in the order of the file.
    places: Vec<(String, Place)>,
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
    /// Whether every step could be read.
    pub(super) is_complete: bool,
}

impl Suite {
    /// Reads a test file.
    ///
    /// - **Errors**: every problem, in the order of their places.
    pub fn parse(source: &Source<'_>) -> Result<Self, Vec<Problem>> {
        let (suite, problems) = Self::read_all(source);
        if problems.is_empty() { Ok(suite) } else { Err(problems) }
    }

    /// What can be read of a test file, and every problem, in the order of their places. [`check`](Self::check) finds
    /// further ones in what was read.
    pub fn read_all(source: &Source<'_>) -> (Self, Vec<Problem>) {
        let problems = Problems::default();
        let (table, errors) = DeTable::parse_recoverable(source.text);
        for error in &errors {
            let place = Place { span: error.span().unwrap_or(0..0), ..Place::default() };
            problems.note(Code::Syntax, place, error.message());
        }
        let suite = if errors.is_empty() { Self::read(table.get_ref(), &problems) } else { Self::default() };
        (suite, problems.into_inner())
    }

    /// Reads the table of a whole file.
    pub(super) fn read(table: &DeTable<'_>, problems: &Problems) -> Self {
        let mut suite = Self::default();
        let top = Section::top(problems, table, "the test file", 0);
        let policy = top.string("policy");
        suite.policy = policy.as_ref().map(|policy| policy.value.to_owned());
        suite.places.extend(policy.map(|policy| (policy.value.to_owned(), policy.place)));
        for section in top.sections("test") {
            suite.tests.push(test(section, &mut suite.places));
        }
        suite.check_tests(top.has("policy"), problems);
        top.finish();
        suite
    }

    /// Notes tests that have the name of another one, and tests without a policy.
    fn check_tests(&self, has_policy: bool, problems: &Problems) {
        let mut names = BTreeMap::new();
        for test in &self.tests {
            if test.policy.is_none() && !has_policy {
                let message = format!("neither the file nor the test {:?} names a policy", test.name);
                problems.note(Code::MissingKey, test.place.clone(), message);
            }
            // A test without a name has a problem already.
            if test.name.is_empty() {
                continue;
            }
            if let Some(first) = names.insert(test.name.as_str(), &test.place) {
                let message = format!("another test is called {:?} already", test.name);
                let problem = Problem::new(Code::Duplicate, test.place.clone(), message);
                problems.add(problem.with_label(first.clone(), "first defined here"));
            }
        }
    }

    /// The first place that names a policy, if one does.
    pub fn policy_place(&self, policy: &str) -> Option<&Place> {
        self.places.iter().find(|(name, _)| name == policy).map(|(_, place)| place)
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

/// A test. A step that cannot be read has a problem of its own and is left out.
fn test(section: Section<'_>, policies: &mut Vec<(String, Place)>) -> Test {
    let name = section.text("name");
    if name.as_ref().is_none_or(String::is_empty) {
        section.missing("name");
    }
    if let Some(control) = name.iter().flat_map(|name| name.chars()).find(|character| character.is_control())
    {
        let place = section.place_of("name").unwrap_or_else(|| section.place.clone());
        let message = format!("test.name: {control:?} is not allowed: a name is a part of a line");
        section.problem(Code::BadValue, &place, message);
    }
    let tags = section.strings("tags").unwrap_or_default();
    let policy = section.string("policy");
    policies.extend(policy.as_ref().map(|policy| (policy.value.to_owned(), policy.place.clone())));
    let steps = section.sections("step");
    if steps.is_empty() {
        section.missing("at least one [[test.step]]");
    }
    let count = steps.len();
    let steps: Vec<_> = steps.into_iter().filter_map(step).collect();
    // A step that could not be read may have an expectation.
    if count > 0 && steps.len() == count && steps.iter().all(|step| step.expect.is_none()) {
        section.missing("a step with expect: it would pass whatever the policy decides");
    }
    check_times(&steps, &section);
    for step in &steps {
        if let (Action::Reload(policy), Some(place)) = (&step.action, &step.reload) {
            policies.push((policy.clone(), place.clone()));
        }
    }
    let place = section.place.clone();
    section.finish();
    Test {
        name: name.unwrap_or_default(),
        tags: tags.into_iter().map(|tag| tag.value.to_owned()).collect(),
        policy: policy.map(|policy| policy.value.to_owned()),
        place,
        is_complete: steps.len() == count,
        steps,
    }
}

/// Notes steps whose `at` is before the step before, and states of peers that began before the test: time begins with it.
fn check_times(steps: &[Step], section: &Section<'_>) {
    let mut now = Micros::new(0);
    for step in steps {
        if let Some(Placed { value: at, place }) = step.at.as_ref().filter(|at| at.value < now) {
            let message = format!("at goes back: the step before is at {now}, and this one at {at}");
            let problem = Problem::new(Code::BadValue, place.clone(), message);
            section.add(problem.with_help(Some("put the steps in the order of their times".to_owned())));
        }
        // A step that waits ends later than it begins.
        now = match step.time {
            Time::At(at) => now.max(at),
            Time::After(after) => Micros::new(now.get().saturating_add(after.get())),
        };
        if let Action::Peer { lasting: Some(Placed { value: lasting, place }), .. } = &step.action
            && *lasting > now
        {
            let message = format!(
                "for goes back before the test: the step is at {now}, and its state has lasted for {lasting}"
            );
            let problem = Problem::new(Code::BadValue, place.clone(), message);
            let help = format!("let time pass before the step, so that it is at {lasting} or later");
            section.add(problem.with_help(Some(help)));
        }
    }
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
