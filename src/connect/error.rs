//! Why there is no connection.

use std::io;
use std::net::SocketAddr;

use flowspec::Wsa;
use shaper::NoPayload;

use crate::admission::Decision;
use crate::engine::EngineError;
use crate::failure::KernelFailure;

/// Why there is no connection. What was reserved has been given back.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The flowspecs cannot be satisfied: the decision, with the whole sum.
    #[error("{}: {}", .0.error().map_or_else(|| "refused".into(), |wsa| wsa.to_string()), .0.message())]
    Refused(Box<Decision>),
    /// The peer's address cannot be connected to: all zeroes, or port 0.
    #[error("{peer} is not an address that can be connected to")]
    Address {
        /// The address.
        peer: SocketAddr,
    },
    /// The flow's packets have no room for payload on this transport.
    #[error(transparent)]
    NoPayload(#[from] NoPayload),
    /// The flow holds a reservation already.
    #[error("the flow holds a reservation already")]
    AlreadyReserved,
    /// The flow has ended.
    #[error("the flow has ended")]
    Ended,
    /// No flow of this id waits for capacity.
    #[error("no flow {id:?} waits for capacity")]
    NotWaiting {
        /// The id.
        id: String,
    },
    /// A call on the socket failed.
    #[error("{call} ({peer}): {cause}")]
    Socket {
        /// The call.
        call: &'static str,
        /// The peer.
        peer: SocketAddr,
        /// The error.
        cause: io::Error,
    },
    /// The kernel refused something else.
    #[error(transparent)]
    Linux(#[from] KernelFailure),
    /// As many requests are queued as there may be.
    #[error("{limit} requests are queued, and no more may be")]
    TooManyRequests {
        /// How many may be.
        limit: usize,
    },
    /// The engine has stopped.
    #[error("the engine has stopped")]
    Stopped,
}

impl ConnectError {
    /// The code that a caller of WSPConnect sees.
    pub fn wsa(&self) -> Wsa {
        match self {
            Self::Refused(decision) => decision.error().unwrap_or(Wsa::Eopnotsupp),
            Self::Address { .. } => Wsa::Eaddrnotavail,
            Self::NoPayload(_) => Wsa::Eopnotsupp,
            Self::AlreadyReserved | Self::Ended | Self::NotWaiting { .. } => Wsa::Einval,
            Self::Socket { cause, .. } => of_io(cause),
            Self::Linux(failure) => failure.wsa(),
            Self::TooManyRequests { .. } => Wsa::Enobufs,
            Self::Stopped => Wsa::Enetdown,
        }
    }
}

impl From<EngineError> for ConnectError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Refused(decision) => Self::Refused(decision),
            EngineError::Kernel(error) => Self::Linux(error),
            EngineError::NotWaiting { id } => Self::NotWaiting { id },
            EngineError::TooManyRequests { limit } => Self::TooManyRequests { limit },
            EngineError::Stopped => Self::Stopped,
        }
    }
}

/// The Winsock code of a system error. Source: WSPConnect, table of error codes.
fn of_io(error: &io::Error) -> Wsa {
    use io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused => Wsa::Econnrefused,
        ErrorKind::ConnectionReset => Wsa::Econnreset,
        ErrorKind::ConnectionAborted => Wsa::Econnaborted,
        ErrorKind::TimedOut => Wsa::Etimedout,
        ErrorKind::NetworkUnreachable => Wsa::Enetunreach,
        ErrorKind::HostUnreachable => Wsa::Ehostunreach,
        ErrorKind::NetworkDown => Wsa::Enetdown,
        ErrorKind::AddrInUse => Wsa::Eaddrinuse,
        ErrorKind::AddrNotAvailable => Wsa::Eaddrnotavail,
        ErrorKind::NotConnected => Wsa::Enotconn,
        ErrorKind::PermissionDenied => Wsa::Eacces,
        ErrorKind::Interrupted => Wsa::Eintr,
        ErrorKind::InvalidInput => Wsa::Einval,
        // The rest has no row in the page's table: the network subsystem has failed.
        _ => Wsa::Enetdown,
    }
}
