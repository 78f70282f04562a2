//! From text to policy: each table of the file, what its keys mean, and what may not be said.

use std::collections::BTreeMap;

use flowspec::{Micros, Qos, Rate};
use toml::de::DeTable;

use super::class::class;
use super::flowspec::qos;
use super::interface::interface;
use super::rule::rules;
use super::section::{Section, nearest};
use crate::policy::client::Client;
use crate::policy::lint::lint;
use crate::policy::model::{Group, GroupMode, Policy, Template};
use crate::policy::place::{Place, Source};
use crate::policy::problem::{Code, Problem, Severity};
use crate::policy::problems::Problems;

/// The version of the format that this program reads.
const VERSION: u64 = 1;

/// The largest policy text; beyond it a file is not a policy.
const LARGEST_TEXT: usize = 16 << 20;

impl Policy {
    /// Reads and checks one policy, in one or more sources.
    ///
    /// The sources merge in the order given; a definition that stands in two of them is an error
    /// that names both places. Warnings come with a policy, errors without.
    ///
    /// - **Errors**: every problem of every source, in the order of their places.
    pub fn parse(sources: &[Source<'_>]) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let problems = Problems::default();
        let mut policy = Self::default();
        for (number, source) in sources.iter().enumerate() {
            policy.read_source(number, source, &problems);
        }
        policy.check_names(&problems);
        // What is wrong is mended first; much of what a lint would say of it then is not so.
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
        let whole = Place { source: number, ..Place::default() };
        if source.text.len() > LARGEST_TEXT {
            let message = format!("{} bytes are not a policy: at most {LARGEST_TEXT}", source.text.len());
            return problems.note(Code::Syntax, whole, message);
        }
        let (table, errors) = DeTable::parse_recoverable(source.text);
        for error in &errors {
            let span = error.span().unwrap_or(0..0);
            problems.note(Code::Syntax, Place { source: number, span, ..Place::default() }, error.message());
        }
        if errors.is_empty() {
            self.read(Section::new(problems, table.get_ref(), String::new(), whole), problems);
        }
    }

    fn read(&mut self, top: Section<'_>, problems: &Problems) {
        match top.integer("version", 0..=u64::MAX) {
            Some(version) if version.value != VERSION => {
                let message = format!(
                    "version {} of the format is not known; this program reads {VERSION}",
                    version.value
                );
                top.problem(Code::Version, &version.place, message);
            }
            None if !top.has("version") => top.missing("version = 1"),
            _ => {}
        }
        for (name, section) in named(&top, "interface") {
            let place = section.place.clone();
            let Some(interface) = interface(section) else { continue };
            if name == "*" {
                if let Some(first) = self.any_interface.replace(interface) {
                    duplicate(problems, "interface.\"*\"", place, first.place);
                }
            } else {
                define(problems, "interface", &mut self.interfaces, name, interface, |i| &i.place);
            }
        }
        for (name, section) in named(&top, "template") {
            if let Some(template) = template(section) {
                define(problems, "template", &mut self.templates, name, template, |t| &t.place);
            }
        }
        for (name, section) in named(&top, "class") {
            if let Some(class) = class(section) {
                define(problems, "class", &mut self.classes, name, class, |c| &c.place);
            }
        }
        for (name, section) in named(&top, "group") {
            if let Some(group) = group(section) {
                define(problems, "group", &mut self.groups, name, group, |g| &g.place);
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
        // Patterns are tried as they stand in the files, which a table of TOML does not keep.
        self.clients.sort_by_key(|client| (client.place.source, client.place.span.start));
        if let Some(preemption) = top.flag("preemption") {
            self.preemption = preemption.value;
        }
        if let Some(value) = top.raw("rule") {
            self.rules.extend(rules(&top, value));
        }
        top.finish();
    }

    /// Says of everything in which line it stands.
    fn count_lines(&mut self, sources: &[Source<'_>]) {
        self.sources = sources
            .iter()
            .map(|source| source.name.rsplit('/').next().unwrap_or(source.name).to_owned())
            .collect();
        let places = (self.interfaces.values_mut().chain(&mut self.any_interface))
            .map(|interface| &mut interface.place)
            .chain(self.templates.values_mut().map(|template| &mut template.place))
            .chain(self.classes.values_mut().map(|class| &mut class.place))
            .chain(self.groups.values_mut().map(|group| &mut group.place))
            .chain(self.clients.iter_mut().map(|client| &mut client.place))
            .chain(self.rules.iter_mut().map(|rule| &mut rule.place));
        for place in places {
            let before = sources.get(place.source).and_then(|source| source.text.get(..place.span.start));
            place.line = before.map_or(0, |before| before.bytes().filter(|&byte| byte == b'\n').count() + 1);
        }
    }

    fn check_names(&self, problems: &Problems) {
        let classes: Vec<_> = self.classes.keys().map(String::as_str).collect();
        let templates: Vec<_> = self.templates.keys().map(String::as_str).collect();
        let unknown = |who: &str, place: &Place, kind: &str, name: &str, names: &[&str]| {
            let help = match nearest(name, names.iter().copied()) {
                Some(near) => Some(format!("did you mean {near:?}?")),
                None => Some(format!("define [{kind}.{name:?}]")),
            };
            let message = format!("{who} names {kind} {name:?}, which is not defined");
            problems.note_with_help(Code::UnknownName, place.clone(), message, help);
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
        let interfaces: Vec<_> = self.interfaces.keys().map(String::as_str).collect();
        for (name, group) in &self.groups {
            let who = format!("group.{name}");
            if let Some(class) = &group.class
                && !self.classes.contains_key(class)
            {
                unknown(&who, &group.place, "class", class, &classes);
            }
            if self.interface(&group.interface).is_none() {
                unknown(&who, &group.place, "interface", &group.interface, &interfaces);
            }
        }
    }
}

/// The tables under a key whose own keys are names.
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

fn define<T>(
    problems: &Problems,
    kind: &str,
    map: &mut BTreeMap<String, T>,
    name: String,
    value: T,
    place: impl Fn(&T) -> &Place,
) {
    if let Some(first) = map.get(&name) {
        duplicate(problems, &format!("{kind}.{name}"), place(&value).clone(), place(first).clone());
    } else {
        map.insert(name, value);
    }
}

fn duplicate(problems: &Problems, what: &str, place: Place, first: Place) {
    let message = format!("{what} is defined a second time");
    problems.note_with_label(Code::Duplicate, place, message, first, "first defined here");
}

fn template(section: Section<'_>) -> Option<Template> {
    if !section.has("sending") && !section.has("receiving") {
        section.missing("sending or receiving");
    }
    let qos = qos(&section);
    let place = section.place.clone();
    section.finish();
    // What could not be read has its problem; the name is defined all the same, so that nothing follows.
    Some(Template { qos: qos.unwrap_or(Qos::BEST_EFFORT), place })
}

fn group(section: Section<'_>) -> Option<Group> {
    let interface = section.string("interface").map(|name| name.value.to_owned());
    if !section.has("interface") {
        section.missing("interface");
    }
    let class = section.string("class").map(|name| name.value.to_owned());
    let modes = [("envelope", GroupMode::Envelope), ("shared", GroupMode::Shared)];
    let mode = section.choice("mode", &modes);
    let mode_value = mode.as_ref().map_or(GroupMode::Envelope, |mode| mode.value);
    if mode_value == GroupMode::Envelope && !section.has("sending") && !section.has("receiving") {
        section.missing("sending or receiving, which its members share");
    }
    let qos = qos(&section);
    let place = section.place.clone();
    section.finish();
    Some(Group { interface: interface?, class, mode: mode_value, qos: qos?, place })
}

fn client(section: Section<'_>, pattern: String) -> Client {
    let max_flows = section.integer("max_flows", 0..=u64::MAX);
    let max_rate = section.quantity::<Rate>("max_rate");
    let requests_per_second = section.integer("requests_per_second", 1..=1_000_000);
    let horizon = section.quantity::<Micros>("horizon");
    let best_setup_priority = section.integer("best_setup_priority", 0..=7);
    let place = section.place.clone();
    section.finish();
    Client {
        pattern,
        max_flows: max_flows.map(|flows| flows.value),
        max_rate: max_rate.map(|rate| rate.value),
        requests_per_second: requests_per_second.map(|rate| rate.value),
        horizon: horizon.map(|horizon| horizon.value),
        best_setup_priority: best_setup_priority.and_then(|best| u8::try_from(best.value).ok()),
        place,
    }
}
