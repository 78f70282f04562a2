//! What an interface receives: packets are redirected to an ifb, which has a tree like that of what leaves, and filters
//! there choose the class of each flow by its addresses and ports.
//!
//! ```text
//! eth0 ingress ffff:   every packet is redirected to the ifb
//! ifb  6771: htb root  the same tree, with the receiving budget
//!       └ u32          a hash table of 256 buckets for IPv4, one for IPv6, by the local port
//! ```
//!
//! SO_PRIORITY does not say the class of what arrives, so that there is a filter for each flow. Packets with options of
//! IPv4 or extension headers of IPv6, and fragments after the first, match no filter: they are in the default class.
//!
//! Source: kernel `net/sched/cls_u32.c`.

use core::net::{IpAddr, SocketAddr};

use netlink_packet_core::DefaultNla;

use super::attributes::emit;
use super::change::{Change, shell_word};
use super::filter::{Filter, Redirect, Target, TooMany, U32Key, selector};
use super::layout::{FILTER_PRIORITY, ROOT_QDISC, flow_number};
use super::observed::ForeignRoot;
use crate::kernel::Differences;
use crate::kernel::Handle;

/// The packets of one flow that arrive.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Arriving {
    /// The number of the transport protocol, as in the IP header.
    pub protocol: u8,
    /// The address and port that the packets come from.
    pub peer: SocketAddr,
    /// The port of this host that they are sent to.
    pub local_port: u16,
}

/// A filter with its place: everything that a request for it needs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PlacedFilter {
    /// The qdisc whose filters it is among.
    pub parent: Handle,
    /// The lowest priority is asked first.
    pub priority: u16,
    /// The EtherType of the packets; ETH_P_ALL for all.
    pub protocol: u16,
    /// Its handle, or that of a hash table; 0 lets the kernel choose.
    pub handle: u32,
    /// The attributes of TCA_OPTIONS.
    pub options: Vec<u8>,
}

/// A change of the tree and of the filters of an ifb, which is applied as a whole.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ReceivingChange {
    /// Filters that are deleted, before their classes are.
    pub without: Vec<PlacedFilter>,
    /// The change of the ifb's tree.
    pub tree: Change,
    /// Filters that are added, after their classes.
    pub with: Vec<PlacedFilter>,
}

/// What the kernel has of the ifb of an interface, compared with what it is to have.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ReceivingState {
    /// Everything.
    Intact,
    /// Another program's qdisc has what the interface receives. It is never replaced.
    Foreign(ForeignRoot),
    /// Classes alone differ, which this change repairs.
    Changed(Change),
    /// Something else differs: the ifb is to be set up again.
    Gone(Differences),
}

/// The qdisc of what an interface receives: `TC_H_INGRESS`, and its handle.
pub const INGRESS: Handle = Handle::from_u32(0xffff_fff1);
/// `ffff:`, the handle that the kernel gives [`INGRESS`].
pub const INGRESS_QDISC: Handle = Handle::qdisc(0xffff);

const ETH_P_ALL: u16 = 0x0003;
const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;

const TCA_U32_CLASSID: u16 = 1;
const TCA_U32_HASH: u16 = 2;
const TCA_U32_LINK: u16 = 3;
const TCA_U32_DIVISOR: u16 = 4;
const TCA_U32_SEL: u16 = 5;

/// The buckets of a hash table. The kernel takes no more.
const BUCKETS: u32 = 256;

/// The commands of iproute2 that make the ifb of the interface with this number, and its hash tables. The tree comes after
/// the first two.
pub fn receiving_commands(index: u32) -> Vec<String> {
    let ifb = receiver_name(index);
    let parent = format!("dev {ifb} parent {ROOT_QDISC}");
    let mut commands =
        vec![format!("ip link add {ifb} txqueuelen 1000 type ifb"), format!("ip link set {ifb} up")];
    for (table, version) in (1..).zip([IpVersion::V4, IpVersion::V6]) {
        let (priority, word) = (version.placed(Vec::new()).priority, version.ports());
        let (protocol, match_) = match version {
            IpVersion::V4 => ("ip", "match u32 0x05000000 0x0f000000 at 0 match u32 0 0x1fff at 4"),
            IpVersion::V6 => ("ipv6", "match u32 0 0 at 0"),
        };
        let place = format!("tc filter add {parent} protocol {protocol} prio {priority}");
        commands.push(format!("{place} handle {table}: u32 divisor {BUCKETS}"));
        commands.push(format!("{place} u32 {match_} hashkey mask 0x000000ff at {word} link {table}:"));
    }
    commands
}

/// The commands of iproute2 that send what an interface receives to its ifb.
pub fn redirect_commands(interface: &str, index: u32) -> Vec<String> {
    let (device, ifb) = (shell_word(interface), receiver_name(index));
    let place =
        format!("tc filter add dev {device} parent {INGRESS_QDISC} protocol all prio {FILTER_PRIORITY}");
    vec![
        format!("tc qdisc add dev {device} handle {INGRESS_QDISC} ingress"),
        format!("{place} u32 match u32 0 0 action mirred egress redirect dev {ifb}"),
    ]
}

