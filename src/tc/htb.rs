//! HTB, byte for byte: the root qdisc and its classes.
//!
//! HTB counts the bytes of a packet from the link header on, and of an aggregate the headers of each segment.
//!
//! Source: `linux/pkt_sched.h` (`tc_htb_glob`, `tc_htb_opt`, `tc_ratespec`), kernel `net/sched/sch_htb.c`.

use flowspec::{Bytes, Micros, Rate};
use netlink_packet_core::{DecodeError, DefaultNla, NlasIterator};

use super::attributes::{attribute, emit, read_u32};
use crate::kernel::Handle;

/// The HTB at the root of an interface, which has all classes below it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HtbRoot {
    /// `major:`.
    pub handle: Handle,
    /// Minor number of the class for packets that name none.
    pub default: u16,
    /// How many packets without a class may wait in the direct queue, which no class shapes.
    pub direct_queue: u32,
}

/// The root qdisc as a dump shows it: its settings and its counter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HtbRootState {
    /// The settings that TCA_OPTIONS holds.
    pub root: HtbRoot,
    /// Packets that went through the direct queue, past every class.
    pub direct_packets: u32,
}

/// An inner class or a leaf, with its two buckets: `rate` and `ceil`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HtbClass {
    /// `major:minor`.
    pub handle: Handle,
    /// The class or qdisc above it.
    pub parent: Handle,
    /// The rate that the class has of its own.
    pub rate: Rate,
    /// The rate up to which it borrows from its parent.
    pub ceil: Rate,
    /// How much may leave at once at `rate`.
    pub burst: Bytes,
    /// How much may leave at once at `ceil`.
    pub cburst: Bytes,
    /// Bytes per turn, between classes that borrow at the same priority.
    pub quantum: Bytes,
    /// Priority for borrowing, from 0, which borrows first, to 7.
    pub prio: u32,
}

/// Where a class stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClassPlace {
    /// `major:minor`.
    pub handle: Handle,
    /// The class or qdisc above it.
    pub parent: Handle,
}

/// One of the two token buckets of a class.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HtbBucket {
    /// `burst`, filled at `rate`.
    Rate,
    /// `cburst`, filled at `ceil`.
    Ceil,
}

/// Why the kernel's structures cannot hold a class. Numbers are refused, never wrapped.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NotEncodable {
    /// A bucket is sent as the time that it takes to fill, in 32 bits of 64 ns.
    #[error("class {handle}: {} {size} lasts longer at {rate} than the kernel can express, 274 s", .bucket.size())]
    BurstTooLong {
        /// The class whose burst does not fit.
        handle: Handle,
        /// Which of the two buckets of the class.
        bucket: HtbBucket,
        /// The burst, in bytes.
        size: Bytes,
        /// Bytes per second by which the bucket fills.
        rate: Rate,
    },
    /// The bucket of a queue is dumped as the time that it takes to fill, in 32 bits of 64 ns.
    #[error("{queue}: burst {size} lasts longer at {rate} than the kernel can express, 274 s")]
    BucketTooLong {
        /// TCA_KIND of the queue.
        queue: &'static str,
        /// The burst, in bytes.
        size: Bytes,
        /// Bytes per second by which the bucket fills.
        rate: Rate,
    },
    /// HTB has no classes without a rate.
    #[error("class {handle}: {} is zero", .bucket.rate())]
    ZeroRate {
        /// The class whose rate does not fit.
        handle: Handle,
        /// The bucket that never fills.
        bucket: HtbBucket,
    },
    /// The limit of a queue is above what its 32 bits hold.
    #[error("{queue}: {size} do not fit the 32 bits of its limit or burst")]
    QueueSize {
        /// TCA_KIND of the queue.
        queue: &'static str,
        /// The limit, in bytes.
        size: Bytes,
    },
    /// The times of a queue have 32 bits of microseconds.
    #[error("{queue}: {time} does not fit the 32 bits of its times")]
    QueueTime {
        /// TCA_KIND of the queue.
        queue: &'static str,
        /// The setting, in microseconds.
        time: Micros,
    },
    /// The quantum of a class is above what its 32 bits hold.
    #[error("class {handle}: quantum {quantum} does not fit 32 bits")]
    Quantum {
        /// The class whose quantum does not fit.
        handle: Handle,
        /// The bytes that a class sends in its turn.
        quantum: Bytes,
    },
}

