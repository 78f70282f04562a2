//! Requests of the engine's boundary as calls, and replies as its answers.

use std::time::Instant;

use flowspec::{Both, Flowspec};
use serde::de::DeserializeOwned;

use super::error::DaemonError;
use crate::admission::{Decision, Operation};
use crate::control::{
    self, ControlError, EgressCall, GroupCall, InterfaceRecord, MethodCall, QueryCall, RefreshCall,
    ReleaseCall, RenditionRecord, RenegotiateCall, Reply, ReserveCall, RouteHints, RoutePorts, UngroupCall,
};
use crate::engine::ask::{Ask, What};
use crate::engine::clock;
use crate::engine::error::EngineError;
use crate::engine::report::{ClassReport, InterfaceReport};
use crate::engine::request::{Rendition, ReservationRequest};
use crate::engine::reservation::Usage;
use crate::linux::{Ports, RouteQuery, RouteSelectors};
use crate::manager::{Admitted, Answer, Status};

/// A request for a reservation. Its owner is the connection's.
pub(super) fn reserve(request: &ReservationRequest) -> ReserveCall {
    let ReservationRequest { ask, subject, selectors, interface, .. } = request;
    let Ask { id, class, what, group, client, wait, start, end, time_to_live, .. } = ask;
    let (template, templates, sending, receiving) = match what.clone() {
        What::ByRule => (None, None, None, None),
        What::Template(name) => (Some(name), None, None, None),
        What::FirstOf(names) => (None, Some(names), None, None),
        What::Qos(qos) => (None, None, Some(qos.sending), Some(qos.receiving)),
    };
    let from_now = |at: Instant| {
        let at = tokio::time::Instant::from_std(at);
        clock::micros(at.saturating_duration_since(clock::now()))
    };
    ReserveCall {
        id: id.clone().filter(|id| !id.is_empty()),
        epoch: None,
        interface: interface.clone(),
        peer: Some(subject.peer),
        protocol: Some(subject.protocol),
        local_port: Some(subject.local_port),
        route: hints(selectors),
        class: class.clone(),
        group: group.clone(),
        client: client.clone(),
        template,
        templates,
        sending,
        receiving,
        starts_in_us: start.map(from_now),
        ends_in_us: end.map(from_now),
        ttl_us: time_to_live.map(clock::micros),
        wait: wait.then_some(true),
        setup_priority: ask.setup_priority,
        holding_priority: ask.holding_priority,
        details: Some(true),
    }
}

/// What decides the route beside the peer. The user is the connection's.
fn hints(selectors: &RouteSelectors) -> Option<RouteHints> {
    let RouteSelectors { scope, device, mark, source, ports, user: _ } = *selectors;
    let ports = ports.map(|Ports { protocol, local, peer }| RoutePorts { protocol, local, peer });
    let hints = RouteHints { scope, device, mark, source, ports };
    (hints != RouteHints::default()).then_some(hints)
}

pub(super) fn egress(query: RouteQuery) -> MethodCall {
    MethodCall::Egress(EgressCall { peer: query.peer, route: hints(&query.selectors) })
}

pub(super) fn release(id: String, usage: Usage, peer_gone: bool) -> MethodCall {
    let Usage { missing, sent } = usage;
    let is_shaped = missing != Both::default();
    MethodCall::Release(ReleaseCall {
        id,
        missing: is_shaped.then_some(missing),
        sent: is_shaped.then_some(sent),
        peer_gone: peer_gone.then_some(true),
    })
}

pub(super) fn renegotiate(id: String, flowspecs: Both<Option<Flowspec>>) -> MethodCall {
    let Both { sending, receiving } = flowspecs;
    let renegotiate =
        RenegotiateCall { id, sending, receiving, details: Some(true), ..RenegotiateCall::default() };
    MethodCall::Renegotiate(Box::new(renegotiate))
}

