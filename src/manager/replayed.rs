//! What a manager with a kernel does to its ledger besides deciding requests, for the replay of an audit trail.

use flowspec::{Both, Bytes, Flowspec, Moment, Rate};

use super::dry_run::DryRun;
use crate::admission::{Decision, Refusal, Request};

/// How a reservation is restored that an audit trail says is held.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Restore {
    /// It is held whatever is free: the policy is the one under which it was admitted.
    Unchecked,
    /// As a new request, under another policy.
    Admitted,
}

impl DryRun {
    /// A link was seen, for the first time or `again`: its MTU, and its speed where the kernel reports one.
    pub fn observe_link(&mut self, interface: &str, (mtu, speed): (Bytes, Option<Rate>), again: bool) {
        let ledger = &mut self.manager.ledger;
        match again {
            true => ledger.see_again(interface, mtu, speed),
            false => ledger.observe_link(interface, mtu, speed),
        }
    }

    /// The kernel has a tree for an interface, or has none.
    pub fn set_programmed(&mut self, interface: &str, programmed: bool) {
        self.manager.ledger.set_programmed(interface, programmed);
    }

    /// Takes a reservation back without a request. `false` where there is none.
    pub fn take_back(&mut self, id: &str) -> bool {
        self.manager.ledger.release(id).is_some()
    }

    /// A reservation that is held already. It counts as no request of its client.
    ///
    /// - **Errors**: the refusal.
    pub fn restore(&mut self, request: &Request, how: Restore, now: Moment) -> Result<(), Refusal> {
        drop(self.advance(now));
        let ledger = &mut self.manager.ledger;
        match how {
            Restore::Unchecked => ledger.book_held(request),
            Restore::Admitted => ledger.admit_counted(request).map(drop),
        }
    }

    /// Grants a flow another reservation, and charges it the larger of both until [`conclude`](Self::conclude). The refusal,
    /// where it is not granted.
    pub fn begin_renegotiation(
        &mut self,
        id: &str,
        flowspecs: &Both<Option<Flowspec>>,
        now: Moment,
    ) -> Option<Decision> {
        match self.manager.ledger.begin_renegotiation(now, id, flowspecs) {
            Ok(begun) => {
                self.renegotiating.insert(id.to_owned(), begun.renegotiation);
                None
            }
            Err(outcome) => Some(outcome.decision),
        }
    }

    /// The kernel has answered a renegotiation. `None` where none has begun.
    pub fn conclude(&mut self, id: &str, agreed: bool, now: Moment) -> Option<Decision> {
        let renegotiation = self.renegotiating.remove(id)?;
        let ledger = &mut self.manager.ledger;
        let outcome = match agreed {
            true => ledger.finish_renegotiation(now, renegotiation),
            false => {
                let refusal = Refusal::InProgress { id: id.to_owned() };
                ledger.abandon_renegotiation(now, renegotiation, refusal)
            }
        };
        Some(outcome.decision)
    }
}
