//! Rules: what a flow gets when its caller names nothing.

use core::net::IpAddr;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::place::Place;

/// A rule: the first whose conditions all hold decides.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rule {
    /// Its conditions.
    pub matches: Match,
    /// The class it gives.
    pub class: Option<String>,
    /// The template it gives.
    pub template: String,
    /// Where it is defined.
    pub place: Place,
}

/// Conditions; an absent one always holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Match {
    /// The transport.
    pub protocol: Option<Protocol>,
    /// One of these contains the local port.
    pub local_port: Vec<PortRange>,
    /// One of these contains the peer's address.
    pub peer: Vec<Network>,
}

/// A transport.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port or several in a row.
pub type PortRange = RangeInclusive<u16>;

/// What a rule is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// The transport.
    pub protocol: Protocol,
    /// The local port; 0 where none is bound yet.
    pub local_port: u16,
    /// The peer's address.
    pub peer: IpAddr,
}

/// An address range in CIDR notation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is not a network.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotANetwork {
    /// Neither an address nor an address with a prefix length.
    #[error("{text:?} is not a network; write \"10.0.0.0/8\", \"2001:db8::/32\" or one address")]
    Syntax {
        /// What was written.
        text: String,
    },
    /// Bits beyond the prefix are set.
    #[error("{text:?} has bits set beyond its prefix; the network is \"{network}\"")]
    HostBits {
        /// What was written.
        text: String,
        /// The network that contains it.
        network: Network,
    },
}

impl Match {
    /// Whether it matches everything that another one does, as far as conditions one by one can tell.
    pub fn covers(&self, other: &Self) -> bool {
        let ports = |range: &PortRange| {
            self.local_port.iter().any(|mine| mine.start() <= range.start() && range.end() <= mine.end())
        };
        let peers = |network: &Network| self.peer.iter().any(|mine| mine.covers(network));
        (self.protocol.is_none() || self.protocol == other.protocol)
            && (self.local_port.is_empty()
                || !other.local_port.is_empty() && other.local_port.iter().all(ports))
            && (self.peer.is_empty() || !other.peer.is_empty() && other.peer.iter().all(peers))
    }

    /// Whether all conditions hold.
    pub fn admits(&self, subject: &Subject) -> bool {
        self.protocol.is_none_or(|protocol| protocol == subject.protocol)
            && (self.local_port.is_empty()
                || self.local_port.iter().any(|range| range.contains(&subject.local_port)))
            && (self.peer.is_empty() || self.peer.iter().any(|network| network.contains(subject.peer)))
    }
}

impl Protocol {
    /// The name in policy files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl Network {
    /// Whether every address of another network lies in it.
    pub fn covers(&self, other: &Self) -> bool {
        other.address.is_ipv4() == self.address.is_ipv4()
            && self.prefix <= other.prefix
            && masked(other.address, self.prefix) == bits(self.address)
    }

    /// Whether the address lies in it. An IPv4 address mapped into IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && masked(address, self.prefix) == bits(self.address)
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let syntax = || NotANetwork::Syntax { text: text.to_owned() };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| syntax())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => width,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().filter(|&prefix| prefix <= width).ok_or_else(syntax)?
            }
            Some(_) => return Err(syntax()),
        };
        let kept = masked(address, prefix);
        if kept != bits(address) {
            let network = Self { address: from_bits(kept, address.is_ipv4()), prefix };
            return Err(NotANetwork::HostBits { text: text.to_owned(), network });
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// The address as a number, its first bit the highest of 128.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn from_bits(bits: u128, v4: bool) -> IpAddr {
    match u32::try_from(bits >> 96) {
        Ok(high) if v4 => IpAddr::V4(high.into()),
        _ => IpAddr::V6(bits.into()),
    }
}

fn masked(address: IpAddr, prefix: u8) -> u128 {
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
    bits(address) & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(network: &str, address: &str, inside: bool) {
        let network: Network = network.parse().expect(network);
        let address = address.parse().expect(address);
        assert_eq!(network.contains(address), inside, "{address} in {network}");
    }

    #[test]
    fn networks_contain_what_shares_their_prefix() {
        check("10.0.0.0/8", "10.255.0.1", true);
        check("10.0.0.0/8", "11.0.0.0", false);
        check("10.0.0.0/8", "::ffff:10.1.1.1", true);
        check("10.0.0.0/8", "a00::", false);
        check("0.0.0.0/0", "255.255.255.255", true);
        check("0.0.0.0/0", "::1", false);
        check("192.0.2.7", "192.0.2.7", true);
        check("192.0.2.7", "192.0.2.6", false);
        check("2001:db8::/33", "2001:db8:7fff::1", true);
        check("2001:db8::/33", "2001:db8:8000::", false);
        check("::/0", "::1", true);
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "10.0.0/8", "::/129", "host"] {
            assert!(matches!(text.parse::<Network>(), Err(NotANetwork::Syntax { .. })), "{text}");
        }
        let error = "10.1.0.0/8".parse::<Network>().expect_err("host bits");
        assert!(error.to_string().contains("\"10.0.0.0/8\""), "{error}");
    }
}
