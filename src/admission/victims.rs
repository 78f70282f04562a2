//! Who has to go: for a more important newcomer, or for a link that carries less.

use std::sync::Arc;

use flowspec::{Direction, Rate};

use super::account::Footprint;
use super::ledger::{Entry, Ledger};
use super::profile::{FOREVER, Profile, Window};
use super::refusal::Refusal;
use crate::policy::{Hysteresis, OnCapacityDrop};

impl Ledger {
    /// Makes room for a flow that was refused, if the policy has preemption: those whose holding priority
    /// is worse than its setup priority go, least important first, then newest, and none that need not.
    ///
    /// - **Errors**: the refusal, if there is none to go or all of them are not enough; then none has gone.
    pub(super) fn make_room(
        &mut self,
        newcomer: &Entry,
        setup: u8,
        refusal: Refusal,
    ) -> Result<Vec<String>, Refusal> {
        if !self.policy.preemption || !refusal.is_lack_of_room() {
            return Err(refusal);
        }
        let interface = &*newcomer.interface;
        let window = newcomer.footprint.window;
        let Some(account) = self.accounts.get(interface) else { return Err(refusal) };
        let candidates = account.candidates.iter();
        let candidates: Vec<_> = candidates
            .take_while(|candidate| candidate.holding_priority() > setup)
            .filter_map(|candidate| self.flows.get(&candidate.id))
            .map(|entry| entry.footprint.clone())
            .filter(|footprint| footprint.window.overlaps(&window))
            .collect();
        let chosen = self.choose(interface, &candidates, |ledger| ledger.check(newcomer, None).is_ok());
        let Some(chosen) = chosen else { return Err(refusal) };
        Ok(self.displace(chosen.into_iter().map(|footprint| footprint.id)))
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
        let Some(account) = self.accounts.get(interface) else { return Vec::new() };
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
        for candidate in &account.candidates {
            let Some(entry) = self.flows.get(&candidate.id) else { continue };
            let (rate, window) = (entry.footprint.charged.get(direction).get(), entry.footprint.window);
            if rate == 0 {
                continue;
            }
            reserved.unbook(rate, window, now);
            gone.push((candidate.id.clone(), rate, window));
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
        let gone = gone.into_iter().zip(kept).filter(|(_, kept)| !kept).map(|((id, ..), _)| id);
        self.displace(gone)
    }

    /// As [`set_capacity`](Self::set_capacity) where something is measured: who goes takes his measured part
    /// along, so that the whole account has to be asked each time.
    fn shed_measured(&mut self, interface: &str, direction: Direction, budget: Rate) -> Vec<String> {
        let always = Window { start: self.now, end: FOREVER };
        let fits = |ledger: &Self| {
            let account = ledger.accounts.get(interface);
            account.is_none_or(|account| {
                let relief = account.relief(&ledger.policy, direction, ledger.now, |_, _| true);
                let declared = account.reserved.get(direction).highest(always, ledger.now);
                declared.saturating_sub(relief) <= budget.get()
            })
        };
        if fits(self) {
            return Vec::new();
        }
        let Some(account) = self.accounts.get(interface) else { return Vec::new() };
        let footprints = account.candidates.iter().filter_map(|candidate| self.flows.get(&candidate.id));
        let footprints = footprints.map(|entry| entry.footprint.clone());
        let candidates: Vec<_> =
            footprints.filter(|footprint| *footprint.charged.get(direction) > Rate::ZERO).collect();
        let chosen = self.choose(interface, &candidates, fits).unwrap_or(candidates);
        self.displace(chosen.into_iter().map(|footprint| footprint.id))
    }

    /// The first candidates without whom something holds, less those without whom it would hold anyway.
    /// Nothing where it does not hold without all of them. The accounts are as they were afterwards.
    fn choose(
        &mut self,
        interface: &str,
        candidates: &[Footprint],
        holds: impl Fn(&Self) -> bool,
    ) -> Option<Vec<Footprint>> {
        let now = self.now;
        let mut gone = Vec::new();
        let mut enough = false;
        for candidate in candidates {
            self.account_of(interface)?.unbook(candidate, now);
            gone.push(candidate.clone());
            enough = holds(self);
            if enough {
                break;
            }
        }
        if enough {
            // The last was needed; of the others the most important comes back first.
            for index in (0..gone.len().saturating_sub(1)).rev() {
                self.account_of(interface)?.book(&gone[index], now);
                if holds(self) {
                    gone.remove(index);
                } else {
                    self.account_of(interface)?.unbook(&gone[index], now);
                }
            }
        }
        for footprint in &gone {
            self.account_of(interface)?.book(footprint, now);
        }
        enough.then_some(gone)
    }

    /// Ends flows: their names.
    fn displace(&mut self, flows: impl Iterator<Item = Arc<str>>) -> Vec<String> {
        let mut names = Vec::new();
        for id in flows.collect::<Vec<_>>() {
            self.release(&id);
            names.push(id.to_string());
        }
        names
    }
}
