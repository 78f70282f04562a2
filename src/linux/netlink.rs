//! rtnetlink: links, routes and traffic control.

use std::net::IpAddr;
use std::time::Duration;

use flowspec::{Bytes, Rate};
use futures_util::{StreamExt, TryStreamExt};
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_core::{
    DefaultNla, Emitable, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_ECHO, NLM_F_EXCL, NLM_F_REQUEST,
    NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute};
use rtnetlink::packet_route::tc::{TcAttribute, TcHandle, TcMessage, TcStats2};
use rtnetlink::sys::AsyncSocket as _;

use super::error;
use crate::failure::{Cause, KernelFailure};
use crate::tc::{Bfifo, Change, Handle, HtbClass, HtbRoot, Op};

/// A connection to the kernel's routing and traffic control, in the namespace of the thread that
/// opened it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Netlink {
    handle: rtnetlink::Handle,
}

/// A network interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// The largest IP datagram it carries.
    pub mtu: Bytes,
    /// What the kernel says it carries.
    pub speed: Option<Rate>,
}

/// Where packets to an address leave.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Route {
    /// The interface's number.
    pub index: u32,
    /// The address they come from, where the kernel names one.
    pub source: Option<IpAddr>,
}

/// What stands at the root of an interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RootQdisc {
    /// The kernel's default: it has no handle.
    Default,
    /// An HTB.
    Htb(HtbRoot),
    /// Something else: its kind and handle.
    Other(String, Handle),
}

/// A class with the kernel's counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClassState {
    /// The class as the kernel has it.
    pub class: HtbClass,
    /// Bytes that left through it, link headers included.
    pub sent_bytes: u64,
    /// Packets that left through it.
    pub sent_packets: u32,
    /// Packets it dropped.
    pub dropped: u32,
    /// Packets that wait in it.
    pub queued: u32,
}

/// How long the kernel may take for an answer: a reply that is lost must not be waited for for ever.
const PATIENCE: Duration = Duration::from_secs(10);

