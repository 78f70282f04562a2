//! System calls and netlink requests: the only module that names nix and rtnetlink.
//!
//! Takes values (operations, addresses, options) and returns values, or a
//! [`KernelFailure`](crate::failure::KernelFailure) with the call, its object and the error number. Knows no policy
//! and no flows. Its only locks are inside of a [`Netlink`], for the calls that share it.
//!
//! The types, by purpose:
//!
//! - **netlink**: [`Netlink`] is a connection; it returns [`Link`], [`Route`] (for a [`RouteQuery`]), [`RootState`]
//!   and [`ClassState`], and [`LinkEvents`] report links that go up and down;
//! - **interfaces**: [`Claim`] is the right to program an interface; [`Ingress`] is the ingress qdisc of an
//!   interface;
//! - **inspection**: [`features`] tries the features of the kernel; [`LinkDetails`] are all attributes of a link that
//!   are reported;
//! - **sockets**: [`socket`] sets their class, code point and segment size, and reads how they frame data; [`peer`]
//!   reads the state of their peers;
//! - **descriptors**: [`send_with_descriptor`] passes a socket to another process;
//! - **other programs' sockets**: [`classify_cgroup`] classifies the packets of a control group, and
//!   [`Netlink::classify_flow`] the packets of one flow; a [`PassedSocket`] is a socket that another process has
//!   passed, and [`SocketEnds`] reports its end;
//! - **local sockets**: [`LocalPeer`] is the process at the other end, [`receive`] receives descriptors with the
//!   bytes;
//! - **this process**: [`owner`] is its user, group and control group, [`namespace`] its network namespaces,
//!   [`system_id`] the boot of the machine; [`confine`] drops unneeded privileges; [`end_with_parent`] ends the
//!   process when its parent ends;
//! - **files**: [`FileWatch`] wakes when files in a directory change;
//! - **measuring**: [`capture`] records packets at a device;
//! - **faults**: [`Faults`] makes system calls of a connection fail, for tests;
//! - **the lab**: [`Veth`] and [`NewQdisc`] are the parts of its networks.
//!
//! The order of calls for an interface: [`Netlink::open`]; [`Netlink::watch_links`], so that no change is missed;
//! [`Netlink::link`] or [`Netlink::route`]; [`Claim::interface`]; [`Netlink::root`] or [`Netlink::observe`]; then
//! [`Netlink::apply`] for each change, one at a time on an interface. Calls on different interfaces may run at the same
//! time.

mod apply;
mod attach;
mod blocking;
pub mod capture;
mod cgroup;
mod claim;
mod clock;
mod confine;
mod descriptors;
mod error;
pub mod features;
mod file_watch;
mod filters;
mod inspect;
mod leaving;
mod links;
mod local_socket;
mod monitor;
pub mod namespace;
mod netlink;
mod owner;
mod parent;
pub mod peer;
mod process_option;
mod receiving;
mod receiving_state;
mod request;
mod route_events;
mod routes;
mod saved;
mod saved_file;
mod saved_object;
mod serve;
pub mod service_manager;
pub mod socket;
mod socket_ends;
mod socket_option;
mod system;
mod topology;
mod traffic;
mod transport;

pub use attach::{NotASocket, PassedSocket, ProcessDescriptor, random_name, socket_of_process};
pub use cgroup::{CgroupClass, classify_cgroup, release_cgroup};
pub use claim::Claim;
pub use clock::uptime;
pub use confine::{AllowedPaths, Confinement, ConfinementOffer, DescriptorTaker, confine};
pub use descriptors::send_with_descriptor;
pub use file_watch::FileWatch;
pub use filters::FoundFilter;
pub use inspect::{LinkDetails, Offloads};
pub use links::{Link, ReportedSpeed, bridge_of, lower_interfaces, vrfs};
pub(crate) use local_socket::receive_next;
pub use local_socket::{LocalPeer, Received, receive};
pub use monitor::{LinkEvent, LinkEvents, LinkState};
pub use netlink::Netlink;
pub use owner::{ProcessOwner, group_id, owner};
pub use parent::{ParentEnd, end_with_parent};
pub use receiving::{Ingress, ReceivingLinks};
pub use route_events::RouteEvents;
pub use routes::{Ports, Route, RouteQuery, RouteSelectors};
pub use saved::{NotSavable, SavedTree};
pub use saved_file::{KeptRoot, RUNTIME_DIRECTORY};
pub use socket_ends::{EndedSockets, SocketEnds, live_sockets, socket_priorities};
pub use system::system_id;
pub use topology::Veth;
pub use traffic::{ClassState, NewQdisc, RootState};
pub use transport::{Faults, ReceiveFault};
