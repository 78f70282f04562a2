//! What the audit trail records of a manager.

use std::sync::Arc;

use flowspec::{Both, Bytes, Flowspec, Moment, Rate};

use crate::admission::{Decision, Ladder, Operation};
use crate::policy::Policy;

/// A fact of the audit trail, and when it became one.
#[derive(Clone, Debug, PartialEq)]
pub struct Audited {
    /// When the manager handled the input that led to it.
    pub at: Moment,
    /// What the ledger did, or was told.
    pub fact: AuditFact,
}

/// The client that a fact is about, as far as that is known.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct AuditClient {
    /// Its user.
    pub uid: Option<u32>,
    /// Its process.
    pub pid: Option<u32>,
}

/// What the ledger did, or was told. Replayed in their order, facts lead to the same ledger.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum AuditFact {
    /// The ledger has decided a request.
    Decided {
        /// The request.
        operation: Box<Operation>,
        /// What was decided.
        decision: Box<Decision>,
    },
    /// The ledger has taken over what a process that was killed had granted: it goes on, and is no new request.
    Adopted {
        /// The request that stands for it.
        operation: Box<Operation>,
        /// What was decided; a refusal where the policy does not have its place any more.
        decision: Box<Decision>,
    },
    /// A request was refused before it reached the ledger, or after the ledger had granted it.
    Refused {
        /// The request, where it is known. A template that the policy does not have stands there with best effort.
        request: Option<Box<Ladder>>,
        /// The refusal.
        decision: Box<Decision>,
    },
    /// A flow is charged the larger of two reservations until the kernel has answered.
    Renegotiating {
        /// The flow's id.
        id: String,
        /// What it requests; an absent direction stays as it is.
        flowspecs: Box<Both<Option<Flowspec>>>,
    },
    /// The kernel has answered a renegotiation.
    Renegotiated {
        /// The flow's id.
        id: String,
        /// What the flow requests from then on; `None` where it keeps what it had.
        flowspecs: Option<Box<Both<Option<Flowspec>>>>,
        /// What was decided.
        decision: Box<Decision>,
    },
    /// A reservation was taken back without a request: the kernel has refused it, or its interface is gone.
    TakenBack {
        /// The flow's id.
        id: String,
    },
    /// Flows have the reservations again that they had lost to a flow, since that was not admitted.
    Reinstated {
        /// The flow that was not admitted.
        by: String,
        /// The flows.
        ids: Vec<String>,
    },
    /// Time has ended flows.
    Ended {
        /// The flows.
        ids: Vec<String>,
    },
    /// The kernel's parameters of a link.
    Link {
        /// The name of the link: `eth0`.
        interface: String,
        /// The largest IP datagram that it carries.
        mtu: Bytes,
        /// Its speed, where the kernel reports one.
        speed: Option<Rate>,
        /// Whether it was seen before, so that the capacity that was reported since counts on.
        again: bool,
    },
    /// Whether the kernel has a tree for an interface.
    Programmed {
        /// The name of the link: `eth0`.
        interface: String,
        /// Whether it has.
        programmed: bool,
    },
    /// A call of a client had an error in place of an answer. Nothing has changed.
    Failed {
        /// The method: `org.gqos.Release`.
        method: String,
        /// The id that the call names, where it names one.
        id: Option<String>,
        /// The name of the error: `UnknownId`.
        error: String,
        /// The error in words.
        problem: String,
        /// The client that has called.
        client: AuditClient,
    },
    /// Another policy from now on.
    Reloaded(Arc<Policy>),
}
