//! The fields that a flower filter compares: those of a flow of IPv4.
//!
//! Source: `linux/pkt_cls.h` (TCA_FLOWER_KEY), kernel `net/sched/cls_flower.c`.

use netlink_packet_core::{DecodeError, DefaultNla};

use super::attributes::attribute;

/// The fields; `None` where any value matches. Numbers are as people write them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct FlowerKey {
    /// The protocol in the Ethernet header; the others need IPv4's, 0x0800.
    pub ethernet_protocol: Option<u16>,
    /// The protocol in the IP header: 6 for TCP, 17 for UDP.
    pub protocol: Option<u8>,
    /// The IPv4 source address with its mask; `None` for any.
    pub source: Option<Masked>,
    /// The IPv4 destination address with its mask; `None` for any.
    pub destination: Option<Masked>,
    /// The source port of TCP or UDP; `None` for any.
    pub source_port: Option<u16>,
    /// The destination port of TCP or UDP; `None` for any.
    pub destination_port: Option<u16>,
}

/// An IPv4 address and the bits of it that are compared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Masked {
    /// In the order of the network.
    pub address: [u8; 4],
    /// A one for each bit that is compared.
    pub mask: [u8; 4],
}

const ETH_TYPE: u16 = 8;
const IP_PROTO: u16 = 9;
const IPV4_SOURCE: u16 = 10;
const IPV4_DESTINATION: u16 = 12;
const TCP_SOURCE: u16 = 18;
const TCP_DESTINATION: u16 = 19;
const UDP_SOURCE: u16 = 20;
const UDP_DESTINATION: u16 = 21;

const UDP: u8 = 17;

impl FlowerKey {
    /// The attributes in TCA_OPTIONS. Ports are those of TCP unless the protocol is UDP.
    pub(super) fn attributes(&self) -> Vec<DefaultNla> {
        let Self { ethernet_protocol, protocol, source, destination, source_port, destination_port } = *self;
        let word =
            |kind, value: Option<u16>| value.map(|value| DefaultNla::new(kind, value.to_be_bytes().to_vec()));
        let address = |kind, value: Option<Masked>| {
            let pair = value.map(|Masked { address, mask }| {
                [DefaultNla::new(kind, address.to_vec()), DefaultNla::new(kind + 1, mask.to_vec())]
            });
            pair.into_iter().flatten()
        };
        let (from, to) = ports(protocol);
        let mut attributes: Vec<_> = word(ETH_TYPE, ethernet_protocol).into_iter().collect();
        attributes.extend(protocol.map(|protocol| DefaultNla::new(IP_PROTO, vec![protocol])));
        attributes.extend(address(IPV4_SOURCE, source));
        attributes.extend(address(IPV4_DESTINATION, destination));
        attributes.extend(word(from, source_port));
        attributes.extend(word(to, destination_port));
        attributes
    }

    /// Reads what [`attributes`](Self::attributes) makes.
    pub(super) fn parse(options: &[u8]) -> Result<Self, DecodeError> {
        let word = |kind| -> Result<Option<u16>, DecodeError> {
            let bytes = attribute(options, kind)?.map(|bytes| fixed(&bytes).map(u16::from_be_bytes));
            bytes.transpose()
        };
        let address = |kind| -> Result<Option<Masked>, DecodeError> {
            let Some(address) = attribute(options, kind)? else { return Ok(None) };
            let mask = attribute(options, kind + 1)?;
            let mask = mask.map_or(Ok([0xff; 4]), |mask| fixed(&mask))?;
            Ok(Some(Masked { address: fixed(&address)?, mask }))
        };
        let protocol = attribute(options, IP_PROTO)?.map(|bytes| fixed::<1>(&bytes)).transpose()?;
        let protocol = protocol.map(|[protocol]| protocol);
        let (from, to) = ports(protocol);
        Ok(Self {
            ethernet_protocol: word(ETH_TYPE)?,
            protocol,
            source: address(IPV4_SOURCE)?,
            destination: address(IPV4_DESTINATION)?,
            source_port: word(from)?,
            destination_port: word(to)?,
        })
    }
}

/// Where the kernel keeps a port: UDP and TCP have attributes of their own.
const fn ports(protocol: Option<u8>) -> (u16, u16) {
    match protocol {
        Some(UDP) => (UDP_SOURCE, UDP_DESTINATION),
        _ => (TCP_SOURCE, TCP_DESTINATION),
    }
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], DecodeError> {
    bytes.first_chunk().copied().ok_or_else(|| DecodeError::from("a field of flower is cut short"))
}

#[cfg(test)]
impl FlowerKey {
    pub(super) fn any() -> impl proptest::strategy::Strategy<Value = Self> {
        use proptest::prelude::*;
        let masked = || {
            any::<Option<([u8; 4], [u8; 4])>>()
                .prop_map(|pair| pair.map(|(address, mask)| Masked { address, mask }))
        };
        let words = (any::<Option<u16>>(), any::<Option<u8>>(), any::<Option<u16>>(), any::<Option<u16>>());
        (words, masked(), masked()).prop_map(|(words, source, destination)| {
            let (ethernet_protocol, protocol, source_port, destination_port) = words;
            Self { ethernet_protocol, protocol, source, destination, source_port, destination_port }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::attributes::emit;
    use super::*;

    /// `tc filter add dev va egress protocol ip flower ip_proto tcp src_ip 10.0.0.1 dst_port 443`, iproute2 6.1, in
    /// gqos's order.
    #[test]
    fn golden() {
        let key = FlowerKey {
            ethernet_protocol: Some(0x0800),
            protocol: Some(6),
            source: Some(Masked { address: [10, 0, 0, 1], mask: [255; 4] }),
            destination_port: Some(443),
            ..FlowerKey::default()
        };
        #[rustfmt::skip]
        let golden = [
            0x06, 0x00, 0x08, 0x00, 0x08, 0x00, 0x00, 0x00,  // TCA_FLOWER_KEY_ETH_TYPE
            0x05, 0x00, 0x09, 0x00, 0x06, 0x00, 0x00, 0x00,  // TCA_FLOWER_KEY_IP_PROTO
            0x08, 0x00, 0x0a, 0x00, 0x0a, 0x00, 0x00, 0x01,  // TCA_FLOWER_KEY_IPV4_SRC
            0x08, 0x00, 0x0b, 0x00, 0xff, 0xff, 0xff, 0xff,  // TCA_FLOWER_KEY_IPV4_SRC_MASK
            0x06, 0x00, 0x13, 0x00, 0x01, 0xbb, 0x00, 0x00,  // TCA_FLOWER_KEY_TCP_DST
        ];
        if cfg!(target_endian = "little") {
            assert_eq!(emit(&key.attributes()), golden);
            assert_eq!(FlowerKey::parse(&golden).ok(), Some(key));
        }
        let datagrams = FlowerKey { protocol: Some(17), ..key };
        assert_eq!(FlowerKey::parse(&emit(&datagrams.attributes())).ok(), Some(datagrams), "ports of UDP");
    }
}
