//! The socket of a flow: what differs between TCP, a connected UDP socket, and one that several flows share.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use shaper::headers::IpVersion;
use shaper::sys::{Batch, try_send_segments};
use shaper::{Control, Framing, Plan};
use tokio::net::{TcpStream, UdpSocket};

use super::error::ConnectError;
use crate::admission::{Decision, Lack, NotProgrammed};
use crate::engine::{Admitted, AttachedSocket, Lingering, PeerSocket};
use crate::linux::RouteSelectors;
use crate::linux::socket::{self, SocketMark};
use crate::policy::Protocol;

/// The socket of a flow.
pub(super) enum Carrier {
    Tcp(Own<TcpStream>),
    /// A connected UDP socket.
    Udp(Own<UdpSocket>),
    /// A UDP socket with flows to several destinations.
    Shared {
        socket: Arc<SharedSocket>,
        /// How this flow's datagrams are marked; `None` where it reserves nothing.
        mark: Mutex<Option<SocketMark>>,
    },
}

/// A socket that carries one flow.
pub(super) struct Own<S> {
    socket: Arc<S>,
    /// The code point before the flow had a class.
    before: OnceLock<u8>,
    /// Whether what arrives is read no faster than reserved, where the socket is one of datagrams.
    is_read_slowly: AtomicBool,
}

/// A datagram socket with several flows. Each datagram is marked for its flow as it is sent, since the class and the code
/// point are the socket's.
pub(super) struct SharedSocket {
    socket: Arc<UdpSocket>,
    /// The code points of the socket before, for IPv4 and IPv6.
    before: [u8; 2],
    /// How the next datagram is marked, and by which version of IP; `None` where that is not known.
    marked: Mutex<Option<(SocketMark, IpVersion)>>,
}

impl<S> Own<S> {
    pub(super) const fn new(socket: Arc<S>) -> Self {
        Self { socket, before: OnceLock::new(), is_read_slowly: AtomicBool::new(false) }
    }

    /// A socket that was made for the flow: it had no code point before.
    pub(super) fn made(socket: Arc<S>) -> Self {
        Self { socket, before: OnceLock::from(0), is_read_slowly: AtomicBool::new(false) }
    }
}

impl<S: AsFd> Own<S> {
    fn mark(&self, version: IpVersion, mark: SocketMark) -> Result<(), ConnectError> {
        if mark == SocketMark::default() {
            return Ok(());
        }
        self.remember(version)?;
        Ok(socket::mark(&*self.socket, version, mark)?)
    }

    /// The code point is another one from now on.
    fn remember(&self, version: IpVersion) -> Result<(), ConnectError> {
        let before = socket::code_point(&*self.socket, version)?;
        self.before.get_or_init(|| before);
        Ok(())
    }

    fn unmark(&self, version: IpVersion) -> Result<(), ConnectError> {
        let Some(before) = self.before.get() else { return Ok(()) };
        Ok(socket::mark(&*self.socket, version, SocketMark { class: None, dscp: Some(*before) })?)
    }
}

impl Carrier {
    pub(super) fn shared(socket: Arc<SharedSocket>) -> Self {
        Self::Shared { socket, mark: Mutex::default() }
    }

    pub(super) const fn protocol(&self) -> Protocol {
        match self {
            Self::Tcp(_) => Protocol::Tcp,
            Self::Udp(_) | Self::Shared { .. } => Protocol::Udp,
        }
    }

