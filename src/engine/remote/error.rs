//! How the daemon fails a client.

use flowspec::Wsa;

use crate::admission::OperationKind;
use crate::control::ControlError;
use crate::failure::KernelFailure;

/// Why the daemon has not done what a client asked. None of these is a refusal.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// Nothing listens at the socket, or the connection could not be made.
    #[error("the daemon cannot be reached: {0}")]
    Unreachable(KernelFailure),
    /// The connection ended before the answer: whether the daemon did what was asked is not known, and what it has reserved
    /// is released.
    #[error("the connection to the daemon at {socket} ended before its answer")]
    Disconnected {
        /// The path of the socket.
        socket: String,
    },
    /// The daemon has answered with an error.
    #[error("the daemon: {0}")]
    Answered(ControlError),
    /// The protocol has no call for this.
    #[error("the daemon's protocol has no {}", operation.name())]
    NoCall {
        /// The kind of the operation.
        operation: OperationKind,
    },
    /// There is no slice for such flows.
    #[error("no slice: {problem}")]
    NoSlice {
        /// What is to be changed, as text.
        problem: &'static str,
    },
}

impl DaemonError {
    /// Whether the daemon is not there.
    pub const fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Disconnected { .. })
    }

    /// The code that a caller of WSPConnect sees. It is never WSAEOPNOTSUPP, which only a refusal has.
    pub fn wsa(&self) -> Wsa {
        match self {
            Self::Unreachable(_) | Self::Disconnected { .. } => Wsa::Enetdown,
            Self::NoCall { .. } | Self::NoSlice { .. } => Wsa::Einval,
            Self::Answered(error) => answered(error),
        }
    }
}

fn answered(error: &ControlError) -> Wsa {
    match error {
        ControlError::NotPermitted { .. } => Wsa::Eacces,
        ControlError::UnknownId { .. }
        | ControlError::NotWaiting { .. }
        | ControlError::LongName { .. }
        | ControlError::InvalidParameter { .. }
        | ControlError::Descriptor { .. } => Wsa::Einval,
        ControlError::TooManyFlows { .. }
        | ControlError::TooManyCalls { .. }
        | ControlError::TooManyRequests { .. }
        | ControlError::TooManyConnections { .. } => Wsa::Enobufs,
        ControlError::Kernel { failure } => failure.wsa(),
        ControlError::Faulted { refusal } => refusal.wsa(),
        ControlError::InterfaceNotFound { .. }
        | ControlError::MethodNotFound { .. }
        | ControlError::MethodNotImplemented { .. }
        | ControlError::ExpectedMore {}
        | ControlError::Draining {}
        | ControlError::InvalidPolicy { .. }
        | ControlError::UnsupportedPolicy { .. }
        | ControlError::Stopped {}
        | ControlError::Unreadable { .. } => Wsa::Enetdown,
    }
}
