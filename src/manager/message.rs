//! What goes into the manager and what comes out.

use std::fmt;
use std::sync::Arc;

use flowspec::{Both, Bytes, Direction, Micros, Moment, Rate, TSpec, Wsa};
use serde::{Deserialize, Serialize};

use crate::admission::{Decision, EndCause, NotProgrammed, Operation, PeerLoss, Reason};
use crate::failure::KernelFailure;
use crate::kernel::{ClaimHolder, Handle};
use crate::policy::{PeerTimeouts, Policy};
use crate::tc::{Change, ForeignRoot, HtbRoot, ObservedTree};
use crate::telemetry::Recorded;
use crate::telemetry::audit::Audited;

/// Ties an answer to a caller's request. The caller chooses it; requests without an answer have different ones.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RequestId(pub u64);

/// Ties the kernel's answer to a change. The manager chooses it; [`Effect::Apply`] carries it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ChangeId(pub(super) u64);

/// Something happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Input {
    /// An interface is to be managed, and was looked at; or it was looked at again, since it may have changed.
    Seen(Seen),
    /// A caller requests an operation.
    Request {
        /// Returned with [`Effect::Answer`].
        id: RequestId,
        /// What the ledger decides, once its interface is ready for it.
        operation: Box<Operation>,
    },
    /// The tree of an interface was read: what differs from the desired one is repaired. Ignored while a change of the
    /// interface is pending.
    Observed {
        /// The name of the link, as in [`Seen`].
        interface: String,
        /// The tree; the qdisc of another program where that is at the root.
        observed: Box<Result<ObservedTree, ForeignRoot>>,
    },
    /// The kernel does not answer about an interface: its flows are enforced without it until its tree is
    /// [observed](Self::Observed) again.
    Unanswered {
        /// The name of the link, as in [`Seen`].
        interface: String,
        /// The call that was given up.
        failure: KernelFailure,
    },
    /// An interface is gone: its flows lose their reservations.
    Gone {
        /// The name of the link, as in [`Seen`].
        interface: String,
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
    /// The flow's peer has answered: the connection is established.
    Connected {
        /// The id of its request.
        id: String,
    },
    /// The flow's owner no longer uses its buckets: what it has taken from them is owed until it would have been
    /// refilled. Comes before [`Input::Closed`]; queued data may leave in between. May come more than once: a later one
    /// counts what has left since. For a flow that has [lost](Notice::Lost) its reservation it comes
    /// before any input of another kind.
    Spent {
        /// The id of its request.
        id: String,
        /// The tokens that are missing from its bucket in each direction; `None` where that is not known: then its
        /// bucket is taken to have filled since the flow was admitted.
        missing: Both<Option<Bytes>>,
    },
    /// No packets of the flow are left in its class, and none come any more. Comes before [`Input::Closed`]; without it the
    /// class of the flow is deleted, and not kept for another one.
    Drained {
        /// The id of its request.
        id: String,
        /// How long it takes from now on at most until the buckets of the class are full.
        full_in: Micros,
    },
    /// The flow's connection failed or ended, or its caller gave up. May come more than once.
    Closed {
        /// The id of its request.
        id: String,
    },
    /// What a process that was killed had admitted is admitted again, whatever is free: a [`Reserve`](Operation::Reserve)
    /// or a [`Group`](Operation::Group). Comes before any other request.
    Adopt {
        /// Returned with [`Effect::Answer`].
        id: RequestId,
        /// What was admitted.
        operation: Box<Operation>,
        /// The class that the flow has.
        class: Option<Handle>,
    },
    /// A socket sends to a class, whatever becomes of the flow: no other flow gets the class before the socket is
    /// [unmarked](Self::SocketUnmarked). May come more than once.
    SocketMarked {
        /// Its cookie.
        socket: u64,
        /// By the socket's SO_PRIORITY.
        class: Handle,
        /// The id of the flow that has the class; `None` where that is not known: then the class is that of any interface.
        flow: Option<String>,
    },
    /// A socket does not send to this class any more.
    SocketUnmarked {
        /// Its cookie.
        socket: u64,
        /// The one that the socket was marked with.
        class: Handle,
    },
    /// The kernel sends a flow's packets by another interface from now on: the flow is requested there as it is, and has
    /// nothing on the interface before. Answered as a request; a flow that is refused has lost its reservation, except
    /// where the flow [may not be requested](super::Manager::may_reroute) there yet: then nothing has changed.
    Reroute {
        /// Returned with [`Effect::Answer`].
        id: RequestId,
        /// The id of the flow's request.
        flow: String,
        /// The interface by which its packets leave.
        to: String,
    },
    /// The packets of a flow do not leave by its interface any more, and the flow is not to be requested on another one:
    /// its reservation is lost.
    RouteLost {
        /// The id of its request.
        id: String,
        /// What its owner is told: [`Loss::Rerouted`] or [`Loss::NoRoute`].
        why: Loss,
    },
    /// The manager is to end: the trees that it has programmed are deleted.
    Stop,
}