    /// The address of the socket.
    ///
    /// - **Errors**: `getsockname`.
    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(own) => own.socket.local_addr(),
            Self::Udp(own) => own.socket.local_addr(),
            Self::Shared { socket, .. } => socket.socket.local_addr(),
        }
    }

    /// What the route of the flow's packets depends on.
    pub(super) fn route_selectors(&self, peer: SocketAddr) -> RouteSelectors {
        match self {
            Self::Tcp(own) => socket::route_selectors(&*own.socket, peer),
            Self::Udp(own) => socket::route_selectors(&*own.socket, peer),
            Self::Shared { socket, .. } => socket::route_selectors(&*socket.socket, peer),
        }
    }

    /// The socket, for an engine that sends its packets to a class; `None` where several flows share it.
    pub(super) fn attached(&self) -> Option<AttachedSocket> {
        match self {
            Self::Tcp(own) => Some(Arc::downgrade(&own.socket) as AttachedSocket),
            Self::Udp(own) => Some(Arc::downgrade(&own.socket) as AttachedSocket),
            Self::Shared { .. } => None,
        }
    }

    /// The engine marks the socket from now on.
    pub(super) fn remember_mark(&self, peer: SocketAddr) -> Result<(), ConnectError> {
        let version = IpVersion::of(peer.ip());
        match self {
            Self::Tcp(own) => own.remember(version),
            Self::Udp(own) => own.remember(version),
            Self::Shared { .. } => Ok(()),
        }
    }

    /// Sends the flow's packets through its class, with its code point.
    pub(super) fn mark(&self, peer: SocketAddr, admitted: &Admitted) -> Result<(), ConnectError> {
        let wanted = SocketMark { class: admitted.class, dscp: admitted.dscp };
        let version = IpVersion::of(peer.ip());
        match self {
            Self::Tcp(own) => own.mark(version, wanted),
            Self::Udp(own) => own.mark(version, wanted),
            Self::Shared { mark, .. } => {
                *lock(mark) = Some(wanted);
                Ok(())
            }
        }
    }

    /// How the flow's packets frame its data.
    pub(super) fn framing(&self, peer: SocketAddr) -> Result<Framing, ConnectError> {
        match self {
            Self::Tcp(own) => Ok(socket::tcp_framing(&*own.socket, peer.ip())?),
            Self::Udp(_) | Self::Shared { .. } => Ok(socket::udp_framing(peer.ip())),
        }
    }

    /// Sets the options that help the shaper.
    pub(super) fn assist(&self, peer: SocketAddr, plan: &Plan) -> Result<(), ConnectError> {
        match self {
            Self::Tcp(own) => {
                shaper::sys::assist_tcp(&*own.socket, plan).map_err(|failure| failed(peer, failure))
            }
            Self::Udp(_) | Self::Shared { .. } => Ok(()),
        }
    }

    /// Sets the options that hold a peer back which sends faster than reserved.
    pub(super) fn assist_receiving(&self, peer: SocketAddr, plan: &Plan) -> Result<(), ConnectError> {
        let assisted = match self {
            Self::Tcp(own) => shaper::sys::assist_receiving(&*own.socket, plan),
            Self::Udp(own) if self.is_read_slowly() => shaper::sys::assist_receiving(&*own.socket, plan),
            Self::Udp(_) | Self::Shared { .. } => return Ok(()),
        };
        assisted.map_err(|failure| failed(peer, failure))
    }

    /// Whether datagrams are read no faster than reserved.
    pub(super) fn is_read_slowly(&self) -> bool {
        match self {
            Self::Udp(own) => own.is_read_slowly.load(Ordering::Relaxed),
            Self::Tcp(_) | Self::Shared { .. } => false,
        }
    }

    /// Takes the flow's packets out of its class, and takes back what helped the shaper.
    pub(super) fn unmark(&self, peer: SocketAddr) -> Result<(), ConnectError> {
        let version = IpVersion::of(peer.ip());
        match self {
            Self::Tcp(own) => {
                own.unmark(version)?;
                let released = shaper::sys::release_tcp(&*own.socket);
                let released = released.and_then(|()| shaper::sys::release_receiving(&*own.socket));
                released.map_err(|failure| failed(peer, failure))
            }
            Self::Udp(own) => {
                own.unmark(version)?;
                match own.is_read_slowly.swap(false, Ordering::Relaxed) {
                    true => {
                        shaper::sys::release_receiving(&*own.socket).map_err(|failure| failed(peer, failure))
                    }
                    false => Ok(()),
                }
            }
            Self::Shared { mark, .. } => {
                *lock(mark) = None;
                Ok(())
            }
        }
    }

    /// The socket by which the flow's peer is seen; `None` where nothing is reserved.
    pub(super) fn peer_socket(&self, control: &Control, admitted: &Admitted) -> Option<PeerSocket> {
        let direction = admitted.reserved_direction()?;
        Some(match self {
            Self::Tcp(own) => PeerSocket::Tcp(Arc::downgrade(&own.socket)),
            Self::Udp(_) | Self::Shared { .. } => {
                let control = control.clone();
                PeerSocket::Datagrams(Arc::new(move || control.stats(direction).passed()))
            }
        })
    }

    /// What has to leave before the reservation of a flow that has ended is released.
    pub(super) fn lingering(&self) -> Lingering {
        match self {
            Self::Tcp(own) => Lingering::Tcp(Arc::clone(&own.socket)),
            Self::Udp(_) | Self::Shared { .. } => Lingering::Nothing,
        }
    }

    /// Whether a side has ended its half of the connection, or it has failed.
    #[cfg(feature = "proxy")]
    pub(super) fn has_begun_to_end(&self) -> bool {
        match self {
            Self::Tcp(own) => socket::is_established(&*own.socket).is_ok_and(|stands| !stands),
            Self::Udp(_) | Self::Shared { .. } => false,
        }
    }

    /// What a decision says is enforced, as far as this socket can enforce it. Without a class in the kernel, the datagrams
    /// of a connected socket are read no faster than reserved, and the kernel drops the excess; those of a socket with
    /// several flows are not held back, and an engine in another process, `by_engine`, does not mark them.
    pub(super) fn limit_enforced(&self, decision: &mut Decision, by_engine: bool) {
        if by_engine
            && matches!(self, Self::Shared { .. })
            && let Some(enforced) = decision.enforced_mut()
            && enforced.class.take().is_some()
        {
            enforced.lacking.push(Lack::KernelClass(NotProgrammed::SharedSocket));
        }
        let Some(enforced) = decision.enforced_mut().filter(|enforced| enforced.receiving) else { return };
        let has_class = enforced.receiving_class.is_some();
        match self {
            Self::Tcp(_) => {}
            Self::Udp(own) => {
                own.is_read_slowly.store(!has_class, Ordering::Relaxed);
                enforced.receiving = !has_class;
            }
            Self::Shared { .. } => {
                enforced.receiving = false;
                if !has_class {
                    enforced.lacking.push(Lack::ReceivedDatagrams);
                }
            }
        }
    }

    /// Sends a datagram of a flow on a shared socket, without waiting.
    pub(super) fn try_send_to(&self, payload: &[u8], peer: SocketAddr) -> io::Result<usize> {
        match self {
            Self::Tcp(_) => Err(io::ErrorKind::Unsupported.into()),
            Self::Udp(own) => own.socket.try_send(payload),
            Self::Shared { socket, mark } => {
                let mark = *lock(mark);
                socket.try_send_to(payload, (peer, mark))
            }
        }
    }

    /// Sends datagrams of a flow, all or none, without waiting.
    pub(super) fn try_send_segments(&self, batch: Batch<'_>, peer: SocketAddr) -> io::Result<usize> {
        match self {
            Self::Tcp(_) => Err(io::ErrorKind::Unsupported.into()),
            Self::Udp(own) => try_send_segments(&own.socket, batch, None),
            Self::Shared { socket, mark } => {
                let mark = *lock(mark);
                socket.marked(peer, mark, || try_send_segments(&socket.socket, batch, Some(peer)))
            }
        }
    }
}

