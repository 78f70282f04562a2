//! The audit log: the engine's audit trail in files that `gqos replay` reads.
//!
//! The sink hands facts to a thread through a bounded queue, and never waits: facts that do not fit are counted. The thread writes
//! lines and begins new files; what cannot be written is counted as well. Where facts are missing, the log says how many
//! as soon as it can be written again, and states what is held.

mod files;
mod message;
mod sink;
mod writer;

pub(super) use sink::{AuditLog, Named, Owners, start};
