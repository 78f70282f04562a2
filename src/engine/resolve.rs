//! A client's request becomes one of admission: what it asks for, by the policy's templates and rules.

use flowspec::Qos;
use tokio::sync::oneshot;

use super::ask::{Ask, What};
use super::clock::{self, ManagerClock};
use super::core::{Caller, Core};
use super::request::{Placement, Rendition, ReservationRequest};
use super::reservation::ReserveReply;
use crate::admission::{Decision, Ladder, NewFlow, Operation, Refusal, RefusedRequest, Request, RequestKind};
use crate::policy::Policy;
use crate::telemetry::audit::{AuditFact, Audited};

impl Core {
    /// Resolves a client's request under the policy and submits it.
    pub(super) fn reserve(
        &mut self,
        request: &ReservationRequest,
        placement: &Placement,
        reply: oneshot::Sender<ReserveReply>,
    ) {
        match request_for(self.manager.ledger().policy(), self.clock, request, placement) {
            Ok(ladder) => {
                // An interface that the request names is no choice of the kernel.
                let route = request.interface.is_none().then(|| request.route());
                let caller = Caller::Reserve { id: placement.id.clone(), route, reply };
                self.submit(Box::new(Operation::Reserve(Box::new(ladder))), caller);
            }
            Err(refusal) => self.refuse((request, placement), refusal, reply),
        }
    }

    /// Refuses a request that does not reach the ledger.
    pub(super) fn refuse(
        &mut self,
        (asked, placement): (&ReservationRequest, &Placement),
        refusal: Refusal,
        reply: oneshot::Sender<ReserveReply>,
    ) {
        let (id, interface) = (placement.id.clone(), Some(placement.link.name.clone()));
        let refused = RefusedRequest { kind: RequestKind::Reserve { id }, interface, refusal };
        let (at, ledger) = (self.now(), self.manager.ledger());
        let decision = ledger.refused(at, refused);
        if self.is_audited() {
            let request = Box::new(named(ledger.policy(), self.clock, (asked, placement)));
            let fact = AuditFact::Refused { request: Some(request), decision: Box::new(decision.clone()) };
            self.audit(vec![Audited { at, fact }]);
        }
        self.record_refused(&decision);
        // The caller may have gone.
        let _ = reply.send(Err(Box::new(decision)));
    }

    /// What a client asks for in place of its reservation, by the policy's templates and rules.
    ///
    /// - **Errors**: the refusal.
    pub(super) fn renditions(
        &self,
        request: &ReservationRequest,
        interface: &str,
    ) -> Result<Vec<Rendition>, Box<Decision>> {
        let ledger = self.manager.ledger();
        let resolved = resolve(ledger.policy(), request, interface);
        match resolved {
            Ok(ResolvedAsk { first, renditions, .. }) => {
                let lower = renditions.into_iter().map(|(name, qos)| Rendition { template: Some(name), qos });
                Ok(std::iter::once(first).chain(lower).collect())
            }
            Err(refusal) => {
                let id = request.ask.id.clone();
                let kind = id.map_or(RequestKind::Query, |id| RequestKind::Renegotiate { id });
                let request = RefusedRequest { kind, interface: Some(interface.to_owned()), refusal };
                Err(Box::new(ledger.refused(self.now(), request)))
            }
        }
    }
}

/// What a request asks for under a policy.
pub(super) struct ResolvedAsk {
    /// What it accepts first, or best effort.
    pub(super) first: Rendition,
    /// The flowspecs that it accepts in their place, best first, each with the name of its template.
    pub(super) renditions: Vec<(String, Qos)>,
    class: Option<String>,
    group: Option<String>,
}

/// What a request for a flow on this interface asks for.
///
/// - **Errors**: a template that the policy does not have.
pub(super) fn resolve(
    policy: &Policy,
    request: &ReservationRequest,
    interface: &str,
) -> Result<ResolvedAsk, Refusal> {
    let ReservationRequest { ask, subject, .. } = request;
    let template = |name: &String| match policy.templates.get(name) {
        Some(template) => Ok((name.clone(), template.qos)),
        None => Err(Refusal::UnknownTemplate { template: name.clone() }),
    };
    let (mut class, mut group) = (ask.class.clone(), ask.group.clone());
    let named: Vec<_> = match &ask.what {
        What::Qos(_) => Vec::new(),
        What::Template(name) => vec![template(name)?],
        What::FirstOf(names) => names.iter().map(template).collect::<Result<_, _>>()?,
        What::ByRule => match policy.rule_for(subject, interface) {
            None => Vec::new(),
            Some(rule) => {
                class = class.or_else(|| rule.class.clone());
                group = group.or_else(|| rule.group.clone());
                rule.templates.iter().map(template).collect::<Result<_, _>>()?
            }
        },
    };
    let mut named = named.into_iter();
    let first = match (&ask.what, named.next()) {
        (What::Qos(qos), _) => Rendition { template: None, qos: **qos },
        (_, Some((name, qos))) => Rendition { template: Some(name), qos },
        (_, None) => Rendition { template: None, qos: Qos::BEST_EFFORT },
    };
    Ok(ResolvedAsk { first, renditions: named.collect(), class, group })
}

