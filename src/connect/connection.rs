//! Connections: what a caller reads from and writes to.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use shaper::{Control, Datagram, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UdpSocket};

use super::flow::{End, Flow};
use crate::admission::Decision;
use crate::engine::{Lost, Reservation};
use crate::linux::socket;

/// A TCP connection that is shaped to its flowspec.
///
/// A write waits until it conforms, which gives back-pressure to its source. After a drop or a shutdown, the data that
/// was accepted leaves in its class before the reservation is released; after a reset or an error the reservation is
/// released at once. It is released as well once the peer is dead or has stalled, by the policy's `dead_after` and
/// `stalled_after`: a dead connection fails with `TimedOut`, a stalled one continues as best effort.
pub struct Connection {
    stream: Stream<Socket>,
    flow: Arc<Flow>,
}

/// The TCP socket that a connection shares with its flow.
pub struct Socket(Arc<TcpStream>);

/// A connected UDP socket whose datagrams are shaped to their flowspec.
///
/// Its reservation is released once nothing was sent for the policy's `dead_after`, or nothing was received where only
/// receiving is reserved; it continues as best effort.
pub struct DatagramConnection {
    datagram: Datagram,
    peer: SocketAddr,
    decision: Decision,
    reservation: Reservation,
}

impl Connection {
    pub(super) fn new(flow: Arc<Flow>) -> Self {
        let stream = Stream::new(Socket(Arc::clone(flow.socket())), flow.control().clone());
        Self { stream, flow }
    }

    /// The peer's address.
    pub fn peer(&self) -> SocketAddr {
        self.flow.peer()
    }

    /// The decision that admitted it; `None` for a connection without a reservation.
    pub fn decision(&self) -> Option<Decision> {
        self.flow.decision()
    }

    /// The handle that reserves for this connection and releases its reservation.
    pub const fn flow(&self) -> &Arc<Flow> {
        &self.flow
    }

    /// The socket, for its options.
    pub fn socket(&self) -> &TcpStream {
        &self.stream.get_ref().0
    }

    /// Releases the reservation after an error, which ends the connection: no data is left to wait for.
    fn note<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &result
            && !matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock)
        {
            let end = if is_peer_gone(error.kind()) { End::PeerGone } else { End::Failed };
            self.flow.end(end);
        }
        result
    }
}

/// Whether the kernel has ended a connection since nothing was heard of its peer: with ETIMEDOUT, or with the error that
/// the network has reported meanwhile.
const fn is_peer_gone(error: io::ErrorKind) -> bool {
    use io::ErrorKind::{HostUnreachable, NetworkDown, NetworkUnreachable, TimedOut};
    matches!(error, TimedOut | HostUnreachable | NetworkUnreachable | NetworkDown)
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.flow.end(End::Dropped);
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.note(result)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.note(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.note(result)
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read(buf.initialize_unfilled()) {
                Ok(came) => {
                    buf.advance(came);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(socket::shutdown_write(&*self.0).map_err(io::Error::other))
    }
}

impl DatagramConnection {
    pub(super) const fn new(
        datagram: Datagram,
        peer: SocketAddr,
        decision: Decision,
        reservation: Reservation,
    ) -> Self {
        Self { datagram, peer, decision, reservation }
    }

    /// Sends one datagram, once it conforms.
    ///
    /// - **Errors**: larger than `max_sdu_size`; what `send` answered.
    pub async fn send(&self, payload: &[u8]) -> io::Result<usize> {
        self.datagram.send(payload).await
    }

    /// Receives one datagram from the peer.
    ///
    /// - **Errors**: what `recv` answered.
    pub async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.datagram.recv(buf).await
    }

    /// The peer's address.
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The decision that admitted it.
    pub const fn decision(&self) -> &Decision {
        &self.decision
    }

    /// Why the reservation was lost; `None` while it stands. Without it, datagrams are sent as best effort.
    pub fn lost(&self) -> Option<Lost> {
        self.reservation.state().lost()
    }

    /// The control of the shaper.
    pub const fn control(&self) -> &Control {
        self.datagram.control()
    }

    /// The socket, for its options.
    pub const fn socket(&self) -> &UdpSocket {
        self.datagram.get_ref()
    }
}