/// The commands of iproute2 that remove the receiving half of an interface.
pub fn receiving_removal(interface: &str, index: u32) -> Vec<String> {
    let device = shell_word(interface);
    vec![format!("tc qdisc del dev {device} ingress"), format!("ip link del {}", receiver_name(index))]
}

/// The name of the ifb for what the interface with this number receives: at most 13 bytes of the 15 that a name has.
pub fn receiver_name(index: u32) -> String {
    format!("gqi{index}")
}

/// The number of the interface that an ifb of this name is for; `None` for another name.
pub fn received_by(name: &str) -> Option<u32> {
    let index = name.strip_prefix("gqi")?.parse().ok()?;
    (receiver_name(index) == name).then_some(index)
}

/// Sends everything that an interface receives to its ifb.
pub fn redirect_to(ifb: u32) -> Result<PlacedFilter, TooMany> {
    let target = Target { class: None, redirect: Some(Redirect { index: ifb }) };
    let options = Filter::U32 { target, keys: vec![ALL] }.options()?;
    let (priority, protocol) = (FILTER_PRIORITY, ETH_P_ALL);
    Ok(PlacedFilter { parent: INGRESS_QDISC, priority, protocol, handle: 0, options })
}

/// The hash tables that filters of flows are in, and the filters that lead there: before the first flow's.
pub fn flow_tables() -> Result<Vec<PlacedFilter>, TooMany> {
    tables(BUCKETS - 1)
}

/// The hash tables, by these bits of the word with both ports.
pub(super) fn tables(hashed: u32) -> Result<Vec<PlacedFilter>, TooMany> {
    let tables = [IpVersion::V4, IpVersion::V6].map(|family| {
        let divisor = DefaultNla::new(TCA_U32_DIVISOR, BUCKETS.to_ne_bytes().to_vec());
        let table = PlacedFilter { handle: family.table(), ..family.placed(emit(&[divisor])) };
        let mut selector = selector(&family.headers_without_options())?;
        // Not the last one that is asked, and the word that is hashed.
        selector[0] = 0;
        selector[10..12].copy_from_slice(&family.ports().to_ne_bytes());
        selector[12..16].copy_from_slice(&hashed.to_be_bytes());
        let link = DefaultNla::new(TCA_U32_LINK, family.table().to_ne_bytes().to_vec());
        let link = family.placed(emit(&[link, DefaultNla::new(TCA_U32_SEL, selector)]));
        Ok([table, link])
    });
    let mut filters = Vec::new();
    for table in tables {
        filters.extend(table?);
    }
    Ok(filters)
}

impl Arriving {
    /// The filter that puts the flow into its own class; `None` for a class that is no flow's own.
    pub fn filter(&self, class: Handle) -> Option<Result<PlacedFilter, TooMany>> {
        let number = flow_number(class)?;
        Some(IpVersion::of(self.peer).filter_in_table(self.local_port, (class, number), &self.keys()))
    }

    fn keys(&self) -> Vec<U32Key> {
        let ports = u32::from(self.peer.port()) << 16 | u32::from(self.local_port);
        let word = |offset, value| U32Key { offset, mask: u32::MAX, value };
        let protocol = u32::from(self.protocol);
        match self.peer.ip().to_canonical() {
            IpAddr::V4(peer) => vec![
                word(20, ports),
                word(12, peer.to_bits()),
                U32Key { offset: 8, mask: 0x00ff_0000, value: protocol << 16 },
            ],
            IpAddr::V6(peer) => {
                let octets = peer.octets();
                let (words, _) = octets.as_chunks::<4>();
                let words = (8..).step_by(4).zip(words.iter().map(|word| u32::from_be_bytes(*word)));
                let next_header = U32Key { offset: 4, mask: 0x0000_ff00, value: protocol << 8 };
                [word(40, ports)]
                    .into_iter()
                    .chain(words.map(|(at, value)| word(at, value)))
                    .chain([next_header])
                    .collect()
            }
        }
    }
}

#[derive(Clone, Copy)]
pub(super) enum IpVersion {
    V4,
    V6,
}

/// A key that every packet matches.
const ALL: U32Key = U32Key { offset: 0, mask: 0, value: 0 };

