//! Errors of the protocol. A refusal by the ledger is an answer and none of these.

use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};

use super::fields::{MissingField, required};
use crate::admission::Refusal;
use crate::failure::KernelFailure;

/// Why a call has no answer.
///
/// - **JSON**: `{"error": "org.gqos.UnknownId", "parameters": {"id": "v1"}}`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
#[serde(tag = "error", content = "parameters", try_from = "WrittenError")]
#[non_exhaustive]
#[expect(missing_docs, reason = "fields that their names describe")]
pub enum ControlError {
    /// The service does not have the interface. Source: `org.varlink.service`, as the next four.
    #[serde(rename = "org.varlink.service.InterfaceNotFound")]
    #[error("no interface {interface:?}")]
    InterfaceNotFound { interface: String },
    /// The interface does not have the method.
    #[serde(rename = "org.varlink.service.MethodNotFound")]
    #[error("no method {method:?}")]
    MethodNotFound { method: String },
    /// The method cannot be called in this way.
    #[serde(rename = "org.varlink.service.MethodNotImplemented")]
    #[error("{method} cannot be called in this way")]
    MethodNotImplemented { method: String },
    /// A parameter is missing, unknown or has another type.
    #[serde(rename = "org.varlink.service.InvalidParameter")]
    #[error("invalid parameters: {parameter}")]
    InvalidParameter {
        /// What is wrong, with the parameter's name.
        parameter: String,
    },
    /// The method gives a stream, and the call does not take more than one reply.
    #[serde(rename = "org.varlink.service.ExpectedMore")]
    #[error("the method gives a stream of replies; call it with \"more\": true")]
    ExpectedMore {},
    /// The method is for administrators.
    #[serde(rename = "org.gqos.NotPermitted")]
    #[error("{method} is for root and the daemon's group")]
    NotPermitted { method: String },
    /// The caller holds no reservation of this id, whether or not another user does.
    #[serde(rename = "org.gqos.UnknownId")]
    #[error("no reservation {id:?}")]
    UnknownId { id: String },
    /// No flow of this id waits for capacity.
    #[serde(rename = "org.gqos.NotWaiting")]
    #[error("no flow {id:?} waits for capacity")]
    NotWaiting { id: String },
    /// A name is longer than it may be.
    #[serde(rename = "org.gqos.LongName")]
    #[error("{field} has {bytes} bytes, and the limit is {most}")]
    LongName { field: String, bytes: usize, most: usize },
    /// The user has as many reservations as there may be.
    #[serde(rename = "org.gqos.TooManyFlows")]
    #[error("user {uid} holds {flows} reservations, which is the limit")]
    TooManyFlows { uid: u32, flows: usize },
    /// The user makes more calls than there may be.
    #[serde(rename = "org.gqos.TooManyCalls")]
    #[error("user {uid} makes more than {most_a_second} calls a second; call again in {retry_after_us} us")]
    TooManyCalls { uid: u32, most_a_second: u32, retry_after_us: u64 },
    /// As many requests wait for the engine as there may be.
    #[serde(rename = "org.gqos.TooManyRequests")]
    #[error("{limit} requests wait, which is the limit")]
    TooManyRequests { limit: usize },
    /// The user or the daemon has as many connections as there may be.
    #[serde(rename = "org.gqos.TooManyConnections")]
    #[error("{connections} connections are open, which is the limit")]
    TooManyConnections { connections: usize },
    /// The daemon takes no new flows.
    #[serde(rename = "org.gqos.Draining")]
    #[error("the daemon is draining and takes no new flows")]
    Draining {},
    /// The call needs a descriptor, or has one that it cannot use.
    #[serde(rename = "org.gqos.Descriptor")]
    #[error("the descriptor: {problem}")]
    Descriptor {
        /// What is wrong with it.
        problem: String,
    },
    /// A call to the kernel failed.
    #[serde(rename = "org.gqos.Kernel")]
    #[error("{failure}")]
    Kernel { failure: KernelFailure },
    /// The policy's files are invalid, and the policy before them stays.
    #[serde(rename = "org.gqos.InvalidPolicy")]
    #[error("the policy is invalid, and nothing was changed: {}", first_of(problems))]
    InvalidPolicy { problems: Vec<ReportedProblem> },
    /// The policy is valid, and has a part that a running daemon cannot take over.
    #[serde(rename = "org.gqos.UnsupportedPolicy")]
    #[error("the policy: {part}")]
    UnsupportedPolicy { part: String },
    /// The manager has panicked.
    #[serde(rename = "org.gqos.Faulted")]
    #[error("{refusal}")]
    Faulted { refusal: Refusal },
    /// The daemon ends.
    #[serde(rename = "org.gqos.Stopped")]
    #[error("the daemon ends")]
    Stopped {},
    /// Made by a client, and never sent: the reply does not follow the protocol.
    #[serde(rename = "org.gqos.Unreadable")]
    #[error("a reply that this version does not read: {problem}")]
    Unreadable { problem: String },
}

