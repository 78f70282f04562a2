//! A step of a test: one event, and what is expected of it.

use flowspec::{Both, Bytes, Direction, Flowspec, Micros, Moment, Rate, Share};

use super::connect::Connect;
use super::named::NameUse;
use super::names::IdPattern;
use super::requested::RequestedQos;
use crate::admission::PeerState;
use crate::policy::read::section::Placed;
use crate::policy::{GroupMode, Place};

/// One event, and what is expected of it.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) time: Time,
    /// `at`, where the step has it.
    pub(super) at: Option<Placed<Micros>>,
    pub(super) action: Action,
    pub(super) expect: Option<Expect>,
    pub(super) place: Place,
    pub(super) names: Vec<NameUse>,
    /// The place of the policy that it reloads.
    pub(super) reload: Option<Place>,
}

/// When a step happens.
#[derive(Clone, Copy, Debug)]
pub(super) enum Time {
    /// Counted from the start of the test.
    At(Micros),
    /// Counted from the step before.
    After(Micros),
}

impl Time {
    /// The moment of a step that follows this moment.
    pub(super) fn after(self, before: Moment) -> Moment {
        match self {
            Self::At(at) => Moment::from_micros(at.get()),
            Self::After(after) => before.saturating_add(after),
        }
    }
}

/// What happens in a step.
#[derive(Clone, Debug)]
pub(super) enum Action {
    /// Flows request reservations, one after the other.
    Connect(Box<Connect>),
    /// Whether a flow would fit: nothing is reserved. Of its ids, the first one is asked for.
    Query(Box<Connect>),
    /// Flows request other reservations.
    Renegotiate {
        id: IdPattern,
        /// Takes precedence over `flowspecs`.
        template: Option<String>,
        /// An absent direction stays as it is.
        flowspecs: Box<Both<Option<Flowspec>>>,
    },
    /// Flows extend their soft state.
    Refresh { id: IdPattern, time_to_live: Micros },
    /// The peers of flows are seen; `lasting` is how long they have been so, where that is not from now on.
    Peer { id: IdPattern, state: PeerState, lasting: Option<Placed<Micros>> },
    /// Flows end.
    Close(IdPattern),
    /// A group is made or changed.
    Group(Box<GroupStep>),
    /// A group ends, with its last member where it has some.
    Ungroup(String),
    /// A link's capacity changes.
    Capacity { interface: String, direction: Direction, capacity: Rate },
    /// The flows of a class were measured.
    Measure { interface: String, class: String, window: Micros, rate: Both<Rate> },
    /// Another policy takes effect; its path is relative to the test file.
    Reload(String),
    /// All flows of a client end.
    Crash(String),
    /// Time passes.
    Wait,
    /// A flow sends, measured in the laboratory.
    Transfer(Transfer),
}

/// A group that is made or changed.
#[derive(Clone, Debug)]
pub(super) struct GroupStep {
    pub(super) id: String,
    pub(super) interface: String,
    pub(super) class: Option<String>,
    pub(super) mode: GroupMode,
    pub(super) qos: RequestedQos,
}

#[derive(Clone, Debug)]
pub(super) struct Transfer {
    pub(super) id: String,
    /// How long the rate is measured.
    pub(super) duration: Micros,
    /// The measurement ends earlier once so much has been sent.
    pub(super) bytes: Option<Bytes>,
}

/// What is expected of a step. An absent quantity is not compared.
#[derive(Clone, Debug, Default)]
pub(super) struct Expect {
    pub(super) admitted: Option<bool>,
    pub(super) error: Option<String>,
    pub(super) status: Option<String>,
    pub(super) reason: Option<String>,
    /// A part of the message.
    pub(super) message: Option<String>,
    pub(super) rendition: Option<String>,
    /// The interface of `reserved` and `available`, if it is not the last one used.
    pub(super) interface: Option<String>,
    pub(super) reserved: Option<Both<Option<Rate>>>,
    pub(super) available: Option<Both<Option<Rate>>>,
    pub(super) charged: Option<Both<Option<Rate>>>,
    pub(super) would_fit: Option<Rate>,
    pub(super) preempted: Option<Vec<String>>,
    pub(super) shed: Option<Vec<String>>,
    pub(super) expired: Option<Vec<String>>,
    pub(super) dead: Option<Vec<String>>,
    pub(super) stalled: Option<Vec<String>>,
    pub(super) notified: Option<Vec<String>>,
    pub(super) waiting: Option<bool>,
    pub(super) flows: Option<u64>,
    /// The rate of a transfer, IP headers included.
    pub(super) rate: Option<Tolerance>,
    pub(super) keys: Vec<(String, Place)>,
    pub(super) place: Place,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Tolerance {
    pub(super) rate: Rate,
    /// The largest difference, above or below.
    pub(super) within: Share,
}
