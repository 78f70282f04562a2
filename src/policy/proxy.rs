//! Proxies: where unmodified origins listen, and what their connections get.

use core::net::{IpAddr, SocketAddr};
use core::num::NonZeroUsize;

use flowspec::{Bytes, Micros};

use super::place::Place;
use super::rule::{Network, PortRange};

/// A listener in front of an origin: `[proxy.NAME]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Proxy {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// The origin: a host name or an address, a colon and a port.
    pub to: String,
    /// What clients speak.
    pub protocol: ProxyProtocol,
    /// The class of connections that no rule gives another.
    pub class: Option<String>,
    /// The templates of connections without a rule, best first. Empty where the policy's `[[rule]]`s decide.
    pub templates: Vec<String>,
    /// In the order of the file; the first rule that matches applies.
    pub rules: Vec<ProxyRule>,
    /// How a refused client is answered.
    pub refuse: RefuseAs,
    /// What a refused client is told to wait.
    pub retry_after: Micros,
    /// The path of the page of a refusal by HTTP; the decision as JSON where this is `None`.
    pub page: Option<String>,
    /// The networks of load balancers, whose connections begin with a PROXY protocol header.
    pub accept: Vec<Network>,
    /// The version of the PROXY protocol header that the origin gets.
    pub send: Option<HeaderVersion>,
    /// Bounds on what clients may use.
    pub limits: ProxyLimits,
    /// Whether data that is not read on its way stays in the kernel; otherwise it is copied.
    pub splice: bool,
    /// The most threads that serve it; all that there are where this is `None`.
    pub workers: Option<NonZeroUsize>,
    /// Where the proxy is defined.
    pub place: Place,
}

/// What the clients of a proxy speak.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ProxyProtocol {
    /// HTTP/1.0 and HTTP/1.1, whose request heads are read.
    Http,
    /// TLS, whose server name is read; it is not terminated.
    Tls,
    /// RTSP, whose first request is read.
    Rtsp,
    /// RTMP, which is passed on unread.
    Rtmp,
    /// Any stream, which is passed on unread.
    Tcp,
    /// Datagrams; a client's address and port are a session.
    Udp,
}

/// How a proxy answers a refused client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RefuseAs {
    /// 503 with Retry-After, by HTTP.
    ServiceUnavailable,
    /// 453 Not Enough Bandwidth, by RTSP.
    NotEnoughBandwidth,
    /// The connection is reset.
    Reset,
    /// The connection is closed; a datagram is not answered.
    Close,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HeaderVersion {
    /// One line of text.
    V1,
    /// A binary header.
    V2,
}

/// What the connections that meet all conditions get.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProxyRule {
    /// All of them have to hold.
    pub matches: ProxyMatch,
    /// The class of the flow; the proxy's where this is `None`.
    pub class: Option<String>,
    /// The templates that give the flow its flowspecs, best first. Never empty.
    pub templates: Vec<String>,
    /// Where the rule is defined.
    pub place: Place,
}

/// Conditions on a connection or on a request. An absent condition always holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ProxyMatch {
    /// One of these patterns matches the host name of the request, without its port.
    pub host: Vec<String>,
    /// One of these patterns matches the path of the request, without its query.
    pub path: Vec<String>,
    /// One of these patterns matches the server name in the ClientHello.
    pub sni: Vec<String>,
    /// One of these networks contains the client's address.
    pub peer: Vec<Network>,
    /// One of these ranges contains the port that the client has connected to.
    pub port: Vec<PortRange>,
}

/// What the rules of a proxy look at.
#[derive(Clone, Copy, Debug)]
pub struct ProxySubject<'a> {
    /// The client's address, by the PROXY protocol header where there is one.
    pub peer: IpAddr,
    /// The port that the client has connected to, as the proxy or the load balancer before it has it.
    pub port: u16,
    /// The host name of the request, in lower case and without its port.
    pub host: Option<&'a str>,
    /// The path of the request, decoded and without its query.
    pub path: Option<&'a str>,
    /// The server name in the ClientHello, in lower case.
    pub sni: Option<&'a str>,
}

