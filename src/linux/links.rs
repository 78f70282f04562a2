//! Links: which interfaces there are, and what the kernel says of them.

use std::collections::BTreeSet;
use std::path::Path;

use flowspec::{Bytes, Rate};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{InfoPortKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};

use super::blocking::BlockingNetlink;
use super::netlink::Netlink;
use super::request::{NetlinkRequest, NetlinkRequestKind};
use crate::failure::{AnswerProblem, KernelCall, KernelFailure};

/// A network interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Link {
    /// The ifindex, unique in its network namespace.
    pub index: u32,
    /// IFLA_IFNAME: at most 15 bytes.
    pub name: String,
    /// The largest IP datagram that it carries.
    pub mtu: Bytes,
    /// The rate that the kernel reports; `None` where it reports none.
    pub speed: Option<Rate>,
    /// Whether it carries packets: it is up, and its other end is connected.
    pub carries: bool,
    /// The number of the interface whose wire it uses: the one below a VLAN, a macvlan or an ipvlan, or the bridge, the bond
    /// or the team that it is in. `None` where the kernel names none in this namespace.
    pub shares_wire_with: Option<u32>,
    /// Whether it is a VRF: a table of routes as an interface. Its packets leave by the interfaces in it.
    pub is_vrf: bool,
}

/// The kinds of links whose IFLA_LINK is the device that sends their packets.
const STACKED: [&str; 6] = ["vlan", "macvlan", "macvtap", "ipvlan", "ipvtap", "macsec"];

/// The kind of a VRF.
const VRF: &str = "vrf";

/// The kind of a link, as in `ip -d link`; `None` for a device.
pub(super) fn kind(message: &LinkMessage) -> Option<String> {
    infos(message).find_map(|info| match info {
        LinkInfo::Kind(kind) => Some(kind.to_string()),
        _ => None,
    })
}

/// Whether a link is in a VRF, which the kernel names as its master.
fn is_in_vrf(message: &LinkMessage) -> bool {
    infos(message).any(|info| matches!(info, LinkInfo::PortKind(InfoPortKind::Vrf)))
}

/// Whether a link is a VRF.
fn is_vrf(message: &LinkMessage) -> bool {
    kind(message).is_some_and(|kind| kind == VRF)
}

/// IFLA_IFNAME.
fn name(message: LinkMessage) -> Option<String> {
    message.attributes.into_iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name),
        _ => None,
    })
}

/// IFLA_LINKINFO.
fn infos(message: &LinkMessage) -> impl Iterator<Item = &LinkInfo> {
    message.attributes.iter().flat_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => infos.as_slice(),
        _ => &[],
    })
}

/// The number of the interface whose wire a link uses, as [`Link::shares_wire_with`].
///
/// - **Source**: `linux/if_link.h`, IFLA_MASTER, IFLA_INFO_SLAVE_KIND, IFLA_LINK and IFLA_LINK_NETNSID.
pub(super) fn shares_wire_with(message: &LinkMessage) -> Option<u32> {
    let (mut master, mut below, mut is_below_elsewhere) = (None, None, false);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Controller(index) => master = Some(*index),
            LinkAttribute::Link(index) => below = Some(*index),
            LinkAttribute::LinkNetNsId(_) => is_below_elsewhere = true,
            _ => {}
        }
    }
    // The other end of a tunnel or of a veth pair is no wire.
    let is_stacked = || kind(message).is_some_and(|kind| STACKED.contains(&kind.as_str()));
    // A VRF sends nothing itself.
    master.filter(|_| !is_in_vrf(message)).or_else(|| below.filter(|_| !is_below_elsewhere && is_stacked()))
}

/// Whether a link carries packets.
///
/// By its carrier, which is there at once: the kernel says IFF_RUNNING up to a second later.
///
/// - **Source**: netdevice(7), IFF_UP, IFF_LOWER_UP and IFF_DORMANT.
pub(super) fn carries(message: &LinkMessage) -> bool {
    let flags = message.header.flags;
    flags.contains(LinkFlags::Up | LinkFlags::LowerUp) && !flags.contains(LinkFlags::Dormant)
}

impl Netlink {
    /// The interface with this number.
    ///
    /// - **Errors**: there is none, or the kernel's error.
    pub async fn link(&self, index: u32) -> Result<Link, KernelFailure> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        self.get_link(message, format!("interface {index}")).await
    }

    /// The interface with this name.
    ///
    /// - **Errors**: there is none, or the kernel's error.
    pub async fn link_by_name(&self, name: &str) -> Result<Link, KernelFailure> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        self.get_link(message, name.to_owned()).await
    }

    /// All links of the namespace.
    ///
    /// - **Errors**: the kernel's.
    pub(super) async fn links(&self) -> Result<impl Iterator<Item = LinkMessage>, KernelFailure> {
        let message = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let object = "all interfaces".to_owned();
        let request = NetlinkRequest { call: "RTM_GETLINK", object, message, kind: NetlinkRequestKind::Dump };
        Ok(self.request(request).await?.into_iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewLink(link) => Some(link),
            _ => None,
        }))
    }

    /// The names of all links that carry packets, without loopback.
    ///
    /// - **Errors**: the kernel's.
    pub(crate) async fn carrying_links(&self) -> Result<Vec<String>, KernelFailure> {
        let is_loopback = |link: &LinkMessage| link.header.flags.contains(LinkFlags::Loopback);
        let carrying = self.links().await?.filter(|link| carries(link) && !is_loopback(link));
        Ok(carrying.filter_map(name).collect())
    }

    async fn get_link(&self, message: LinkMessage, object: String) -> Result<Link, KernelFailure> {
        let call = "RTM_GETLINK";
        let message = RouteNetlinkMessage::GetLink(message);
        let request = NetlinkRequest { call, object: object.clone(), message, kind: NetlinkRequestKind::Get };
        let RouteNetlinkMessage::NewLink(message) = self.request_one(request).await? else {
            return Err(KernelCall(call).unexpected(object, AnswerProblem::NotALink));
        };
        let (index, carries) = (message.header.index, carries(&message));
        let (shares_wire_with, is_vrf) = (shares_wire_with(&message), is_vrf(&message));
        let (name, mtu) = (String::new(), Bytes::ZERO);
        let mut link = Link { index, name, mtu, speed: None, carries, shares_wire_with, is_vrf };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Mtu(mtu) => link.mtu = Bytes::new(u64::from(mtu)),
                _ => {}
            }
        }
        link.speed = speed(&link);
        Ok(link)
    }
}

