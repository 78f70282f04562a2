//! A failed call to the kernel, as a value that every module can use.
//!
//! Carries the facts of a failure unchanged from `linux` to the decision, the event and the log. Knows no netlink and
//! no sockets. The facts become text only where a person reads them.

use std::time::Duration;
use std::{fmt, io};

use flowspec::{Errno, Wsa};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A call to the kernel that failed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KernelFailure {
    /// The call or netlink request, as in its manual page: `RTM_NEWTCLASS`, `setsockopt`; `encode` where the kernel was
    /// not asked.
    pub call: String,
    /// The object of the call: `eth0 class 6771:100`.
    pub object: String,
    /// How it failed.
    pub cause: Cause,
}

/// A call to the kernel or a netlink request, by the name in its manual page: what a failure is made from.
///
/// ```
/// use gqos::failure::KernelCall;
/// use gqos::flowspec::Errno;
///
/// let failure = KernelCall("RTM_GETLINK").failed("eth0", Errno::ENODEV);
/// assert_eq!(failure.to_string(), "RTM_GETLINK (eth0): No such device (ENODEV)");
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KernelCall<'a>(pub &'a str);

/// How a call to the kernel failed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cause {
    /// The kernel answered with an error.
    Errno {
        /// The error number.
        errno: Errno,
        /// The kernel's own explanation, where it gave one (NLMSGERR_ATTR_MSG).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        extended_ack: Option<String>,
    },
    /// The kernel did not answer in time.
    Timeout {
        /// How long the caller waited; a record of it has whole seconds.
        #[serde(rename = "seconds", with = "whole_seconds")]
        after: Duration,
    },
    /// The kernel's answer is not what the request asks for.
    Unexpected {
        /// What differs; a record of it has the text.
        problem: AnswerProblem,
    },
    /// The kernel was not asked, since its structures cannot express the request.
    NotExpressible {
        /// What they cannot express.
        problem: String,
    },
}

/// What an answer of the kernel can have wrong; recorded as its text.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
#[serde(from = "String", into = "String")]
#[non_exhaustive]
pub enum AnswerProblem {
    /// The answer to a request for one object has none.
    #[error("no message in the answer")]
    Empty,
    /// The object in the answer is not the link that was asked for.
    #[error("the answer is not a link")]
    NotALink,
    /// The object in the answer is not the route that was asked for.
    #[error("the answer is not a route")]
    NotARoute,
    /// The packets of the route leave by no interface.
    #[error("the route in the answer has no interface")]
    RouteWithoutInterface,
    /// The socket's buffer was full: messages are missing.
    #[error("the kernel lost part of the answer")]
    PartLost,
    /// What was dumped changed meanwhile, at each attempt.
    #[error("changes interrupted the dump each time")]
    Interrupted,
    /// The netlink connection ended before the answer did.
    #[error("the connection ended before the last message of the answer")]
    EndedEarly,
    /// No netlink connection lasted until the request was sent.
    #[error("the connection ends each time before the request is sent")]
    NotSent,
    /// The kernel was to acknowledge a request, and sent something else.
    #[error("no acknowledgement: {found}")]
    NotAcknowledged {
        /// The message in its place, by the number of its type in `linux/rtnetlink.h`.
        found: String,
    },
    /// A request was acknowledged, and what it asks for is not in force.
    #[error("the kernel has {found}")]
    NotInForce {
        /// What is there instead, in `tc`'s words, or that nothing is: `no such class`.
        found: String,
    },
    /// The device for what an interface receives does not exist.
    #[error("there is no ifb")]
    NoIfb,
    /// The thread that made the call panicked.
    #[error("the thread panicked")]
    ThreadPanicked,
    /// The decoder of messages or the standard library made the error, and has only a text for it.
    #[error("{text}")]
    Described {
        /// The text of that error.
        text: String,
    },
}

impl AnswerProblem {
    const WITHOUT_FIELDS: [Self; 10] = [
        Self::Empty,
        Self::NotALink,
        Self::NotARoute,
        Self::RouteWithoutInterface,
        Self::PartLost,
        Self::Interrupted,
        Self::EndedEarly,
        Self::NotSent,
        Self::NoIfb,
        Self::ThreadPanicked,
    ];

    /// The problem that an error describes which is made elsewhere.
    pub fn described(error: impl fmt::Display) -> Self {
        Self::Described { text: error.to_string() }
    }
}

