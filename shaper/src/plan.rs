//! The plan of one direction of a socket: its buckets, its packet sizes, and how much to release at a time.

use flowspec::{Bytes, Micros, Peak, Rate, TSpec};

use crate::headers::NoPayload;

/// The parameters of a token bucket, in bytes of IP datagrams.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tokens {
    /// How fast the bucket fills.
    pub rate: Rate,
    /// The most that the bucket holds.
    pub depth: Bytes,
}

/// How a transport turns payload into IP datagrams, which are what RFC 2215's rates count.
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

/// A payload that leaves as several datagrams, each of `segment` bytes but the last, which has the rest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Segments {
    /// Of all datagrams.
    pub payload: u64,
    /// Of one datagram; not zero.
    pub segment: u64,
}

impl Segments {
    /// The first `count` datagrams of it.
    #[must_use]
    pub fn first(self, count: u64) -> Self {
        Self { payload: self.payload.min(self.segment.saturating_mul(count)), ..self }
    }
}

/// How one direction of a socket is shaped.
///
/// Sizes of payload are plain integers; [`Bytes`] count IP datagrams, headers included.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Plan {
    /// r and b.
    pub sustained: Tokens,
    /// p, where it is finite. The bucket's depth is M and two milliseconds of p, at most b; the kernel's class of
    /// the flow enforces M itself.
    pub peak: Option<Tokens>,
    /// m: a smaller datagram is charged this.
    pub minimum_policed_size: Bytes,
    /// M: the largest datagram.
    pub max_sdu_size: Bytes,
    /// How the transport turns payload into datagrams.
    pub framing: Framing,
    /// How much a stream releases at a time: large enough for few wake-ups, small enough for a late timer not to lower
    /// the rate.
    pub quantum: Bytes,
    /// How long r takes for a quantum, where a stream releases at fixed times: all that its bucket holds, once in each
    /// period. `None` where it releases as soon as there are tokens for a quantum.
    pub period: Option<Micros>,
}

/// The periods of streams that release at fixed times: whole milliseconds that divide a second, so that every second
/// has the same number of releases.
const PERIODS: [Micros; 10] = [
    Micros::new(500_000),
    Micros::new(250_000),
    Micros::new(200_000),
    Micros::new(125_000),
    Micros::new(100_000),
    Micros::new(50_000),
    Micros::new(40_000),
    Micros::new(25_000),
    Micros::new(20_000),
    Micros::new(10_000),
];

/// How late a stream with a period may release without losing rate: its bucket holds this much of r beside a quantum.
/// A machine whose cores have other work to do delays a task that long.
const PERIOD_LATENESS: Micros = Micros::new(25_000);

/// How late such a stream may release with the largest rest in its bucket: what a release leaves is less than a whole segment,
/// and is still there at the next. A later release then loses no more than that.
const REST_LATENESS: Micros = Micros::new(10_000);

/// Without a period, a quantum is at most this much of the flow's own rate, so that a rate measured over a second is
/// off by at most one hundredth.
const QUANTUM_TIME: Micros = Micros::new(10_000);

/// A quantum is at most this, whatever the rate: the size of one large socket write.
const QUANTUM_LIMIT: u64 = 64 << 10;

/// How late a precise timer may be. The peak bucket holds this much of p besides one packet: with a depth of M
/// alone, every late wake-up would lower the rate.
const PEAK_SLACK: Micros = Micros::new(2_000);

/// Releases of a stream without a period are due at multiples of one of these, so that one wake-up serves several streams.
const SLOTS: [Micros; 6] = [
    Micros::new(8_000),
    Micros::new(4_000),
    Micros::new(2_000),
    Micros::new(1_000),
    Micros::new(500),
    Micros::new(250),
];

/// A slot is at most this part of the time in which the bucket's free part fills, and of the time of a quantum.
const SLOT_PART: u64 = 8;

/// How late a coarse timer (a timing wheel with steps of a millisecond) may be.
const COARSE_LATENESS: Micros = Micros::new(2_500);

