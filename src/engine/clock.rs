//! The clock of the engine: the only file of it that reads one.

use std::time::Duration;

use flowspec::Moment;
use tokio::time::Instant;

/// The manager's clock: microseconds since the engine started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    started: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { started: now() }
    }

    /// What it shows now.
    pub(super) fn now(self) -> Moment {
        Moment::from_micros(u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// When it shows this moment.
    pub(super) fn instant(self, at: Moment) -> Instant {
        self.started + Duration::from_micros(at.as_micros())
    }
}

/// The time now, for deadlines and ages that the manager does not know.
pub(super) fn now() -> Instant {
    Instant::now()
}
