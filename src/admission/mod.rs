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
mod decision;
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
mod refusal;
mod request;
mod sorted;
mod sum;
mod victims;
mod waiting;

pub use account::UNKNOWN_MTU;
pub use decision::{Decision, Enforced, Op};
pub use grouping::Reload;
pub use ledger::{Ledger, Totals};
pub use measured::{LONGEST_MEASUREMENT_MICROS, SHORTEST_MEASUREMENT_MICROS};
pub use not_programmed::NotProgrammed;
pub use operation::{Ladder, Operation, Resolved};
pub use profile::{FOREVER, Window};
pub use proof::{Provable, Prover, unproven};
pub use refusal::Refusal;
pub use request::{Grant, GroupRequest, Request};
pub use sum::{ClientLimit, GroupLimit, Holder, Sum};
pub use victims::Displaced;
pub use waiting::GRACE;
