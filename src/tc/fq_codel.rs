//! fq_codel: the flows of a class take turns, and CoDel keeps each queue short.
//!
//! Source: `linux/pkt_sched.h`, kernel `net/sched/sch_fq_codel.c`, `include/net/codel.h`.

use std::fmt;

use flowspec::Micros;
use netlink_packet_core::{DecodeError, DefaultNla};

use super::attributes::{attribute, emit, read_u32};
use super::htb::NotEncodable;

/// The settings of an fq_codel. The others are the kernel's defaults.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FqCodel {
    /// How long a packet may wait without being one too many.
    pub target: Micros,
    /// How long packets wait longer than the target before one is dropped.
    pub interval: Micros,
}

const TCA_FQ_CODEL_TARGET: u16 = 1;
const TCA_FQ_CODEL_INTERVAL: u16 = 3;
const TCA_FQ_CODEL_FLOWS: u16 = 5;

/// The kernel's unit of time: `CODEL_SHIFT` is 10.
const CODEL_NANOS: u64 = 1024;

impl FqCodel {
    /// TCA_KIND.
    pub const KIND: &'static str = "fq_codel";

    /// The kernel's default target.
    pub(super) const TARGET_MICROS: u128 = 5_000;

    /// TCA_OPTIONS.
    ///
    /// - **Errors**: a time above 32 bits of microseconds.
    pub fn options(&self) -> Result<Vec<u8>, NotEncodable> {
        let word = |time: Micros| {
            u32::try_from(time.get()).map_err(|_| NotEncodable::QueueTime { queue: Self::KIND, time })
        };
        let number = |kind, value: u32| DefaultNla::new(kind, value.to_ne_bytes().to_vec());
        Ok(emit(&[
            number(TCA_FQ_CODEL_TARGET, word(self.target)?),
            number(TCA_FQ_CODEL_INTERVAL, word(self.interval)?),
        ]))
    }

    /// TCA_OPTIONS that every fq_codel refuses with EINVAL: no flows.
    pub fn refused_options() -> Vec<u8> {
        emit(&[DefaultNla::new(TCA_FQ_CODEL_FLOWS, vec![0; 4])])
    }

    /// Reads TCA_OPTIONS of a dumped qdisc.
    ///
    /// - **Errors**: a time is missing or cut short.
    pub fn parse(options: &[u8]) -> Result<Self, DecodeError> {
        let time = |kind| {
            let value = attribute(options, kind)?
                .ok_or_else(|| DecodeError::from("an fq_codel without its times"))?;
            Ok::<_, DecodeError>(Micros::new(u64::from(read_u32(&value, 0)?)))
        };
        Ok(Self { target: time(TCA_FQ_CODEL_TARGET)?, interval: time(TCA_FQ_CODEL_INTERVAL)? })
    }

    /// Settings that the kernel reports as these.
    #[must_use]
    pub(super) fn as_asked(&self) -> Self {
        Self { target: asked(self.target), interval: asked(self.interval) }
    }

    /// The settings as the kernel reports them: times in whole units of 1024 ns, then in whole microseconds.
    #[must_use]
    pub const fn as_kept(&self) -> Self {
        Self { target: kept(self.target), interval: kept(self.interval) }
    }
}

/// A time that the kernel reports as this one: at most two microseconds more.
fn asked(time: Micros) -> Micros {
    let mut times = (0..=2).map(|more| Micros::new(time.get() + more));
    times.find(|asked| kept(*asked) == time).unwrap_or(time)
}

const fn kept(time: Micros) -> Micros {
    Micros::new(time.get() * 1000 / CODEL_NANOS * CODEL_NANOS / 1000)
}

impl fmt::Display for FqCodel {
    /// In `tc`'s words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, interval } = self;
        write!(f, "{} target {}us interval {}us", Self::KIND, target.get(), interval.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: FqCodel = FqCodel { target: Micros::new(5_000), interval: Micros::new(100_000) };

    /// `tc qdisc add dev va root fq_codel target 5ms interval 100ms`, iproute2 6.1, without the settings that gqos
    /// leaves to the kernel.
    #[test]
    #[cfg(target_endian = "little")]
    fn golden() {
        #[rustfmt::skip]
        let golden = [
            0x08, 0x00, 0x01, 0x00, 0x88, 0x13, 0x00, 0x00,  // TCA_FQ_CODEL_TARGET: 5000 us
            0x08, 0x00, 0x03, 0x00, 0xa0, 0x86, 0x01, 0x00,  // TCA_FQ_CODEL_INTERVAL: 100 000 us
        ];
        assert_eq!(DEFAULT.options(), Ok(golden.to_vec()));
        assert_eq!(FqCodel::parse(&golden).ok(), Some(DEFAULT));
        for end in 0..golden.len() {
            assert!(FqCodel::parse(&golden[..end]).is_err(), "{end} bytes");
        }
    }

    #[test]
    fn the_kernel_keeps_times_in_units_of_1024_ns() {
        assert_eq!(DEFAULT.as_kept(), FqCodel { target: Micros::new(4_999), interval: Micros::new(99_999) });
        let long = FqCodel { target: Micros::new(1 << 32), ..DEFAULT };
        assert!(long.options().is_err_and(|error| error.to_string().starts_with("fq_codel: 4294967.296 ms")));
    }

    proptest::proptest! {
        #[test]
        fn emitted_settings_parse(target: u32, interval: u32) {
            let queue = FqCodel { target: Micros::new(u64::from(target)), interval: Micros::new(u64::from(interval)) };
            let parsed = queue.options().map(|options| FqCodel::parse(&options).ok());
            proptest::prop_assert_eq!(parsed, Ok(Some(queue)));
            proptest::prop_assert_eq!(queue.as_kept().as_asked().as_kept(), queue.as_kept());
        }
    }
}
