//! What the audit trail records of the ledger besides its decisions.

use super::message::Seen;
use super::state::Manager;
use super::turn::Turn;
use crate::admission::EndedFlow;
use crate::telemetry::audit::AuditFact;

impl Manager {
    /// The kernel has a tree for an interface, or has none.
    pub(super) fn set_programmed(&mut self, turn: &mut Turn, name: &str, programmed: bool) {
        self.ledger.set_programmed(name, programmed);
        turn.audit(|| AuditFact::Programmed { interface: name.to_owned(), programmed });
    }

    /// A reservation is taken back though its owner has not ended it.
    pub(super) fn take_back(&mut self, turn: &mut Turn, id: &str) {
        if self.ledger.release(id).is_some() {
            turn.audit(|| AuditFact::TakenBack { id: id.to_owned() });
        }
    }

    /// A link was seen, for the first time or `again`.
    pub(super) fn audit_link(&self, turn: &mut Turn, seen: &Seen, again: bool) {
        let Seen { interface, mtu, speed, .. } = seen;
        turn.audit(|| AuditFact::Link { interface: interface.clone(), mtu: *mtu, speed: *speed, again });
    }
}

/// Time has ended flows.
pub(super) fn audit_ended(turn: &mut Turn, ended: &[EndedFlow]) {
    if !ended.is_empty() {
        turn.audit(|| AuditFact::Ended { ids: ended.iter().map(|ended| ended.held.id.clone()).collect() });
    }
}
