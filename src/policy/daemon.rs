//! `[daemon]`: how the daemon is reached, and what one user may take of it.

use flowspec::{Bytes, Micros};

use super::http::HttpAddress;
use super::place::Place;

/// The settings of the daemon. They are read when it starts; a reload changes `group` and `degrade` alone.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DaemonPolicy {
    /// The path of the control socket, unless the command line names another.
    pub socket: Option<String>,
    /// The group whose members may call administrative methods, beside root.
    pub group: Option<String>,
    /// How many connections one user may have.
    pub connections_per_user: Option<usize>,
    /// How many reservations one user may hold.
    pub flows_per_user: Option<usize>,
    /// How many calls a second one user may make.
    pub calls_per_second: Option<u32>,
    /// How long what a killed daemon has granted waits for its clients.
    pub grace: Option<Micros>,
    /// What clients do while no daemon answers.
    pub degrade: Option<Degrade>,
    /// Where metrics, health and the status page are served by HTTP; nowhere where it is `None`.
    pub http: Option<HttpAddress>,
    /// The audit log, where one is written.
    pub audit: Option<AuditPolicy>,
    /// Where the table is defined.
    pub place: Place,
}

/// The daemon's audit log: a trace of what was asked and decided, which `gqos replay` reads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuditPolicy {
    /// The file that is written.
    pub path: String,
    /// How much is written to a file before the next one begins.
    pub max_size: Bytes,
    /// How long a file is written to.
    pub max_age: Micros,
    /// How many files are kept besides the one that is written.
    pub keep: usize,
}

impl AuditPolicy {
    /// `max_size`, where it is absent.
    pub const DEFAULT_MAX_SIZE: Bytes = Bytes::new(64 << 20);
    /// `max_age`, where it is absent: a day.
    pub const DEFAULT_MAX_AGE: Micros = Micros::new(86_400_000_000);
    /// `keep`, where it is absent.
    pub const DEFAULT_KEEP: usize = 14;

    /// An audit log with the defaults.
    pub fn at(path: impl Into<String>) -> Self {
        let (max_size, max_age, keep) = (Self::DEFAULT_MAX_SIZE, Self::DEFAULT_MAX_AGE, Self::DEFAULT_KEEP);
        Self { path: path.into(), max_size, max_age, keep }
    }
}

/// What a client does while no daemon answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Degrade {
    /// Connections fail with WSAENETDOWN.
    Refuse,
    /// Connections are best effort.
    BestEffort,
    /// Connections are paced by token buckets in user space, as their flowspecs say; nothing is reserved.
    LocalBucket,
}

impl Degrade {
    /// The words of a policy file.
    pub(crate) const WORDS: [(&str, Self); 3] =
        [("refuse", Self::Refuse), ("best_effort", Self::BestEffort), ("local-bucket", Self::LocalBucket)];
}
