//! The clock of the proxy: no other file of the module reads one.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// The time now, for deadlines and durations.
pub(super) fn now() -> Instant {
    Instant::now()
}

/// How long ago that was.
pub(super) fn since(then: Instant) -> Duration {
    then.elapsed()
}

/// Microseconds since 1970, for records.
#[expect(
    clippy::disallowed_methods,
    reason = "a record says when something happened; no deadline follows from it"
)]
pub(super) fn unix_micros() -> u64 {
    micros(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

/// A time as records count it; a fraction of a microsecond is dropped.
pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A time of the policy.
pub(super) const fn duration(time: flowspec::Micros) -> Duration {
    Duration::from_micros(time.get())
}
