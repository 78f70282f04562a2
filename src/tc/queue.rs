//! The queue of a class, which depends on what the kernel offers.

use std::fmt;

use super::fifo::Bfifo;
use super::fq_codel::FqCodel;

/// The queue of a class: fq_codel where the kernel offers it, else a bfifo.
///
/// The desired tree holds both, since it is built without a look at the kernel; what applies a change knows which.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClassQueue {
    /// Flows of the class take turns, and each is kept short.
    pub fq_codel: FqCodel,
    /// All of them share one queue.
    pub bfifo: Bfifo,
}

/// The qdisc below a leaf, as it is observed.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Queue {
    /// A FIFO with a limit in bytes.
    Bfifo(Bfifo),
    /// A FIFO for each of many flows, with a bound on the time in the queue.
    FqCodel(FqCodel),
    /// A qdisc of another kind, by TCA_KIND.
    Other(String),
}

/// Which of the two queues the kernel offers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum QueueKind {
    /// Where the kernel has `sch_fq_codel`.
    FqCodel,
    /// Where the kernel has no `sch_fq_codel`.
    Bfifo,
}

impl QueueKind {
    /// The name as in TCA_KIND.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FqCodel => FqCodel::KIND,
            Self::Bfifo => Bfifo::KIND,
        }
    }
}

impl ClassQueue {
    /// The same with the settings of the queue that was found; `None` for a queue of another kind.
    pub(super) fn with(self, found: &Queue) -> Option<Self> {
        match found {
            Queue::Bfifo(bfifo) => Some(Self { bfifo: *bfifo, ..self }),
            Queue::FqCodel(fq_codel) => Some(Self { fq_codel: fq_codel.as_asked(), ..self }),
            Queue::Other(_) => None,
        }
    }

    /// Whether the kernel reports this queue as `found`.
    pub fn is_kept_as(&self, found: &Queue) -> bool {
        match found {
            Queue::Bfifo(bfifo) => self.bfifo == *bfifo,
            Queue::FqCodel(fq_codel) => self.fq_codel.as_kept() == *fq_codel,
            Queue::Other(_) => false,
        }
    }

    /// The settings in `tc`'s words.
    pub fn words(&self, kind: QueueKind) -> String {
        match kind {
            QueueKind::Bfifo => self.bfifo.to_string(),
            QueueKind::FqCodel => self.fq_codel.to_string(),
        }
    }
}

impl fmt::Display for Queue {
    /// In `tc`'s words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bfifo(bfifo) => write!(f, "{bfifo}"),
            Self::FqCodel(fq_codel) => write!(f, "{fq_codel}"),
            Self::Other(kind) => f.write_str(kind),
        }
    }
}

impl Queue {
    /// `None` for a queue that gqos never makes.
    pub const fn kind(&self) -> Option<QueueKind> {
        match self {
            Self::Bfifo(_) => Some(QueueKind::Bfifo),
            Self::FqCodel(_) => Some(QueueKind::FqCodel),
            Self::Other(_) => None,
        }
    }
}
