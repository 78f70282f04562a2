//! From sources to a policy: reads every table, merges the sources and checks names.

use std::collections::BTreeMap;

use flowspec::Qos;
use toml::de::{DeTable, DeValue};

use super::class::class;
use super::client::client;
use super::daemon::daemon;
use super::flowspec::qos;
use super::group::group;
use super::interface::interface;
use super::proxy::proxy;
use super::reference::Reference;
use super::rule::rule;
use super::section::Section;
use super::timeouts::timeouts;
use crate::ordered::OrderedSet;
use crate::policy::addresses::addresses;
use crate::policy::code::{Code, Severity};
use crate::policy::device::device_name_fault;
use crate::policy::lint::lint;
use crate::policy::model::{Policy, Template};
use crate::policy::place::{Place, Source};
use crate::policy::problem::Problem;
use crate::policy::problems::Problems;
use crate::policy::reach::reach;

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
        Self::parse_beside(sources, Vec::new())
    }

    /// Every problem of sources that have these already: of those that could not be read.
    pub(crate) fn problems_beside(sources: &[Source<'_>], unreadable: Vec<Problem>) -> Vec<Problem> {
        Self::parse_beside(sources, unreadable).map_or_else(|problems| problems, |(_, problems)| problems)
    }

    fn parse_beside(
        sources: &[Source<'_>],
        unreadable: Vec<Problem>,
    ) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let missing: OrderedSet<_> = unreadable.iter().map(|problem| problem.place.source).collect();
        let problems = Problems::default();
        unreadable.into_iter().for_each(|problem| problems.add(problem));
        let mut policy = Self::default();
        let mut references = Vec::new();
        for (number, source) in sources.iter().enumerate().filter(|(number, _)| !missing.contains(number)) {
            references.extend(policy.read_source(number, source, &problems));
        }
        // What a source defines that cannot be read or parsed is not known.
        if missing.is_empty() && !problems.has_syntax_error() {
            let undefined = references.iter().filter_map(|reference| reference.problem(&policy));
            undefined.for_each(|problem| problems.add(problem));
            addresses(&policy, &problems);
        }
        // A policy with errors is incomplete, and warnings about it would be misleading.
        if !problems.has_errors() {
            lint(&policy, &problems);
            reach(&policy, &problems);
        }
        policy.count_lines(sources);
        let problems = problems.into_inner();
        if problems.iter().any(|problem| problem.code.severity() == Severity::Error) {
            return Err(problems);
        }
        Ok((policy, problems))
    }

    /// Reads one source into the policy, and gives the names that it uses.
    pub(in crate::policy) fn read_source(
        &mut self,
        number: usize,
        source: &Source<'_>,
        problems: &Problems,
    ) -> Vec<Reference> {
        let place = |span| Place { source: number, span, ..Place::default() };
        if source.text.len() > LONGEST_TEXT {
            let length = source.text.len();
            let message = format!("the text has {length} bytes; a policy has at most {LONGEST_TEXT}");
            problems.note(Code::Syntax, place(0..0), message);
            return Vec::new();
        }
        let (table, errors) = DeTable::parse_recoverable(source.text);
        for error in &errors {
            problems.note(Code::Syntax, place(error.span().unwrap_or(0..0)), error.message());
        }
        if !errors.is_empty() {
            return Vec::new();
        }
        self.read(Section::top(problems, table.get_ref(), "the policy", number), problems)
    }

    fn read(&mut self, top: Section<'_>, problems: &Problems) -> Vec<Reference> {
        let mut references = Vec::new();
        version(&top);
        for (name, section) in named(&top, &INTERFACES) {
            let place = section.place.clone();
            let interface = interface(section, &name, &mut references);
            if name != "*"
                && let Some(fault) = device_name_fault(&name)
            {
                problems.note(Code::BadName, place.clone(), fault);
            }
            if name == "*" {
                if let Some(first) = self.any_interface.replace(interface) {
                    duplicate(problems, "interface.\"*\"", place, first.place);
                }
            } else {
                define(problems, &mut self.interfaces, Definition::of("interface", name, interface), |i| {
                    &i.place
                });
            }
        }
        for (name, section) in named(&top, &TEMPLATES) {
            let template = template(section);
            define(problems, &mut self.templates, Definition::of("template", name, template), |t| &t.place);
        }
        for (name, section) in named(&top, &CLASSES) {
            define(problems, &mut self.classes, Definition::of("class", name, class(section)), |c| &c.place);
        }
        for (name, section) in named(&top, &GROUPS) {
            let group = group(section, &mut references);
            define(problems, &mut self.groups, Definition::of("group", name, group), |g| &g.place);
        }
        for (name, section) in named(&top, &CLIENTS) {
            let client = client(section, name);
            let place = client.place.clone();
            match self.clients.iter().find(|known| known.pattern == client.pattern) {
                Some(first) => {
                    duplicate(problems, &format!("client.{:?}", client.pattern), place, first.place.clone());
                }
                None => self.clients.push(client),
            }
        }
        for (name, section) in named(&top, &PROXIES) {
            if let Some(proxy) = proxy(section, &mut references) {
                define(problems, &mut self.proxies, Definition::of("proxy", name, proxy), |p| &p.place);
            }
        }
        // Patterns are tried in the order of the files, which a TOML table may not keep.
        self.clients.sort_by_key(|client| (client.place.source, client.place.span.start));
        if let Some(section) = top.section("daemon") {
            let daemon = daemon(section);
            let place = daemon.place.clone();
            if let Some(first) = self.daemon.replace(daemon) {
                duplicate(problems, "daemon", place, first.place);
            }
        }
        if let Some(preemption) = top.flag("preemption") {
            self.preemption = preemption.value;
        }
        self.timeouts = self.timeouts.with(timeouts(&top));
        self.rules.extend(top.sections("rule").into_iter().map(|section| rule(section, &mut references)));
        top.finish();
        references
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

/// A table whose keys are names, with keys of each of the tables below it: those without which none is complete, or where
/// there are no such keys, the usual ones.
struct NamedTables {
    key: &'static str,
    marks: &'static [&'static str],
}

/// The most dots of a name that are looked for.
const MOST_PARTS: usize = 8;

const INTERFACES: NamedTables = NamedTables { key: "interface", marks: &["egress", "ingress"] };
const TEMPLATES: NamedTables = NamedTables { key: "template", marks: &["sending", "receiving"] };
const CLASSES: NamedTables = NamedTables {
    key: "class",
    marks: &[
        "share",
        "max_flows",
        "max_rate",
        "setup_priority",
        "holding_priority",
        "dscp",
        "match",
        "admission",
    ],
};
const GROUPS: NamedTables =
    NamedTables { key: "group", marks: &["interface", "class", "mode", "sending", "receiving"] };
const CLIENTS: NamedTables = NamedTables {
    key: "client",
    marks: &["max_flows", "max_rate", "requests_per_second", "horizon", "best_setup_priority"],
};

const PROXIES: NamedTables = NamedTables { key: "proxy", marks: &["listen", "to"] };

/// The tables below a table whose keys are names, such as `[class.*]`. A section's place is its name.
fn named<'a>(top: &Section<'a>, tables: &NamedTables) -> Vec<(String, Section<'a>)> {
    let mut found = Vec::new();
    let Some(names) = top.section(tables.key) else { return found };
    for (name, value) in names.entries() {
        let text = name.get_ref().to_string();
        if let Some(mut section) = names.subsection(&text, value) {
            section.place = names.at(name.span());
            tables.join_split_names(text, section, &mut found);
        }
    }
    found
}

