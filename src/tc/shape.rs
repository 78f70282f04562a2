//! Sizes: what a link and its flows need, as numbers of HTB's classes.

use flowspec::{Bytes, Micros, Peak, Rate, Ratio, TSpec};

use super::fifo::Bfifo;
use super::handle::Handle;
use super::htb::HtbClass;
use super::layout::{DEFAULT_CLASS, LINK_CLASS, ROOT_QDISC};

/// What HTB counts besides the IP datagram: the Ethernet header.
pub const LINK_HEADER: Bytes = Bytes::new(14);

/// The largest factor by which link headers enlarge what is reserved: packets of the default `minimum_policed_size`,
/// 64 bytes.
pub(super) const LARGEST_OVERHEAD: Ratio = Ratio { numerator: 64 + 14, denominator: 64 };

/// The part of the capacity that the tree sends.
///
/// A little less than the link carries: queues then build up here, where their order is ours to choose, and a queue
/// that a burst has built behind the link drains again.
pub(super) const LINK_PART: Ratio = Ratio::percent(99);

/// The largest packet that the stack builds: an aggregate that is cut into segments below the qdisc.
pub(super) const LARGEST_AGGREGATE: u64 = 64 << 10;

/// A bucket holds the bytes of at least this much time at its rate, in microseconds: they make good what a kernel
/// timer is late.
const LEAST_BURST_MICROS: u64 = 1_000;

/// How long traffic without a reservation may queue at the rate of the link, in microseconds.
const DEFAULT_QUEUE_MICROS: u64 = 50_000;

/// The kernel warns about a quantum outside these bounds, in bytes.
const QUANTUM_BOUNDS: (u64, u64) = (1_000, 200_000);

/// The priority for borrowing of traffic without a reservation: the lowest. Leaves without a finite peak borrow
/// nothing.
const DEFAULT_PRIO: u32 = 7;

/// The rate of a link, and how much of it may be reserved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LinkRates {
    /// What the link carries, link headers included.
    pub capacity: Rate,
    /// The most that may be reserved, link headers not included.
    pub budget: Rate,
}

/// The link that a tree is built for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Shape {
    /// Its rate, and how much of it may be reserved.
    pub rates: LinkRates,
    /// The largest IP datagram.
    pub mtu: Bytes,
    /// RFC 2212's D where delays are guaranteed, else zero: how long a leaf may wait without losing tokens.
    pub wait: Micros,
}

/// The traffic of a flow with its link headers: what its class has to carry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Framed {
    /// r with the link header on every packet.
    pub rate: Rate,
    /// p with the link header on every packet; `None` where it is infinite.
    pub peak: Option<Rate>,
    /// b with the link header on every packet.
    pub bucket: Bytes,
    /// M with its link header.
    pub packet: Bytes,
}

impl Framed {
    /// The traffic of a flow as the link sees it: each packet is larger by the link header.
    ///
    /// m bounds how much the headers add: a flow has most headers where all its packets are of that size. The rate is
    /// at least `reserved`, which a guaranteed delay may make larger than r.
    pub fn new(tspec: &TSpec, reserved: Rate) -> Self {
        let headers = largest_headers(tspec);
        let with_headers = |value: Rate| value.scale_up(headers);
        let peak = match tspec.peak_bandwidth() {
            Peak::Infinite => None,
            Peak::Finite(peak) => Some(with_headers(peak)),
        };
        Self {
            rate: with_headers(tspec.token_rate().max(reserved)),
            peak,
            bucket: with_link_headers(tspec, tspec.token_bucket_size()),
            packet: tspec.max_sdu_size().saturating_add(LINK_HEADER),
        }
    }

    /// What flows need that share a class and send at the same time: rates and buckets add up.
    pub fn sum(flows: impl IntoIterator<Item = Self>) -> Option<Self> {
        flows.into_iter().reduce(|a, b| Self {
            rate: a.rate.checked_add(b.rate).unwrap_or(Rate::new(u64::MAX)),
            peak: None,
            bucket: a.bucket.saturating_add(b.bucket),
            packet: a.packet.max(b.packet),
        })
    }

