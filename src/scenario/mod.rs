//! Scenarios: traces and regression tests of a policy, in virtual time.
//!
//! A *trace* has one request per line, and replaying it gives one decision per line. A *test* states the expected
//! decisions. Takes texts and a policy, returns decisions and verdicts. Knows no clock, no file and no kernel: the
//! same texts give the same output, byte for byte, on every machine.
//!
//! # Types
//!
//! - **Traces**: a [`TraceReader`] reads them line by line; a [`TraceLine`] is one request with its time; [`TraceError`]
//!   says why a line is not one; [`trace_schema`] is the JSON schema of a line.
//! - **Tests**: a [`Suite`] is a test file, a [`Test`] one of its tests.
//! - **Results**: a [`TestOutcome`] holds the [`Verdict`] ([`TestFailure`], [`SkipReason`]), every [`StepDecision`] and the
//!   [`Correction`]s that would make the test pass, or the [`Uncorrectable`] steps. A failure names the [`Compared`]
//!   quantity and holds a [`LedgerSnapshot`]. [`differences`] pairs the decisions of two policies on each
//!   [`Requested`] flow; a [`TestComparison`] reports each [`ComparedTest`] with its [`ComparedDecision`]s.
//! - **Reports**: a [`RunReport`] of [`TestReport`]s, [`InvalidFile`]s and [`PolicyCoverage`] is rendered in a [`ReportFormat`];
//!   [`Coverage`] counts which [`CoverageItem`]s of a policy the tests used.
//! - **Checks**: [`infeasible`] names the templates and rules that a policy never admits. [`Holdings`] counts how
//!   many flows fit under a policy, by [`InterfaceHoldings`] and [`Fill`], each with its [`HoldingLimit`], and lists
//!   the [`HoldingChange`]s between two policies.
//! - **Measured transfers**: a [`Laboratory`] sends a [`TransferRequest`] on a real network; [`TransferFailure`] says
//!   why a transfer failed.
//!
//! # Order of calls
//!
//! - Replay: [`TraceReader::read`] for each line, then [`TraceLine::decide_by_manager`].
//! - Test: [`Suite::parse`], then [`Suite::check`] with the policies that [`Suite::policies`] names, then [`run_test`] for
//!   each test; then [`Coverage::count`] for each outcome and [`render`] for all reports.
//! - Record: [`record`] turns a trace into a test file.

pub mod audit;
mod checks;
mod compare;
mod comparison;
mod connect;
mod correction;
mod coverage;
mod difference;
mod distinct;
mod expectations;
mod feasibility;
mod holdings;
mod junit;
mod laboratory;
mod named;
mod names;
mod outcome;
mod record;
mod render;
mod report;
mod requested;
mod run;
mod schema;
mod snapshot;
mod step;
mod step_meanings;
mod steps;
mod suite;
mod trace;
mod trace_json;
mod trace_schema;

pub use comparison::{ComparedDecision, ComparedTest, TestComparison};
pub use coverage::{Coverage, CoverageItem};
pub use difference::{DecisionDifference, differences};
pub use feasibility::infeasible;
pub use holdings::{Fill, HoldingChange, HoldingLimit, Holdings, InterfaceHoldings};
pub use laboratory::{Laboratory, TransferFailure, TransferRequest};
pub use outcome::{
    ChargeQuantity, Compared, Correction, NoExpectations, Requested, SkipReason, StepDecision, TestFailure,
    TestOutcome, Uncorrectable, Verdict,
};
pub use record::{RecordError, Recording, record};
pub use render::{ReportFormat, render};
pub use report::{FailedAt, FileProblem, InvalidFile, PolicyCoverage, RunReport, TestReport};
pub use run::run_test;
pub use schema::test_schema;
pub use snapshot::{FlowRow, InterfaceSnapshot, LedgerSnapshot};
pub use suite::{Suite, Test};
pub use trace::{LONGEST_LINE, TraceError, TraceLine, TraceReader, parse_line};
pub use trace_schema::trace_schema;
