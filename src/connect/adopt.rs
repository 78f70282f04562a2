//! Sockets that exist already.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::connection::Connection;
use super::datagrams::{DatagramConnection, DatagramSocket};
use super::error::ConnectError;
use super::host::Host;
use crate::failure::KernelCall;

/// A socket that becomes one of tokio's: tokio's own, or one of the standard library, which is made non-blocking.
pub trait IntoSocket<S> {
    /// The socket of tokio.
    ///
    /// - **Errors**: `fcntl`, or `epoll_ctl` of the runtime.
    fn into_socket(self) -> io::Result<S>;
}

/// A connected socket that a [`Host`] can take over: a TCP stream becomes a [`Connection`], a UDP socket a
/// [`DatagramConnection`].
pub trait Adopt {
    /// What it becomes.
    type Adopted;

    /// Takes the socket over: [`Host::adopt`].
    ///
    /// - **Errors**: the socket is not connected.
    fn adopt(self, host: &Host) -> Result<Self::Adopted, ConnectError>;
}

macro_rules! sockets {
    ($($socket:ty),*) => {$(
        impl IntoSocket<Self> for $socket {
            fn into_socket(self) -> io::Result<Self> {
                Ok(self)
            }
        }
    )*};
}

sockets!(TcpListener, TcpStream, UdpSocket);

macro_rules! std_sockets {
    ($($name:ident),*) => {$(
        impl IntoSocket<$name> for std::net::$name {
            fn into_socket(self) -> io::Result<$name> {
                self.set_nonblocking(true)?;
                $name::from_std(self)
            }
        }
    )*};
}

std_sockets!(TcpListener, TcpStream, UdpSocket);

impl Adopt for TcpStream {
    type Adopted = Connection;

    fn adopt(self, host: &Host) -> Result<Connection, ConnectError> {
        let peer = peer(self.peer_addr())?;
        Ok(Connection::free(host.clone(), self, peer))
    }
}

impl Adopt for UdpSocket {
    type Adopted = DatagramConnection;

    fn adopt(self, host: &Host) -> Result<DatagramConnection, ConnectError> {
        let peer = peer(self.peer_addr())?;
        Ok(DatagramConnection::free(host.clone(), self, peer))
    }
}

macro_rules! adopt_std {
    ($($name:ident),*) => {$(
        impl Adopt for std::net::$name {
            type Adopted = <$name as Adopt>::Adopted;

            fn adopt(self, host: &Host) -> Result<Self::Adopted, ConnectError> {
                registered::<$name>(self)?.adopt(host)
            }
        }
    )*};
}

adopt_std!(TcpStream, UdpSocket);

impl Host {
    /// Takes over a connected socket, of tokio or of the standard library. Nothing is reserved yet, and its options stay as
    /// they are: [`Flow::reserve`](super::Flow::reserve) reserves for it.
    ///
    /// The socket has to be in the network namespace of this host's engine. A duplicate of its descriptor sends beside its
    /// shaping.
    ///
    /// ```no_run
    /// use gqos::connect::{Ask, Host};
    /// use tokio::net::TcpStream;
    ///
    /// async fn stream(host: &Host, accepted: TcpStream) -> Result<(), Box<dyn std::error::Error>> {
    ///     let connection = host.adopt(accepted)?;
    ///     connection.flow().reserve(&Ask::template("1080p")).await?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// - **Errors**: the socket is not connected.
    pub fn adopt<S: Adopt>(&self, socket: S) -> Result<S::Adopted, ConnectError> {
        socket.adopt(self)
    }

    /// Takes over a UDP socket that is not connected, to reserve for each of its destinations.
    ///
    /// - **Errors**: a socket of the standard library cannot be registered with the runtime.
    pub fn share_udp(&self, socket: impl IntoSocket<UdpSocket>) -> Result<DatagramSocket, ConnectError> {
        Ok(DatagramSocket::new(self.clone(), registered(socket)?))
    }

    /// Binds a UDP socket, to reserve for each of its destinations.
    ///
    /// - **Errors**: `bind`.
    pub async fn bind_udp(&self, address: SocketAddr) -> Result<DatagramSocket, ConnectError> {
        let failed = |cause: io::Error| ConnectError::socket("bind", address, cause);
        Ok(DatagramSocket::new(self.clone(), UdpSocket::bind(address).await.map_err(failed)?))
    }
}

/// Makes the socket non-blocking and registers it with the runtime of the caller.
pub(super) fn registered<S>(socket: impl IntoSocket<S>) -> Result<S, ConnectError> {
    Ok(socket.into_socket().map_err(|cause| KernelCall("fcntl(O_NONBLOCK)").failed("socket", cause))?)
}

fn peer(peer: io::Result<SocketAddr>) -> Result<SocketAddr, ConnectError> {
    Ok(peer.map_err(|cause| KernelCall("getpeername").failed("socket", cause))?)
}
