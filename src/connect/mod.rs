//! Connections with a guarantee: route → ask → apply → connect → shape.
//!
//! Takes a peer and what to ask for; gives a [`Connection`] that is held to its flowspec, or the
//! refusal with its sum. The reservation lives as long as the connection and is given back exactly
//! once: on close, drop, reset or error. Decides nothing: a [`Host`] runs the manager.

mod connection;
mod connector;
mod error;
mod flow;
mod host;
mod listener;

pub use crate::engine::{Ask, ClassReport, InterfaceReport, ReservationRequest, What};
pub use connection::{Connection, DatagramConnection, Socket};
pub use connector::Connector;
pub use error::ConnectError;
pub use flow::{Flow, plan, segment_limit};
pub use host::Host;
pub use listener::{AcceptError, Listener};