/// Bounds on what the clients of a proxy may use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ProxyLimits {
    /// The most bytes of a head: of a request, of a ClientHello, of a chunk's trailers.
    pub head: Bytes,
    /// How long a client may send nothing after it has connected.
    pub first_byte: Micros,
    /// How long a head may take from its first byte to its last.
    pub head_time: Micros,
    /// How long the origin may take to accept a connection.
    pub connect_time: Micros,
    /// How long nothing may pass in either direction; the session of a client of datagrams ends then.
    pub idle: Micros,
    /// The most connections, or sessions of datagrams, at a time.
    pub connections: u64,
    /// How long connections may go on after SIGTERM.
    pub drain: Micros,
}

impl ProxyLimits {
    /// Those of a proxy that states none.
    pub const DEFAULT: Self = Self {
        head: Bytes::new(16_384),
        first_byte: Micros::new(30_000_000),
        head_time: Micros::new(10_000_000),
        connect_time: Micros::new(5_000_000),
        idle: Micros::new(600_000_000),
        connections: 10_000,
        drain: Micros::new(30_000_000),
    };
}

impl ProxyLimits {
    /// Those of a proxy of this protocol that states none: a client of datagrams does not say when it leaves.
    pub const fn of(protocol: ProxyProtocol) -> Self {
        match protocol {
            ProxyProtocol::Udp => Self { idle: Micros::new(60_000_000), ..Self::DEFAULT },
            _ => Self::DEFAULT,
        }
    }
}

impl ProxyProtocol {
    /// The words of a policy file.
    pub(crate) const WORDS: [(&str, Self); 6] = [
        ("http", Self::Http),
        ("tls", Self::Tls),
        ("rtsp", Self::Rtsp),
        ("rtmp", Self::Rtmp),
        ("tcp", Self::Tcp),
        ("udp", Self::Udp),
    ];

    /// The word of a policy file.
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, known)| *known == self).map_or("", |(word, _)| word)
    }

    /// How a refused client is answered unless the policy says otherwise.
    pub const fn default_refusal(self) -> RefuseAs {
        match self {
            Self::Http => RefuseAs::ServiceUnavailable,
            Self::Rtsp => RefuseAs::NotEnoughBandwidth,
            Self::Tls | Self::Rtmp | Self::Tcp | Self::Udp => RefuseAs::Close,
        }
    }

    /// Whether a client can be refused in this way.
    pub fn can_refuse(self, refuse: RefuseAs) -> bool {
        match refuse {
            RefuseAs::Close => true,
            RefuseAs::Reset => self != Self::Udp,
            RefuseAs::ServiceUnavailable | RefuseAs::NotEnoughBandwidth => refuse == self.default_refusal(),
        }
    }
}

impl RefuseAs {
    /// The words of a policy file.
    pub(crate) const WORDS: [(&str, Self); 4] = [
        ("503", Self::ServiceUnavailable),
        ("453", Self::NotEnoughBandwidth),
        ("reset", Self::Reset),
        ("close", Self::Close),
    ];
}

impl HeaderVersion {
    /// The words of a policy file.
    pub(crate) const WORDS: [(&str, Self); 2] = [("v1", Self::V1), ("v2", Self::V2)];
}

impl Proxy {
    /// A proxy that states where it listens and what it is in front of, and nothing else.
    pub fn new(listen: SocketAddr, to: impl Into<String>, protocol: ProxyProtocol) -> Self {
        Self {
            listen,
            to: to.into(),
            protocol,
            class: None,
            templates: Vec::new(),
            rules: Vec::new(),
            refuse: protocol.default_refusal(),
            retry_after: Self::DEFAULT_RETRY_AFTER,
            page: None,
            accept: Vec::new(),
            send: None,
            limits: ProxyLimits::of(protocol),
            splice: true,
            workers: None,
            place: Place::default(),
        }
    }

    /// The most threads that serve one: more than a machine has cores.
    pub const MOST_WORKERS: u16 = 1024;

    /// Whether a text is an origin: a host name or an address, a colon and a port.
    pub fn is_origin(text: &str) -> bool {
        if text.parse::<SocketAddr>().is_ok_and(|address| address.port() > 0) {
            return true;
        }
        let Some((name, port)) = text.rsplit_once(':') else { return false };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        // A name of digits and dots alone would be an address, and it is none.
        let is_number = name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        !name.is_empty()
            && name.len() <= 253
            && name.bytes().all(is_name)
            && !is_number
            && port.bytes().all(|byte| byte.is_ascii_digit())
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    }

    pub(crate) const DEFAULT_RETRY_AFTER: Micros = Micros::new(5_000_000);

