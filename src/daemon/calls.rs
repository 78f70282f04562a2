//! The answers to the calls that have one.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use flowspec::{Both, Flowspec, Qos};
use shaper::clock;

use super::attached::attach;
use super::held::{Client, Requester};
use super::holdings::NotRequested;
use super::notices::Process;
use super::peer::Peer;
use super::requests::{check_names, failed, invalid, parameters, reservation_request, route_query};
use super::sockets::close_elsewhere;
use super::state::DaemonServer;
use super::status::status;
use crate::admission::{Decision, GroupRequest, Operation};
use crate::control::{
    AdoptCall, Attached, ClientNotice, ControlError, DecisionReply, DrainReply, EgressCall, EgressReply,
    GetInterfaceDescription, GroupCall, INTERFACE, INTERFACE_NAME, InterfaceDescription, JsonText,
    MethodCall, QueryCall, RefreshCall, ReleaseCall, ReloadReply, RenditionRecord, RenditionsReply,
    RenegotiateCall, ReserveCall, ServiceInfo, UngroupCall,
};
use crate::engine::{Admitted, Engine, EngineError, Granted};
use crate::linux::socket::route_of;
use crate::linux::{ProcessDescriptor, RouteQuery, random_name, socket_of_process};
use crate::policy::GroupMode;

/// One client's view of the daemon.
pub(super) struct CallingPeer {
    pub(super) server: Arc<DaemonServer>,
    pub(super) peer: Peer,
    pub(super) client: Client,
}

type CallResult<T> = Result<T, ControlError>;

impl CallingPeer {
    /// Answers a call that has one reply.
    ///
    /// - **Errors**: in place of the reply. A refusal is a reply.
    pub(super) async fn answer(
        &self,
        request: MethodCall,
        descriptor: Option<OwnedFd>,
    ) -> CallResult<JsonText> {
        if request.method().is_administrative() && !self.peer.is_administrator {
            close_elsewhere(descriptor);
            return Err(ControlError::NotPermitted { method: request.method().name().to_owned() });
        }
        if let MethodCall::Attach(flow) = &request {
            return parameters(&self.attach(&flow.id, descriptor)?);
        }
        if let Some(descriptor) = descriptor {
            close_elsewhere(Some(descriptor));
            let problem = format!("{} takes none", request.method().name());
            return Err(ControlError::Descriptor { problem });
        }
        match request {
            MethodCall::Reserve(asked) => {
                let began = clock::now();
                let decided = self.reserve(*asked).await;
                self.server.observed.answered(began);
                parameters(self.counted(&decided?))
            }
            MethodCall::Commit(flow) => {
                self.own(&flow.id)?;
                self.server.holdings.commit(&flow.id);
                nothing()
            }
            MethodCall::Renegotiate(asked) => {
                let decided = self.renegotiate(*asked).await?;
                parameters(self.counted(&decided))
            }
            MethodCall::Refresh(asked) => parameters(&self.refresh(asked).await?),
            MethodCall::Release(asked) => self.release(&asked),
            MethodCall::Query(asked) => parameters(&self.query(*asked).await?),
            MethodCall::Renditions(asked) => parameters(&self.renditions(&asked).await?),
            MethodCall::Adopt(asked) => parameters(&self.adopt(&asked)?),
            MethodCall::Group(asked) => parameters(&self.group(*asked).await?),
            MethodCall::Ungroup(group) => parameters(&self.ungroup(group).await?),
            MethodCall::Egress(asked) => parameters(&self.egress(&asked).await?),
            MethodCall::Status(asked) => parameters(&status(&self.server, &self.peer, asked).await?),
            MethodCall::Reload(_) => parameters(&ReloadReply { changes: self.server.reload().await? }),
            MethodCall::Plan(_) => parameters(&ReloadReply { changes: self.server.plan().await? }),
            MethodCall::Drain(asked) => {
                let draining = !asked.resume.unwrap_or(false);
                self.server.drain(draining);
                parameters(&DrainReply { draining, flows: self.server.holdings.count() })
            }
            MethodCall::GetInfo(_) => parameters(&info()),
            MethodCall::GetInterfaceDescription(asked) => parameters(&description(&asked)?),
            // Answered by `streams`, and above.
            MethodCall::Wait(_) | MethodCall::Flows(_) | MethodCall::Events(_) | MethodCall::Attach(_) => {
                Err(ControlError::MethodNotImplemented { method: request.method().name().to_owned() })
            }
        }
    }

