//! `[[rule]]`: conditions, and what a flow that meets them gets.

use toml::Spanned;
use toml::de::DeValue;

use super::section::Section;
use crate::policy::code::Code;
use crate::policy::rule::{Match, Network, PortRange, Protocol, Rule};

pub(super) fn rule(section: Section<'_>) -> Rule {
    let matches = section.section("match").map_or_else(Match::default, conditions);
    let (class, group) = (section.text("class"), section.text("group"));
    let templates = section.each("template", |section, value| {
        let template = section.as_string("rule.template", value)?;
        Some(template.value.to_owned())
    });
    if !section.has("template") {
        section.missing("template");
    }
    let place = section.place.clone();
    section.finish();
    Rule { matches, class, group, templates, place }
}

fn conditions(section: Section<'_>) -> Match {
    let protocol = section.choice("protocol", &Protocol::WORDS);
    let local_port = section.each("local_port", port);
    let peer = section.each("peer", |section, value| {
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

/// A port, or a range such as `"1935-1940"`.
fn port<'a>(section: &Section<'a>, value: &'a Spanned<DeValue<'a>>) -> Option<PortRange> {
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
        let message = "match.local_port: a port is 0 to 65535, and a range is written \"1935-1940\"";
        section.problem(Code::BadValue, &place, message);
    }
    range
}
