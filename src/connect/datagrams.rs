//! UDP: connected sockets, and sockets that serve several destinations.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use flowspec::Direction;
use shaper::sys::Batch;
use shaper::{Control, Datagram};
use tokio::net::UdpSocket;

use super::carrier::{Carrier, Own, SharedSocket};
use super::error::ConnectError;
use super::flow::{End, Flow};
use super::host::Host;
use crate::admission::Decision;
use crate::engine::{Ask, Granted, Lost};

/// A connected UDP socket whose datagrams are shaped to their flowspec.
///
/// Its reservation is released once nothing was sent for the policy's `dead_after`, or nothing was received where only
/// receiving is reserved; it continues as best effort.
///
/// ```no_run
/// use gqos::connect::{Ask, ConnectError, Host};
///
/// async fn call(host: &Host) -> Result<(), Box<dyn std::error::Error>> {
///     let peer = "192.0.2.7:5004".parse()?;
///     let call = host.connector().connect_udp(peer, &Ask::template("voice")).await?;
///     call.send(&[0; 160]).await?;
///     // More than one voice from now on, in place of the first reservation.
///     call.flow().renegotiate(&Ask::template("conference")).await?;
///     call.flow().release()?;
///     Ok(())
/// }
/// ```
pub struct DatagramConnection {
    datagram: Datagram,
    flow: Arc<Flow>,
}

/// A bound UDP socket that serves many destinations, each with a reservation of its own: a media server's port, or that of
/// a QUIC endpoint.
///
/// [`reserve`](Self::reserve) gives a [`Destination`] for one of them. Datagrams to other destinations are best effort.
/// Made by [`Host::bind_udp`] or [`Host::share_udp`].
///
/// The class and the code point of a datagram are set as it is sent, one datagram at a time on this socket; code that sends
/// on the bare [socket](Self::socket) sends with the marks of the last one.
///
/// ```no_run
/// use gqos::connect::{Ask, Host};
///
/// async fn serve(host: &Host) -> Result<(), Box<dyn std::error::Error>> {
///     let socket = host.bind_udp("0.0.0.0:5004".parse()?).await?;
///     let mut request = [0; 1500];
///     let (_, viewer) = socket.recv_from(&mut request).await?;
///     match socket.reserve(viewer, &Ask::template("720p").class("viewer")).await {
///         Ok(stream) => stream.send(&[0; 1316]).await?,
///         Err(error) => socket.send_to(error.to_string().as_bytes(), viewer).await?,
///     };
///     Ok(())
/// }
/// ```
pub struct DatagramSocket {
    host: Host,
    shared: Arc<SharedSocket>,
    destinations: Arc<Destinations>,
}

/// A destination of a [`DatagramSocket`], with a reservation. Dropped, it releases the reservation.
pub struct Destination {
    datagram: Datagram,
    flow: Arc<Flow>,
    destinations: Weak<Destinations>,
}

/// The destinations with a reservation. Bounded by the reservations.
#[derive(Default)]
struct Destinations(Mutex<HashMap<SocketAddr, Weak<Flow>>>);

impl fmt::Debug for DatagramConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DatagramConnection").field(&self.flow).finish()
    }
}

impl fmt::Debug for DatagramSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let destinations: Vec<_> = self.destinations.lock().keys().copied().collect();
        let socket = self.shared.socket();
        f.debug_struct("DatagramSocket").field("socket", socket).field("destinations", &destinations).finish()
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Destination").field(&self.flow).finish()
    }
}

impl DatagramConnection {
    /// A connected socket on which nothing is reserved.
    pub(super) fn free(host: Host, socket: UdpSocket, peer: SocketAddr) -> Self {
        let socket = Arc::new(socket);
        let flow = Flow::new(host, Carrier::Udp(Own::new(Arc::clone(&socket))), peer);
        Self::new(socket, flow)
    }

    /// A socket that was made for a flow whose reservation was granted before.
    pub(super) fn granted(
        host: Host,
        socket: UdpSocket,
        peer: SocketAddr,
        granted: Granted,
    ) -> Result<Self, ConnectError> {
        let socket = Arc::new(socket);
        let flow = Flow::granted(host, Carrier::Udp(Own::made(Arc::clone(&socket))), peer, granted)?;
        Ok(Self::new(socket, flow))
    }

