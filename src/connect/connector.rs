//! Connecting: the reservation first, then the peer.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;

use shaper::headers::IpVersion;
use tokio::net::{TcpSocket, UdpSocket};

use super::carrier::Own;
use super::connection::Connection;
use super::datagrams::DatagramConnection;
use super::error::ConnectError;
use super::host::Host;
use super::plan::segment_limit;
use crate::admission::{Decision, Lack, NotProgrammed};
use crate::engine::{
    Admitted, Answer, Ask, EngineError, Granted, PendingReservation, ReceivedPackets, ReservationRequest,
};
use crate::linux::socket::{self, SocketMark};
use crate::linux::{Ports, RouteQuery, RouteSelectors};
use crate::policy::{Protocol, Subject};

/// Makes connections with reserved bandwidth.
///
/// ```no_run
/// use gqos::connect::{Ask, ConnectError, Connection, Host};
///
/// async fn contribute(host: &Host) -> Result<Connection, ConnectError> {
///     let ingest = ([192, 0, 2, 7], 1935).into();
///     match host.connector().connect(ingest, &Ask::first_of(["4k", "1080p"]).class("studio")).await {
///         Err(error) if error.is_refused() => {
///             eprintln!("not now: {error}");
///             Err(error)
///         }
///         result => result,
///     }
/// }
/// ```
#[derive(Clone, Debug)]
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

    /// Assigns the packets that a flow receives to its class, and says in the decision which that is, or
    /// why it has none: for callers that set their sockets up themselves, once the flow's addresses are known and after each
    /// renegotiation.
    pub async fn receive(&self, packets: ReceivedPackets, admitted: &Admitted, decision: &mut Decision) {
        if admitted.tspec.receiving.is_none() || decision.enforced().is_none() {
            return;
        }
        let Some(id) = decision.id().map(str::to_owned) else { return };
        let received = self.engine.receive(id, packets).await;
        let Some(enforced) = decision.enforced_mut() else { return };
        match received {
            Ok(class) => enforced.receiving_class = Some(class),
            // The policy wants no class.
            Err(NotProgrammed::PolicySaysUserSpace) => {}
            Err(why) => enforced.lacking.push(Lack::ReceivingClass(why)),
        }
    }

    /// Has the engine follow the route of a flow's packets, now that its socket is connected: for callers that set their
    /// sockets up themselves. Where they leave by another interface than the one that is reserved, the flow is requested
    /// there, and the grant says how it is set up.
    ///
    /// - **Errors**: the refusal, with which the reservation is lost; the engine has stopped.
    pub async fn follow_route(&self, granted: &mut Granted, route: RouteQuery) -> Result<(), ConnectError> {
        let followed = self.engine.follow_route(granted.reservation.id().to_owned(), route).await;
        match followed {
            Ok(None) => Ok(()),
            Ok(Some(Answer { decision, admitted })) => {
                granted.admitted = admitted.unwrap_or_else(|| granted.admitted.clone());
                granted.decision = decision;
                Ok(())
            }
            // It has no route at this moment; the engine looks again once routes change.
            Err(EngineError::Kernel(failure)) if failure.errno().is_some() => Ok(()),
            Err(error) => Err(error.into()),
        }
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
    /// The interface is the one by which packets to the peer leave: for a link-local peer, that of its scope id. The reservation is released if the connection is
    /// refused or times out, or if the future is dropped.
    ///
    /// - **Errors**: the refusal, with WSAEOPNOTSUPP; what `connect` answered.
    /// - **Source**: WSPConnect.
    pub async fn connect(&self, peer: SocketAddr, ask: &Ask) -> Result<Connection, ConnectError> {
        check(peer)?;
        let mut granted = self.host.reserve(request(ask, peer, Protocol::Tcp)).await?;
        let admitted = &granted.admitted;
        let failed = |call| move |cause: io::Error| ConnectError::socket(call, peer, cause);
        let made = if peer.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let tcp = made.map_err(failed("socket"))?;
        let version = IpVersion::of(peer.ip());
        if let Some(tspec) = &admitted.tspec.sending
            && let Some(payload) = segment_limit(tspec.max_sdu_size(), version)
        {
            socket::limit_segment(&tcp, payload)?;
        }
        // Before the first packet, by an engine of this process; another process knows connected sockets alone.
        let mark = SocketMark { class: admitted.class, dscp: admitted.dscp };
        if mark != SocketMark::default() && !granted.reservation.marks_sockets() {
            socket::mark(&tcp, version, mark)?;
        }
        let stream = tcp.connect(peer).await.map_err(failed("connect"))?;
        stream.set_nodelay(true).map_err(failed("setsockopt(TCP_NODELAY)"))?;
        self.host.follow_route(&mut granted, route_of(&stream, peer)).await?;
        let Granted { admitted, decision, .. } = &mut granted;
        let local_port = stream.local_addr().map_err(failed("getsockname"))?.port();
        let packets = ReceivedPackets { protocol: Protocol::Tcp, peer, local_port };
        self.host.receive(packets, admitted, decision).await;
        let stream = Arc::new(stream);
        let own = Own::made(Arc::clone(&stream));
        let connection = Connection::granted(self.host.clone(), stream, own, (peer, granted))?;
        connection.flow().attached().await;
        Ok(connection)
    }

    /// Connects a UDP socket; the reservation is made first.
    ///
    /// - **Errors**: the refusal, with WSAEOPNOTSUPP; what `bind` or `connect` answered.
    pub async fn connect_udp(&self, peer: SocketAddr, ask: &Ask) -> Result<DatagramConnection, ConnectError> {
        check(peer)?;
        let mut granted = self.host.reserve(request(ask, peer, Protocol::Udp)).await?;
        let failed = |call| move |cause: io::Error| ConnectError::socket(call, peer, cause);
        let any: SocketAddr = if peer.is_ipv4() {
            (Ipv4Addr::UNSPECIFIED, 0).into()
        } else {
            (Ipv6Addr::UNSPECIFIED, 0).into()
        };
        let udp = UdpSocket::bind(any).await.map_err(failed("bind"))?;
        udp.connect(peer).await.map_err(failed("connect"))?;
        self.host.follow_route(&mut granted, route_of(&udp, peer)).await?;
        let Granted { admitted, decision, .. } = &mut granted;
        let local_port = udp.local_addr().map_err(failed("getsockname"))?.port();
        let packets = ReceivedPackets { protocol: Protocol::Udp, peer, local_port };
        self.host.receive(packets, admitted, decision).await;
        let connection = DatagramConnection::granted(self.host.clone(), udp, peer, granted)?;
        connection.flow().attached().await;
        Ok(connection)
    }
}

/// A request for a flow whose socket is not bound yet.
fn request(ask: &Ask, peer: SocketAddr, protocol: Protocol) -> ReservationRequest {
    let subject = Subject { protocol, local_port: 0, peer: peer.ip() };
    // The local port is not known before the socket is connected.
    let ports = Ports { protocol: protocol.number(), local: 0, peer: peer.port() };
    let selectors =
        RouteSelectors { scope: socket::scope(peer), ports: Some(ports), ..RouteSelectors::default() };
    ReservationRequest { selectors, ..ReservationRequest::new(ask.clone(), subject) }
}

/// The packets of a connected socket.
fn route_of(connected: &impl AsFd, peer: SocketAddr) -> RouteQuery {
    RouteQuery { peer: peer.ip(), selectors: socket::route_selectors(connected, peer) }
}

/// Linux connects the address of all zeroes to this host; WSPConnect refuses it.
fn check(peer: SocketAddr) -> Result<(), ConnectError> {
    if peer.ip().is_unspecified() || peer.port() == 0 {
        return Err(ConnectError::Address { peer });
    }
    Ok(())
}
