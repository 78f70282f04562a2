//! Measures how long something takes: the only file of the command line that reads a clock.

use std::time::{Duration, Instant};

/// A clock that was started.
pub(super) struct Stopwatch {
    started: Instant,
}

impl Stopwatch {
    pub(super) fn start() -> Self {
        Self { started: Instant::now() }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}
