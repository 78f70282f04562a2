//! Filters of an interface: what other programs do to packets before they reach a class.

use rtnetlink::packet_route::RouteNetlinkMessage;

use super::netlink::Netlink;
use super::request::{NetlinkRequest, NetlinkRequestKind};
use super::traffic::{header, kind, options};
use crate::failure::{AnswerProblem, KernelCall, KernelFailure};
use crate::tc::{Filter, Handle};

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

impl Netlink {
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
