//! What an interface receives: the ifb with its tree, its filters, and the redirect that leads there.
//!
//! The redirect is made last and deleted first: while it leads to a device that is gone, the kernel drops every packet
//! that arrives.

use std::collections::BTreeMap;

use flowspec::Errno;
use rtnetlink::LinkIfb;
use rtnetlink::LinkUnspec;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkInfo, LinkMessage};

use super::netlink::Netlink;
use super::request::{NetlinkRequest, NetlinkRequestKind};
use super::traffic::{NewQdisc, header, with_options};
use crate::failure::KernelFailure;
use crate::tc::{
    Desired, FILTER_PRIORITY, ForeignRoot, Handle, INGRESS, INGRESS_QDISC, ObservedTree, PlacedFilter, Queue,
    ReceivingChange, TooMany, diff, flow_tables, received_by, receiver_name, redirect_to,
};

/// The qdisc of what an interface receives.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ingress {
    /// There is none.
    Absent,
    /// It has gqos's redirect, and nothing else.
    Own,
    /// Another program's. It is never replaced.
    Foreign(ForeignRoot),
}

/// An interface and its ifb, by their numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReceivingLinks {
    /// The ifindex of the interface.
    pub interface: u32,
    /// The ifindex of its ifb, which carries what the interface receives.
    pub ifb: u32,
}

/// The kind in TCA_KIND of the qdisc, and that of all filters.
pub(super) const QDISC: &str = "ingress";
pub(super) const U32: &str = "u32";

/// How often the ifb is set up where an answer is lost.
const ATTEMPTS: usize = 3;

/// How many packets a class of the ifb keeps, as on other links: an ifb's own default is 32.
const QUEUE_LENGTH: u32 = 1000;

impl Netlink {
    /// The qdisc of what an interface receives.
    ///
    /// - **Errors**: the kernel's, or a structure that cannot be read.
    pub async fn ingress(&self, index: u32) -> Result<Ingress, KernelFailure> {
        let queues = self.qdiscs(index).await?.queues;
        let found = queues.into_iter().find(|(parent, _)| *parent == INGRESS);
        let Some((_, Queue::Other(kind))) = found else { return Ok(Ingress::Absent) };
        let is_own = kind == QDISC && {
            let priorities = self.ingress_priorities(index).await?;
            match priorities.is_empty() {
                // A set-up that was cut short has its ifb already.
                true => self.receivers().await?.contains_key(&index),
                false => priorities.iter().all(|priority| *priority == FILTER_PRIORITY),
            }
        };
        Ok(match is_own {
            true => Ingress::Own,
            false => Ingress::Foreign(ForeignRoot { kind, handle: INGRESS_QDISC }),
        })
    }

    async fn ingress_priorities(&self, index: u32) -> Result<Vec<u16>, KernelFailure> {
        let filters = self.filters_below(index, INGRESS_QDISC).await?;
        Ok(filters.into_iter().map(|filter| filter.priority).collect())
    }

    /// The ifbs that gqos has made, by the interfaces that they are for. One with a tree that gqos does not make is another
    /// program's, whatever its name.
    ///
    /// - **Errors**: the kernel's.
    pub async fn receivers(&self) -> Result<BTreeMap<u32, u32>, KernelFailure> {
        let named: Vec<_> = self.links().await?.filter_map(|link| receiver(&link)).collect();
        let mut receivers = BTreeMap::new();
        for (interface, ifb) in named {
            if self.observe(ifb).await?.is_ok_and(|tree| tree.check_layout().is_ok()) {
                receivers.insert(interface, ifb);
            }
        }
        Ok(receivers)
    }