impl HtbBucket {
    /// The option of `tc` that is its size.
    const fn size(self) -> &'static str {
        match self {
            Self::Rate => "burst",
            Self::Ceil => "cburst",
        }
    }

    /// The option of `tc` that is its rate.
    const fn rate(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Ceil => "ceil",
        }
    }
}

/// The kernel's unit for a bucket: `PSCHED_SHIFT` is 6.
pub const TICK_NANOS: u64 = 64;

/// A microsecond in ticks, rounded up.
const MICROSECOND_TICKS: u32 = 16;

const TCA_HTB_PARMS: u16 = 1;
const TCA_HTB_INIT: u16 = 2;
const TCA_HTB_DIRECT_QLEN: u16 = 5;
const TCA_HTB_RATE64: u16 = 6;
const TCA_HTB_CEIL64: u16 = 7;

/// `HTB_VER >> 16`: the version of the interface.
const VERSION: u32 = 3;

/// `rate2quantum`: unused, since every class has its own quantum; the kernel refuses zero.
const RATE_TO_QUANTUM: u32 = 10;

/// `TC_LINKLAYER_ETHERNET`: no rate table is needed.
const LINK_LAYER_ETHERNET: u8 = 1;

/// Two `tc_ratespec` and five words.
const OPT_SIZE: usize = 2 * 12 + 5 * 4;

impl HtbRoot {
    /// TCA_KIND.
    pub const KIND: &'static str = "htb";

    /// The bytes of TCA_OPTIONS.
    pub fn options(&self) -> Vec<u8> {
        let words = [VERSION, RATE_TO_QUANTUM, u32::from(self.default), 0, 0];
        emit(&[
            DefaultNla::new(TCA_HTB_INIT, words.into_iter().flat_map(u32::to_ne_bytes).collect()),
            DefaultNla::new(TCA_HTB_DIRECT_QLEN, self.direct_queue.to_ne_bytes().to_vec()),
        ])
    }

    /// The TCA_OPTIONS of a dumped HTB, gqos's or not, that make it again: a dump has the version of the kernel's code where a
    /// request has that of the interface.
    ///
    /// - **Source**: `net/sched/sch_htb.c`, `htb_dump` and `htb_init`.
    pub fn options_again(dumped: &[u8]) -> Vec<u8> {
        let mut attributes = Vec::new();
        for attribute in NlasIterator::new(dumped).flatten() {
            let mut value = attribute.value().to_vec();
            if attribute.kind() == TCA_HTB_INIT
                && let Some(version) = value.first_chunk_mut()
            {
                *version = VERSION.to_ne_bytes();
            }
            attributes.push(DefaultNla::new(attribute.kind(), value));
        }
        emit(&attributes)
    }

    /// Reads TCA_OPTIONS of a dumped qdisc.
    ///
    /// - **Errors**: the kernel's structure is missing or too short.
    pub fn parse(handle: Handle, options: &[u8]) -> Result<HtbRootState, DecodeError> {
        let init = attribute(options, TCA_HTB_INIT)?.ok_or_else(|| DecodeError::from("no TCA_HTB_INIT"))?;
        let word = |index: usize| read_u32(&init, index * 4);
        let direct_queue = attribute(options, TCA_HTB_DIRECT_QLEN)?;
        let direct_queue = direct_queue.map_or(Ok(0), |bytes| read_u32(&bytes, 0))?;
        // Some versions of the kernel write the whole handle, some the minor number.
        let default = Handle::from_u32(word(2)?).minor();
        Ok(HtbRootState { root: Self { handle, default, direct_queue }, direct_packets: word(4)? })
    }
}

