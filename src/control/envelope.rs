//! The envelopes of varlink: a call with its flags, and a reply or an error.

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Serialize};

use super::error::ControlError;
use super::json_text::{JsonText, problem};
use super::method::{Method, MethodCall};

/// A call as it is sent.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Call {
    /// The full name: `org.gqos.Reserve`.
    pub method: String,
    /// An object; absent for a method without parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<JsonText>,
    /// The client takes more than one reply.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
    /// The client takes no reply.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub oneway: bool,
    /// The client changes to another protocol, which no method here does.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub upgrade: bool,
}

/// A reply as it is sent: parameters, or an error in their place.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Reply {
    /// The parameters of the reply, or those of the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<JsonText>,
    /// Another reply to the same call follows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continues: bool,
    /// The full name of an error: `org.gqos.NotPermitted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// An error as its text has it: the name first, with which the parameters are read at once.
#[derive(Serialize)]
struct NamedError<'a> {
    error: &'a str,
    parameters: &'a JsonText,
}

impl Call {
    /// A call of a request. One whose method gives a stream asks for it.
    pub fn new(request: &MethodCall) -> Self {
        let method = request.method();
        let parameters = request.parameters();
        Self {
            method: method.name().to_owned(),
            parameters,
            more: method.streams(),
            oneway: false,
            upgrade: false,
        }
    }

    /// Reads a message.
    ///
    /// - **Errors**: it is not a call in JSON.
    pub fn read(message: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_str(text(message)?)
    }

    /// Reads the parameters of the call.
    ///
    /// - **Errors**: no such method; a parameter is missing, unknown or has another type; the method gives a stream and the
    ///   call does not take one.
    pub fn request(&self) -> Result<MethodCall, ControlError> {
        let Self { method, parameters, more, upgrade, .. } = self;
        let Some(known) = Method::named(method) else {
            let interface = method.rsplit_once('.').map_or("", |(interface, _)| interface);
            return Err(if Method::ALL.iter().any(|known| known.interface() == interface) {
                ControlError::MethodNotFound { method: method.clone() }
            } else {
                ControlError::InterfaceNotFound { interface: interface.to_owned() }
            });
        };
        if *upgrade {
            return Err(ControlError::MethodNotImplemented { method: method.clone() });
        }
        if known.streams() && !more {
            return Err(ControlError::ExpectedMore {});
        }
        let invalid =
            |error: serde_json::Error| ControlError::InvalidParameter { parameter: problem(&error) };
        let read = match parameters {
            Some(parameters) => known.read(parameters),
            None => known.read(&JsonText::default()),
        };
        read.map_err(invalid)
    }
}

impl Reply {
    /// A reply with parameters. `continues` says whether another one to the same call follows.
    ///
    /// - **Errors**: a map whose keys are not texts.
    pub fn answer(parameters: &impl Serialize, continues: bool) -> serde_json::Result<Self> {
        Ok(Self { parameters: Some(JsonText::of(parameters)?), continues, error: None })
    }

    /// The last reply, with parameters that are JSON already.
    pub const fn last(parameters: JsonText) -> Self {
        Self { parameters: Some(parameters), continues: false, error: None }
    }

    /// A reply with an error.
    ///
    /// - **Errors**: a map whose keys are not texts.
    pub fn error(error: &ControlError) -> serde_json::Result<Self> {
        serde_json::from_str(&serde_json::to_string(error)?)
    }

    /// Reads a message.
    ///
    /// - **Errors**: it is not a reply in JSON.
    pub fn read(message: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_str(text(message)?)
    }

    /// The parameters of an answer.
    ///
    /// - **Errors**: the error that came in its place; parameters of another type, as [`ControlError::Unreadable`].
    pub fn parameters<T: DeserializeOwned>(self) -> Result<T, ControlError> {
        let parameters = self.parameters.unwrap_or_default();
        let Some(name) = self.error else {
            let unreadable = |error| ControlError::Unreadable { problem: problem(&error) };
            return parameters.read().map_err(unreadable);
        };
        let error = NamedError { error: &name, parameters: &parameters };
        let other = |_| ControlError::Unreadable { problem: format!("{name} {}", parameters.as_str()) };
        Err(JsonText::of(&error).and_then(|error| error.read()).unwrap_or_else(other))
    }
}

/// A message as text, which all JSON is.
fn text(message: &[u8]) -> serde_json::Result<&str> {
    std::str::from_utf8(message).map_err(Error::custom)
}

#[cfg(test)]
mod tests {
    use super::super::request::{FlowId, Nothing};
    use super::*;

    /// What comes of this message.
    #[track_caller]
    fn check(message: &str, expected: Result<MethodCall, ControlError>) {
        let call = Call::read(message.as_bytes()).unwrap();
        assert_eq!(call.request(), expected, "{message}");
    }

    #[test]
    fn calls_name_a_method_and_have_its_parameters() {
        let commit = MethodCall::Commit(FlowId { id: "v1".into() });
        check(r#"{"method":"org.gqos.Commit","parameters":{"id":"v1"}}"#, Ok(commit));
        check(r#"{"method":"org.gqos.Plan"}"#, Ok(MethodCall::Plan(Nothing {})));
        check(r#"{"method":"org.gqos.Plan","parameters":{}}"#, Ok(MethodCall::Plan(Nothing {})));
        let invalid = |parameter: &str| Err(ControlError::InvalidParameter { parameter: parameter.into() });
        check(r#"{"method":"org.gqos.Commit"}"#, invalid("missing field `id`"));
        check(
            r#"{"method":"org.gqos.Commit","parameters":{"id":"v1","more":1}}"#,
            invalid("unknown field `more`, expected `id`"),
        );
        check(r#"{"method":"org.gqos.Events"}"#, Err(ControlError::ExpectedMore {}));
        let method = "org.gqos.Retire".to_owned();
        check(r#"{"method":"org.gqos.Retire"}"#, Err(ControlError::MethodNotFound { method }));
        let interface = "org.other".to_owned();
        check(r#"{"method":"org.other.Reserve"}"#, Err(ControlError::InterfaceNotFound { interface }));
        check(r#"{"method":"Reserve"}"#, Err(ControlError::InterfaceNotFound { interface: String::new() }));
    }

    #[test]
    fn messages_that_are_no_calls_are_refused() {
        for message in ["", "{", "[]", "7", r#"{"method":1}"#, r#"{"parameters":{}}"#, "\u{1}{}"] {
            assert!(Call::read(message.as_bytes()).is_err(), "{message}");
        }
        assert!(Call::read(b"{\"method\":\"\xff\"}").is_err(), "not UTF-8");
    }

    #[test]
    fn errors_are_replies_that_read_back() {
        let error = ControlError::UnknownId { id: "v1".into() };
        let reply = Reply::error(&error).unwrap();
        assert_eq!(reply.error.as_deref(), Some("org.gqos.UnknownId"));
        let message = super::super::encode(&reply).unwrap();
        let read = Reply::read(&message[..message.len() - 1]).unwrap();
        assert_eq!(read.parameters::<Nothing>(), Err(error));
        let other = Reply { error: Some("org.other.Broken".into()), ..Reply::default() };
        let problem = "org.other.Broken {}".to_owned();
        assert_eq!(other.parameters::<Nothing>(), Err(ControlError::Unreadable { problem }));
    }
}
