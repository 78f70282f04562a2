//! Measures how long something takes, and gives the date: the only file of the command line that reads a clock.

use std::time::{Duration, Instant, SystemTime};

/// A clock that was started.
pub(super) struct Stopwatch {
    started: Instant,
}

impl Stopwatch {
    pub(super) fn start() -> Self {
        Self { started: Instant::now() }
    }

    pub(super) fn time(&self) -> Duration {
        self.started.elapsed()
    }
}

/// The date of what is made for a package: that of SOURCE_DATE_EPOCH, by which packages are built alike at any time,
/// otherwise today.
#[expect(clippy::disallowed_methods, reason = "the date of a page decides nothing")]
pub(super) fn date() -> String {
    let epoch = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|seconds| seconds.parse().ok());
    let epoch = epoch.and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
    let stamp = humantime::format_rfc3339(epoch.unwrap_or_else(SystemTime::now)).to_string();
    stamp.split('T').next().unwrap_or_default().to_owned()
}
