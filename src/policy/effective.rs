//! The policy as it is meant: merged, every default written out. What it gives parses back to the same
//! policy.

use std::fmt::{Display, Write};

use flowspec::{Direction, Qos};

use super::class::{Admission, Allocate};
use super::interface::{Capacity, ClassModel, Enforcement, Hysteresis, InterfacePolicy, OnCapacityDrop};
use super::model::{GroupMode, Policy};
use super::notation::{flowspec, key, quoted};
use super::owner::OwnerMatch;
use super::place::Place;
use super::rule::Protocol;

impl Policy {
    /// The whole policy as TOML, each table with a comment on where it comes from.
    pub fn effective(&self) -> String {
        let mut text = String::from("version = 1\n");
        line(&mut text, "preemption", self.preemption);
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
            optional(&mut text, "share", class.share.map(quoted));
            optional(&mut text, "max_flows", class.max_flows);
            optional(&mut text, "max_rate", class.max_rate.map(quoted));
            let (whole, rest) = (class.overbooking_thousandths / 1000, class.overbooking_thousandths % 1000);
            line(&mut text, "overbooking", format_args!("{whole}.{rest:03}"));
            line(&mut text, "setup_priority", class.setup_priority);
            line(&mut text, "holding_priority", class.holding_priority);
            line(&mut text, "class_type", class.class_type);
            line(
                &mut text,
                "allocate",
                quoted(match class.allocate {
                    Allocate::Rate => "rate",
                    Allocate::Peak => "peak",
                }),
            );
            let admission = match class.admission {
                Admission::Declared => "declared",
                Admission::Measured => "measured",
            };
            line(&mut text, "admission", quoted(admission));
            optional(&mut text, "match", class.matches.as_ref().map(owners));
            optional(&mut text, "dscp", class.dscp);
        }
        for (name, group) in &self.groups {
            self.table(&mut text, &format!("group.{}", key(name)), &group.place);
            line(&mut text, "interface", quoted(&group.interface));
            optional(&mut text, "class", group.class.as_ref().map(quoted));
            line(
                &mut text,
                "mode",
                quoted(match group.mode {
                    GroupMode::Envelope => "envelope",
                    GroupMode::Shared => "shared",
                }),
            );
            qos_lines(&mut text, &group.qos);
        }
        for client in &self.clients {
            self.table(&mut text, &format!("client.{}", key(&client.pattern)), &client.place);
            optional(&mut text, "max_flows", client.max_flows);
            optional(&mut text, "max_rate", client.max_rate.map(quoted));
            optional(&mut text, "requests_per_second", client.requests_per_second);
            optional(&mut text, "horizon", client.horizon.map(quoted));
            optional(&mut text, "best_setup_priority", client.best_setup_priority);
        }
        for rule in &self.rules {
            self.table(&mut text, "[rule]", &rule.place);
            let mut conditions = Vec::new();
            if let Some(protocol) = rule.matches.protocol {
                let name = match protocol {
                    Protocol::Tcp => "tcp",
                    Protocol::Udp => "udp",
                };
                conditions.push(format!("protocol = \"{name}\""));
            }
            if !rule.matches.local_port.is_empty() {
                let ports = rule
                    .matches
                    .local_port
                    .iter()
                    .map(|range| format!("\"{}-{}\"", range.start(), range.end()));
                conditions.push(format!("local_port = [{}]", ports.collect::<Vec<_>>().join(", ")));
            }
            if !rule.matches.peer.is_empty() {
                let peers = rule.matches.peer.iter().map(|network| format!("\"{network}\""));
                conditions.push(format!("peer = [{}]", peers.collect::<Vec<_>>().join(", ")));
            }
            line(&mut text, "match", format_args!("{{ {} }}", conditions.join(", ")));
            optional(&mut text, "class", rule.class.as_ref().map(quoted));
            line(&mut text, "template", quoted(&rule.template));
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
    let enforcement = match interface.enforcement {
        Enforcement::Auto => "auto",
        Enforcement::Kernel => "kernel",
        Enforcement::UserSpace => "user-space",
    };
    line(text, "enforcement", quoted(enforcement));
    let drop = match interface.on_capacity_drop {
        OnCapacityDrop::Keep => "keep",
        OnCapacityDrop::Shed => "shed",
    };
    line(text, "on_capacity_drop", quoted(drop));
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

/// A class's `match` as an inline table.
fn owners(matches: &OwnerMatch) -> String {
    let mut conditions = Vec::new();
    for (key, ranges) in [("uid", &matches.uid), ("gid", &matches.gid)] {
        let ranges: Vec<_> =
            ranges.iter().map(|range| format!("\"{}-{}\"", range.start(), range.end())).collect();
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
    use crate::policy::{Place, Source};

    /// The policy without its places.
    fn bare(mut policy: Policy) -> Policy {
        policy.sources.clear();
        let places = (policy.interfaces.values_mut().chain(&mut policy.any_interface))
            .map(|interface| &mut interface.place)
            .chain(policy.templates.values_mut().map(|template| &mut template.place))
            .chain(policy.classes.values_mut().map(|class| &mut class.place))
            .chain(policy.groups.values_mut().map(|group| &mut group.place))
            .chain(policy.clients.iter_mut().map(|client| &mut client.place))
            .chain(policy.rules.iter_mut().map(|rule| &mut rule.place));
        places.for_each(|place| *place = Place::default());
        policy
    }

    #[track_caller]
    fn check(text: &str) {
        let parse = |text: &str| Policy::parse(&[Source { name: "a/p.toml", text }]).expect(text).0;
        let policy = parse(text);
        let effective = policy.effective();
        assert_eq!(bare(parse(&effective)), bare(policy.clone()), "{effective}");
        assert_eq!(
            parse(&effective).effective().replace(char::is_numeric, ""),
            effective.replace(char::is_numeric, "")
        );
    }

    #[test]
    fn what_is_written_out_means_the_same() {
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
            "version = 1\n[interface.\"a \\\"b\\\" \\\\\\u0001é\"]\negress = { capacity = \"auto\" }\n[template.\"\"]\nsending = { service_type = \"no_traffic\" }\n",
        );
    }
}
