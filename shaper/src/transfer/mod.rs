//! Sends files and bytes to many TCP sockets without a task, a timer or a buffer for each.
//!
//! Takes sockets that a [`Control`](crate::Control) shapes, each with a [`Payload`]; completes a [`Transfer`] once the socket
//! has accepted everything. Each worker is a thread with one [timing wheel](crate::wheel), and waits for its sockets and for
//! time by one system call. Nothing is allocated for a release, and workers share no lock.
//!
//! The rules are those of [`Stream`](crate::Stream), and so is their code: the same buckets, times of releases and counters,
//! and a change of the plan takes effect at once. A transfer whose socket is full leaves the wheel until the kernel reports
//! space, so that a slow receiver delays no other. What delays others is a disk: a worker waits for the parts of a file that
//! are not in memory.
//!
//! - [`Workers`], the threads; [`Limits`], how many and how much each takes.
//! - [`Payload`], what is sent: a part of a file by sendfile(2), or bytes in memory, once or repeated.
//! - [`Transfer`], the future of one; dropped, it ends the transfer. [`TransferError`], why one has ended early.

mod error;
mod inbox;
mod payload;
mod schedule;
mod worker;
mod workers;

pub use error::{TransferError, TransferProblem};
pub use payload::Payload;
pub use workers::{Limits, Transfer, Workers};
