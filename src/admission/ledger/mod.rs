//! The ledger: every account, flow, group and client of a policy, and the decision on each operation.
//!
//! Takes an [`Operation`](super::Operation) and its moment; gives an [`Outcome`](super::Outcome). A refused operation leaves
//! no trace but the time. Knows no kernel and no sockets.
//!
//! # Types
//!
//! - **State**: [`Ledger`](state::Ledger), with a [`LedgerGroup`](group::LedgerGroup) for each group, a
//!   [`ClientUse`](client::ClientUse) for each client, the [`WaitingQueue`](queue::WaitingQueue) and the
//!   [`AbsentPeers`](absence::AbsentPeers).
//! - **Deciding**: [`decide`] takes every operation, and books a reservation that fits; [`operations`] has the others;
//!   [`prepare`] computes what a request would book, [`admit`] releases it;
//!   [`preemption`] and [`victims`] choose the flows that are preempted for it, [`alternative`] what would fit in its place.
//! - **Changing**: [`renegotiation`] at once and [`pending_renegotiation`] in two steps; [`groups`], [`measurement`] and [`peers`] for
//!   the operations of these names; [`capacity`] for a link's rate, [`reload`] for a policy.
//! - **Waiting**: [`lanes`] says which flows compete for what, [`scarce`] what is too scarce and when, [`waiting`] notifies
//!   them in order.
//! - **Reading**: [`views`], [`class_totals`], and [`earliest`] for the first moment at which a flow would fit.
//!
//! # Order of calls
//!
//! 1. `Ledger::new`, then `Ledger::observe_link` for each interface.
//! 2. `Ledger::decide` for each operation, at moments that never go back; it ends what is due before it decides.
//! 3. Where the kernel has to agree to a renegotiation: `Ledger::begin_renegotiation`, then
//!    `Ledger::finish_renegotiation` or `Ledger::abandon_renegotiation`.
//! 4. `Ledger::advance` at `Ledger::due`, when no operation has come by then.
//! 5. `Ledger::reload` for another policy, at any time.

pub(crate) mod absence;
pub(crate) mod admit;
pub(crate) mod alternative;
pub(crate) mod booking;
pub(crate) mod capacity;
pub(crate) mod class_totals;
pub(crate) mod client;
pub(crate) mod decide;
pub(crate) mod earliest;
pub(crate) mod group;
pub(crate) mod groups;
pub(crate) mod invariants;
mod keep;
pub(crate) mod lanes;
pub(crate) mod measurement;
mod operations;
pub(crate) mod peers;
pub(crate) mod pending_renegotiation;
pub(crate) mod policy_groups;
pub(crate) mod preemption;
pub(crate) mod prepare;
pub(crate) mod queue;
pub(crate) mod reload;
pub(crate) mod renegotiation;
pub(crate) mod scarce;
pub(crate) mod state;
pub(crate) mod victims;
pub(crate) mod views;
pub(crate) mod waiting;
pub(crate) mod wire;