    /// Makes the ifb of an interface with this tree, and redirects to it what the interface receives: all of that or
    /// nothing. What an ended process has left is replaced, and so is the ifb in `links`; 0 where there was none. Gives the
    /// number of the ifb; the qdisc of another program where that has what the interface receives.
    ///
    /// - **Errors**: the kernel's: EOPNOTSUPP where it has no ifb.
    pub async fn set_up_receiving(
        &self,
        links: ReceivingLinks,
        tree: &Desired,
        filters: Vec<PlacedFilter>,
    ) -> Result<Result<u32, ForeignRoot>, KernelFailure> {
        let index = links.interface;
        let ingress = self.ingress(index).await?;
        self.tear_down_receiving(index).await?;
        if links.ifb != 0 && self.is_receiver(links.ifb).await? {
            // It was renamed.
            self.request_change(without_link(links.ifb), KernelFailure::is_absent)
                .await
                .or_else(unless_absent)?;
        }
        if let Ingress::Foreign(foreign) = ingress {
            return Ok(Err(foreign));
        }
        let mut attempts = ATTEMPTS;
        loop {
            attempts -= 1;
            match self.make_receiver(index, (tree, &filters)).await {
                Ok(ifb) => return Ok(Ok(ifb)),
                Err(failure) => {
                    // What has failed first is the error.
                    let torn_down = self.tear_down_receiving(index).await;
                    // An answer was lost: what was made is not known.
                    if failure.errno().is_some() || attempts == 0 || torn_down.is_err() {
                        return Err(failure);
                    }
                }
            }
        }
    }

    async fn make_receiver(
        &self,
        index: u32,
        (tree, filters): (&Desired, &[PlacedFilter]),
    ) -> Result<u32, KernelFailure> {
        let ifb = self.add_ifb(index).await?;
        drop(self.apply(ifb, &diff(tree, &ObservedTree::default())).await?);
        for filter in encoded(flow_tables())?.iter().chain(filters) {
            self.add_filter(ifb, filter).await?;
        }
        let qdisc = NewQdisc { parent: INGRESS, handle: INGRESS_QDISC, kind: QDISC, options: Vec::new() };
        self.add_qdisc(index, qdisc).await?;
        self.add_filter(index, &encoded(redirect_to(ifb))?).await?;
        Ok(ifb)
    }

    /// Deletes the redirect and the ifb of an interface, as far as they are gqos's. Says whether there was anything.
    ///
    /// - **Errors**: the kernel's.
    pub async fn tear_down_receiving(&self, index: u32) -> Result<bool, KernelFailure> {
        let mut found = false;
        match self.ingress(index).await? {
            Ingress::Own => {
                self.request_change(without_ingress(index), KernelFailure::is_absent)
                    .await
                    .or_else(unless_absent)?;
                found = true;
            }
            // Another program has added filters to the qdisc: the redirect alone goes.
            Ingress::Foreign(_) if self.ingress_priorities(index).await?.contains(&FILTER_PRIORITY) => {
                let redirect = encoded(redirect_to(0))?;
                self.delete_filter(index, &redirect).await.or_else(unless_absent)?;
                found = true;
            }
            Ingress::Absent | Ingress::Foreign(_) => {}
        }
        if let Some(ifb) = self.receivers().await?.get(&index) {
            self.request_change(without_link(*ifb), KernelFailure::is_absent).await.or_else(unless_absent)?;
            found = true;
        }
        Ok(found)
    }

    /// The same without a runtime, where both are known to be gqos's: for the end of a program.
    pub fn tear_down_receiving_blocking(&self, links: ReceivingLinks) {
        // What cannot be deleted is replaced by the next engine.
        let _ = self.request_blocking(without_ingress(links.interface));
        let _ = self.request_blocking(without_link(links.ifb));
    }

    /// Applies a change to the tree and the filters of an ifb: all of it, or none.
    ///
    /// - **Errors**: the first failure; what was done before it has been undone.
    pub async fn apply_receiving(&self, ifb: u32, change: &ReceivingChange) -> Result<(), KernelFailure> {
        let ReceivingChange { without, tree, with } = change;
        let mut removed = Vec::new();
        let mut added = Vec::new();
        let applied = async {
            for filter in without {
                self.delete_filter(ifb, filter).await.or_else(unless_absent)?;
                removed.push(filter);
            }
            self.apply(ifb, tree).await.map(drop)
        };
        let mut result = applied.await;
        let is_applied = result.is_ok();
        if is_applied {
            for filter in with {
                result = self.add_filter(ifb, filter).await;
                if result.is_err() {
                    break;
                }
                added.push(filter);
            }
        }
        if result.is_err() {
            // What cannot be undone was another program's doing.
            for filter in added {
                let _ = self.delete_filter(ifb, filter).await;
            }
            if is_applied {
                let _ = self.apply(ifb, &tree.undo()).await;
            }
            for filter in removed {
                let _ = self.add_filter(ifb, filter).await;
            }
        }
        result
    }

