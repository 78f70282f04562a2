//! Rules: the class, the group and the templates of a flow whose caller names neither template nor flowspec.

use core::net::IpAddr;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::place::Place;

/// A rule. The first rule whose conditions all hold applies.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rule {
    /// All of them have to hold.
    pub matches: Match,
    /// The class of the flow, unless its caller names one.
    pub class: Option<String>,
    /// The group whose reservation the flow shares, unless its caller names one. The rule then applies only to flows on
    /// the group's interface.
    pub group: Option<String>,
    /// The templates that give the flow its flowspecs, best first: it gets the first that fits. Never empty.
    pub templates: Vec<String>,
    /// Where the rule is defined.
    pub place: Place,
}

/// Conditions on a flow. An absent condition always holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Match {
    /// `None` for any transport protocol.
    pub protocol: Option<Protocol>,
    /// One of these ranges contains the local port.
    pub local_port: Vec<PortRange>,
    /// One of these networks contains the peer's address.
    pub peer: Vec<Network>,
}

/// The transports that rules tell apart.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Protocol {
    /// IPPROTO_TCP: a stream.
    Tcp,
    /// IPPROTO_UDP: datagrams.
    Udp,
}

impl Protocol {
    /// The number in IP headers.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

/// The first and the last port, both included.
pub type PortRange = RangeInclusive<u16>;

/// The properties of a flow that rules look at.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// The transport of the socket.
    pub protocol: Protocol,
    /// The local port; 0 if none is bound yet.
    pub local_port: u16,
    /// The address of the other end.
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
#[non_exhaustive]
pub enum NotANetwork {
    /// The text is neither an address nor an address with a prefix length.
    #[error("{text:?} is not a network; write \"10.0.0.0/8\", \"2001:db8::/32\" or one address")]
    Syntax {
        /// What stands in the place of a network.
        text: String,
    },
    /// The address has bits set beyond its prefix.
    #[error("{text:?} has bits set beyond its prefix; the network is \"{network}\"")]
    HostBits {
        /// What stands in the place of a network.
        text: String,
        /// The network that contains the address.
        network: Network,
    },
}

impl Match {
    /// Whether every flow that meets `other` meets these conditions too. Each condition is compared with its
    /// counterpart; `false` may also mean that this is not enough to tell.
    pub fn covers(&self, other: &Self) -> bool {
        let ports = |range: &PortRange| {
            self.local_port.iter().any(|own| own.start() <= range.start() && range.end() <= own.end())
        };
        let peers = |network: &Network| self.peer.iter().any(|own| own.covers(network));
        (self.protocol.is_none() || self.protocol == other.protocol)
            && (self.local_port.is_empty()
                || !other.local_port.is_empty() && other.local_port.iter().all(ports))
            && (self.peer.is_empty() || !other.peer.is_empty() && other.peer.iter().all(peers))
    }

    /// Whether the flow meets all conditions.
    pub fn is_met_by(&self, subject: &Subject) -> bool {
        self.protocol.is_none_or(|protocol| protocol == subject.protocol)
            && (self.local_port.is_empty()
                || self.local_port.iter().any(|range| range.contains(&subject.local_port)))
            && (self.peer.is_empty() || self.peer.iter().any(|network| network.contains(subject.peer)))
    }
}

impl Protocol {
    /// The words of policy and test files.
    pub(crate) const WORDS: [(&str, Self); 2] = [("tcp", Self::Tcp), ("udp", Self::Udp)];
}

impl Network {
    /// Whether it contains every address of `other`.
    pub fn covers(&self, other: &Self) -> bool {
        other.address.is_ipv4() == self.address.is_ipv4()
            && self.prefix <= other.prefix
            && masked(other.address, self.prefix) == bits(self.address)
    }

    pub(super) const fn is_ipv4(&self) -> bool {
        self.address.is_ipv4()
    }

    /// Its addresses as numbers, whose first bit is the most significant of 128.
    pub(super) fn addresses(&self) -> RangeInclusive<u128> {
        let first = bits(self.address);
        first..=first | u128::MAX.checked_shr(self.prefix.into()).unwrap_or(0)
    }

    /// Whether it contains the address. An IPv4-mapped IPv6 address counts as IPv4.
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
        let is_mapped = address.is_ipv6() && address.to_canonical().is_ipv4();
        if is_mapped && prefix < MAPPED {
            return Err(NotANetwork::HostBits {
                text: text.to_owned(),
                network: meant_as_ipv4(address, prefix),
            });
        }
        let (address, prefix) = unmapped(address, prefix);
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

/// How many bits of an IPv4-mapped address are the same in all of them.
const MAPPED: u8 = 96;

/// A network of IPv4-mapped addresses as the IPv4 network that it stands for; the addresses of flows are IPv4 as well.
fn unmapped(address: IpAddr, prefix: u8) -> (IpAddr, u8) {
    match (address.to_canonical(), prefix.checked_sub(MAPPED)) {
        (IpAddr::V4(v4), Some(rest)) if address.is_ipv6() => (IpAddr::V4(v4), rest),
        _ => (address, prefix),
    }
}

/// The IPv4 network that a mapped address with a prefix below 96 stands for: the prefix of an IPv4 address, or else of all
/// of them. The IPv6 network of that prefix contains no address of a flow over IPv4.
fn meant_as_ipv4(address: IpAddr, prefix: u8) -> Network {
    let address = address.to_canonical();
    let prefix = if prefix <= 32 { prefix } else { 0 };
    Network { address: from_bits(masked(address, prefix), true), prefix }
}

/// The address as a number; its first bit is the most significant of 128.
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
        assert_eq!(network.contains(address), inside, "{network} contains {address}");
    }

    #[test]
    fn a_network_contains_the_addresses_with_its_prefix() {
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
    fn a_network_of_mapped_addresses_is_an_ipv4_network() {
        check("::ffff:10.0.0.0/104", "10.1.2.3", true);
        check("::ffff:10.0.0.0/104", "::ffff:10.1.2.3", true);
        check("::ffff:10.0.0.0/104", "11.1.2.3", false);
        check("::ffff:192.0.2.7", "192.0.2.7", true);
        check("::ffff:0:0/96", "203.0.113.1", true);
        check("::ffff:0:0/96", "2001:db8::1", false);
        let network: Network = "::ffff:a00:0/104".parse().unwrap();
        assert_eq!(network.to_string(), "10.0.0.0/8");
        let error = "::ffff:10.1.0.0/104".parse::<Network>().unwrap_err();
        assert!(error.to_string().contains("\"10.0.0.0/8\""), "{error}");
        for (text, meant) in [("::ffff:10.1.0.0/8", "10.0.0.0/8"), ("::ffff:10.0.0.0/64", "0.0.0.0/0")] {
            let error = text.parse::<Network>().unwrap_err().to_string();
            assert!(error.contains(&format!("\"{meant}\"")), "{error}");
        }
    }

    #[test]
    fn other_texts_are_not_networks() {
        for text in ["", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "10.0.0/8", "::/129", "host"] {
            assert!(matches!(text.parse::<Network>(), Err(NotANetwork::Syntax { .. })), "{text}");
        }
        let error = "10.1.0.0/8".parse::<Network>().expect_err("host bits");
        assert!(error.to_string().contains("\"10.0.0.0/8\""), "{error}");
    }
}
