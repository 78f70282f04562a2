//! The sizes of IP and transport headers, and the token rate that they cost.

use std::net::IpAddr;

use flowspec::{Bytes, Flowspec, Rate, Ratio};

/// The version of IP that carries a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IpVersion {
    /// Headers of 20 bytes: no options.
    V4,
    /// Headers of 40 bytes: no extension headers.
    V6,
}

/// A flow whose packets have no space for payload.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("packets of {max_sdu_size} have no space for payload beside {header} B of headers")]
pub struct NoPayload {
    /// M.
    pub max_sdu_size: Bytes,
    /// IP and transport headers of a packet, in bytes.
    pub header: u64,
}

/// What a TCP segment with timestamps adds to IP's header: 20 bytes, and 12 for the padded option.
///
/// Source: RFC 9293, RFC 7323.
const TCP_HEADER: u64 = 20 + 12;

/// Source: RFC 768.
const UDP_HEADER: u64 = 8;

/// Bytes per second in a kbit/s.
const KBIT: u64 = 125;

/// The packet size where a flowspec gives none: Ethernet's MTU.
const DEFAULT_PACKET: Bytes = Bytes::new(1500);

impl IpVersion {
    /// The version that carries packets to this address; IPv4 for an IPv4-mapped IPv6 address.
    pub const fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The size of IP's header. Source: RFC 791, RFC 8200.
    const fn header(self) -> u64 {
        match self {
            Self::V4 => 20,
            Self::V6 => 40,
        }
    }
}

/// IP and TCP headers of a segment with timestamps.
pub const fn tcp_header_size(version: IpVersion) -> u64 {
    version.header() + TCP_HEADER
}

/// IP and UDP headers of a datagram.
pub const fn udp_header_size(version: IpVersion) -> u64 {
    version.header() + UDP_HEADER
}

/// The token rate, in bytes of IP datagrams, that carries `goodput` of payload.
///
/// Computed for TCP over IPv6 with timestamps, which has the largest headers (72 bytes), so that the goodput holds
/// over every transport: `goodput × packet ÷ (packet − 72)`, rounded up to whole kbit/s. The packet is the
/// flowspec's M, or 1500.
///
/// - **Errors**: packets of M have no space for payload.
pub fn token_rate_for_goodput(goodput: Rate, spec: &Flowspec) -> Result<Rate, NoPayload> {
    let header = tcp_header_size(IpVersion::V6);
    let packet = spec.max_sdu_size.unwrap_or(DEFAULT_PACKET);
    let payload = packet.get().saturating_sub(header);
    if payload == 0 {
        return Err(NoPayload { max_sdu_size: packet, header });
    }
    let exact = goodput.scale_up(Ratio { numerator: packet.get(), denominator: payload }).get();
    Ok(Rate::new(exact.div_ceil(KBIT).saturating_mul(KBIT)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goodput_includes_the_largest_headers() {
        let spec = Flowspec::BEST_EFFORT;
        let rate = |goodput| token_rate_for_goodput(Rate::new(goodput), &spec);
        assert_eq!(rate(1428), Ok(Rate::new(1500)));
        assert_eq!(rate(1429), Ok(Rate::new(1625)), "up to the next kbit/s");
        let mut tiny = spec;
        tiny.max_sdu_size = Some(Bytes::new(72));
        assert!(token_rate_for_goodput(Rate::new(1), &tiny).is_err());
    }
}