    /// A decision as the caller may see it: it names no flows of other users.
    fn shown_decision(&self, mut decision: Decision) -> Decision {
        if !self.peer.is_administrator {
            decision.retain_named(|id| self.owns(id));
        }
        decision
    }

    /// Whether the caller holds this flow or has made this group.
    pub(super) fn owns(&self, id: &str) -> bool {
        let holdings = &self.server.holdings;
        holdings.owner(id).or_else(|| holdings.group_owner(id)) == Some(self.peer.uid)
    }

    /// - **Errors**: the caller may not see this reservation, or there is none.
    pub(super) fn own(&self, id: &str) -> CallResult<()> {
        let owner = self.server.holdings.owner(id);
        match owner {
            Some(uid) if uid == self.peer.uid || self.peer.is_administrator => Ok(()),
            _ => Err(ControlError::UnknownId { id: id.to_owned() }),
        }
    }

    /// - **Errors**: another user has made the group.
    fn own_group(&self, id: Option<&str>) -> CallResult<()> {
        let owner = id.and_then(|id| self.server.holdings.group_owner(id));
        match (owner, id) {
            (Some(uid), Some(id)) if uid != self.peer.uid && !self.peer.is_administrator => {
                Err(ControlError::UnknownId { id: id.to_owned() })
            }
            _ => Ok(()),
        }
    }

    async fn reserve(&self, asked: ReserveCall) -> CallResult<DecisionReply> {
        if self.server.is_draining() {
            return Err(ControlError::Draining {});
        }
        self.own_group(asked.group.as_deref())?;
        let id = match asked.id.clone().filter(|id| !id.is_empty()) {
            Some(id) => id,
            None => random_name().map_err(|failure| ControlError::Kernel { failure })?,
        };
        if let Some(epoch) = &asked.epoch
            && let Some((decision, admitted)) = self.server.holdings.claim(&id, epoch, self.client)
        {
            let claimed = self.reply((decision, Some(admitted)), asked.details);
            return Ok(DecisionReply { epoch: asked.epoch, ..claimed });
        }
        let request = reservation_request(&asked, &self.peer.owner, Some(id.clone()))?;
        self.check_link(&asked).await?;
        let server = &self.server;
        let most = if self.peer.is_administrator { usize::MAX } else { server.users.limits().flows };
        // Another user's flow may wait under this id.
        if server.holdings.is_waiting(&id) {
            self.own(&id)?;
        }
        let requested = match server.holdings.request(&id, self.client, most) {
            Ok(requested) => Some(requested),
            // The ledger refuses it, with its reason.
            Err(NotRequested::Taken) => None,
            Err(NotRequested::TooMany(flows)) => {
                return Err(ControlError::TooManyFlows { uid: self.peer.uid, flows });
            }
        };
        match (server.engine.reserve(request).await, requested) {
            (Ok(granted), Some(requested)) => {
                let (decision, admitted) = (granted.decision.clone(), granted.admitted.clone());
                self.follow_waiting(requested.id(), decision.is_waiting());
                requested.granted(granted, self.requester(&asked));
                let epoch = Some(server.holdings.epoch().to_owned());
                Ok(DecisionReply { epoch, ..self.reply((decision, Some(admitted)), asked.details) })
            }
            // The flow that had the id has just ended: the next attempt has it.
            (Ok(Granted { .. }), None) => Err(ControlError::TooManyRequests { limit: 1 }),
            (Err(EngineError::Refused(decision)), _) => {
                self.follow_waiting(&id, decision.is_waiting());
                Ok(self.reply((*decision, None), asked.details))
            }
            (Err(error), _) => Err(failed(error)),
        }
    }