impl Plan {
    /// The plan that holds a socket to `tspec`.
    ///
    /// - **Errors**: packets of M have no space for payload beside the transport's headers.
    pub fn new(tspec: &TSpec, framing: Framing) -> Result<Self, NoPayload> {
        let (max_sdu_size, header) = (tspec.max_sdu_size(), framing.header());
        if max_sdu_size.get() <= header {
            return Err(NoPayload { max_sdu_size, header });
        }
        let framing = framing.within(max_sdu_size);
        let sustained = Tokens { rate: tspec.token_rate(), depth: tspec.token_bucket_size() };
        let peak = match tspec.peak_bandwidth() {
            Peak::Infinite => None,
            Peak::Finite(rate) => Some(Tokens { rate, depth: Self::peak_depth(rate, tspec) }),
        };
        let (quantum, period) = quantum(sustained, peak, framing);
        let minimum_policed_size = tspec.minimum_policed_size();
        let plan = Self { sustained, peak, minimum_policed_size, max_sdu_size, framing, quantum, period };
        plan.invariants();
        Ok(plan)
    }

    /// Asserts what holds for every plan, in debug builds: m ≤ M ≤ b, r ≤ p, every bucket holds a packet of M and a
    /// quantum, a quantum takes a period, and every packet has payload.
    pub fn invariants(&self) {
        let Self { sustained, peak, minimum_policed_size, max_sdu_size, framing, quantum, period } = *self;
        debug_assert!(minimum_policed_size <= max_sdu_size, "{self:?}");
        debug_assert!(peak.is_none_or(|peak| peak.rate >= sustained.rate), "{self:?}");
        for bucket in [Some(sustained), peak].into_iter().flatten() {
            debug_assert!(bucket.depth >= max_sdu_size && bucket.depth >= quantum, "{self:?}");
        }
        debug_assert!(framing.header() < max_sdu_size.get() && quantum > Bytes::ZERO, "{self:?}");
        debug_assert!(period.is_none_or(|period| sustained.rate.bytes_in(period) == quantum), "{self:?}");
        if let Framing::Stream { header, segment } = framing {
            debug_assert!(segment > 0 && header + segment <= max_sdu_size.get(), "{self:?}");
            debug_assert!(quantum.get() >= header + segment, "{self:?}");
        }
    }

    fn peak_depth(peak: Rate, tspec: &TSpec) -> Bytes {
        let slack = peak.bytes_in(PEAK_SLACK);
        tspec.max_sdu_size().saturating_add(slack).min(tspec.token_bucket_size())
    }

    /// The tokens that `payload` bytes of application data cost.
    ///
    /// A stream pays for full segments and a shorter one; a datagram pays for at least m.
    pub fn charge(&self, payload: u64) -> Bytes {
        Bytes::new(match self.framing {
            Framing::Stream { header, segment } => {
                payload.saturating_add(header.saturating_mul(payload.div_ceil(segment)))
            }
            Framing::Datagram { header } => {
                payload.saturating_add(header).max(self.minimum_policed_size.get())
            }
        })
    }

    /// The most payload that costs at most this many tokens. A stream's is in whole segments where it is more than
    /// one, so that no segment leaves half full.
    pub fn payload_within(&self, tokens: Bytes) -> u64 {
        match self.framing {
            Framing::Stream { header, segment } => {
                let whole = tokens.get() / segment.saturating_add(header) * segment;
                if whole > 0 { whole } else { tokens.get().saturating_sub(header) }
            }
            Framing::Datagram { .. } if tokens < self.minimum_policed_size => 0,
            Framing::Datagram { header } => tokens.get().saturating_sub(header),
        }
    }

    /// The tokens that datagrams of one payload cost, each with its headers.
    pub fn charge_segments(&self, segments: Segments) -> Bytes {
        let Segments { payload, segment } = segments;
        let whole = self.charge(segment).get().saturating_mul(payload / segment);
        let rest = payload % segment;
        Bytes::new(if rest > 0 { whole.saturating_add(self.charge(rest).get()) } else { whole })
    }

    /// How much of the payload leaves at once: the datagrams that cost at most half of each bucket, at least one.
    pub fn batch(&self, segments: Segments) -> Segments {
        let half = |tokens: Tokens| tokens.depth.get() / 2;
        let most = self.peak.map_or(u64::MAX, half).min(half(self.sustained));
        // Rounded down; a datagram costs a byte at least, since it has headers.
        let count = most / self.charge(segments.segment).get().max(1);
        segments.first(count.max(1))
    }

    /// The largest payload of a datagram: M without its headers.
    pub const fn largest_datagram(&self) -> u64 {
        self.max_sdu_size.get().saturating_sub(self.framing.header())
    }

