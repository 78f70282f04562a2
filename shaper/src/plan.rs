//! What a flowspec means for a socket: buckets, packet sizes, and how much to release at a time.

use flowspec::{Bytes, Flowspec, FlowspecError, Micros, Peak, Rate, Ratio, TSpec};

/// A token bucket: how fast it fills and how much it holds. Bytes of IP datagrams.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tokens {
    /// How fast it fills.
    pub rate: Rate,
    /// How much it holds.
    pub depth: Bytes,
}

/// How a transport turns payload into IP datagrams: so that rates can count what RFC 2215 counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    /// A byte stream cut into segments, each with its headers.
    Stream {
        /// IP and transport headers of a segment, options included.
        header: u64,
        /// Payload of a full segment (the MSS); not zero.
        segment: u64,
    },
    /// Each payload is one datagram.
    Datagram {
        /// IP and transport headers.
        header: u64,
    },
}

/// How one direction of a socket is shaped. A value; nothing waits here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Plan {
    /// r and b.
    pub sustained: Tokens,
    /// p, where it is finite. Holds M and two milliseconds of p, at most b: the kernel's class holds the
    /// flow to M itself.
    pub peak: Option<Tokens>,
    /// m: smaller datagrams are charged as this.
    pub minimum_policed_size: Bytes,
    /// M: no datagram is larger.
    pub max_sdu_size: Bytes,
    /// How payload becomes datagrams.
    pub framing: Framing,
    /// Released at a time, in bytes of IP datagrams: large enough for few wake-ups, small enough for
    /// a smooth flow and for a late timer to cost nothing.
    pub quantum: Bytes,
}

/// A quantum is at most this much of the flow's own rate, so that a count over a second errs by at
/// most one hundredth.
const QUANTUM_TIME: Micros = Micros::new(10_000);

/// A quantum is at most this, whatever the rate: what one large socket write takes.
const QUANTUM_LIMIT: u64 = 64 << 10;

/// How late a precise timer may be: the peak bucket holds this much of p besides one packet, since a
/// depth of M alone would turn every late wake-up into lost rate.
const PEAK_SLACK: Micros = Micros::new(2_000);

/// How late a coarse timer (a wheel of milliseconds) may be.
const COARSE_LATENESS: Micros = Micros::new(2_500);

/// Why a flowspec cannot be kept on this transport: its packets are all header.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("packets of {max_sdu_size} have no room for payload beside {header} B of headers")]
pub struct NoRoom {
    /// M.
    pub max_sdu_size: Bytes,
    /// IP and transport headers of a packet.
    pub header: u64,
}

impl Plan {
    /// The plan that holds a socket to `tspec`.
    ///
    /// - **Errors**: M leaves no room for payload beside the transport's headers.
    pub fn new(tspec: &TSpec, framing: Framing) -> Result<Self, NoRoom> {
        let (max_sdu_size, header) = (tspec.max_sdu_size(), framing.header());
        if max_sdu_size.get() <= header {
            return Err(NoRoom { max_sdu_size, header });
        }
        let framing = framing.within(max_sdu_size);
        let sustained = Tokens { rate: tspec.token_rate(), depth: tspec.token_bucket_size() };
        let peak = match tspec.peak_bandwidth() {
            Peak::Infinite => None,
            Peak::Finite(rate) => Some(Tokens { rate, depth: Self::peak_depth(rate, tspec) }),
        };
        let quantum = quantum(sustained, peak, framing);
        Ok(Self {
            sustained,
            peak,
            minimum_policed_size: tspec.minimum_policed_size(),
            max_sdu_size,
            framing,
            quantum,
        })
    }

    fn peak_depth(peak: Rate, tspec: &TSpec) -> Bytes {
        let slack = peak.bytes_in(PEAK_SLACK);
        tspec.max_sdu_size().saturating_add(slack).min(tspec.token_bucket_size())
    }

    /// What `payload` bytes of application data count as, in bytes of IP datagrams.
    ///
    /// A stream counts full segments and one shorter; a datagram counts at least m.
    pub fn charge(&self, payload: u64) -> u64 {
        match self.framing {
            Framing::Stream { header, segment } => {
                payload.saturating_add(header.saturating_mul(payload.div_ceil(segment)))
            }
            Framing::Datagram { header } => {
                payload.saturating_add(header).max(self.minimum_policed_size.get())
            }
        }
    }

    /// The most payload of a stream that counts as at most `credit` bytes; whole segments where it is
    /// more than one, so that no segment is sent half full.
    pub fn payload_within(&self, credit: u64) -> u64 {
        match self.framing {
            Framing::Stream { header, segment } => {
                let whole = credit / segment.saturating_add(header) * segment;
                if whole > 0 { whole } else { credit.saturating_sub(header) }
            }
            Framing::Datagram { header } => {
                if credit < self.minimum_policed_size.get() {
                    0
                } else {
                    credit.saturating_sub(header)
                }
            }
        }
    }

    /// Whether a timer of millisecond steps costs this flow nothing: the bucket has room for what
    /// gathers while the timer is late.
    pub fn tolerates_coarse_timers(&self) -> bool {
        let tolerates = |tokens: Tokens| {
            let room = tokens.depth.saturating_sub(self.quantum);
            room >= tokens.rate.bytes_in(COARSE_LATENESS)
        };
        tolerates(self.sustained) && self.peak.is_none_or(tolerates)
    }
}