/// An interface as the kernel reports it: the link's numbers and what is at its root.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Seen {
    /// The name of the link: `eth0`.
    pub interface: String,
    /// The kernel's ifindex, which [`Effect::Apply`] carries.
    pub index: u32,
    /// The largest IP datagram it carries.
    pub mtu: Bytes,
    /// The link speed that the kernel reports.
    pub speed: Option<Rate>,
    /// The number of the interface on whose wire the kernel says that it sends, or of the bridge or the bond that it is in.
    pub shares_wire_with: Option<u32>,
    /// Decides whether the manager sets up a tree, takes one over or leaves the interface to user space.
    pub root: Root,
}

/// The root qdisc of an interface.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Root {
    /// The kernel's default, which returns when another is deleted.
    Default,
    /// A tree of gqos, left by a process that was killed.
    Ours(HtbRoot),
    /// The same, to be kept for the flows that the process had admitted: they are [adopted](Input::Adopt), and then the
    /// tree is [observed](Input::Observed).
    Kept(HtbRoot),
    /// Another program's qdisc.
    Foreign {
        /// The word of `tc qdisc show`: `fq_codel`.
        kind: String,
        /// Zero for a qdisc that the kernel has made.
        handle: Handle,
    },
    /// Another program's qdisc, which the policy would have replaced and which could not be restored.
    NotSavable {
        /// The word of `tc qdisc show`: `red`.
        kind: String,
        /// The number of the qdisc.
        handle: Handle,
        /// The part of its tree that could not be restored.
        part: String,
    },
    /// The interface is a VRF: its packets leave by the interfaces in it, and a tree of its own would hold them up before.
    Vrf,
    /// Another running gqos has claimed the interface.
    Taken {
        /// Its process and command.
        holder: ClaimHolder,
    },
    /// It is not known, since the kernel does not answer.
    Unread {
        /// The call that was given up.
        failure: KernelFailure,
    },
}

/// What follows from an input.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    /// What is to be done, in this order.
    pub effects: Vec<Effect>,
    /// What has happened, in this order; empty unless [`record_events`](super::Manager::record_events) was called.
    pub events: Vec<Recorded>,
    /// What the ledger was asked and decided, in this order; empty unless [`record_audit`](super::Manager::record_audit) was
    /// called.
    pub audit: Vec<Audited>,
}

/// Something is to be done.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Effect {
    /// Carry out a change, all of it or none, and report the result. The changes of an interface are carried out in
    /// the order in which they were given. The class for what a flow receives is part of it:
    /// [`receiving_part`](super::Manager::receiving_part).
    Apply {
        /// To be returned in [`Input::Applied`].
        id: ChangeId,
        /// The interface's number.
        index: u32,
        /// What differs, in order, with the undo of each operation.
        change: Change,
    },
    /// An interface is not managed any more, since the policy does not have it: delete its tree, once all changes before are
    /// carried out. No answer is needed.
    Leave {
        /// The interface's number.
        index: u32,
        /// The name that it was managed under.
        interface: String,
        /// The root of its tree; `None` where it has none.
        root: Option<HtbRoot>,
    },
    /// Return an answer to the caller of a request.
    Answer {
        /// That of the [`Input::Request`].
        id: RequestId,
        /// The decision, and for an admitted flow how it is set up.
        answer: Box<Answer>,
    },
    /// Notify those that did not request anything just now.
    Notify(Notice),
}

/// What is notified without a request.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Notice {
    /// A flow has ended, and its reservation is free.
    Ended(Box<Decision>),
    /// A flow has lost its reservation, though its owner has not ended it.
    Lost(Lost),
    /// The reservation of a flow that was reserved ahead begins now.
    Begun {
        /// The id of its request.
        id: String,
        /// How it is to be set up. Without a class where the interface has no tree, or the kernel has refused the class.
        admitted: Box<Admitted>,
    },
    /// More is reserved on an interface than it carries now, or no longer. What is left after shedding, groups and
    /// the flows that the policy keeps, may not get what it reserved.
    Overcommitted {
        /// The name of the link, as in [`Seen`].
        interface: String,
        /// Whether it is overcommitted.
        over: bool,
    },
    /// The request of a flow that waits for capacity would be granted now.
    CapacityAvailable {
        /// The id under which it waits.
        id: String,
    },
}

/// A reservation that was taken back.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Lost {
    /// The id of its request.
    pub id: String,
    /// The name of the link that it was charged on.
    pub interface: String,
    /// Decides what FD_QOS reports: [`Loss::status`].
    pub why: Loss,
}

/// Why a reservation was taken back.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Loss {
    /// A more important flow needs its capacity.
    Preempted {
        /// The other flow.
        by: String,
    },
    /// The link carries less than before.
    Shed,
    /// It was not refreshed in time, or the time it was reserved for is over.
    Expired,
    /// The link was deleted, or moved to another network namespace.
    LinkGone,
    /// Its peer is gone, or was silent for the policy's `dead_after`.
    Dead,
    /// Its peer accepted nothing for the policy's `stalled_after`, while data waited.
    Stalled,
    /// The daemon that granted it has ended, and the next one has refused it.
    EngineGone,
    /// Its client has admitted it within a slice, and the daemon has refused it.
    Unconfirmed {
        /// Why; `None` where the daemon answered with an error.
        reason: Option<Reason>,
    },
    /// The kernel sends its packets by another interface, on which it is refused.
    Rerouted {
        /// The interface by which its packets leave now.
        to: String,
        /// Why it is refused there; `None` where its owner cannot send it to another class.
        reason: Option<Reason>,
    },
    /// The kernel has no route for its packets any more.
    NoRoute {
        /// The kernel's answer.
        failure: KernelFailure,
    },
    /// It was reserved ahead on an interface with `enforcement = "kernel"`, and the kernel does not enforce it at its start.
    NotEnforced {
        /// What keeps the flow's class out of the kernel.
        cause: NotProgrammed,
    },
}

