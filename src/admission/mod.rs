//! Admission: how much of each interface is promised, and to whom.
//!
//! Takes checked requests, gives grants and refusals. Knows neither sockets, clocks, nor `tc`: the
//! same requests in the same order give the same decisions, byte for byte.
//!
//! ```text
//! Request ─► Ledger ─┬─► Grant    (the ledger has changed)
//!                    └─► Refusal  (it has not)   ─► Decision, with the whole sum
//! ```

mod account;
mod decision;
mod displaced;
mod enforcement;
mod holding;
mod ledger;
mod limits;
mod not_programmed;
mod operation;
mod reason;
mod refusal;
#[cfg(test)]
mod refusal_tests;
mod request;
mod response;
mod totals;

pub use account::measured::{LONGEST_MEASUREMENT, SHORTEST_MEASUREMENT};
pub use account::proof::{Provable, Prover, unproven};
pub use account::state::UNKNOWN_MTU;
pub use account::window::Window;
pub use decision::{Decision, Outcome};
pub use displaced::Displaced;
pub use enforcement::{Enforced, Lack};
pub use holding::Holding;
pub use ledger::exchange::{Begun, Renegotiation};
pub use ledger::queue::GRACE;
pub use ledger::reload::Reload;
pub use ledger::state::Ledger;
pub use limits::{ClientLimit, GroupLimit, Holder, Shortfall};
pub use not_programmed::NotProgrammed;
pub use operation::{Ladder, Operation, OperationKind, RefusedRequest, RequestKind};
pub use reason::{Reason, UnknownReason};
pub use refusal::Refusal;
pub use request::{Grant, GroupRequest, Request};
pub use response::{
    AdmittedFlow, AdmittedGroup, ChangedCapacity, EndedGroup, Fits, FreeCapacity, MeasuredClass,
    RefreshedFlow, Refused, ReleasedFlow, RenegotiatedFlow, Response,
};
pub use totals::Totals;
