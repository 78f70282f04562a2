//! A failed call to the kernel, as a value that every module can hold.
//!
//! Takes what `linux` knows of a failure and carries it unchanged to the decision, the event and the log. Knows no
//! netlink and no sockets; text is made where a person reads it.

use std::{fmt, io};

use flowspec::{Errno, Wsa};
use serde::{Deserialize, Serialize};

/// A call to the kernel that failed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct KernelFailure {
    /// The call or netlink request, as in its manual page: `RTM_NEWTCLASS`, `setsockopt`.
    pub call: String,
    /// The object of the call: `eth0 class 6771:100`.
    pub object: String,
    /// How it failed.
    pub cause: Cause,
}

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
        /// How long the caller waited.
        seconds: u64,
    },
    /// The kernel's answer is not what the request asks for.
    Unexpected {
        /// What differs.
        problem: String,
    },
}

impl KernelFailure {
    /// The call that stands for a request which cannot be expressed in the kernel's structures.
    pub const ENCODE: &'static str = "encode";

    /// The failure of this call on this object.
    pub fn new(call: &str, object: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self { call: call.to_owned(), object: object.into(), cause: cause.into() }
    }

    /// An answer that is not what the request asks for.
    pub fn unexpected(call: &str, object: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self::new(call, object, Cause::Unexpected { problem: problem.to_string() })
    }

    /// Whether the object of the call does not exist.
    pub fn is_absent(&self) -> bool {
        matches!(self.errno(), Some(Errno::ENODEV | Errno::ENOENT))
    }

    /// Whether the process lacks a privilege for the call.
    pub fn is_permission(&self) -> bool {
        matches!(self.errno(), Some(Errno::EPERM | Errno::EACCES))
    }

    /// Whether the kernel was not asked, since the request cannot be expressed.
    pub fn is_not_expressible(&self) -> bool {
        self.call == Self::ENCODE
    }

    /// The error number, where the kernel gave one.
    pub fn errno(&self) -> Option<Errno> {
        match &self.cause {
            Cause::Errno { errno, .. } => Some(*errno),
            Cause::Timeout { .. } | Cause::Unexpected { .. } => None,
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

impl From<io::Error> for Cause {
    /// The error number, or the error's text where it has none: then the standard library made it, not the kernel.
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(number) => Errno::new(number).into(),
            None => Self::Unexpected { problem: error.to_string() },
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
            Self::Timeout { seconds } => write!(f, "no answer within {seconds} s"),
            Self::Unexpected { problem } => f.write_str(problem),
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
            Cause::Timeout { seconds: 10 },
            "RTM_NEWTCLASS (eth0 6771:100): no answer within 10 s",
            Wsa::Enetdown,
        );
        check(
            Cause::Unexpected { problem: "no message in the answer".into() },
            "RTM_NEWTCLASS (eth0 6771:100): no message in the answer",
            Wsa::Enetdown,
        );
    }

    #[test]
    fn an_io_error_keeps_its_number_or_its_text() {
        assert_eq!(Cause::from(io::Error::from_raw_os_error(17)), Cause::from(Errno::EEXIST));
        let text = Cause::Unexpected { problem: "ended early".into() };
        assert_eq!(Cause::from(io::Error::other("ended early")), text);
    }

    #[test]
    fn absence_and_missing_privileges_are_told_apart() {
        let of = |cause: Cause| {
            let failure = KernelFailure::new("RTM_GETLINK", "eth0", cause);
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
        assert_eq!(of(Cause::Timeout { seconds: 10 }), (false, false));
    }
}
