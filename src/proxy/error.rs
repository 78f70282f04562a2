//! Why a proxy cannot start.

use crate::connect::ConnectError;
use crate::failure::KernelFailure;

/// Why a proxy cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// It cannot listen.
    #[error("proxy.{name}: {error}")]
    Listen {
        /// The proxy.
        name: String,
        /// What the call answered.
        error: Box<ConnectError>,
    },
    /// A thread cannot be started.
    #[error(transparent)]
    Workers(#[from] KernelFailure),
    /// The server has ended.
    #[error("the server has ended")]
    Ended,
    /// The page of its refusals cannot be read.
    #[error("proxy.{name}: {error}")]
    Page {
        /// The proxy.
        name: String,
        /// What the call answered.
        error: Box<KernelFailure>,
    },
}
