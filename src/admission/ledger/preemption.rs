//! Preemption: flows are ended for a more important one, and reinstated where that one is not established.

use std::sync::Arc;

use super::prepare::{Constraint, Wanted};
use super::state::Ledger;
use super::victims::VictimSearch;
use crate::admission::account::entry::Entry;
use crate::admission::account::fit::FitContext;
use crate::admission::account::footprint::Footprint;
use crate::admission::account::place::PreemptionPlace;
use crate::admission::displaced::Displaced;
use crate::admission::refusal::Refusal;

/// How many candidates are tried first where candidates are tried one by one.
const FIRST_CANDIDATES: usize = 16;

impl Ledger {
    /// Preempts flows for one that was refused, if the policy allows preemption: those whose holding priority is worse
    /// than its setup priority, least important first, then newest, and none that is not needed.
    ///
    /// - **Errors**: the refusal, if all such flows together are not enough; then none is preempted.
    pub(crate) fn preempt_for(
        &mut self,
        newcomer: &Wanted,
        setup: u8,
        refusal: Refusal,
    ) -> Result<Vec<Displaced>, Refusal> {
        let Some(victims) = self.victims(newcomer, setup, &refusal) else { return Err(refusal) };
        let displaced = self.displace(victims.into_iter());
        debug_assert!(self.check_wanted(newcomer).is_ok(), "flows are preempted in vain: {newcomer:?}");
        Ok(displaced)
    }

    /// The slots of the flows that would be preempted for one that was refused; `None` where they are not enough.
    pub(crate) fn victims(&mut self, newcomer: &Wanted, setup: u8, refusal: &Refusal) -> Option<Vec<u32>> {
        let never_fits = matches!(refusal, Refusal::InterfaceBudget { .. }) && !refusal.may_fit_later();
        if !self.policy.preemption || !refusal.lacks_capacity() || never_fits {
            return None;
        }
        // No flow is worse than the worst priority.
        let from = PreemptionPlace::after_priority(setup)?;
        self.without_group(newcomer, |ledger| ledger.search_victims(newcomer, setup, from))
    }

    fn search_victims(&mut self, newcomer: &Wanted, setup: u8, from: PreemptionPlace) -> Option<Vec<u32>> {
        let interface = newcomer.entry.footprint.interface;
        let account = self.accounts.get(interface as usize)?.as_ref()?;
        let mut limits = Vec::new();
        for Constraint { footprint, old, flow } in self.constraints(newcomer) {
            let context = self.fit_context(account, &footprint, flow)?;
            if !account.relieves(&footprint, self.now) {
                // Whether all of them would be enough.
                let lasting = FitContext { usage: account.lasting(setup)?, ..context };
                account.check(&lasting, &footprint, old.as_ref()).ok()?;
            }
            match account.limits(&context, &footprint, old.as_ref()) {
                Some(more) => limits.extend(more),
                None => return self.victims_one_by_one(newcomer, from),
            }
        }
        let now = self.now;
        limits.retain(|limit| account.usage.excess(limit, now) > 0);
        let (flows, account) = (&self.flows, self.accounts.get_mut(interface as usize)?.as_mut()?);
        let (usage, candidates) = account.usage_and_candidates()?;
        let search = VictimSearch { usage, candidates, flows, limits, now, from };
        let victims = search.run()?;
        Some(victims.into_iter().map(PreemptionPlace::slot).collect())
    }

    /// The same where what a flow frees depends on the other flows. A few candidates are tried first, and all of them only
    /// where those free too little.
    fn victims_one_by_one(&mut self, newcomer: &Wanted, from: PreemptionPlace) -> Option<Vec<u32>> {
        let Footprint { window, interface, .. } = newcomer.entry.footprint;
        let mut most = FIRST_CANDIDATES;
        loop {
            let account = self.accounts.get(interface as usize)?.as_ref()?;
            let worse = account.places().take_while(|place| *place >= from);
            let footprints = worse.map(|place| self.flows.entry(place.slot()).footprint);
            let overlapping = footprints.filter(|footprint| footprint.window.overlaps(&window));
            let candidates: Vec<_> = overlapping.take(most).collect();
            let chosen = self.choose(interface, &candidates, |ledger| ledger.fits(newcomer).is_ok());
            match chosen {
                Some(chosen) => return Some(chosen.into_iter().map(|footprint| footprint.slot).collect()),
                None if candidates.len() < most => return None,
                None => most = most.saturating_mul(8),
            }
        }
    }

    /// The candidates, first ones first, whose end makes a condition hold, without those that can stay; `None` where the
    /// condition does not hold even if all of them end. The accounts are left as they were.
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
            // The last one was needed; of the others, the most important is tried first to be kept.
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

    /// Ends flows, so that they can be reinstated.
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

    /// A flow as it would be displaced.
    pub(crate) fn displaced(&self, slot: u32) -> Displaced {
        let (id, entry) = (self.flows.id(slot).to_owned(), self.flows.entry(slot));
        Displaced { id, entry, classes: Arc::clone(&self.classes) }
    }

    fn fits_again(&self, entry: &Entry) -> bool {
        // No member of a group is displaced.
        self.fits(&Wanted { entry: entry.clone(), old: None, group: None }).is_ok()
    }

    /// Reinstates flows that were preempted for one that was not established after all. Gives those that no longer fit,
    /// or whose classes a reload has renumbered.
    pub fn reinstate(&mut self, displaced: Vec<Displaced>) -> Vec<String> {
        let mut lost = Vec::new();
        for Displaced { id, entry, classes } in displaced.into_iter().rev() {
            // Under another policy a class has another number.
            let same = Arc::ptr_eq(&classes, &self.classes);
            if same && self.flows.slot(&id).is_none() && self.fits_again(&entry) {
                self.book_new(&id, entry, None);
            } else {
                lost.push(id);
            }
        }
        self.debug_check();
        lost
    }
}
