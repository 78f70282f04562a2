//! Making links, addresses and routes: what a lab is built of.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth};
use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};

use super::error;
use super::netlink::Netlink;
use crate::failure::KernelFailure;

impl Netlink {
    /// Makes a veth pair: one end here, the other in the namespace behind this descriptor.
    ///
    /// - **Errors**: the kernel's.
    pub async fn add_veth(&self, name: &str, peer: &str, namespace: i32) -> Result<(), KernelFailure> {
        let far = LinkMessageBuilder::<LinkUnspec>::new().name(peer).setns_by_fd(namespace).build();
        let pair = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
            .name(name)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(far)))
            .build();
        let added = self.handle().link().add(pair).execute().await;
        added.map_err(|error| told("RTM_NEWLINK", &format!("veth {name} peer {peer}"), error))
    }

    /// Sets an interface up.
    ///
    /// - **Errors**: the kernel's.
    pub async fn set_up(&self, index: u32) -> Result<(), KernelFailure> {
        let up = LinkUnspec::new_with_index(index).up().build();
        let set = self.handle().link().set(up).execute().await;
        set.map_err(|error| told("RTM_SETLINK", &format!("interface {index} up"), error))
    }

    /// Gives an interface an address.
    ///
    /// - **Errors**: the kernel's.
    pub async fn add_address(&self, index: u32, address: IpAddr, prefix: u8) -> Result<(), KernelFailure> {
        let added = self.handle().address().add(index, address, prefix).execute().await;
        added.map_err(|error| told("RTM_NEWADDR", &format!("{address}/{prefix}"), error))
    }

    /// Sends everything that has no other route by this gateway.
    ///
    /// - **Errors**: the kernel's.
    pub async fn add_default_route(&self, index: u32, gateway: IpAddr) -> Result<(), KernelFailure> {
        let route = match gateway {
            IpAddr::V4(v4) => {
                RouteMessageBuilder::<Ipv4Addr>::new().gateway(v4).output_interface(index).build()
            }
            IpAddr::V6(v6) => {
                RouteMessageBuilder::<Ipv6Addr>::new().gateway(v6).output_interface(index).build()
            }
        };
        let added = self.handle().route().add(route).execute().await;
        added.map_err(|error| told("RTM_NEWROUTE", &format!("default via {gateway}"), error))
    }
}

fn told(call: &'static str, object: &str, error: rtnetlink::Error) -> KernelFailure {
    error::rtnetlink(call, object, error)
}
