//! What goes into the manager and what comes out.

use flowspec::{Both, Bytes, Qos, Rate, TSpec};

use crate::admission::{Decision, Request};
use crate::tc::{Change, Handle, HtbRoot};

/// Ties an answer to its question.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Ticket(pub u64);

/// Something happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// An interface was looked at.
    Seen(Seen),
    /// A flow asks for a reservation.
    Reserve {
        /// Comes back with the answer.
        ticket: Ticket,
        /// What is asked for.
        request: Box<Request>,
    },
    /// A flow asks for something else in place of what it has.
    Renegotiate {
        /// Comes back with the answer.
        ticket: Ticket,
        /// The flow.
        id: String,
        /// What it asks for.
        qos: Box<Qos>,
    },
    /// The kernel has answered: all operations of a change were carried out, or none is in force.
    Applied {
        /// The ticket of the [`Effect::Apply`].
        ticket: Ticket,
        /// What failed, as it is to be told: the request, the object and the error.
        result: Result<(), String>,
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
    /// Somebody else's qdisc: its description.
    Foreign(String),
    /// Another running manager has the interface: how that is known.
    Taken(String),
}

/// Something is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Carry out a change, all of it or none, and say how it went.
    Apply {
        /// To be returned in [`Input::Applied`].
        ticket: Ticket,
        /// The interface's number.
        index: u32,
        /// The operations.
        change: Change,
    },
    /// Tell the one who asked.
    Answer {
        /// The ticket of the request.
        ticket: Ticket,
        /// The answer.
        answer: Answer,
    },
    /// Tell whoever listens: a flow has ended.
    Tell(Decision),
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
