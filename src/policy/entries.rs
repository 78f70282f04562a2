//! What each definition of a policy states: its keys with their values in TOML notation, every default written out.

use std::fmt::Display;
use std::ops::RangeInclusive;

use flowspec::{Direction, Flowspec, Qos};

use super::class::{Admission, Allocate, Class};
use super::client::Client;
use super::daemon::{AuditPolicy, DaemonPolicy, Degrade};
use super::interface::{
    Capacity, ClassModel, Enforcement, Hysteresis, InterfacePolicy, OnCapacityDrop, Shared,
};
use super::model::{Group, GroupMode, Policy};
use super::notation::{flowspec_fields, inline_table, quoted, word};
use super::owner::OwnerMatch;
use super::proxy::{HeaderVersion, Proxy, ProxyLimits, ProxyMatch, ProxyProtocol, RefuseAs};
use super::rule::{Match, Protocol, Rule};
use super::timeouts::OwnTimeouts;

/// The keys of one definition, in the order in which they are written.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Entries(Vec<(&'static str, Value)>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Value {
    Plain(String),
    /// An inline table.
    Table(Vec<(&'static str, String)>),
}

impl Entries {
    /// Each key with its value; a table is a value.
    pub(super) fn lines(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.0.iter().map(|(key, value)| match value {
            Value::Plain(value) => (*key, value.clone()),
            Value::Table(fields) => (*key, inline_table(fields)),
        })
    }

    /// Each key with its value; the keys of a table are on their own: `egress.capacity`.
    pub(super) fn dotted(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for (key, value) in &self.0 {
            match value {
                Value::Plain(value) => found.push(((*key).to_owned(), value.clone())),
                Value::Table(fields) => {
                    found.extend(
                        fields.iter().map(|(inner, value)| (format!("{key}.{inner}"), value.clone())),
                    );
                }
            }
        }
        found
    }

    fn add(&mut self, key: &'static str, value: impl Display) {
        self.0.push((key, Value::Plain(value.to_string())));
    }

    fn add_optional(&mut self, key: &'static str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.add(key, value);
        }
    }

    fn add_table(&mut self, key: &'static str, fields: Vec<(&'static str, String)>) {
        self.0.push((key, Value::Table(fields)));
    }

    fn add_qos(&mut self, qos: &Qos) {
        let mut add = |key, spec: &Flowspec| self.add_table(key, flowspec_fields(spec));
        add("sending", &qos.sending);
        add("receiving", &qos.receiving);
    }

    fn add_timeouts(&mut self, timeouts: OwnTimeouts) {
        self.add_optional("dead_after", timeouts.dead_after.map(quoted));
        self.add_optional("stalled_after", timeouts.stalled_after.map(quoted));
    }
}

/// The keys at the top of a policy, without the version.
pub(super) fn top(policy: &Policy) -> Entries {
    let mut entries = Entries::default();
    entries.add("preemption", policy.preemption);
    entries.add("dead_after", quoted(policy.timeouts.dead_after));
    entries.add("stalled_after", quoted(policy.timeouts.stalled_after));
    entries
}

pub(super) fn template(qos: &Qos) -> Entries {
    let mut entries = Entries::default();
    entries.add_qos(qos);
    entries
}

pub(super) fn interface(interface: &InterfacePolicy) -> Entries {
    let mut entries = Entries::default();
    for (name, direction) in [("egress", Direction::Sending), ("ingress", Direction::Receiving)] {
        let budget = interface.budget(direction);
        let capacity = match budget.capacity {
            Capacity::Auto => quoted("auto"),
            Capacity::Rate(rate) => quoted(rate),
        };
        let mut fields = vec![("capacity", capacity), ("reservable", quoted(budget.reservable))];
        fields.extend(budget.min_best_effort.map(|kept| ("min_best_effort", quoted(kept))));
        entries.add_table(name, fields);
    }
    entries.add("enforcement", word(&Enforcement::WORDS, interface.enforcement));
    entries.add("shared", word(&Shared::WORDS, interface.shared));
    entries.add("on_capacity_drop", word(&OnCapacityDrop::WORDS, interface.on_capacity_drop));
    match interface.class_model {
        ClassModel::Mam => entries.add("class_model", quoted("mam")),
        ClassModel::Rdm => entries.add("class_model", quoted("rdm")),
        ClassModel::Mar(threshold) => {
            entries.add("class_model", quoted("mar"));
            entries.add("mar_threshold", quoted(threshold));
        }
    }
    entries.add_optional("mtu", interface.mtu.map(quoted));
    entries.add("path_latency", quoted(interface.path_latency));
    entries.add_optional("max_flows", interface.max_flows);
    entries.add_optional("buffer", interface.buffer.map(quoted));
    entries.add("delay", interface.delay);
    if let Some(terms) = interface.error_terms {
        entries.add_table("error_terms", vec![("c", quoted(terms.c)), ("d", quoted(terms.d))]);
    }
    entries.add("takeover", interface.takeover);
    if let Some(Hysteresis { time, change }) = interface.hysteresis {
        entries.add_table("hysteresis", vec![("time", quoted(time)), ("change", quoted(change))]);
    }
    entries.add_optional("parent", interface.parent.as_ref().map(quoted));
    entries
}

