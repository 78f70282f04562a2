//! The clock of the engine: the only file of it that reads one.

use std::time::{Duration, SystemTime};

use flowspec::{Micros, Moment};
use tokio::time::Instant;

/// The manager's clock: microseconds since the engine started.
#[derive(Clone, Copy, Debug)]
pub(super) struct ManagerClock {
    started: Instant,
}

impl ManagerClock {
    pub(super) fn start() -> Self {
        Self { started: now() }
    }

    /// What it shows now.
    pub(super) fn now(self) -> Moment {
        Moment::from_micros(u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// When it started, from 1970 on, by the clock on the wall; that may be set while this one runs.
    #[expect(clippy::disallowed_methods, reason = "the times of a log decide nothing")]
    pub(super) fn epoch(self) -> Moment {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let wall = Moment::from_micros(u64::try_from(wall.as_micros()).unwrap_or(u64::MAX));
        wall.saturating_sub(Micros::new(self.now().as_micros()))
    }

    /// What it shows at this instant, rounded up; its start where that is later.
    pub(super) fn at(self, instant: std::time::Instant) -> Moment {
        let since = Instant::from_std(instant).saturating_duration_since(self.started);
        Moment::from_micros(micros(since).get())
    }

    /// This clock beside that of the system, which shows this uptime now; `None` where there is no such clock.
    pub(super) fn beside_system(self, uptime: Option<Micros>) -> SystemClock {
        SystemClock { now: self.now(), uptime }
    }

    /// When it shows this moment.
    pub(super) fn instant(self, at: Moment) -> Instant {
        self.started + Duration::from_micros(at.as_micros())
    }
}

/// The clock of the system at one moment of the manager's, for times that outlive this process: microseconds since the
/// machine started.
#[derive(Clone, Copy, Debug)]
pub(super) struct SystemClock {
    now: Moment,
    uptime: Option<Micros>,
}

impl SystemClock {
    /// What the manager's clock shows now.
    pub(super) const fn now(self) -> Moment {
        self.now
    }

    /// What the clock of the system shows at this moment; `None` where there is no such clock.
    pub(super) fn on_system(self, at: Moment) -> Option<u64> {
        Some(self.uptime?.get().saturating_add(at.as_micros()).saturating_sub(self.now.as_micros()))
    }

    /// The moment at which the clock of the system shows this; the start where that is past.
    pub(super) fn at_system(self, micros: u64) -> Moment {
        let system = self.uptime.map_or(micros, Micros::get);
        Moment::from_micros(micros.saturating_add(self.now.as_micros()).saturating_sub(system))
    }
}

/// A time as the manager counts it, rounded up.
pub(super) fn micros(time: Duration) -> Micros {
    Micros::new(u64::try_from(time.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX))
}

/// The time now, for deadlines and ages that the manager does not know.
pub(super) fn now() -> Instant {
    Instant::now()
}

/// This long from now; `None` where the clock does not reach as far.
pub(super) fn after(delay: Duration) -> Option<std::time::Instant> {
    now().into_std().checked_add(delay)
}
