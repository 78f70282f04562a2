//! Requests for reservations, and what they mean under a policy.

use std::sync::Arc;

use flowspec::Qos;

use super::ask::{Ask, What};
use crate::admission::{Ladder, Refusal, Request};
use crate::linux::Link;
use crate::policy::{Owner, Policy, Subject};

/// A client's request for a reservation.
#[derive(Clone, Debug)]
pub struct ReservationRequest {
    /// What the flow is to get.
    pub ask: Ask,
    /// The flow's transport, local port and peer: the peer decides the interface, all three the policy's rule.
    pub subject: Subject,
    /// The credentials that the policy's classes are matched against. `None` is this process: an engine in the same
    /// process looks them up if the policy needs them, a remote one takes those of the connection.
    pub owner: Option<Owner>,
}

impl ReservationRequest {
    /// A request of this process.
    pub const fn new(ask: Ask, subject: Subject) -> Self {
        Self { ask, subject, owner: None }
    }
}

/// What the engine adds to a request before its policy resolves it.
#[derive(Clone, Debug)]
pub(super) struct Placement {
    /// The flow's id.
    pub(super) id: String,
    /// The link by which the peer is reached.
    pub(super) link: Arc<Link>,
    /// The credentials of the caller, as far as the policy needs them.
    pub(super) owner: Owner,
}

/// A client's request on its way to the engine's task.
#[derive(Clone, Debug)]
pub(super) struct Submission {
    pub(super) request: ReservationRequest,
    pub(super) placement: Placement,
}

/// The admission request that a client's request stands for, by the policy's templates and rules.
///
/// - **Errors**: a template that the policy does not have.
pub(super) fn request_for(
    policy: &Policy,
    asked: &ReservationRequest,
    placement: &Placement,
) -> Result<Ladder, Refusal> {
    let ReservationRequest { ask, subject, .. } = asked;
    let template = |name: &str| match policy.templates.get(name) {
        Some(template) => Ok((name.to_owned(), template.qos)),
        None => Err(Refusal::UnknownTemplate { template: name.to_owned() }),
    };
    let mut class = ask.class.clone();
    let mut renditions = match &ask.what {
        What::Qos(qos) => vec![(String::new(), **qos)],
        What::Template(name) => vec![template(name)?],
        What::FirstOf(names) => names.iter().map(|name| template(name)).collect::<Result<_, _>>()?,
        What::ByRule => match policy.rule_for(subject) {
            None => Vec::new(),
            Some(rule) => {
                class = class.or_else(|| rule.class.clone());
                vec![template(&rule.template)?]
            }
        },
    };
    let (first, qos) = match renditions.is_empty() {
        true => (String::new(), Qos::BEST_EFFORT),
        false => renditions.remove(0),
    };
    let Placement { id, link, owner } = placement;
    let request = Request::new(id.clone(), link.name.clone(), qos);
    let request = Request {
        class,
        owner: owner.clone(),
        group: ask.group.clone(),
        client: ask.client.clone(),
        wait: ask.wait,
        ..request
    };
    Ok(Ladder { request, first, renditions })
}