    fn new(socket: Arc<UdpSocket>, flow: Flow) -> Self {
        Self { datagram: Datagram::new(socket, flow.control().clone()), flow: Arc::new(flow) }
    }

    /// Sends one datagram, once it conforms.
    ///
    /// - **Errors**: larger than `max_sdu_size`; what `send` answered.
    pub async fn send(&self, payload: &[u8]) -> io::Result<usize> {
        self.datagram.send(payload).await
    }

    /// Sends a payload as datagrams of `segment` bytes each, the last with the rest, once they conform. As many as cost half
    /// of the bucket leave with one system call, which costs much less CPU than one call for each. Returns how many bytes of
    /// payload were sent: all of them.
    ///
    /// ```no_run
    /// # async fn send(call: &gqos::connect::DatagramConnection) -> std::io::Result<()> {
    /// // Seven packets of a transport stream in each datagram.
    /// let stream = std::fs::read("stream.ts")?;
    /// call.send_segments(&stream, 7 * 188).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// - **Errors**: a segment of no bytes, or larger than `max_sdu_size`; what `sendmsg` answered, after the datagrams before.
    pub async fn send_segments(&self, payload: &[u8], segment: usize) -> io::Result<usize> {
        self.datagram.send_segments(payload, segment).await
    }

    /// Receives one datagram from the peer: no faster than reserved, where the kernel has no class for what is received.
    ///
    /// - **Errors**: what `recv` answered.
    pub async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        match self.flow.carrier().is_read_slowly() {
            true => self.datagram.recv_conforming(buf).await,
            false => self.datagram.recv(buf).await,
        }
    }

    /// The peer's address.
    pub fn peer(&self) -> SocketAddr {
        self.flow.peer()
    }

    /// The handle that reserves for this socket, renegotiates and releases its reservation.
    pub const fn flow(&self) -> &Arc<Flow> {
        &self.flow
    }

    /// The decision that admitted or renegotiated it; `None` without a reservation.
    pub fn decision(&self) -> Option<Decision> {
        self.flow.decision()
    }

    /// Why the reservation was lost; `None` while it stands. Without it, datagrams are sent as best effort.
    pub fn lost(&self) -> Option<Lost> {
        self.flow.lost()
    }

    /// Waits until the reservation is lost, for ever if it is not.
    pub async fn until_lost(&self) -> Lost {
        self.flow.until_lost().await
    }

    /// Releases the reservation; datagrams are sent as best effort.
    ///
    /// - **Errors**: `setsockopt`.
    pub fn release(&self) -> Result<(), ConnectError> {
        self.flow.release()
    }

    /// Changes the plan of the shaper, and shows what has passed.
    pub const fn control(&self) -> &Control {
        self.datagram.control()
    }

    /// The socket, for its options. Datagrams that are sent on it directly are not shaped.
    pub fn socket(&self) -> &UdpSocket {
        self.datagram.get_ref()
    }
}

impl Drop for DatagramConnection {
    fn drop(&mut self) {
        self.flow.end(End::Dropped);
    }
}

impl DatagramSocket {
    pub(super) fn new(host: Host, socket: UdpSocket) -> Self {
        let shared = Arc::new(SharedSocket::new(Arc::new(socket)));
        Self { host, shared, destinations: Arc::default() }
    }

    /// Reserves for the datagrams to one destination. Dropped, the future releases what was or will be granted.
    ///
    /// - **Errors**: the refusal; the destination has a reservation already; the kernel's.
    pub async fn reserve(&self, peer: SocketAddr, ask: &Ask) -> Result<Destination, ConnectError> {
        let carrier = Carrier::shared(Arc::clone(&self.shared));
        let flow = Arc::new(Flow::new(self.host.clone(), carrier, peer));
        let destination = {
            let mut destinations = self.destinations.lock();
            if destinations.get(&peer).is_some_and(|known| known.strong_count() > 0) {
                return Err(ConnectError::AlreadyReserved);
            }
            destinations.insert(peer, Arc::downgrade(&flow));
            let datagram = Datagram::new(Arc::clone(self.shared.socket()), flow.control().clone());
            Destination { datagram, flow, destinations: Arc::downgrade(&self.destinations) }
        };
        // Where this fails or is dropped, so is the destination, which ends the flow.
        destination.flow.reserve(ask).await?;
        Ok(destination)
    }

