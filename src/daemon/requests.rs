//! From the parameters of a call to a request of the engine, and from its answers to parameters and errors.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use flowspec::{Both, Flowspec, Micros, Qos};
use serde::Serialize;
use serde_json::Value;

use crate::control::limits::MOST_NAME_BYTES;
use crate::control::{ControlError, JsonText, ReserveCall, RouteHints};
use crate::engine::{Ask, EngineError, ReservationRequest, What};
use crate::linux::{Ports, RouteQuery, RouteSelectors};
use crate::policy::{Owner, Protocol, Subject};

/// What a client asks for, on behalf of its owner.
///
/// - **Errors**: a parameter that is missing, excludes another or is too long.
pub(super) fn reservation_request(
    asked: &ReserveCall,
    owner: &Owner,
    id: Option<String>,
) -> Result<ReservationRequest, ControlError> {
    check_names(&[
        ("id", asked.id.as_deref()),
        ("interface", asked.interface.as_deref()),
        ("class", asked.class.as_deref()),
        ("group", asked.group.as_deref()),
        ("client", asked.client.as_deref()),
        ("template", asked.template.as_deref()),
    ])?;
    if asked.peer.is_none() && asked.interface.is_none() {
        return Err(invalid("peer or interface: one of them is needed"));
    }
    let mut ask = Ask { what: what(asked)?, ..Ask::default() };
    ask.id = id;
    ask.class.clone_from(&asked.class);
    ask.group.clone_from(&asked.group);
    ask.client.clone_from(&asked.client);
    ask.wait = asked.wait.unwrap_or(false);
    ask.time_to_live = asked.ttl_us.map(duration);
    (ask.setup_priority, ask.holding_priority) = (asked.setup_priority, asked.holding_priority);
    if let Some(delay) = asked.starts_in_us {
        ask = ask.starting_in(duration(delay));
    }
    if let Some(end) = asked.ends_in_us {
        ask = ask.ending_in(duration(end));
    }
    let peer = asked.peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let protocol = asked.protocol.unwrap_or(Protocol::Tcp);
    let subject = Subject { protocol, local_port: asked.local_port.unwrap_or(0), peer: peer.to_canonical() };
    let selectors = selectors(asked.route.as_ref(), owner);
    let mut request = ReservationRequest::new(ask, subject);
    (request.selectors, request.owner) = (selectors, Some(owner.clone()));
    request.interface.clone_from(&asked.interface);
    Ok(request)
}

/// The packets whose interface a client asks for.
pub(super) fn route_query(peer: IpAddr, route: Option<&RouteHints>, owner: &Owner) -> RouteQuery {
    RouteQuery { peer: peer.to_canonical(), selectors: selectors(route, owner) }
}

/// The error for parameters that contradict each other, or that are missing.
pub(super) fn invalid(parameter: &str) -> ControlError {
    ControlError::InvalidParameter { parameter: parameter.to_owned() }
}

/// Checks the lengths of names, each with its parameter.
///
/// - **Errors**: the first that is too long.
pub(super) fn check_names(names: &[(&str, Option<&str>)]) -> Result<(), ControlError> {
    let long = names.iter().find_map(|(field, name)| {
        let bytes = name.map_or(0, str::len);
        (bytes > MOST_NAME_BYTES).then(|| ControlError::LongName {
            field: (*field).to_owned(),
            bytes,
            most: MOST_NAME_BYTES,
        })
    });
    long.map_or(Ok(()), Err)
}

/// The error of a call that has failed in the engine. A refusal is an answer, and no error.
pub(super) fn failed(error: EngineError) -> ControlError {
    match error {
        EngineError::Kernel(failure) => ControlError::Kernel { failure },
        EngineError::NotWaiting { id } => ControlError::NotWaiting { id },
        EngineError::TooManyRequests { limit } => ControlError::TooManyRequests { limit },
        EngineError::Faulted(refusal) => ControlError::Faulted { refusal },
        // Calls that may be refused answer with the decision.
        // The engine is one of this process.
        EngineError::Refused(_) | EngineError::Daemon(_) | EngineError::Stopped => ControlError::Stopped {},
    }
}

/// A value as JSON that can be changed.
pub(super) fn value(value: &impl Serialize) -> Result<Value, ControlError> {
    serde_json::to_value(value).map_err(unreadable)
}

/// Parameters as JSON.
pub(super) fn parameters(parameters: &impl Serialize) -> Result<JsonText, ControlError> {
    JsonText::of(parameters).map_err(unreadable)
}

/// A value that is no JSON, which none of the protocol is.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn unreadable(problem: serde_json::Error) -> ControlError {
    ControlError::Unreadable { problem: problem.to_string() }
}

fn what(asked: &ReserveCall) -> Result<What, ControlError> {
    let flowspecs = asked.sending.is_some() || asked.receiving.is_some();
    match (&asked.template, &asked.templates, flowspecs) {
        (None, None, false) => Ok(What::ByRule),
        (Some(name), None, false) => Ok(What::Template(name.clone())),
        (None, Some(names), false) if !names.is_empty() => Ok(What::FirstOf(names.clone())),
        (None, Some(_), false) => Err(invalid("templates: an empty list matches nothing; leave it out")),
        (None, None, true) => {
            let Both { sending, receiving } = Both { sending: asked.sending, receiving: asked.receiving }
                .map(|spec| spec.unwrap_or(Flowspec::BEST_EFFORT));
            Ok(What::Qos(Box::new(Qos { sending, receiving })))
        }
        _ => Err(invalid("template, templates and flowspecs exclude each other")),
    }
}

fn selectors(route: Option<&RouteHints>, owner: &Owner) -> RouteSelectors {
    let hints = route.copied().unwrap_or_default();
    let ports =
        hints.ports.map(|ports| Ports { protocol: ports.protocol, local: ports.local, peer: ports.peer });
    // The route is that of the client's packets, not of the daemon's.
    RouteSelectors {
        scope: hints.scope,
        device: hints.device,
        mark: hints.mark,
        source: hints.source,
        user: owner.uid,
        ports,
    }
}

fn duration(time: Micros) -> Duration {
    Duration::from_micros(time.get())
}
