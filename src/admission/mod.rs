//! Admission: how much of each interface is promised, and to whom.
//!
//! Takes checked requests, gives grants and refusals. Knows neither sockets, clocks, nor `tc`: the
//! same requests in the same order give the same decisions, byte for byte.
//!
//! ```text
//! Request ─► Ledger ─┬─► Grant    (the ledger has changed)
//!                    └─► Refusal  (it has not)   ─► Decision, with the whole sum
//! ```

mod decision;
mod ledger;
mod refusal;

pub use decision::{Decision, Enforced, Op};
pub use ledger::{Grant, Ledger, Request, Totals, UNKNOWN_MTU};
pub use refusal::{Holder, Refusal, Sum};
