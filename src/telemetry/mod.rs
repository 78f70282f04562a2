//! What happened, as values: one struct for each kind of fact, and the counters that follow from them.
//!
//! The manager's reducer emits an [`Event`] for each fact, beside the effects that carry it out. Logs, metrics and
//! traces are renderings of these events; tests hold their sum against the ledger. Takes events, gives counters;
//! knows neither the manager nor the kernel, reads no clock and does no I/O.
//!
//! - **Facts**: [`event`] holds the structs, each named noun then past verb. A fact is final: a flow is admitted once
//!   the ledger has reserved its rate and the kernel has programmed its class, not before.
//! - **Time**: [`Recorded`] adds the [`Moment`](flowspec::Moment) at which the manager handled the input that led to
//!   the fact.
//! - **Sums**: [`Counters`] and [`ReservedRates`] are folds over events: `record` each event in order.

mod counters;
pub mod event;
mod reserved;

pub use counters::Counters;
pub use event::{Event, Recorded};
pub use reserved::ReservedRates;
