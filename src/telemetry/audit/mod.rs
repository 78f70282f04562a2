//! The audit trail: what the ledger was asked and what it decided, in order, as a trace that can be replayed.
//!
//! Takes the [`Audited`] facts of a manager; gives lines of JSON. Each request is a line of a trace with the decision beside
//! it, so that `gqos replay` decides the same requests again, under the same policy or another one. Knows no file: the
//! daemon writes and rotates them.
//!
//! # Types
//!
//! - **Facts**: [`Audited`] with an [`AuditFact`], which a [`Manager`](crate::manager::Manager) gives once
//!   [`record_audit`](crate::manager::Manager::record_audit) was called.
//! - **Lines**: [`AuditTrail`] numbers the facts and writes them. It follows what is reserved, so that
//!   [`restate`](AuditTrail::restate) can begin a file with what is held at that moment.
//!
//! # Order of calls
//!
//! 1. [`AuditTrail::new`] with the run and the policy.
//! 2. [`AuditTrail::restate`] at the start of each file.
//! 3. [`AuditTrail::lines`] for each fact; [`AuditTrail::gap`] where facts were lost.
//! 4. [`AuditTrail::stopped`] at the end of the run.

mod fact;
mod header;
mod line;
mod live;
mod time;
mod trail;

pub use fact::{AuditClient, AuditFact, Audited};
pub use header::{AuditRun, policy_digest};
pub use time::{parse_time, time_of};
pub use trail::AuditTrail;
