//! The engine of the daemon, as a client of its control socket sees it.
//!
//! Takes the calls of [`Engine`](super::Engine) and sends them as messages; decides nothing. A reservation costs one round
//! trip; its end costs none, since the client does not wait for the answer.
//!
//! # Types
//!
//! - [`RemoteEngine`] implements the boundary between clients and an engine.
//! - [`DaemonSocket`] is the default path of the control socket.
//! - [`DaemonError`]: the daemon cannot be reached, or has answered with an error.
//! - `Connection` carries calls and their replies, which come in the order of the calls. A second connection carries the
//!   notices: lost reservations, those that begin, free capacity.
//! - `HeldFlows` are the reservations of this process, by id: which one a notice is about.
//!
//! # Order of calls
//!
//! [`RemoteEngine::connect`], then those of [`Engine`](super::Engine).
//!
//! # The end of the daemon
//!
//! A call that has no answer yet fails, as does each call until the daemon is back: [`DaemonError`], WSAENETDOWN. A request for a
//! reservation waits for a daemon that has gone just now, since it may be starting again. Where the policy's `degrade` says so, it is
//! granted without a reservation instead (`Fallback`), and takes one once the daemon is back. A
//! reservation stands meanwhile: its packets stay in their class, and its shaper in force. Once the daemon is back, each
//! reservation is asked for again under its id; one that is refused then is [lost](super::Loss::EngineGone).

mod absence;
mod calls;
mod client_slice;
mod connection;
mod daemon_socket;
mod error;
mod fallback;
mod held;
mod peers;
mod remote_engine;
mod slices;
mod streams;

pub use client_slice::{Slice, SliceRequest};
pub use daemon_socket::DaemonSocket;
pub use error::DaemonError;
pub use remote_engine::RemoteEngine;
