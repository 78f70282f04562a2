//! From sources to a policy: reads every table, merges the sources and checks names.

use std::collections::BTreeMap;

use flowspec::Qos;
use toml::de::DeTable;

use super::class::class;
use super::client::client;
use super::flowspec::qos;
use super::group::group;
use super::interface::interface;
use super::rule::rule;
use super::section::{Section, nearest};
use super::timeouts::timeouts;
use crate::policy::lint::lint;
use crate::policy::model::{Policy, Template};
use crate::policy::place::{Place, Source};
use crate::policy::problem::{Code, Problem, Severity};
use crate::policy::problems::Problems;

/// The version of the format that this program reads.
const VERSION: u64 = 1;

/// The longest text that is read, in bytes; a longer file is hardly a policy.
const LONGEST_TEXT: usize = 16 << 20;

impl Policy {
    /// Reads and checks one policy in one or more sources.
    ///
    /// The sources merge in the order given. A definition that is in two of them is an error that names both places.
    /// On success the problems are warnings.
    ///
    /// - **Errors**: every problem of every source, in the order of their places.
    pub fn parse(sources: &[Source<'_>]) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let problems = Problems::default();
        let mut policy = Self::default();
        for (number, source) in sources.iter().enumerate() {
            policy.read_source(number, source, &problems);
        }
        policy.check_names(&problems);
        // A policy with errors is incomplete, and warnings about it would be misleading.
        if !problems.has_errors() {
            lint(&policy, &problems);
        }
        policy.count_lines(sources);
        let problems = problems.into_inner();
        if problems.iter().any(|problem| problem.code.severity() == Severity::Error) {
            return Err(problems);
        }
        Ok((policy, problems))
    }

    /// Reads one source into the policy.
    pub(in crate::policy) fn read_source(&mut self, number: usize, source: &Source<'_>, problems: &Problems) {
        let place = |span| Place { source: number, span, ..Place::default() };
        if source.text.len() > LONGEST_TEXT {
            let length = source.text.len();
            let message = format!("the text has {length} bytes; a policy has at most {LONGEST_TEXT}");
            return problems.note(Code::Syntax, place(0..0), message);
        }
        let (table, errors) = DeTable::parse_recoverable(source.text);
        for error in &errors {
            problems.note(Code::Syntax, place(error.span().unwrap_or(0..0)), error.message());
        }
        if errors.is_empty() {
            self.read(Section::top(problems, table.get_ref(), "the policy", number), problems);
        }
    }

    fn read(&mut self, top: Section<'_>, problems: &Problems) {
        version(&top);
        for (name, section) in named(&top, "interface") {
            let place = section.place.clone();
            let interface = interface(section);
            if name == "*" {
                if let Some(first) = self.any_interface.replace(interface) {
                    duplicate(problems, "interface.\"*\"", place, first.place);
                }
            } else {
                define(problems, "interface", &mut self.interfaces, (name, interface), |i| &i.place);
            }
        }
        for (name, section) in named(&top, "template") {
            let template = template(section);
            define(problems, "template", &mut self.templates, (name, template), |t| &t.place);
        }
        for (name, section) in named(&top, "class") {
            define(problems, "class", &mut self.classes, (name, class(section)), |c| &c.place);
        }
        for (name, section) in named(&top, "group") {
            if let Some(group) = group(section) {
                define(problems, "group", &mut self.groups, (name, group), |g| &g.place);
            }
        }
        for (name, section) in named(&top, "client") {
            let client = client(section, name);
            let place = client.place.clone();
            match self.clients.iter().find(|known| known.pattern == client.pattern) {
                Some(first) => {
                    duplicate(problems, &format!("client.{:?}", client.pattern), place, first.place.clone());
                }
                None => self.clients.push(client),
            }
        }
        // Patterns are tried in the order of the files, which a TOML table may not keep.
        self.clients.sort_by_key(|client| (client.place.source, client.place.span.start));
        if let Some(preemption) = top.flag("preemption") {
            self.preemption = preemption.value;
        }
        self.timeouts = self.timeouts.with(timeouts(&top));
        self.rules.extend(top.sections("rule").into_iter().filter_map(rule));
        top.finish();
    }

    /// Notes the line of every definition, and the names of the sources.
    fn count_lines(&mut self, sources: &[Source<'_>]) {
        self.sources = sources
            .iter()
            .map(|source| source.name.rsplit('/').next().unwrap_or(source.name).to_owned())
            .collect();
        for place in self.places_mut() {
            let before = sources.get(place.source).and_then(|source| source.text.get(..place.span.start));
            place.line = before.map_or(0, |before| before.bytes().filter(|&byte| byte == b'\n').count() + 1);
        }
    }

    /// Notes every name that a rule or a group uses and that is not defined.
    fn check_names(&self, problems: &Problems) {
        let classes: Vec<_> = self.classes.keys().map(String::as_str).collect();
        let templates: Vec<_> = self.templates.keys().map(String::as_str).collect();
        let interfaces: Vec<_> = self.interfaces.keys().map(String::as_str).collect();
        let unknown = |user: &str, place: &Place, kind: &str, name: &str, names: &[&str]| {
            let help = match nearest(name, names.iter().copied()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("define [{kind}.{name:?}]"),
            };
            let message = format!("{user} names {kind} {name:?}, which is not defined");
            problems.add(Problem::new(Code::UnknownName, place.clone(), message).with_help(Some(help)));
        };
        for rule in &self.rules {
            if let Some(class) = &rule.class
                && !self.classes.contains_key(class)
            {
                unknown("the rule", &rule.place, "class", class, &classes);
            }
            if !self.templates.contains_key(&rule.template) {
                unknown("the rule", &rule.place, "template", &rule.template, &templates);
            }
        }
        for (name, group) in &self.groups {
            let user = format!("group.{name}");
            if let Some(class) = &group.class
                && !self.classes.contains_key(class)
            {
                unknown(&user, &group.place, "class", class, &classes);
            }
            if self.interface(&group.interface).is_none() {
                unknown(&user, &group.place, "interface", &group.interface, &interfaces);
            }
        }
    }
}

fn version(top: &Section<'_>) {
    match top.integer("version", 0..=u64::MAX) {
        Some(version) if version.value != VERSION => {
            let message =
                format!("version {} of the format is not known; this program reads {VERSION}", version.value);
            top.problem(Code::Version, &version.place, message);
        }
        None if !top.has("version") => top.missing("version = 1"),
        _ => {}
    }
}

/// The tables below a table whose keys are names, such as `[class.*]`. A section's place is its name.
fn named<'a>(top: &Section<'a>, key: &'static str) -> Vec<(String, Section<'a>)> {
    let Some(tables) = top.section(key) else { return Vec::new() };
    let tables = tables.entries().map(|(name, value)| {
        let text = name.get_ref().to_string();
        let mut section = tables.subsection(&text, value)?;
        section.place = tables.at(name.span());
        Some((text, section))
    });
    tables.flatten().collect()
}

/// Adds a definition, or notes that it is a second one.
fn define<T>(
    problems: &Problems,
    kind: &str,
    map: &mut BTreeMap<String, T>,
    (name, value): (String, T),
    place: impl Fn(&T) -> &Place,
) {
    if let Some(first) = map.get(&name) {
        duplicate(problems, &format!("{kind}.{name}"), place(&value).clone(), place(first).clone());
    } else {
        map.insert(name, value);
    }
}

fn duplicate(problems: &Problems, what: &str, place: Place, first: Place) {
    let problem = Problem::new(Code::Duplicate, place, format!("{what} is defined a second time"));
    problems.add(problem.with_label(first, "first defined here"));
}

/// A template whose flowspecs cannot be read is defined as best effort, so that its users are not reported as well.
fn template(section: Section<'_>) -> Template {
    if !section.has("sending") && !section.has("receiving") {
        section.missing("sending or receiving");
    }
    let qos = qos(&section).unwrap_or(Qos::BEST_EFFORT);
    let place = section.place.clone();
    section.finish();
    Template { qos, place }
}
