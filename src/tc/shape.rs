//! Sizes: what a link and its flows need, as numbers of HTB's classes.

use flowspec::{Bytes, Micros, Peak, Rate, Ratio, TSpec};

use super::fifo::Bfifo;
use super::fq_codel::FqCodel;
use super::htb::HtbClass;
use super::layout::{DEFAULT_CLASS, LINK_CLASS, ROOT_QDISC};
use super::queue::ClassQueue;
use crate::kernel::Handle;

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
pub(super) const LEAST_BURST_MICROS: u64 = 1_000;

/// How long traffic without a reservation may queue at the rate of the link, in microseconds.
const DEFAULT_QUEUE_MICROS: u64 = 50_000;

/// The kernel warns about a quantum outside these bounds, in bytes.
const QUANTUM_BOUNDS: (u64, u64) = (1_000, 200_000);

/// The priority for borrowing of traffic without a reservation: the lowest. Leaves without a finite peak borrow
/// nothing.
pub(super) const DEFAULT_PRIO: u32 = 7;

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
pub struct LinkShape {
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
    /// What the budget counts of the flow, without link headers.
    pub charged: Rate,
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
        let charged = tspec.token_rate().max(reserved);
        Self {
            rate: with_headers(charged),
            charged,
            peak,
            bucket: with_link_headers(tspec, tspec.token_bucket_size()),
            packet: tspec.max_sdu_size().saturating_add(LINK_HEADER),
        }
    }

    /// What flows need that share a class and send at the same time: rates and buckets add up.
    pub fn sum(flows: impl IntoIterator<Item = Self>) -> Option<Self> {
        let add = |a: Rate, b: Rate| a.checked_add(b).unwrap_or(Rate::new(u64::MAX));
        flows.into_iter().reduce(|a, b| Self {
            rate: add(a.rate, b.rate),
            charged: add(a.charged, b.charged),
            peak: None,
            bucket: a.bucket.saturating_add(b.bucket),
            packet: a.packet.max(b.packet),
        })
    }

    /// What flows need that share one reservation: as much as the largest of them.
    pub fn largest(flows: impl IntoIterator<Item = Self>) -> Option<Self> {
        flows.into_iter().reduce(|a, b| Self {
            rate: a.rate.max(b.rate),
            charged: a.charged.max(b.charged),
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

    /// The rate that the default class has of its own: what the whole budget leaves with the largest headers, at least
    /// a hundredth of the link and 1000 B/s, and of a link that small half; less what idle classes have.
    pub(super) fn default_rate(&self) -> Rate {
        self.left_by_leaves().saturating_sub(self.idle_rate())
    }

    /// What is not for the leaves of flows.
    fn left_by_leaves(&self) -> Rate {
        let sent = self.sent();
        let least = sent.scale_down(Ratio::percent(1)).max(Rate::new(1000)).min(Rate::new(sent.get() / 2));
        sent.saturating_sub(self.framed_budget()).max(least).max(Rate::new(1))
    }

    /// What is left of the link for the rates of all leaves.
    pub(super) fn left_for_leaves(&self) -> Rate {
        self.sent().saturating_sub(self.left_by_leaves())
    }

    /// The rate that a leaf has of its own, of what its traffic needs at most.
    ///
    /// The leaves of a whole budget stay together within what the default class leaves, whatever their headers: where the
    /// budget with the largest headers is more, each leaf has as much of that as its flow has of the budget, and borrows what
    /// its headers need beyond it before all traffic without a reservation. HTB has no rates below a byte per second.
    pub fn own_rate(&self, traffic: &Framed) -> Rate {
        let left = self.left_for_leaves();
        let most = match self.framed_budget() > left {
            true => {
                let part = Ratio { numerator: left.get(), denominator: self.budget.get() };
                traffic.charged.scale_down(part)
            }
            false => traffic.charged.scale_up(LARGEST_OVERHEAD),
        };
        traffic.rate.min(most).max(Rate::new(1))
    }
}

impl LinkShape {
    /// The class that all leaves are below: its rate and ceil are those of the link.
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
    /// the leaves together stay within the link. It is never nothing, so that control traffic always leaves. The rest is
    /// borrowed, up to what the link sends.
    pub fn default_class(&self) -> HtbClass {
        let ceil = self.rates.sent();
        let frame = self.frame();
        let rate = self.rates.default_rate().min(ceil);
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
    ///
    /// From 688 Gbit/s on a bfifo is the largest that the kernel has, 4 GiB: 34 ms at 1 Tbit/s. fq_codel's target is
    /// its default, 5 ms, or the time of a packet and a half on a slower link, and its interval twenty times that.
    pub fn default_queue(&self) -> ClassQueue {
        let limit = self.rates.capacity.bytes_in(Micros::new(DEFAULT_QUEUE_MICROS));
        let limit = limit.max(Bytes::new(4 * LARGEST_AGGREGATE)).min(Bfifo::LARGEST.limit);
        let packet = u128::from(self.frame().get()) * 3 / 2 * 1_000_000;
        let packet = packet.div_ceil(u128::from(self.rates.sent().get()));
        let micros = |value: u128| Micros::new(u64::from(u32::try_from(value).unwrap_or(u32::MAX)));
        let target = packet.max(FqCodel::TARGET_MICROS);
        ClassQueue {
            fq_codel: FqCodel { target: micros(target), interval: micros(target * 20) },
            bfifo: Bfifo { limit },
        }
    }

    /// A leaf for this traffic.
    ///
    /// The ceil is the peak. HTB lets a class overdraw by one packet, so the burst is the bucket less a packet: what
    /// leaves stays within b. It is no smaller than what the class may not lose while it waits.
    ///
    /// The rate is [`own_rate`](LinkRates::own_rate); up to what the traffic needs the leaf borrows.
    pub fn leaf(&self, handle: Handle, framed: Framed) -> HtbClass {
        let Framed { rate: needed, peak, bucket, packet, .. } = framed;
        let rate = self.rates.own_rate(&framed);
        let least = |rate: Rate| burst_for(rate, packet).max(rate.bytes_in(self.wait));
        let burst = bucket.saturating_sub(packet).max(least(needed));
        // Without a finite peak a leaf sends its bucket at the speed of the link: no ceil limits that, and one that
        // equals what the traffic needs keeps the leaf from borrowing more.
        let ceil = peak.unwrap_or(needed).min(self.rates.capacity).max(needed);
        let cburst = if peak.is_some() { least(ceil) } else { burst };
        HtbClass {
            handle,
            parent: LINK_CLASS,
            rate,
            ceil,
            burst,
            cburst,
            quantum: quantum_for(needed, packet),
            prio: 0,
        }
    }

    pub(super) fn frame(&self) -> Bytes {
        self.mtu.saturating_add(LINK_HEADER)
    }
}

/// Two packets or a millisecond of the rate, whichever is more: HTB loses rate with less.
fn burst_for(rate: Rate, packet: Bytes) -> Bytes {
    let packets = Bytes::new(packet.get().saturating_mul(2));
    rate.bytes_in(Micros::new(LEAST_BURST_MICROS)).max(packets)
}

/// The bytes of an eightieth of a second, at least a packet, within the bounds that the kernel warns about.
pub(super) fn quantum_for(rate: Rate, packet: Bytes) -> Bytes {
    let (least, most) = QUANTUM_BOUNDS;
    Bytes::new((rate.get() / 80).min(60_000).max(packet.get()).clamp(least, most))
}

#[cfg(test)]
mod tests {
    use super::super::layout::flow_class;
    use super::*;
    use flowspec::{Direction, Flowspec};

    const RATES: LinkRates = LinkRates { capacity: Rate::from_mbit(100), budget: Rate::from_mbit(80) };

    const SHAPE: LinkShape = LinkShape { rates: RATES, mtu: Bytes::new(1500), wait: Micros::new(0) };

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

    fn traffic(rate: u64, packet: u64) -> Framed {
        let (rate, bucket) = (Rate::new(rate), Bytes::new(10_000));
        Framed { rate, charged: rate, peak: None, bucket, packet: Bytes::new(packet) }
    }

    #[test]
    fn flows_that_share_a_class_add_up_and_members_of_a_group_do_not() {
        let (small, large) = (traffic(1000, 514), traffic(2000, 1514));
        let sum = Framed { bucket: Bytes::new(20_000), ..traffic(3000, 1514) };
        assert_eq!(Framed::sum([small, large]), Some(sum));
        assert_eq!(Framed::largest([small, large]), Some(large));
        assert_eq!((Framed::sum([]), Framed::largest([])), (None, None));
        let most = Framed { rate: Rate::new(u64::MAX), ..small };
        assert_eq!(Framed::sum([small, most]).map(|sum| sum.rate), Some(most.rate), "a sum does not wrap");
    }

    #[test]
    fn the_default_class_gets_what_the_budget_leaves_and_at_least_a_hundredth() {
        let check = |budget: u64, rate: u64| {
            let shape = LinkShape { rates: LinkRates { budget: Rate::from_mbit(budget), ..RATES }, ..SHAPE };
            let class = shape.default_class();
            assert_eq!((class.rate, class.ceil), (Rate::new(rate), Rate::new(12_375_000)), "{budget} Mbit/s");
        };
        check(0, 12_375_000 - 256);
        check(64, 12_375_000 - 9_750_000 - 256);
        check(81, 123_750 - 256);
        check(200, 123_750 - 256);
        let tiny =
            LinkShape { rates: LinkRates { capacity: Rate::new(2), ..RATES }, ..SHAPE }.default_class();
        assert_eq!((tiny.rate, tiny.ceil), (Rate::new(1), Rate::new(1)), "never more than the link");
    }

    /// The leaves of a whole budget and the default class, in bytes per second, and what the link class has.
    #[track_caller]
    fn check_sum(capacity: u64, percent: u64, packet: u64, expected: (u64, u64, u64)) {
        let capacity = Rate::new(capacity);
        let rates = LinkRates { capacity, budget: capacity.scale_down(Ratio::percent(percent)) };
        let shape = LinkShape { rates, ..SHAPE };
        let spec = Flowspec {
            minimum_policed_size: Some(Bytes::new(packet)),
            ..Flowspec::guaranteed(Rate::new(rates.budget.get() / 4), Bytes::new(3_000))
        };
        let tspec = TSpec::new(&spec, Direction::Sending, Bytes::new(1500)).ok().flatten().expect("valid");
        let framed = Framed::new(&tspec, Rate::ZERO);
        let leaf = shape.leaf(flow_class(0), framed);
        let (default, link) = (shape.default_class(), shape.link_class());
        let found = (leaf.rate.get(), default.rate.get(), link.rate.get());
        assert_eq!(found, expected, "{capacity} at {percent} %, packets of {packet}");
        assert!(4 * found.0 + found.1 <= found.2, "together more than the link");
        assert!(leaf.ceil >= framed.rate, "what the leaf does not have of its own it borrows");
    }

    #[test]
    fn four_leaves_of_a_whole_budget_and_the_default_class_stay_within_the_link() {
        check_sum(12_500_000, 80, 64, (3_046_875, 187_244, 12_375_000));
        check_sum(12_500_000, 80, 1400, (2_525_000, 187_244, 12_375_000));
        // 4 · 3046 + 1000 would be 105.5 of 99 kbit/s.
        check_sum(12_500, 80, 64, (2_843, 1_000, 12_375));
        check_sum(12_500, 80, 1400, (2_525, 1_000, 12_375));
        // Large packets have the whole of what they need of their own, small ones borrow.
        check_sum(12_500_000, 84, 1400, (2_651_250, 123_494, 12_375_000));
        check_sum(12_500_000, 90, 64, (3062812, 123_494, 12_375_000));
        check_sum(12_500_000, 100, 64, (3062812, 123_494, 12_375_000));
        check_sum(12_500_000, 100, 1400, (3_062_812, 123_494, 12_375_000));
        // Headers of smaller packets than the budget counts are borrowed as well.
        check_sum(12_500_000, 80, 20, (3_046_875, 187_244, 12_375_000));
        check_sum(1_000, 80, 64, (123, 495, 990));
    }

    #[test]
    fn the_queue_of_the_default_class_is_no_larger_than_the_kernel_has() {
        let check = |gigabits: u64, limit: u64| {
            let rates = LinkRates { capacity: Rate::from_mbit(gigabits * 1000), ..RATES };
            let queue = LinkShape { rates, ..SHAPE }.default_queue().bfifo;
            assert_eq!(queue.limit.get(), limit, "{gigabits} Gbit/s");
            assert!(queue.options().is_ok(), "{gigabits} Gbit/s");
        };
        check(1, 6_250_000);
        check(687, 4_293_750_000);
        check(688, u64::from(u32::MAX));
        check(1_000, u64::from(u32::MAX));
    }

    #[test]
    fn the_default_queue_waits_for_a_packet_and_a_half_of_a_slow_link() {
        let check = |bits: u64, target: u64, interval: u64| {
            let rates = LinkRates { capacity: Rate::new(bits / 8), ..RATES };
            let queue = LinkShape { rates, ..SHAPE }.default_queue().fq_codel;
            assert_eq!((queue.target.get(), queue.interval.get()), (target, interval), "{bits} bit/s");
        };
        check(100_000_000, 5_000, 100_000);
        check(1_000_000, 18_352, 367_040);
        check(8, 2_271_000_000, u64::from(u32::MAX));
    }
}
