//! How the demo fails.

use crate::connect::ConnectError;
use crate::failure::KernelFailure;

/// Why the demo could not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// A call to the kernel failed.
    #[error(transparent)]
    Kernel(#[from] KernelFailure),
    /// The service could not be started.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The policy has no template for a rendition.
    #[error("the policy has no template {0:?}")]
    Template(String),
    /// The rate of a stream cannot be requested.
    #[error(transparent)]
    NoPayload(#[from] shaper::NoPayload),
    /// A task of the demo panicked or was cancelled.
    #[error("a task of the demo ended early: {0}")]
    Task(#[from] tokio::task::JoinError),
    /// A program of the demo has ended early, or is not ready in time.
    #[error("{name} {how}{}{said}", if .said.is_empty() { "" } else { ": " })]
    Program {
        /// Which one.
        name: &'static str,
        /// How it has ended.
        how: String,
        /// The end of its standard error.
        said: String,
    },
}
