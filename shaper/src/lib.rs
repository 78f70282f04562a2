//! Token buckets that hold a stream or a datagram socket to its flowspec.
//!
//! The core is given the time and never waits; the tokio adapters read the clock in one place, wait, and send what
//! the core allows. Knows neither policies, budgets nor the kernel's queues.
//!
//! - Values: [`Plan`], how one direction is shaped, with its [`Framing`]; [`plan::Tokens`], a bucket's parameters.
//! - Core: the [`Limiter`] interface; [`Bucket`], the exact one, which the adapters use; [`Governed`], the same on the
//!   `governor` crate; [`Wheel`], which timers are due.
//! - Adapters (feature `tokio`): [`Control`], the handle on a socket's shaping; [`Stream`] and [`Datagram`], which
//!   take tokens from it; [`relay::Relay`], which moves data between two sockets within the kernel; [`transfer`], threads
//!   that send files and bytes to many sockets; [`sys`], the system calls.
//! - Order of calls: [`Plan::new`] from a TSpec, [`Control::set`], then the adapters' reads and writes. A caller
//!   without tokio's traits calls [`Control::acquire`], transfers, and calls [`Control::complete`].

#![deny(missing_docs, unsafe_code)]

pub mod bucket;
mod coupled;
pub mod governed;
pub mod headers;
pub mod limiter;
pub mod plan;
pub mod wheel;

#[cfg(feature = "tokio")]
pub mod clock;
#[cfg(feature = "tokio")]
pub mod control;
#[cfg(feature = "tokio")]
pub mod datagram;
#[cfg(feature = "tokio")]
mod debts;
#[cfg(feature = "tokio")]
mod direction_state;
#[cfg(feature = "tokio")]
mod pipes;
#[cfg(feature = "tokio")]
pub mod relay;
#[cfg(feature = "tokio")]
mod release;
#[cfg(feature = "tokio")]
pub mod stream;
#[cfg(feature = "tokio")]
pub mod sys;
#[cfg(feature = "tokio")]
mod timer;
#[cfg(feature = "tokio")]
mod tokens;
#[cfg(feature = "tokio")]
pub mod transfer;

pub use bucket::Bucket;
pub use coupled::Coupled;
pub use flowspec::Timestamp;
pub use governed::Governed;
pub use headers::NoPayload;
pub use limiter::{Deficit, Due, Limiter};
pub use plan::{Framing, Plan};
pub use wheel::Wheel;

#[cfg(feature = "tokio")]
pub use control::{Control, Credit};
#[cfg(feature = "tokio")]
pub use datagram::Datagram;
#[cfg(feature = "tokio")]
pub use direction_state::Stats;
#[cfg(feature = "tokio")]
pub use stream::Stream;
