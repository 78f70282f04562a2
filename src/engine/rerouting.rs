//! Flows whose routes change: each is requested on the interface by which its packets leave now, or loses its reservation.
//!
//! The kernel reports changes of routes, rules, addresses and links. A moment after the last one it is asked for the route
//! of each flow again.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::clock;
use super::core::{Caller, CallerNotification, Core};
use super::driver::{Driver, Returned};
use super::error::EngineError;
use super::flow_routes::{FoundRoutes, RerouteReply, WITHOUT_ROUTE};
use super::patience::{PATIENCE, in_time};
use super::queues::EngineCommand;
use crate::admission::NewFlow;
use crate::failure::KernelFailure;
use crate::linux::{Link, RouteQuery};
use crate::manager::{Answer, FlowPhase, Input, Loss, Lost, RequestId};

/// Changes come in rows: routes are looked up again once they have come.
const STEPS: Duration = Duration::from_millis(20);

/// The longest pause between two look-ups while routes change again and again.
const MOST_OFTEN: Duration = Duration::from_millis(500);

/// A flow on which the kernel works is tried again after this time.
const AGAIN: Duration = Duration::from_millis(50);

impl Driver {
    /// The route of any flow may have changed.
    pub(super) fn routes_changed(&mut self) {
        self.routes.clear();
        self.upkeep.routes.add(&(), STEPS, MOST_OFTEN);
    }

    /// Looks the route of each flow up again.
    pub(super) fn look_up_routes(&mut self) {
        if self.is_looking_up {
            // Its answers may be older than the change.
            return self.upkeep.routes.add(&(), STEPS, MOST_OFTEN);
        }
        self.upkeep.routes.needed(&());
        let (kernel, core) = (Arc::clone(&self.kernel), Arc::clone(&self.core));
        self.is_looking_up = true;
        let down = std::mem::take(&mut self.upkeep.down);
        self.calls.push(Box::pin(async move {
            // Without an answer the ports are part of the look-ups, which are then more.
            let with_ports = kernel.routes_use_ports().await.unwrap_or(true);
            let queries: HashMap<RouteQuery, Vec<String>> =
                super::core::lock(&core).flow_routes.queries(with_ports);
            let mut links = Vec::with_capacity(queries.len());
            for (query, ids) in queries {
                let link = in_time(0, PATIENCE, kernel.route(query)).await;
                let is_late = link.as_ref().is_err_and(KernelFailure::is_timeout);
                links.push((query, ids, link));
                if is_late {
                    break;
                }
            }
            Returned::Routed(FoundRoutes { links, down })
        }));
    }

    /// The routes of the flows were looked up.
    pub(super) fn routed(&mut self, found: FoundRoutes) {
        self.is_looking_up = false;
        for (asked, mut ids, link) in found.links {
            ids.retain(|id| self.core().flow_routes.is_of(id, &asked));
            match link {
                Ok(link) => self.flows_leave_by(ids, link),
                Err(failure) if failure.errno().is_some() => {
                    ids.into_iter().for_each(|id| self.has_no_route(id, &failure));
                }
                Err(_) => self.upkeep.routes.add(&(), MOST_OFTEN, MOST_OFTEN),
            }
        }
        for index in found.down {
            if self.upkeep.links.get(&index).is_some_and(|state| !state.carries) {
                self.link_carries(index, false);
            }
        }
    }

    /// The packets of flows leave by a link.
    fn flows_leave_by(&mut self, ids: Vec<String>, mut link: Link) {
        if let Some(name) = self.name(link.index) {
            // A link that was renamed has its budget under the name by which it was seen.
            link.name = name;
        }
        let link = Arc::new(link);
        for id in ids {
            if self.is_to_move(&id, &link.name) {
                self.dispatch(EngineCommand::Reroute { id, link: Arc::clone(&link), reply: None });
            }
        }
    }

    /// Whether a flow is to be requested on the interface by which its packets leave: on one of the policy at once. Where the
    /// policy has no such interface the flow would be lost, and the route may come back, as after a link that was down for a
    /// moment.
    fn is_to_move(&mut self, id: &str, to: &str) -> bool {
        let is_known = {
            let mut core = self.core();
            if !core.is_on_another(id, to) {
                core.flow_routes.found(id);
                return false;
            }
            let is_known = core.manager.ledger().policy().interface(to).is_some();
            if is_known {
                core.flow_routes.found(id);
            }
            is_known
        };
        is_known || self.is_missing(id)
    }