    /// The multiple of time to which the releases of a stream may be put off; `None` where each is at a time of its own, as
    /// those of streams with a period are, and of buckets for which every delay costs rate.
    pub fn slot(&self) -> Option<Micros> {
        if self.period.is_some() || !self.tolerates_coarse_timers() {
            return None;
        }
        let tolerates = |tokens: Tokens, slot: Micros| {
            let free = tokens.depth.saturating_sub(self.quantum).min(self.quantum);
            let arrives = tokens.rate.bytes_in(slot).get();
            arrives.saturating_mul(SLOT_PART) <= free.get()
        };
        let all = |slot: &Micros| {
            tolerates(self.sustained, *slot) && self.peak.is_none_or(|peak| tolerates(peak, *slot))
        };
        SLOTS.into_iter().find(all)
    }

    /// Whether a timer with steps of a millisecond does not lower the flow's rate: each bucket can hold the tokens
    /// that arrive while the timer is late.
    pub fn tolerates_coarse_timers(&self) -> bool {
        self.tolerates_coarse_timers_for(self.quantum)
    }

    /// The same for a flow that takes so many tokens at a time.
    pub fn tolerates_coarse_timers_for(&self, quantum: Bytes) -> bool {
        let tolerates = |tokens: Tokens| {
            let free = tokens.depth.saturating_sub(quantum);
            free >= tokens.rate.bytes_in(COARSE_LATENESS)
        };
        tolerates(self.sustained) && self.peak.is_none_or(tolerates)
    }
}

/// What a stream releases at a time, and its period if it has one: the longest in which r gives at most 64 KiB, four
/// fifths of the bucket with [`PERIOD_LATENESS`] of r left, or a segment and [`REST_LATENESS`] of r, and half of the peak's.
/// Without one that gives a segment, and for datagrams, the least of half a bucket, 10 ms of the rate and 64 KiB, in whole
/// segments and at least one.
fn quantum(sustained: Tokens, peak: Option<Tokens>, framing: Framing) -> (Bytes, Option<Micros>) {
    let Tokens { rate, depth } = sustained;
    let peak_half = peak.map_or(u64::MAX, |peak| peak.depth.get() / 2);
    let most = peak_half.min(QUANTUM_LIMIT);
    let in_period = |period| rate.bytes_in(period).get();
    if let Framing::Stream { header, segment } = framing {
        let packet = header.saturating_add(segment);
        let late = rate.bytes_in(PERIOD_LATENESS).get();
        let late_with_rest = rate.bytes_in(REST_LATENESS).get().saturating_add(packet);
        // Rounded down, so that the bucket keeps more.
        let most = most.min(depth.get() / 5 * 4).min(depth.get().saturating_sub(late.max(late_with_rest)));
        let fits = |&period: &Micros| in_period(period) <= most;
        if let Some(period) = PERIODS.into_iter().find(fits)
            && in_period(period) >= packet
        {
            return (Bytes::new(in_period(period)), Some(period));
        }
    }
    let wanted = most.min(depth.get() / 2).min(in_period(QUANTUM_TIME));
    let packet = match framing {
        Framing::Stream { header, segment } => header.saturating_add(segment),
        Framing::Datagram { .. } => 1,
    };
    let least = packet.min(sustained.depth.get());
    (Bytes::new((wanted / packet * packet).max(least)), None)
}

impl Framing {
    /// The same framing with segments that fit M.
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

#[cfg(test)]
mod tests {
    use super::*;
    use flowspec::{Direction, Flowspec};

    fn plan(rate: u64, bucket: u64, framing: Framing) -> Plan {
        let spec = Flowspec::guaranteed(Rate::new(rate), Bytes::new(bucket));
        let tspec = TSpec::new(&spec, Direction::Sending, Bytes::new(1500)).expect("valid");
        Plan::new(&tspec.expect("guaranteed"), framing).expect("packets with payload")
    }

    const TCP: Framing = Framing::Stream { header: 52, segment: 1448 };
    const UDP: Framing = Framing::Datagram { header: 28 };

    #[test]
    fn payload_is_charged_with_its_headers() {
        let tcp = plan(750_000, 65536, TCP);
        let tcp_charge = |payload| tcp.charge(payload).get();
        assert_eq!(tcp_charge(0), 0);
        assert_eq!(tcp_charge(1), 53);
        assert_eq!(tcp_charge(1448), 1500);
        assert_eq!(tcp_charge(1449), 1449 + 104);
        let udp = plan(750_000, 65536, UDP);
        assert_eq!(udp.charge(1328), Bytes::new(1356));
        assert_eq!(udp.charge(1), Bytes::new(64), "a small datagram counts as m");
    }

