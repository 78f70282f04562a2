//! The operations of a ledger: what traces and tests are made of.

use flowspec::{Both, Direction, Flowspec, Micros, Moment, Qos, Rate};
use serde::{Deserialize, Serialize};

use super::peer::PeerState;
use super::refusal::Refusal;
use super::request::{GroupRequest, Request};

/// What can happen to a ledger: a line of a trace, a step of a test, or a call of a client.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "fields that their names describe")]
pub enum Operation {
    /// A new flow. Of several QOS, best first, it gets the first that fits.
    Reserve(Box<Ladder>),
    /// Another reservation for a flow; an absent direction stays as it is.
    Renegotiate {
        id: String,
        /// What it requests now.
        flowspecs: Box<Both<Option<Flowspec>>>,
    },
    /// A flow's soft state is prolonged.
    Refresh {
        id: String,
        /// How long it lasts from now on.
        time_to_live: Micros,
    },
    /// The end of a flow.
    Release { id: String },
    /// What is seen of a flow's peer.
    Peer {
        id: String,
        /// Whether the peer is heard, and whether it accepts data.
        state: PeerState,
        /// Since when, where that is not now.
        since: Option<Moment>,
    },
    /// A group made or changed.
    Group(Box<GroupRequest>),
    /// The end of a group.
    Ungroup { id: String },
    /// A link carries another rate.
    Capacity {
        interface: String,
        /// The direction that the rate is for; the other keeps its rate.
        direction: Direction,
        /// What it carries from now on.
        capacity: Rate,
    },
    /// What the flows of a class were measured to send.
    Measure {
        interface: String,
        class: String,
        /// How long was measured, until now.
        window: Micros,
        /// Bytes per second that the class's flows sent in `window`, on average.
        rate: Both<Rate>,
    },
    /// What is free now.
    Query {
        interface: String,
        /// A flow, to find out when it would fit first.
        request: Option<Box<Request>>,
    },
    /// Time passes.
    Tick,
}

/// The kind of an operation: one word of the output contract.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OperationKind {
    /// A reservation for a new flow.
    Reserve,
    /// Another reservation for a flow.
    Renegotiate,
    /// A flow's soft state is prolonged.
    Refresh,
    /// The end of a flow.
    Release,
    /// What is seen of a flow's peer.
    Peer,
    /// A group made or changed.
    Group,
    /// The end of a group.
    Ungroup,
    /// A link carries another rate.
    Capacity,
    /// What the flows of a class were measured to send.
    Measure,
    /// What is free now.
    Query,
    /// Time passes.
    Tick,
}

/// A request with the renditions that it accepts, best first.
#[derive(Clone, Debug, PartialEq)]
pub struct Ladder {
    /// The request for the first rendition.
    pub request: Request,
    /// The name of the first rendition's template; `None` where the request has flowspecs of its own.
    pub first: Option<String>,
    /// The others, each with its name.
    pub renditions: Vec<(String, Qos)>,
}

/// A request that was refused before it reached the ledger, whatever is free.
#[derive(Clone, Debug, PartialEq)]
pub struct RefusedRequest {
    /// The operation that its decision names, and the flow or the group.
    pub kind: RequestKind,
    /// The interface, where it is known.
    pub interface: Option<String>,
    /// Why it was refused.
    pub refusal: Refusal,
}

/// The requests that can be refused before they reach the ledger.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "fields that their names describe")]
pub enum RequestKind {
    /// A reservation for a new flow.
    Reserve { id: String },
    /// Another reservation for a flow.
    Renegotiate { id: String },
    /// The end of a flow.
    Release { id: String },
    /// A group made or changed.
    Group { id: String },
    /// What is free now.
    Query,
}

impl From<Request> for Ladder {
    fn from(request: Request) -> Self {
        Self { request, first: None, renditions: Vec::new() }
    }
}

impl Operation {
    /// The word by which traces and decisions name it.
    pub const fn kind(&self) -> OperationKind {
        match self {
            Self::Reserve(_) => OperationKind::Reserve,
            Self::Renegotiate { .. } => OperationKind::Renegotiate,
            Self::Refresh { .. } => OperationKind::Refresh,
            Self::Release { .. } => OperationKind::Release,
            Self::Peer { .. } => OperationKind::Peer,
            Self::Group(_) => OperationKind::Group,
            Self::Ungroup { .. } => OperationKind::Ungroup,
            Self::Capacity { .. } => OperationKind::Capacity,
            Self::Measure { .. } => OperationKind::Measure,
            Self::Query { .. } => OperationKind::Query,
            Self::Tick => OperationKind::Tick,
        }
    }
}

impl OperationKind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::Reserve,
        Self::Renegotiate,
        Self::Refresh,
        Self::Release,
        Self::Peer,
        Self::Group,
        Self::Ungroup,
        Self::Capacity,
        Self::Measure,
        Self::Query,
        Self::Tick,
    ];

    /// The word of traces and decisions: `reserve`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reserve => "reserve",
            Self::Renegotiate => "renegotiate",
            Self::Refresh => "refresh",
            Self::Release => "release",
            Self::Peer => "peer",
            Self::Group => "group",
            Self::Ungroup => "ungroup",
            Self::Capacity => "capacity",
            Self::Measure => "measure",
            Self::Query => "query",
            Self::Tick => "tick",
        }
    }
}
