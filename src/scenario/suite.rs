//! A test file: `*.qostest.toml`, read with the place of everything in it.

use flowspec::{Both, Bytes, Direction, Flowspec, Micros, Rate, Share};
use toml::de::DeTable;

use super::steps::{sections, step, texts};
use crate::policy::reader::{Problems, Section, Source};
use crate::policy::{Code, Owner, Place, Problem, Protocol};

/// A test file.
#[derive(Clone, Debug)]
pub struct Suite {
    /// The policy, relative to the file.
    pub policy: Option<String>,
    /// Its tests, in order.
    pub tests: Vec<Test>,
}

/// A test: what happens, and what is to come of it.
#[derive(Clone, Debug)]
pub struct Test {
    /// Its name; no other test of the file has it.
    pub name: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its own policy, relative to the file.
    pub policy: Option<String>,
    /// Where it stands.
    pub place: Place,
    pub(super) steps: Vec<Step>,
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) at: Time,
    pub(super) action: Action,
    pub(super) expect: Option<Expect>,
    pub(super) place: Place,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Time {
    At(Micros),
    After(Micros),
}

#[derive(Clone, Debug)]
pub(super) enum Action {
    /// Flows that ask for a reservation, one after the other.
    Connect(Box<Connect>),
    Renegotiate {
        id: Names,
        template: Option<String>,
        asked: Box<Both<Option<Flowspec>>>,
    },
    Refresh {
        id: Names,
        time_to_live: Micros,
    },
    Close(Names),
    Capacity {
        interface: String,
        direction: Direction,
        capacity: Rate,
    },
    /// What the flows of a class were measured to send.
    Measure {
        interface: String,
        class: String,
        window: Micros,
        rate: Both<Rate>,
    },
    /// Another policy, relative to the file.
    Reload(String),
    /// A client vanishes with all its flows.
    Crash(String),
    Wait,
    /// Measured on the private network only.
    Transfer(Transfer),
}

/// What is sent for real.
#[derive(Clone, Debug)]
pub(super) struct Transfer {
    pub(super) id: String,
    /// How long it is measured; until so much has been sent, if less.
    pub(super) duration: Micros,
    pub(super) bytes: Option<Bytes>,
}

/// A name, or several: `v{n}` for 1 and so on.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) pattern: String,
    pub(super) repeat: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Connect {
    pub(super) id: Names,
    pub(super) interface: String,
    pub(super) class: Option<String>,
    pub(super) group: Option<String>,
    pub(super) client: Option<String>,
    pub(super) owner: Owner,
    pub(super) templates: Vec<String>,
    pub(super) sending: Option<Flowspec>,
    pub(super) receiving: Option<Flowspec>,
    /// From now.
    pub(super) start: Option<Micros>,
    pub(super) duration: Option<Micros>,
    pub(super) time_to_live: Option<Micros>,
    pub(super) wait: bool,
    pub(super) setup_priority: Option<u8>,
    pub(super) holding_priority: Option<u8>,
    /// What a rule is asked about, where the caller names nothing.
    pub(super) protocol: Option<Protocol>,
    pub(super) local_port: Option<u16>,
    pub(super) peer: Option<String>,
}

/// What is to come of a step; what is absent is not looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Expect {
    pub(super) admitted: Option<bool>,
    pub(super) error: Option<String>,
    pub(super) status: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
    pub(super) rendition: Option<String>,
    pub(super) interface: Option<String>,
    pub(super) reserved: Option<Both<Option<Rate>>>,
    pub(super) available: Option<Both<Option<Rate>>>,
    pub(super) charged: Option<Both<Option<Rate>>>,
    pub(super) would_fit: Option<Rate>,
    pub(super) preempted: Option<Vec<String>>,
    pub(super) shed: Option<Vec<String>>,
    pub(super) expired: Option<Vec<String>>,
    pub(super) notified: Option<Vec<String>>,
    pub(super) waiting: Option<bool>,
    pub(super) flows: Option<u64>,
    /// Of a transfer, IP headers included, with what it may differ by.
    pub(super) rate: Option<(Rate, Share)>,
    pub(super) place: Place,
}

impl Suite {
    /// Reads a test file.
    ///
    /// - **Errors**: every problem, in the order of their places.
    pub fn parse(source: &Source<'_>) -> Result<Self, Vec<Problem>> {
        let problems = Problems::default();
        let whole = Place::default();
        let (table, errors) = DeTable::parse_recoverable(source.text);
        for error in &errors {
            let place = Place { span: error.span().unwrap_or(0..0), ..Place::default() };
            problems.note(Code::Syntax, place, error.message());
        }
        let mut suite = Self { policy: None, tests: Vec::new() };
        if errors.is_empty() {
            let top = Section::new(&problems, table.get_ref(), String::new(), whole);
            suite.policy = top.string("policy").map(|policy| policy.value.to_owned());
            for section in sections(&top, "test") {
                if let Some(test) = test(section) {
                    if let Some(first) = suite.tests.iter().find(|first| first.name == test.name) {
                        let message = format!("a second test is called {:?}", test.name);
                        let place = test.place.clone();
                        problems.note_with_label(
                            Code::Duplicate,
                            place,
                            message,
                            first.place.clone(),
                            "the first",
                        );
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

    /// Every policy that the tests name, relative to the file.
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
    let name = section.string("name").map(|name| name.value.to_owned());
    if !section.has("name") {
        section.missing("name");
    }
    let tags = texts(&section, "tags");
    let policy = section.string("policy").map(|policy| policy.value.to_owned());
    let steps: Vec<_> = sections(&section, "step").into_iter().map(step).collect();
    if steps.is_empty() && !section.has("step") {
        section.missing("at least one [[test.step]]");
    }
    let place = section.place.clone();
    section.finish();
    let steps = steps.into_iter().collect::<Option<_>>()?;
    Some(Test { name: name?, tags: tags.unwrap_or_default(), policy, place, steps })
}

impl Test {
    /// The same happenings, whatever comes of them.
    #[must_use]
    pub fn without_expectations(&self) -> Self {
        let mut bare = self.clone();
        for step in &mut bare.steps {
            step.expect = None;
        }
        bare
    }
}

impl Names {
    /// Each name.
    pub(super) fn each(&self) -> impl Iterator<Item = String> + '_ {
        (1..=self.repeat).map(|number| self.pattern.replace("{n}", &number.to_string()))
    }
}
