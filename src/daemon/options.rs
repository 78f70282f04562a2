//! What a daemon is started with.

use std::path::PathBuf;

use crate::policy::HttpAddress;

/// What a daemon is started with.
#[derive(Clone, Debug, Default)]
pub struct DaemonOptions {
    /// The files of the policy, which merge in this order; a reload reads them again.
    pub policy: Vec<PathBuf>,
    /// The path of the control socket; that of the policy, or the default, where this is `None`.
    pub socket: Option<PathBuf>,
    /// Where metrics and health are served by HTTP, with the feature `cli`; where the policy says, or nowhere, where this is
    /// `None`.
    pub http: Option<HttpAddress>,
    /// Whether the process is confined for good once its sockets are bound. For a process that is nothing but a daemon, and has
    /// one thread when the daemon starts.
    pub confine: bool,
}