/// What a caller gets for its [`Input::Request`].
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// As traces and logs record it: the response, its numbers and the totals after it.
    pub decision: Decision,
    /// How the flow is to be set up, if it was admitted.
    pub admitted: Option<Admitted>,
}

/// How an admitted flow is to be set up.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Admitted {
    /// The TSpec that the flow is shaped to; `None` in a direction without a reservation.
    pub tspec: Both<Option<TSpec>>,
    /// The class of its packets; `None` where user space alone enforces the flow.
    pub class: Option<Handle>,
    /// The code point for its packets.
    pub dscp: Option<u8>,
    /// How long it keeps its reservation without its peer.
    pub timeouts: PeerTimeouts,
    /// The tokens that its bucket starts without, in each direction: flows of its class that have ended took them, and
    /// they would not have been refilled yet.
    pub owed: Both<Bytes>,
    /// When the reservation begins, where that is later: the flow has no class until [`Notice::Begun`], and is best effort.
    pub begins: Option<Moment>,
}

impl Admitted {
    /// Whether anything is reserved.
    pub const fn reserves(&self) -> bool {
        self.tspec.sending.is_some() || self.tspec.receiving.is_some()
    }

    /// The direction in which datagrams show that the flow is used: sending, where that is reserved.
    pub const fn reserved_direction(&self) -> Option<Direction> {
        match (&self.tspec.sending, &self.tspec.receiving) {
            (Some(_), _) => Some(Direction::Sending),
            (None, Some(_)) => Some(Direction::Receiving),
            (None, None) => None,
        }
    }
}

impl Loss {
    /// What FD_QOS reports for it.
    pub const fn status(&self) -> Wsa {
        match self {
            Self::Preempted { .. } => Wsa::QosPolicyFailure,
            Self::Shed | Self::LinkGone => Wsa::QosAdmissionFailure,
            Self::Expired | Self::Dead | Self::Stalled => Wsa::QosNoReceivers,
            Self::NotEnforced { .. } => Wsa::QosTrafficCtrlError,
            Self::EngineGone | Self::Unconfirmed { .. } | Self::Rerouted { .. } | Self::NoRoute { .. } => {
                Wsa::QosAdmissionFailure
            }
        }
    }
}

impl From<EndCause> for Loss {
    fn from(cause: EndCause) -> Self {
        match cause {
            EndCause::Expired => Self::Expired,
            EndCause::Shed => Self::Shed,
            EndCause::Peer(PeerLoss::Dead) => Self::Dead,
            EndCause::Peer(PeerLoss::Stalled) => Self::Stalled,
        }
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, interface, why } = self;
        match why {
            Loss::Preempted { by } => write!(f, "{interface}: {id} was preempted by {by}"),
            Loss::Shed => write!(f, "{interface}: {id} was shed, since the link carries less than before"),
            Loss::LinkGone => {
                write!(f, "{interface}: the reservation of {id} was released, since the interface is gone")
            }
            Loss::Expired => write!(f, "{interface}: the reservation of {id} has expired"),
            Loss::Dead => {
                write!(f, "{interface}: the reservation of {id} was released, since its peer is gone")
            }
            Loss::Stalled => {
                write!(f, "{interface}: the reservation of {id} was released, since its peer accepts no data")
            }
            Loss::EngineGone => write!(
                f,
                "{interface}: the reservation of {id} ended with the daemon, and the next one has refused it"
            ),
            Loss::Unconfirmed { reason: Some(reason) } => write!(
                f,
                "{interface}: {id} was admitted within a slice, and the daemon has refused it: {reason}"
            ),
            Loss::Unconfirmed { reason: None } => write!(
                f,
                "{interface}: {id} was admitted within a slice, and the daemon has answered with an error"
            ),
            Loss::Rerouted { to, reason: Some(reason) } => write!(
                f,
                "{interface}: the reservation of {id} was released, since its packets leave by {to}, where it is refused: {reason}"
            ),
            Loss::Rerouted { to, reason: None } => {
                write!(
                    f,
                    "{interface}: the reservation of {id} was released, since its packets leave by {to}"
                )
            }
            Loss::NoRoute { failure } => {
                write!(
                    f,
                    "{interface}: the reservation of {id} was released, since it has no route: {failure}"
                )
            }
            Loss::NotEnforced { cause } => {
                write!(
                    f,
                    "{interface}: the reservation of {id} ended at its start, since the kernel does not enforce it: {cause}"
                )
            }
        }
    }
}
