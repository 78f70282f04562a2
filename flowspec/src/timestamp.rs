//! Nanoseconds on a clock that the caller reads.

use core::time::Duration;

/// A point in time, as token buckets are given it: nanoseconds since an origin that the caller chose and keeps.
///
/// Finer than [`Moment`](crate::Moment), the microseconds of decisions and traces: at 10 Gbit/s a microsecond is a
/// whole packet.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The timestamp that many nanoseconds after the origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The timestamp that many microseconds after the origin, at most the last one that 64 bits can hold.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros.saturating_mul(1000))
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The timestamp this much later, at most the last one that 64 bits can hold.
    #[must_use]
    pub fn saturating_add(self, time: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// The time since an earlier timestamp; zero where that one is later.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}
