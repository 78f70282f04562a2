//! What is seen of the peers of flows, and the flows that end for it.

use flowspec::Moment;

use super::state::Ledger;
use crate::admission::account::entry::Entry;
use crate::admission::ended::{EndCause, EndedFlow};
use crate::admission::peer::{PeerLoss, PeerState};
use crate::admission::refusal::Refusal;
use crate::ordered::OrderedSet;
use crate::policy::PeerTimeouts;

impl Ledger {
    /// What is seen of a flow's peer, since a moment or from now on. A state that was reported before goes on.
    ///
    /// Gives the flow where that ends it.
    ///
    /// - **Errors**: no such flow.
    pub(crate) fn report_peer(
        &mut self,
        id: &str,
        state: PeerState,
        since: Option<Moment>,
    ) -> Result<Option<EndedFlow>, Refusal> {
        let Some(slot) = self.flows.slot(id) else { return Err(Refusal::UnknownId { id: id.to_owned() }) };
        let given = since.map(|since| since.min(self.now));
        let mut absence = self.absent.get(slot).unwrap_or_default();
        let since = |before: Option<Moment>| given.or(before).or(Some(self.now));
        match state {
            PeerState::Active => {
                self.absent.remove(slot);
                return Ok(None);
            }
            PeerState::Silent => absence.silent = since(absence.silent),
            PeerState::Stalled => absence.stalled = since(absence.stalled),
            PeerState::Gone => return Ok(self.lose_peer(slot, PeerLoss::Dead)),
        }
        let absence = absence.under(self.timeouts_of(slot));
        self.absent.insert(self.flows.entry(slot).footprint.rank(), absence);
        match absence.end {
            Some((at, loss)) if at <= self.now => Ok(self.lose_peer(slot, loss)),
            _ => Ok(None),
        }
    }

    /// When a flow ends unless its peer is active before, and why.
    pub fn peer_end(&self, id: &str) -> Option<(Moment, PeerLoss)> {
        let slot = self.flows.slot(id)?;
        self.absent.get(slot)?.end
    }

    /// Ends the flow in a slot, whose time without its peer is over.
    pub(crate) fn end_absent(&mut self, slot: u32) -> Option<EndedFlow> {
        let (_, loss) = self.absent.get(slot)?.end?;
        self.lose_peer(slot, loss)
    }

    fn lose_peer(&mut self, slot: u32, loss: PeerLoss) -> Option<EndedFlow> {
        let held = self.end(slot)?;
        // A flow that has ended does not wait for more.
        self.waiting.leave(&held.id);
        self.debug_check();
        Some(EndedFlow { held, cause: EndCause::Peer(loss) })
    }

    /// The timeouts of the flow in a slot, under the policy of now.
    pub(crate) fn timeouts_of(&self, slot: u32) -> PeerTimeouts {
        self.timeouts(&self.flows.entry(slot))
    }

    /// The timeouts of a flow that may not be booked, under the policy of now.
    pub(crate) fn timeouts(&self, entry: &Entry) -> PeerTimeouts {
        let class = entry.footprint.class.and_then(|class| self.classes.stated(class));
        self.policy.timeouts_under(class, entry.client.as_deref())
    }

    /// Another policy holds, or flows have other ranks: the policy's timeouts count from when the flows' peers were absent.
    pub(crate) fn renew_absences(&mut self) {
        let before = std::mem::take(&mut self.absent);
        for (rank, absence) in before.iter() {
            let entry = self.flows.entry(rank.slot());
            self.absent.insert(entry.footprint.rank(), absence.under(self.timeouts(&entry)));
        }
    }

    /// Asserts that only flows are absent, and that they end when their timeouts say.
    pub(crate) fn assert_absences(&self, entries: &[Entry]) {
        let ranks: OrderedSet<_> = entries.iter().map(|entry| entry.footprint.rank()).collect();
        for (rank, absence) in self.absent.iter() {
            assert!(ranks.contains(&rank), "{rank:?}: no flow of this rank is without its peer");
            assert_eq!(absence, absence.under(self.timeouts_of(rank.slot())), "{rank:?}: its timeouts");
        }
        self.absent.invariants();
    }
}
