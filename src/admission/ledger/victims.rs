//! Who has to go: for a more important newcomer, or for a link that carries less.

use std::sync::Arc;

use flowspec::{Direction, Rate};

use super::state::{Entry, Ledger};
use crate::admission::account::classes::Classes;
use crate::admission::account::profile::{FOREVER, Profile, Window};
use crate::admission::account::state::Footprint;
use crate::admission::refusal::Refusal;
use crate::policy::{Hysteresis, OnCapacityDrop};

/// One who had to go, with what he had.
#[derive(Clone, Debug)]
pub struct Displaced {
    /// What he is called.
    pub id: String,
    entry: Entry,
    /// As they were then.
    classes: Arc<Classes>,
}

impl PartialEq for Displaced {
    fn eq(&self, other: &Self) -> bool {
        (&self.id, &self.entry) == (&other.id, &other.entry)
    }
}

impl Eq for Displaced {}

fn names(displaced: Vec<Displaced>) -> Vec<String> {
    displaced.into_iter().map(|displaced| displaced.id).collect()
}

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
        if !self.policy.preemption || !refusal.is_lack_of_room() {
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

    /// A link carries another rate from now on. Says who had to go for it, least important first; nobody
    /// where the policy keeps those who are there.
    pub fn set_capacity(&mut self, interface: &str, direction: Direction, capacity: Rate) -> Vec<String> {
        let policy = Arc::clone(&self.policy);
        let Some(interface_policy) = policy.interface(interface) else { return Vec::new() };
        let (now, prover) = (self.now, self.prover);
        let Some(account) = self.account_of(interface) else { return Vec::new() };
        *account.rising.get_mut(direction) = None;
        if let Some(Hysteresis { time, change }) = interface_policy.hysteresis
            && let Some(settled) = *account.settled.get(direction)
        {
            if account.capacity.get(direction).is_some_and(|known| capacity > known) {
                *account.rising.get_mut(direction) = Some((now.saturating_add(time.get()), capacity));
                return Vec::new();
            }
            *account.capacity.get_mut(direction) = Some(capacity);
            account.prove(interface_policy, prover);
            if settled.saturating_sub(capacity) < change.of(settled) {
                return Vec::new();
            }
        }
        *account.capacity.get_mut(direction) = Some(capacity);
        *account.settled.get_mut(direction) = Some(capacity);
        account.prove(interface_policy, prover);
        if interface_policy.on_capacity_drop == OnCapacityDrop::Keep {
            return Vec::new();
        }
        let budget = interface_policy.budget(direction).reservable_of(capacity);
        let Some(account) = self.account(interface) else { return Vec::new() };
        let always = Window { start: self.now, end: FOREVER };
        if account.measures() {
            return self.shed_measured(interface, direction, budget);
        }
        // Only what this direction has reserved matters: who goes is found out on a copy of that.
        let mut reserved = account.reserved.get(direction).clone();
        let fits = |reserved: &Profile| reserved.highest(always, now) <= budget.get();
        if fits(&reserved) {
            return Vec::new();
        }
        let mut gone = Vec::new();
        for (_, slot) in account.candidates() {
            let footprint = self.flows.entry(slot).footprint;
            let (rate, window) = (footprint.charged.get(direction).get(), footprint.window);
            if rate == 0 {
                continue;
            }
            reserved.unbook(rate, window, now);
            gone.push((slot, rate, window));
            if fits(&reserved) {
                break;
            }
        }
        // Where groups alone are too much for the link, everybody else goes. Else the last was needed; of the
        // others the most important comes back first.
        let mut kept = vec![false; gone.len()];
        if fits(&reserved) {
            for (index, (_, rate, window)) in gone.iter().enumerate().rev().skip(1) {
                reserved.book(*rate, *window, now);
                kept[index] = fits(&reserved);
                if !kept[index] {
                    reserved.unbook(*rate, *window, now);
                }
            }
        }
        let gone = gone.into_iter().zip(kept).filter(|(_, kept)| !kept).map(|((slot, ..), _)| slot);
        names(self.displace(gone))
    }

    /// As [`set_capacity`](Self::set_capacity) where something is measured: who goes takes his measured part
    /// along, so that the whole account has to be asked each time.
    fn shed_measured(&mut self, interface: &str, direction: Direction, budget: Rate) -> Vec<String> {
        let always = Window { start: self.now, end: FOREVER };
        let fits = |ledger: &Self| {
            let account = ledger.account(interface);
            account.is_none_or(|account| {
                let relief = account.relief(direction, ledger.now, |_, _| true);
                let declared = account.reserved.get(direction).highest(always, ledger.now);
                declared.saturating_sub(relief) <= budget.get()
            })
        };
        if fits(self) {
            return Vec::new();
        }
        let Some(account) = self.account(interface) else { return Vec::new() };
        let footprints = account.candidates().map(|(_, slot)| self.flows.entry(slot).footprint);
        let candidates: Vec<_> =
            footprints.filter(|footprint| *footprint.charged.get(direction) > Rate::ZERO).collect();
        let number = self.interface_number(interface);
        let chosen = self.choose(number, &candidates, fits).unwrap_or(candidates);
        names(self.displace(chosen.into_iter().map(|footprint| footprint.slot)))
    }

    /// The first candidates without whom something holds, less those without whom it would hold anyway.
    /// Nothing where it does not hold without all of them. The accounts are as they were afterwards.
    fn choose(
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
    fn displace(&mut self, slots: impl Iterator<Item = u32>) -> Vec<Displaced> {
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
        lost
    }
}
