//! `/health` and `/ready`: for what restarts a daemon, and for what sends it clients.

use std::time::Duration;

use flowspec::{Moment, Qos};
use http::{Response, StatusCode};
use serde::Serialize;
use thiserror::Error;
use tokio::time::timeout;

use super::facts::HttpFacts;
use super::query::{Parameters, QueryError, parameters};
use super::response::{HttpBody, json, retry_after};
use crate::admission::{self, Decision, Fits, Operation, Reason, Request};
use crate::engine::{Engine, EngineError};

/// How long the engine may take for an answer: longer than a call to the kernel about the interface, which comes first.
const PATIENCE: Duration = Duration::from_secs(5);

/// When to ask again where it is not known when there will be capacity.
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
    /// A word of DECISIONS.md, or `draining`, `no_capacity` or `engine`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<String>,
    /// The interface that has the capacity, or the one that was asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<String>,
}

/// Why no new flow is taken.
#[derive(Debug, Error)]
enum NotReady {
    #[error(transparent)]
    Parameters(#[from] QueryError),
    #[error("the daemon is draining: new flows are refused")]
    Draining,
    #[error("the policy has no template {0:?}")]
    UnknownTemplate(String),
    #[error("no interface of the policy has been seen")]
    NoInterface,
    /// The request is refused whatever is reserved.
    #[error("{message}")]
    Refused { reason: Reason, message: String },
    /// Others hold the capacity.
    #[error("{message}")]
    NoCapacity {
        message: String,
        /// When there is capacity, as far as reservations are booked.
        retry_seconds: u64,
    },
    #[error(transparent)]
    Engine(#[from] EngineFault),
}

/// Why the engine has given no answer.
#[derive(Debug, Error)]
enum EngineFault {
    #[error(transparent)]
    Failed(#[from] EngineError),
    #[error("the engine has not answered for {PATIENCE:?}")]
    Timeout,
}

impl NotReady {
    /// A word of DECISIONS.md, or one of the endpoint's own.
    const fn reason(&self) -> &'static str {
        match self {
            Self::Parameters(_) => "parameter",
            Self::Draining => "draining",
            Self::UnknownTemplate(_) => "unknown_template",
            Self::NoInterface => Reason::UnknownInterface.name(),
            Self::Refused { reason, .. } => reason.name(),
            Self::NoCapacity { .. } => "no_capacity",
            Self::Engine(_) => "engine",
        }
    }

    const fn status(&self) -> StatusCode {
        match self {
            Self::Parameters(_) => StatusCode::BAD_REQUEST,
            Self::UnknownTemplate(_)
            | Self::Refused { reason: Reason::UnknownInterface | Reason::UnknownClass, .. } => {
                StatusCode::NOT_FOUND
            }
            Self::Draining
            | Self::NoInterface
            | Self::Refused { .. }
            | Self::NoCapacity { .. }
            | Self::Engine(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The seconds after which asking again may help.
    const fn retry_seconds(&self) -> u64 {
        match self {
            Self::NoCapacity { retry_seconds, .. } => *retry_seconds,
            _ => RETRY_SECONDS,
        }
    }

    fn response(&self, answer: Readiness) -> Response<HttpBody> {
        let (reason, message) = (Some(self.reason().to_owned()), Some(self.to_string()));
        let response = json(self.status(), &Readiness { ready: false, reason, message, ..answer });
        match self.status() {
            StatusCode::SERVICE_UNAVAILABLE => retry_after(response, self.retry_seconds()),
            _ => response,
        }
    }
}

/// Whether the engine's task answers.
pub(super) async fn health(facts: &HttpFacts) -> Response<HttpBody> {
    let reason = match ask_engine(facts).await {
        Ok(()) => return json(StatusCode::OK, &Health { status: "ok", reason: None }),
        Err(fault) => fault.to_string(),
    };
    let health = Health { status: "failing", reason: Some(reason) };
    retry_after(json(StatusCode::SERVICE_UNAVAILABLE, &health), RETRY_SECONDS)
}

/// Whether new flows are taken: any, or one of a template.
pub(super) async fn ready(facts: &HttpFacts, query: Option<&str>) -> Response<HttpBody> {
    let asked = match parameters(query, &["template", "interface", "class"]) {
        Ok(asked) => asked,
        Err(error) => return NotReady::from(error).response(Readiness::default()),
    };
    let [template, interface, class] =
        ["template", "interface", "class"].map(|name| asked.get(name).cloned());
    let answer = Readiness { template, interface, class, ..Readiness::default() };
    match takes_flows(facts, &asked).await {
        Ok(None) => json(StatusCode::OK, &Readiness { ready: true, ..answer }),
        Ok(interface) => json(StatusCode::OK, &Readiness { ready: true, interface, ..answer }),
        Err((None, why)) => why.response(answer),
        Err((interface, why)) => why.response(Readiness { interface, ..answer }),
    }
}

/// The interface that takes the flow that is asked about; none where the question is about any flow.
///
/// - **Errors**: why none does, with the interface that was tried.
async fn takes_flows(
    facts: &HttpFacts,
    asked: &Parameters,
) -> Result<Option<String>, (Option<String>, NotReady)> {
    let template = asked.get("template");
    if template.is_none() && !asked.is_empty() {
        return Err((None, QueryError::TemplateMissing.into()));
    }
    if facts.server.is_draining() {
        return Err((None, NotReady::Draining));
    }
    let Some(template) = template else {
        return ask_engine(facts).await.map(|()| None).map_err(|fault| (None, fault.into()));
    };
    let Some(qos) = facts.server.engine.template(template) else {
        return Err((None, NotReady::UnknownTemplate(template.clone())));
    };
    find_capacity(facts, (qos, asked)).await.map(Some)
}

/// Looks for an interface with capacity for a flow: the one that was asked about, or any.
///
/// - **Errors**: of the interface that has it first, why it has not yet.
async fn find_capacity(
    facts: &HttpFacts,
    (qos, asked): (Qos, &Parameters),
) -> Result<String, (Option<String>, NotReady)> {
    let interfaces = match asked.get("interface") {
        Some(interface) => vec![interface.clone()],
        None => facts.snapshot().interfaces.iter().map(|(interface, _)| interface.clone()).collect(),
    };
    let mut soonest: Option<(String, NotReady)> = None;
    for interface in interfaces {
        let Err(why) = fits(facts, &interface, (qos, asked.get("class").cloned())).await else {
            return Ok(interface);
        };
        let is_sooner = |(_, other): &(String, NotReady)| why.retry_seconds() < other.retry_seconds();
        if soonest.as_ref().is_none_or(is_sooner) {
            soonest = Some((interface, why));
        }
    }
    Err(soonest.map_or((None, NotReady::NoInterface), |(interface, why)| (Some(interface), why)))
}

/// Whether a flow fits an interface now.
async fn fits(
    facts: &HttpFacts,
    interface: &str,
    (qos, class): (Qos, Option<String>),
) -> Result<(), NotReady> {
    let mut request = Request::unnamed(interface, qos);
    request.class = class;
    let query = Operation::Query { interface: interface.to_owned(), request: Some(Box::new(request)) };
    let decision = submit(facts, query).await?;
    let (now, message) = (decision.at, decision.message());
    if let Some(reason) = decision.reason() {
        return Err(NotReady::Refused { reason, message });
    }
    let first = match &decision.response {
        admission::Response::Query(Ok(free)) => free.fits,
        _ => None,
    };
    match first {
        Some(Fits::At(at)) if at <= now => Ok(()),
        first => Err(NotReady::NoCapacity { message, retry_seconds: seconds_until(first, now) }),
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
async fn ask_engine(facts: &HttpFacts) -> Result<(), EngineFault> {
    let first = facts.snapshot().interfaces.first().map(|(interface, _)| interface.clone());
    match first {
        Some(interface) => submit(facts, Operation::Query { interface, request: None }).await.map(drop),
        // Without an interface, the report asks the kernel nothing.
        None => in_time(facts.server.engine.report()).await.map(drop),
    }
}

async fn submit(facts: &HttpFacts, operation: Operation) -> Result<Decision, EngineFault> {
    in_time(facts.server.engine.submit(operation)).await.map(|answer| answer.decision)
}

async fn in_time<T>(answer: impl Future<Output = Result<T, EngineError>>) -> Result<T, EngineFault> {
    match timeout(PATIENCE, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(EngineFault::Timeout),
    }
}
