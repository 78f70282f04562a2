//! The daemon's log: facts as events of `tracing` with named fields, in lines on standard error or in systemd's journal.
//!
//! # Types
//!
//! - `LogFormat` is how lines are written, `DaemonLog` a subscriber that is in force.
//! - `FactLog` turns each fact of the manager into an event of `tracing`.
//!
//! # Order of calls
//!
//! 1. `DaemonLog::begin`, before the daemon starts, so that nothing of its start is missing.
//! 2. `DaemonLog::follow`, once the daemon serves, on a thread of its own: a reader of the log that does not read delays
//!    no admission.
//!
//! Names of flows come from clients. In lines, `line` writes what a terminal would obey as text; in the journal, `FactLog` does.

mod fact;
mod line;
mod start;

pub(super) use start::{DaemonLog, LogFormat};
