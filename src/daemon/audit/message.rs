//! What the log's thread gets.

use std::collections::HashSet;

use flowspec::Moment;

use crate::telemetry::audit::Audited;

/// What the thread gets.
pub(super) enum AuditMessage {
    /// A fact, with the process that its flow belongs to.
    Fact(Audited, Option<u32>),
    /// This number of facts was lost, and these flows hold a reservation now.
    Missing { at: Moment, facts: u64, live: HashSet<String> },
}
