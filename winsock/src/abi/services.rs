//! The services of services(5), and the protocols of IP.

pub(super) struct ServiceEntry {
    pub(super) name: String,
    pub(super) aliases: Vec<String>,
    pub(super) port: u16,
    pub(super) protocol: String,
}

/// The first service for which `is_wanted` holds. Without a services file there is none.
pub(super) fn find(is_wanted: impl Fn(&ServiceEntry) -> bool) -> Option<ServiceEntry> {
    let file = std::fs::read_to_string("/etc/services").unwrap_or_default();
    file.lines().filter_map(parse_line).find(is_wanted)
}

fn parse_line(line: &str) -> Option<ServiceEntry> {
    let mut words = line.split('#').next()?.split_whitespace();
    let (name, port_and_protocol) = (words.next()?, words.next()?);
    let (port, protocol) = port_and_protocol.split_once('/')?;
    Some(ServiceEntry {
        name: name.to_owned(),
        aliases: words.map(str::to_owned).collect(),
        port: port.parse().ok()?,
        protocol: protocol.to_owned(),
    })
}

impl ServiceEntry {
    /// Whether it has this name or alias, and this protocol. An empty protocol is any.
    pub(super) fn is_named(&self, name: &str, protocol: &str) -> bool {
        (self.name == name || self.aliases.iter().any(|alias| alias == name)) && self.has_protocol(protocol)
    }

    /// Whether it has this protocol. An empty one is any.
    pub(super) fn has_protocol(&self, protocol: &str) -> bool {
        protocol.is_empty() || self.protocol == protocol
    }
}

/// Names and numbers of protocols. Source: protocols(5).
pub(super) const PROTOCOLS: [(&str, i16); 6] =
    [("ip", 0), ("icmp", 1), ("tcp", 6), ("udp", 17), ("ipv6", 41), ("ipv6-icmp", 58)];
