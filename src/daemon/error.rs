//! Why a daemon does not run.

use std::path::PathBuf;

use crate::engine::EngineError;
use crate::failure::KernelFailure;
use crate::files::InvalidPolicy;

/// Why a daemon does not start, or has ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonStartError {
    /// The policy is invalid, or a file of it cannot be read.
    #[error(transparent)]
    Policy(#[from] InvalidPolicy),
    /// The engine does not start.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A call to the kernel failed.
    #[error(transparent)]
    Kernel(#[from] KernelFailure),
    /// Another daemon serves the socket.
    #[error("{}: another daemon serves this socket; stop it, or choose another with --socket", socket.display())]
    AlreadyServed {
        /// The path of the socket.
        socket: PathBuf,
    },
    /// Something that is not a socket has the name.
    #[error("{}: a file that is not a socket has this name; remove it, or choose another with --socket", socket.display())]
    NotASocket {
        /// The path of the socket.
        socket: PathBuf,
    },
    /// This build has no HTTP endpoint.
    #[error("http: this build has no HTTP endpoint; it needs the feature `cli`")]
    NoHttp,
    /// The system has no such group.
    #[error("[daemon] group: the system has no group {name:?}")]
    UnknownGroup {
        /// The name in the policy.
        name: String,
    },
}
