//! The effective policy: one TOML text with all sources merged and every default written out. It parses back to the same
//! policy.

use std::fmt::{Display, Write};
use std::ops::RangeInclusive;

use flowspec::{Direction, Qos};

use super::class::{Admission, Allocate, Class};
use super::client::Client;
use super::interface::{Capacity, ClassModel, Enforcement, Hysteresis, InterfacePolicy, OnCapacityDrop};
use super::model::{Group, GroupMode, Policy};
use super::notation::{flowspec, key, quoted, word};
use super::owner::OwnerMatch;
use super::place::Place;
use super::rule::{Match, Protocol, Rule};
use super::timeouts::OwnTimeouts;

impl Policy {
    /// The whole policy as TOML. A comment on each table names the file and line of its definition.
    pub fn effective(&self) -> String {
        let mut text = String::from("version = 1\n");
        line(&mut text, "preemption", self.preemption);
        line(&mut text, "dead_after", quoted(self.timeouts.dead_after));
        line(&mut text, "stalled_after", quoted(self.timeouts.stalled_after));
        let named = self.interfaces.iter().map(|(name, interface)| (name.as_str(), interface));
        for (name, interface) in named.chain(self.any_interface.iter().map(|interface| ("*", interface))) {
            self.table(&mut text, &format!("interface.{}", key(name)), &interface.place);
            interface_lines(&mut text, interface);
        }
        for (name, template) in &self.templates {
            self.table(&mut text, &format!("template.{}", key(name)), &template.place);
            qos_lines(&mut text, &template.qos);
        }
        for (name, class) in &self.classes {
            self.table(&mut text, &format!("class.{}", key(name)), &class.place);
            class_lines(&mut text, class);
        }
        for (name, group) in &self.groups {
            self.table(&mut text, &format!("group.{}", key(name)), &group.place);
            group_lines(&mut text, group);
        }
        for client in &self.clients {
            self.table(&mut text, &format!("client.{}", key(&client.pattern)), &client.place);
            client_lines(&mut text, client);
        }
        for rule in &self.rules {
            self.table(&mut text, "[rule]", &rule.place);
            rule_lines(&mut text, rule);
        }
        text
    }

    fn table(&self, text: &mut String, name: &str, place: &Place) {
        let origin = self.locate(place).map_or(String::new(), |origin| format!("    # {origin}"));
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "\n[{name}]{origin}");
    }
}

fn interface_lines(text: &mut String, interface: &InterfacePolicy) {
    for (name, direction) in [("egress", Direction::Sending), ("ingress", Direction::Receiving)] {
        let budget = interface.budget(direction);
        let capacity = match budget.capacity {
            Capacity::Auto => quoted("auto"),
            Capacity::Rate(rate) => quoted(rate),
        };
        let kept = budget
            .min_best_effort
            .map_or(String::new(), |kept| format!(", min_best_effort = {}", quoted(kept)));
        let reservable = quoted(budget.reservable);
        line(text, name, format_args!("{{ capacity = {capacity}, reservable = {reservable}{kept} }}"));
    }
    line(text, "enforcement", word(&Enforcement::WORDS, interface.enforcement));
    line(text, "on_capacity_drop", word(&OnCapacityDrop::WORDS, interface.on_capacity_drop));
    match interface.class_model {
        ClassModel::Mam => line(text, "class_model", quoted("mam")),
        ClassModel::Rdm => line(text, "class_model", quoted("rdm")),
        ClassModel::Mar(threshold) => {
            line(text, "class_model", quoted("mar"));
            line(text, "mar_threshold", quoted(threshold));
        }
    }
    optional(text, "mtu", interface.mtu.map(quoted));
    line(text, "path_latency", quoted(interface.path_latency));
    optional(text, "max_flows", interface.max_flows);
    optional(text, "buffer", interface.buffer.map(quoted));
    line(text, "delay", interface.delay);
    if let Some(terms) = interface.error_terms {
        line(text, "error_terms", format_args!("{{ c = {}, d = {} }}", quoted(terms.c), quoted(terms.d)));
    }
    line(text, "takeover", interface.takeover);
    if let Some(Hysteresis { time, change }) = interface.hysteresis {
        line(text, "hysteresis", format_args!("{{ time = {}, change = {} }}", quoted(time), quoted(change)));
    }
}

fn class_lines(text: &mut String, class: &Class) {
    optional(text, "share", class.share.map(quoted));
    optional(text, "max_flows", class.max_flows);
    optional(text, "max_rate", class.max_rate.map(quoted));
    let (whole, rest) = (class.overbooking_thousandths / 1000, class.overbooking_thousandths % 1000);
    line(text, "overbooking", format_args!("{whole}.{rest:03}"));
    line(text, "setup_priority", class.setup_priority);
    line(text, "holding_priority", class.holding_priority);
    line(text, "class_type", class.class_type);
    line(text, "allocate", word(&Allocate::WORDS, class.allocate));
    line(text, "admission", word(&Admission::WORDS, class.admission));
    optional(text, "match", class.matches.as_ref().map(owner_conditions));
    let name = |code_point| Class::CODE_POINTS.iter().find(|(_, known)| *known == code_point);
    let dscp = |code_point: u8| name(code_point).map_or(code_point.to_string(), |(name, _)| quoted(name));
    optional(text, "dscp", class.dscp.map(dscp));
    timeout_lines(text, class.timeouts);
}

