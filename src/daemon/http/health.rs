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
use crate::admission::{self, Fits, Operation, Reason, Refusal, Request};
use crate::engine::{Engine, EngineError, Foreseen};

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
    /// A word of DECISIONS.md, or `draining`, `no_capacity`, `no_interface` or `engine`.
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
    #[error("no interface of the policy exists")]
    NoInterface,
    #[error("there is no link {interface:?}")]
    NoLink { interface: String },
    /// The request is refused whatever is reserved.
    #[error("{message}")]
    Refused { reason: Reason, message: String },
    /// Others hold the capacity.
    #[error("{message}")]
    NoCapacity {
        message: String,
        /// When there is capacity, as far as reservations are booked; `None` where that is not known.
        retry_seconds: Option<u64>,
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
            Self::NoInterface => "no_interface",
            Self::NoLink { .. } => Reason::UnknownInterface.name(),
            Self::Refused { reason, .. } => reason.name(),
            Self::NoCapacity { .. } => "no_capacity",
            Self::Engine(_) => "engine",
        }
    }

    const fn status(&self) -> StatusCode {
        match self {
            Self::Parameters(_) => StatusCode::BAD_REQUEST,
            Self::UnknownTemplate(_)
            | Self::NoLink { .. }
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
            Self::NoCapacity { retry_seconds: Some(seconds), .. } => *seconds,
            _ => RETRY_SECONDS,
        }
    }

    fn refused(refusal: &Refusal) -> Self {
        Self::Refused { reason: refusal.reason(), message: refusal.to_string() }
    }

    /// What changes first comes first: capacity at a known time, then at another, then what does not change by itself.
    const fn order(&self) -> (u8, u64) {
        match self {
            Self::NoCapacity { retry_seconds: Some(seconds), .. } => (0, *seconds),
            Self::NoCapacity { retry_seconds: None, .. } => (1, 0),
            _ => (2, 0),
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

/// Looks for an interface with capacity for a flow: the one that was asked about, or any by which flows leave.
///
/// - **Errors**: of the interface that has it first, why it has not yet.
async fn find_capacity(
    facts: &HttpFacts,
    (qos, asked): (Qos, &Parameters),
) -> Result<String, (Option<String>, NotReady)> {
    let (named, class) = (asked.get("interface"), asked.get("class"));
    let interfaces = match named {
        Some(interface) => [interface.clone()].into(),
        None => {
            let likely = in_time(facts.server.engine.likely_interfaces()).await;
            likely.map_err(|fault| (None, fault.into()))?
        }
    };
    let mut soonest: Option<(String, NotReady)> = None;
    for interface in interfaces {
        let request = Request { class: class.cloned(), ..Request::unnamed(&interface, qos) };
        let why = match fits(facts, request).await {
            Ok(()) => return Ok(interface),
            // A route may lead to an interface that the policy does not have.
            Err(NotReady::NoLink { .. } | NotReady::Refused { reason: Reason::UnknownInterface, .. })
                if named.is_none() =>
            {
                continue;
            }
            Err(why) => why,
        };
        if soonest.as_ref().is_none_or(|(_, other)| why.order() < other.order()) {
            soonest = Some((interface, why));
        }
    }
    Err(soonest.map_or((None, NotReady::NoInterface), |(interface, why)| (Some(interface), why)))
}

/// Whether a flow fits an interface now.
async fn fits(facts: &HttpFacts, request: Request) -> Result<(), NotReady> {
    let interface = request.interface.clone();
    let Some(Foreseen { query, refusal }) = in_time(facts.server.engine.foresee(request)).await? else {
        return Err(NotReady::NoLink { interface });
    };
    let first = match &query.response {
        admission::Response::Query(Ok(free)) => free.fits,
        admission::Response::Query(Err(refused)) if refusal.is_none() => {
            return Err(NotReady::refused(&refused.refusal));
        }
        _ => None,
    };
    match (refusal, first) {
        (None, _) => Ok(()),
        (Some(refusal), first) if refusal.lacks_capacity() => {
            // The flows of others are named to nobody.
            let (refusal, _) = refusal.without_holders();
            let retry_seconds = seconds_until(first, query.at);
            let first = match retry_seconds {
                Some(seconds) => format!("the flow fits first in {seconds} s"),
                None => "when enough reservations end is not known".to_owned(),
            };
            Err(NotReady::NoCapacity { message: format!("{refusal}; {first}"), retry_seconds })
        }
        (Some(refusal), _) => Err(NotReady::refused(&refusal)),
    }
}

/// Seconds until a flow fits, rounded up; `None` where that is not known.
fn seconds_until(first: Option<Fits>, now: Moment) -> Option<u64> {
    match first {
        Some(Fits::At(at)) => Some(at.saturating_since(now).get().div_ceil(1_000_000).max(1)),
        Some(Fits::Never) | None => None,
    }
}

/// Has the engine's task answer something that changes nothing.
async fn ask_engine(facts: &HttpFacts) -> Result<(), EngineFault> {
    let first = facts.snapshot().interfaces.first().map(|(interface, _)| interface.clone());
    match first {
        Some(interface) => {
            let query = Operation::Query { interface, request: None };
            in_time(facts.server.engine.submit(query)).await.map(drop)
        }
        // Without an interface, the report asks the kernel nothing.
        None => in_time(facts.server.engine.report()).await.map(drop),
    }
}

async fn in_time<T>(answer: impl Future<Output = Result<T, EngineError>>) -> Result<T, EngineFault> {
    match timeout(PATIENCE, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(EngineFault::Timeout),
    }
}