    /// What is to be known of a request to make it again.
    fn requester(&self, asked: &ReserveCall) -> Requester {
        Requester {
            client: asked.client.clone(),
            group: asked.group.clone(),
            owner: self.peer.owner.clone(),
            setup_priority: asked.setup_priority,
            holding_priority: asked.holding_priority,
            names_interface: asked.interface.is_some() && asked.peer.is_none(),
        }
    }

    /// A request without a peer leaves by its interface, which has to be there.
    async fn check_link(&self, asked: &ReserveCall) -> CallResult<()> {
        if let (None, Some(interface)) = (asked.peer, &asked.interface)
            && !self.server.engine.has_link(interface).await.map_err(failed)?
        {
            return Err(invalid(&format!("interface: there is no link {interface:?}; give a peer")));
        }
        Ok(())
    }

    /// Notifies the client whenever capacity is free for a flow that waits.
    fn follow_waiting(&self, id: &str, is_waiting: bool) {
        let holdings = &self.server.holdings;
        if !is_waiting {
            holdings.stop_waiting(id);
            return;
        }
        let (engine, notices) = (Arc::clone(&self.server.engine), Arc::clone(&self.server.notices));
        let (flow, process): (String, Process) = (id.to_owned(), self.client.process);
        let task = tokio::spawn(async move {
            while engine.wait_for_capacity(&flow).await.is_ok() {
                notices.notify(process, &flow, &ClientNotice::Capacity { id: flow.clone() });
            }
        });
        holdings.waits(id.to_owned(), self.client, task.abort_handle());
    }

    async fn renegotiate(&self, asked: RenegotiateCall) -> CallResult<DecisionReply> {
        let RenegotiateCall { id, template, sending, receiving, details } = asked;
        self.own(&id)?;
        let flowspecs = match template {
            None => Both { sending, receiving },
            Some(_) if sending.is_some() || receiving.is_some() => {
                return Err(invalid("a template stands for sending and receiving: give one or the other"));
            }
            Some(name) => self.template(&name)?.map(Some),
        };
        let answer = self.server.engine.renegotiate(id.clone(), flowspecs).await.map_err(failed)?;
        if let Some(admitted) = &answer.admitted {
            self.server.holdings.renegotiated(&id, admitted.clone());
        }
        Ok(self.reply((answer.decision, answer.admitted), details))
    }

    async fn refresh(&self, asked: RefreshCall) -> CallResult<DecisionReply> {
        let RefreshCall { id, ttl_us: time_to_live, details } = asked;
        self.own(&id)?;
        let refreshed = Operation::Refresh { id: id.clone(), time_to_live };
        let answer = self.submit(refreshed, details).await;
        self.server.holdings.changed(&id);
        answer
    }

    fn release(&self, asked: &ReleaseCall) -> CallResult<JsonText> {
        self.own(&asked.id)?;
        let holdings = &self.server.holdings;
        let waited = holdings.stop_waiting(&asked.id);
        if waited {
            self.server.engine.stop_waiting(&asked.id);
        }
        if !holdings.release(asked) && !waited {
            return Err(ControlError::UnknownId { id: asked.id.clone() });
        }
        nothing()
    }

    async fn query(&self, asked: QueryCall) -> CallResult<DecisionReply> {
        let QueryCall { interface, peer, class, group, client, template, sending, receiving, details } =
            asked;
        check_names(&[("interface", interface.as_deref()), ("class", class.as_deref())])?;
        let interface = match (interface, peer) {
            (Some(interface), _) => interface,
            (None, Some(peer)) => {
                let query = route_query(peer, None, &self.peer.owner);
                self.server.engine.egress(query).await.map_err(failed)?.interface
            }
            (None, None) => return Err(invalid("peer or interface: one of them is needed")),
        };
        let flowspecs = Both { sending, receiving };
        let names_a_flow = class.is_some() || group.is_some() || client.is_some() || template.is_some();
        let request = (names_a_flow || sending.is_some() || receiving.is_some()).then_some(());
        let request = match request {
            None => None,
            Some(()) => {
                let qos = self.qos(template.as_deref(), flowspecs)?;
                let mut request = crate::admission::Request::unnamed(&interface, qos);
                (request.class, request.group, request.client) = (class, group, client);
                request.owner = self.peer.owner.clone();
                Some(Box::new(request))
            }
        };
        self.submit(Operation::Query { interface, request }, details).await
    }