    fn has_no_route(&mut self, id: String, failure: &KernelFailure) {
        if self.is_missing(&id) {
            let why = Loss::NoRoute { failure: failure.clone() };
            self.core().feed(Input::RouteLost { id, why });
        }
    }

    /// Whether a flow has been without a route on the interfaces of the policy for long enough to lose its reservation; it is
    /// looked up again otherwise.
    fn is_missing(&mut self, id: &str) -> bool {
        let is_missing = {
            let mut core = self.core();
            let interface = core.manager.ledger().flow(id).map(|(interface, _)| interface.to_owned());
            // What a link that carries nothing sheds, the policy says.
            let is_down = interface.is_some_and(|interface| self.down.contains_key(&interface));
            core.flow_routes.missing(id, clock::now()) && !is_down
        };
        if !is_missing {
            self.upkeep.routes.add(&(), WITHOUT_ROUTE, MOST_OFTEN);
        }
        is_missing
    }

    /// Requests a flow on the interface by which its packets leave, which is looked at first where it is not known.
    pub(super) fn reroute(&mut self, id: String, link: Arc<Link>, reply: Option<RerouteReply>) {
        self.follow_name(&link);
        let known = self.core().manager.knows(&link.name);
        let root = if known { None } else { self.root_to_read(&link) };
        let command = EngineCommand::Reroute { id, link: Arc::clone(&link), reply };
        match (root, command) {
            (Some(root), command) => self.look_first(link, root, command),
            (None, EngineCommand::Reroute { id, link, reply }) => {
                let is_done = self.core().reroute(id, &link.name, reply);
                if !is_done {
                    self.upkeep.routes.add(&(), AGAIN, MOST_OFTEN);
                }
            }
            (None, _) => {}
        }
    }
}

impl Core {
    /// Whether a flow is reserved on another interface than this.
    pub(super) fn is_on_another(&self, id: &str, interface: &str) -> bool {
        self.manager.ledger().flow(id).is_some_and(|(reserved, _)| reserved != interface)
    }

    /// Requests a flow on the interface by which its packets leave. `false` where that has to be tried again.
    fn reroute(&mut self, id: String, to: &str, reply: Option<RerouteReply>) -> bool {
        let may = self.manager.may_reroute(NewFlow { id: &id, interface: to });
        if !may {
            if let Some(reply) = reply {
                // The caller may have gone.
                let _ = reply.send(Ok(None));
            }
            return !self.is_on_another(&id, to);
        }
        if reply.is_none() && self.manager.phase(&id) == Some(FlowPhase::Provisional) {
            // Its owner is still setting it up, and says where its packets leave once it has.
            return false;
        }
        let state = self.reservations.get(&id).and_then(Weak::upgrade);
        if reply.is_none() && !state.is_some_and(|state| state.is_movable()) {
            let why = Loss::Rerouted { to: to.to_owned(), reason: None };
            self.feed(Input::RouteLost { id, why });
            return true;
        }
        let interface = self.manager.ledger().flow(&id).map(|(interface, _)| interface.to_owned());
        let (flow, from) = (id.clone(), interface.unwrap_or_default());
        self.last_request += 1;
        let request = RequestId(self.last_request);
        self.callers.insert(request, Caller::Reroute { id, from, to: to.to_owned(), reply });
        self.feed(Input::Reroute { id: request, flow, to: to.to_owned() });
        true
    }

    /// A flow was requested on another interface.
    pub(super) fn rerouted(
        &mut self,
        answer: Answer,
        (id, from, to): (String, String, String),
        reply: Option<RerouteReply>,
    ) {
        self.receives_no_more(&id);
        let state = self.reservations.get(&id).and_then(Weak::upgrade);
        if answer.admitted.is_some() {
            match (reply, state) {
                (Some(reply), _) => drop(reply.send(Ok(Some(answer)))),
                (None, Some(state)) => {
                    let moved = CallerNotification::Moved { state, answer: Box::new(answer) };
                    self.outbox.notifications.push(moved);
                }
                // Its owner has dropped it just now, and its release follows.
                (None, None) => {}
            }
            return;
        }
        self.reservations.remove(&id);
        self.flow_routes.forget(&id);
        let why = Loss::Rerouted { to, reason: answer.decision.reason() };
        let (lost, watches) = (Lost { id, interface: from, why }, self.watches.clone());
        let lost = state.map(|state| CallerNotification::Lost { state, lost, watches });
        self.outbox.notifications.extend(lost);
        if let Some(reply) = reply {
            // The caller may have gone.
            let _ = reply.send(Err(EngineError::Refused(Box::new(answer.decision))));
        }
    }
}