impl NamedTables {
    /// Adds a table, and the tables inside it that are meant to be named by the whole path: without quotes,
    /// `[interface.ens192.190]` is a table `190` inside of `interface.ens192`.
    fn join_split_names<'a>(
        &self,
        name: String,
        section: Section<'a>,
        found: &mut Vec<(String, Section<'a>)>,
    ) {
        let (mut entries, mut split) = (0, 0);
        for (key, value) in section.entries() {
            entries += 1;
            let DeValue::Table(table) = value.get_ref() else { continue };
            if !self.is_whole(table, MOST_PARTS) || name.matches('.').count() >= MOST_PARTS {
                continue;
            }
            split += 1;
            section.pass_over(key.get_ref());
            let joined = format!("{name}.{}", key.get_ref());
            let Some(mut inner) = section.subsection(key.get_ref(), value) else { continue };
            inner.place = section.at(key.span());
            let below = inner.entries().any(|(_, value)| match value.get_ref() {
                DeValue::Table(table) => self.is_whole(table, MOST_PARTS),
                _ => false,
            });
            // The innermost table of a name with several dots shows the whole name.
            if !below {
                let (kind, path) = (self.key, &section.path);
                let message =
                    format!("{path} has no table {:?}: a name with a dot needs quotes", key.get_ref());
                let help = Some(format!("write [{kind}.{joined:?}]"));
                section.add(Problem::new(Code::UnknownKey, inner.place.clone(), message).with_help(help));
            }
            self.join_split_names(joined, inner, found);
        }
        if entries == 0 || entries > split {
            found.push((name, section));
        }
    }

    /// Whether a table inside of a named one is itself of the named kind, or contains one that is.
    fn is_whole(&self, table: &DeTable<'_>, depth: usize) -> bool {
        let is_mark = |key: &str| self.marks.contains(&key);
        let mut entries = table.iter();
        entries.any(|(key, value)| {
            is_mark(key.get_ref())
                || matches!(value.get_ref(), DeValue::Table(inner) if depth > 0 && self.is_whole(inner, depth - 1))
        })
    }
}

/// A table of its own: `[kind.name]`.
struct Definition<'a, T> {
    kind: &'a str,
    name: String,
    value: T,
}

impl<'a, T> Definition<'a, T> {
    const fn of(kind: &'a str, name: String, value: T) -> Self {
        Self { kind, name, value }
    }
}

/// Adds a definition, or notes that it is a second one.
fn define<T>(
    problems: &Problems,
    map: &mut BTreeMap<String, T>,
    definition: Definition<'_, T>,
    place: impl Fn(&T) -> &Place,
) {
    let Definition { kind, name, value } = definition;
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