/// The names of the VRFs of this thread's namespace.
///
/// - **Errors**: the kernel's.
pub fn vrfs() -> Result<BTreeSet<String>, KernelFailure> {
    let message = RouteNetlinkMessage::GetLink(LinkMessage::default());
    let object = "all interfaces".to_owned();
    let request = NetlinkRequest { call: "RTM_GETLINK", object, message, kind: NetlinkRequestKind::Dump };
    let names = BlockingNetlink::open()?.dump(request)?.into_iter().filter_map(|message| match message {
        RouteNetlinkMessage::NewLink(link) if is_vrf(&link) => name(link),
        _ => None,
    });
    Ok(names.collect())
}

/// What the kernel reports of the speed of an interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReportedSpeed {
    /// The speed; `None` where the driver reports none.
    pub speed: Option<Rate>,
    /// Whether no device is behind the interface: the speed is then a constant of the driver, or that of another link.
    pub is_virtual: bool,
}

impl ReportedSpeed {
    /// The speed of the interface with this name, if there is one that can be seen.
    ///
    /// - **Source**: sysfs, `/sys/class/net/NAME/speed` and `device`.
    pub fn of(name: &str) -> Option<Self> {
        let directory = Path::new("/sys/class/net").join(name);
        directory
            .join("ifindex")
            .exists()
            .then(|| Self { speed: speed_in(&directory), is_virtual: !directory.join("device").exists() })
    }
}

/// The interfaces that send the packets of another one: the device of a VLAN or a macvlan, the ports of a bridge, the
/// members of a bond. None where there is no such interface that can be seen.
///
/// - **Source**: sysfs, `/sys/class/net/NAME/lower_*`.
pub fn lower_interfaces(name: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(Path::new("/sys/class/net").join(name)) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut lower: Vec<_> =
        names.filter_map(|entry| Some(entry.strip_prefix("lower_")?.to_owned())).collect();
    lower.sort_unstable();
    lower
}

/// The bridge or the bond that an interface is a port of; `None` where there is none that can be seen.
///
/// - **Source**: sysfs, `/sys/class/net/NAME/master`, and in that directory `bridge` or `bonding`.
pub fn bridge_of(name: &str) -> Option<String> {
    let master = Path::new("/sys/class/net").join(name).join("master");
    let sends = master.join("bridge").exists() || master.join("bonding").exists();
    let target = std::fs::read_link(&master).ok().filter(|_| sends)?;
    Some(target.file_name()?.to_str()?.to_owned())
}

/// The speed that the kernel reports in Mbit/s. A link without one reports -1 or 0.
fn speed_in(directory: &Path) -> Option<Rate> {
    let megabits = std::fs::read_to_string(directory.join("speed")).ok()?.trim().parse::<u64>().ok()?;
    (megabits > 0 && megabits < u64::from(u32::MAX)).then(|| Rate::from_mbit(megabits))
}

/// The rate of a link, which the kernel reports; `None` for a link without one.
fn speed(link: &Link) -> Option<Rate> {
    let directory = Path::new("/sys/class/net").join(&link.name);
    let index = std::fs::read_to_string(directory.join("ifindex")).ok()?;
    // The file system may show another namespace, where the name means another interface.
    if index.trim().parse() != Ok(link.index) {
        return None;
    }
    speed_in(&directory)
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_route::link::InfoKind;

    use super::*;

    /// The wire of a port of interface 7, whose kind the kernel names.
    #[track_caller]
    fn check(name: &str, port: Option<InfoPortKind>, expected: Option<u32>) {
        let mut message = LinkMessage::default();
        let infos = [LinkInfo::Kind(InfoKind::Veth)].into_iter().chain(port.map(LinkInfo::PortKind));
        message.attributes = vec![
            LinkAttribute::Controller(7),
            LinkAttribute::Link(3),
            LinkAttribute::LinkInfo(infos.collect()),
        ];
        assert_eq!(shares_wire_with(&message), expected, "{name}");
        assert!(!is_vrf(&message), "{name}");
    }

    #[test]
    fn a_vrf_is_no_wire_of_the_interfaces_in_it() {
        check("a bridge", Some(InfoPortKind::Bridge), Some(7));
        check("a bond", Some(InfoPortKind::Bond), Some(7));
        check("a master of a kind that is not named", None, Some(7));
        check("a VRF", Some(InfoPortKind::Vrf), None);
        let mut message = LinkMessage::default();
        message.attributes = vec![LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Vrf)])];
        assert!(is_vrf(&message));
    }
}
