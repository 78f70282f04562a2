//! Admission: how much of each interface is reserved, and for which flows.
//!
//! Takes operations, each with its time, and returns decisions. Knows no sockets, no clock and no `tc`: the same
//! operations in the same order give the same decisions, byte for byte.
//!
//! ```text
//! Operation ─► Ledger::decide ─► Outcome ─┬─► Decision: Response, totals, expired and notified flows ─► JSON
//!                                         └─► Grant: what is enforced for an admitted flow
//! ```
//!
//! # Types
//!
//! - **Input**: [`Operation`], which contains a [`Request`], a [`Ladder`] or a [`GroupRequest`].
//! - **Output**: [`Outcome`] with a [`Decision`], whose [`Response`] has the fields of its operation. A [`Refusal`]
//!   has the numbers that decided, and a [`Reason`] with the Winsock codes.
//! - **State to read**: [`Totals`], [`Holding`], [`Reload`] with [`GroupDifference`]s.
//!
//! # Order of calls
//!
//! 1. [`Ledger::new`] with a policy.
//! 2. [`Ledger::observe_link`] for each observed link; its speed and MTU determine which flows fit.
//! 3. [`Ledger::decide`] for each operation, in the order of time. It first ends the reservations that have expired.
//! 4. [`Ledger::reload`] with another policy, at any time; [`Ledger::compare`] lists beforehand what this would
//!    change.
//!
//! # Inside
//!
//! `account` has the sums over time of one interface and does not know the ledger. `ledger` has the accounts, flows,
//! groups, clients and the waiting queue. [`Ledger::invariants`] checks the properties that hold between any two
//! operations.

mod account;
mod decision;
mod displaced;
mod ended;
mod enforcement;
mod group_difference;
mod holding;
mod ledger;
mod limits;
mod not_programmed;
mod operation;
mod peer;
mod reason;
mod refusal;
#[cfg(test)]
mod refusal_tests;
mod request;
mod response;
mod totals;

#[cfg(feature = "scenario")]
pub(crate) use account::charge::reserves_nothing;
pub use account::measured::{LONGEST_MEASUREMENT, SHORTEST_MEASUREMENT};
pub use account::proof::{Provable, Prover, unproven};
pub use account::state::UNKNOWN_MTU;
pub use account::window::Window;
pub use decision::{Decision, Outcome};
pub use displaced::Displaced;
pub use ended::{EndCause, EndedFlow, EndedIds};
pub use enforcement::{Enforced, Lack};
pub use group_difference::GroupDifference;
pub use holding::Holding;
pub use ledger::pending_renegotiation::{BegunRenegotiation, Renegotiation};
pub use ledger::queue::GRACE;
pub use ledger::reload::{ObservedCapacity, Reload};
pub use ledger::state::Ledger;
pub use limits::{ClientLimit, GroupAmount, GroupLimit, Holder, Shortfall};
pub use not_programmed::NotProgrammed;
pub use operation::{Ladder, Operation, OperationKind, RefusedRequest, RequestKind};
pub use peer::{PeerLoss, PeerState};
pub use reason::{Reason, UnknownReason};
pub use refusal::Refusal;
pub use request::{Grant, GroupRequest, NewFlow, Request};
pub use response::{
    AdmittedFlow, AdmittedGroup, ChangedCapacity, EndedGroup, Fits, FreeCapacity, MeasuredClass,
    RefreshedFlow, Refused, RefusedRendition, ReleasedFlow, RenegotiatedFlow, ReportedPeer, Response,
};
pub use totals::{ClassTotals, Totals};
