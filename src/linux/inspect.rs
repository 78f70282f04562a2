//! Links with everything that `gqos doctor` says of them.

use nix::libc;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};

use flowspec::Bytes;

use super::links::{kind, shares_wire_with};
use super::netlink::Netlink;
use crate::failure::KernelFailure;

/// A link and how it treats packets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LinkDetails {
    /// The number of its interface.
    pub index: u32,
    /// IFLA_IFNAME.
    pub name: String,
    /// Its kind, as in `ip -d link`; `None` for a device.
    pub kind: Option<String>,
    /// The number of the interface whose wire it uses: the one below a VLAN, a macvlan or an ipvlan, or the bridge, the bond
    /// or the team that it is in. `None` where the kernel names none in this namespace.
    pub shares_wire_with: Option<u32>,
    /// IFF_LOOPBACK: what it sends returns to this host.
    pub is_loopback: bool,
    /// Whether it is set up.
    pub is_up: bool,
    /// Whether its other end is connected.
    pub has_carrier: bool,
    /// The largest IP datagram.
    pub mtu: Bytes,
    /// The largest aggregate that the stack hands to it; `None` where the kernel does not say.
    pub gso_max_size: Option<Bytes>,
    /// They decide how large the packets are that `tc` sees.
    pub offloads: Offloads,
}

/// Which offloads are on; `None` where the kernel does not say.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Offloads {
    /// TCP segmentation by the device.
    pub tso: Option<bool>,
    /// Segmentation below the qdisc.
    pub gso: Option<bool>,
    /// Received segments are put together.
    pub gro: Option<bool>,
}

impl Netlink {
    /// All links of the namespace.
    ///
    /// - **Errors**: the kernel's.
    pub async fn link_details(&self) -> Result<Vec<LinkDetails>, KernelFailure> {
        Ok(self.links().await?.map(|link| details(&link)).collect())
    }
}

fn details(link: &LinkMessage) -> LinkDetails {
    let has = |flag| link.header.flags.contains(flag);
    let mut details = LinkDetails {
        index: link.header.index,
        name: String::new(),
        kind: kind(link),
        shares_wire_with: shares_wire_with(link),
        is_loopback: has(LinkFlags::Loopback),
        is_up: has(LinkFlags::Up),
        has_carrier: has(LinkFlags::LowerUp),
        mtu: Bytes::ZERO,
        gso_max_size: None,
        offloads: Offloads::default(),
    };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => details.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => details.mtu = Bytes::new(u64::from(*mtu)),
            LinkAttribute::GsoMaxSize(size) => details.gso_max_size = Some(Bytes::new(u64::from(*size))),
            _ => {}
        }
    }
    details.offloads = offloads(&details.name);
    details
}

/// `ETHTOOL_GTSO`, `ETHTOOL_GGSO` and `ETHTOOL_GGRO` of `linux/ethtool.h`.
const GET_TSO: u32 = 0x1e;
const GET_GSO: u32 = 0x23;
const GET_GRO: u32 = 0x2b;

/// `struct ethtool_value`.
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

fn offloads(name: &str) -> Offloads {
    let Ok(socket) = std::net::UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0)) else {
        return Offloads::default();
    };
    let read = |command| ethtool(&socket, name, command);
    Offloads { tso: read(GET_TSO), gso: read(GET_GSO), gro: read(GET_GRO) }
}

/// A value of ethtool; `None` where the kernel does not give it.
fn ethtool(socket: &impl std::os::fd::AsRawFd, name: &str, command: u32) -> Option<bool> {
    let mut value = EthtoolValue { command, data: 0 };
    // SAFETY: ifreq is made of integers and a pointer, for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays zero.
    let most = request.ifr_name.len() - 1;
    for (to, from) in request.ifr_name[..most].iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: the descriptor is open, and `request` points to a value that lives for the whole call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    (result == 0).then_some(value.data != 0)
}
