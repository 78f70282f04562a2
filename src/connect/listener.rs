//! Accepting: the connection first, then the reservation.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::adopt::{IntoSocket, registered};
use super::carrier::Own;
use super::connection::Connection;
use super::error::ConnectError;
use super::host::Host;
use crate::admission::Decision;
use crate::engine::{Ask, Granted, ReceivedPackets, ReservationRequest};
use crate::failure::{KernelCall, KernelFailure};
use crate::linux::socket;
use crate::policy::{Protocol, Subject};

/// Accepts TCP connections and reserves for each.
///
/// ```no_run
/// use gqos::connect::{AcceptError, Ask, Host};
/// use tokio::io::AsyncWriteExt;
///
/// async fn serve(host: &Host) -> Result<(), Box<dyn std::error::Error>> {
///     let listener = host.listen("0.0.0.0:8080".parse()?, Ask::template("720p").class("viewer")).await?;
///     loop {
///         match listener.accept().await {
///             Ok(connection) => drop(tokio::spawn(async move { drop(connection) })),
///             // The peer can be told: the stream is here, without a reservation.
///             Err(AcceptError::Refused { decision, peer, mut stream }) => {
///                 eprintln!("{peer}: {}", decision.message());
///                 let _ = stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").await;
///             }
///             // One connection has failed; the listener goes on.
///             Err(error) => eprintln!("{error}"),
///         }
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Listener {
    host: Host,
    listener: TcpListener,
    ask: Ask,
    nodelay: bool,
}

/// How a listener is opened: [`Host::listen_with`]. Other options are set on a socket of the caller's, for
/// [`Host::listen_on`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ListenOptions {
    /// The most connections that wait to be accepted; the kernel takes no more than `net.core.somaxconn`. 1024 unless set.
    pub backlog: u32,
    /// SO_REUSEPORT: several listeners share the port, and the kernel divides the connections among them.
    pub reuse_port: bool,
    /// SO_SNDBUF of accepted connections, in bytes; `None` lets the kernel adapt it.
    pub send_buffer: Option<u32>,
    /// SO_RCVBUF of accepted connections, in bytes; `None` lets the kernel adapt it.
    pub receive_buffer: Option<u32>,
    /// TCP_NODELAY of accepted connections. Set unless it is cleared: the shaper decides when data leaves.
    pub nodelay: bool,
}

/// Why a connection was not accepted. The listener may accept again: it fails itself only where the process or the host
/// lacks descriptors or memory, which is worth a pause.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The connection was accepted and its flow refused. The stream is returned, so that the peer can be answered.
    #[error("{peer}: {}", decision.message())]
    Refused {
        /// The refusal, with the numbers.
        decision: Box<Decision>,
        /// The peer's address.
        peer: SocketAddr,
        /// The connection, without a reservation.
        stream: TcpStream,
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
        self.listen_with(address, ask, ListenOptions::default())
    }

    /// The same with these options.
    ///
    /// ```no_run
    /// use gqos::connect::{Ask, ConnectError, Host, ListenOptions, Listener};
    ///
    /// fn listen(host: &Host) -> Result<Listener, ConnectError> {
    ///     let options = ListenOptions { backlog: 4096, reuse_port: true, ..ListenOptions::default() };
    ///     host.listen_with(([0, 0, 0, 0], 8080).into(), Ask::default(), options)
    /// }
    /// ```
    ///
    /// - **Errors**: `setsockopt`, `bind` or `listen`.
    pub fn listen_with(
        &self,
        address: SocketAddr,
        ask: Ask,
        options: ListenOptions,
    ) -> Result<Listener, ConnectError> {
        let failed = |call| move |cause: io::Error| ConnectError::socket(call, address, cause);
        let made = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let socket = made.map_err(failed("socket"))?;
        socket.set_reuseaddr(true).map_err(failed("setsockopt(SO_REUSEADDR)"))?;
        if options.reuse_port {
            socket.set_reuseport(true).map_err(failed("setsockopt(SO_REUSEPORT)"))?;
        }
        if let Some(size) = options.send_buffer {
            socket.set_send_buffer_size(size).map_err(failed("setsockopt(SO_SNDBUF)"))?;
        }
        if let Some(size) = options.receive_buffer {
            socket.set_recv_buffer_size(size).map_err(failed("setsockopt(SO_RCVBUF)"))?;
        }
        socket.bind(address).map_err(failed("bind"))?;
        let listener = socket.listen(options.backlog).map_err(failed("listen"))?;
        Ok(Listener { host: self.clone(), listener, ask, nodelay: options.nodelay })
    }

    /// Accepts connections on a listener of the caller's, of tokio or of the standard library: one with options of its own,
    /// or one that systemd has opened.
    ///
    /// TCP_NODELAY is set on accepted connections, as by [`listen`](Self::listen).
    ///
    /// - **Errors**: a listener of the standard library cannot be registered with the runtime.
    pub fn listen_on(
        &self,
        listener: impl IntoSocket<TcpListener>,
        ask: Ask,
    ) -> Result<Listener, ConnectError> {
        let nodelay = ListenOptions::default().nodelay;
        Ok(Listener { host: self.clone(), listener: registered(listener)?, ask, nodelay })
    }
}

