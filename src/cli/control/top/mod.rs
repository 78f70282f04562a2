//! `gqos top`: the daemon's interfaces and flows, once a second, on a terminal.
//!
//! `state` holds what was read and what the keys have chosen; `view` draws it, and reads nothing; `input` reads the keys and
//! sees what ends the command; `command` owns the terminal and the connection to the daemon.

mod command;
mod input;
mod state;
mod view;

pub(in crate::cli) use command::{Arguments, run};
