//! The daemon's audit log, read again: each line, and what a policy decides in place of the one that decided then.
//!
//! Takes the text of lines; gives [`AuditLine`]s, and the verdicts of an [`AuditReplay`]. Knows no files.
//!
//! # Types
//!
//! - **Lines**: [`AuditLine`] with an [`AuditRecord`]: an operation, a fact about a link, a gap, or the [`AuditHeader`] of a
//!   file; the [`RecordedDecision`] beside it, whose [`LoggedWord`]s may be of another version.
//! - **Another policy**: [`AuditReplay`] decides each line again; [`AuditComparison`] counts the verdicts that differ.
//!
//! # Order of calls
//!
//! 1. [`AuditReplay::new`] with the policy.
//! 2. [`AuditLine::read`] for each line, in the order of the log, and [`AuditReplay::line`] with it.
//! 3. [`AuditComparison::summed_up`] after the last one.

mod comparison;
mod line;
mod replay;
mod word;

pub use comparison::{AuditComparison, ComparedKind, ComparedVerdict, Differing};
pub use line::{AuditError, AuditHeader, AuditLine, AuditRecord, LONGEST_AUDIT_LINE, RecordedDecision};
pub use replay::{AuditReplay, ReplayedLine};
pub use word::{LoggedWord, Word};