impl Netlink {
    /// Opens a connection and lets the current tokio runtime serve it.
    ///
    /// - **Errors**: `socket` or `bind`.
    pub fn open() -> Result<Self, KernelFailure> {
        let (mut connection, handle, _) = rtnetlink::new_connection()
            .map_err(|error| KernelFailure::new("socket", "NETLINK_ROUTE", error))?;
        // Explanations follow the repeated request in an acknowledgement, which is only its header by the first of
        // these options. A kernel older than 4.12 explains nothing.
        let socket = connection.socket_mut().socket_mut();
        if socket.set_cap_ack(true).is_ok() {
            let _ = socket.set_ext_ack(true);
        }
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// The library's own handle, for what this type has no name for.
    pub(super) const fn handle(&self) -> &rtnetlink::Handle {
        &self.handle
    }

    /// An interface by its number.
    ///
    /// - **Errors**: there is none, or the kernel's error.
    pub async fn link(&self, index: u32) -> Result<Link, KernelFailure> {
        let object = format!("interface {index}");
        let messages = self.handle.link().get().match_index(index).execute();
        Self::one_link(messages, &object).await
    }

    /// An interface by its name.
    ///
    /// - **Errors**: there is none, or the kernel's error.
    pub async fn link_by_name(&self, name: &str) -> Result<Link, KernelFailure> {
        let messages = self.handle.link().get().match_name(name).execute();
        Self::one_link(messages, name).await
    }

    async fn one_link(
        messages: impl futures_util::Stream<Item = Result<LinkMessage, rtnetlink::Error>>,
        object: &str,
    ) -> Result<Link, KernelFailure> {
        let messages = std::pin::pin!(messages);
        let message = in_time(GET_LINK, object, messages.into_future()).await?.0;
        let message = message.ok_or_else(|| KernelFailure::unexpected(GET_LINK, object, "no answer"))?;
        let message = message.map_err(|failure| error::rtnetlink(GET_LINK, object, failure))?;
        let mut link =
            Link { index: message.header.index, name: String::new(), mtu: Bytes::ZERO, speed: None };
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

    /// The interface by which packets to this address leave.
    ///
    /// - **Errors**: `ENETUNREACH` and the like, as the kernel gives them.
    pub async fn route(&self, peer: IpAddr) -> Result<Route, KernelFailure> {
        let object = format!("to {peer}");
        let message = match peer.to_canonical() {
            IpAddr::V4(v4) => {
                RouteMessageBuilder::<std::net::Ipv4Addr>::new().destination_prefix(v4, 32).build()
            }
            IpAddr::V6(v6) => {
                RouteMessageBuilder::<std::net::Ipv6Addr>::new().destination_prefix(v6, 128).build()
            }
        };
        let mut routes = std::pin::pin!(self.handle.route().get(message).execute());
        let route = in_time(GET_ROUTE, &object, routes.try_next()).await?;
        let route = route.map_err(|failure| error::rtnetlink(GET_ROUTE, &object, failure))?;
        let route = route.ok_or_else(|| KernelFailure::unexpected(GET_ROUTE, &object, "no answer"))?;
        let (mut index, mut source) = (None, None);
        for attribute in route.attributes {
            match attribute {
                RouteAttribute::Oif(oif) => index = Some(oif),
                RouteAttribute::PrefSource(RouteAddress::Inet(v4)) => source = Some(IpAddr::V4(v4)),
                RouteAttribute::PrefSource(RouteAddress::Inet6(v6)) => source = Some(IpAddr::V6(v6)),
                _ => {}
            }
        }
        let index = index
            .ok_or_else(|| KernelFailure::unexpected(GET_ROUTE, &object, "no interface in the answer"))?;
        Ok(Route { index, source })
    }

    /// What stands at the root of an interface.
    ///
    /// - **Errors**: the kernel's.
    pub async fn root(&self, index: u32) -> Result<RootQdisc, KernelFailure> {
        let object = format!("interface {index}");
        let request =
            RouteNetlinkMessage::GetQueueDiscipline(header(index, Handle::default(), Handle::default()));
        for message in self.request("RTM_GETQDISC", &object, request, NLM_F_DUMP).await? {
            // Dumps are not filtered by interface.
            let RouteNetlinkMessage::NewQueueDiscipline(message) = message else { continue };
            if message.header.index != index.cast_signed() || handle_of(message.header.parent) != Handle::ROOT
            {
                continue;
            }
            let handle = handle_of(message.header.handle);
            let kind = kind(&message);
            if handle.major() == 0 {
                return Ok(RootQdisc::Default);
            }
            if kind != HtbRoot::KIND {
                return Ok(RootQdisc::Other(kind.to_owned(), handle));
            }
            let root = HtbRoot::parse(handle, &options(&message));
            let root = root.map_err(|error| KernelFailure::unexpected("RTM_GETQDISC", &object, error))?;
            return Ok(RootQdisc::Htb(root));
        }
        Ok(RootQdisc::Default)
    }

    /// All HTB classes of an interface.
    ///
    /// - **Errors**: the kernel's, or a structure that cannot be read.
    pub async fn classes(&self, index: u32) -> Result<Vec<ClassState>, KernelFailure> {
        let object = format!("interface {index}");
        let request =
            RouteNetlinkMessage::GetTrafficClass(header(index, Handle::default(), Handle::default()));
        let messages = self.request(GET_CLASS, &object, request, NLM_F_DUMP).await?;
        messages.iter().filter_map(|message| class_state(message, &object).transpose()).collect()
    }

    /// One class, if it is there.
    ///
    /// - **Errors**: the kernel's other than `ENOENT`, or a structure that cannot be read.
    pub async fn class(&self, index: u32, handle: Handle) -> Result<Option<ClassState>, KernelFailure> {
        let object = format!("class {handle} of interface {index}");
        let request = RouteNetlinkMessage::GetTrafficClass(header(index, handle, Handle::default()));
        // Without ECHO, kernels that count their listeners answer with an acknowledgement alone.
        match self.request(GET_CLASS, &object, request, NLM_F_ACK | NLM_F_ECHO).await {
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
            Ok(messages) => {
                let mut states =
                    messages.iter().filter_map(|message| class_state(message, &object).transpose());
                states.next().transpose()
            }
        }
    }

    /// Carries out a change: all of it, or none. What was done is read back.
    ///
    /// - **Errors**: the first operation that failed; those before it have been undone.
    pub async fn apply(&self, index: u32, change: &Change) -> Result<(), KernelFailure> {
        let mut done: Vec<&Op> = Vec::new();
        for op in &change.ops {
            let mut result = self.carry_out(index, op).await;
            if result.is_ok() {
                done.push(op);
                result = self.verify(index, op).await;
            }
            if let Err(error) = result {
                for undo in done.into_iter().rev().filter_map(Op::undo) {
                    // What cannot be undone is gone already: the first error is the one to tell.
                    let _ = self.carry_out(index, &undo).await;
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Makes a qdisc of any kind from its TCA_OPTIONS. A handle of zero lets the kernel choose.
    ///
    /// - **Errors**: the kernel's.
    pub async fn add_qdisc(
        &self,
        index: u32,
        parent: Handle,
        handle: Handle,
        kind: &str,
        options: Vec<u8>,
    ) -> Result<(), KernelFailure> {
        let object = format!("tc qdisc add parent {parent} {kind} on interface {index}");
        let message = with_options(header(index, handle, parent), kind, options);
        let request = RouteNetlinkMessage::NewQueueDiscipline(message);
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        self.request("RTM_NEWQDISC", &object, request, flags).await.map(drop)
    }

    async fn carry_out(&self, index: u32, op: &Op) -> Result<(), KernelFailure> {
        let object = format!("tc {op} on interface {index}");
        let encoded = |class: &HtbClass| {
            class.options().map_err(|error| KernelFailure::unexpected("encode", &object, error))
        };
        let add = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        let root = |root: &HtbRoot| header(index, root.handle, Handle::ROOT);
        let at = |class: &HtbClass| header(index, class.handle, class.parent);
        let (call, request, flags) = match op {
            Op::AddRoot(htb) => {
                let message = with_options(root(htb), HtbRoot::KIND, htb.options());
                ("RTM_NEWQDISC", RouteNetlinkMessage::NewQueueDiscipline(message), add)
            }
            Op::DeleteRoot(htb) => {
                ("RTM_DELQDISC", RouteNetlinkMessage::DelQueueDiscipline(root(htb)), NLM_F_ACK)
            }
            Op::AddClass(class) => {
                let message = with_options(at(class), HtbRoot::KIND, encoded(class)?);
                ("RTM_NEWTCLASS", RouteNetlinkMessage::NewTrafficClass(message), add)
            }
            Op::ChangeClass { to, .. } => {
                let message = with_options(at(to), HtbRoot::KIND, encoded(to)?);
                ("RTM_NEWTCLASS", RouteNetlinkMessage::NewTrafficClass(message), NLM_F_ACK)
            }
            Op::DeleteClass(class) => {
                ("RTM_DELTCLASS", RouteNetlinkMessage::DelTrafficClass(at(class)), NLM_F_ACK)
            }
            Op::AddQueue { parent, queue } => {
                return self.add_qdisc(index, *parent, Handle::default(), Bfifo::KIND, queue.options()).await;
            }
        };
        self.request(call, &object, request, flags).await.map(drop)
    }

    /// Reads back what an operation made.
    async fn verify(&self, index: u32, op: &Op) -> Result<(), KernelFailure> {
        let wrong = |found: String| {
            let object = format!("tc {op} on interface {index}");
            Err(KernelFailure::unexpected("read back", object, found))
        };
        match op {
            Op::AddRoot(root) => match self.root(index).await? {
                RootQdisc::Htb(found) if (found.handle, found.default) == (root.handle, root.default) => {
                    Ok(())
                }
                found => wrong(format!("the kernel has {found:?}")),
            },
            Op::AddClass(class) | Op::ChangeClass { to: class, .. } => {
                let found = self.class(index, class.handle).await?.map(|state| state.class);
                match (found, class.as_kept()) {
                    (Some(found), Ok(kept)) if same(&found, &kept) => Ok(()),
                    (found, _) => wrong(format!("the kernel has {found:?}")),
                }
            }
            Op::DeleteRoot(_) | Op::DeleteClass(_) | Op::AddQueue { .. } => Ok(()),
        }
    }

    /// Sends a request and collects its answers until the last.
    async fn request(
        &self,
        call: &'static str,
        object: &str,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<RouteNetlinkMessage>, KernelFailure> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | flags;
        let mut handle = self.handle.clone();
        let mut answers =
            handle.request(request).map_err(|failure| error::rtnetlink(call, object, failure))?;
        let collect = async {
            let mut messages = Vec::new();
            while let Some(answer) = answers.next().await {
                match answer.payload {
                    NetlinkPayload::InnerMessage(message) => messages.push(message),
                    NetlinkPayload::Error(error) if error.code.is_some() => {
                        return Err(KernelFailure::new(call, object, error::refused(&error)));
                    }
                    NetlinkPayload::Overrun(_) => {
                        return Err(KernelFailure::unexpected(
                            call,
                            object,
                            "the kernel lost part of the answer",
                        ));
                    }
                    _ => {}
                }
            }
            Ok(messages)
        };
        in_time(call, object, collect).await?
    }
}

const GET_LINK: &str = "RTM_GETLINK";
const GET_ROUTE: &str = "RTM_GETROUTE";
const GET_CLASS: &str = "RTM_GETTCLASS";

async fn in_time<T>(
    call: &'static str,
    object: &str,
    answer: impl Future<Output = T>,
) -> Result<T, KernelFailure> {
    let timeout = |_| KernelFailure::new(call, object, Cause::Timeout { seconds: PATIENCE.as_secs() });
    tokio::time::timeout(PATIENCE, answer).await.map_err(timeout)
}

fn header(index: u32, handle: Handle, parent: Handle) -> TcMessage {
    let mut message = TcMessage::default();
    message.header.index = index.cast_signed();
    message.header.handle = TcHandle::from(handle.to_u32());
    message.header.parent = TcHandle::from(parent.to_u32());
    message
}

fn with_options(mut message: TcMessage, kind: &str, options: Vec<u8>) -> TcMessage {
    message.attributes.push(TcAttribute::Kind(kind.to_owned()));
    // As raw bytes: packet-route would nest options of kinds it does not know twice.
    message.attributes.push(TcAttribute::Other(DefaultNla::new(TCA_OPTIONS, options)));
    message
}

const TCA_OPTIONS: u16 = 2;

fn handle_of(handle: TcHandle) -> Handle {
    Handle::from_u32(u32::from(handle))
}

fn kind(message: &TcMessage) -> &str {
    let mut kinds = message.attributes.iter().filter_map(|attribute| match attribute {
        TcAttribute::Kind(kind) => Some(kind.as_str()),
        _ => None,
    });
    kinds.next().unwrap_or_default()
}

/// The bytes of TCA_OPTIONS. packet-route gives options of kinds it does not know as one attribute
/// that holds them all.
fn options(message: &TcMessage) -> Vec<u8> {
    let mut bytes = Vec::new();
    for attribute in &message.attributes {
        if let TcAttribute::Options(options) = attribute {
            let mut emitted = vec![0; options.as_slice().buffer_len()];
            options.as_slice().emit(&mut emitted);
            // Its header is that of TCA_OPTIONS itself.
            bytes = emitted.split_off(4.min(emitted.len()));
        }
    }
    bytes
}

fn class_state(message: &RouteNetlinkMessage, object: &str) -> Result<Option<ClassState>, KernelFailure> {
    let RouteNetlinkMessage::NewTrafficClass(message) = message else { return Ok(None) };
    if kind(message) != HtbRoot::KIND {
        return Ok(None);
    }
    let handle = handle_of(message.header.handle);
    // A class at the top reports the root as its parent: it is its qdisc's.
    let parent = match handle_of(message.header.parent) {
        Handle::ROOT => Handle::new(handle.major(), 0),
        parent => parent,
    };
    let class = HtbClass::parse(handle, parent, &options(message))
        .map_err(|error| KernelFailure::unexpected(GET_CLASS, object, error))?;
    let mut state = ClassState { class, sent_bytes: 0, sent_packets: 0, dropped: 0, queued: 0 };
    for attribute in &message.attributes {
        let TcAttribute::Stats2(stats) = attribute else { continue };
        for stats in stats {
            match stats {
                TcStats2::Basic(basic) => {
                    (state.sent_bytes, state.sent_packets) = (basic.bytes, basic.packets);
                }
                TcStats2::Queue(queue) => (state.dropped, state.queued) = (queue.drops, queue.qlen),
                _ => {}
            }
        }
    }
    Ok(Some(state))
}

/// Whether the kernel has what was asked for. It keeps no `prio` for a class with children.
fn same(found: &HtbClass, asked: &HtbClass) -> bool {
    HtbClass { prio: asked.prio, ..*found } == *asked
}

/// The link speed, which the kernel reports in Mbit/s; nothing for what has none.
fn speed(link: &Link) -> Option<Rate> {
    let directory = std::path::Path::new("/sys/class/net").join(&link.name);
    let read = |file| std::fs::read_to_string(directory.join(file)).ok()?.trim().parse::<u64>().ok();
    // The file system may show another namespace, where the name means another interface.
    if read("ifindex") != Some(u64::from(link.index)) {
        return None;
    }
    read("speed").filter(|&megabits| megabits > 0 && megabits < 1 << 32).map(Rate::from_mbit)
}
