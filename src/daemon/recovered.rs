//! What became of the reservations of a daemon that was killed, as facts. Their texts are for a log.

use std::fmt;
use std::path::PathBuf;

use crate::engine::NotAdopted;
use crate::failure::{Cause, KernelFailure};

/// What became of the reservations of a daemon that was killed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recovered {
    /// How many were granted again.
    pub adopted: usize,
    /// How many have ended meanwhile, since their sockets have.
    pub ended: usize,
    /// Those that were not granted again.
    pub refused: Vec<RefusedAdoption>,
    /// What was not found out.
    pub problems: Vec<RecoveryProblem>,
}

/// A reservation that was not granted again.
#[derive(Clone, Debug, PartialEq)]
pub struct RefusedAdoption {
    /// The id of the flow.
    pub id: String,
    /// The reason.
    pub why: AdoptionRefusal,
}

/// Why the daemon does not hold a reservation again that one before it has granted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AdoptionRefusal {
    /// The engine has not granted it.
    #[error(transparent)]
    NotGranted(#[from] NotAdopted),
    /// Its socket sends to a class that another flow has now.
    #[error("its class in the kernel is another flow's")]
    ClassTaken,
    /// Another reservation lives with its socket.
    #[error("another reservation has its socket")]
    SocketTaken,
}

/// What the daemon could not find out about the reservations of the daemon before.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryProblem {
    /// The state file is ignored.
    #[error("{}: {why}; it is ignored", path.display())]
    UnusableFile {
        /// The path of the state file.
        path: PathBuf,
        /// What is wrong with it.
        why: UnusableState,
    },
    /// Lines of the state file whose checksums are wrong were skipped.
    #[error("{}: {lines} damaged lines were skipped", path.display())]
    DamagedLines {
        /// The path of the state file.
        path: PathBuf,
        /// Their number.
        lines: usize,
    },
    /// It is not known which of the sockets have ended: their reservations wait for their clients.
    #[error("the sockets of reservations cannot be listed: {0}")]
    SocketsNotListed(KernelFailure),
    /// A class to which a socket still sends may be given to another flow.
    #[error("sockets that send to classes cannot be listed: {0}")]
    MarksNotListed(KernelFailure),
}

/// Why the whole of a state file is of no use.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UnusableState {
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(Cause),
    /// Something else has its path.
    #[error("it is not a regular file")]
    NotAFile,
    /// Another user may have written it.
    #[error("it belongs to another user")]
    OtherUser,
    /// Its path named another file when it was opened than just before.
    #[error("it is being replaced")]
    BeingReplaced,
    /// It has more bytes than the most reservations need.
    #[error("it is too large")]
    TooLarge,
    /// Its first line is not that of a state file.
    #[error("it does not begin as a state file of gqos does")]
    Foreign,
    /// Another version of this program has written it.
    #[error("its format has version {found}, and this program reads version {readable}")]
    Version {
        /// That of the file.
        found: u32,
        /// The one that this program reads.
        readable: u32,
    },
    /// It is not about the sockets that live here now.
    #[error("it is from before the machine was started, or from another network namespace")]
    OtherSystem,
}

impl Recovered {
    /// Whether there was nothing to recover.
    pub const fn is_nothing(&self) -> bool {
        self.adopted == 0 && self.ended == 0 && self.refused.is_empty() && self.problems.is_empty()
    }
}

impl fmt::Display for Recovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { adopted, ended, refused, problems } = self;
        for problem in problems {
            writeln!(f, "{problem}")?;
        }
        let reservations = if *adopted == 1 { "reservation" } else { "reservations" };
        write!(f, "of the daemon before: {adopted} {reservations} adopted, {ended} ended meanwhile")?;
        for RefusedAdoption { id, why } in refused {
            write!(f, "\n{id} was not adopted: {why}")?;
        }
        Ok(())
    }
}
