//! `[proxy.*]`: where it listens, what it is in front of, and what its connections get.

use core::net::SocketAddr;
use core::num::NonZeroUsize;

use flowspec::{Bytes, Micros};

use super::range::{Numbers, range};
use super::reference::{Reference, ReferenceKind};
use super::section::{Placed, Section, templates};
use crate::policy::code::Code;
use crate::policy::place::Place;
use crate::policy::proxy::{
    HeaderVersion, Proxy, ProxyLimits, ProxyMatch, ProxyProtocol, ProxyRule, RefuseAs,
};
use crate::policy::rule::{Network, PortRange};

/// The range of `limits.head`: a request line and a host, and what a process can afford for each client.
const SMALLEST_HEAD: Bytes = Bytes::new(1024);
const LARGEST_HEAD: Bytes = Bytes::new(1 << 20);

const PORTS: Numbers = Numbers { key: "port", limits: "a port is 0 to 65535", example: "1024-65535" };

/// Reads a proxy, and adds the names that it uses to the references. `None` where a key is missing without which there is
/// none.
pub(super) fn proxy(section: Section<'_>, references: &mut Vec<Reference>) -> Option<Proxy> {
    let listen = listen(&section);
    let to = origin(&section);
    let protocol = section.choice("protocol", &ProxyProtocol::WORDS);
    let protocol = protocol.map_or(ProxyProtocol::Tcp, |protocol| protocol.value);
    let (class, templates) = what(&section, references);
    let mut rules = Vec::new();
    for section in section.sections("rule") {
        rules.push(rule(section, protocol, references));
    }
    let refuse = refuse(&section, protocol);
    let retry_after = section.quantity::<Micros>("retry_after");
    if let Some(Placed { value, place }) = &retry_after
        && *value == Micros::new(0)
    {
        let path = section.path_of("retry_after");
        let message = format!("{path}: with no time at all every refused client asks again at once");
        section.problem(Code::BadValue, place, message);
    }
    let page = section.string("page");
    if let Some(page) = &page
        && protocol != ProxyProtocol::Http
    {
        let message = format!("{}.page has no effect without protocol = \"http\"", section.path);
        section.problem(Code::Conflict, &page.place, message);
    }
    if protocol == ProxyProtocol::Udp {
        for key in ["proxy_protocol", "splice", "workers"] {
            if let Some(place) = section.place_of(key) {
                let message = format!("{}.{key} has no effect with protocol = \"udp\"", section.path);
                section.problem(Code::Conflict, &place, message);
            }
        }
    }
    let (accept, send) = section.section("proxy_protocol").map_or((Vec::new(), None), proxy_protocol);
    let limits =
        section.section("limits").map_or(ProxyLimits::of(protocol), |section| limits(section, protocol));
    let splice = section.flag("splice");
    let workers = section.integer("workers", 1..=u64::from(Proxy::MOST_WORKERS));
    for key in ["listen", "to"] {
        if !section.has(key) {
            section.missing(key);
        }
    }
    let place = section.place.clone();
    section.finish();
    let proxy = Proxy::new(listen?, to?, protocol);
    Some(Proxy {
        class,
        templates,
        rules,
        refuse,
        retry_after: retry_after.map_or(proxy.retry_after, |time| time.value),
        page: page.map(|page| page.value.to_owned()),
        accept,
        send,
        limits,
        splice: splice.is_none_or(|splice| splice.value),
        workers: workers.and_then(|workers| usize::try_from(workers.value).ok()).and_then(NonZeroUsize::new),
        place,
        ..proxy
    })
}

fn listen(section: &Section<'_>) -> Option<SocketAddr> {
    let text = section.string("listen")?;
    let address = text.value.parse().ok();
    if address.is_none() {
        let message = format!(
            "{}: {:?} is not an address with a port; write \"0.0.0.0:8080\" or \"[::]:8080\"",
            section.path_of("listen"),
            text.value
        );
        section.problem(Code::BadValue, &text.place, message);
    }
    address
}

fn origin(section: &Section<'_>) -> Option<String> {
    let text = section.string("to")?;
    if !Proxy::is_origin(text.value) {
        let message = format!(
            "{}: {:?} is not an origin; write \"127.0.0.1:8081\", \"[::1]:8081\" or \"origin.example:80\"",
            section.path_of("to"),
            text.value
        );
        section.problem(Code::BadValue, &text.place, message);
        return None;
    }
    Some(text.value.to_owned())
}

/// The class and the templates of a proxy or of a rule.
fn what(section: &Section<'_>, references: &mut Vec<Reference>) -> (Option<String>, Vec<String>) {
    let class = section.string("class");
    let templates = templates(section);
    let names = class.iter().map(|name| (ReferenceKind::Class, name));
    let names = names.chain(templates.iter().map(|name| (ReferenceKind::Template, name)));
    references.extend(names.map(|(kind, name)| Reference::new(&section.path, kind, name)));
    let text = |name: Placed<&str>| name.value.to_owned();
    (class.map(text), templates.into_iter().map(text).collect())
}

fn rule(section: Section<'_>, protocol: ProxyProtocol, references: &mut Vec<Reference>) -> ProxyRule {
    let (class, templates) = what(&section, references);
    let matches =
        section.section("match").map_or_else(ProxyMatch::default, |section| conditions(section, protocol));
    if !section.has("template") {
        section.missing("template");
    }
    let place = section.place.clone();
    section.finish();
    ProxyRule { matches, class, templates, place }
}

