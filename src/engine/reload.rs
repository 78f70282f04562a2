//! Another policy for an engine that runs, and its flows.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::core::lock;
use super::error::EngineError;
use super::kept::KeptReservation;
use super::local::LocalEngine;
use crate::admission::{GroupDifference, Holding, Reload};
use crate::manager::Input;
use crate::policy::Policy;
use crate::tc::Handle;

/// A flow that holds a reservation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FlowReport {
    /// What it holds, and where.
    pub holding: Holding,
    /// Its class in the policy.
    pub policy_class: Option<String>,
    /// Its class in the kernel; `None` where user space alone enforces it.
    pub class: Option<Handle>,
}

impl LocalEngine {
    /// What another policy would change, in itself and for the flows that are admitted. Changes nothing.
    pub fn compare(&self, policy: &Policy) -> Reload {
        lock(self.core()).manager.ledger().compare(policy)
    }

    /// The groups that are not as the policy states them, with the reason.
    pub fn group_differences(&self) -> Vec<(String, GroupDifference)> {
        lock(self.core()).manager.ledger().group_differences()
    }

    /// Uses another policy from now on, and gives what that changes: [`compare`](Self::compare). Flows keep what they have.
    /// An interface that the policy before did not name is prepared with its first flow.
    ///
    /// - **Errors**: the policy has a part that a running host cannot carry out; nothing is changed then.
    pub fn reload(&self, policy: impl Into<Arc<Policy>>) -> Result<Reload, EngineError> {
        let policy = policy.into();
        let mut core = lock(self.core());
        let reload = core.manager.ledger().compare(&policy);
        self.needs_owner.store(policy.matches_owners(), Ordering::Relaxed);
        core.feed(Input::Policy(policy));
        core.wake();
        Ok(reload)
    }

    /// What a flow holds, if it is admitted.
    pub fn flow(&self, id: &str) -> Option<FlowReport> {
        let core = lock(self.core());
        let ledger = core.manager.ledger();
        let holding = ledger.holding_of(id)?;
        let policy_class = ledger.flow_class(id).map(str::to_owned);
        Some(FlowReport { holding, policy_class, class: core.manager.class(id).map(|(_, class)| class) })
    }

    /// What is to be written down of a reservation, apart from its client, its owner and its priorities; `None` where there
    /// is none of this id.
    pub fn kept(&self, id: &str) -> Option<KeptReservation> {
        let (kept, clock) = {
            let core = lock(self.core());
            (core.manager.kept(id)?, core.clock.beside_system(self.uptime()))
        };
        Some(KeptReservation::of(id, kept, clock))
    }

    /// The part of the policy in use that clients need while the daemon is not there, as a policy file; `None` where they
    /// are to refuse then.
    pub fn policy_for_clients(&self) -> Option<String> {
        let policy = Arc::clone(lock(self.core()).manager.ledger().policy());
        policy.for_clients().map(|policy| policy.effective())
    }

    /// The flowspecs of a template of the policy that is in use, or `None` where it has none of that name.
    pub fn template(&self, name: &str) -> Option<flowspec::Qos> {
        lock(self.core()).manager.ledger().policy().templates.get(name).map(|template| template.qos)
    }
}
