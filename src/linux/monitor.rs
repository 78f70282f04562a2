//! Changes of links: up, down, deleted.

use std::pin::Pin;

use futures_util::{Stream, StreamExt, stream};
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{LinkFlags, LinkMessage};

use super::netlink::Netlink;
use super::request::{Kind, NetlinkRequest};
use crate::failure::KernelFailure;

/// A link has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LinkEvent {
    /// The number of its interface.
    pub index: u32,
    /// Whether it carries packets: it is up, and its other end is connected.
    pub carries: bool,
}

/// Changes of links, as the kernel reports them.
///
/// Where they come faster than they are read, the kernel loses some: then every link there is follows as an event.
pub struct LinkEvents(Pin<Box<dyn Stream<Item = LinkEvent> + Send>>);

impl LinkEvents {
    /// The next change; `None` once the kernel reports no more.
    pub async fn next(&mut self) -> Option<LinkEvent> {
        self.0.next().await
    }
}

impl Netlink {
    /// Watches the links in the namespace of the calling thread.
    ///
    /// - **Errors**: `socket` or `bind`.
    /// - **Source**: rtnetlink(7), RTNLGRP_LINK.
    pub fn watch_links(&self) -> Result<LinkEvents, KernelFailure> {
        let (connection, _, messages) = rtnetlink::new_multicast_connection(&[MulticastGroup::Link])
            .map_err(|error| KernelFailure::new("bind", "NETLINK_ROUTE, RTNLGRP_LINK", error))?;
        tokio::spawn(connection);
        let netlink = self.clone();
        let events = messages.then(move |(message, _)| {
            let netlink = netlink.clone();
            async move {
                match message.payload {
                    // An error leaves the links as they were last reported.
                    NetlinkPayload::Overrun(_) => netlink.link_states().await.unwrap_or_default(),
                    payload => link_event(payload).into_iter().collect(),
                }
            }
        });
        Ok(LinkEvents(Box::pin(events.flat_map(stream::iter))))
    }

    /// Every link, as an event that makes it what it is.
    ///
    /// - **Errors**: the kernel's.
    pub async fn link_states(&self) -> Result<Vec<LinkEvent>, KernelFailure> {
        let message = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let object = "all interfaces".to_owned();
        let request = NetlinkRequest { call: "RTM_GETLINK", object, message, kind: Kind::Dump };
        let links = self.request(request).await?.into_iter();
        Ok(links.filter_map(|link| link_event(NetlinkPayload::InnerMessage(link))).collect())
    }
}

fn link_event(payload: NetlinkPayload<RouteNetlinkMessage>) -> Option<LinkEvent> {
    let NetlinkPayload::InnerMessage(message) = payload else { return None };
    match message {
        RouteNetlinkMessage::NewLink(link) => {
            let carries = link.header.flags.contains(LinkFlags::Up | LinkFlags::Running);
            Some(LinkEvent { index: link.header.index, carries })
        }
        RouteNetlinkMessage::DelLink(link) => Some(LinkEvent { index: link.header.index, carries: false }),
        _ => None,
    }
}
