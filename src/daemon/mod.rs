//! The daemon: one engine for the whole host, and the control socket by which other processes reserve.
//!
//! Takes the files of a policy and the path of a socket; serves until it is stopped. The daemon identifies a client
//! by the credentials that the kernel recorded when the client connected. A reservation ends with its client's
//! connection, or with the socket that is attached to it.
//!
//! # Types
//!
//! - [`DaemonOptions`]: the policy's files, and the options that take precedence over the policy.
//! - [`Daemon`] serves; signal handlers use its [`DaemonHandle`].
//! - [`DaemonStartError`]: why the daemon did not start.
//! - [`EmbeddedDaemon`] is the daemon without its own sockets, files and kernel; a simulation provides these.
//!
//! # How a call is served
//!
//! - `server` accepts connections. `core` serves them, and they share `state`.
//! - `connection` reads the messages of one connection, with limits on what a peer may send and leave unread. `calls`
//!   answers each call in its order, and `streams` answers calls with many replies.
//! - `holdings` records which connection or socket each reservation belongs to. `sockets` releases the reservations
//!   whose sockets have ended. `users` enforces the limits of each user.
//! - `http` serves metrics, health and readiness, independently of the other modules. `observed` is the state of the
//!   daemon that it shows.
//! - `watched` reads the ledger, the kernel and the flows for all modules that show them: `flow_table` has the flows
//!   and their sums, `traffic` compares two readings of the kernel's classes, and `taken` decides when something is
//!   read again.
//! - `confined` drops the privileges that the daemon does not need once its sockets are bound. `audit` writes the
//!   audit log, and `service` reports the state of the daemon to systemd.
//!
//! # After a kill
//!
//! `journal` writes the reservations to the state file, on a thread of its own: `holdings_kept` selects what is
//! recorded, `saved` defines the lines, and `state_log` computes the bytes that are appended or replace the file. At
//! the next start, `recovery` reads the file and lets the engine grant all reservations again. After a grace period,
//! it releases those that neither a client nor a socket has claimed.
//!
//! # Order of calls
//!
//! [`Daemon::start`], then [`Daemon::run`] until its future `stop` is ready.

mod attached;
mod audit;
mod calls;
mod confined;
mod connection;
mod control_file;
mod core;
mod embedded;
mod error;
mod failed_calls;
mod flow_table;
mod group_requests;
mod held;
mod holdings;
mod holdings_kept;
#[cfg(feature = "cli")]
mod http;
mod journal;
mod keeper;
mod marks;
mod notices;
mod notifications;
mod observed;
mod options;
mod peer;
mod recovered;
mod recovery;
mod refused;
mod replies;
mod requests;
mod saved;
mod server;
mod service;
mod socket_file;
mod sockets;
mod state;
mod state_log;
mod status;
mod streams;
mod taken;
mod traffic;
mod traffic_sums;
mod users;
mod watched;

pub use embedded::{EmbeddedClient, EmbeddedDaemon, EmbeddedFlow, EmbeddedOptions};
pub use error::DaemonStartError;
pub use options::DaemonOptions;
pub use recovered::{AdoptionRefusal, Recovered, RecoveryProblem, RefusedAdoption, UnusableState};
pub use server::{Daemon, DaemonHandle};
pub use sockets::HostSockets;
pub use state_log::StateWrite;
