//! Where the daemon's control socket is.

use std::path::PathBuf;

use crate::control::DEFAULT_SOCKET;

/// The daemon's control socket, by its default path or the environment.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DaemonSocket {
    /// The environment names it: the daemon is to be used.
    Named(PathBuf),
    /// It is at its usual path.
    Found(PathBuf),
    /// There is no daemon on this host.
    Absent,
}

/// The variable of the environment that names the socket.
const VARIABLE: &str = "GQOS_SOCKET";

impl DaemonSocket {
    /// Looks for the socket: GQOS_SOCKET of the environment, then `/run/gqos/gqos.sock`.
    pub fn find() -> Self {
        match std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
            Some(path) => Self::Named(path.into()),
            None if std::fs::exists(DEFAULT_SOCKET).unwrap_or(true) => Self::Found(DEFAULT_SOCKET.into()),
            None => Self::Absent,
        }
    }
}