impl From<String> for AnswerProblem {
    /// The variant whose message this is; [`Described`](Self::Described) where there is none.
    fn from(text: String) -> Self {
        if let Some(problem) = Self::WITHOUT_FIELDS.into_iter().find(|problem| problem.to_string() == text) {
            return problem;
        }
        if let Some(found) = text.strip_prefix("no acknowledgement: ") {
            return Self::NotAcknowledged { found: found.to_owned() };
        }
        match text.strip_prefix("the kernel has ") {
            Some(found) => Self::NotInForce { found: found.to_owned() },
            None => Self::Described { text },
        }
    }
}

impl From<AnswerProblem> for String {
    fn from(problem: AnswerProblem) -> Self {
        problem.to_string()
    }
}

/// A failure as decisions and traces record it: a request that cannot be expressed is an unexpected answer to the call
/// [`ENCODE`].
#[derive(Deserialize, Serialize)]
#[serde(rename = "KernelFailure")]
struct Record {
    call: String,
    object: String,
    cause: Cause,
}

/// The call that stands for a request which cannot be expressed in the kernel's structures.
const ENCODE: KernelCall<'static> = KernelCall("encode");

impl Serialize for KernelFailure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { call, object, cause } = self.clone();
        let cause = match cause {
            Cause::NotExpressible { problem } => {
                Cause::Unexpected { problem: AnswerProblem::Described { text: problem } }
            }
            cause => cause,
        };
        Record { call, object, cause }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for KernelFailure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Record { call, object, cause } = Record::deserialize(deserializer)?;
        let cause = match cause {
            Cause::Unexpected { problem } if call == ENCODE.0 => {
                Cause::NotExpressible { problem: problem.to_string() }
            }
            cause => cause,
        };
        Ok(Self { call, object, cause })
    }
}

mod whole_seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(after: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(after.as_secs())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_secs)
    }
}

impl KernelCall<'_> {
    /// With its three facts: this call, the object that it was made on, and the cause.
    pub fn failed(self, object: impl Into<String>, cause: impl Into<Cause>) -> KernelFailure {
        KernelFailure { call: self.0.to_owned(), object: object.into(), cause: cause.into() }
    }

    /// An answer that is not what the request asks for.
    pub fn unexpected(self, object: impl Into<String>, problem: AnswerProblem) -> KernelFailure {
        self.failed(object, Cause::Unexpected { problem })
    }
}

impl KernelFailure {
    /// A request about this object that the kernel's structures cannot express.
    pub fn not_expressible(object: impl Into<String>, problem: impl fmt::Display) -> Self {
        ENCODE.failed(object, Cause::NotExpressible { problem: problem.to_string() })
    }

    /// Whether the object of the call does not exist.
    pub fn is_absent(&self) -> bool {
        matches!(self.errno(), Some(Errno::ENODEV | Errno::ENOENT))
    }

    /// Whether the kernel has not answered in time.
    pub const fn is_timeout(&self) -> bool {
        matches!(self.cause, Cause::Timeout { .. })
    }

    /// Whether the process lacks a privilege for the call.
    pub fn is_permission(&self) -> bool {
        matches!(self.errno(), Some(Errno::EPERM | Errno::EACCES))
    }

    /// Whether the kernel was not asked, since the request cannot be expressed.
    pub const fn is_not_expressible(&self) -> bool {
        matches!(self.cause, Cause::NotExpressible { .. })
    }

    /// The error number, where the kernel gave one.
    pub fn errno(&self) -> Option<Errno> {
        match &self.cause {
            Cause::Errno { errno, .. } => Some(*errno),
            Cause::Timeout { .. } | Cause::Unexpected { .. } | Cause::NotExpressible { .. } => None,
        }
    }

    /// The Winsock code: that of the error number, WSAENETDOWN where there is none.
    pub fn wsa(&self) -> Wsa {
        self.errno().map_or(Wsa::Enetdown, Errno::wsa)
    }
}

impl From<Errno> for Cause {
    fn from(errno: Errno) -> Self {
        Self::Errno { errno, extended_ack: None }
    }
}

impl From<AnswerProblem> for Cause {
    fn from(problem: AnswerProblem) -> Self {
        Self::Unexpected { problem }
    }
}

impl From<io::Error> for Cause {
    /// The error number, or the error's text where it has none: then the standard library made it, not the kernel.
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(number) => Errno::new(number).into(),
            None => Self::Unexpected { problem: AnswerProblem::described(error) },
        }
    }
}

