//! The QOS that a request asks for: by template, by flowspec, or neither.

use flowspec::{Both, Direction, Flowspec, Qos};

use crate::admission::{Ladder, Refusal, RefusedRequest, Request, RequestKind, reserves_nothing};
use crate::policy::Policy;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum RequestedQos {
    /// The first template that fits, best first; best effort if there is none.
    Templates(Vec<String>),
    /// Flowspecs; an absent direction is best effort.
    Flowspecs(Box<Both<Option<Flowspec>>>),
}

/// What a renegotiation requests: both directions of the template, or else the flowspecs.
///
/// - **Errors**: the policy does not have the template.
pub(super) fn renegotiated(
    template: Option<&str>,
    flowspecs: Both<Option<Flowspec>>,
    policy: &Policy,
) -> Result<Both<Option<Flowspec>>, Refusal> {
    match template {
        None => Ok(flowspecs),
        Some(name) => match policy.templates.get(name) {
            Some(template) => Ok(template.qos.map(Some)),
            None => Err(Refusal::UnknownTemplate { template: name.to_owned() }),
        },
    }
}

/// A QOS with the name of its template; an explicit one has none.
type TemplateQos = (Option<String>, Qos);

impl RequestedQos {
    /// `None` if there are both templates and flowspecs.
    pub(super) fn new(templates: Vec<String>, flowspecs: Both<Option<Flowspec>>) -> Option<Self> {
        let explicit = flowspecs.sending.is_some() || flowspecs.receiving.is_some();
        match (explicit, templates.is_empty()) {
            (true, false) => None,
            (true, true) => Some(Self::Flowspecs(Box::new(flowspecs))),
            (false, _) => Some(Self::Templates(templates)),
        }
    }

    /// Whether neither template nor flowspec is given.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Templates(templates) if templates.is_empty())
    }

    /// Whether templates or flowspecs are given, and none of them reserves anything.
    pub(super) fn reserves_nothing(&self, policy: &Policy) -> bool {
        let reserve_nothing = |(_, qos): &TemplateQos| {
            Direction::BOTH.iter().all(|&direction| reserves_nothing(qos.get(direction)))
        };
        let renditions = self.clone().renditions(policy).unwrap_or_default();
        !renditions.is_empty() && renditions.iter().all(reserve_nothing)
    }

    pub(super) fn templates(&self) -> &[String] {
        match self {
            Self::Templates(templates) => templates,
            Self::Flowspecs(_) => &[],
        }
    }

    /// The request for a flow.
    ///
    /// - **Errors**: the policy does not have one of the templates; the request is refused.
    pub(super) fn reserve(self, request: Request, policy: &Policy) -> Result<Ladder, Box<RefusedRequest>> {
        match self.renditions(policy) {
            Ok(renditions) => {
                let mut renditions = renditions.into_iter();
                let (first, qos) = renditions.next().unwrap_or((None, Qos::BEST_EFFORT));
                // Only an explicit QOS has no name, and it is the only rendition.
                let renditions = renditions.filter_map(|(name, qos)| Some((name?, qos))).collect();
                Ok(Ladder { request: Request { qos, ..request }, first, renditions })
            }
            Err(refusal) => {
                let Request { id, interface, .. } = request;
                let (kind, interface) = (RequestKind::Reserve { id }, Some(interface));
                Err(Box::new(RefusedRequest { kind, interface, refusal }))
            }
        }
    }

    /// The QOS of a group: the first template, or the flowspecs.
    ///
    /// - **Errors**: the policy does not have the template.
    pub(super) fn group(self, policy: &Policy) -> Result<Qos, Refusal> {
        Ok(self.renditions(policy)?.into_iter().next().map_or(Qos::BEST_EFFORT, |(_, qos)| qos))
    }

    /// All acceptable renditions, best first.
    fn renditions(self, policy: &Policy) -> Result<Vec<TemplateQos>, Refusal> {
        match self {
            Self::Templates(templates) => {
                let renditions = templates.into_iter().map(|name| match policy.templates.get(&name) {
                    Some(template) => Ok((Some(name), template.qos)),
                    None => Err(Refusal::UnknownTemplate { template: name }),
                });
                renditions.collect()
            }
            Self::Flowspecs(flowspecs) => {
                let Both { sending, receiving } =
                    flowspecs.map(|spec: Option<Flowspec>| spec.unwrap_or(Flowspec::BEST_EFFORT));
                Ok(vec![(None, Qos { sending, receiving })])
            }
        }
    }
}
