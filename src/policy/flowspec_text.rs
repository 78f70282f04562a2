//! Flowspecs outside of a policy: in an argument of a command line and in a TOML text. Both take what a template of a
//! policy takes, by the same reader.

use std::borrow::Cow;
use std::fmt;

use flowspec::{Both, Direction, Flowspec, ServiceType, Wsa};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::code::Code;
use super::place::Place;
use super::problem::Problem;
use super::problems::Problems;
use super::read::flowspec::{contradictions, fields};
use super::read::section::Section;

/// One thing that is wrong with the text of a flowspec.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FlowspecProblem {
    /// The key with the path to it; `None` where the problem is that of the whole text.
    pub key: Option<String>,
    /// What is wrong with the value of the key, and how to correct it.
    pub message: String,
    /// The status of a flowspec that contradicts itself; `None` where the text cannot be read.
    pub wsa: Option<Wsa>,
}

impl fmt::Display for FlowspecProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{key}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// Reads a flowspec as a command line has it: `guaranteed, token_rate = 6 Mbit/s, token_bucket_size = 20 ms`.
///
/// The service type, then the keys of a policy's template without quotes, and the flags `no_traffic_control` and
/// `no_qos_signaling` by their names alone.
///
/// - **Errors**: all problems of a text of which a part cannot be read. A flowspec that can be read and contradicts itself is none.
pub fn flowspec_of_argument(text: &str, direction: Direction) -> Result<Flowspec, Vec<FlowspecProblem>> {
    let problems = Problems::default();
    let mut table = DeTable::new();
    let mut at = 0;
    for (number, part) in text.split(',').enumerate() {
        let span = at..at + part.len();
        at = span.end + 1;
        let (name, value) = match part.split_once('=') {
            _ if number == 0 => ("service_type", Some(part.trim())),
            Some((name, value)) => (name.trim(), Some(value.trim())),
            None => (part.trim(), None),
        };
        let place = Place { span: span.clone(), ..Place::default() };
        let value = match value {
            Some(value) => DeValue::String(Cow::Borrowed(value)),
            None if FLAGS.contains(&name) => DeValue::Boolean(true),
            None if KEYS.contains(&name) => {
                problems.note(Code::MissingKey, place, format!("{name} has no value; write {name} = …"));
                continue;
            }
            None => DeValue::Boolean(true),
        };
        if table.contains_key(name) {
            problems.note(Code::Duplicate, place, format!("{name} is given twice"));
            continue;
        }
        table.insert(Spanned::new(span.clone(), Cow::Borrowed(name)), Spanned::new(span, value));
    }
    let mut found = Vec::new();
    let spec = read(Section::top(&problems, &table, "the flowspec", 0), direction, &mut found);
    found.extend(problems.into_inner().into_iter().map(|problem| told(problem, &table, "")));
    if is_readable(&found) { Ok(spec) } else { Err(found) }
}

/// Reads the tables `sending` and `receiving` of a TOML text, or a text that is one flowspec, which is then the sending one.
/// A direction without a table is `None`; other keys are left to the caller.
///
/// - **Errors**: all problems of a text of which a part cannot be read. A flowspec that can be read and contradicts itself is none.
pub fn flowspecs_of_toml(text: &str) -> Result<Both<Option<Flowspec>>, Vec<FlowspecProblem>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if let Some(error) = errors.first() {
        let message = error.message().to_owned();
        return Err(vec![FlowspecProblem { key: None, message, wsa: None }]);
    }
    let table = table.get_ref();
    let problems = Problems::default();
    let top = Section::top(&problems, table, "the flowspec", 0);
    let mut found = Vec::new();
    if top.has("service_type") {
        let sending = Some(read(top, Direction::Sending, &mut found));
        found.extend(problems.into_inner().into_iter().map(|problem| told(problem, table, "")));
        return if is_readable(&found) { Ok(Both { sending, receiving: None }) } else { Err(found) };
    }
    let mut specs = Both::<Option<Flowspec>>::default();
    for direction in Direction::BOTH {
        let Some(section) = top.section(direction.name()) else { continue };
        *specs.get_mut(direction) = Some(read(section, direction, &mut found));
    }
    let tables = Direction::BOTH.map(|direction| (direction.name(), table.get(direction.name())));
    for problem in problems.into_inner() {
        let inside = tables.iter().find_map(|(name, value)| match value.map(Spanned::get_ref) {
            Some(DeValue::Table(inner)) if key_at(inner, &problem.place).is_some() => Some((*name, inner)),
            _ => None,
        });
        let (path, inner) = inside.unwrap_or(("", table));
        found.push(told(problem, inner, path));
    }
    if is_readable(&found) { Ok(specs) } else { Err(found) }
}

/// The keys that have a value.
const KEYS: [&str; 9] = [
    "token_rate",
    "goodput",
    "token_bucket_size",
    "peak_bandwidth",
    "latency",
    "delay_variation",
    "max_sdu_size",
    "minimum_policed_size",
    "reserved_rate",
];

const FLAGS: [&str; 2] = ["no_traffic_control", "no_qos_signaling"];

/// Reads the keys of a flowspec, and adds in what they contradict each other.
fn read(section: Section<'_>, direction: Direction, found: &mut Vec<FlowspecProblem>) -> Flowspec {
    let services = ServiceType::ALL.map(|service| (service.name(), service));
    let read = fields(&section, &services);
    let mut spec = read.spec;
    spec.no_traffic_control = section.flag("no_traffic_control").is_some_and(|flag| flag.value);
    spec.no_qos_signaling = section.flag("no_qos_signaling").is_some_and(|flag| flag.value);
    found.extend(contradictions(&section, &read, direction).into_iter().map(|(error, _)| FlowspecProblem {
        key: Some(section.path_of(error.field().name())),
        message: error.to_string(),
        wsa: Some(error.wsa()),
    }));
    section.finish();
    spec
}

/// The problem of a key by the key's path in place of its place in the text.
fn told(problem: Problem, table: &DeTable<'_>, path: &str) -> FlowspecProblem {
    let mut message = problem.message;
    let key = key_at(table, &problem.place).map(|key| match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    });
    // The key stands before the message already, and the path stands in it.
    let lead = key.as_deref().into_iter().chain([path]).find_map(|lead| message.strip_prefix(lead));
    if let Some(rest) = lead.and_then(|rest| rest.strip_prefix(": ")) {
        message = rest.to_owned();
    }
    if let Some(help) = problem.help {
        message = format!("{message} ({help})");
    }
    FlowspecProblem { key, message, wsa: None }
}

/// The key of the table that is at this place, or whose value is.
fn key_at<'t>(table: &'t DeTable<'_>, place: &Place) -> Option<&'t str> {
    let is_there = |span: std::ops::Range<usize>| span == place.span;
    let found = table.iter().find(|(key, value)| is_there(key.span()) || is_there(value.span()))?;
    Some(found.0.get_ref().as_ref())
}

/// Whether every part of the text could be read.
fn is_readable(found: &[FlowspecProblem]) -> bool {
    found.iter().all(|problem| problem.wsa.is_some())
}
