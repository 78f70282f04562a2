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
    let (mut class, mut group) = (ask.class.clone(), ask.group.clone());
    let mut renditions = match &ask.what {
        What::Qos(qos) => vec![(String::new(), **qos)],
        What::Template(name) => vec![template(name)?],
        What::FirstOf(names) => names.iter().map(|name| template(name)).collect::<Result<_, _>>()?,
        What::ByRule => match policy.rule_for(subject, &placement.link.name) {
            None => Vec::new(),
            Some(rule) => {
                class = class.or_else(|| rule.class.clone());
                group = group.or_else(|| rule.group.clone());
                rule.templates.iter().map(|name| template(name)).collect::<Result<_, _>>()?
            }
        },
    };
    let (first, qos) = match renditions.is_empty() {
        true => (String::new(), Qos::BEST_EFFORT),
        false => renditions.remove(0),
    };
    let Placement { id, link, owner } = placement;
    let request = Request::new(id.clone(), link.name.clone(), qos);
    let request =
        Request { class, owner: owner.clone(), group, client: ask.client.clone(), wait: ask.wait, ..request };
    Ok(Ladder { request, first, renditions })
}

#[cfg(test)]
mod tests {
    use flowspec::Bytes;

    use super::*;
    use crate::policy::{Protocol, Source};

    const POLICY: &str = r#"version = 1
[interface.eth0]
egress = { capacity = "1 Gbit/s" }
[interface.eth1]
egress = { capacity = "1 Gbit/s" }
[template.hd]
sending = { service_type = "guaranteed", token_rate = "6 Mbit/s" }
[template.sd]
sending = { service_type = "guaranteed", token_rate = "2 Mbit/s" }
[class.viewer]
[group.g]
interface = "eth0"
sending = { service_type = "guaranteed", token_rate = "20 Mbit/s" }
[[rule]]
match = { local_port = 443 }
group = "g"
template = ["hd", "sd"]
[[rule]]
class = "viewer"
template = "sd"
"#;

    /// What a flow on an interface asks for whose caller names this: its templates, class and group.
    #[track_caller]
    fn check(interface: &str, ask: Ask, templates: &[&str], class: Option<&str>, group: Option<&str>) {
        let (policy, _) = Policy::parse(&[Source { name: "p.toml", text: POLICY }]).expect("a policy");
        let subject = Subject { protocol: Protocol::Tcp, local_port: 443, peer: [192, 0, 2, 1].into() };
        let link = Link { index: 2, name: interface.into(), mtu: Bytes::new(1500), speed: None };
        let placement = Placement { id: "f".into(), link: Arc::new(link), owner: Owner::default() };
        let Ladder { request, first, renditions } =
            request_for(&policy, &ReservationRequest::new(ask, subject), &placement).expect("a request");
        let names: Vec<_> = std::iter::once(&first).chain(renditions.iter().map(|(name, _)| name)).collect();
        assert_eq!(names, templates);
        assert_eq!((request.class.as_deref(), request.group.as_deref()), (class, group));
    }

    #[test]
    fn a_rule_gives_its_ladder_its_class_and_its_group() {
        check("eth0", Ask::default(), &["hd", "sd"], None, Some("g"));
        check("eth1", Ask::default(), &["sd"], Some("viewer"), None);
        check("eth0", Ask::default().group("other"), &["hd", "sd"], None, Some("other"));
        check("eth1", Ask::default().class("other"), &["sd"], Some("other"), None);
        check("eth0", Ask::template("sd"), &["sd"], None, None);
    }
}