/// A [`ControlError`] as JSON has it, with the parameters of all errors: one type to read in place of one for each error.
#[derive(Deserialize)]
struct WrittenError {
    error: String,
    #[serde(default)]
    parameters: ErrorParameters,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorParameters {
    interface: Option<String>,
    method: Option<String>,
    parameter: Option<String>,
    id: Option<String>,
    field: Option<String>,
    bytes: Option<usize>,
    most: Option<usize>,
    uid: Option<u32>,
    flows: Option<usize>,
    most_a_second: Option<u32>,
    retry_after_us: Option<u64>,
    limit: Option<usize>,
    connections: Option<usize>,
    problem: Option<String>,
    failure: Option<KernelFailure>,
    problems: Option<Vec<ReportedProblem>>,
    part: Option<String>,
    refusal: Option<Refusal>,
}

/// Why JSON is no [`ControlError`].
#[derive(Debug, thiserror::Error)]
enum NotAnError {
    #[error("no error {0:?}")]
    Unknown(String),
    #[error(transparent)]
    Missing(#[from] MissingField),
}

impl TryFrom<WrittenError> for ControlError {
    type Error = NotAnError;

    fn try_from(WrittenError { error, parameters: of }: WrittenError) -> Result<Self, NotAnError> {
        Ok(match error.as_str() {
            "org.varlink.service.InterfaceNotFound" => {
                Self::InterfaceNotFound { interface: required(of.interface, "interface")? }
            }
            "org.varlink.service.MethodNotFound" => {
                Self::MethodNotFound { method: required(of.method, "method")? }
            }
            "org.varlink.service.MethodNotImplemented" => {
                Self::MethodNotImplemented { method: required(of.method, "method")? }
            }
            "org.varlink.service.InvalidParameter" => {
                Self::InvalidParameter { parameter: required(of.parameter, "parameter")? }
            }
            "org.varlink.service.ExpectedMore" => Self::ExpectedMore {},
            "org.gqos.NotPermitted" => Self::NotPermitted { method: required(of.method, "method")? },
            "org.gqos.UnknownId" => Self::UnknownId { id: required(of.id, "id")? },
            "org.gqos.NotWaiting" => Self::NotWaiting { id: required(of.id, "id")? },
            "org.gqos.LongName" => Self::LongName {
                field: required(of.field, "field")?,
                bytes: required(of.bytes, "bytes")?,
                most: required(of.most, "most")?,
            },
            "org.gqos.TooManyFlows" => {
                Self::TooManyFlows { uid: required(of.uid, "uid")?, flows: required(of.flows, "flows")? }
            }
            "org.gqos.TooManyCalls" => Self::TooManyCalls {
                uid: required(of.uid, "uid")?,
                most_a_second: required(of.most_a_second, "most_a_second")?,
                retry_after_us: required(of.retry_after_us, "retry_after_us")?,
            },
            "org.gqos.TooManyRequests" => Self::TooManyRequests { limit: required(of.limit, "limit")? },
            "org.gqos.TooManyConnections" => {
                Self::TooManyConnections { connections: required(of.connections, "connections")? }
            }
            "org.gqos.Draining" => Self::Draining {},
            "org.gqos.Descriptor" => Self::Descriptor { problem: required(of.problem, "problem")? },
            "org.gqos.Kernel" => Self::Kernel { failure: required(of.failure, "failure")? },
            "org.gqos.InvalidPolicy" => Self::InvalidPolicy { problems: required(of.problems, "problems")? },
            "org.gqos.UnsupportedPolicy" => Self::UnsupportedPolicy { part: required(of.part, "part")? },
            "org.gqos.Faulted" => Self::Faulted { refusal: required(of.refusal, "refusal")? },
            "org.gqos.Stopped" => Self::Stopped {},
            "org.gqos.Unreadable" => Self::Unreadable { problem: required(of.problem, "problem")? },
            _ => return Err(NotAnError::Unknown(error)),
        })
    }
}

/// A problem of a policy, as `gqos check` reports it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ReportedProblem {
    /// The stable code: `gqos explain CODE` says more.
    pub code: String,
    /// What is wrong, in a sentence.
    pub message: String,
    /// The path of the file that has it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// How to correct it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// `FILE:LINE:COLUMN: error[CODE]: what is wrong; how to correct it`.
impl Display for ReportedProblem {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Self { code, message, file, line, column, help } = self;
        if !file.is_empty() {
            write!(formatter, "{file}:{line}:{column}: ")?;
        }
        write!(formatter, "error[{code}]: {message}")?;
        help.as_ref().map_or(Ok(()), |help| write!(formatter, "; {help}"))
    }
}

/// The first problem, and how many more there are.
fn first_of(problems: &[ReportedProblem]) -> String {
    match problems {
        [] => String::new(),
        [only] => only.to_string(),
        [first, _] => format!("{first} (and 1 more problem)"),
        [first, more @ ..] => format!("{first} (and {} more problems)", more.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Cause;

    /// The parameters of any error may stand before its name.
    #[track_caller]
    fn check(name: &str, parameters: &str, expected: ControlError) {
        let text = format!(r#"{{"error":"{name}","parameters":{parameters}}}"#);
        assert_eq!(serde_json::to_string(&expected).unwrap(), text);
        assert_eq!(serde_json::from_str::<ControlError>(&text).unwrap(), expected, "{text}");
        let text = format!(r#"{{"parameters":{parameters},"error":"{name}"}}"#);
        assert_eq!(serde_json::from_str::<ControlError>(&text).unwrap(), expected, "{text}");
    }

    #[test]
    fn every_error_reads_back() {
        let text = || "v1".to_owned();
        let named = |name: &str| format!("org.varlink.service.{name}");
        check(
            &named("InterfaceNotFound"),
            r#"{"interface":"v1"}"#,
            ControlError::InterfaceNotFound { interface: text() },
        );
        check(
            &named("MethodNotFound"),
            r#"{"method":"v1"}"#,
            ControlError::MethodNotFound { method: text() },
        );
        let method = ControlError::MethodNotImplemented { method: text() };
        check(&named("MethodNotImplemented"), r#"{"method":"v1"}"#, method);
        let parameter = ControlError::InvalidParameter { parameter: text() };
        check(&named("InvalidParameter"), r#"{"parameter":"v1"}"#, parameter);
        check(&named("ExpectedMore"), "{}", ControlError::ExpectedMore {});
        check("org.gqos.NotPermitted", r#"{"method":"v1"}"#, ControlError::NotPermitted { method: text() });
        check("org.gqos.UnknownId", r#"{"id":"v1"}"#, ControlError::UnknownId { id: text() });
        check("org.gqos.NotWaiting", r#"{"id":"v1"}"#, ControlError::NotWaiting { id: text() });
        let long = ControlError::LongName { field: text(), bytes: 5, most: 4 };
        check("org.gqos.LongName", r#"{"field":"v1","bytes":5,"most":4}"#, long);
        let flows = ControlError::TooManyFlows { uid: 7, flows: 9 };
        check("org.gqos.TooManyFlows", r#"{"uid":7,"flows":9}"#, flows);
        let calls = ControlError::TooManyCalls { uid: 7, most_a_second: 9, retry_after_us: 3 };
        check("org.gqos.TooManyCalls", r#"{"uid":7,"most_a_second":9,"retry_after_us":3}"#, calls);
        check("org.gqos.TooManyRequests", r#"{"limit":9}"#, ControlError::TooManyRequests { limit: 9 });
        let connections = ControlError::TooManyConnections { connections: 9 };
        check("org.gqos.TooManyConnections", r#"{"connections":9}"#, connections);
        check("org.gqos.Draining", "{}", ControlError::Draining {});
        check("org.gqos.Descriptor", r#"{"problem":"v1"}"#, ControlError::Descriptor { problem: text() });
        let cause = Cause::Timeout { after: std::time::Duration::from_secs(1) };
        let failure = KernelFailure { call: "RTM_NEWTCLASS".into(), object: "eth0".into(), cause };
        let kernel = serde_json::to_string(&failure).unwrap();
        check("org.gqos.Kernel", &format!(r#"{{"failure":{kernel}}}"#), ControlError::Kernel { failure });
        check(
            "org.gqos.InvalidPolicy",
            r#"{"problems":[]}"#,
            ControlError::InvalidPolicy { problems: vec![] },
        );
        check(
            "org.gqos.UnsupportedPolicy",
            r#"{"part":"v1"}"#,
            ControlError::UnsupportedPolicy { part: text() },
        );
        let refusal = Refusal::UnknownClass { class: text() };
        let faulted = ControlError::Faulted { refusal };
        check("org.gqos.Faulted", r#"{"refusal":{"unknown_class":{"class":"v1"}}}"#, faulted);
        check("org.gqos.Stopped", "{}", ControlError::Stopped {});
        check("org.gqos.Unreadable", r#"{"problem":"v1"}"#, ControlError::Unreadable { problem: text() });
        for (text, problem) in [
            (r#"{"error":"org.gqos.UnknownId","parameters":{}}"#, "missing field `id`"),
            (r#"{"error":"org.gqos.Unheard","parameters":{}}"#, "no error \"org.gqos.Unheard\""),
            (r#"{"parameters":{}}"#, "missing field `error` at line 1 column 17"),
        ] {
            let read = serde_json::from_str::<ControlError>(text);
            assert_eq!(read.unwrap_err().to_string(), problem, "{text}");
        }
    }

    #[test]
    fn an_invalid_policy_shows_its_first_problem_and_counts_the_others() {
        let problem = |file: &str, help: Option<&str>| ReportedProblem {
            code: "GQ0002".into(),
            message: "no key \"top\"".into(),
            file: file.into(),
            line: 2,
            column: 1,
            help: help.map(str::to_owned),
        };
        let told = |problems: &[ReportedProblem]| {
            let error = ControlError::InvalidPolicy { problems: problems.to_vec() };
            error.to_string().replace("the policy is invalid, and nothing was changed: ", "")
        };
        let one = problem("a.toml", Some("remove it"));
        assert_eq!(told(std::slice::from_ref(&one)), "a.toml:2:1: error[GQ0002]: no key \"top\"; remove it");
        let nowhere = problem("", None);
        assert_eq!(
            told(&[nowhere.clone(), one.clone()]),
            "error[GQ0002]: no key \"top\" (and 1 more problem)"
        );
        assert!(told(&[one.clone(), nowhere, one]).ends_with("; remove it (and 2 more problems)"));
    }
}
