//! What goes into the manager and what comes out.

use std::sync::Arc;

use flowspec::{Both, Bytes, Rate, TSpec, Wsa};

use crate::admission::{Decision, Operation};
use crate::failure::KernelFailure;
use crate::policy::Policy;
use crate::tc::{Change, Handle, HtbRoot};

/// Ties an answer to a caller's request. The caller chooses it; requests without an answer have different ones.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RequestId(pub u64);

/// Ties the kernel's answer to a change. The manager chooses it; [`Effect::Apply`] carries it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ChangeId(pub(super) u64);

/// Something happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// An interface was looked at.
    Seen(Seen),
    /// A caller requests an operation.
    Request {
        /// Returned with [`Effect::Answer`].
        id: RequestId,
        /// The operation.
        operation: Box<Operation>,
    },
    /// Another policy from now on; flows keep what they have.
    Policy(Arc<Policy>),
    /// The kernel has answered: all operations of a change were carried out, or none is in force.
    Applied {
        /// From the [`Effect::Apply`].
        id: ChangeId,
        /// The first operation of the change that failed.
        result: Result<(), KernelFailure>,
    },
    /// The flow's peer has answered: the connection stands.
    Connected {
        /// The flow.
        id: String,
    },
    /// The flow's connection failed or ended, or its caller gave up. May come more than once.
    Closed {
        /// The flow.
        id: String,
    },
    /// The manager is to end: what it programmed is taken back.
    Stop,
}

/// What is seen of an interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Seen {
    /// Its name.
    pub interface: String,
    /// Its number.
    pub index: u32,
    /// The largest IP datagram it carries.
    pub mtu: Bytes,
    /// What the kernel says the link carries.
    pub speed: Option<Rate>,
    /// What stands at its root.
    pub root: Root,
}

/// What stands at the root of an interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Root {
    /// The kernel's default, which returns by itself.
    Default,
    /// A tree of ours, left by a manager that was killed.
    Ours(HtbRoot),
    /// Another program's qdisc.
    Foreign {
        /// Its kind.
        kind: String,
        /// Its handle.
        handle: Handle,
    },
    /// Another running gqos has claimed the interface.
    Taken {
        /// The abstract socket that is the claim.
        holder: String,
    },
}

/// Something is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Carry out a change, all of it or none, and say how it went.
    Apply {
        /// To be returned in [`Input::Applied`].
        id: ChangeId,
        /// The interface's number.
        index: u32,
        /// The operations.
        change: Change,
    },
    /// Answer a request.
    Answer {
        /// From the [`Input::Request`].
        id: RequestId,
        /// The answer.
        answer: Box<Answer>,
    },
    /// Tell whoever listens.
    Tell(Notice),
}

/// What somebody is told who did not ask just now.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// A flow has ended, and what it held is free again.
    Ended(Box<Decision>),
    /// A flow has a reservation no longer, though it has not ended.
    Lost(Lost),
    /// More is promised of an interface than it carries now, or no longer: what cannot be made to go, groups and those
    /// whom the policy keeps, may not get what they were promised.
    Overcommitted {
        /// The interface.
        interface: String,
        /// Whether it is so.
        over: bool,
    },
    /// There is room for one who waits, if he asks for it soon.
    CapacityAvailable {
        /// The flow.
        id: String,
    },
}

/// A promise that is taken back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lost {
    /// The flow.
    pub id: String,
    /// Its interface.
    pub interface: String,
    /// Why.
    pub why: Loss,
}

/// Why a promise is taken back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Loss {
    /// A more important flow needs what it had.
    Preempted {
        /// The other.
        by: String,
    },
    /// The link carries less than it did.
    Shed,
    /// Nobody has refreshed it, or the time it was booked for is over.
    Expired,
}

impl Loss {
    /// What FD_QOS reports for it.
    pub const fn status(&self) -> Wsa {
        match self {
            Self::Preempted { .. } => Wsa::QosPolicyFailure,
            Self::Shed => Wsa::QosAdmissionFailure,
            Self::Expired => Wsa::QosNoReceivers,
        }
    }
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { id, interface, why } = self;
        match why {
            Loss::Preempted { by } => write!(f, "{interface}: {id} had to go for {by}"),
            Loss::Shed => write!(f, "{interface}: {id} had to go, the link carries less than before"),
            Loss::Expired => write!(f, "{interface}: the time of {id} is over"),
        }
    }
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The decision, with the whole sum.
    pub decision: Decision,
    /// What the flow is to be held to, if it was admitted.
    pub admitted: Option<Admitted>,
}

/// How an admitted flow is to be set up.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Admitted {
    /// What it is held to; nothing in a direction without a reservation.
    pub tspec: Both<Option<TSpec>>,
    /// Its class in the kernel.
    pub class: Option<Handle>,
    /// The code point for its packets.
    pub dscp: Option<u8>,
}
