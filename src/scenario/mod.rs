//! Scenarios: requests written down, and what became of them, in virtual time.
//!
//! A *trace* is one request a line and gives one decision a line; a *test* says what the decisions are
//! to be. Takes texts and a policy, gives decisions and verdicts. Knows no clock, no file and no kernel:
//! the same texts give the same answers, byte for byte, on every machine.

mod compare;
mod record;
mod report;
mod run;
mod step;
mod steps;
mod suite;
mod trace;

pub use record::{RecordError, record};
pub use report::{Coverage, Format, Report, render};
pub use run::{Failure, Laboratory, Outcome, Sending, Touched, Verdict, run_test};
pub use suite::{Suite, Test};
pub use trace::{LONGEST_LINE, TraceError, Traced, parse_line};
