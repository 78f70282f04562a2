//! The manager: one reducer from inputs to effects and events.
//!
//! Takes requests, ends of flows, the kernel's answers and observations of interfaces. Returns changes for the
//! kernel, answers for callers, notices for flows whose reservation has changed, and events for logs and metrics.
//! Knows no sockets, no clock and no tokio: the time is an argument.
//!
//! A flow is *provisional* until the kernel has its class and the peer has answered. If either fails, the whole
//! reservation is released. Only `roll_back` and `release` do this.
//!
//! # Types
//!
//! - **The reducer**: [`Manager`]; [`DryRun`] is the same without a kernel, for tests and traces.
//! - **Input**: [`Input`], [`Seen`], [`Root`]; a caller's [`RequestId`].
//! - **Output**: [`Output`] with [`Effect`], [`Answer`], [`Admitted`], [`Notice`], [`Lost`], [`Loss`]; the manager's
//!   [`ChangeId`]. Events are those of [`telemetry`](crate::telemetry).
//! - **State to read**: [`FlowPhase`] of a flow, [`Status`] of an interface.
//!
//! # Order of calls
//!
//! 1. [`Input::Seen`] once for each interface, before the first request for it. The answer is a change that sets up
//!    the tree; requests wait until the kernel has answered this change.
//! 2. [`Input::Request`]; the answer is an [`Effect::Answer`] with the same id, at once or after the kernel's answer.
//! 3. For each [`Effect::Apply`] one [`Input::Applied`], in order for each interface.
//! 4. [`Input::Connected`] when the peer has answered. At the end of the flow, or when its caller has given up,
//!    [`Input::Spent`] with the tokens that the flow has taken from its buckets, and then [`Input::Closed`]. After a
//!    [`Notice::Lost`], only [`Input::Spent`] follows. If the flow's packets leave through another interface:
//!    [`Input::Reroute`], or [`Input::RouteLost`].
//! 5. Any input, or [`Operation::Tick`](crate::admission::Operation::Tick), when [`Manager::due`] has come.
//! 6. An [`Effect::Leave`] ends an interface; it may be seen again later.
//! 7. [`Input::Stop`] at the end.

mod admit;
mod audit;
mod begin;
mod beginnings;
mod copies;
mod debts;
mod dropped;
mod dry_run;
mod flow;
mod interface;
mod invariants;
mod kept;
mod links;
mod marked;
mod marks;
mod message;
mod numbers;
mod owed;
mod pending;
mod receiving;
mod record;
mod recorded;
mod reducer;
mod release;
mod renegotiate;
mod replayed;
mod reroute;
mod roll_back;
mod state;
mod turn;

pub use debts::Debts;
pub use dry_run::DryRun;
pub use flow::FlowPhase;
pub use kept::KeptFlow;
pub use message::{
    Admitted, Answer, ChangeId, Effect, Input, Loss, Lost, Notice, Output, RequestId, Root, Seen,
};
pub use replayed::Restore;
pub use state::{FlowsOfClass, Manager, Status, proven_error_terms};