    /// The number of the first rule that matches, from 0; `None` where the proxy's own templates apply.
    pub fn rule_for(&self, subject: &ProxySubject<'_>) -> Option<usize> {
        self.rules.iter().position(|rule| rule.matches.is_met_by(subject))
    }

    /// Whether connections from this address begin with a PROXY protocol header.
    pub fn expects_header(&self, from: IpAddr) -> bool {
        self.accept.iter().any(|network| network.contains(from))
    }
}

impl ProxyMatch {
    /// Whether every connection or request that meets `other` meets these conditions too. `false` may also mean that a
    /// comparison of each condition with its counterpart is not enough to tell.
    pub fn covers(&self, other: &Self) -> bool {
        // A literal part of a pattern contains no '*': what it matches in the other pattern is literal there too.
        let patterns = |own: &[String], other: &[String]| {
            own.is_empty()
                || !other.is_empty()
                    && other.iter().all(|text| own.iter().any(|pattern| matches(pattern, text)))
        };
        let ports = |range: &PortRange| {
            self.port.iter().any(|own| own.start() <= range.start() && range.end() <= own.end())
        };
        let peers = |network: &Network| self.peer.iter().any(|own| own.covers(network));
        patterns(&self.host, &other.host)
            && patterns(&self.path, &other.path)
            && patterns(&self.sni, &other.sni)
            && (self.peer.is_empty() || !other.peer.is_empty() && other.peer.iter().all(peers))
            && (self.port.is_empty() || !other.port.is_empty() && other.port.iter().all(ports))
    }

    /// Whether the connection or the request meets all conditions.
    pub fn is_met_by(&self, subject: &ProxySubject<'_>) -> bool {
        let meets = |patterns: &[String], text: Option<&str>| {
            patterns.is_empty()
                || text.is_some_and(|text| patterns.iter().any(|pattern| matches(pattern, text)))
        };
        meets(&self.host, subject.host)
            && meets(&self.path, subject.path)
            && meets(&self.sni, subject.sni)
            && (self.peer.is_empty() || self.peer.iter().any(|network| network.contains(subject.peer)))
            && (self.port.is_empty() || self.port.iter().any(|range| range.contains(&subject.port)))
    }
}

/// Whether a pattern matches the whole text; `*` stands for any text, the empty text included.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let parts: Vec<_> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_name_or_an_address_with_a_port() {
        for text in ["127.0.0.1:80", "[::1]:8080", "origin:80", "origin-1.example.com:65535"] {
            assert!(Proxy::is_origin(text), "{text}");
        }
        for text in
            ["", "origin", ":80", "origin:", "origin:0", "127.0.0.1:0", "1.2.3:80", "::1:80", "a b:1", "a:+1"]
        {
            assert!(!Proxy::is_origin(text), "{text}");
        }
    }

    #[test]
    fn a_rule_applies_where_all_its_conditions_hold() {
        let peer = "10.0.0.7".parse().expect("an address");
        let subject =
            ProxySubject { peer, port: 4000, host: Some("a.example"), path: Some("/hd/1.ts"), sni: None };
        let check = |what: &str, matches: ProxyMatch, expected: bool| {
            assert_eq!(matches.is_met_by(&subject), expected, "{what}");
        };
        let text = |text: &str| vec![text.to_owned()];
        check("no condition", ProxyMatch::default(), true);
        check("a path", ProxyMatch { path: text("/hd/*"), ..ProxyMatch::default() }, true);
        check("another path", ProxyMatch { path: text("/sd/*"), ..ProxyMatch::default() }, false);
        check(
            "host and path",
            ProxyMatch { host: text("*.example"), path: text("*.ts"), ..ProxyMatch::default() },
            true,
        );
        check(
            "one does not hold",
            ProxyMatch { host: text("b.example"), path: text("*"), ..ProxyMatch::default() },
            false,
        );
        check("what is not known", ProxyMatch { sni: text("*"), ..ProxyMatch::default() }, false);
        check("a port", ProxyMatch { port: vec![4000..=4001], ..ProxyMatch::default() }, true);
        let network = |text: &str| vec![text.parse().expect("a network")];
        check("a network", ProxyMatch { peer: network("10.0.0.0/8"), ..ProxyMatch::default() }, true);
        check("another network", ProxyMatch { peer: network("11.0.0.0/8"), ..ProxyMatch::default() }, false);
    }
}
