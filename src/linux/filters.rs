//! Filters of an interface: what other programs do to packets before they reach a class.

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::tc::{TcAttribute, TcMessage};

use super::netlink::Netlink;
use super::request::{NetlinkRequest, NetlinkRequestKind};
use super::traffic::{handle_of, header, kind, options};
use crate::failure::{AnswerProblem, KernelCall, KernelFailure};
use crate::ordered::OrderedSet;
use crate::tc::{Filter, FilterPlace, Handle, ObservedFilter};

/// A filter on what leaves an interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FoundFilter {
    /// TCA_KIND: `flower`, `u32`, `bpf`.
    pub kind: String,
    /// Its settings; `None` for a kind that this library does not read.
    pub filter: Option<Filter>,
}

/// Where filters on what leaves an interface hang: the root qdisc, and clsact's egress.
const EGRESS: [Handle; 2] = [Handle::from_u32(0), Handle::from_u32(0xffff_fff3)];

/// The most filters that are read of a tree: a repair deletes these, and the next one the others.
const MOST_OBSERVED: usize = 4096;

const GET_FILTER: &str = "RTM_GETTFILTER";

impl Netlink {
    /// The filters of a tree, below its root and its classes: at most 4096, and as one those of a priority that gqos does not
    /// use.
    ///
    /// - **Errors**: the kernel's, or a structure that cannot be read.
    pub(super) async fn tree_filters(
        &self,
        index: u32,
        parents: Vec<Handle>,
    ) -> Result<Vec<ObservedFilter>, KernelFailure> {
        let requests = parents.into_iter().map(|parent| {
            let object = format!("filters below {parent} of interface {index}");
            let message = RouteNetlinkMessage::GetTrafficFilter(header(index, Handle::default(), parent));
            NetlinkRequest { call: GET_FILTER, object, message, kind: NetlinkRequestKind::Dump }
        });
        self.dump_each(requests.collect(), |messages| {
            let filters = messages.iter().filter_map(|message| match message {
                RouteNetlinkMessage::NewTrafficFilter(message) => observed(message),
                _ => None,
            });
            Ok(filters.take(MOST_OBSERVED).collect::<OrderedSet<_>>().into_iter().collect())
        })
        .await
    }

    /// The filters on what leaves an interface.
    ///
    /// - **Errors**: the kernel's, or a structure that cannot be read.
    pub async fn egress_filters(&self, index: u32) -> Result<Vec<FoundFilter>, KernelFailure> {
        let call = "RTM_GETTFILTER";
        let mut found = Vec::new();
        for parent in EGRESS {
            let object = format!("filters of interface {index}");
            let message = RouteNetlinkMessage::GetTrafficFilter(header(index, Handle::default(), parent));
            let request =
                NetlinkRequest { call, object: object.clone(), message, kind: NetlinkRequestKind::Dump };
            for message in self.request(request).await? {
                let RouteNetlinkMessage::NewTrafficFilter(message) = message else { continue };
                let options = options(&message);
                // A chain, and the head of a list of filters, have no settings.
                if options.is_empty() {
                    continue;
                }
                let kind = kind(&message).to_owned();
                let filter = Filter::parse(&kind, &options);
                let filter = filter.map_err(|error| {
                    KernelCall(call).unexpected(object.clone(), AnswerProblem::described(error))
                })?;
                // A hash table of u32 matches nothing.
                if filter.is_some() || kind != "u32" {
                    found.push(FoundFilter { kind, filter });
                }
            }
        }
        Ok(found)
    }
}

/// A filter of a tree; `None` for a chain, and for the head of a list of filters.
fn observed(message: &TcMessage) -> Option<ObservedFilter> {
    let options = options(message);
    if options.is_empty() {
        return None;
    }
    let chain = message.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Chain(chain) => Some(*chain),
        _ => None,
    });
    let (kind, handle) = (kind(message), handle_of(message.header.handle).to_u32());
    let place = FilterPlace {
        parent: handle_of(message.header.parent),
        chain: chain.unwrap_or(0),
        // The upper half of 32 bits.
        priority: u16::try_from(message.header.info >> 16).unwrap_or(u16::MAX),
        u32_handle: None,
    };
    // What cannot be read is not gqos's.
    let parsed = Filter::parse(kind, &options);
    let kind = if parsed.is_ok() { kind } else { "" };
    let target = parsed.ok().flatten().map(|filter| *filter.target());
    Some(ObservedFilter::new(place, kind, handle, target.as_ref()))
}

/// The message that names filters of a tree, to delete them.
pub(super) fn filters_at(index: u32, place: FilterPlace) -> TcMessage {
    let FilterPlace { parent, chain, priority, u32_handle } = place;
    let mut message = header(index, Handle::from_u32(u32_handle.unwrap_or(0)), parent);
    // Any protocol: the kernel takes one for each priority.
    message.header.info = u32::from(priority) << 16;
    if u32_handle.is_some() {
        message.attributes.push(TcAttribute::Kind("u32".to_owned()));
    }
    if chain != 0 {
        message.attributes.push(TcAttribute::Chain(chain));
    }
    message
}
