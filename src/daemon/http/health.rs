//! `/health` and `/ready`: for what restarts a daemon, and for what sends it clients.

use std::time::Duration;

use flowspec::{Moment, Qos};
use http::{Response, StatusCode};
use serde::Serialize;
use tokio::time::timeout;

use super::facts::Facts;
use super::query::{Parameters, parameters};
use super::response::{HttpBody, json, retry_after};
use crate::admission::{Decision, Fits, NewFlow, Operation, Reason, Request, Response as Decided};
use crate::engine::{Engine, EngineError};

/// How long the engine may take for an answer: longer than a call to the kernel about the interface, which comes first.
const PATIENCE: Duration = Duration::from_secs(5);

/// When to ask again where nothing says when there will be room.
const RETRY_SECONDS: u64 = 5;

/// The answer of `/health`.
#[derive(Debug, Serialize)]
struct Health {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The answer of `/ready`.
#[derive(Debug, Default, Serialize)]
struct Readiness {
    ready: bool,
    /// A word of DECISIONS.md, or `draining`, `no_room` or `engine`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<String>,
    /// The interface that has room, or the one that was asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<String>,
}

/// Why a flow has no place now.
struct NoRoom {
    reason: String,
    message: String,
    /// After so many seconds there is room, as far as reservations are booked.
    retry_seconds: u64,
}

/// Whether the engine's task answers.
pub(super) async fn health(facts: &Facts) -> Response<HttpBody> {
    let reason = match ask_engine(facts).await {
        Ok(()) => return json(StatusCode::OK, &Health { status: "ok", reason: None }),
        Err(reason) => reason,
    };
    let health = Health { status: "failing", reason: Some(reason) };
    retry_after(json(StatusCode::SERVICE_UNAVAILABLE, &health), RETRY_SECONDS)
}

/// Whether new flows are taken: any, or one of a template.
pub(super) async fn ready(facts: &Facts, query: Option<&str>) -> Response<HttpBody> {
    let asked = match parameters(query, &["template", "interface", "class"]) {
        Ok(asked) => asked,
        Err(message) => {
            return not_ready(StatusCode::BAD_REQUEST, ("parameter", message), Readiness::default());
        }
    };
    let [template, interface, class] =
        ["template", "interface", "class"].map(|name| asked.get(name).cloned());
    let answer = Readiness { template: template.clone(), interface, class, ..Readiness::default() };
    if template.is_none() && !asked.is_empty() {
        let message = "interface and class need a template".to_owned();
        return not_ready(StatusCode::BAD_REQUEST, ("parameter", message), answer);
    }
    if facts.server.is_draining() {
        let message = "the daemon is draining: new flows are refused".to_owned();
        let response = not_ready(StatusCode::SERVICE_UNAVAILABLE, ("draining", message), answer);
        return retry_after(response, RETRY_SECONDS);
    }
    let Some(template) = template else {
        return match ask_engine(facts).await {
            Ok(()) => json(StatusCode::OK, &Readiness { ready: true, ..answer }),
            Err(message) => unavailable(("engine", message), answer, RETRY_SECONDS),
        };
    };
    let Some(qos) = facts.server.engine.template(&template) else {
        let message = format!("the policy has no template {template:?}");
        return not_ready(StatusCode::NOT_FOUND, ("unknown_template", message), answer);
    };
    room(facts, (qos, &asked), answer).await
}

/// Looks for an interface with room: the one that was asked about, or any.
async fn room(facts: &Facts, (qos, asked): (Qos, &Parameters), answer: Readiness) -> Response<HttpBody> {
    let interfaces = match asked.get("interface") {
        Some(interface) => vec![interface.clone()],
        None => facts.snapshot().interfaces.iter().map(|(interface, _)| interface.clone()).collect(),
    };
    let mut least: Option<(String, NoRoom)> = None;
    for interface in interfaces {
        let found = fits(facts, &interface, (qos, asked.get("class").cloned())).await;
        let no_room = match found {
            Ok(()) => {
                return json(
                    StatusCode::OK,
                    &Readiness { ready: true, interface: Some(interface), ..answer },
                );
            }
            Err(no_room) => no_room,
        };
        let sooner = |(_, other): &(String, NoRoom)| no_room.retry_seconds < other.retry_seconds;
        if least.as_ref().is_none_or(sooner) {
            least = Some((interface, no_room));
        }
    }
    let Some((interface, NoRoom { reason, message, retry_seconds })) = least else {
        let message = "no interface of the policy has been seen".to_owned();
        return unavailable(("unknown_interface", message), answer, RETRY_SECONDS);
    };
    let answer = Readiness { interface: Some(interface), ..answer };
    let is_unknown = [Reason::UnknownInterface, Reason::UnknownClass].map(Reason::name).contains(&&*reason);
    match is_unknown {
        true => not_ready(StatusCode::NOT_FOUND, (&reason, message), answer),
        false => unavailable((&reason, message), answer, retry_seconds),
    }
}

/// Whether a flow fits an interface now.
async fn fits(facts: &Facts, interface: &str, (qos, class): (Qos, Option<String>)) -> Result<(), NoRoom> {
    let mut request = Request::new(NewFlow { id: "", interface }, qos);
    request.class = class;
    let query = Operation::Query { interface: interface.to_owned(), request: Some(Box::new(request)) };
    let decision = submit(facts, query).await.map_err(|message| NoRoom {
        reason: "engine".to_owned(),
        message,
        retry_seconds: RETRY_SECONDS,
    })?;
    let (now, message) = (decision.at, decision.message());
    if let Some(reason) = decision.reason() {
        return Err(NoRoom { reason: reason.name().to_owned(), message, retry_seconds: RETRY_SECONDS });
    }
    let first = match &decision.response {
        Decided::Query(Ok(free)) => free.fits,
        _ => None,
    };
    match first {
        Some(Fits::At(at)) if at <= now => Ok(()),
        first => {
            Err(NoRoom { reason: "no_room".to_owned(), message, retry_seconds: seconds_until(first, now) })
        }
    }
}

/// Seconds until a flow fits, rounded up.
fn seconds_until(first: Option<Fits>, now: Moment) -> u64 {
    match first {
        Some(Fits::At(at)) => at.as_micros().saturating_sub(now.as_micros()).div_ceil(1_000_000).max(1),
        Some(Fits::Never) | None => RETRY_SECONDS,
    }
}

/// Has the engine's task answer something that changes nothing.
///
/// - **Errors**: in words, why it does not.
async fn ask_engine(facts: &Facts) -> Result<(), String> {
    let first = facts.snapshot().interfaces.first().map(|(interface, _)| interface.clone());
    match first {
        Some(interface) => submit(facts, Operation::Query { interface, request: None }).await.map(drop),
        // Without an interface, the report asks the kernel nothing.
        None => in_time(facts.server.engine.report()).await.map(drop),
    }
}

async fn submit(facts: &Facts, operation: Operation) -> Result<Decision, String> {
    in_time(facts.server.engine.submit(operation)).await.map(|answer| answer.decision)
}

async fn in_time<T>(answer: impl Future<Output = Result<T, EngineError>>) -> Result<T, String> {
    match timeout(PATIENCE, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("the engine has not answered for {PATIENCE:?}")),
    }
}

fn unavailable(why: (&str, String), answer: Readiness, seconds: u64) -> Response<HttpBody> {
    retry_after(not_ready(StatusCode::SERVICE_UNAVAILABLE, why, answer), seconds)
}

fn not_ready(status: StatusCode, (reason, message): (&str, String), answer: Readiness) -> Response<HttpBody> {
    let (reason, message) = (Some(reason.to_owned()), Some(message));
    json(status, &Readiness { ready: false, reason, message, ..answer })
}
