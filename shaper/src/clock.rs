//! Where the adapters read the time: tokio's clock, so that tests can stop it.

use std::sync::LazyLock;

use tokio::time::Instant;

use crate::limiter::Moment;

/// The origin of every [`Moment`] in this process.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Now, by the monotonic clock.
pub fn now() -> Moment {
    // The origin first: it may be made by this very call.
    let origin = *ORIGIN;
    Moment::from_nanos(u64::try_from(Instant::now().duration_since(origin).as_nanos()).unwrap_or(u64::MAX))
}

/// The instant of a moment, for tokio's timers.
pub(crate) fn instant(moment: Moment) -> Instant {
    *ORIGIN + std::time::Duration::from_nanos(moment.nanos())
}
