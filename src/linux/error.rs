//! What the kernel refused: which call, on which object, with which error.

use std::io;

/// A call to the kernel that failed.
#[derive(Debug, thiserror::Error)]
pub enum LinuxError {
    /// The kernel answered with an error.
    #[error("{call} ({object}): {cause}")]
    Call {
        /// The call or request, as in its manual page.
        call: &'static str,
        /// What it was about.
        object: String,
        /// The error.
        cause: io::Error,
    },
    /// The kernel did not answer in time.
    #[error("{call} ({object}): no answer within {seconds} s")]
    Timeout {
        /// The request.
        call: &'static str,
        /// What it was about.
        object: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The answer is not what was asked for.
    #[error("{call} ({object}): {problem}")]
    Unexpected {
        /// The request.
        call: &'static str,
        /// What it was about.
        object: String,
        /// What is wrong with the answer.
        problem: String,
    },
}

impl LinuxError {
    /// An error of this call on this object.
    pub fn call(call: &'static str, object: impl Into<String>, cause: impl Into<io::Error>) -> Self {
        Self::Call { call, object: object.into(), cause: cause.into() }
    }

    pub(super) fn unexpected(
        call: &'static str,
        object: impl Into<String>,
        problem: impl Into<String>,
    ) -> Self {
        Self::Unexpected { call, object: object.into(), problem: problem.into() }
    }

    /// An error of the netlink library, on this request.
    pub fn from_rtnetlink(call: &'static str, object: &str, error: rtnetlink::Error) -> Self {
        match error {
            rtnetlink::Error::NetlinkError(message) => Self::call(call, object, message.to_io()),
            error => Self::unexpected(call, object, error.to_string()),
        }
    }

    /// The errno, where the kernel gave one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Call { cause, .. } => cause.raw_os_error(),
            Self::Timeout { .. } | Self::Unexpected { .. } => None,
        }
    }

    /// Whether the object does not exist.
    pub fn is_absent(&self) -> bool {
        matches!(self.errno(), Some(nix::libc::ENODEV | nix::libc::ENOENT))
    }

    /// Whether a privilege is missing.
    pub fn is_permission(&self) -> bool {
        matches!(self, Self::Call { cause, .. } if cause.kind() == io::ErrorKind::PermissionDenied)
    }
}