fn group_lines(text: &mut String, group: &Group) {
    line(text, "interface", quoted(&group.interface));
    optional(text, "class", group.class.as_ref().map(quoted));
    line(text, "mode", word(&GroupMode::WORDS, group.mode));
    qos_lines(text, &group.qos);
}

fn client_lines(text: &mut String, client: &Client) {
    optional(text, "max_flows", client.max_flows);
    optional(text, "max_rate", client.max_rate.map(quoted));
    optional(text, "requests_per_second", client.requests_per_second);
    optional(text, "horizon", client.horizon.map(quoted));
    optional(text, "best_setup_priority", client.best_setup_priority);
    timeout_lines(text, client.timeouts);
}

fn timeout_lines(text: &mut String, timeouts: OwnTimeouts) {
    optional(text, "dead_after", timeouts.dead_after.map(quoted));
    optional(text, "stalled_after", timeouts.stalled_after.map(quoted));
}

fn rule_lines(text: &mut String, rule: &Rule) {
    line(text, "match", conditions(&rule.matches));
    optional(text, "class", rule.class.as_ref().map(quoted));
    optional(text, "group", rule.group.as_ref().map(quoted));
    let templates: Vec<_> = rule.templates.iter().map(quoted).collect();
    match &templates[..] {
        [only] => line(text, "template", only),
        several => line(text, "template", format_args!("[{}]", several.join(", "))),
    }
}

/// A rule's `match` as an inline table.
fn conditions(matches: &Match) -> String {
    let mut conditions = Vec::new();
    conditions
        .extend(matches.protocol.map(|protocol| format!("protocol = {}", word(&Protocol::WORDS, protocol))));
    if !matches.local_port.is_empty() {
        let ports: Vec<_> = matches.local_port.iter().map(range).collect();
        conditions.push(format!("local_port = [{}]", ports.join(", ")));
    }
    if !matches.peer.is_empty() {
        let peers: Vec<_> = matches.peer.iter().map(|network| format!("\"{network}\"")).collect();
        conditions.push(format!("peer = [{}]", peers.join(", ")));
    }
    format!("{{ {} }}", conditions.join(", "))
}

/// A class's `match` as an inline table.
fn owner_conditions(matches: &OwnerMatch) -> String {
    let mut conditions = Vec::new();
    for (key, ranges) in [("uid", &matches.uid), ("gid", &matches.gid)] {
        let ranges: Vec<_> = ranges.iter().map(range).collect();
        if !ranges.is_empty() {
            conditions.push(format!("{key} = [{}]", ranges.join(", ")));
        }
    }
    if !matches.cgroup.is_empty() {
        let paths: Vec<_> = matches.cgroup.iter().map(quoted).collect();
        conditions.push(format!("cgroup = [{}]", paths.join(", ")));
    }
    format!("{{ {} }}", conditions.join(", "))
}

/// A range of numbers: `443`, or `"1935-1940"`.
fn range<T: Display + PartialEq>(range: &RangeInclusive<T>) -> String {
    match (range.start(), range.end()) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("\"{first}-{last}\""),
    }
}

fn qos_lines(text: &mut String, qos: &Qos) {
    line(text, "sending", flowspec(&qos.sending));
    line(text, "receiving", flowspec(&qos.receiving));
}

fn line(text: &mut String, key: &str, value: impl Display) {
    let _ = writeln!(text, "{key} = {value}");
}

fn optional(text: &mut String, key: &str, value: Option<impl Display>) {
    if let Some(value) = value {
        line(text, key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Source;

    fn parse(text: &str) -> Policy {
        Policy::parse(&[Source { name: "a/p.toml", text }]).expect(text).0
    }

    /// The policy without its places.
    fn bare(mut policy: Policy) -> Policy {
        policy.sources.clear();
        policy.places_mut().for_each(|place| *place = Place::default());
        policy
    }

    #[track_caller]
    fn check(text: &str) {
        let policy = parse(text);
        let effective = policy.effective();
        assert_eq!(bare(parse(&effective)), bare(policy), "{effective}");
        assert_eq!(
            parse(&effective).effective().replace(char::is_numeric, ""),
            effective.replace(char::is_numeric, "")
        );
    }

    #[test]
    fn the_effective_policy_means_the_same() {
        check("version = 1\n");
        check(include_str!("../../fuzz/policy.toml"));
        for text in [
            include_str!("../../examples/policies/streaming.toml"),
            include_str!("../../examples/policies/live-ladder.toml"),
            include_str!("../../examples/policies/vod-and-live.toml"),
            include_str!("../../examples/policies/tiers.toml"),
            include_str!("../../examples/policies/origin.toml"),
            include_str!("../../examples/policies/event.toml"),
            include_str!("../../examples/policies/ingest.toml"),
        ] {
            check(text);
        }
        check(
            "version = 1\n[interface.\"a\\\"b\\\"\\\\\\u0001é\"]\negress = { capacity = \"auto\" }\n[template.\"\"]\nsending = { service_type = \"no_traffic\" }\n",
        );
    }
}
