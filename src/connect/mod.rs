//! Connections with a guarantee: route → ask → apply → connect → shape.
//!
//! Takes a peer and what to ask for; gives a [`Connection`] that is held to its flowspec, or the
//! refusal with its sum. The reservation lives as long as the connection and is given back exactly
//! once: on close, drop, reset or error. Decides nothing: a [`Host`] runs the manager.

mod ask;
mod command;
mod connection;
mod connector;
mod core;
mod driver;
mod error;
mod flow;
mod host;
mod lingering;
mod listener;
mod meter;
mod promise;
mod report;
mod ways;

pub use ask::{Ask, What};
pub use connection::{Connection, DatagramConnection, Socket};
pub use connector::Connector;
pub use error::ConnectError;
pub use flow::Flow;
pub(crate) use flow::{plan, segment_limit};
pub use host::Host;
pub(crate) use lingering::Lingering;
pub use listener::{AcceptError, Listener};
pub(crate) use promise::{Granted, Reservation};
pub use report::{ClassReport, InterfaceReport};
