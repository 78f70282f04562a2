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
    /// The socket or the file has failed.
    #[error("{0}")]
    Failed(#[source] io::Error),
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
    /// The workers have stopped.
    #[error("the workers have stopped")]
    Stopped,
}

impl From<TransferError> for io::Error {
    fn from(error: TransferError) -> Self {
        let kind = match &error.problem {
            TransferProblem::Failed(cause) => cause.kind(),
            TransferProblem::SourceEnded { .. } => io::ErrorKind::UnexpectedEof,
            TransferProblem::Full { .. } => io::ErrorKind::QuotaExceeded,
            TransferProblem::Stopped => io::ErrorKind::BrokenPipe,
        };
        Self::new(kind, error)
    }
}
