//! Routes: by which link the packets of a flow leave.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};

use super::netlink::Netlink;
use super::request::{NetlinkRequest, NetlinkRequestKind};
use crate::failure::{AnswerProblem, KernelCall, KernelFailure};

/// What the kernel chooses a flow's route by, beside the peer's address. All zeroes is a socket of this process without
/// an option, which is not bound.
///
/// - **Source**: ip-rule(8); socket(7), SO_MARK and SO_BINDTODEVICE; ipv6(7), `sin6_scope_id`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct RouteSelectors {
    /// The scope id of the peer's address, which is the number of an interface; 0 where it has none. It counts for
    /// link-local addresses of IPv6 alone.
    pub scope: u32,
    /// The number of the interface that the socket is bound to; 0 without.
    pub device: u32,
    /// The mark of the socket's packets; 0 without.
    pub mark: u32,
    /// The address that the socket is bound to.
    pub source: Option<IpAddr>,
    /// The user that the socket belongs to; `None` is the user of this process.
    pub user: Option<u32>,
    /// By which rules match and multipath routes choose; `None` leaves them and the protocol out of the look-up.
    pub ports: Option<Ports>,
}

/// The transport of a flow and its ports, by which rules match and multipath routes choose.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Ports {
    /// The protocol's number: IPPROTO_TCP or IPPROTO_UDP.
    pub protocol: u8,
    /// The port of this host; 0 while it is not known.
    pub local: u16,
    /// The port of the peer; 0 while it is not known.
    pub peer: u16,
}

/// The packets whose route is asked for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct RouteQuery {
    /// The peer's address.
    pub peer: IpAddr,
    /// What else decides.
    pub selectors: RouteSelectors,
}

/// The route of a flow's packets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Route {
    /// The number of the interface by which they leave.
    pub index: u32,
    /// Their source address, where the kernel names one.
    pub source: Option<IpAddr>,
}

impl RouteSelectors {
    /// The interface that the route has to leave by; 0 where the kernel chooses it.
    fn interface(&self, peer: IpAddr) -> u32 {
        match peer {
            _ if self.device != 0 => self.device,
            IpAddr::V6(v6) if needs_scope(v6) => self.scope,
            _ => 0,
        }
    }
}

/// Source: kernel `include/net/ipv6.h`, `__ipv6_addr_needs_scope_id`.
fn needs_scope(v6: Ipv6Addr) -> bool {
    let [first, second, ..] = v6.octets();
    v6.is_unicast_link_local() || (first == 0xff && matches!(second & 0xf, 1 | 2))
}

impl RouteQuery {
    /// The same without the ports, where the route does not depend on them. A multipath route for IPv6 chooses by the
    /// protocol in any case.
    ///
    /// - **Source**: kernel `net/ipv6/route.c`, `rt6_multipath_hash`.
    pub fn without_ports(self) -> Self {
        let protocol = self.selectors.ports.filter(|_| self.peer.to_canonical().is_ipv6());
        let ports = protocol.map(|ports| Ports { local: 0, peer: 0, ..ports });
        Self { selectors: RouteSelectors { ports, ..self.selectors }, ..self }
    }
}

impl From<IpAddr> for RouteQuery {
    /// The route of an unbound socket.
    fn from(peer: IpAddr) -> Self {
        Self { peer, selectors: RouteSelectors::default() }
    }
}

impl Netlink {
    /// The route of packets to this address, or of the flow of a socket.
    ///
    /// - **Errors**: the kernel's: ENETUNREACH where there is no route, EINVAL where the source is no address of this host.
    pub async fn route(&self, query: impl Into<RouteQuery>) -> Result<Route, KernelFailure> {
        let query = query.into();
        let call = "RTM_GETROUTE";
        let object = format!("to {}", query.peer);
        // A look-up by IPv6 takes an interface with a source for a hint, except for a VRF, whose table it names.
        let is_hint = query.peer.to_canonical().is_ipv6()
            && query.selectors.source.is_some()
            && !self.is_vrf(query.selectors.device).await?;
        let message = RouteNetlinkMessage::GetRoute(message(&query, is_hint));
        let request = NetlinkRequest { call, object: object.clone(), message, kind: NetlinkRequestKind::Get };
        let RouteNetlinkMessage::NewRoute(route) = self.request_one(request).await? else {
            return Err(KernelCall(call).unexpected(object, AnswerProblem::NotARoute));
        };
        let (mut index, mut source) = (None, None);
        for attribute in route.attributes {
            match attribute {
                RouteAttribute::Oif(oif) => index = Some(oif),
                RouteAttribute::PrefSource(RouteAddress::Inet(v4)) => source = Some(IpAddr::V4(v4)),
                RouteAttribute::PrefSource(RouteAddress::Inet6(v6)) => source = Some(IpAddr::V6(v6)),
                _ => {}
            }
        }
        let index =
            index.ok_or_else(|| KernelCall(call).unexpected(object, AnswerProblem::RouteWithoutInterface))?;
        Ok(Route { index, source })
    }

    /// Whether an interface, by its number, is a VRF; 0 is none.
    async fn is_vrf(&self, index: u32) -> Result<bool, KernelFailure> {
        Ok(index != 0 && self.link(index).await?.is_vrf)
    }
}

/// The request for a route. If an interface with a source is but a hint, the source is left out: a socket that is bound to an
/// interface leaves by no other.
fn message(query: &RouteQuery, is_hint: bool) -> RouteMessage {
    let (peer, selectors) = (query.peer.to_canonical(), &query.selectors);
    let source =
        selectors.source.map(|source| source.to_canonical()).filter(|source| !source.is_unspecified());
    let interface = selectors.interface(peer);
    let mut message = match (peer, source) {
        (IpAddr::V4(peer), Some(IpAddr::V4(source))) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(peer, 32)
            .source_prefix(source, 32)
            .build(),
        (IpAddr::V4(peer), _) => RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(peer, 32).build(),
        (IpAddr::V6(peer), Some(IpAddr::V6(source))) if interface == 0 || !is_hint => {
            RouteMessageBuilder::<Ipv6Addr>::new()
                .destination_prefix(peer, 128)
                .source_prefix(source, 128)
                .build()
        }
        (IpAddr::V6(peer), _) => RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(peer, 128).build(),
    };
    let attributes = &mut message.attributes;
    if interface != 0 {
        attributes.push(RouteAttribute::Oif(interface));
    }
    if selectors.mark != 0 {
        attributes.push(RouteAttribute::Mark(selectors.mark));
    }
    attributes.extend(selectors.user.map(RouteAttribute::Uid));
    if let Some(Ports { protocol, local, peer }) = selectors.ports {
        attributes.push(RouteAttribute::IpProto(protocol));
        // The kernel takes port 0 for an error.
        attributes.extend((local != 0).then_some(RouteAttribute::Sport(local)));
        attributes.extend((peer != 0).then_some(RouteAttribute::Dport(peer)));
    }
    message
}
