//! Who has to go: for a more important newcomer, or for a link that carries less.

use std::sync::Arc;

use super::state::Ledger;
use crate::admission::account::entry::Entry;
use crate::admission::account::footprint::Footprint;
use crate::admission::displaced::Displaced;
use crate::admission::refusal::Refusal;

impl Ledger {
    /// Makes room for a flow that was refused, if the policy has preemption: those whose holding priority
    /// is worse than its setup priority go, least important first, then newest, and none that need not.
    ///
    /// - **Errors**: the refusal, if there is none to go or all of them are not enough; then none has gone.
    pub(crate) fn make_room(
        &mut self,
        newcomer: &Entry,
        setup: u8,
        refusal: Refusal,
    ) -> Result<Vec<Displaced>, Refusal> {
        if !self.policy.preemption || !refusal.lacks_capacity() {
            return Err(refusal);
        }
        let window = newcomer.footprint.window;
        let interface = newcomer.footprint.interface;
        let Some(Some(account)) = self.accounts.get(interface as usize) else { return Err(refusal) };
        let candidates: Vec<_> = account
            .candidates()
            .take_while(|(holding_priority, _)| *holding_priority > setup)
            .map(|(_, slot)| self.flows.entry(slot).footprint)
            .filter(|footprint| footprint.window.overlaps(&window))
            .collect();
        let chosen = self.choose(interface, &candidates, |ledger| ledger.check(newcomer, None).is_ok());
        let Some(chosen) = chosen else { return Err(refusal) };
        Ok(self.displace(chosen.into_iter().map(|footprint| footprint.slot)))
    }

    /// The first candidates without whom something holds, less those without whom it would hold anyway.
    /// Nothing where it does not hold without all of them. The accounts are as they were afterwards.
    pub(crate) fn choose(
        &mut self,
        interface: u32,
        candidates: &[Footprint],
        holds: impl Fn(&Self) -> bool,
    ) -> Option<Vec<Footprint>> {
        let now = self.now;
        let mut gone = Vec::new();
        let mut enough = false;
        for candidate in candidates {
            self.account_at(interface)?.unbook(candidate, now);
            gone.push(candidate.clone());
            enough = holds(self);
            if enough {
                break;
            }
        }
        if enough {
            // The last was needed; of the others the most important comes back first.
            for index in (0..gone.len().saturating_sub(1)).rev() {
                self.account_at(interface)?.book(&gone[index], now);
                if holds(self) {
                    gone.remove(index);
                } else {
                    self.account_at(interface)?.unbook(&gone[index], now);
                }
            }
        }
        for footprint in &gone {
            self.account_at(interface)?.book(footprint, now);
        }
        if let Some(Some(account)) = self.accounts.get_mut(interface as usize) {
            account.tidy_all(interface, &self.flows);
        }
        enough.then_some(gone)
    }

    /// Ends flows, so that they can be given back what they had.
    pub(crate) fn displace(&mut self, slots: impl Iterator<Item = u32>) -> Vec<Displaced> {
        let mut displaced = Vec::new();
        for slot in slots.collect::<Vec<_>>() {
            let id = self.flows.id(slot).to_owned();
            if let Some(entry) = self.take(&id) {
                displaced.push(Displaced { id, entry, classes: Arc::clone(&self.classes) });
            }
        }
        displaced
    }

    /// Gives flows back what they had before they had to go for one who did not come after all, whatever
    /// policy has come meanwhile. Says whose place is taken by now.
    pub fn reinstate(&mut self, displaced: Vec<Displaced>) -> Vec<String> {
        let mut lost = Vec::new();
        for Displaced { id, entry, classes } in displaced.into_iter().rev() {
            // What a class was called by before is not what it is called by under another policy.
            let same = Arc::ptr_eq(&classes, &self.classes);
            if same && self.flows.slot(&id).is_none() && self.check(&entry, None).is_ok() {
                self.book_new(&id, entry, None);
            } else {
                lost.push(id);
            }
        }
        self.debug_check();
        lost
    }
}