    /// What flows need that share one reservation: as much as the largest of them.
    pub fn largest(flows: impl IntoIterator<Item = Self>) -> Option<Self> {
        flows.into_iter().reduce(|a, b| Self {
            rate: a.rate.max(b.rate),
            peak: a.peak.zip(b.peak).map(|(a, b)| a.max(b)),
            bucket: a.bucket.max(b.bucket),
            packet: a.packet.max(b.packet),
        })
    }
}

/// A size in bytes of a flow's IP datagrams as the link may see it: with the link header on every packet, where all
/// packets are of the size m.
pub fn with_link_headers(tspec: &TSpec, size: Bytes) -> Bytes {
    Bytes::new(Rate::new(size.get()).scale_up(largest_headers(tspec)).get())
}

/// The factor by which link headers enlarge a flow's packets at most, which are at least of the size m.
fn largest_headers(tspec: &TSpec) -> Ratio {
    let minimum = tspec.minimum_policed_size().get();
    Ratio { numerator: minimum.saturating_add(LINK_HEADER.get()), denominator: minimum }
}

impl LinkRates {
    /// What the tree sends together, at least one byte per second, which is the least that HTB takes.
    pub(super) fn sent(&self) -> Rate {
        self.capacity.scale_down(LINK_PART).max(Rate::new(1))
    }

    /// The whole budget with the largest headers.
    pub(super) fn framed_budget(&self) -> Rate {
        self.budget.scale_up(LARGEST_OVERHEAD)
    }

    /// The least rate of the default class.
    pub(super) fn least_default(&self) -> Rate {
        self.sent().scale_down(Ratio::percent(1)).max(Rate::new(1000))
    }
}

impl Shape {
    /// The class of the link.
    pub fn link_class(&self) -> HtbClass {
        let rate = self.rates.sent();
        let frame = self.frame();
        let burst = burst_for(rate, frame);
        HtbClass {
            handle: LINK_CLASS,
            parent: ROOT_QDISC,
            rate,
            ceil: rate,
            burst,
            cburst: burst,
            quantum: quantum_for(rate, frame),
            prio: 0,
        }
    }

    /// The class of traffic without a reservation.
    ///
    /// Its own rate is what is left of the link when the whole budget is in use, with the largest headers: the rates of
    /// the leaves together stay within the link. It is at least a hundredth of the link and 1000 B/s, so that control
    /// traffic always leaves; the rest is borrowed.
    pub fn default_class(&self) -> HtbClass {
        let ceil = self.rates.sent();
        let frame = self.frame();
        let rate = ceil.saturating_sub(self.rates.framed_budget()).max(self.rates.least_default()).min(ceil);
        HtbClass {
            handle: DEFAULT_CLASS,
            parent: LINK_CLASS,
            rate,
            ceil,
            burst: burst_for(rate, frame),
            cburst: burst_for(ceil, frame),
            quantum: quantum_for(rate, frame),
            prio: DEFAULT_PRIO,
        }
    }

    /// The queue of the default class: short enough to keep delays down, long enough for one sender.
    pub fn default_queue(&self) -> Bfifo {
        let limit = self.rates.capacity.bytes_in(Micros::new(DEFAULT_QUEUE_MICROS));
        Bfifo { limit: limit.max(Bytes::new(4 * LARGEST_AGGREGATE)) }
    }

    /// A leaf for this traffic.
    ///
    /// The ceil is the peak. HTB lets a class overdraw by one packet, so the burst is the bucket less a packet: what
    /// leaves stays within b. It is no smaller than what the class may not lose while it waits.
    pub fn leaf(&self, handle: Handle, framed: Framed) -> HtbClass {
        let Framed { rate, peak, bucket, packet } = framed;
        let least = |rate: Rate| burst_for(rate, packet).max(rate.bytes_in(self.wait));
        let burst = bucket.saturating_sub(packet).max(least(rate));
        // Without a finite peak a leaf sends its bucket at the speed of the link: no ceil limits that, and one that
        // equals the rate keeps the leaf from borrowing.
        let ceil = peak.unwrap_or(rate).min(self.rates.capacity).max(rate);
        let cburst = if peak.is_some() { least(ceil) } else { burst };
        HtbClass {
            handle,
            parent: LINK_CLASS,
            rate,
            ceil,
            burst,
            cburst,
            quantum: quantum_for(rate, packet),
            prio: 0,
        }
    }