/// Half the bucket, 10 ms of the rate, 64 KiB: the least of them, but at least one packet, and in
/// whole segments.
fn quantum(sustained: Tokens, peak: Option<Tokens>, framing: Framing) -> Bytes {
    let half = sustained.depth.get() / 2;
    let peak_half = peak.map_or(u64::MAX, |peak| peak.depth.get() / 2);
    let smooth = sustained.rate.bytes_in(QUANTUM_TIME).get();
    let wanted = half.min(peak_half).min(smooth).min(QUANTUM_LIMIT);
    let packet = match framing {
        Framing::Stream { header, segment } => header.saturating_add(segment),
        Framing::Datagram { .. } => 1,
    };
    let least = packet.min(sustained.depth.get());
    Bytes::new((wanted / packet * packet).max(least))
}

impl Framing {
    /// The same with segments of at most M.
    fn within(self, max_sdu_size: Bytes) -> Self {
        match self {
            Self::Stream { header, segment } => {
                Self::Stream { header, segment: segment.min(max_sdu_size.get() - header) }
            }
            Self::Datagram { .. } => self,
        }
    }

    /// Header bytes of one full packet.
    pub const fn header(self) -> u64 {
        match self {
            Self::Stream { header, .. } | Self::Datagram { header } => header,
        }
    }
}

/// Headers of a TCP segment with timestamps and of a UDP datagram, by IP version.
///
/// Source: RFC 791, RFC 8200, RFC 9293, RFC 7323 (timestamps with their padding: 12 bytes).
pub const fn header_size(ipv6: bool, tcp: bool) -> u64 {
    let ip = if ipv6 { 40 } else { 20 };
    let transport = if tcp { 20 + 12 } else { 8 };
    ip + transport
}

/// Bytes per second in a kbit/s.
const KBIT: u64 = 125;

/// The token rate, in IP bytes, that carries `goodput` of payload: for the transport with the largest
/// headers, TCP over IPv6 with timestamps, so that the goodput holds whichever transport is used.
///
/// `goodput × packet ÷ (packet − 72)`, rounded up to whole kbit/s, where the packet is the flowspec's
/// M, or 1500.
///
/// - **Errors**: [`FlowspecError::Zero`] where a packet has no room for payload.
pub fn token_rate_for_goodput(goodput: Rate, spec: &Flowspec) -> Result<Rate, FlowspecError> {
    let packet = spec.max_sdu_size.map_or(1500, Bytes::get);
    let payload = packet.saturating_sub(header_size(true, true));
    if payload == 0 {
        return Err(FlowspecError::Zero { field: "max_sdu_size less its headers" });
    }
    let exact = goodput.scale_up(Ratio { numerator: packet, denominator: payload }).get();
    Ok(Rate::new(exact.div_ceil(KBIT).saturating_mul(KBIT)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flowspec::Direction;

    fn plan(rate: u64, bucket: u64, framing: Framing) -> Plan {
        let spec = Flowspec::guaranteed(Rate::new(rate), Bytes::new(bucket));
        let tspec = TSpec::new(&spec, Direction::Sending, Bytes::new(1500)).expect("valid");
        Plan::new(&tspec.expect("guaranteed"), framing).expect("room for payload")
    }

    const TCP: Framing = Framing::Stream { header: 52, segment: 1448 };
    const UDP: Framing = Framing::Datagram { header: 28 };

    #[test]
    fn payload_is_charged_with_its_headers() {
        let tcp = plan(750_000, 65536, TCP);
        assert_eq!(tcp.charge(0), 0);
        assert_eq!(tcp.charge(1), 53);
        assert_eq!(tcp.charge(1448), 1500);
        assert_eq!(tcp.charge(1449), 1449 + 104);
        let udp = plan(750_000, 65536, UDP);
        assert_eq!(udp.charge(1328), 1356);
        assert_eq!(udp.charge(1), 64, "a small datagram counts as m");
    }

    #[test]
    fn credit_turns_into_whole_segments() {
        let tcp = plan(750_000, 65536, TCP);
        assert_eq!(tcp.payload_within(1500), 1448);
        assert_eq!(tcp.payload_within(4499), 2 * 1448);
        assert_eq!(tcp.payload_within(1499), 1447);
        assert_eq!(tcp.payload_within(52), 0);
        for credit in 0..10_000 {
            assert!(tcp.charge(tcp.payload_within(credit)) <= credit.max(52), "{credit}");
        }
    }

    #[test]
    fn a_quantum_is_never_the_whole_bucket_where_it_need_not_be() {
        assert_eq!(plan(750_000, 65536, TCP).quantum.get(), 7500);
        assert_eq!(plan(187_500, 65536, TCP).quantum.get(), 1500);
        assert_eq!(plan(125_000_000, 1 << 20, TCP).quantum.get(), 43 * 1500);
        assert_eq!(plan(750_000, 1500, TCP).quantum.get(), 1500);
        assert!(plan(750_000, 65536, TCP).tolerates_coarse_timers());
        assert!(!plan(750_000, 1500, TCP).tolerates_coarse_timers());
    }

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
