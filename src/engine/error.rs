//! How an engine fails a client.

use super::remote::DaemonError;
use crate::admission::{Decision, Refusal};
use crate::failure::KernelFailure;

/// Why an engine has not done what a client asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The request was refused: the decision, with the numbers.
    #[error("{}: {}", .0.error().map_or_else(|| "refused".into(), |wsa| wsa.to_string()), .0.message())]
    Refused(Box<Decision>),
    /// A call to the kernel failed.
    #[error(transparent)]
    Kernel(#[from] KernelFailure),
    /// No flow of this id waits for capacity.
    #[error("no flow {id:?} waits for capacity")]
    NotWaiting {
        /// The id of the request.
        id: String,
    },
    /// As many requests are queued as there may be: [`MOST_QUEUED_REQUESTS`](super::MOST_QUEUED_REQUESTS).
    #[error("{limit} requests are queued, which is the limit; try again")]
    TooManyRequests {
        /// How many may be.
        limit: usize,
    },
    /// The manager has panicked: [`Refusal::ManagerFault`].
    #[error("{0}")]
    Faulted(Refusal),
    /// The daemon is not there, or has answered with an error.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// [`Engine::stop`](super::Engine::stop) was called, or the engine's task has ended.
    #[error("the engine has stopped")]
    Stopped,
}