    #[test]
    fn tokens_buy_whole_segments() {
        let tcp = plan(750_000, 65536, TCP);
        let payload_within = |tokens| tcp.payload_within(Bytes::new(tokens));
        assert_eq!(payload_within(1500), 1448);
        assert_eq!(payload_within(4499), 2 * 1448);
        assert_eq!(payload_within(1499), 1447);
        assert_eq!(payload_within(52), 0);
        for tokens in 0..10_000 {
            assert!(tcp.charge(payload_within(tokens)).get() <= tokens.max(52), "{tokens}");
        }
    }

    #[test]
    fn each_datagram_of_a_payload_costs_its_own_headers() {
        let udp = plan(125_000, 16_384, UDP);
        let cost = |payload, segment| udp.charge_segments(Segments { payload, segment }).get();
        assert_eq!(cost(0, 1316), 0);
        assert_eq!(cost(1316, 1316), 1344);
        assert_eq!(cost(3 * 1316, 1316), 3 * 1344);
        assert_eq!(cost(2 * 1316 + 500, 1316), 2 * 1344 + 528);
        assert_eq!(cost(2 * 1316 + 1, 1316), 2 * 1344 + 64, "a small datagram counts as m");
        assert_eq!(cost(500, 1316), 528);
    }

    #[test]
    fn a_batch_takes_at_most_half_a_bucket_and_at_least_a_datagram() {
        let batch =
            |bucket, payload| plan(125_000, bucket, UDP).batch(Segments { payload, segment: 1316 }).payload;
        assert_eq!(batch(16_384, 20 * 1316), 6 * 1316);
        assert_eq!(batch(16_384, 2 * 1316), 2 * 1316);
        assert_eq!(batch(1500, 20 * 1316), 1316);
        let mut peaked = plan(125_000, 65_536, UDP);
        peaked.peak = Some(Tokens { rate: Rate::new(250_000), depth: Bytes::new(6_000) });
        assert_eq!(peaked.batch(Segments { payload: 20 * 1316, segment: 1316 }).payload, 2 * 1316);
    }

    #[test]
    fn a_slot_delays_a_release_by_an_eighth_of_what_its_bucket_tolerates() {
        let slot = |rate, bucket| plan(rate, bucket, TCP).slot().map(Micros::get);
        assert_eq!(slot(750_000, 65_536), None, "it has a period");
        assert_eq!(slot(125_000, 1500), None, "a bucket of one packet");
        // 64 KiB take 5.2 ms, and 655 us are an eighth of that.
        assert_eq!(slot(12_500_000, 1_000_000), Some(500));
        // 49.5 kB take 3.96 ms, and 495 us are an eighth of that.
        assert_eq!(slot(12_500_000, 100_000), Some(250));
    }

    #[test]
    fn a_quantum_leaves_a_part_of_the_bucket_but_is_at_least_a_packet() {
        let quantum = |rate, bucket, framing| {
            let plan = plan(rate, bucket, framing);
            (plan.quantum.get(), plan.period.map(Micros::get))
        };
        // 100 ms would be more than the bucket.
        assert_eq!(quantum(750_000, 65_536, TCP), (37_500, Some(50_000)));
        // 76 % of the bucket, with 31 ms of the rate left; and 40 ms, since 50 ms would leave 23 ms.
        assert_eq!(quantum(125_000, 16_384, TCP), (12_500, Some(100_000)));
        assert_eq!(quantum(750_000, 54_750, TCP), (30_000, Some(40_000)));
        assert_eq!(quantum(8_000, 16_384, TCP), (4000, Some(500_000)));
        // 500 ms of this rate would leave less than a fifth of the bucket.
        assert_eq!(quantum(50_000, 16_384, TCP), (12_500, Some(250_000)));
        // Datagrams, 64 KiB in less than 10 ms, a bucket of a packet, and less than a segment in half a second.
        assert_eq!(quantum(750_000, 65_536, UDP), (7500, None));
        assert_eq!(quantum(125_000_000, 1 << 22, TCP), (43 * 1500, None));
        assert_eq!(quantum(750_000, 1500, TCP), (1500, None));
        assert_eq!(quantum(1_000, 65_536, TCP), (1500, None));
        assert!(plan(750_000, 65536, TCP).tolerates_coarse_timers());
        assert!(!plan(750_000, 1500, TCP).tolerates_coarse_timers());
    }
}
