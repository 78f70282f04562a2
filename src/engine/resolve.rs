//! What a client's request asks for, by the policy's templates and rules.

use flowspec::Qos;

use super::ask::What;
use super::request::ReservationRequest;
use crate::admission::Refusal;
use crate::policy::Policy;

/// What a request asks for under a policy.
pub(super) struct ResolvedAsk {
    /// The flowspecs that it accepts, best first, each with the name of its template; none for best effort.
    pub(super) renditions: Vec<(String, Qos)>,
    pub(super) class: Option<String>,
    pub(super) group: Option<String>,
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
    let renditions = match &ask.what {
        What::Qos(qos) => vec![(String::new(), **qos)],
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
    Ok(ResolvedAsk { renditions, class, group })
}
