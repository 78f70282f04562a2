//! A flow on an interface that has been seen, and its phase.

use flowspec::Qos;

use super::message::{ChangeId, Loss};
use crate::admission::{Grant, Holding};
use crate::tc::{Framed, Handle};

/// How far a flow has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// The ledger has reserved; the kernel has not answered.
    Applying,
    /// The kernel has its class; the peer has not answered.
    Provisional,
    /// The connection is established.
    Established,
    /// Preempted; the preemptor's kernel change is still pending.
    Displaced,
    /// Ended; the kernel has not deleted its class yet.
    Releasing,
}

#[derive(Debug)]
pub(super) struct Flow {
    pub(super) interface: String,
    pub(super) phase: Phase,
    /// Its class in the kernel; `None` where the interface has no tree or nothing is reserved for sending.
    pub(super) class: Option<Handle>,
    /// The request that was granted.
    pub(super) qos: Qos,
    pub(super) grant: Grant,
    /// The group that the interface charges in its place.
    pub(super) group: Option<String>,
    /// Its class in the policy, where the traffic of that class is measured.
    pub(super) measured: Option<String>,
    /// The change of its class that the kernel has not answered.
    pub(super) changing: Option<ChangeId>,
    /// The flow ends as soon as the kernel has answered.
    pub(super) closed: bool,
    /// The ledger has taken the reservation back; its owner learns of it as soon as the kernel has answered.
    pub(super) lost: Option<Loss>,
}

impl Flow {
    /// Whether the kernel is still working on the flow's admission, preemption or end.
    pub(super) const fn is_in_flight(&self) -> bool {
        match self.phase {
            Phase::Applying | Phase::Displaced | Phase::Releasing => true,
            Phase::Provisional | Phase::Established => false,
        }
    }

    /// What the flow holds in the ledger, for an event.
    pub(super) fn holding(&self, id: &str) -> Holding {
        Holding {
            id: id.to_owned(),
            interface: self.interface.clone(),
            charged: self.grant.charged,
            group: self.group.clone(),
        }
    }
}

/// The traffic that a flow's class carries; `None` where nothing is reserved for sending.
pub(super) fn framed(grant: &Grant) -> Option<Framed> {
    grant.tspec.sending.as_ref().map(|tspec| Framed::new(tspec, grant.charged.sending))
}
