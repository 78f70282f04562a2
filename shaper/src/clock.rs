//! The clock of the adapters: tokio's, which tests can stop.

use std::sync::LazyLock;
use std::time::Duration;

use flowspec::Timestamp;
use tokio::time::Instant;

/// The origin of every [`Timestamp`] in this process.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The time now, by the monotonic clock.
pub fn now() -> Timestamp {
    // The origin is read before the clock: this call may be the one that initialises it.
    let origin = *ORIGIN;
    Timestamp::default().saturating_add(Instant::now().duration_since(origin))
}

/// The instant of a timestamp, for tokio's timers.
pub(crate) fn instant(timestamp: Timestamp) -> Instant {
    *ORIGIN + Duration::from_nanos(timestamp.as_nanos())
}
