//! A link's capacity changes: from when on the new one counts, and which flows are shed.

use std::sync::Arc;

use flowspec::{Direction, Rate};

use super::state::Ledger;
use crate::admission::account::profile::Profile;
use crate::admission::account::window::Window;
use crate::admission::holding::Holding;
use crate::policy::{Hysteresis, OnCapacityDrop};

impl Ledger {
    /// A link carries another rate from now on. Gives the flows that are shed for it, least important first; none
    /// where the policy keeps them.
    pub fn set_capacity(&mut self, interface: &str, direction: Direction, capacity: Rate) -> Vec<Holding> {
        let shed = self.change_capacity(interface, direction, capacity);
        self.debug_check();
        shed
    }

    fn change_capacity(&mut self, interface: &str, direction: Direction, capacity: Rate) -> Vec<Holding> {
        let policy = Arc::clone(&self.policy);
        let Some(interface_policy) = policy.interface(interface) else { return Vec::new() };
        let (now, prover) = (self.now, self.prover);
        self.bookings += 1;
        let Some(account) = self.account_of(interface) else { return Vec::new() };
        *account.may_exceed.get_mut(direction) = true;
        *account.rising.get_mut(direction) = None;
        if let Some(Hysteresis { time, change }) = interface_policy.hysteresis
            && let Some(reference_capacity) = *account.reference_capacity.get(direction)
        {
            if account.capacity.get(direction).is_some_and(|known| capacity > known) {
                *account.rising.get_mut(direction) = Some((now.saturating_add(time), capacity));
                return Vec::new();
            }
            *account.capacity.get_mut(direction) = Some(capacity);
            account.update_error_terms(interface_policy, prover);
            if reference_capacity.saturating_sub(capacity) < change.of(reference_capacity) {
                return Vec::new();
            }
        }
        *account.capacity.get_mut(direction) = Some(capacity);
        *account.reference_capacity.get_mut(direction) = Some(capacity);
        account.update_error_terms(interface_policy, prover);
        if interface_policy.on_capacity_drop == OnCapacityDrop::Keep {
            return Vec::new();
        }
        let budget = interface_policy.budget(direction).reservable_of(capacity);
        let Some(account) = self.account(interface) else { return Vec::new() };
        let always = Window::from(self.now);
        if self.counted(account.number).measures() {
            return self.shed_measured(interface, direction, budget);
        }
        // Only this direction's reservations matter: the flows are chosen on a copy of them.
        let mut reserved = account.usage.reserved.get(direction).clone();
        let fits = |reserved: &Profile| reserved.highest(always, now) <= budget.get();
        if fits(&reserved) {
            return Vec::new();
        }
        let mut gone = Vec::new();
        for place in account.places() {
            let slot = place.slot();
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
        // Where groups alone exceed the budget, every other flow is shed. Otherwise the last flow has to be shed, and each
        // of the others stays if it fits, the most important first.
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
        self.shed(gone)
    }

    /// As [`set_capacity`](Self::set_capacity) where a class is measured: the relief changes with each flow that is
    /// shed, so that the whole account is checked each time.
    fn shed_measured(&mut self, interface: &str, direction: Direction, budget: Rate) -> Vec<Holding> {
        let always = Window::from(self.now);
        let fits = |ledger: &Self| {
            let account = ledger.account(interface);
            account.is_none_or(|account| {
                let relief = ledger.counted(account.number).relief(direction, ledger.now, |_, _| true);
                let declared = account.usage.reserved.get(direction).highest(always, ledger.now);
                declared.saturating_sub(relief) <= budget.get()
            })
        };
        if fits(self) {
            return Vec::new();
        }
        let Some(account) = self.account(interface) else { return Vec::new() };
        let footprints = account.places().map(|place| self.flows.entry(place.slot()).footprint);
        let candidates: Vec<_> =
            footprints.filter(|footprint| *footprint.charged.get(direction) > Rate::ZERO).collect();
        let chosen = self.choose(&candidates, fits).unwrap_or(candidates);
        self.shed(chosen.into_iter().map(|footprint| footprint.slot))
    }

    /// Releases flows that are not reinstated.
    fn shed(&mut self, slots: impl Iterator<Item = u32>) -> Vec<Holding> {
        let slots: Vec<u32> = slots.collect();
        slots.into_iter().filter_map(|slot| self.end(slot)).collect()
    }
}
