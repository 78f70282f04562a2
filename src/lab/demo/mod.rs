//! The demo: the same viewers and the same bulk transfer over one small link, first without gqos, then with it.
//!
//! Takes [`Options`]; gives a [`DemoResult`]. Prints nothing: progress is reported to the caller.
//!
//! # Types
//!
//! - **In**: [`Options`], with a [`Rung`] for each rendition; [`fit_policy`] gives a policy the capacity of the
//!   demo's link. [`Programs`] are a daemon and servers under it, each started by a [`ProgramCommand`].
//! - **Meanwhile**: [`PhaseProgress`], with a [`RungProgress`] for each rendition.
//! - **Out**: a [`DemoResult`] has two [`PhaseResult`]s, by [`PhaseName`]: what each viewer got ([`ViewerResult`] with
//!   [`Achieved`] rates, a [`ViewerVerdict`]; [`ViewerTotals`] for all), what the [`Bulk`] transfer got, and the
//!   [`KernelCounts`]. With programs a [`DaemonResult`] says how the daemon was killed and served again ([`DaemonState`] meanwhile),
//!   beside each [`ServerProcess`]. A [`RefusalKind`] groups the refusals of a phase.
//! - **Errors**: a [`DemoError`] says what could not be set up.
//!
//! # Order of calls
//!
//! [`Options`] are filled in, [`run`] measures both phases, and the methods of [`DemoResult`] and [`PhaseResult`] count.

mod error;
mod options;
mod phase;
mod program;
mod programs;
mod refusals;
mod result;
mod run;

pub use error::DemoError;
pub use options::{Options, ProgramCommand, Programs, Rung, fit_policy};
pub use refusals::RefusalKind;
pub use result::{
    Achieved, Bulk, DaemonResult, DaemonState, DemoResult, KernelCounts, PhaseName, PhaseProgress,
    PhaseResult, RungProgress, ServerProcess, ViewerResult, ViewerTotals, ViewerVerdict,
};
pub use run::run;
