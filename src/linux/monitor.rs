//! Changes of links, and changes of traffic control by other programs.

use std::pin::Pin;
use std::time::Duration;

use flowspec::Bytes;
use futures_util::{Stream, StreamExt, stream};
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use tokio::sync::mpsc;

use super::links::carries;
use super::netlink::{Messages, Netlink};
use crate::failure::KernelFailure;

/// A link as the kernel reports it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LinkState {
    /// The number of its interface.
    pub index: u32,
    /// IFLA_IFNAME.
    pub name: String,
    /// The largest IP datagram that it carries.
    pub mtu: Bytes,
    /// Whether it carries packets: it is up, and its other end is connected.
    pub carries: bool,
}

/// Something has changed.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum LinkEvent {
    /// RTM_NEWLINK: a link is new, or one of its attributes has changed.
    Changed(LinkState),
    /// A link was deleted, or moved to another namespace.
    Gone {
        /// The number of its interface.
        index: u32,
    },
    /// Every link there is: changes came faster than they were read, and the kernel has lost some.
    All(Vec<LinkState>),
    /// A qdisc, a class or a filter of an interface was changed, not by this process's connection.
    Traffic {
        /// The number of the interface.
        index: u32,
    },
}

/// Changes as the kernel reports them.
pub struct LinkEvents(Pin<Box<dyn Stream<Item = LinkEvent> + Send>>);

impl LinkEvents {
    /// The changes that a channel carries, for a kernel of a test.
    pub fn of_channel(changes: mpsc::UnboundedReceiver<LinkEvent>) -> Self {
        let next = |mut changes: mpsc::UnboundedReceiver<LinkEvent>| async move {
            let event = changes.recv().await?;
            Some((event, changes))
        };
        Self(Box::pin(stream::unfold(changes, next)))
    }

    /// The next change; `None` once the kernel reports no more.
    pub async fn next(&mut self) -> Option<LinkEvent> {
        self.0.next().await
    }
}

/// The groups of RTNLGRP_LINK and RTNLGRP_TC, as bits.
const GROUPS: u32 = 0b1001;

/// The pause before what has failed is tried again.
const PAUSE: Duration = Duration::from_millis(50);

impl Netlink {
    /// Watches the links and the traffic control in the namespace of the connection.
    ///
    /// - **Errors**: `socket` or `bind`.
    /// - **Source**: rtnetlink(7), RTNLGRP_LINK and RTNLGRP_TC.
    pub fn watch_links(&self) -> Result<LinkEvents, KernelFailure> {
        let watch = LinkSubscription { netlink: self.clone(), messages: Some(self.subscribe(GROUPS)?) };
        Ok(LinkEvents(Box::pin(stream::unfold(watch, LinkSubscription::next))))
    }

    /// Every link there is.
    ///
    /// - **Errors**: the kernel's.
    pub async fn link_states(&self) -> Result<Vec<LinkState>, KernelFailure> {
        Ok(self.links().await?.map(state).collect())
    }
}

/// A subscription, which is made again when it ends.
struct LinkSubscription {
    netlink: Netlink,
    /// `None` where it has ended.
    messages: Option<Messages>,
}

impl LinkSubscription {
    async fn next(mut self) -> Option<(LinkEvent, Self)> {
        loop {
            let event = match &mut self.messages {
                Some(messages) => match messages.next().await {
                    Some((message, _)) => event(&self.netlink, message).await,
                    None => {
                        self.messages = None;
                        None
                    }
                },
                None => match self.netlink.subscribe(GROUPS) {
                    Ok(messages) => {
                        self.messages = Some(messages);
                        Some(all(&self.netlink).await)
                    }
                    Err(_) => {
                        tokio::time::sleep(PAUSE).await;
                        None
                    }
                },
            };
            if let Some(event) = event {
                return Some((event, self));
            }
        }
    }
}

async fn event(netlink: &Netlink, message: NetlinkMessage<RouteNetlinkMessage>) -> Option<LinkEvent> {
    let is_own = netlink.is_own(message.header.port_number);
    let message = match message.payload {
        NetlinkPayload::InnerMessage(message) => message,
        NetlinkPayload::Overrun(_) => return Some(all(netlink).await),
        _ => return None,
    };
    match message {
        // Ports of bridges are reported as links of another family.
        RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link)
            if link.header.interface_family != AddressFamily::Unspec =>
        {
            None
        }
        RouteNetlinkMessage::NewLink(link) => Some(LinkEvent::Changed(state(link))),
        RouteNetlinkMessage::DelLink(link) => Some(LinkEvent::Gone { index: link.header.index }),
        RouteNetlinkMessage::NewQueueDiscipline(tc)
        | RouteNetlinkMessage::DelQueueDiscipline(tc)
        | RouteNetlinkMessage::NewTrafficClass(tc)
        | RouteNetlinkMessage::DelTrafficClass(tc)
        | RouteNetlinkMessage::NewTrafficFilter(tc)
        | RouteNetlinkMessage::DelTrafficFilter(tc)
            if !is_own =>
        {
            Some(LinkEvent::Traffic { index: tc.header.index.cast_unsigned() })
        }
        _ => None,
    }
}

/// Every link there is, as soon as the kernel gives them.
async fn all(netlink: &Netlink) -> LinkEvent {
    loop {
        match netlink.link_states().await {
            Ok(states) => return LinkEvent::All(states),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

fn state(link: LinkMessage) -> LinkState {
    let carries = carries(&link);
    let mut state = LinkState { index: link.header.index, name: String::new(), mtu: Bytes::ZERO, carries };
    for attribute in link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => state.name = name,
            LinkAttribute::Mtu(mtu) => state.mtu = Bytes::new(u64::from(mtu)),
            _ => {}
        }
    }
    state
}
