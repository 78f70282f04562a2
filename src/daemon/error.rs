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
    #[error("{}: another daemon serves this socket; stop it, or choose another with {option}", socket.display())]
    AlreadyServed {
        /// The path of the socket.
        socket: PathBuf,
        /// The option of the command that chooses another one.
        option: &'static str,
    },
    /// Something that is not a socket has the name.
    #[error("{}: a file that is not a socket has this name; remove it, or choose another with {option}", socket.display())]
    NotASocket {
        /// The path of the socket.
        socket: PathBuf,
        /// The option of the command that chooses another one.
        option: &'static str,
    },
    /// The audit log is to be something that has no end to write at.
    #[error("[daemon] audit: {}: this is a FIFO or a terminal; the audit log needs a file", path.display())]
    AuditNotAFile {
        /// The path in the policy.
        path: PathBuf,
    },
    /// Another daemon writes the audit log.
    #[error("[daemon] audit: {}: another process writes this file; each daemon needs one of its own", path.display())]
    AuditInUse {
        /// The path in the policy.
        path: PathBuf,
    },
    /// The HTTP endpoint is to have the control socket's path.
    #[error("{}: the control socket has this path; choose another one for the HTTP endpoint, with --http or http in [daemon]", socket.display())]
    HttpOnControl {
        /// The path of both.
        socket: PathBuf,
    },
    /// The service manager passes a descriptor for the HTTP endpoint, which the daemon makes itself.
    #[error(
        "the service manager passes descriptor {descriptor} by the name {name:?}, which the daemon does not take: remove it from the socket unit, and give the endpoint's address by --http or http in [daemon]"
    )]
    PassedHttp {
        /// Its number.
        descriptor: i32,
        /// Its name: FileDescriptorName of the socket unit.
        name: String,
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
