//! What a daemon is started with.

use std::path::PathBuf;

/// What a daemon is started with.
#[derive(Clone, Debug, Default)]
pub struct DaemonOptions {
    /// The files of the policy, which merge in this order; a reload reads them again.
    pub policy: Vec<PathBuf>,
    /// The path of the control socket; that of the policy, or the default, where this is `None`.
    pub socket: Option<PathBuf>,
}