fn conditions(section: Section<'_>, protocol: ProxyProtocol) -> ProxyMatch {
    let patterns = |key: &'static str| {
        let path = section.path_of(key);
        section.each(key, |section, value| section.as_string(&path, value))
    };
    let (host, path, sni) = (patterns("host"), patterns("path"), patterns("sni"));
    let is_read = |key| match key {
        "host" | "path" => matches!(protocol, ProxyProtocol::Http | ProxyProtocol::Rtsp),
        _ => protocol == ProxyProtocol::Tls,
    };
    for (key, patterns) in [("host", &host), ("path", &path), ("sni", &sni)] {
        if let Some(Placed { place, .. }) = patterns.first()
            && !is_read(key)
        {
            let message =
                format!("{} is not read with protocol = {:?}", section.path_of(key), protocol.word());
            section.problem(Code::Conflict, place, message);
        }
    }
    for pattern in &host {
        no_match(&section, "host", pattern, host_fault(pattern.value));
    }
    for pattern in &path {
        no_match(&section, "path", pattern, path_fault(pattern.value));
    }
    for pattern in &sni {
        no_match(&section, "sni", pattern, host_fault(pattern.value));
    }
    let peer = networks(&section, "peer");
    let port: Vec<PortRange> = section.each("port", |section, value| range(section, value, &PORTS));
    section.finish();
    let lower = |patterns: Vec<Placed<&str>>| patterns.iter().map(|text| text.value.to_lowercase()).collect();
    let paths = path.iter().map(|text| text.value.to_owned()).collect();
    ProxyMatch { host: lower(host), path: paths, sni: lower(sni), peer, port }
}

/// Notes a pattern that matches nothing, and why.
fn no_match(section: &Section<'_>, key: &str, pattern: &Placed<&str>, fault: Option<&str>) {
    if let Some(fault) = fault {
        let message = format!("{}: {:?} matches nothing: {fault}", section.path_of(key), pattern.value);
        section.problem(Code::BadValue, &pattern.place, message);
    }
}

/// Why no host name matches a pattern. An address of IPv6 stands in brackets.
fn host_fault(pattern: &str) -> Option<&'static str> {
    let is_allowed = |character: char| character.is_alphanumeric() || "*.-_~%[]:".contains(character);
    match pattern {
        "" => Some("a name has a character at least"),
        _ if !pattern.chars().all(is_allowed) => Some("a name has neither slashes nor spaces"),
        _ if ends_in_port(pattern) => Some("a name is compared without its port"),
        _ => None,
    }
}

fn ends_in_port(pattern: &str) -> bool {
    let port = pattern.rsplit_once(':').map(|(_, port)| port);
    port.is_some_and(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Why no path matches a pattern.
fn path_fault(pattern: &str) -> Option<&'static str> {
    (!pattern.starts_with(['/', '*'])).then_some("a path begins with a slash")
}

fn networks(section: &Section<'_>, key: &'static str) -> Vec<Network> {
    let path = section.path_of(key);
    section.each(key, |section, value| {
        let text = section.as_string(&path, value)?;
        match text.value.parse::<Network>() {
            Ok(network) => Some(network),
            Err(error) => {
                section.problem(Code::BadValue, &text.place, format!("{path}: {error}"));
                None
            }
        }
    })
}

fn refuse(section: &Section<'_>, protocol: ProxyProtocol) -> RefuseAs {
    let Some(refuse) = section.choice("refuse", &RefuseAs::WORDS) else { return protocol.default_refusal() };
    if !protocol.can_refuse(refuse.value) {
        let path = section.path_of("refuse");
        let message = format!("{path}: a client of protocol = {:?} cannot be refused so", protocol.word());
        section.problem(Code::Conflict, &refuse.place, message);
    }
    refuse.value
}

fn proxy_protocol(section: Section<'_>) -> (Vec<Network>, Option<HeaderVersion>) {
    let accept = networks(&section, "accept");
    let send = section.choice("send", &HeaderVersion::WORDS);
    if !section.has("accept") && !section.has("send") {
        section.missing("accept or send");
    }
    section.finish();
    (accept, send.map(|send| send.value))
}

fn limits(section: Section<'_>, protocol: ProxyProtocol) -> ProxyLimits {
    let default = ProxyLimits::of(protocol);
    let head = section.quantity::<Bytes>("head");
    if let Some(Placed { value, place }) = &head
        && !(SMALLEST_HEAD..=LARGEST_HEAD).contains(value)
    {
        let path = section.path_of("head");
        let message = format!("{path}: {value} is not between {SMALLEST_HEAD} and {LARGEST_HEAD}");
        section.problem(Code::BadValue, place, message);
    }
    let time = |key: &'static str, default: Micros| {
        let Some(Placed { value, place }) = section.quantity::<Micros>(key) else { return default };
        above_zero(&section, key, &place, value)
    };
    let limits = ProxyLimits {
        head: head.map_or(default.head, |head| head.value),
        first_byte: time("first_byte", default.first_byte),
        head_time: time("head_time", default.head_time),
        connect_time: time("connect_time", default.connect_time),
        idle: time("idle", default.idle),
        connections: section
            .integer("connections", 1..=1_000_000)
            .map_or(default.connections, |most| most.value),
        drain: section.quantity::<Micros>("drain").map_or(default.drain, |drain| drain.value),
    };
    section.finish();
    limits
}

fn above_zero(section: &Section<'_>, key: &str, place: &Place, time: Micros) -> Micros {
    if time == Micros::new(0) {
        let message = format!("{}: with no time at all every connection ends", section.path_of(key));
        section.problem(Code::BadValue, place, message);
    }
    time
}
