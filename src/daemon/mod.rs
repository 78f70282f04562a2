//! The daemon: one engine for the whole host, and the control socket by which other processes reserve.
//!
//! Takes the files of a policy and the path of a socket; serves until it is stopped. A client is known by the credentials
//! that the kernel recorded when it connected, and holds its reservations by its connection or by its socket.
//!
//! # Types
//!
//! - [`DaemonOptions`]: the policy's files, and what the command line sets in their place.
//! - [`Daemon`] serves; [`DaemonHandle`] is what signals ask of it.
//! - [`DaemonStartError`]: why it does not start.
//! - [`EmbeddedDaemon`] is the same without sockets, files and a kernel of its own, which a simulation brings.
//!
//! # How a call is served
//!
//! `server` accepts connections, which `core` serves and which share `state`; `connection` reads one, with bounds on what a peer may send and leave unread, and has
//! `calls` answer each call in its order; `streams` answers those with many replies. `holdings` knows which connection or
//! socket each reservation lives with, and `sockets` ends those whose sockets have ended. `users` bounds what one user takes.
//! `http` serves metrics, health and readiness, beside all of these and without a part in them; `observed` is what it shows of the daemon itself.
//! `watched` reads ledger, kernel and flows for all that show them: `flow_table` has the flows and their sums, `traffic` what the kernel's classes did between two readings, `taken` when something is read again.
//! `confined` gives up what the daemon does not need once its sockets are bound. `audit` writes the audit log, and `service` tells systemd what the daemon does.
//!
//! # After a kill
//!
//! `journal` writes down what is held, as `holdings_kept` gives it and as `state_log` says in lines of `saved`, on a thread of its own; `recovery` reads them at the next start, has the
//! engine grant everything again, and ends after a grace period what neither a client nor a socket has claimed.
//!
//! # Order of calls
//!
//! [`Daemon::start`], then [`Daemon::run`] until its future `stop` is ready.

mod audit;
mod calls;
mod confined;
mod connection;
mod control_file;
mod core;
mod embedded;
mod error;
mod flow_table;
mod held;
mod holdings;
mod holdings_kept;
#[cfg(feature = "cli")]
mod http;
mod journal;
mod keeper;
mod notices;
mod notifications;
mod observed;
mod options;
mod peer;
mod recovery;
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
mod users;
mod watched;

pub use embedded::{EmbeddedClient, EmbeddedDaemon, EmbeddedFlow, EmbeddedOptions};
pub use error::DaemonStartError;
pub use options::DaemonOptions;
pub use recovery::Recovered;
pub use server::{Daemon, DaemonHandle};
pub use sockets::HostSockets;
pub use state_log::StateWrite;