    async fn renditions(&self, asked: &ReserveCall) -> CallResult<RenditionsReply> {
        let request = reservation_request(asked, &self.peer.owner, asked.id.clone())?;
        self.check_link(asked).await?;
        let renditions = match self.server.engine.renditions(request).await {
            Ok(renditions) => renditions,
            Err(EngineError::Refused(decision)) => return Err(invalid(&decision.message())),
            Err(error) => return Err(failed(error)),
        };
        let record = |rendition: crate::engine::Rendition| {
            let Qos { sending, receiving } = rendition.qos;
            RenditionRecord { template: rendition.template, sending, receiving }
        };
        Ok(RenditionsReply { renditions: renditions.into_iter().map(record).collect() })
    }

    fn attach(&self, id: &str, descriptor: Option<OwnedFd>) -> CallResult<Attached> {
        let Some(descriptor) = descriptor else {
            let problem = "the call needs a socket, passed with its first byte by SCM_RIGHTS".to_owned();
            return Err(ControlError::Descriptor { problem });
        };
        let admitted = self.own(id).and_then(|()| {
            self.server.holdings.admitted(id).ok_or_else(|| ControlError::UnknownId { id: id.to_owned() })
        });
        match admitted {
            Ok(admitted) => {
                let route = route_of(&descriptor);
                let attached = attach((&self.server, &*self.server.sockets), (id, &admitted), descriptor)?;
                if let Some(route) = route
                    && !self.server.holdings.names_interface(id)
                {
                    self.follow_route(id, route);
                }
                Ok(attached)
            }
            Err(error) => {
                close_elsewhere(Some(descriptor));
                Err(error)
            }
        }
    }

    /// Has the engine follow the route of a socket's packets; where these leave by another interface than the one that is
    /// reserved, the flow is requested there, and its client is notified.
    fn follow_route(&self, id: &str, route: RouteQuery) {
        let Some(state) = self.server.holdings.reservation(id) else { return };
        let (engine, id) = (Arc::clone(&self.server.engine), id.to_owned());
        tokio::spawn(async move {
            if let Ok(Some(answer)) = engine.follow_route(id, route).await {
                state.moved(answer);
            }
        });
    }

    fn adopt(&self, asked: &AdoptCall) -> CallResult<Attached> {
        self.own(&asked.id)?;
        let uid = (!self.peer.is_administrator).then_some(self.peer.uid);
        let process = ProcessDescriptor { pid: asked.pid, descriptor: asked.fd, uid };
        let taker = self.server.confined.taker.as_ref();
        let socket = socket_of_process(process, taker).map_err(|failure| ControlError::Kernel { failure })?;
        self.attach(&asked.id, Some(socket))
    }

    async fn group(&self, asked: GroupCall) -> CallResult<DecisionReply> {
        if self.server.is_draining() {
            return Err(ControlError::Draining {});
        }
        let GroupCall { id, interface, class, mode, template, sending, receiving, details } = asked;
        check_names(&[("id", Some(&id)), ("interface", Some(&interface)), ("class", class.as_deref())])?;
        if id.is_empty() {
            return Err(invalid("id: a group needs one"));
        }
        self.own_group(Some(&id))?;
        let qos = self.qos(template.as_deref(), Both { sending, receiving })?;
        let mode = mode.unwrap_or(GroupMode::Envelope);
        let request = GroupRequest { id, interface, class, mode, qos };
        let operation = Operation::Group(Box::new(request.clone()));
        let _asked = self.server.group_requests.enter(&request.id, self.client.process);
        let answer = self.server.engine.submit(operation).await.map_err(failed)?;
        if answer.decision.is_ok() {
            self.server.holdings.group_made(request, self.client);
        }
        Ok(self.reply((answer.decision, None), details))
    }