impl IpVersion {
    pub(super) const fn of(peer: SocketAddr) -> Self {
        match peer.ip().to_canonical() {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// A filter in the bucket of the local port, with a class and its number.
    pub(super) fn filter_in_table(
        self,
        local_port: u16,
        (class, number): (Handle, u16),
        keys: &[U32Key],
    ) -> Result<PlacedFilter, TooMany> {
        let bucket = self.table() | u32::from(local_port & 0xff) << 12;
        let attributes = [
            DefaultNla::new(TCA_U32_HASH, bucket.to_ne_bytes().to_vec()),
            DefaultNla::new(TCA_U32_CLASSID, class.to_u32().to_ne_bytes().to_vec()),
            DefaultNla::new(TCA_U32_SEL, selector(keys)?),
        ];
        let node = u32::from(number) + 1;
        Ok(PlacedFilter { handle: bucket | node, ..self.placed(emit(&attributes)) })
    }

    /// The handle of the hash table.
    const fn table(self) -> u32 {
        match self {
            Self::V4 => 1 << 20,
            Self::V6 => 2 << 20,
        }
    }

    /// Where the ports are, in packets without options.
    const fn ports(self) -> i16 {
        match self {
            Self::V4 => 20,
            Self::V6 => 40,
        }
    }

    /// The packets whose ports are at that place.
    fn headers_without_options(self) -> Vec<U32Key> {
        match self {
            // Five words of header, and no fragment but the first.
            Self::V4 => vec![
                U32Key { offset: 0, mask: 0x0f00_0000, value: 0x0500_0000 },
                U32Key { offset: 4, mask: 0x0000_1fff, value: 0 },
            ],
            // The next header is compared for each flow.
            Self::V6 => vec![ALL],
        }
    }

    const fn placed(self, options: Vec<u8>) -> PlacedFilter {
        let (priority, protocol) = match self {
            Self::V4 => (FILTER_PRIORITY, ETH_P_IP),
            Self::V6 => (FILTER_PRIORITY + 1, ETH_P_IPV6),
        };
        PlacedFilter { parent: ROOT_QDISC, priority, protocol, handle: 0, options }
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::{DEFAULT_CLASS, flow_class};
    use super::*;

    #[track_caller]
    fn check(peer: &str, local_port: u16, handle: u32, priority: u16, golden: &[u8]) {
        let arriving = Arriving { protocol: 6, peer: peer.parse().unwrap(), local_port };
        let filter = arriving.filter(flow_class(2)).unwrap().unwrap();
        assert_eq!((filter.handle, filter.priority, filter.parent), (handle, priority, ROOT_QDISC));
        assert_eq!(filter.options, golden);
    }

    /// `tc filter add dev ifb0 parent 6771: protocol ip prio 26481 handle 1:bb:3 u32 ht 1:bb: match ip sport 80 0xffff
    /// match ip dport 443 0xffff match ip src 10.0.0.1 match ip protocol 6 0xff classid 6771:102`, in gqos's order and
    /// with one word for both ports.
    #[test]
    #[cfg(target_endian = "little")]
    fn golden_ipv4() {
        #[rustfmt::skip]
        let golden = [
            0x08, 0x00, 0x02, 0x00, 0x00, 0xb0, 0x1b, 0x00,  // TCA_U32_HASH: 1:bb:
            0x08, 0x00, 0x01, 0x00, 0x02, 0x01, 0x71, 0x67,  // TCA_U32_CLASSID: 6771:102
            0x44, 0x00, 0x05, 0x00,  // length 68, TCA_U32_SEL
            0x01, 0x00, 0x03, 0x00,  // flags: terminal, offshift, nkeys, padding
            0x00, 0x00, 0x00, 0x00,  // offmask, off
            0x00, 0x00, 0x00, 0x00,  // offoff, hoff
            0x00, 0x00, 0x00, 0x00,  // hmask
            0xff, 0xff, 0xff, 0xff, 0x00, 0x50, 0x01, 0xbb, 0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  // ports
            0xff, 0xff, 0xff, 0xff, 0x0a, 0x00, 0x00, 0x01, 0x0c, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  // peer
            0x00, 0xff, 0x00, 0x00, 0x00, 0x06, 0x00, 0x00, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  // TCP
        ];
        check("10.0.0.1:80", 443, 0x001b_b003, 0x6771, &golden);
        check("[::ffff:10.0.0.1]:80", 443, 0x001b_b003, 0x6771, &golden);
    }

    #[test]
    fn six_words_of_an_ipv6_header_are_compared() {
        let arriving = Arriving { protocol: 17, peer: "[2001:db8::1]:80".parse().unwrap(), local_port: 443 };
        let keys: Vec<_> = arriving.keys().iter().map(|key| (key.offset, key.mask, key.value)).collect();
        let all = u32::MAX;
        let addresses = [(8, all, 0x2001_0db8), (12, all, 0), (16, all, 0), (20, all, 1)];
        assert_eq!(keys[0], (40, all, 0x0050_01bb));
        assert_eq!(keys[1..5], addresses);
        assert_eq!(keys[5..], [(4, 0xff00, 0x1100)]);
        let filter = arriving.filter(flow_class(0)).unwrap().unwrap();
        assert_eq!((filter.handle, filter.priority), (0x002b_b001, 0x6772));
    }

    #[test]
    fn a_class_that_is_no_flows_own_gets_no_filter() {
        let arriving = Arriving { protocol: 17, peer: "10.0.0.1:1".parse().unwrap(), local_port: 1 };
        assert_eq!(arriving.filter(DEFAULT_CLASS), None);
    }

    #[test]
    fn the_name_of_an_ifb_names_its_interface() {
        assert_eq!(receiver_name(u32::MAX), "gqi4294967295");
        for (name, index) in
            [("gqi7", Some(7)), ("gqi", None), ("gqi07", None), ("gqi+7", None), ("ifb7", None)]
        {
            assert_eq!(received_by(name), index, "{name}");
        }
    }
}