/// The admission request that a client's request stands for, by the policy's templates and rules.
///
/// - **Errors**: a template that the policy does not have.
fn request_for(
    policy: &Policy,
    clock: ManagerClock,
    request: &ReservationRequest,
    placement: &Placement,
) -> Result<Ladder, Refusal> {
    let resolved = resolve(policy, request, &placement.link.name)?;
    Ok(ladder_of(clock, (request, placement), resolved))
}

/// A refused request as the audit trail has it: what the policy makes of it, or else the names of its templates alone,
/// some of which the policy does not have.
fn named(
    policy: &Policy,
    clock: ManagerClock,
    (request, placement): (&ReservationRequest, &Placement),
) -> Ladder {
    let resolved = resolve(policy, request, &placement.link.name);
    let resolved = resolved.unwrap_or_else(|_| ResolvedAsk::unresolved(&request.ask));
    ladder_of(clock, (request, placement), resolved)
}

fn ladder_of(
    clock: ManagerClock,
    (request, placement): (&ReservationRequest, &Placement),
    resolved: ResolvedAsk,
) -> Ladder {
    let Placement { id, link, owner } = placement;
    let ResolvedAsk { first, renditions, class, group } = resolved;
    let Rendition { template: first, qos } = first;
    let ask = &request.ask;
    let request = Request {
        class,
        group,
        client: ask.client.clone(),
        owner: owner.clone(),
        start: ask.start.map(|start| clock.at(start)),
        end: ask.end.map(|end| clock.at(end)),
        time_to_live: ask.time_to_live.map(clock::micros),
        wait: ask.wait,
        setup_priority: ask.setup_priority,
        holding_priority: ask.holding_priority,
        ..Request::new(NewFlow { id, interface: &link.name }, qos)
    };
    Ladder { request, first, renditions }
}

impl ResolvedAsk {
    /// The names that a request has; the flowspecs of its templates are not known.
    fn unresolved(ask: &Ask) -> Self {
        let names = match &ask.what {
            What::Template(name) => std::slice::from_ref(name),
            What::FirstOf(names) => names,
            What::ByRule | What::Qos(_) => &[],
        };
        let (mut names, qos) = (names.iter().cloned(), Qos::BEST_EFFORT);
        let first = Rendition { template: names.next(), qos };
        let renditions = names.map(|name| (name, qos)).collect();
        Self { first, renditions, class: ask.class.clone(), group: ask.group.clone() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use flowspec::Bytes;

    use super::*;
    use crate::linux::Link;
    use crate::policy::{Owner, Protocol, Source, Subject};

    const POLICY: &str = include_str!("../../tests/common/ladder.toml");

    /// What a flow on an interface asks for whose caller names this: its templates, class and group.
    #[track_caller]
    fn check(interface: &str, ask: Ask, templates: &[&str], class: Option<&str>, group: Option<&str>) {
        let (policy, _) = Policy::parse(&[Source { name: "p.toml", text: POLICY }]).expect("a policy");
        let subject = Subject { protocol: Protocol::Tcp, local_port: 443, peer: [192, 0, 2, 1].into() };
        let (name, mtu) = (interface.into(), Bytes::new(1500));
        let link =
            Link { index: 2, name, mtu, speed: None, carries: true, shares_wire_with: None, is_vrf: false };
        let placement = Placement { id: "f".into(), link: Arc::new(link), owner: Owner::default() };
        let Ladder { request, first, renditions } =
            request_for(&policy, ManagerClock::start(), &ReservationRequest::new(ask, subject), &placement)
                .expect("a request");
        let names: Vec<_> = first.iter().chain(renditions.iter().map(|(name, _)| name)).collect();
        assert_eq!(names, templates);
        assert_eq!((request.class.as_deref(), request.group.as_deref()), (class, group));
    }

    #[test]
    fn a_rule_gives_its_ladder_its_class_and_its_group() {
        check("eth0", Ask::default(), &["hd", "sd"], None, Some("channel7"));
        check("eth1", Ask::default(), &["sd"], Some("viewer"), None);
        check("eth0", Ask::default().group("other"), &["hd", "sd"], None, Some("other"));
        check("eth1", Ask::default().class("other"), &["sd"], Some("other"), None);
        check("eth0", Ask::template("sd"), &["sd"], None, None);
    }
}