pub(super) fn class(class: &Class) -> Entries {
    let mut entries = Entries::default();
    entries.add_optional("share", class.share.map(quoted));
    entries.add_optional("max_flows", class.max_flows);
    entries.add_optional("max_rate", class.max_rate.map(quoted));
    let (whole, rest) = (class.overbooking_thousandths / 1000, class.overbooking_thousandths % 1000);
    entries.add("overbooking", format_args!("{whole}.{rest:03}"));
    entries.add("setup_priority", class.setup_priority);
    entries.add("holding_priority", class.holding_priority);
    entries.add("class_type", class.class_type);
    entries.add("allocate", word(&Allocate::WORDS, class.allocate));
    entries.add("admission", word(&Admission::WORDS, class.admission));
    if let Some(matches) = &class.matches {
        entries.add_table("match", owner_conditions(matches));
    }
    let name = |code_point| Class::CODE_POINTS.iter().find(|(_, known)| *known == code_point);
    let dscp = |code_point: u8| name(code_point).map_or(code_point.to_string(), |(name, _)| quoted(name));
    entries.add_optional("dscp", class.dscp.map(dscp));
    entries.add_timeouts(class.timeouts);
    entries
}

pub(super) fn group(group: &Group) -> Entries {
    let mut entries = Entries::default();
    entries.add("interface", quoted(&group.interface));
    entries.add_optional("class", group.class.as_ref().map(quoted));
    entries.add("mode", word(&GroupMode::WORDS, group.mode));
    entries.add_qos(&group.qos);
    entries
}

pub(super) fn client(client: &Client) -> Entries {
    let mut entries = Entries::default();
    entries.add_optional("max_flows", client.max_flows);
    entries.add_optional("max_rate", client.max_rate.map(quoted));
    entries.add_optional("requests_per_second", client.requests_per_second);
    entries.add_optional("horizon", client.horizon.map(quoted));
    entries.add_optional("best_setup_priority", client.best_setup_priority);
    entries.add_timeouts(client.timeouts);
    entries
}

pub(super) fn daemon(daemon: &DaemonPolicy) -> Entries {
    let mut entries = Entries::default();
    entries.add_optional("socket", daemon.socket.as_ref().map(quoted));
    entries.add_optional("group", daemon.group.as_ref().map(quoted));
    entries.add_optional("connections_per_user", daemon.connections_per_user);
    entries.add_optional("flows_per_user", daemon.flows_per_user);
    entries.add_optional("calls_per_second", daemon.calls_per_second);
    entries.add_optional("grace", daemon.grace.map(quoted));
    entries.add_optional("degrade", daemon.degrade.map(|degrade| word(&Degrade::WORDS, degrade)));
    entries.add_optional("http", daemon.http.as_ref().map(quoted));
    if let Some(AuditPolicy { path, max_size, max_age, keep }) = &daemon.audit {
        let audit = vec![
            ("path", quoted(path)),
            ("max_size", quoted(max_size)),
            ("max_age", quoted(max_age)),
            ("keep", keep.to_string()),
        ];
        entries.add_table("audit", audit);
    }
    entries
}

