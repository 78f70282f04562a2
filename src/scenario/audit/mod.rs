//! The daemon's audit log, read again: each line, and what a policy decides in place of the one that decided then.
//!
//! Takes the text of lines; gives [`AuditLine`]s, and the verdicts of an [`AuditReplay`]. Knows no files.

mod comparison;
mod line;
mod replay;

pub use comparison::{AuditComparison, ComparedKind, ComparedVerdict, Differing};
pub use line::{AuditError, AuditHeader, AuditLine, AuditRecord, LONGEST_AUDIT_LINE, RecordedDecision};
pub use replay::{AuditReplay, ReplayedLine};
