//! TCP connections: what a caller reads from and writes to.

use std::fmt;
use std::fs::File;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use shaper::Stream;
use shaper::transfer::{Payload, TransferError, TransferProblem};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::carrier::{Carrier, Own};
use super::error::ConnectError;
use super::flow::{End, Flow};
use super::host::Host;
use crate::admission::Decision;
use crate::engine::Granted;
use crate::linux::socket;

/// A TCP connection that is shaped to its flowspec.
///
/// A write waits until it conforms, which gives back-pressure to its source. After a drop or a shutdown, the data that
/// was accepted leaves in its class before the reservation is released; after a reset or an error the reservation is
/// released at once. It is released as well once the peer is dead or has stalled, by the policy's `dead_after` and
/// `stalled_after`: a dead connection fails with `TimedOut`, a stalled one continues as best effort.
///
/// ```no_run
/// use gqos::connect::{Ask, ConnectError, Host};
/// use tokio::io::AsyncWriteExt;
///
/// async fn send(host: &Host) -> Result<(), Box<dyn std::error::Error>> {
///     let peer = "192.0.2.7:9000".parse()?;
///     let mut connection = host.connector().connect(peer, &Ask::template("1080p")).await?;
///     // Waits whenever the stream is ahead of its token rate.
///     connection.write_all(&[0; 1_000_000]).await?;
///     connection.shutdown().await?;
///     Ok(())
/// }
/// ```
pub struct Connection {
    stream: Stream<SharedTcpStream>,
    flow: Arc<Flow>,
}

/// The TCP socket that a connection shares with its flow.
#[derive(Debug)]
pub struct SharedTcpStream(Arc<TcpStream>);

/// The receiving half of a connection.
#[cfg(feature = "proxy")]
pub(crate) struct ConnectionReader<'a> {
    stream: Stream<&'a SharedTcpStream>,
    of: &'a Connection,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connection").field(&self.flow).finish()
    }
}

impl Connection {
    pub(super) fn new(socket: Arc<TcpStream>, flow: Flow) -> Self {
        let stream = Stream::new(SharedTcpStream(socket), flow.control().clone());
        Self { stream, flow: Arc::new(flow) }
    }

    /// A connection without a reservation.
    pub(super) fn free(host: Host, socket: TcpStream, peer: SocketAddr) -> Self {
        let socket = Arc::new(socket);
        let flow = Flow::new(host, Carrier::Tcp(Own::new(Arc::clone(&socket))), peer);
        Self::new(socket, flow)
    }

    /// A connection whose reservation was granted before.
    pub(super) fn granted(
        host: Host,
        socket: Arc<TcpStream>,
        own: Own<TcpStream>,
        (peer, granted): (SocketAddr, Granted),
    ) -> Result<Self, ConnectError> {
        let flow = Flow::granted(host, Carrier::Tcp(own), peer, granted)?;
        Ok(Self::new(socket, flow))
    }

    /// The peer's address.
    pub fn peer(&self) -> SocketAddr {
        self.flow.peer()
    }

    /// The decision that admitted or renegotiated it; `None` for a connection without a reservation.
    pub fn decision(&self) -> Option<Decision> {
        self.flow.decision()
    }

    /// The handle that reserves for this connection, renegotiates and releases its reservation.
    pub const fn flow(&self) -> &Arc<Flow> {
        &self.flow
    }

    /// The socket, for its options. Bytes that are written to it directly are not shaped.
    pub fn socket(&self) -> &TcpStream {
        &self.stream.get_ref().0
    }

    /// Sends a part of a file (a `File` of std, or an `Arc` of one) by sendfile(2), and gives how many bytes.
    ///
    /// - **Errors**: those of [`send`](Self::send).
    pub async fn send_file(
        &mut self,
        file: impl Into<Arc<File>>,
        range: Range<u64>,
    ) -> Result<u64, TransferError> {
        self.send(Payload::file(file, range)).await
    }

    /// Sends bytes in memory, such as a `Vec`, a `&'static [u8]` or a `bytes::Bytes`, and gives how many.
    ///
    /// - **Errors**: those of [`send`](Self::send).
    pub async fn send_bytes(
        &mut self,
        bytes: impl AsRef<[u8]> + Send + Sync + 'static,
    ) -> Result<u64, TransferError> {
        self.send(Payload::bytes(bytes)).await
    }

    /// Sends a payload by the [threads](Host::start_transfers) of the host, without waking a task for each release, and gives
    /// how many bytes: once the socket has accepted all of them. It is shaped as a write is, and the reservation may change
    /// meanwhile.
    ///
    /// Dropped, the future sends nothing more, and the connection can be used further;
    /// [`Control::stats`](shaper::Control::stats) has how much was sent.
    ///
    /// - **Errors**: the socket, which releases the reservation; the source, or that it has less; the threads cannot be
    ///   started, or have as many transfers as they take.
    pub async fn send(&mut self, payload: Payload) -> Result<u64, TransferError> {
        let no_workers = |cause| TransferError { sent: 0, problem: TransferProblem::NoWorkers(cause) };
        let workers = self.flow.workers().get().map_err(no_workers)?;
        let socket = Arc::clone(&self.stream.get_ref().0);
        let sent = workers.send(socket, self.flow.control().clone(), payload).await;
        if let Err(TransferError { problem: TransferProblem::Socket(cause), .. }) = &sent {
            self.note_error(cause);
        }
        sent
    }

    /// Releases the reservation after an error, which ends the connection: no data is left to wait for.
    fn note<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &result {
            self.note_error(error);
        }
        result
    }

    /// The same for a caller that takes tokens of the flow and uses the socket itself.
    pub(crate) fn note_error(&self, error: &io::Error) {
        if !matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) {
            let end = if is_peer_gone(error.kind()) { End::PeerGone } else { End::Failed };
            self.flow.end(end);
        }
    }

    /// Ends the sending half, for such a caller.
    #[cfg(feature = "proxy")]
    pub(crate) fn end_sending(&self) -> io::Result<()> {
        let ended = socket::shutdown_write(self.socket()).map_err(io::Error::other);
        ended.inspect_err(|error| self.note_error(error))
    }

    /// Reads from the connection while such a caller sends.
    #[cfg(feature = "proxy")]
    pub(crate) fn reader(&self) -> ConnectionReader<'_> {
        ConnectionReader { stream: Stream::new(self.stream.get_ref(), self.flow.control().clone()), of: self }
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

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        if let Poll::Ready(Ok(())) = result {
            // This fails for a closed socket alone, which holds nothing.
            let _ = self.flow.flushed();
        }
        self.note(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.note(result)
    }
}

#[cfg(feature = "proxy")]
impl AsyncRead for ConnectionReader<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.of.note(result)
    }
}

impl AsyncRead for SharedTcpStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self).poll_read(cx, buf)
    }
}

impl AsyncRead for &SharedTcpStream {
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

impl AsyncWrite for SharedTcpStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write_vectored(bufs) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(socket::shutdown_write(&*self.0).map_err(io::Error::other))
    }
}