impl SharedSocket {
    pub(super) fn new(socket: Arc<UdpSocket>) -> Self {
        // A socket of IPv4 has no traffic class.
        let code_point = |version| socket::code_point(&*socket, version).unwrap_or(0);
        let before = [code_point(IpVersion::V4), code_point(IpVersion::V6)];
        Self { socket, before, marked: Mutex::default() }
    }

    pub(super) const fn socket(&self) -> &Arc<UdpSocket> {
        &self.socket
    }

    /// Sends a datagram with this mark, or as best effort, without waiting.
    pub(super) fn try_send_to(
        &self,
        payload: &[u8],
        (peer, mark): (SocketAddr, Option<SocketMark>),
    ) -> io::Result<usize> {
        self.marked(peer, mark, || self.socket.try_send_to(payload, peer))
    }

    /// Calls `send` while the socket has this mark, or that of best effort.
    fn marked(
        &self,
        peer: SocketAddr,
        mark: Option<SocketMark>,
        send: impl FnOnce() -> io::Result<usize>,
    ) -> io::Result<usize> {
        let version = IpVersion::of(peer.ip());
        let [ipv4, ipv6] = self.before;
        let before = match version {
            IpVersion::V4 => ipv4,
            IpVersion::V6 => ipv6,
        };
        let mark = mark.unwrap_or_default();
        let wanted = SocketMark { class: mark.class, dscp: mark.dscp.or(Some(before)) };
        // Held until everything is sent, so that no other changes its mark.
        let mut marked = lock(&self.marked);
        if *marked != Some((wanted, version)) {
            *marked = None;
            socket::mark(&*self.socket, version, wanted).map_err(io::Error::other)?;
            *marked = Some((wanted, version));
        }
        send()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What is locked is whole between any two statements that can panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A socket option of the shaper could not be set.
fn failed(peer: SocketAddr, failure: shaper::sys::SystemCallError) -> ConnectError {
    ConnectError::socket(&failure.call.to_string(), peer, failure.errno)
}
