//! `gqos connect`: standard input and output over a connection with a flowspec.
//!
//! # Types
//!
//! - [`Arguments`] of the command line; `Destination`, the host and the port in them.
//! - `Screen`, what is printed about a flow on standard error: standard output carries its data alone.
//!
//! # Order of calls
//!
//! 1. [`run`] starts an engine, or stops at what is wrong with the policy.
//! 2. `session` connects or accepts, and reports the decision.
//! 3. `streams` exchanges the bytes of a TCP connection, `datagrams` those of a UDP socket.

mod arguments;
mod command;
mod datagrams;
mod screen;
mod session;
mod streams;

pub(super) use arguments::Arguments;
pub(super) use command::run;