impl fmt::Display for KernelFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.call, self.object, self.cause)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errno { errno, extended_ack: None } => write!(f, "{errno}"),
            Self::Errno { errno, extended_ack: Some(text) } => write!(f, "{errno}: {text}"),
            Self::Timeout { after } => write!(f, "no answer within {} s", after.as_secs()),
            Self::Unexpected { problem } => write!(f, "{problem}"),
            Self::NotExpressible { problem } => f.write_str(problem),
        }
    }
}

impl std::error::Error for KernelFailure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(cause: Cause, text: &str, wsa: Wsa) {
        let failure = KernelFailure { call: "RTM_NEWTCLASS".into(), object: "eth0 6771:100".into(), cause };
        assert_eq!(failure.to_string(), text);
        assert_eq!(failure.wsa(), wsa);
        let json = serde_json::to_string(&failure).unwrap();
        assert_eq!(serde_json::from_str::<KernelFailure>(&json).unwrap(), failure, "{json}");
    }

    #[test]
    fn a_failure_names_call_object_and_cause_and_survives_json() {
        check(
            Errno::EPERM.into(),
            "RTM_NEWTCLASS (eth0 6771:100): Operation not permitted (EPERM)",
            Wsa::Eacces,
        );
        check(
            Cause::Errno { errno: Errno::ENOENT, extended_ack: Some("Specified class not found.".into()) },
            "RTM_NEWTCLASS (eth0 6771:100): No such file or directory (ENOENT): Specified class not found.",
            Wsa::Enetdown,
        );
        check(
            Cause::Timeout { after: Duration::from_secs(10) },
            "RTM_NEWTCLASS (eth0 6771:100): no answer within 10 s",
            Wsa::Enetdown,
        );
        check(
            Cause::Unexpected { problem: AnswerProblem::Empty },
            "RTM_NEWTCLASS (eth0 6771:100): no message in the answer",
            Wsa::Enetdown,
        );
    }

    #[test]
    fn records_keep_their_form() {
        let check = |failure: KernelFailure, json: &str| {
            assert_eq!(serde_json::to_string(&failure).unwrap(), json);
            assert_eq!(serde_json::from_str::<KernelFailure>(json).unwrap(), failure);
        };
        check(
            KernelFailure::not_expressible("tc class add", "the rate is too high"),
            r#"{"call":"encode","object":"tc class add","cause":{"unexpected":{"problem":"the rate is too high"}}}"#,
        );
        check(
            KernelCall("RTM_GETLINK").unexpected("eth0", AnswerProblem::Empty),
            r#"{"call":"RTM_GETLINK","object":"eth0","cause":{"unexpected":{"problem":"no message in the answer"}}}"#,
        );
        check(
            KernelCall("RTM_GETLINK").failed("eth0", Cause::Timeout { after: Duration::from_secs(10) }),
            r#"{"call":"RTM_GETLINK","object":"eth0","cause":{"timeout":{"seconds":10}}}"#,
        );
    }

    #[test]
    fn a_problem_is_read_back_from_its_text() {
        let found = "class 6771:100".to_owned();
        let with_fields = [
            AnswerProblem::NotAcknowledged { found: found.clone() },
            AnswerProblem::NotInForce { found },
            AnswerProblem::described("a u32 selector is cut short"),
        ];
        for problem in AnswerProblem::WITHOUT_FIELDS.into_iter().chain(with_fields) {
            let json = serde_json::to_string(&problem).unwrap();
            assert_eq!(json, format!("\"{problem}\""));
            assert_eq!(serde_json::from_str::<AnswerProblem>(&json).unwrap(), problem);
        }
    }

    #[test]
    fn an_io_error_keeps_its_number_or_its_text() {
        assert_eq!(Cause::from(io::Error::from_raw_os_error(17)), Cause::from(Errno::EEXIST));
        let text = Cause::Unexpected { problem: AnswerProblem::described("ended early") };
        assert_eq!(Cause::from(io::Error::other("ended early")), text);
    }

    #[test]
    fn absence_and_missing_privileges_are_told_apart() {
        let of = |cause: Cause| {
            let failure = KernelCall("RTM_GETLINK").failed("eth0", cause);
            (failure.is_absent(), failure.is_permission())
        };
        for (errno, expected) in [
            (Errno::ENODEV, (true, false)),
            (Errno::ENOENT, (true, false)),
            (Errno::EPERM, (false, true)),
            (Errno::EACCES, (false, true)),
            (Errno::EEXIST, (false, false)),
        ] {
            assert_eq!(of(errno.into()), expected, "{errno}");
        }
        assert_eq!(of(Cause::Timeout { after: Duration::from_secs(10) }), (false, false));
    }
}
