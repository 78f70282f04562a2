//! What this machine offers for `enforcement = "kernel"`, and what each lack costs.
//!
//! [`Facts`] are read and tried; [`judge`] is a pure function from them to [`Finding`]s, each with what it costs and how to
//! mend it.
//!
//! The order of calls: [`Facts::read`] on a runtime of the host's namespace; then, since it may need a user namespace and
//! a thread of its own, [`Facts::try_features`]; at last [`judge`].

mod confinement;
mod facts;
mod finding;
mod host;
mod judge;
mod kernel;

pub use facts::{Facts, FeatureState, InterfaceFacts, Privileges, SystemFacts};
pub use finding::{Finding, FindingState};
pub use judge::judge;
