//! The demo: the same viewers and the same bulk transfer over one small link, first without gqos, then with it.

mod options;
mod phase;
mod refusals;
mod result;
mod run;

pub use options::{DemoError, Options, Rung, fit_policy};
pub use refusals::RefusalKind;
pub use result::{
    Achieved, Bulk, Kernel, Outcome, Phase, PhaseName, Progress, RungProgress, Totals, Verdict, ViewerResult,
};
pub use run::run;
