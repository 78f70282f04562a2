//! Accepting: the connection first, then the reservation.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};

use super::connection::Connection;
use super::error::ConnectError;
use super::flow::Flow;
use super::host::Host;
use crate::admission::Decision;
use crate::engine::Ask;
use crate::failure::KernelFailure;

/// Accepts TCP connections and reserves for each.
pub struct Listener {
    host: Host,
    listener: TcpListener,
    ask: Ask,
}

/// Why a connection was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The connection was accepted and its flow refused. The stream is returned, so that the peer can be answered.
    #[error("{peer}: {}", decision.message())]
    Refused {
        /// The refusal, with the numbers.
        decision: Box<Decision>,
        /// The peer's address.
        peer: SocketAddr,
        /// The connection, without a reservation.
        stream: Arc<TcpStream>,
    },
    /// The connection was accepted and its flow could not be set up.
    #[error(transparent)]
    Flow(#[from] ConnectError),
    /// `accept` failed.
    #[error(transparent)]
    Accept(KernelFailure),
}

impl Host {
    /// Accepts connections; each asks for the same.
    ///
    /// - **Errors**: `bind` or `listen`.
    pub async fn listen(&self, address: SocketAddr, ask: Ask) -> Result<Listener, ConnectError> {
        Listener::bind(self.clone(), address, ask).await
    }
}

impl Listener {
    async fn bind(host: Host, address: SocketAddr, ask: Ask) -> Result<Self, ConnectError> {
        let failed = |cause| ConnectError::socket("bind", address, cause);
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        Ok(Self { host, listener, ask })
    }

    /// The address it listens on.
    ///
    /// - **Errors**: `getsockname`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The next connection, with its reservation.
    ///
    /// - **Errors**: the refusal, with the stream; what `accept` answered.
    pub async fn accept(&self) -> Result<Connection, AcceptError> {
        let connection = self.accept_free().await?;
        let flow = Arc::clone(connection.flow());
        match flow.reserve(&self.ask).await {
            Ok(_) => Ok(connection),
            Err(ConnectError::Refused(decision)) => {
                let (peer, stream) = (flow.peer(), Arc::clone(flow.socket()));
                Err(AcceptError::Refused { decision, peer, stream })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The next connection, without a reservation: [`Flow::reserve`] asks for one later.
    ///
    /// - **Errors**: what `accept` answered.
    pub async fn accept_free(&self) -> Result<Connection, AcceptError> {
        let failed =
            |call, cause: io::Error| AcceptError::Accept(KernelFailure::new(call, "listener", cause));
        let (stream, peer) = self.listener.accept().await.map_err(|cause| failed("accept", cause))?;
        stream.set_nodelay(true).map_err(|cause| failed("setsockopt(TCP_NODELAY)", cause))?;
        let flow = Flow::new(self.host.clone(), Arc::new(stream), peer);
        Ok(Connection::new(Arc::new(flow)))
    }
}