/// An operation on the ledger as a call.
///
/// - **Errors**: the protocol has no call for it.
pub(super) fn operation(operation: Operation) -> Result<MethodCall, DaemonError> {
    let (kind, details) = (operation.kind(), Some(true));
    Ok(match operation {
        Operation::Renegotiate { id, flowspecs } => renegotiate(id, *flowspecs),
        Operation::Refresh { id, time_to_live } => {
            MethodCall::Refresh(RefreshCall { id, ttl_us: time_to_live, details })
        }
        Operation::Group(group) => {
            let (sending, receiving) = (Some(group.qos.sending), Some(group.qos.receiving));
            MethodCall::Group(Box::new(GroupCall {
                id: group.id,
                interface: group.interface,
                class: group.class,
                mode: Some(group.mode),
                template: None,
                sending,
                receiving,
                details,
            }))
        }
        Operation::Ungroup { id } => MethodCall::Ungroup(UngroupCall { id, details }),
        Operation::Query { interface, request } => {
            let asked = request.map_or_else(QueryCall::default, |request| QueryCall {
                class: request.class,
                group: request.group,
                client: request.client,
                sending: Some(request.qos.sending),
                receiving: Some(request.qos.receiving),
                ..QueryCall::default()
            });
            MethodCall::Query(Box::new(QueryCall { interface: Some(interface), details, ..asked }))
        }
        Operation::Reserve(_)
        | Operation::Release { .. }
        | Operation::Peer { .. }
        | Operation::Capacity { .. }
        | Operation::Measure { .. }
        | Operation::Tick => return Err(DaemonError::NoCall { operation: kind }),
    })
}

/// The parameters of a reply.
///
/// - **Errors**: the error in their place, or why there is no reply.
pub(super) fn parameters<T: DeserializeOwned>(reply: Result<Reply, DaemonError>) -> Result<T, EngineError> {
    reply?.parameters().map_err(EngineError::from)
}

/// What the daemon has decided.
pub(super) struct DecidedCall {
    pub(super) decision: Decision,
    /// How an admitted flow is set up.
    pub(super) admitted: Option<Admitted>,
    /// The run of the daemon that has admitted it.
    pub(super) epoch: Option<String>,
}

pub(super) fn decided(reply: Result<Reply, DaemonError>) -> Result<DecidedCall, EngineError> {
    let control::Decided { admitted, epoch, details, .. } = parameters(reply)?;
    let absent = || ControlError::Unreadable { problem: "a decision without its details".into() };
    Ok(DecidedCall { decision: details.ok_or_else(absent)?.0, admitted, epoch })
}

pub(super) fn answer(reply: Result<Reply, DaemonError>) -> Result<Answer, EngineError> {
    decided(reply).map(|DecidedCall { decision, admitted, .. }| Answer { decision, admitted })
}

pub(super) fn rendition(record: RenditionRecord) -> Rendition {
    let RenditionRecord { template, sending, receiving } = record;
    Rendition { template, qos: Both { sending, receiving } }
}

pub(super) fn interface(record: InterfaceRecord) -> InterfaceReport {
    let InterfaceRecord {
        interface,
        totals,
        not_programmed,
        shares_wire_with,
        dropped,
        flows,
        direct_packets,
        classes,
        ..
    } = record;
    let classes = classes.unwrap_or_default().into_iter();
    let kernel = not_programmed.map_or(Ok(()), Err);
    InterfaceReport {
        interface,
        status: Status { totals, kernel, flows, shares_wire_with, dropped },
        direct_packets,
        receiving: None,
        classes: classes
            .map(|class| ClassReport {
                class: class.class,
                flow: class.flow,
                is_group: class.is_group,
                group: None,
                policy_class: None,
                rate: class.rate,
                sent_bytes: class.sent_bytes,
                dropped: class.dropped,
                delayed: class.delayed,
                queued: class.queued,
                queued_bytes: 0,
                reserved: None,
            })
            .collect(),
    }
}

impl From<ControlError> for EngineError {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::Kernel { failure } => Self::Kernel(failure),
            ControlError::NotWaiting { id } => Self::NotWaiting { id },
            ControlError::TooManyRequests { limit } => Self::TooManyRequests { limit },
            ControlError::Faulted { refusal } => Self::Faulted(refusal),
            ControlError::Stopped {} => Self::Stopped,
            other => Self::Daemon(DaemonError::Answered(other)),
        }
    }
}
