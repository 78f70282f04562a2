//! The conditions of a run.

use std::time::SystemTime;

/// The conditions of a run: what a reader needs to repeat it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Provenance {
    /// When it ended, in UTC.
    pub date: String,
    /// The arguments that repeat the run, as a shell reads them.
    pub command: String,
    /// The package version that ran.
    pub gqos: String,
    /// The kernel's release.
    pub kernel: String,
    /// Without its directory.
    pub policy_name: String,
    /// The text as the run read it, so that the page can be repeated.
    pub policy: String,
}

/// The file in which Linux says its release.
const RELEASE: &str = "/proc/sys/kernel/osrelease";

impl Provenance {
    /// The conditions now, on this machine; the command and the policy are for the caller to fill in.
    pub fn here_and_now() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the date of a report; nothing is timed by it")]
        let now = SystemTime::now();
        let release = std::fs::read_to_string(RELEASE).unwrap_or_else(|_| "unknown".to_owned());
        Self {
            date: humantime::format_rfc3339_seconds(now).to_string(),
            command: String::new(),
            gqos: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: format!("Linux {}", release.trim()),
            policy_name: String::new(),
            policy: String::new(),
        }
    }
}
