//! The demo: the same viewers and the same bulk transfer over one small link, first without gqos, then with it.

mod options;
mod phase;
mod refusals;
mod result;
mod run;

pub use options::{DemoError, Options, Rung, fit_policy};
pub use refusals::RefusalKind;
pub use result::{
    Achieved, Bulk, DemoResult, KernelCounts, PhaseName, PhaseProgress, PhaseResult, RungProgress,
    ViewerResult, ViewerTotals, ViewerVerdict,
};
pub use run::run;
