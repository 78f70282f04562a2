//! Events as values: one struct for each kind of fact, and the counters that are computed from the events.
//!
//! The manager's reducer emits an [`Event`] for each fact, in addition to the effects. Logs, metrics and traces are
//! renderings of these events; tests compare the sum of the events with the ledger. Takes events and returns
//! counters; knows neither the manager nor the kernel, reads no clock and does no I/O.
//!
//! # Types
//!
//! - **Events**: the structs of [`event`], each named noun then past verb, and [`Event`], which is any of them. An event is
//!   final: [`Event::FlowAdmitted`] follows once the ledger has reserved the rate and the kernel has programmed the class,
//!   not before.
//! - **Time**: [`Recorded`] is an event with the [`Moment`](flowspec::Moment) of the input that led to it.
//! - **The audit trail**: [`audit`], a trace of the requests and decisions, for `gqos replay`.
//! - **Sums**: [`Counters`] and [`ReservedRates`], which are folds over events.
//! - **Renderings**: [`Metrics`], a daemon's state and counters as OpenMetrics text.
//!
//! # Order of calls
//!
//! 1. [`Manager::record_events`](crate::manager::Manager::record_events); without this call, the manager makes no
//!    events.
//! 2. The events of each [`Output`](crate::manager::Output), or those of a running host's
//!    [`Events`](https://docs.rs/gqos/latest/gqos/engine/struct.Events.html), in the order in which they come.
//! 3. [`Counters::record`] and [`ReservedRates::record`] for every event.
//! 4. [`ReservedRates::on`] and the fields of [`Counters`], whenever they are needed.

pub mod audit;
mod counters;
pub mod event;
mod exposition;
pub mod metrics;
mod plain;
mod reserved;
mod traffic_metrics;

pub use counters::Counters;
pub use event::{Event, Recorded};
pub use exposition::MetricsFormat;
pub use metrics::Metrics;
pub use plain::{is_hostile, is_unseen, plain};
pub use reserved::ReservedRates;
