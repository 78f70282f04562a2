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
mod booking;
mod charge;
mod classes;
mod client;
mod decide;
mod decision;
mod enforcement;
mod fit;
mod flows;
mod group;
mod grouping;
mod holders;
mod ledger;
mod measured;
mod names;
mod not_programmed;
mod operation;
mod prepare;
mod profile;
mod proof;
mod reason;
mod refusal;
mod request;
mod response;
mod sorted;
mod sum;
mod totals;
mod victims;
mod waiting;

pub use account::UNKNOWN_MTU;
pub use decision::{Decision, Outcome};
pub use enforcement::{Enforced, Lack};
pub use grouping::Reload;
pub use ledger::Ledger;
pub use measured::{LONGEST_MEASUREMENT_MICROS, SHORTEST_MEASUREMENT_MICROS};
pub use not_programmed::NotProgrammed;
pub use operation::{Ladder, Operation, OperationKind, RefusedRequest, RequestKind};
pub use profile::{FOREVER, Window};
pub use proof::{Provable, Prover, unproven};
pub use reason::{Reason, UnknownReason};
pub use refusal::Refusal;
pub use request::{Grant, GroupRequest, Request};
pub use response::{
    AdmittedFlow, AdmittedGroup, ChangedCapacity, EndedGroup, Fits, FreeCapacity, MeasuredClass,
    RefreshedFlow, Refused, ReleasedFlow, RenegotiatedFlow, Response,
};
pub use sum::{ClientLimit, GroupLimit, Holder, Sum};
pub use totals::Totals;
pub use victims::Displaced;
pub use waiting::GRACE;
