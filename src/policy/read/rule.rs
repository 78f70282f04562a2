//! `[[rule]]`: conditions, and what a flow that meets them gets.

use super::range::{Numbers, range};
use super::reference::{Reference, ReferenceKind};
use super::section::{Placed, Section, templates};
use crate::policy::code::Code;
use crate::policy::rule::{Match, Network, PortRange, Protocol, Rule};

/// Reads a rule, and adds the names that it uses to the references.
pub(super) fn rule(section: Section<'_>, references: &mut Vec<Reference>) -> Rule {
    let matches = section.section("match").map_or_else(Match::default, conditions);
    let (class, group) = (section.string("class"), section.string("group"));
    let templates = templates(&section);
    let names = [(ReferenceKind::Class, &class), (ReferenceKind::Group, &group)];
    let names = names.into_iter().filter_map(|(kind, name)| Some((kind, name.as_ref()?)));
    let names = names.chain(templates.iter().map(|template| (ReferenceKind::Template, template)));
    references.extend(names.map(|(kind, name)| Reference::new("the rule", kind, name)));
    if !section.has("template") {
        section.missing("template");
    }
    let place = section.place.clone();
    section.finish();
    let text = |name: Placed<&str>| name.value.to_owned();
    let (class, group) = (class.map(text), group.map(text));
    Rule { matches, class, group, templates: templates.into_iter().map(text).collect(), place }
}

fn conditions(section: Section<'_>) -> Match {
    let protocol = section.choice("protocol", &Protocol::WORDS);
    let local_port: Vec<PortRange> =
        section.each("local_port", |section, value| range(section, value, &PORTS));
    let peer = section.each("peer", |section, value| {
        let text = section.as_string("rule.match.peer", value)?;
        match text.value.parse::<Network>() {
            Ok(network) => Some(network),
            Err(error) => {
                section.problem(Code::BadValue, &text.place, format!("rule.match.peer: {error}"));
                None
            }
        }
    });
    section.finish();
    Match { protocol: protocol.map(|protocol| protocol.value), local_port, peer }
}

const PORTS: Numbers = Numbers { key: "local_port", limits: "a port is 0 to 65535", example: "1935-1940" };