    fn frame(&self) -> Bytes {
        self.mtu.saturating_add(LINK_HEADER)
    }
}

/// Two packets or a millisecond of the rate, whichever is more: HTB loses rate with less.
fn burst_for(rate: Rate, packet: Bytes) -> Bytes {
    let packets = Bytes::new(packet.get().saturating_mul(2));
    rate.bytes_in(Micros::new(LEAST_BURST_MICROS)).max(packets)
}

/// The bytes of an eightieth of a second, at least a packet, within the bounds that the kernel warns about.
fn quantum_for(rate: Rate, packet: Bytes) -> Bytes {
    let (least, most) = QUANTUM_BOUNDS;
    Bytes::new((rate.get() / 80).min(60_000).max(packet.get()).clamp(least, most))
}

#[cfg(test)]
mod tests {
    use super::super::layout::flow_class;
    use super::*;
    use flowspec::{Direction, Flowspec};

    const RATES: LinkRates = LinkRates { capacity: Rate::from_mbit(100), budget: Rate::from_mbit(80) };

    const SHAPE: Shape = Shape { rates: RATES, mtu: Bytes::new(1500), wait: Micros::new(0) };

    #[test]
    fn a_leaf_has_the_rate_with_headers_and_the_bucket_less_a_packet() {
        let spec = Flowspec {
            minimum_policed_size: Some(Bytes::new(1400)),
            ..Flowspec::guaranteed(Rate::from_mbit(6), Bytes::new(65_536))
        };
        let tspec = TSpec::new(&spec, Direction::Sending, Bytes::new(1500)).ok().flatten().expect("valid");
        let leaf = SHAPE.leaf(flow_class(0), Framed::new(&tspec, Rate::ZERO));
        assert_eq!(leaf.handle.to_string(), "6771:100");
        assert_eq!(leaf.rate, Rate::new(757_500), "750 000 · 1414 ÷ 1400");
        assert_eq!(leaf.ceil, leaf.rate, "without a peak nothing is borrowed");
        assert_eq!(leaf.burst.get(), 66_192 - 1514, "65 536 · 1414 ÷ 1400, less a packet");
    }

    #[test]
    fn flows_that_share_a_class_add_up_and_members_of_a_group_do_not() {
        let small =
            Framed { rate: Rate::new(1000), peak: None, bucket: Bytes::new(10_000), packet: Bytes::new(514) };
        let large = Framed { rate: Rate::new(2000), packet: Bytes::new(1514), ..small };
        let sum = Framed { rate: Rate::new(3000), bucket: Bytes::new(20_000), ..large };
        assert_eq!(Framed::sum([small, large]), Some(sum));
        assert_eq!(Framed::largest([small, large]), Some(large));
        assert_eq!((Framed::sum([]), Framed::largest([])), (None, None));
        let most = Framed { rate: Rate::new(u64::MAX), ..small };
        assert_eq!(Framed::sum([small, most]).map(|sum| sum.rate), Some(most.rate), "a sum does not wrap");
    }

    #[test]
    fn the_default_class_gets_what_the_budget_leaves_and_at_least_a_hundredth() {
        let check = |budget: u64, rate: u64| {
            let shape = Shape { rates: LinkRates { budget: Rate::from_mbit(budget), ..RATES }, ..SHAPE };
            let class = shape.default_class();
            assert_eq!((class.rate, class.ceil), (Rate::new(rate), Rate::new(12_375_000)), "{budget} Mbit/s");
        };
        check(0, 12_375_000);
        check(64, 12_375_000 - 9_750_000);
        check(81, 123_750);
        check(200, 123_750);
        let tiny = Shape { rates: LinkRates { capacity: Rate::new(2), ..RATES }, ..SHAPE }.default_class();
        assert_eq!((tiny.rate, tiny.ceil), (Rate::new(1), Rate::new(1)), "never more than the link");
    }
}