    /// Whether this link is an ifb with a tree of gqos.
    async fn is_receiver(&self, ifb: u32) -> Result<bool, KernelFailure> {
        let is_ifb = |link: &LinkMessage| link.header.index == ifb && is_ifb(link);
        if !self.links().await?.any(|link| is_ifb(&link)) {
            return Ok(false);
        }
        let observed = self.observe(ifb).await?;
        Ok(observed.is_ok_and(|tree| tree.root().is_some() && tree.check_layout().is_ok()))
    }

    async fn add_ifb(&self, index: u32) -> Result<u32, KernelFailure> {
        let name = receiver_name(index);
        let mut message = LinkIfb::new(&name).up().build();
        message.attributes.push(LinkAttribute::TxQueueLen(QUEUE_LENGTH));
        let object = format!("ifb {name}");
        let message = RouteNetlinkMessage::NewLink(message);
        self.request(NetlinkRequest { call: "RTM_NEWLINK", object, message, kind: NetlinkRequestKind::Add })
            .await?;
        Ok(self.link_by_name(&name).await?.index)
    }

    pub(super) async fn add_filter(&self, index: u32, filter: &PlacedFilter) -> Result<(), KernelFailure> {
        let message = with_options(filter_message(index, filter), U32, filter.options.clone());
        let object = format!("tc filter add parent {} u32 on interface {index}", filter.parent);
        let message = RouteNetlinkMessage::NewTrafficFilter(message);
        let request =
            NetlinkRequest { call: "RTM_NEWTFILTER", object, message, kind: NetlinkRequestKind::Add };
        match filter.handle {
            // A second one would be another filter.
            0 => self.request(request).await.map(drop),
            _ => self.request_change(request, |failure| failure.errno() == Some(Errno::EEXIST)).await,
        }
    }

    pub(super) async fn delete_filter(&self, index: u32, filter: &PlacedFilter) -> Result<(), KernelFailure> {
        let mut message = filter_message(index, filter);
        message.attributes.push(rtnetlink::packet_route::tc::TcAttribute::Kind(U32.to_owned()));
        let object = format!("tc filter del parent {} u32 on interface {index}", filter.parent);
        let message = RouteNetlinkMessage::DelTrafficFilter(message);
        let request =
            NetlinkRequest { call: "RTM_DELTFILTER", object, message, kind: NetlinkRequestKind::Change };
        self.request_change(request, KernelFailure::is_absent).await
    }
}

/// The interface that an ifb of gqos's is for, and the ifb.
fn receiver(link: &LinkMessage) -> Option<(u32, u32)> {
    let name = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => received_by(name),
        _ => None,
    });
    name.filter(|_| is_ifb(link)).map(|interface| (interface, link.header.index))
}

fn is_ifb(link: &LinkMessage) -> bool {
    let is_ifb = |info: &LinkInfo| matches!(info, LinkInfo::Kind(kind) if kind.to_string() == "ifb");
    link.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => infos.iter().any(is_ifb),
        _ => false,
    })
}

fn filter_message(index: u32, filter: &PlacedFilter) -> rtnetlink::packet_route::tc::TcMessage {
    let mut message = header(index, Handle::from_u32(filter.handle), filter.parent);
    // The protocol is in the order of the network.
    message.header.info = u32::from(filter.priority) << 16 | u32::from(filter.protocol.to_be());
    message
}

fn without_ingress(index: u32) -> NetlinkRequest {
    let message = RouteNetlinkMessage::DelQueueDiscipline(header(index, INGRESS_QDISC, INGRESS));
    let object = format!("tc qdisc del ingress on interface {index}");
    NetlinkRequest { call: "RTM_DELQDISC", object, message, kind: NetlinkRequestKind::Change }
}

fn without_link(ifb: u32) -> NetlinkRequest {
    let message = RouteNetlinkMessage::DelLink(LinkUnspec::new_with_index(ifb).build());
    NetlinkRequest {
        call: "RTM_DELLINK",
        object: format!("ifb {ifb}"),
        message,
        kind: NetlinkRequestKind::Change,
    }
}

fn unless_absent(failure: KernelFailure) -> Result<(), KernelFailure> {
    if failure.is_absent() { Ok(()) } else { Err(failure) }
}

fn encoded<T>(filters: Result<T, TooMany>) -> Result<T, KernelFailure> {
    filters.map_err(|error| KernelFailure::not_expressible("tc filter add", error))
}
