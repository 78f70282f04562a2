//! A line of the audit trail.

use flowspec::{Both, Bytes, Direction, Flowspec, Micros, Moment, Rate};
use serde::Serialize;

use crate::admission::{Decision, GroupRequest, Ladder, Operation, PeerState};
use crate::policy::GroupMode;

/// The fields of all kinds of lines; those that a line does not have are left out.
#[derive(Default, Serialize)]
pub(super) struct Line<'a> {
    pub(super) at_us: Moment,
    pub(super) op: &'static str,
    pub(super) seq: u64,
    pub(super) time: String,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) held: bool,
    #[serde(flatten)]
    pub(super) fields: Fields<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) decision: Option<&'a Decision>,
}

/// What a line says besides its time, its number and its decision.
#[derive(Default, Serialize)]
pub(super) struct Fields<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    templates: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sending: Option<Flowspec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receiving: Option<Flowspec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_us: Option<Moment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_us: Option<Moment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_us: Option<Micros>,
    #[serde(skip_serializing_if = "is_false")]
    wait: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    setup_priority: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    holding_priority: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<GroupMode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    direction: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capacity: Option<Rate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    window_us: Option<Micros>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<Both<Rate>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<PeerState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since_us: Option<Moment>,
    /// A renegotiation that is charged beside the reservation before it, or its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'static str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    ended: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    speed: Option<Rate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    again: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    programmed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a str>,
}

/// The moments of a trail: those of the manager, from 1970 on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Epoch(pub(super) Micros);

impl Epoch {
    pub(super) fn at(self, at: Moment) -> Moment {
        at.saturating_add(self.0)
    }
}

impl<'a> Fields<'a> {
    pub(super) fn of_flow(id: &'a str) -> Self {
        Self { id: Some(id), ..Self::default() }
    }

    /// The same, about what is a user's. The credentials of a request are its own.
    pub(super) fn by(self, uid: Option<u32>) -> Self {
        Self { uid: self.uid.or(uid), ..self }
    }

    /// A call that has failed with this error.
    pub(super) fn of_failure(
        method: &'a str,
        id: Option<&'a str>,
        (error, problem): (&'a str, &'a str),
    ) -> Self {
        Self { id, method: Some(method), error: Some(error), problem: Some(problem), ..Self::default() }
    }

    pub(super) fn of_operation(operation: &'a Operation, epoch: Epoch) -> Self {
        match operation {
            Operation::Reserve(ladder) => Self::of_ladder(ladder, epoch),
            Operation::Renegotiate { id, flowspecs } => Self::of_renegotiation(id, flowspecs, None),
            Operation::Refresh { id, time_to_live } => {
                Self { ttl_us: Some(*time_to_live), ..Self::of_flow(id) }
            }
            Operation::Release { id } | Operation::Ungroup { id } => Self::of_flow(id),
            Operation::Peer { id, state, since } => {
                let since_us = since.map(|since| epoch.at(since));
                Self { state: Some(*state), since_us, ..Self::of_flow(id) }
            }
            Operation::Group(request) => Self::of_group(request),
            Operation::Capacity { interface, direction, capacity } => {
                Self::of_capacity(interface, *direction, *capacity)
            }
            Operation::Measure { interface, class, window, rate } => {
                Self::of_measure((interface, class), *window, *rate)
            }
            Operation::Query { interface, .. } => Self { interface: Some(interface), ..Self::default() },
            Operation::Tick => Self::default(),
        }
    }

    pub(super) fn of_ladder(ladder: &'a Ladder, epoch: Epoch) -> Self {
        let Ladder { request, first, renditions } = ladder;
        let names: Vec<_> =
            first.iter().chain(renditions.iter().map(|(name, _)| name)).map(String::as_str).collect();
        let (template, templates) = match names[..] {
            [one] => (Some(one), Vec::new()),
            _ => (None, names),
        };
        let explicit = first.is_none().then_some(request.qos);
        Self {
            id: Some(&request.id),
            interface: Some(&request.interface),
            class: request.class.as_deref(),
            group: request.group.as_deref(),
            client: request.client.as_deref(),
            template,
            templates,
            sending: explicit.map(|qos| qos.sending),
            receiving: explicit.map(|qos| qos.receiving),
            start_us: request.start.map(|start| epoch.at(start)),
            end_us: request.end.map(|end| epoch.at(end)),
            ttl_us: request.time_to_live,
            wait: request.wait,
            setup_priority: request.setup_priority,
            holding_priority: request.holding_priority,
            uid: request.owner.uid,
            gid: request.owner.gid,
            cgroup: request.owner.cgroup.as_deref(),
            ..Self::default()
        }
    }

    pub(super) fn of_renegotiation(
        id: &'a str,
        flowspecs: &Both<Option<Flowspec>>,
        step: Option<&'static str>,
    ) -> Self {
        Self { sending: flowspecs.sending, receiving: flowspecs.receiving, step, ..Self::of_flow(id) }
    }

    pub(super) fn of_group(request: &'a GroupRequest) -> Self {
        Self {
            interface: Some(&request.interface),
            class: request.class.as_deref(),
            mode: Some(request.mode),
            sending: Some(request.qos.sending),
            receiving: Some(request.qos.receiving),
            ..Self::of_flow(&request.id)
        }
    }

    pub(super) fn of_capacity(interface: &'a str, direction: Direction, capacity: Rate) -> Self {
        let direction = match direction {
            Direction::Sending => "egress",
            Direction::Receiving => "ingress",
        };
        Self {
            interface: Some(interface),
            direction: Some(direction),
            capacity: Some(capacity),
            ..Self::default()
        }
    }

    /// What a class of an interface was measured to send.
    pub(super) fn of_measure(
        (interface, class): (&'a str, &'a str),
        window: Micros,
        rate: Both<Rate>,
    ) -> Self {
        Self {
            interface: Some(interface),
            class: Some(class),
            window_us: Some(window),
            rate: Some(rate),
            ..Self::default()
        }
    }

    pub(super) fn of_link(interface: &'a str, mtu: Bytes, speed: Option<Rate>) -> Self {
        Self { interface: Some(interface), mtu: Some(mtu), speed, ..Self::default() }
    }

    pub(super) const fn again(mut self, again: bool) -> Self {
        self.again = Some(again);
        self
    }

    pub(super) fn of_tree(interface: &'a str, programmed: bool) -> Self {
        Self { interface: Some(interface), programmed: Some(programmed), ..Self::default() }
    }

    pub(super) fn of_ended(ended: &'a [String]) -> Self {
        Self { ended, ..Self::default() }
    }

    /// A refusal that names its request by what is known of it.
    pub(super) fn of_refusal(decision: &'a Decision) -> Self {
        let interface = decision.totals.keys().next().map(String::as_str);
        Self { id: decision.id(), interface, ..Self::default() }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}