impl HtbClass {
    /// TCA_OPTIONS: always with the 64-bit rates, of which the 32-bit ones are the lower bound.
    ///
    /// A bucket is rounded down to whole ticks: the kernel never allows more than the class says.
    ///
    /// - **Errors**: a number that 32 bits cannot hold.
    pub fn options(&self) -> Result<Vec<u8>, NotEncodable> {
        let mut opt = Vec::with_capacity(OPT_SIZE);
        for rate in [self.rate, self.ceil] {
            opt.extend([0, LINK_LAYER_ETHERNET]);
            opt.extend([0; 6]);
            opt.extend(low_rate(rate).to_ne_bytes());
        }
        let quantum = u32::try_from(self.quantum.get());
        let quantum =
            quantum.map_err(|_| NotEncodable::Quantum { handle: self.handle, quantum: self.quantum });
        let buckets = [self.ticks(HtbBucket::Rate)?, self.ticks(HtbBucket::Ceil)?];
        let words = [buckets[0], buckets[1], quantum?, 0, self.prio];
        opt.extend(words.into_iter().flat_map(u32::to_ne_bytes));
        debug_assert_eq!(opt.len(), OPT_SIZE, "tc_htb_opt");
        Ok(emit(&[
            DefaultNla::new(TCA_HTB_RATE64, self.rate.get().to_ne_bytes().to_vec()),
            DefaultNla::new(TCA_HTB_CEIL64, self.ceil.get().to_ne_bytes().to_vec()),
            DefaultNla::new(TCA_HTB_PARMS, opt),
        ]))
    }

    /// Reads TCA_OPTIONS of a dumped class. Bucket sizes come back as whole bytes, rounded up.
    ///
    /// - **Errors**: the kernel's structure is missing or too short.
    pub fn parse(place: ClassPlace, options: &[u8]) -> Result<Self, DecodeError> {
        let opt = attribute(options, TCA_HTB_PARMS)?.ok_or_else(|| DecodeError::from("no TCA_HTB_PARMS"))?;
        let wide = |kind, offset| -> Result<Rate, DecodeError> {
            let low = read_u32(&opt, offset)?;
            let wide = attribute(options, kind)?;
            let wide = wide.and_then(|bytes| bytes.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes)));
            Ok(Rate::new(wide.unwrap_or_default().max(u64::from(low))))
        };
        let (rate, ceil) = (wide(TCA_HTB_RATE64, 8)?, wide(TCA_HTB_CEIL64, 20)?);
        Ok(Self {
            handle: place.handle,
            parent: place.parent,
            rate,
            ceil,
            burst: bytes_of_ticks(read_u32(&opt, 24)?, rate),
            cburst: bytes_of_ticks(read_u32(&opt, 28)?, ceil),
            quantum: Bytes::new(u64::from(read_u32(&opt, 32)?)),
            prio: read_u32(&opt, 40)?,
        })
    }

    /// Reads from TCA_OPTIONS of a dumped class how far it is above the leaves, which have level 0.
    ///
    /// - **Errors**: the kernel's structure is missing or too short.
    pub fn level(options: &[u8]) -> Result<u32, DecodeError> {
        let opt = attribute(options, TCA_HTB_PARMS)?.ok_or_else(|| DecodeError::from("no TCA_HTB_PARMS"))?;
        read_u32(&opt, 36)
    }

    /// How many tokens are missing from `burst`, by the statistics that the kernel dumps of a class (`tc_htb_xstats`),
    /// rounded up.
    ///
    /// The kernel counts them when a packet leaves and not while time passes: since then they may have been refilled.
    ///
    /// - **Errors**: the structure is too short.
    pub fn missing(&self, statistics: &[u8]) -> Result<Bytes, DecodeError> {
        // lends, borrows, giants, tokens: negative after a packet that was larger than what was left.
        let tokens = i128::from(read_u32(statistics, 12)?.cast_signed());
        let full = self.ticks(HtbBucket::Rate).map_err(|error| DecodeError::from(error.to_string()))?;
        let missing = u32::try_from((i128::from(full) - tokens).max(0)).unwrap_or(u32::MAX);
        Ok(bytes_of_ticks(missing, self.rate))
    }

    /// How long both buckets took to fill from when a packet left last, by the same statistics, rounded up to whole
    /// microseconds.
    ///
    /// - **Errors**: the structure is too short.
    pub fn full_in(&self, statistics: &[u8]) -> Result<Micros, DecodeError> {
        let mut nanos = 0;
        for (bucket, offset) in [(HtbBucket::Rate, 12), (HtbBucket::Ceil, 16)] {
            let tokens = i64::from(read_u32(statistics, offset)?.cast_signed());
            let full = self.ticks(bucket).map_err(|error| DecodeError::from(error.to_string()))?;
            // A tick of rounding in each of the numbers.
            let missing = (i64::from(full) - tokens).max(0).unsigned_abs() + 1;
            nanos = nanos.max(missing * TICK_NANOS);
        }
        Ok(Micros::new(nanos.div_ceil(1000)))
    }

    /// The class as the kernel reports it: its buckets in whole ticks.
    ///
    /// - **Errors**: a number that 32 bits cannot hold.
    pub fn as_kept(&self) -> Result<Self, NotEncodable> {
        let burst = bytes_of_ticks(self.ticks(HtbBucket::Rate)?, self.rate);
        let cburst = bytes_of_ticks(self.ticks(HtbBucket::Ceil)?, self.ceil);
        Ok(Self { burst, cburst, ..*self })
    }

    /// Whether the kernel reports this class as `found`.
    ///
    /// The kernel ignores changes of quantum and priority of a class with children, which uses neither. A bucket may be
    /// shorter by the part of a microsecond that iproute2 cuts off, or longer by one tick.
    pub fn is_kept_as(&self, found: &Self, has_children: bool) -> bool {
        let mut found = match has_children {
            true => Self { quantum: self.quantum, prio: self.prio, ..*found },
            false => *found,
        };
        for (bucket, found) in [(HtbBucket::Rate, &mut found.burst), (HtbBucket::Ceil, &mut found.cburst)] {
            let Ok(ticks) = self.ticks(bucket) else { return false };
            let rate = if bucket == HtbBucket::Rate { self.rate } else { self.ceil };
            let least = bytes_of_ticks(ticks.saturating_sub(MICROSECOND_TICKS), rate);
            if (least..=bytes_of_ticks(ticks.saturating_add(1), rate)).contains(found) {
                *found = bytes_of_ticks(ticks, rate);
            }
        }
        self.as_kept() == Ok(found)
    }

    fn ticks(&self, bucket: HtbBucket) -> Result<u32, NotEncodable> {
        let handle = self.handle;
        let (size, rate) = match bucket {
            HtbBucket::Rate => (self.burst, self.rate),
            HtbBucket::Ceil => (self.cburst, self.ceil),
        };
        if rate == Rate::ZERO {
            return Err(NotEncodable::ZeroRate { handle, bucket });
        }
        let nanos = u128::from(size.get()) * 1_000_000_000 / u128::from(rate.get());
        let ticks = u32::try_from(nanos / u128::from(TICK_NANOS));
        ticks.map_err(|_| NotEncodable::BurstTooLong { handle, bucket, size, rate })
    }
}

