//! Why a connection was not made, and the Winsock code for it.

use std::net::SocketAddr;

use flowspec::Wsa;
use shaper::NoPayload;

use crate::admission::{Decision, Refusal};
use crate::engine::{DaemonError, EngineError};
use crate::failure::{Cause, KernelCall, KernelFailure};

/// Why a connection was not made. What was reserved is released.
///
/// ```
/// use gqos::connect::ConnectError;
///
/// fn log(error: &ConnectError) {
///     match error.decision() {
///         Some(decision) => println!("refused: {}; {:?} would fit", decision.message(), decision.would_fit()),
///         None => println!("failed: {error}"),
///     }
/// }
/// # log(&ConnectError::Stopped);
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The request was refused: the decision, with the numbers.
    #[error("{}: {}", .0.error().map_or_else(|| "refused".into(), |wsa| wsa.to_string()), .0.message())]
    Refused(Box<Decision>),
    /// The peer's address cannot be connected to: all zeroes, or port 0.
    #[error("{peer} is not an address that can be connected to")]
    Address {
        /// The address that the connect call named.
        peer: SocketAddr,
    },
    /// The flow's packets are too small for the headers of this transport.
    #[error(transparent)]
    NoPayload(#[from] NoPayload),
    /// The flow holds a reservation already.
    #[error("the flow holds a reservation already")]
    AlreadyReserved,
    /// The flow holds no reservation that could be renegotiated or refreshed.
    #[error("the flow holds no reservation")]
    NotReserved,
    /// The flow has ended, and can have no reservation any more.
    #[error("the flow has ended")]
    Ended,
    /// No flow of this id waits for capacity.
    #[error("no flow {id:?} waits for capacity")]
    NotWaiting {
        /// The id that was waited for.
        id: String,
    },
    /// A call failed: on the flow's socket, or another one to the kernel.
    #[error(transparent)]
    Kernel(#[from] KernelFailure),
    /// As many requests are queued as there may be.
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
    Daemon(DaemonError),
    /// The host's engine has stopped, and decides nothing any more.
    #[error("the engine has stopped")]
    Stopped,
}

impl ConnectError {
    /// A call on the socket to this peer, or on the one bound to this address, has failed.
    pub fn socket(call: &str, address: SocketAddr, cause: impl Into<Cause>) -> Self {
        Self::Kernel(KernelCall(call).failed(address.to_string(), cause))
    }

    /// Whether the request was refused, which is an answer and no fault.
    pub const fn is_refused(&self) -> bool {
        matches!(self, Self::Refused(_))
    }

    /// The decision of a refusal: its numbers, what would fit, and the record for logs and clients as JSON.
    pub const fn decision(&self) -> Option<&Decision> {
        match self {
            Self::Refused(decision) => Some(decision),
            _ => None,
        }
    }

    /// The code that a caller of WSPConnect sees.
    pub fn wsa(&self) -> Wsa {
        match self {
            Self::Refused(decision) => decision.error().unwrap_or(Wsa::Eopnotsupp),
            Self::Address { .. } => Wsa::Eaddrnotavail,
            Self::NoPayload(_) => Wsa::Eopnotsupp,
            Self::AlreadyReserved | Self::NotReserved | Self::Ended | Self::NotWaiting { .. } => Wsa::Einval,
            Self::Kernel(failure) => failure.wsa(),
            Self::TooManyRequests { .. } => Wsa::Enobufs,
            Self::Faulted(refusal) => refusal.wsa(),
            Self::Daemon(error) => error.wsa(),
            Self::Stopped => Wsa::Enetdown,
        }
    }
}

impl From<EngineError> for ConnectError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Refused(decision) => Self::Refused(decision),
            EngineError::Kernel(failure) => Self::Kernel(failure),
            EngineError::NotWaiting { id } => Self::NotWaiting { id },
            EngineError::TooManyRequests { limit } => Self::TooManyRequests { limit },
            EngineError::Faulted(refusal) => Self::Faulted(refusal),
            EngineError::Daemon(error) => Self::Daemon(error),
            EngineError::Stopped => Self::Stopped,
        }
    }
}
