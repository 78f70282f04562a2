//! The clockwork: holds a stream or a datagram socket to its flowspec.
//!
//! The core ([`plan`], [`limiter`], [`bucket`], [`governed`]) is told the time and never waits. The
//! tokio adapters ([`stream`], [`datagram`]) read the clock in one place, wait, and send what the
//! core allows. Knows neither policies, budgets nor the kernel's queues.

#![deny(unsafe_code)]

pub mod bucket;
pub mod governed;
pub mod limiter;
pub mod plan;

#[cfg(feature = "tokio")]
pub mod clock;
#[cfg(feature = "tokio")]
pub mod datagram;
#[cfg(feature = "tokio")]
pub mod gate;
#[cfg(feature = "tokio")]
pub mod stream;
#[cfg(feature = "tokio")]
pub mod sys;
#[cfg(feature = "tokio")]
mod timer;

pub use bucket::Bucket;
pub use governed::Governed;
pub use limiter::{Due, Limiter, Moment};
pub use plan::{Framing, NoRoom, Plan};

#[cfg(feature = "tokio")]
pub use datagram::Datagram;
#[cfg(feature = "tokio")]
pub use gate::{Control, Stats, Turn};
#[cfg(feature = "tokio")]
pub use stream::Stream;