    /// Sends one datagram: by the reservation of its destination, once it conforms, or else as best effort.
    ///
    /// - **Errors**: larger than `max_sdu_size`; what `sendto` answered.
    pub async fn send_to(&self, payload: &[u8], peer: SocketAddr) -> io::Result<usize> {
        let flow = self.destinations.lock().get(&peer).and_then(Weak::upgrade);
        let control = flow.as_ref().map_or_else(Control::default, |flow| flow.control().clone());
        let datagram = Datagram::new(Arc::clone(self.shared.socket()), control);
        let send = |_: &UdpSocket| match &flow {
            Some(flow) => flow.carrier().try_send_to(payload, peer),
            None => self.shared.try_send_to(payload, (peer, None)),
        };
        datagram.send_by(payload.len(), send).await
    }

    /// Receives one datagram, from any peer.
    ///
    /// - **Errors**: what `recvfrom` answered.
    pub async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (received, peer) = self.shared.socket().recv_from(buf).await?;
        let flow = self.destinations.lock().get(&peer).and_then(Weak::upgrade);
        if let Some(flow) = flow {
            // What comes is counted and not delayed: it shows that the destination is there.
            flow.control().complete(Direction::Receiving, 0, Some(received));
        }
        Ok((received, peer))
    }

    /// The address it is bound to.
    ///
    /// - **Errors**: `getsockname`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.shared.socket().local_addr()
    }

    /// The socket, for its options. Datagrams that are sent on it directly are not shaped.
    pub fn socket(&self) -> &UdpSocket {
        self.shared.socket()
    }
}

impl Destination {
    /// Sends one datagram, once it conforms. It is best effort where the reservation was lost or released.
    ///
    /// - **Errors**: larger than `max_sdu_size`; what `sendto` answered.
    pub async fn send(&self, payload: &[u8]) -> io::Result<usize> {
        let (carrier, peer) = (self.flow.carrier(), self.flow.peer());
        self.datagram.send_by(payload.len(), |_| carrier.try_send_to(payload, peer)).await
    }

    /// Sends a payload as datagrams of `segment` bytes each, as [`DatagramConnection::send_segments`] does.
    ///
    /// - **Errors**: as there.
    pub async fn send_segments(&self, payload: &[u8], segment: usize) -> io::Result<usize> {
        let (carrier, peer) = (self.flow.carrier(), self.flow.peer());
        let send = |_: &UdpSocket, batch: Batch<'_>| carrier.try_send_segments(batch, peer);
        self.datagram.send_segments_by(payload, segment, send).await
    }

    /// The address that its reservation is for.
    pub fn peer(&self) -> SocketAddr {
        self.flow.peer()
    }

    /// The handle that renegotiates the reservation, releases it and reports its loss.
    pub const fn flow(&self) -> &Arc<Flow> {
        &self.flow
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        self.flow.end(End::Dropped);
        if let Some(destinations) = self.destinations.upgrade() {
            destinations.lock().remove(&self.flow.peer());
        }
    }
}

impl Destinations {
    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Weak<Flow>>> {
        // The map is whole between any two statements that can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets a socket hold so many bytes of payload that were not received. Without the privilege, and beyond the system's limit,
/// it holds less.
#[cfg(feature = "proxy")]
pub(crate) fn hold_received(socket: &UdpSocket, bytes: usize) {
    let _ = crate::linux::socket::set_receive_buffer(socket, bytes);
}

/// How many datagrams a socket has lost because it held as many as it could; zero where the kernel does not say.
#[cfg(feature = "proxy")]
pub(crate) fn lost_received(socket: &UdpSocket) -> u64 {
    crate::linux::socket::dropped_datagrams(socket).unwrap_or(0)
}