    async fn ungroup(&self, asked: UngroupCall) -> CallResult<DecisionReply> {
        let UngroupCall { id, details } = asked;
        let owner = self.server.holdings.group_owner(&id);
        if owner.is_none() && !self.peer.is_administrator {
            return Err(ControlError::UnknownId { id });
        }
        self.own_group(Some(&id))?;
        self.server.holdings.group_ended(&id);
        self.submit(Operation::Ungroup { id }, details).await
    }

    async fn egress(&self, asked: &EgressCall) -> CallResult<EgressReply> {
        let query = route_query(asked.peer, asked.route.as_ref(), &self.peer.owner);
        let egress = self.server.engine.egress(query).await.map_err(failed)?;
        Ok(EgressReply { interface: egress.interface, line_rate: egress.line_rate })
    }

    /// The same, counted where it is a refusal.
    fn counted<'a>(&self, reply: &'a DecisionReply) -> &'a DecisionReply {
        if let Some(reason) = reply.decision.reason() {
            self.server.observed.refused(reason);
        }
        reply
    }

    /// A decision and what was admitted as a reply, which names no flows of other users.
    fn reply(
        &self,
        (decision, admitted): (Decision, Option<Admitted>),
        details: Option<bool>,
    ) -> DecisionReply {
        let decision = self.shown_decision(decision);
        DecisionReply { decision, admitted, epoch: None, details: details.unwrap_or(false) }
    }

    /// The flowspecs of a template, or those that are given; an absent direction is best effort.
    fn qos(&self, template: Option<&str>, flowspecs: Both<Option<Flowspec>>) -> CallResult<Qos> {
        if let Some(name) = template {
            return self.template(name);
        }
        let Both { sending, receiving } = flowspecs.map(|spec| spec.unwrap_or(Flowspec::BEST_EFFORT));
        Ok(Qos { sending, receiving })
    }

    fn template(&self, name: &str) -> CallResult<Qos> {
        let unknown = || invalid(&format!("template: the policy has no template {name:?}"));
        self.server.engine.template(name).ok_or_else(unknown)
    }

    async fn submit(&self, operation: Operation, details: Option<bool>) -> CallResult<DecisionReply> {
        let answer = self.server.engine.submit(operation).await.map_err(failed)?;
        Ok(self.reply((answer.decision, answer.admitted), details))
    }
}

fn nothing() -> CallResult<JsonText> {
    Ok(JsonText::default())
}

fn info() -> ServiceInfo {
    ServiceInfo {
        vendor: "gqos".into(),
        product: "gqos daemon".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        url: env!("CARGO_PKG_REPOSITORY").into(),
        interfaces: vec!["org.varlink.service".into(), INTERFACE_NAME.into()],
    }
}

fn description(asked: &GetInterfaceDescription) -> CallResult<InterfaceDescription> {
    let description = match asked.interface.as_str() {
        INTERFACE_NAME => INTERFACE,
        "org.varlink.service" => SERVICE_INTERFACE,
        _ => return Err(ControlError::InterfaceNotFound { interface: asked.interface.clone() }),
    };
    Ok(InterfaceDescription { description: description.to_owned() })
}

/// What every varlink service has.
const SERVICE_INTERFACE: &str = "\
interface org.varlink.service

method GetInfo() -> (vendor: string, product: string, version: string, url: string, interfaces: []string)

method GetInterfaceDescription(interface: string) -> (description: string)

error InterfaceNotFound (interface: string)

error MethodNotFound (method: string)

error MethodNotImplemented (method: string)

error InvalidParameter (parameter: string)

error PermissionDenied ()

error ExpectedMore ()
";
