//! The operations other than a reservation: what each changes in the ledger, and the response to it.

use flowspec::{Both, Bytes, Direction, Flowspec, Micros, Moment, Qos, Rate, TSpec};

use super::measurement::Measurement;
use super::state::Ledger;
use crate::admission::ended::{EndCause, EndedFlow};
use crate::admission::peer::PeerState;
use crate::admission::refusal::Refusal;
use crate::admission::request::{Grant, GroupRequest, Request};
use crate::admission::response::{
    AdmittedGroup, ChangedCapacity, EndedGroup, Fits, FreeCapacity, MeasuredClass, RefreshedFlow, Refused,
    ReleasedFlow, RenegotiatedFlow, ReportedPeer, Response,
};
use crate::policy::Policy;

/// A response, with the interface whose totals belong to it.
pub(super) type Answered = (Response, Option<String>);

impl Ledger {
    pub(super) fn decide_renegotiate(
        &mut self,
        id: &str,
        flowspecs: &Both<Option<Flowspec>>,
        grant: &mut Option<Grant>,
    ) -> Answered {
        let result = self.renegotiate(id, flowspecs.sending, flowspecs.receiving);
        if result.is_ok() {
            self.waiting.leave(id);
        }
        let interface = self.interface_of(id);
        *grant = result.as_ref().ok().cloned();
        let result = result.and_then(|Grant { charged, .. }| {
            let interface = interface.clone()?;
            Ok(Box::new(RenegotiatedFlow { interface, charged, enforced: None }))
        });
        let result = refused(&self.policy, result);
        (Response::Renegotiate { id: id.to_owned(), result }, interface.ok())
    }

    pub(super) fn decide_refresh(&mut self, id: &str, time_to_live: Micros) -> Answered {
        let refreshed = self.refresh(id, time_to_live);
        let interface = self.interface_of(id);
        let result =
            refreshed.and_then(|()| Ok(RefreshedFlow { interface: interface.clone()?, time_to_live }));
        let result = refused(&self.policy, result);
        (Response::Refresh { id: id.to_owned(), result }, interface.ok())
    }

    pub(super) fn decide_peer(
        &mut self,
        id: &str,
        (state, since): (PeerState, Option<Moment>),
        ended: &mut Vec<EndedFlow>,
    ) -> Answered {
        let interface = self.interface_of(id);
        let result = self.report_peer(id, state, since).and_then(|lost| {
            let loss = lost.as_ref().and_then(EndedFlow::peer_loss);
            ended.extend(lost);
            Ok(ReportedPeer { interface: interface.clone()?, state, loss, ends: self.peer_end(id) })
        });
        let result = refused(&self.policy, result);
        (Response::Peer { id: id.to_owned(), result }, interface.ok())
    }

    pub(super) fn decide_release(&mut self, id: &str) -> Answered {
        let interface = self.interface_of(id);
        let released = self.release(id);
        let waited = self.waiting.leave(id);
        let result = match released {
            Some(charged) => {
                interface.clone().map(|interface| ReleasedFlow::Flow { interface, charged: Some(charged) })
            }
            None if waited => Ok(ReleasedFlow::Waiting),
            None => Err(Refusal::UnknownId { id: id.to_owned() }),
        };
        let result = refused(&self.policy, result);
        (Response::Release { id: id.to_owned(), result }, interface.ok())
    }

    pub(super) fn decide_group(&mut self, request: &GroupRequest) -> Answered {
        let GroupRequest { id, interface, .. } = request;
        let result = refused(&self.policy.clone(), self.group(request));
        let result =
            result.map(|Grant { charged, .. }| AdmittedGroup { interface: interface.clone(), charged });
        (Response::Group { id: id.clone(), result }, Some(interface.clone()))
    }

    pub(super) fn decide_ungroup(&mut self, id: &str) -> Answered {
        let totals = self.group_totals(id);
        let interface = totals
            .map(|(interface, _)| interface.to_owned())
            .ok_or_else(|| Refusal::UnknownGroup { group: id.to_owned() });
        let ungrouped = self.ungroup(id);
        let result =
            ungrouped.and_then(|gone| Ok(EndedGroup { interface: interface.clone()?, has_members: !gone }));
        let result = refused(&self.policy, result);
        (Response::Ungroup { id: id.to_owned(), result }, interface.ok())
    }

