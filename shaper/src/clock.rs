//! The clock of the adapters: tokio's, which tests can stop.

use std::sync::LazyLock;
use std::time::Duration;

use flowspec::Timestamp;
use tokio::time::Instant;

/// How long before the first reading of the clock the origin lies: a runtime whose clock was stopped earlier than that
/// reading shows times before it.
const MARGIN: Duration = Duration::from_secs(24 * 60 * 60);

/// The origin of every [`Timestamp`] in this process.
static ORIGIN: LazyLock<Instant> = LazyLock::new(|| {
    let first = Instant::now();
    first.checked_sub(MARGIN).unwrap_or(first)
});

/// The time now, by the monotonic clock.
pub fn now() -> Timestamp {
    Timestamp::default().saturating_add(Instant::now().duration_since(*ORIGIN))
}

/// The instant of a timestamp, for tokio's timers.
pub(crate) fn instant(timestamp: Timestamp) -> Instant {
    *ORIGIN + Duration::from_nanos(timestamp.as_nanos())
}
