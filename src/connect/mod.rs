//! Connections with reserved bandwidth.
//!
//! Takes a peer and an [`Ask`]; gives a [`Connection`] that is shaped to its flowspec, or the refusal with its numbers.
//! Decides nothing, and does not know whether its [engine](crate::engine) runs in this process.
//!
//! # Types
//!
//! - **Start here**: [`Host`], a handle on an engine; [`Ask`] and [`What`], what a flow is to get.
//! - **Make connections**: [`Connector`] reserves, then connects; [`Listener`] accepts, then reserves.
//! - **Use connections**: [`Connection`] (TCP, `AsyncRead` and `AsyncWrite`), [`DatagramConnection`] (UDP), and [`Flow`],
//!   which reserves for a connection later, releases early, and notifies of a lost reservation.
//! - **Events**: [`Host::events`], everything that happens, for logs and metrics.
//! - **Answers**: [`ConnectError`] and [`AcceptError`], with the Winsock code; [`InterfaceReport`] and [`ClassReport`].
//! - **For providers that own their sockets**: [`Host::reserve`] with a [`ReservationRequest`], [`plan`],
//!   [`meter`], [`segment_limit`].
//!
//! # Order of calls
//!
//! 1. [`Host::start`] once for each network namespace.
//! 2. [`Host::connector`] and [`Connector::connect`], or [`Host::listen`] and [`Listener::accept`]. For a server that
//!    reserves later: [`Listener::accept_free`], then [`Flow::reserve`].
//! 3. Read and write. A refused caller may [wait for capacity](Host::wait_for_capacity) and ask again.
//! 4. Drop the connection: its reservation is released exactly once, after its data has left.
//! 5. [`Host::stop`].

mod connection;
mod connector;
mod error;
mod flow;
mod host;
mod listener;

pub use crate::engine::{Ask, ClassReport, Events, InterfaceReport, ReservationRequest, What};
pub use connection::{Connection, DatagramConnection, Socket};
pub use connector::Connector;
pub use error::ConnectError;
pub use flow::{Flow, meter, plan, segment_limit};
pub use host::Host;
pub use listener::{AcceptError, Listener};
