//! What the kernel has of what an interface receives, compared with what it is to have.

use rtnetlink::packet_route::RouteNetlinkMessage;

use super::netlink::Netlink;
use super::receiving::{QDISC, ReceivingLinks, U32};
use super::request::{NetlinkRequest, NetlinkRequestKind};
use super::traffic::{handle_of, header, kind, options};
use crate::failure::{AnswerProblem, KernelCall, KernelFailure};
use crate::kernel::{Difference, Differences};
use crate::ordered::OrderedSet;
use crate::tc::{
    Desired, FILTER_PRIORITY, Filter, ForeignRoot, Handle, INGRESS, INGRESS_QDISC, PlacedFilter, Queue,
    ROOT_QDISC, ReceivingState, diff, flow_tables, receiver_name,
};

/// A filter as a dump has it.
pub(super) struct ListedFilter {
    pub(super) priority: u16,
    pub(super) handle: u32,
    kind: String,
    options: Vec<u8>,
}

/// How a handle of the kernel's own choice begins, for filters that have none of gqos's.
const CHOSEN: u32 = 0x800 << 20;

impl Netlink {
    /// What the kernel has of the ifb of an interface, its redirect and these filters.
    ///
    /// - **Errors**: the kernel's, or a structure that cannot be read.
    pub async fn receiving_state(
        &self,
        links: ReceivingLinks,
        tree: &Desired,
        filters: &[PlacedFilter],
    ) -> Result<ReceivingState, KernelFailure> {
        if let Some(found) = self.ifb_difference(links).await? {
            return Ok(ReceivingState::Gone(Differences::one(found)));
        }
        match self.redirect_of(links).await? {
            Err(foreign) => return Ok(ReceivingState::Foreign(foreign)),
            Ok(Some(found)) => return Ok(ReceivingState::Gone(Differences::one(found))),
            Ok(None) => {}
        }
        let observed = match self.observe_all(links.ifb).await? {
            Ok(observed) if observed.check_layout().is_ok() && observed.root().is_some() => observed,
            _ => return Ok(ReceivingState::Gone(Differences::one(Difference::RootMissing))),
        };
        if !self.has_filters(links.ifb, filters).await? {
            return Ok(ReceivingState::Gone(Differences::one(Difference::FiltersChanged)));
        }
        let repair = diff(tree, &observed);
        Ok(match repair.ops.is_empty() {
            true => ReceivingState::Intact,
            false => ReceivingState::Changed(repair),
        })
    }

    /// What is wrong with the redirect of an interface, if anything is; the qdisc of another program that has its place.
    async fn redirect_of(
        &self,
        links: ReceivingLinks,
    ) -> Result<Result<Option<Difference>, ForeignRoot>, KernelFailure> {
        let queues = self.qdiscs(links.interface).await?.queues;
        let found = queues.into_iter().find(|(parent, _)| *parent == INGRESS);
        let Some((_, Queue::Other(kind))) = found else { return Ok(Ok(Some(Difference::IngressMissing))) };
        let listed = self.filters_below(links.interface, INGRESS_QDISC).await?;
        let leads_here = |filter: &ListedFilter| {
            let redirect = filter.parsed().and_then(|filter| filter.target().redirect);
            filter.priority == FILTER_PRIORITY && redirect.is_some_and(|to| to.index == links.ifb)
        };
        Ok(match (kind == QDISC, listed.iter().any(leads_here)) {
            (true, true) => Ok(None),
            (true, false) if listed.iter().all(|filter| filter.priority == FILTER_PRIORITY) => {
                Ok(Some(Difference::RedirectMissing))
            }
            _ => Err(ForeignRoot { kind, handle: INGRESS_QDISC }),
        })
    }

    async fn ifb_difference(&self, links: ReceivingLinks) -> Result<Option<Difference>, KernelFailure> {
        let link = match self.link(links.ifb).await {
            Ok(link) => link,
            Err(failure) if failure.is_absent() => return Ok(Some(Difference::IfbMissing)),
            Err(failure) => return Err(failure),
        };
        Ok(match (link.name == receiver_name(links.interface), link.carries) {
            (false, _) => Some(Difference::IfbRenamed),
            (true, false) => Some(Difference::IfbDown),
            (true, true) => None,
        })
    }

    async fn has_filters(&self, ifb: u32, filters: &[PlacedFilter]) -> Result<bool, KernelFailure> {
        let tables = flow_tables().unwrap_or_default();
        let wanted = tables.iter().chain(filters).filter(|filter| filter.handle != 0);
        let wanted: OrderedSet<_> = wanted.map(|filter| (filter.priority, filter.handle)).collect();
        let listed = self.filters_below(ifb, ROOT_QDISC).await?;
        // One leads to each hash table. A table has the same number for each priority that it is reached from.
        let chosen = |filter: &&ListedFilter| filter.handle & 0xfff != 0 && filter.handle >= CHOSEN;
        let links: OrderedSet<_> = listed.iter().filter(chosen).map(|filter| filter.priority).collect();
        let there: OrderedSet<_> = listed.iter().map(|filter| (filter.priority, filter.handle)).collect();
        let is_own = |(_, handle): &&(u16, u32)| *handle & 0xfff != 0 && *handle < CHOSEN;
        let added = there.iter().filter(is_own).any(|filter| !wanted.contains(filter));
        Ok(!added && links.len() == 2 && wanted.iter().all(|filter| there.contains(filter)))
    }

    /// The filters below a qdisc, hash tables included.
    pub(super) async fn filters_below(
        &self,
        index: u32,
        parent: Handle,
    ) -> Result<Vec<ListedFilter>, KernelFailure> {
        let call = "RTM_GETTFILTER";
        let object = format!("filters below {parent} of interface {index}");
        let message = RouteNetlinkMessage::GetTrafficFilter(header(index, Handle::default(), parent));
        let request =
            NetlinkRequest { call, object: object.clone(), message, kind: NetlinkRequestKind::Dump };
        let mut listed = Vec::new();
        for message in self.request(request).await? {
            let RouteNetlinkMessage::NewTrafficFilter(message) = message else { continue };
            let options = options(&message);
            // A chain, and the head of a list of filters, have no settings.
            if options.is_empty() {
                continue;
            }
            let priority = u16::try_from(message.header.info >> 16).map_err(|error| {
                KernelCall(call).unexpected(object.clone(), AnswerProblem::described(error))
            })?;
            let handle = handle_of(message.header.handle).to_u32();
            listed.push(ListedFilter { priority, handle, kind: kind(&message).to_owned(), options });
        }
        Ok(listed)
    }
}

impl ListedFilter {
    /// Its settings; `None` for a hash table, and for a filter of a kind that gqos does not read.
    fn parsed(&self) -> Option<Filter> {
        if self.kind == U32 { Filter::parse(U32, &self.options).ok().flatten() } else { None }
    }
}
