//! The manager: one reducer from inputs to effects and events.
//!
//! Takes requests, closed flows, the kernel's answers and interfaces as they were seen; gives changes for the kernel,
//! answers for callers, notices for those whose reservation has changed, and events for logs and metrics. Knows no
//! sockets, no clock and no tokio: the time is an argument.
//!
//! A flow is *provisional* until the kernel has its class and the peer has answered. If either fails, everything that
//! it reserved is released, in `roll_back` and `release` and nowhere else.
//!
//! # Types
//!
//! - **The reducer**: [`Manager`]; [`DryRun`] is the same without a kernel, for tests and traces.
//! - **In**: [`Input`], [`Seen`], [`Root`]; a caller's [`RequestId`].
//! - **Out**: [`Output`] with [`Effect`], [`Answer`], [`Admitted`], [`Notice`], [`Lost`], [`Loss`]; the manager's
//!   [`ChangeId`]. Events are those of [`telemetry`](crate::telemetry).
//! - **To read**: [`FlowPhase`] of a flow, [`Status`] of an interface.
//!
//! # Order of calls
//!
//! 1. [`Input::Seen`] once for each interface, before the first request for it. The answer is a change that sets the
//!    tree up; requests wait until the kernel has answered it.
//! 2. [`Input::Request`]; the answer is an [`Effect::Answer`] with the same id, at once or after the kernel's answer.
//! 3. For each [`Effect::Apply`] one [`Input::Applied`], in order for each interface.
//! 4. [`Input::Connected`] when the peer has answered, [`Input::Closed`] when the flow has ended or its caller has
//!    given up; before that [`Input::Spent`] with what it has taken from its buckets. After a [`Notice::Lost`] the next
//!    input is [`Input::Spent`], and nothing else follows.
//!    Where the kernel sends its packets by another interface: [`Input::Reroute`], or [`Input::RouteLost`].
//! 5. Any input, or [`Operation::Tick`](crate::admission::Operation::Tick), when [`Manager::due`] has come.
//! 6. [`Input::Stop`] at the end.

mod admit;
mod audit;
mod begin;
mod beginnings;
mod copies;
mod debts;
mod dry_run;
mod flow;
mod interface;
mod invariants;
mod kept;
mod links;
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
pub use state::{Manager, Status, proven_error_terms};
