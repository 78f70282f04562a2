//! A failed call to the kernel, as a value that every module can hold.
//!
//! Takes what `linux` knows of a failure and carries it unchanged to the decision, the event and the log. Knows no
//! netlink and no sockets; text is made where a person reads it.

use std::fmt;

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
            Cause::Errno { errno: Errno::EPERM, extended_ack: None },
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
}
