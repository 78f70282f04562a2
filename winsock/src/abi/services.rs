//! Services and protocols by name and by number: services(5), and the protocols that sockets are of.

/// A service, as a line of services(5) has it.
pub(super) struct Service {
    pub(super) name: String,
    pub(super) aliases: Vec<String>,
    pub(super) port: u16,
    pub(super) protocol: String,
}

/// The first service that `wanted` holds for. Where there is no file there are no services.
pub(super) fn find(wanted: impl Fn(&Service) -> bool) -> Option<Service> {
    let known = std::fs::read_to_string("/etc/services").unwrap_or_default();
    known.lines().filter_map(read).find(wanted)
}

fn read(line: &str) -> Option<Service> {
    let mut words = line.split('#').next()?.split_whitespace();
    let (name, place) = (words.next()?, words.next()?);
    let (port, protocol) = place.split_once('/')?;
    Some(Service {
        name: name.to_owned(),
        aliases: words.map(str::to_owned).collect(),
        port: port.parse().ok()?,
        protocol: protocol.to_owned(),
    })
}

impl Service {
    /// Whether it is called so, and is of this protocol; any, where that is empty.
    pub(super) fn is(&self, name: &str, protocol: &str) -> bool {
        (self.name == name || self.aliases.iter().any(|alias| alias == name)) && self.is_of(protocol)
    }

    /// Whether it is of this protocol; any, where that is empty.
    pub(super) fn is_of(&self, protocol: &str) -> bool {
        protocol.is_empty() || self.protocol == protocol
    }
}

/// Source: the protocol numbers of IP, as protocols(5) names them.
pub(super) const PROTOCOLS: [(&str, i16); 6] =
    [("ip", 0), ("icmp", 1), ("tcp", 6), ("udp", 17), ("ipv6", 41), ("ipv6-icmp", 58)];
