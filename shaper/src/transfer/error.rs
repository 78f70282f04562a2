//! Why a transfer has ended before its end.

use std::io;

/// A transfer that has ended before its end.
#[derive(Debug, thiserror::Error)]
#[error("{problem}, after {sent} B")]
pub struct TransferError {
    /// The bytes that the socket has accepted before.
    pub sent: u64,
    /// What has ended it.
    #[source]
    pub problem: TransferProblem,
}

/// What has ended a transfer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferProblem {
    /// The socket has failed.
    #[error("the socket: {0}")]
    Socket(#[source] io::Error),
    /// The source cannot be read or sent.
    #[error("the source: {0}")]
    Source(#[source] io::Error),
    /// The source has less than was to be sent: the file was truncated.
    #[error("the source ends before byte {end} of it")]
    SourceEnded {
        /// The end of what was to be sent.
        end: u64,
    },
    /// Every worker has as many transfers as it takes.
    #[error("every worker has {most} transfers, its limit")]
    Full {
        /// Of each worker.
        most: usize,
    },
    /// The workers cannot be started: no descriptors or threads are left.
    #[error("no worker can be started: {0}")]
    NoWorkers(#[source] io::Error),
    /// The workers have stopped.
    #[error("the workers have stopped")]
    Stopped,
}

impl From<TransferError> for io::Error {
    fn from(error: TransferError) -> Self {
        let kind = match &error.problem {
            TransferProblem::Socket(cause)
            | TransferProblem::Source(cause)
            | TransferProblem::NoWorkers(cause) => cause.kind(),
            TransferProblem::SourceEnded { .. } => io::ErrorKind::UnexpectedEof,
            TransferProblem::Full { .. } => io::ErrorKind::QuotaExceeded,
            TransferProblem::Stopped => io::ErrorKind::BrokenPipe,
        };
        Self::new(kind, error)
    }
}
