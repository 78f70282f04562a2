//! Making links, addresses and routes: what the networks of the lab are built of.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd};

use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags};
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{AddressMessageBuilder, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};

use super::namespace::Namespace;
use super::netlink::Netlink;
use super::request::{NetlinkRequest, NetlinkRequestKind};
use crate::failure::KernelFailure;

/// Two ends of a wire, each in a namespace.
#[derive(Clone, Copy, Debug)]
pub struct Veth<'a> {
    /// The name of the end in the namespace of the connection.
    pub name: &'a str,
    /// The name of the other end.
    pub peer: &'a str,
    /// The namespace of the other end.
    pub namespace: &'a Namespace,
}

impl Netlink {
    /// Adds a veth pair.
    ///
    /// - **Errors**: the kernel's.
    pub async fn add_veth(&self, veth: Veth<'_>) -> Result<(), KernelFailure> {
        let Veth { name, peer, namespace } = veth;
        let namespace = namespace.as_fd().as_raw_fd();
        let far = LinkMessageBuilder::<LinkUnspec>::new().name(peer).setns_by_fd(namespace).build();
        let pair = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
            .name(name)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(far)))
            .build();
        let message = RouteNetlinkMessage::NewLink(pair);
        let object = format!("veth {name} peer {peer}");
        self.request(NetlinkRequest { call: "RTM_NEWLINK", object, message, kind: NetlinkRequestKind::Add })
            .await
            .map(drop)
    }

    /// Sets an interface up.
    ///
    /// - **Errors**: the kernel's.
    pub async fn set_up(&self, index: u32) -> Result<(), KernelFailure> {
        let message = RouteNetlinkMessage::SetLink(LinkUnspec::new_with_index(index).up().build());
        let object = format!("interface {index} up");
        self.request(NetlinkRequest {
            call: "RTM_SETLINK",
            object,
            message,
            kind: NetlinkRequestKind::Change,
        })
        .await
        .map(drop)
    }

    /// Gives an interface an address, which is usable at once: no other host is asked whether it has the same.
    ///
    /// - **Errors**: the kernel's.
    pub async fn add_address(&self, index: u32, address: IpAddr, prefix: u8) -> Result<(), KernelFailure> {
        let mut message = match address {
            IpAddr::V4(v4) => {
                AddressMessageBuilder::<Ipv4Addr>::new().index(index).address(v4, prefix).build()
            }
            IpAddr::V6(v6) => {
                AddressMessageBuilder::<Ipv6Addr>::new().index(index).address(v6, prefix).build()
            }
        };
        if address.is_ipv6() {
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        let message = RouteNetlinkMessage::NewAddress(message);
        let object = format!("{address}/{prefix} on interface {index}");
        self.request(NetlinkRequest { call: "RTM_NEWADDR", object, message, kind: NetlinkRequestKind::Add })
            .await
            .map(drop)
    }

    /// The link address of an interface; empty for one that has none, or that is gone.
    ///
    /// - **Errors**: the kernel's.
    pub async fn link_address(&self, index: u32) -> Result<Vec<u8>, KernelFailure> {
        let link = self.links().await?.find(|link| link.header.index == index);
        let attributes = link.map(|link| link.attributes).unwrap_or_default();
        let address = attributes.into_iter().find_map(|attribute| match attribute {
            LinkAttribute::Address(address) => Some(address),
            _ => None,
        });
        Ok(address.unwrap_or_default())
    }

    /// Names the link address of a neighbour for ever, so that no packet waits until the neighbour has answered.
    ///
    /// - **Errors**: the kernel's.
    pub async fn add_neighbour(
        &self,
        index: u32,
        address: IpAddr,
        link_address: &[u8],
    ) -> Result<(), KernelFailure> {
        let (family, destination) = match address {
            IpAddr::V4(v4) => (AddressFamily::Inet, NeighbourAddress::Inet(v4)),
            IpAddr::V6(v6) => (AddressFamily::Inet6, NeighbourAddress::Inet6(v6)),
        };
        let mut message = NeighbourMessage::default();
        message.header.family = family;
        message.header.ifindex = index;
        message.header.state = NeighbourState::Permanent;
        message.attributes.push(NeighbourAttribute::Destination(destination));
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(link_address.to_vec()));
        let message = RouteNetlinkMessage::NewNeighbour(message);
        let object = format!("neighbour {address} on interface {index}");
        self.request(NetlinkRequest { call: "RTM_NEWNEIGH", object, message, kind: NetlinkRequestKind::Add })
            .await
            .map(drop)
    }

    /// Routes all packets that have no other route by this gateway.
    ///
    /// - **Errors**: the kernel's.
    pub async fn add_default_route(&self, index: u32, gateway: IpAddr) -> Result<(), KernelFailure> {
        let message = match gateway {
            IpAddr::V4(v4) => {
                RouteMessageBuilder::<Ipv4Addr>::new().gateway(v4).output_interface(index).build()
            }
            IpAddr::V6(v6) => {
                RouteMessageBuilder::<Ipv6Addr>::new().gateway(v6).output_interface(index).build()
            }
        };
        let message = RouteNetlinkMessage::NewRoute(message);
        let object = format!("default via {gateway}");
        self.request(NetlinkRequest { call: "RTM_NEWROUTE", object, message, kind: NetlinkRequestKind::Add })
            .await
            .map(drop)
    }
}
