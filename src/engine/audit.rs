//! Where the facts of an engine's audit trail go.

use flowspec::Moment;

use crate::admission::Ledger;
use crate::telemetry::audit::Audited;

/// Takes the facts of an engine's audit trail.
///
/// It is called under the engine's lock, in the order in which things happened: it must neither block nor call the engine.
pub trait AuditSink: Send {
    /// Takes facts; the ledger is as they have left it.
    fn record(&mut self, facts: Vec<Audited>, ledger: &Ledger);
}

/// Makes the sink of an engine, which it tells the start of its clock, from 1970 on.
pub type MakeAuditSink = Box<dyn FnOnce(Moment) -> Box<dyn AuditSink> + Send>;
