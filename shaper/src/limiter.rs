//! What a limiter is: asked with the time, it says when a packet may leave.

use std::time::Duration;

use crate::plan::Plan;

/// A point in time: nanoseconds since an origin that the caller chose and keeps.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Moment(u64);

impl Moment {
    /// This many nanoseconds after the origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the origin.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Nanoseconds since `earlier`; zero where `earlier` is later.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The point `span` later, at most the last one there is.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// When something may leave.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Due {
    /// At once.
    Now,
    /// At this moment, which is later than now, and not a nanosecond earlier.
    At(Moment),
    /// Never: it is larger than the bucket.
    Never,
}

/// A token bucket with an optional peak: bytes of IP datagrams in, permission out.
///
/// The same calls with the same moments give the same answers. A moment that lies before the last
/// one counts as the last one. Implementations agree to within one byte of `Bucket`,
/// which is exact.
pub trait Limiter: Send {
    /// When `size` bytes may leave, if nothing else does before.
    fn due(&mut self, now: Moment, size: u64) -> Due;

    /// The most bytes that may leave now.
    fn available(&mut self, now: Moment) -> u64;

    /// Takes `size` bytes if they may leave now; takes nothing otherwise.
    fn take(&mut self, now: Moment, size: u64) -> bool;

    /// Gives back `size` bytes that were taken and did not leave, as after a short write.
    fn refund(&mut self, now: Moment, size: u64);

    /// Goes on with another plan: credit is kept, up to the new depth; nothing is added.
    fn replan(&mut self, now: Moment, plan: &Plan);
}
