//! Commands that call the daemon's control socket: `call`, `status`, `flows`, `events`, `reload`, `drain` and `top`.
//!
//! # Types
//!
//! - `SocketArgument` finds the socket and connects; `ControlClient` sends a call and reads its replies, one at a time.
//! - One struct `Arguments` for each command, for clap.
//!
//! # Order of calls
//!
//! `SocketArgument::connect`, `ControlClient::send`, then `ControlClient::reply` until a reply does not continue.

pub(super) mod call;
mod client;
pub(super) mod drain;
pub(super) mod events;
pub(super) mod flows;
mod numbers;
pub(super) mod reload;
pub(super) mod status;
pub(super) mod top;

pub(super) use client::SocketArgument;
