//! The packets of one flow that leave, where its socket is another program's: filters choose their class by addresses and
//! ports, in hash tables of 256 buckets by the local port.
//!
//! A packet that has a class by its priority passes no filter. Packets with options of IPv4 or extension headers of IPv6,
//! and fragments after the first, match none.
//!
//! Source: kernel `net/sched/cls_u32.c`, `net/sched/sch_htb.c`.

use core::net::{IpAddr, SocketAddr};

use super::filter::{TooMany, U32Key};
use super::layout::flow_number;
use super::receiving::{IpVersion, PlacedFilter, tables};
use crate::kernel::Handle;

/// The packets of one flow that leave.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Leaving {
    /// The number of the transport protocol, as in the IP header.
    pub protocol: u8,
    /// The port of this host that the packets come from.
    pub local_port: u16,
    /// The address and port that they are sent to.
    pub peer: SocketAddr,
}

/// The low byte of the local port, which is the first of both ports.
const HASHED: u32 = 0x00ff_0000;

/// The hash tables that the filters of [`Leaving`] are in, and the filters that lead there: before the first flow's.
pub fn leaving_tables() -> Result<Vec<PlacedFilter>, TooMany> {
    tables(HASHED)
}

impl Leaving {
    /// The filter that puts the flow into its own class; `None` for a class that is no flow's own.
    pub fn filter(&self, class: Handle) -> Option<Result<PlacedFilter, TooMany>> {
        let number = flow_number(class)?;
        Some(IpVersion::of(self.peer).filter_in_table(self.local_port, (class, number), &self.keys()))
    }

    fn keys(&self) -> Vec<U32Key> {
        let ports = u32::from(self.local_port) << 16 | u32::from(self.peer.port());
        let word = |offset, value| U32Key { offset, mask: u32::MAX, value };
        let protocol = u32::from(self.protocol);
        match self.peer.ip().to_canonical() {
            IpAddr::V4(peer) => vec![
                word(20, ports),
                word(16, peer.to_bits()),
                U32Key { offset: 8, mask: 0x00ff_0000, value: protocol << 16 },
            ],
            IpAddr::V6(peer) => {
                let octets = peer.octets();
                let (words, _) = octets.as_chunks::<4>();
                let words = (24..).step_by(4).zip(words.iter().map(|word| u32::from_be_bytes(*word)));
                let mut keys = vec![word(40, ports)];
                keys.extend(words.map(|(at, value)| word(at, value)));
                keys.push(U32Key { offset: 4, mask: 0x0000_ff00, value: protocol << 8 });
                keys
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::{DEFAULT_CLASS, flow_class};
    use super::*;

    #[test]
    fn the_peer_is_the_destination_and_the_local_port_the_source() {
        let leaving = Leaving { protocol: 6, local_port: 443, peer: "10.0.0.1:80".parse().unwrap() };
        let keys: Vec<_> = leaving.keys().iter().map(|key| (key.offset, key.mask, key.value)).collect();
        let all = u32::MAX;
        assert_eq!(keys, [(20, all, 0x01bb_0050), (16, all, 0x0a00_0001), (8, 0x00ff_0000, 0x0006_0000)]);
        let filter = leaving.filter(flow_class(2)).unwrap().unwrap();
        assert_eq!((filter.handle, filter.priority), (0x001b_b003, 0x6771), "the bucket of the local port");
        assert_eq!(leaving.filter(DEFAULT_CLASS), None);
        let leaving = Leaving { peer: "[2001:db8::1]:80".parse().unwrap(), ..leaving };
        let keys: Vec<_> = leaving.keys().iter().map(|key| (key.offset, key.value)).collect();
        let addresses = [(24, 0x2001_0db8), (28, 0), (32, 0), (36, 1)];
        assert_eq!((keys[0], &keys[1..5], keys[5]), ((40, 0x01bb_0050), &addresses[..], (4, 0x0600)));
    }
}
