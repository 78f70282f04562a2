//! Connecting: the reservation first, then the peer.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;

use flowspec::Direction;
use shaper::{Control, Datagram};
use tokio::net::{TcpSocket, UdpSocket};

use super::connection::{Connection, DatagramConnection};
use super::error::ConnectError;
use super::flow::{self, Flow};
use super::host::Host;
use crate::admission::Lack;
use crate::engine::{Ask, Granted, PeerSocket, PendingReservation, ReservationRequest};
use crate::linux::socket;
use crate::policy::{Protocol, Subject};

/// Makes connections with reserved bandwidth.
#[derive(Clone)]
pub struct Connector {
    host: Host,
}

impl Host {
    /// Makes connections.
    pub fn connector(&self) -> Connector {
        Connector { host: self.clone() }
    }

    /// Reserves for a flow: for callers that set their sockets up themselves.
    ///
    /// - **Errors**: the refusal; no route to the peer; the engine has stopped.
    pub async fn reserve(&self, request: ReservationRequest) -> Result<Granted, ConnectError> {
        let granted = match self.engine.try_reserve(&request) {
            Some(pending) => pending.await,
            None => self.engine.reserve(request).await,
        };
        Ok(granted?)
    }

    /// Reserves on the caller's thread where that needs no kernel change and no other thread; `None` where it does:
    /// then nothing has happened, and [`reserve`](Self::reserve) does the same.
    pub fn try_reserve(&self, request: &ReservationRequest) -> Option<PendingReservation> {
        self.engine.try_reserve(request)
    }
}

impl Connector {
    /// Connects by TCP; the reservation is made before the first packet leaves.
    ///
    /// The interface is the one by which packets to the peer leave. The reservation is released if the connection is
    /// refused or times out, or if the future is dropped.
    ///
    /// - **Errors**: the refusal, with WSAEOPNOTSUPP; what `connect` answered.
    /// - **Source**: WSPConnect.
    pub async fn connect(&self, peer: SocketAddr, ask: &Ask) -> Result<Connection, ConnectError> {
        check(peer)?;
        let granted = self.host.reserve(request(ask, peer, Protocol::Tcp)).await?;
        let admitted = &granted.admitted;
        let failed = |call| move |cause: io::Error| ConnectError::socket(call, peer, cause);
        let made = if peer.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let tcp = made.map_err(failed("socket"))?;
        let ipv6 = peer.ip().to_canonical().is_ipv6();
        if let Some(tspec) = &admitted.tspec.sending
            && let Some(payload) = flow::segment_limit(tspec.max_sdu_size(), ipv6)
        {
            socket::limit_segment(&tcp, payload)?;
        }
        if admitted.class.is_some() || admitted.dscp.is_some() {
            socket::classify(&tcp, ipv6, admitted.dscp, admitted.class)?;
        }
        let stream = tcp.connect(peer).await.map_err(failed("connect"))?;
        stream.set_nodelay(true).map_err(failed("setsockopt(TCP_NODELAY)"))?;
        let flow = Flow::connected(self.host.clone(), Arc::new(stream), peer, granted)?;
        Ok(Connection::new(Arc::new(flow)))
    }

    /// Connects a UDP socket; the reservation is made first.
    ///
    /// - **Errors**: the refusal, with WSAEOPNOTSUPP; what `bind` or `connect` answered.
    pub async fn connect_udp(&self, peer: SocketAddr, ask: &Ask) -> Result<DatagramConnection, ConnectError> {
        check(peer)?;
        let granted = self.host.reserve(request(ask, peer, Protocol::Udp)).await?;
        let Granted { admitted, mut decision, mut reservation } = granted;
        let failed = |call| move |cause: io::Error| ConnectError::socket(call, peer, cause);
        let any: SocketAddr = if peer.is_ipv4() {
            (Ipv4Addr::UNSPECIFIED, 0).into()
        } else {
            (Ipv6Addr::UNSPECIFIED, 0).into()
        };
        let udp = UdpSocket::bind(any).await.map_err(failed("bind"))?;
        let ipv6 = peer.ip().to_canonical().is_ipv6();
        if admitted.class.is_some() || admitted.dscp.is_some() {
            socket::classify(&udp, ipv6, admitted.dscp, admitted.class)?;
        }
        udp.connect(peer).await.map_err(failed("connect"))?;
        let control = Control::default();
        let framing = socket::udp_framing(peer.ip());
        let plan = flow::plan(&admitted, Direction::Sending, framing)?;
        control.set_owing(Direction::Sending, plan, admitted.owed.sending);
        reservation.metered(flow::meter(control.clone()));
        if let Some(enforced) = decision.enforced_mut()
            && enforced.receiving
        {
            enforced.receiving = false;
            enforced.lacking.push(Lack::ReceivedDatagrams);
        }
        reservation.connected();
        // A descriptor of its own, which lives as long as the reservation.
        let own = udp.as_fd().try_clone_to_owned().map_err(failed("dup"))?;
        let held = control.clone();
        reservation.state().on_loss(move |_| {
            for direction in Direction::BOTH {
                held.set(direction, None);
            }
            // This fails for a closed socket alone, which sends nothing.
            let _ = socket::classify(&own, ipv6, Some(0), None);
        });
        if let Some(direction) = admitted.reserved_direction() {
            let control = control.clone();
            let passed = move || control.stats(direction).passed();
            reservation.watch(PeerSocket::Datagrams(Arc::new(passed)), admitted.timeouts);
        }
        Ok(DatagramConnection::new(Datagram::new(udp, control), peer, decision, reservation))
    }
}

/// A request for a flow whose socket is not bound yet.
fn request(ask: &Ask, peer: SocketAddr, protocol: Protocol) -> ReservationRequest {
    ReservationRequest::new(ask.clone(), Subject { protocol, local_port: 0, peer: peer.ip() })
}

/// Linux connects the address of all zeroes to this host; WSPConnect refuses it.
fn check(peer: SocketAddr) -> Result<(), ConnectError> {
    if peer.ip().is_unspecified() || peer.port() == 0 {
        return Err(ConnectError::Address { peer });
    }
    Ok(())
}
