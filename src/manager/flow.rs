//! A flow on an interface that has been seen, and its phase.

use std::time::Duration;

use flowspec::{Both, Bytes, Direction, Micros, Moment, Qos, TokenDebt};

use super::message::{Admitted, ChangeId, Loss};
use super::owed::Debtor;
use crate::admission::{Grant, Holding, Request};
use crate::policy::Owner;
use crate::tc::{Framed, Handle};

/// The progress of a flow from its grant to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FlowPhase {
    /// The ledger has reserved; the kernel has not answered.
    Applying,
    /// The kernel has its class; the peer has not answered.
    Provisional,
    /// The peer has answered: [`Input::Connected`](super::Input::Connected).
    Established,
    /// Preempted; the preemptor's kernel change is still pending.
    Displaced,
    /// Ended; the kernel has not deleted its class yet.
    Releasing,
}

#[derive(Debug)]
pub(super) struct ManagedFlow {
    pub(super) interface: String,
    pub(super) phase: FlowPhase,
    /// Its class in the kernel; `None` where the interface has no tree or nothing is reserved for sending.
    pub(super) class: Option<Handle>,
    /// The class to which its socket sends since an earlier process, of which it was [adopted](super::Input::Adopt).
    pub(super) claimed: Option<Handle>,
    /// The request that was granted.
    pub(super) qos: Qos,
    pub(super) grant: Grant,
    /// The class that its request names.
    pub(super) policy_class: Option<String>,
    /// The class in which the ledger counts it: that of its request, of its group or for its owner.
    pub(super) counted_class: Option<String>,
    pub(super) requester: Box<FlowRequester>,
    pub(super) debt: FlowDebt,
    /// How long its class takes until its buckets are full, once it has no packets of the flow.
    pub(super) full_in: Option<Micros>,
    /// The group that the interface charges in its place.
    pub(super) group: Option<String>,
    /// Its class in the policy, where the traffic of that class is measured.
    pub(super) measured: Option<String>,
    /// The change of its class that the kernel has not answered.
    pub(super) changing: Option<ChangeId>,
    /// When its reservation begins, if that is later.
    pub(super) begins: Option<Moment>,
    /// Its phase before the kernel was asked for the class of a reservation that begins, or on another interface.
    pub(super) before_class: Option<FlowPhase>,
    /// The flow ends as soon as the kernel has answered.
    pub(super) closed: bool,
    /// The ledger has taken the reservation back; its owner learns of it as soon as the kernel has answered.
    pub(super) lost: Option<Loss>,
}

/// What a flow's request says of its owner, to request the same on another interface.
#[derive(Clone, Debug, Default)]
pub(super) struct FlowRequester {
    pub(super) client: Option<String>,
    pub(super) owner: Owner,
    pub(super) setup_priority: Option<u8>,
    pub(super) holding_priority: Option<u8>,
}

/// A flow that has lost its reservation by the input before this one.
#[derive(Debug)]
pub(super) struct Lapsed {
    pub(super) flow: ManagedFlow,
    pub(super) why: Loss,
}

/// The tokens that are missing from a flow's buckets as far as the manager knows, if nothing has been sent since.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlowDebt {
    /// When they were missing: when the flow was admitted, or when its end was reported.
    pub(super) at: Moment,
    pub(super) missing: Both<Bytes>,
    /// The flow has ended, and its class in the policy owes them.
    pub(super) is_counted: bool,
}

impl ManagedFlow {
    /// The flow has ended, and these tokens are missing from its buckets, as far as that is known: those that its class
    /// does not owe yet.
    pub(super) fn settle(&mut self, now: Moment, missing: Both<Option<Bytes>>) -> Both<Bytes> {
        let left = self.missing(now);
        let (mut added, mut all) = (left, left);
        for direction in Direction::BOTH {
            let Some(tspec) = self.grant.tspec.get(direction) else { continue };
            let left = *left.get(direction);
            let known = missing.get(direction).unwrap_or(left).min(tspec.token_bucket_size());
            let counted = if self.debt.is_counted { left } else { Bytes::ZERO };
            *added.get_mut(direction) = known.saturating_sub(counted);
            *all.get_mut(direction) = known.max(counted);
        }
        self.debt = FlowDebt { at: now, missing: all, is_counted: true };
        added
    }

    /// The tokens that are missing from its buckets now, if it has sent nothing since that was known.
    pub(super) fn missing(&self, now: Moment) -> Both<Bytes> {
        let FlowDebt { at, missing, .. } = self.debt;
        let elapsed = Duration::from_micros(now.saturating_since(at).get());
        let mut left = Both::default();
        for direction in Direction::BOTH {
            let Some(tspec) = self.grant.tspec.get(direction) else { continue };
            let mut debt = TokenDebt::default();
            debt.owe(*missing.get(direction), tspec.token_rate());
            debt.pass(elapsed, tspec.token_rate());
            *left.get_mut(direction) = debt.owed();
        }
        left
    }

    /// How its owner sets it up, with these tokens missing from its buckets.
    pub(super) fn admitted(&self, owed: Both<Bytes>) -> Admitted {
        let Grant { tspec, dscp, timeouts, .. } = self.grant;
        Admitted { tspec, class: self.class, dscp, timeouts, owed, begins: self.begins }
    }

    pub(super) const fn debtor(&self) -> Debtor<'_> {
        Debtor { interface: self.interface.as_str(), class: &self.counted_class, tspec: &self.grant.tspec }
    }

    /// Whether the kernel is still working on the flow's admission, preemption or end.
    pub(super) const fn is_in_flight(&self) -> bool {
        match self.phase {
            FlowPhase::Applying | FlowPhase::Displaced | FlowPhase::Releasing => true,
            FlowPhase::Provisional | FlowPhase::Established => false,
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

impl FlowRequester {
    pub(super) fn of(request: &Request) -> Box<Self> {
        let Request { client, owner, setup_priority, holding_priority, .. } = request;
        Box::new(Self {
            client: client.clone(),
            owner: owner.clone(),
            setup_priority: *setup_priority,
            holding_priority: *holding_priority,
        })
    }
}

/// The traffic that a flow's class carries; `None` where nothing is reserved for sending.
pub(super) fn framed(grant: &Grant) -> Option<Framed> {
    grant.tspec.sending.as_ref().map(|tspec| Framed::new(tspec, grant.charged.sending))
}