impl Listener {
    /// The address it listens on.
    ///
    /// - **Errors**: `getsockname`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The next connection, with its reservation. Dropped before a connection has come, the future loses none; after that
    /// the connection is closed.
    ///
    /// - **Errors**: the refusal, with the stream; what `accept` answered, and `getsockname`.
    pub async fn accept(&self) -> Result<Connection, AcceptError> {
        let (stream, peer) = self.accept_stream().await?;
        let failed = |cause| AcceptError::Accept(KernelCall("getsockname").failed(peer.to_string(), cause));
        let local_port = stream.local_addr().map_err(failed)?.port();
        let subject = Subject { protocol: Protocol::Tcp, local_port, peer: peer.ip() };
        let selectors = socket::route_selectors(&stream, peer);
        let request = ReservationRequest { selectors, ..ReservationRequest::new(self.ask.clone(), subject) };
        match self.host.reserve(request).await {
            Ok(mut granted) => {
                let Granted { admitted, decision, .. } = &mut granted;
                let packets = ReceivedPackets { protocol: Protocol::Tcp, peer, local_port };
                self.host.receive(packets, admitted, decision).await;
                let stream = Arc::new(stream);
                let own = Own::new(Arc::clone(&stream));
                let connection = Connection::granted(self.host.clone(), stream, own, (peer, granted))?;
                connection.flow().attached().await;
                Ok(connection)
            }
            Err(ConnectError::Refused(decision)) => Err(AcceptError::Refused { decision, peer, stream }),
            Err(error) => Err(error.into()),
        }
    }

    /// The next connection, without a reservation: [`Flow::reserve`](super::Flow::reserve) asks for one later.
    ///
    /// - **Errors**: what `accept` answered.
    pub async fn accept_free(&self) -> Result<Connection, AcceptError> {
        let (stream, peer) = self.accept_stream().await?;
        Ok(Connection::free(self.host.clone(), stream, peer))
    }

    async fn accept_stream(&self) -> Result<(TcpStream, SocketAddr), AcceptError> {
        let failed = |call, cause: io::Error| AcceptError::Accept(KernelCall(call).failed("listener", cause));
        let (stream, peer) = self.listener.accept().await.map_err(|cause| failed("accept", cause))?;
        stream.set_nodelay(self.nodelay).map_err(|cause| failed("setsockopt(TCP_NODELAY)", cause))?;
        Ok((stream, peer))
    }
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self { backlog: 1024, reuse_port: false, send_buffer: None, receive_buffer: None, nodelay: true }
    }
}

impl AcceptError {
    /// Whether the connection's flow was refused, which is an answer and no fault.
    pub fn is_refused(&self) -> bool {
        self.decision().is_some()
    }

    /// The ledger's decision, where it refused the connection; `None` for any other error.
    pub fn decision(&self) -> Option<&Decision> {
        match self {
            Self::Refused { decision, .. } => Some(decision),
            Self::Flow(error) => error.decision(),
            Self::Accept(_) => None,
        }
    }
}