impl std::fmt::Display for HtbClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { handle, parent, rate, ceil, burst, cburst, quantum, prio } = self;
        let bits = |rate: &Rate| u128::from(rate.get()) * 8;
        write!(
            f,
            "parent {parent} classid {handle} htb rate {}bit ceil {}bit burst {}b cburst {}b quantum {} prio {prio}",
            bits(rate),
            bits(ceil),
            burst.get(),
            cburst.get(),
            quantum.get()
        )
    }
}

/// The 32-bit field for a rate: all ones for a rate that does not fit.
fn low_rate(rate: Rate) -> u32 {
    u32::try_from(rate.get()).unwrap_or(u32::MAX)
}

fn bytes_of_ticks(ticks: u32, rate: Rate) -> Bytes {
    let nanos = u128::from(ticks) * u128::from(TICK_NANOS);
    let bytes = (nanos * u128::from(rate.get())).div_ceil(1_000_000_000);
    Bytes::new(u64::try_from(bytes).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_tokens_are_those_below_the_bucket() {
        let statistics = |tokens: i32| [[0; 4], [0; 4], [0; 4], tokens.to_ne_bytes(), [0; 4]].concat();
        let full = i32::try_from(CLASS.ticks(HtbBucket::Rate).expect("encodable")).expect("small");
        let missing = |tokens| CLASS.missing(&statistics(tokens)).expect("whole").get();
        assert_eq!(missing(full), 0);
        assert_eq!(missing(0), 15_000);
        assert_eq!(missing(-18_750), 16_500, "1500 bytes at 1.25 MB/s are 1.2 ms, 18 750 ticks");
        assert_eq!(missing(full + 1), 0);
        assert!(CLASS.missing(&[0; 12]).is_err());
        let full_in = |tokens, ctokens: i32| {
            let all = [&statistics(tokens)[..16], &ctokens.to_ne_bytes()].concat();
            CLASS.full_in(&all).expect("whole").get()
        };
        let ceil = 2000;
        assert_eq!(full_in(full, ceil), 1, "a tick, rounded up");
        assert_eq!(full_in(0, ceil), 12_001, "the bucket lasts 12 ms");
        assert_eq!(full_in(full, -187_500), 12_129, "that of the ceil lasts 128 us");
        assert!(CLASS.full_in(&[0; 16]).is_err());
    }

    const CLASS: HtbClass = HtbClass {
        handle: Handle::qdisc(1).class(0x10),
        parent: Handle::qdisc(1).class(1),
        rate: Rate::new(1_250_000),
        ceil: Rate::new(12_500_000),
        burst: Bytes::new(15_000),
        cburst: Bytes::new(1_600),
        quantum: Bytes::new(3_000),
        prio: 2,
    };

    const PLACE: ClassPlace = ClassPlace { handle: CLASS.handle, parent: CLASS.parent };

    /// `tc class add dev va parent 1:1 classid 1:10 htb rate 10mbit ceil 100mbit burst 15000b cburst 1600b quantum 3000
    /// prio 2`, iproute2 6.1: its TCA_HTB_PARMS. The rate tables that tc adds are not needed with a link layer.
    #[test]
    #[cfg(target_endian = "little")]
    fn golden_class() {
        #[rustfmt::skip]
        let parms = [
            0x30, 0x00, 0x01, 0x00,  // length 48, TCA_HTB_PARMS
            0x00,                    // rate.cell_log
            0x01,                    // rate.linklayer: Ethernet
            0x00, 0x00,              // rate.overhead
            0x00, 0x00,              // rate.cell_align
            0x00, 0x00,              // rate.mpu
            0xd0, 0x12, 0x13, 0x00,  // rate.rate: 1 250 000 B/s
            0x00, 0x01, 0x00, 0x00,  // ceil.cell_log, linklayer, overhead
            0x00, 0x00, 0x00, 0x00,  // ceil.cell_align, mpu
            0x20, 0xbc, 0xbe, 0x00,  // ceil.rate: 12 500 000 B/s
            0x6c, 0xdc, 0x02, 0x00,  // buffer: 12 ms in ticks of 64 ns = 187 500
            0xd0, 0x07, 0x00, 0x00,  // cbuffer: 128 us = 2000 ticks
            0xb8, 0x0b, 0x00, 0x00,  // quantum
            0x00, 0x00, 0x00, 0x00,  // level
            0x02, 0x00, 0x00, 0x00,  // prio
        ];
        #[rustfmt::skip]
        let rates = [
            0x0c, 0x00, 0x06, 0x00, 0xd0, 0x12, 0x13, 0x00, 0x00, 0x00, 0x00, 0x00,  // TCA_HTB_RATE64
            0x0c, 0x00, 0x07, 0x00, 0x20, 0xbc, 0xbe, 0x00, 0x00, 0x00, 0x00, 0x00,  // TCA_HTB_CEIL64
        ];
        assert_eq!(CLASS.options(), Ok([rates.as_slice(), &parms].concat()));
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn golden_root() {
        let root = HtbRoot { handle: Handle::qdisc(0x6771), default: 2, direct_queue: 3 };
        #[rustfmt::skip]
        let golden = [
            0x18, 0x00, 0x02, 0x00,  // length 24, TCA_HTB_INIT
            0x03, 0x00, 0x00, 0x00,  // version
            0x0a, 0x00, 0x00, 0x00,  // rate2quantum
            0x02, 0x00, 0x00, 0x00,  // defcls
            0x00, 0x00, 0x00, 0x00,  // debug
            0x00, 0x00, 0x00, 0x00,  // direct_pkts
            0x08, 0x00, 0x05, 0x00, 0x03, 0x00, 0x00, 0x00,  // TCA_HTB_DIRECT_QLEN
        ];
        assert_eq!(root.options(), golden);
        let state = HtbRootState { root, direct_packets: 0 };
        assert_eq!(HtbRoot::parse(root.handle, &golden).ok(), Some(state));
    }

    #[test]
    fn rates_above_32_bits_are_carried_whole() {
        let fast =
            HtbClass { rate: Rate::new(u64::from(u32::MAX) + 1), ceil: Rate::new(50_000_000_000), ..CLASS };
        let options = fast.options().expect("encodable");
        let read = HtbClass::parse(PLACE, &options).expect("parses");
        assert_eq!((read.rate, read.ceil), (fast.rate, fast.ceil));
    }

    #[test]
    fn numbers_that_32_bits_cannot_hold_are_refused() {
        let refused = |class: HtbClass| class.options().expect_err("not encodable").to_string();
        // iproute2 wraps this burst: 300 kB at 8 kbit/s.
        let long = HtbClass { rate: Rate::new(1000), burst: Bytes::new(300_000), ..CLASS };
        assert!(refused(long).contains("burst 300000 B lasts longer"));
        let edge = HtbClass { rate: Rate::new(1000), burst: Bytes::new(274_877), ..CLASS };
        assert!(edge.options().is_ok(), "2³² - 1 ticks are 274.877 s");
        assert!(refused(HtbClass { burst: Bytes::new(274_878), ..edge }).contains("274 s"));
        assert!(refused(HtbClass { rate: Rate::ZERO, ..CLASS }).contains("rate is zero"));
        assert!(refused(HtbClass { ceil: Rate::ZERO, ..CLASS }).contains("ceil is zero"));
        assert!(refused(HtbClass { quantum: Bytes::new(1 << 32), ..CLASS }).contains("32 bits"));
    }

    #[test]
    fn truncated_structures_are_errors() {
        let options = CLASS.options().expect("encodable");
        assert_eq!(HtbClass::level(&options).ok(), Some(0));
        for end in 0..options.len() {
            assert!(HtbClass::parse(PLACE, &options[..end]).is_err(), "{end} bytes");
            assert!(HtbClass::level(&options[..end]).is_err(), "{end} bytes");
        }
    }

    #[test]
    fn a_bucket_may_be_a_microsecond_shorter_and_a_tick_longer() {
        // 12 500 B at 1 234 567 B/s are 158 203 ticks and a part of one.
        let class = HtbClass { rate: Rate::new(1_234_567), burst: Bytes::new(12_500), ..CLASS };
        let kept = class.as_kept().expect("encodable");
        let with = |ticks| HtbClass { burst: bytes_of_ticks(ticks, class.rate), ..kept };
        let ticks = class.ticks(HtbBucket::Rate).expect("encodable");
        assert!(class.is_kept_as(&with(ticks), false));
        assert!(class.is_kept_as(&with(ticks + 1), false));
        assert!(class.is_kept_as(&with(ticks - 15), false), "10.125 ms, of which iproute2 cuts 0.99 us off");
        assert!(!class.is_kept_as(&HtbClass { burst: Bytes::new(12_502), ..kept }, false));
        assert!(!class.is_kept_as(&HtbClass { burst: Bytes::new(12_498), ..kept }, false));
    }

    #[test]
    fn the_kernel_keeps_quantum_and_priority_of_leaves_alone() {
        let kept = CLASS.as_kept().expect("encodable");
        let other = HtbClass { quantum: Bytes::new(1500), prio: 0, ..kept };
        assert!(CLASS.is_kept_as(&kept, true) && CLASS.is_kept_as(&kept, false));
        assert!(CLASS.is_kept_as(&other, true));
        assert!(!CLASS.is_kept_as(&other, false), "a leaf keeps both");
        assert!(!CLASS.is_kept_as(&HtbClass { ceil: Rate::new(1), ..kept }, true));
    }

    proptest::proptest! {
        #[test]
        fn emitted_classes_parse(rate in 1u64..1 << 40, ceil in 1u64..1 << 40, burst in 0u64..1 << 20, cburst in 0u64..1 << 20, prio in 0u32..8) {
            let class = HtbClass { rate: Rate::new(rate), ceil: Rate::new(ceil), burst: Bytes::new(burst), cburst: Bytes::new(cburst), prio, ..CLASS };
            if let Ok(options) = class.options() {
                let read = HtbClass::parse(PLACE, &options).expect("parses");
                proptest::prop_assert_eq!(Ok(read), class.as_kept());
                proptest::prop_assert!(read.burst <= class.burst, "rounded down");
            }
        }
    }
}
