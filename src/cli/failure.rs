//! Exit codes, and failures that end a command with one of them.

use std::fmt::Display;
use std::process::ExitCode;

use gqos::failure::KernelCall;

/// Why a command ends without success.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Exit {
    /// A test failed, a request was refused or a difference was found.
    Difference,
    /// Wrong usage.
    Usage,
    /// The daemon cannot be reached: EX_UNAVAILABLE.
    Unreachable,
    /// The operating system refused: EX_OSERR.
    OsError,
    /// A privilege is missing: EX_NOPERM.
    NoPrivilege,
    /// A policy, test or trace file is invalid: EX_CONFIG.
    InvalidFile,
    /// Ended by SIGHUP, where the command has a terminal to give back: 128 and its number, by the convention of shells.
    HungUp,
    /// Ended by SIGINT, likewise.
    Interrupted,
    /// Ended by SIGTERM, likewise.
    Terminated,
}

/// A command that could not do its work.
#[derive(Debug)]
pub(super) struct CommandFailure {
    pub(super) exit: Exit,
    pub(super) error: anyhow::Error,
}

/// The part of `--help` about exit codes.
pub(super) const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 a test failed, a request was refused or a difference was found;
2 wrong usage; 69 the daemon cannot be reached; 71 the operating system refused;
77 a privilege is missing; 78 a policy, test or trace file is invalid;
130 or 143 ended by SIGINT or SIGTERM";

impl Exit {
    /// Its number.
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Difference => 1,
            Self::Usage => 2,
            Self::Unreachable => 69,
            Self::OsError => 71,
            Self::NoPrivilege => 77,
            Self::InvalidFile => 78,
            Self::HungUp => 129,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl CommandFailure {
    pub(super) fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into() }
    }

    /// A system call failed on an object, usually a path.
    pub(super) fn os(call: &str, object: impl Display, error: std::io::Error) -> Self {
        Self::new(Exit::OsError, KernelCall(call).failed(object.to_string(), error))
    }
}
