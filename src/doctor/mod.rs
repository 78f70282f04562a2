//! What this machine offers for `enforcement = "kernel"`, and the consequence of each missing feature.
//!
//! [`Facts`] are read from the machine and tried out. [`judge`] is a pure function from facts to [`Finding`]s, each
//! with its consequence and how to mend it.
//!
//! The order of calls: [`Facts::read`] on a runtime of the host's namespace; then [`Facts::try_features`], which may
//! need a user namespace and a thread of its own; finally [`judge`].

mod confinement;
mod facts;
mod finding;
mod host;
mod judge;
mod kernel;

pub use facts::{Facts, FeatureState, InterfaceFacts, Privileges, SystemFacts};
pub use finding::{Finding, FindingState};
pub use judge::judge;
