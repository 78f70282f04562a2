//! The interface of a limiter: given the time, it decides when a packet may leave.

use flowspec::{Bytes, Timestamp};

use crate::plan::Plan;

/// When a packet may leave.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Due {
    /// At once.
    Now,
    /// At this time, which is later than now, and not a nanosecond earlier.
    At(Timestamp),
    /// Never: the packet is larger than the bucket.
    Never,
}

/// How many tokens are missing from the buckets of a plan: their depths less what they hold, rounded up.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Deficit {
    /// Of b.
    pub sustained: Bytes,
    /// Of the peak's depth; zero without a peak.
    pub peak: Bytes,
}

/// A token bucket with an optional peak, in bytes of IP datagrams.
///
/// The same calls with the same timestamps give the same answers. A timestamp before the last one counts as the last
/// one. The implementations agree with the exact one, `Bucket`, to within one byte.
pub trait Limiter: Send {
    /// When a packet of this size may leave, if nothing else leaves before.
    fn due(&mut self, now: Timestamp, size: Bytes) -> Due;

    /// The largest packet that may leave now.
    fn available(&mut self, now: Timestamp) -> Bytes;

    /// Takes the tokens for a packet that may leave now; takes nothing where it may not.
    fn take(&mut self, now: Timestamp, size: Bytes) -> bool;

    /// Returns tokens that were taken for bytes that did not leave, as after a short write.
    fn refund(&mut self, now: Timestamp, size: Bytes);

    /// Changes to another plan. The tokens stay, up to the new depth; none are added.
    fn set_plan(&mut self, now: Timestamp, plan: &Plan);

    /// How many tokens are missing now.
    fn deficit(&mut self, now: Timestamp) -> Deficit;

    /// Takes tokens without a packet, as many of each bucket as it holds.
    fn withdraw(&mut self, now: Timestamp, tokens: Deficit);

    /// Asserts what holds after every call, in debug builds: no bucket holds more than its depth.
    fn invariants(&self);
}