    pub(super) fn decide_capacity(
        &mut self,
        interface: &str,
        direction: Direction,
        capacity: Rate,
        ended: &mut Vec<EndedFlow>,
    ) -> Answered {
        let known = self.policy.interface(interface).is_some();
        let gone = self.set_capacity(interface, direction, capacity);
        let shed = gone.iter().map(|held| held.id.clone()).collect();
        ended.extend(gone.into_iter().map(|held| EndedFlow { held, cause: EndCause::Shed }));
        let result = if known {
            let counts_from = self.rises(interface, direction);
            let (interface, not_programmed) = (interface.to_owned(), None);
            Ok(Box::new(ChangedCapacity {
                interface,
                direction,
                capacity,
                counts_from,
                shed,
                not_programmed,
            }))
        } else {
            let refusal = Refusal::UnknownInterface { interface: interface.to_owned() };
            Err(Refused::under(&self.policy, refusal))
        };
        (Response::Capacity(result), Some(interface.to_owned()))
    }

    pub(super) fn decide_measure(&mut self, measurement: Measurement<'_>) -> Answered {
        let Measurement { interface, class, rate, .. } = measurement;
        let result = refused(&self.policy.clone(), self.measure(measurement));
        let result = result.map(|()| {
            let relief = self.relief(interface);
            Box::new(MeasuredClass { interface: interface.to_owned(), class: class.to_owned(), rate, relief })
        });
        (Response::Measure(result), Some(interface.to_owned()))
    }

    pub(super) fn decide_query(&mut self, interface: &str, request: Option<&Request>) -> Answered {
        let result = refused(&self.policy.clone(), self.query(interface, request));
        (Response::Query(result), Some(interface.to_owned()))
    }

    /// What is free of an interface and of its parents, and when a flow would fit first there.
    ///
    /// - **Errors**: the policy does not have the interface, or no ledger of this policy could admit the request at any
    ///   time, as it names something that does not exist or contradicts itself.
    fn query(&mut self, interface: &str, request: Option<&Request>) -> Result<FreeCapacity, Refusal> {
        let Some(totals) = self.totals(interface) else {
            return Err(Refusal::UnknownInterface { interface: interface.to_owned() });
        };
        let fits = match request {
            None => None,
            Some(request) => match self.prepare(request) {
                Err(refusal) if refusal.is_invalid_request() => return Err(refusal),
                // What has been refused first, such as its packets on this interface, hides a contradiction.
                Err(_) => match contradiction(&request.qos) {
                    Some(refusal) => return Err(refusal),
                    None => Some(self.earliest(request).map_or(Fits::Never, Fits::At)),
                },
                Ok(_) => Some(self.earliest(request).map_or(Fits::Never, Fits::At)),
            },
        };
        let mut available = totals.map(|totals| totals.available());
        for parent in self.wire_names(interface).into_iter().filter_map(|parent| self.totals(&parent)) {
            for direction in Direction::BOTH {
                let least = available.get_mut(direction);
                *least = (*least).min(parent.get(direction).available());
            }
        }
        let preemption = self.policy.preemption;
        Ok(FreeCapacity { interface: interface.to_owned(), available, fits, preemption })
    }

    /// The interface of a flow that is admitted.
    fn interface_of(&self, id: &str) -> Result<String, Refusal> {
        let flow = self.flow(id);
        flow.map(|(interface, _)| interface.to_owned())
            .ok_or_else(|| Refusal::UnknownId { id: id.to_owned() })
    }
}

/// The contradiction of a request's flowspecs that no interface changes.
fn contradiction(qos: &Qos) -> Option<Refusal> {
    Direction::BOTH.into_iter().find_map(|direction| {
        let spec = qos.get(direction);
        // Of an interface that carries its packets. A target of zero that is met nowhere hides what else contradicts.
        let mtu = spec.max_sdu_size.unwrap_or(Bytes::MAX);
        let spec = Flowspec { latency: None, delay_variation: None, ..*spec };
        match TSpec::new(&spec, direction, mtu) {
            Err(error) => Some(Refusal::InvalidFlowspec { direction, error }),
            Ok(_) => None,
        }
    })
}

fn refused<T>(policy: &Policy, result: Result<T, Refusal>) -> Result<T, Box<Refused>> {
    result.map_err(|refusal| Refused::under(policy, refusal))
}