pub(super) fn rule(rule: &Rule) -> Entries {
    let mut entries = Entries::default();
    entries.add_table("match", conditions(&rule.matches));
    entries.add_optional("class", rule.class.as_ref().map(quoted));
    entries.add_optional("group", rule.group.as_ref().map(quoted));
    entries.add("template", one_or_several(&rule.templates));
    entries
}

pub(super) fn proxy(proxy: &Proxy) -> Entries {
    let mut entries = Entries::default();
    entries.add("listen", quoted(proxy.listen));
    entries.add("to", quoted(&proxy.to));
    entries.add("protocol", word(&ProxyProtocol::WORDS, proxy.protocol));
    entries.add_optional("class", proxy.class.as_ref().map(quoted));
    if !proxy.templates.is_empty() {
        entries.add("template", one_or_several(&proxy.templates));
    }
    let rules: Vec<_> = proxy
        .rules
        .iter()
        .map(|rule| {
            let mut fields = vec![("match", inline_table(&proxy_conditions(&rule.matches)))];
            fields.extend(rule.class.as_ref().map(|class| ("class", quoted(class))));
            fields.push(("template", one_or_several(&rule.templates)));
            inline_table(&fields)
        })
        .collect();
    if !rules.is_empty() {
        entries.add("rule", format_args!("[{}]", rules.join(", ")));
    }
    entries.add("refuse", word(&RefuseAs::WORDS, proxy.refuse));
    entries.add("retry_after", quoted(proxy.retry_after));
    entries.add_optional("page", proxy.page.as_ref().map(quoted));
    let accept = list("accept", proxy.accept.iter().map(quoted));
    let send = proxy.send.map(|send| ("send", word(&HeaderVersion::WORDS, send)));
    let headers: Vec<_> = accept.into_iter().chain(send).collect();
    if !headers.is_empty() {
        entries.add_table("proxy_protocol", headers);
    }
    let ProxyLimits { head, first_byte, head_time, connect_time, idle, connections, drain } = proxy.limits;
    entries.add_table(
        "limits",
        vec![
            ("head", quoted(head)),
            ("first_byte", quoted(first_byte)),
            ("head_time", quoted(head_time)),
            ("connect_time", quoted(connect_time)),
            ("idle", quoted(idle)),
            ("connections", connections.to_string()),
            ("drain", quoted(drain)),
        ],
    );
    if proxy.protocol != ProxyProtocol::Udp {
        entries.add("splice", proxy.splice);
        entries.add_optional("workers", proxy.workers);
    }
    entries
}

fn proxy_conditions(matches: &ProxyMatch) -> Vec<(&'static str, String)> {
    let lists = [
        list("host", matches.host.iter().map(quoted)),
        list("path", matches.path.iter().map(quoted)),
        list("sni", matches.sni.iter().map(quoted)),
        list("peer", matches.peer.iter().map(quoted)),
        list("port", matches.port.iter().map(range)),
    ];
    lists.into_iter().flatten().collect()
}

/// One name, or an array of them.
fn one_or_several(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(quoted).collect();
    match &names[..] {
        [only] => only.clone(),
        several => format!("[{}]", several.join(", ")),
    }
}

fn conditions(matches: &Match) -> Vec<(&'static str, String)> {
    let mut conditions = Vec::new();
    conditions.extend(matches.protocol.map(|protocol| ("protocol", word(&Protocol::WORDS, protocol))));
    conditions.extend(list("local_port", matches.local_port.iter().map(range)));
    conditions.extend(list("peer", matches.peer.iter().map(quoted)));
    conditions
}

fn owner_conditions(matches: &OwnerMatch) -> Vec<(&'static str, String)> {
    let lists = [
        list("uid", matches.uid.iter().map(range)),
        list("gid", matches.gid.iter().map(range)),
        list("cgroup", matches.cgroup.iter().map(quoted)),
    ];
    lists.into_iter().flatten().collect()
}

/// A key with an array; `None` if it would be empty.
fn list(key: &'static str, values: impl Iterator<Item = String>) -> Option<(&'static str, String)> {
    let values: Vec<_> = values.collect();
    (!values.is_empty()).then(|| (key, format!("[{}]", values.join(", "))))
}

/// A range of numbers: `443`, or `"1935-1940"`.
fn range<T: Display + PartialEq>(range: &RangeInclusive<T>) -> String {
    match (range.start(), range.end()) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("\"{first}-{last}\""),
    }
}
