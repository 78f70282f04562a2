//! Changes of links: up, down, deleted.

use std::pin::Pin;

use futures_util::{Stream, StreamExt};
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::LinkFlags;

use super::netlink::Netlink;
use crate::failure::KernelFailure;

/// A link has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LinkEvent {
    /// The number of its interface.
    pub index: u32,
    /// Whether it carries packets: it is up, and its other end is connected.
    pub carries: bool,
}

/// Changes of links, as the kernel reports them. Some are lost where they come faster than they are read.
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
        let events = messages.filter_map(|(message, _)| async { link_event(message.payload) });
        Ok(LinkEvents(Box::pin(events)))
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
