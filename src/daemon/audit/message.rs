//! What the log's thread gets.

use std::collections::HashSet;

use flowspec::Moment;

use crate::telemetry::audit::{AuditClient, Audited};

/// What the thread gets.
pub(super) enum AuditMessage {
    /// A fact, with the client that its flow or its group belongs to.
    Fact(Audited, AuditClient),
    /// This number of facts was lost, and these flows hold a reservation now.
    Missing { at: Moment, facts: u64, live: HashSet<String> },
}
