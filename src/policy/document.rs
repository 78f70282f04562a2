//! From text to policy: each table of the file, what its keys mean, and what may not be said.

use std::collections::BTreeMap;

use flowspec::{Bytes, Direction, Flowspec, Micros, Peak, Qos, Rate, ServiceType, TSpec};
use shaper::plan::token_rate_for_goodput;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::class::class;
use super::interface::interface;
use super::model::{Client, Group, GroupMode, Place, Policy, Template};
use super::problem::{Code, Problem, Severity};
use super::reader::{Problems, Section, Source, nearest};
use super::rule::{Match, Network, PortRange, Protocol, Rule};

/// The version of the format that this program reads.
const VERSION: u64 = 1;

/// The largest IP datagram: what a template may name before its interface is known.
const LARGEST_MTU: Bytes = Bytes::new(65_535);

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
            super::lint::lint(&policy, &problems);
        }
        policy.count_lines(sources);
        let problems = problems.into_inner();
        if problems.iter().any(|problem| problem.code.severity() == Severity::Error) {
            return Err(problems);
        }
        Ok((policy, problems))
    }

    /// Reads one source into the policy.
    pub(super) fn read_source(&mut self, number: usize, source: &Source<'_>, problems: &Problems) {
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

/// Both directions; an absent one is best effort.
fn qos(section: &Section<'_>) -> Option<Qos> {
    let direction = |key, direction| match section.section(key) {
        Some(section) => flowspec(section, direction),
        None if section.has(key) => None,
        None => Some(Flowspec::BEST_EFFORT),
    };
    let sending = direction("sending", Direction::Sending);
    let receiving = direction("receiving", Direction::Receiving);
    Some(Qos { sending: sending?, receiving: receiving? })
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

pub(crate) fn flowspec(section: Section<'_>, direction: Direction) -> Option<Flowspec> {
    const SERVICES: [(&str, ServiceType); 7] = [
        ("guaranteed", ServiceType::Guaranteed),
        ("controlled_load", ServiceType::ControlledLoad),
        ("best_effort", ServiceType::BestEffort),
        ("qualitative", ServiceType::Qualitative),
        ("no_traffic", ServiceType::NoTraffic),
        ("network_control", ServiceType::NetworkControl),
        ("no_change", ServiceType::NoChange),
    ];
    let service = section.choice("service_type", &SERVICES);
    if !section.has("service_type") {
        section.missing("service_type");
    }
    let mut spec = Flowspec::new(service.as_ref()?.value);
    spec.max_sdu_size = section.quantity::<Bytes>("max_sdu_size").map(|size| size.value);
    spec.minimum_policed_size = section.quantity::<Bytes>("minimum_policed_size").map(|size| size.value);
    spec.latency = section.quantity::<Micros>("latency").map(|time| time.value);
    spec.delay_variation = section.quantity::<Micros>("delay_variation").map(|time| time.value);
    spec.reserved_rate = section.quantity::<Rate>("reserved_rate").map(|rate| rate.value);
    let token_rate = section.quantity::<Rate>("token_rate");
    let goodput = section.quantity::<Rate>("goodput");
    let mut sound = true;
    spec.token_rate = match (token_rate, goodput) {
        (Some(_), Some(goodput)) => {
            let message = format!("{}: token_rate and goodput exclude each other", section.path);
            section.problem(Code::Conflict, &goodput.place, message);
            return None;
        }
        (Some(rate), None) => Some(rate.value),
        (None, Some(goodput)) => match token_rate_for_goodput(goodput.value, &spec) {
            Ok(rate) => Some(rate),
            Err(error) => {
                section.problem(Code::BadFlowspec, &goodput.place, format!("{}: {error}", section.path));
                return None;
            }
        },
        (None, None) => {
            sound = !section.has("token_rate") && !section.has("goodput");
            None
        }
    };
    spec.peak_bandwidth = peak(&section);
    spec.token_bucket_size = bucket(&section, spec.token_rate);
    let place = section.place.clone();
    // A field that was written and could not be read has its own problem already.
    sound &= section.has("peak_bandwidth") == spec.peak_bandwidth.is_some()
        && section.has("token_bucket_size") == spec.token_bucket_size.is_some()
        && section.has("max_sdu_size") == spec.max_sdu_size.is_some()
        && section.has("minimum_policed_size") == spec.minimum_policed_size.is_some();
    if sound && let Err(error) = TSpec::new(&spec, direction, LARGEST_MTU) {
        section.problem(Code::BadFlowspec, &place, format!("{}: {error}", section.path));
    }
    section.finish();
    Some(spec)
}

fn peak(section: &Section<'_>) -> Option<Peak> {
    let value = section.raw("peak_bandwidth")?;
    if value.get_ref().as_str() == Some("infinite") {
        return Some(Peak::Infinite);
    }
    section.quantity::<Rate>("peak_bandwidth").map(|rate| Peak::Finite(rate.value))
}

/// A size, or a time at the flow's own rate, rounded up.
fn bucket(section: &Section<'_>, token_rate: Option<Rate>) -> Option<Bytes> {
    let value = section.raw("token_bucket_size")?;
    let time = value.get_ref().as_str().and_then(|text| text.parse::<Micros>().ok());
    match (time, token_rate) {
        (Some(time), Some(rate)) => Some(Bytes::new(rate.scale_up(time.get(), 1_000_000).get())),
        (Some(_), None) => {
            let message = format!("{}.token_bucket_size: a time needs a token_rate", section.path);
            section.problem(Code::MissingKey, &section.at(value.span()), message);
            None
        }
        (None, _) => section.quantity::<Bytes>("token_bucket_size").map(|size| size.value),
    }
}

fn rules<'a>(top: &Section<'a>, value: &'a Spanned<DeValue<'a>>) -> Vec<Rule> {
    let DeValue::Array(array) = value.get_ref() else {
        top.wrong_type("rule", &top.at(value.span()), "an array of tables, [[rule]],", value.get_ref());
        return Vec::new();
    };
    let sections = array.iter().filter_map(|entry| top.subsection("rule", entry));
    sections.filter_map(rule).collect()
}

fn rule(section: Section<'_>) -> Option<Rule> {
    let matches = section.section("match").map_or_else(Match::default, conditions);
    let class = section.string("class").map(|class| class.value.to_owned());
    let template = section.string("template").map(|template| template.value.to_owned());
    if !section.has("template") {
        section.missing("template");
    }
    let place = section.place.clone();
    section.finish();
    Some(Rule { matches, class, template: template?, place })
}

fn conditions(section: Section<'_>) -> Match {
    let protocol = section.choice("protocol", &[("tcp", Protocol::Tcp), ("udp", Protocol::Udp)]);
    let local_port = each(&section, "local_port", port);
    let peer = each(&section, "peer", |section, value| {
        let text = section.as_string("match.peer", value)?;
        match text.value.parse::<Network>() {
            Ok(network) => Some(network),
            Err(error) => {
                section.problem(Code::BadValue, &text.place, format!("match.peer: {error}"));
                None
            }
        }
    });
    section.finish();
    Match { protocol: protocol.map(|protocol| protocol.value), local_port, peer }
}

/// One value or an array of them.
pub(crate) fn each<'a, T>(
    section: &Section<'a>,
    key: &'static str,
    read: impl Fn(&Section<'a>, &'a Spanned<DeValue<'a>>) -> Option<T>,
) -> Vec<T> {
    match section.raw(key) {
        None => Vec::new(),
        Some(value) => match value.get_ref() {
            DeValue::Array(array) => {
                if array.is_empty() {
                    let message =
                        format!("{}.{key}: an empty list matches nothing; leave the key out", section.path);
                    section.problem(Code::BadValue, &section.at(value.span()), message);
                }
                array.iter().filter_map(|entry| read(section, entry)).collect()
            }
            _ => read(section, value).into_iter().collect(),
        },
    }
}

pub(crate) fn port<'a>(section: &Section<'a>, value: &'a Spanned<DeValue<'a>>) -> Option<PortRange> {
    let place = section.at(value.span());
    let number = |text: &str| text.trim().parse::<u16>().ok();
    let range = match value.get_ref() {
        DeValue::Integer(port) => number(port.as_str()).map(|port| port..=port),
        DeValue::String(text) => match text.split_once('-') {
            Some((first, last)) => number(first).zip(number(last)).map(|(first, last)| first..=last),
            None => number(text).map(|port| port..=port),
        },
        other => {
            section.wrong_type("match.local_port", &place, "a port or a range such as \"1935-1940\"", other);
            return None;
        }
    };
    let range = range.filter(|range| !range.is_empty());
    if range.is_none() {
        section.problem(
            Code::BadValue,
            &place,
            "match.local_port: a port is 0 to 65535, a range \"1935-1940\"",
        );
    }
    range
}
