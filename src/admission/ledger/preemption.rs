//! Preemption: flows are ended for a more important one, and reinstated where that one is not established.

use std::sync::Arc;

use super::prepare::{Constraint, Wanted};
use super::state::Ledger;
use super::victims::{ExceededLimit, SearchedAccount, VictimSearch};
use crate::admission::account::entry::Entry;
use crate::admission::account::fit::FitContext;
use crate::admission::account::footprint::Footprint;
use crate::admission::account::place::PreemptionPlace;
use crate::admission::account::state::Account;
use crate::admission::displaced::Displaced;
use crate::admission::refusal::Refusal;
use crate::ordered::OrderedSet;

/// How many candidates are tried first where candidates are tried one by one.
const FIRST_CANDIDATES: usize = 16;

/// The limits that a newcomer exceeds.
enum ExceededLimits {
    /// They depend on nothing but sums.
    Sums(Vec<ExceededLimit>),
    /// What a flow frees depends on which others are there.
    OneByOne,
}

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
        let limits = match self.exceeded_limits(newcomer, setup)? {
            ExceededLimits::Sums(limits) => limits,
            ExceededLimits::OneByOne => return self.victims_one_by_one(newcomer, from),
        };
        let (now, interface) = (self.now, newcomer.entry.footprint.interface);
        let Self { parents, accounts, flows, .. } = self;
        let wire: Vec<_> = parents.wire(interface).collect();
        let accounts = (0..).zip(accounts.iter_mut()).filter(|(number, _)| wire.contains(number));
        let accounts = accounts.filter_map(|(number, account)| {
            let (usage, candidates) = account.as_mut()?.usage_and_candidates()?;
            Some((number, SearchedAccount { usage, candidates }))
        });
        let search = VictimSearch { accounts: accounts.collect(), parents, flows, limits, now, from };
        let victims = search.run()?;
        Some(victims.into_iter().map(PreemptionPlace::slot).collect())
    }

    /// The limits of the wire that a newcomer exceeds; `None` where all flows that it may preempt are not enough.
    fn exceeded_limits(&self, newcomer: &Wanted, setup: u8) -> Option<ExceededLimits> {
        let constraints = self.constraints(newcomer);
        let mut exceeded = Vec::new();
        for (number, account) in self.wire(newcomer.entry.footprint.interface) {
            for Constraint { footprint, old, flow } in &constraints {
                let Some(context) = self.fit_context(account, footprint, *flow) else { continue };
                if !context.relieves(footprint) {
                    let lasting = FitContext { usage: account.lasting(setup)?, ..context };
                    account.check(&lasting, footprint, old.as_ref()).ok()?;
                }
                let Some(mut limits) = account.limits(&context, footprint, old.as_ref()) else {
                    return Some(ExceededLimits::OneByOne);
                };
                limits.retain(|limit| account.usage.excess(limit, self.now) > 0);
                exceeded.extend(limits.into_iter().map(|limit| ExceededLimit { number, limit }));
            }
        }
        Some(ExceededLimits::Sums(exceeded))
    }

    /// The same where what a flow frees depends on the other flows. A few candidates are tried first, and all of them only
    /// where those free too little.
    fn victims_one_by_one(&mut self, newcomer: &Wanted, from: PreemptionPlace) -> Option<Vec<u32>> {
        let window = newcomer.entry.footprint.window;
        let number = self.lacking(newcomer).pop()?;
        let mut most = FIRST_CANDIDATES;
        loop {
            let account = self.accounts.get(number as usize)?.as_ref()?;
            let worse = account.places().take_while(|place| *place >= from);
            let footprints = worse.map(|place| self.flows.entry(place.slot()).footprint);
            let overlapping = footprints.filter(|footprint| footprint.window.overlaps(&window));
            let candidates: Vec<_> = overlapping.take(most).collect();
            let chosen = self.choose(&candidates, |ledger| ledger.fits(newcomer).is_ok());
            match chosen {
                Some(chosen) => return Some(chosen.into_iter().map(|footprint| footprint.slot).collect()),
                None if candidates.len() < most => return None,
                None => most = most.saturating_mul(8),
            }
        }
    }

    /// The interfaces of a flow's wire, nearest first, on which it does not fit; called [without the
    /// group](Self::without_group).
    pub(crate) fn lacking(&self, wanted: &Wanted) -> Vec<u32> {
        let constraints = self.constraints(wanted);
        let lacks = |(number, account): (u32, &Account)| {
            let fits = constraints.iter().all(|Constraint { footprint, old, flow }| {
                let context = self.fit_context(account, footprint, *flow);
                context.is_none_or(|context| account.check(&context, footprint, old.as_ref()).is_ok())
            });
            (!fits).then_some(number)
        };
        self.wire(wanted.entry.footprint.interface).filter_map(lacks).collect()
    }

    /// The candidates, first ones first, whose end makes a condition hold, without those that can stay; `None` where the
    /// condition does not hold even if all of them end. The accounts are left as they were.
    pub(crate) fn choose(
        &mut self,
        candidates: &[Footprint],
        holds: impl Fn(&Self) -> bool,
    ) -> Option<Vec<Footprint>> {
        let now = self.now;
        let mut gone = Vec::new();
        let mut enough = false;
        for candidate in candidates {
            self.each_account(candidate.interface, |account, _| account.unbook(candidate, now));
            gone.push(candidate.clone());
            enough = holds(self);
            if enough {
                break;
            }
        }
        if enough {
            // The last one was needed; of the others, the most important is tried first to be kept.
            for index in (0..gone.len().saturating_sub(1)).rev() {
                let kept = &gone[index];
                self.each_account(kept.interface, |account, _| account.book(kept, now));
                if holds(self) {
                    gone.remove(index);
                } else {
                    self.each_account(kept.interface, |account, _| account.unbook(kept, now));
                }
            }
        }
        for footprint in &gone {
            self.each_account(footprint.interface, |account, _| account.book(footprint, now));
        }
        let interfaces: OrderedSet<_> = candidates.iter().map(|candidate| candidate.interface).collect();
        for interface in interfaces {
            self.each_account(interface, Account::tidy_all);
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
        for Displaced { id, mut entry, classes } in displaced.into_iter().rev() {
            // Under another policy a class has another number.
            let same = Arc::ptr_eq(&classes, &self.classes);
            if same && self.flows.slot(&id).is_none() && self.fits_again(&entry) {
                self.book_new(&id, &mut entry, None);
            } else {
                lost.push(id);
            }
        }
        self.debug_check();
        lost
    }
}
