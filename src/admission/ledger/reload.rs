//! Another policy for a ledger that is in use.

use std::sync::Arc;

use flowspec::Direction;

use super::client::ClientUse;
use super::state::{Ledger, client_of};
use crate::admission::account::classes::Classes;
use crate::admission::account::footprint::{ClassCounts, Footprint};
use crate::admission::totals::Totals;
use crate::policy::{Admission, Changes, Policy};

/// What a new policy means for a ledger that is in use.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Reload {
    /// What it changes.
    pub changes: Changes,
    /// Flows, oldest first, whose interface or class it does not have: they keep their reservations until they end.
    pub orphans: Vec<String>,
    /// Where more would be reserved than the budget: no flow is admitted there until enough has ended.
    pub over: Vec<(String, Direction, Totals)>,
}

impl Ledger {
    /// What another policy would change, in itself and for the admitted flows. Nothing is changed.
    pub fn compare(&self, after: &Policy) -> Reload {
        let mut reload = Reload { changes: Changes::between(&self.policy, after), ..Reload::default() };
        let mut ranks: Vec<_> =
            self.flows.slots().map(|slot| self.flows.entry(slot).footprint.rank()).collect();
        ranks.sort_unstable();
        for rank in ranks {
            let entry = self.flows.entry(rank.slot());
            let interface = self.interfaces.text(entry.footprint.interface);
            let class = entry.footprint.class.map(|class| self.classes.names.text(class));
            if (self.policy.interface(interface).is_some() && after.interface(interface).is_none())
                || class.is_some_and(|class| !after.classes.contains_key(&**class))
            {
                reload.orphans.push(self.flows.id(rank.slot()).to_owned());
            }
        }
        let mut tried = self.clone();
        tried.reload(Arc::new(after.clone()));
        for (interface, totals) in tried.interfaces() {
            for direction in Direction::BOTH {
                let totals = *totals.get(direction);
                if totals.reserved > totals.budget {
                    reload.over.push((interface.clone(), direction, totals));
                }
            }
        }
        reload
    }

    /// Uses another policy from now on. Flows keep their reservations, even those that no longer fit. Groups that the new
    /// policy does not have end with their last member; the new policy's groups are made.
    pub fn reload(&mut self, policy: Arc<Policy>) {
        let before = std::mem::replace(&mut self.policy, policy);
        let policy = Arc::clone(&self.policy);
        let old = std::mem::replace(&mut self.classes, Arc::new(Classes::of(&policy)));
        // A ledger counts what its policy limits: everything is booked anew.
        for (number, account) in (0..).zip(&mut self.accounts) {
            let name = self.interfaces.text(number);
            if let (Some(account), Some(interface)) = (account, policy.interface(name)) {
                *account = account.clone().under(before.interface(name), interface, policy.preemption);
                account.prove(interface, self.prover);
            }
        }
        let now = self.now;
        for slot in self.flows.slots().collect::<Vec<_>>() {
            let mut entry = self.flows.entry(slot);
            self.rebook(&mut entry.footprint, &old);
            self.flows.update(&entry, now);
        }
        let mut groups = std::mem::take(&mut self.groups);
        for group in groups.values_mut() {
            self.rebook(&mut group.footprint, &old);
        }
        self.groups = groups;
        // What clients hold is counted under the new limits, and their past requests are forgotten.
        self.clients.clear();
        for slot in self.flows.slots() {
            let entry = self.flows.entry(slot);
            if let Some((name, limits)) = client_of(&policy, entry.client.as_deref()) {
                let client =
                    self.clients.entry(name.to_owned()).or_insert_with(|| ClientUse::new(limits, now));
                client.book(entry.rate(), entry.footprint.window, now);
            }
        }
        self.renew_absences();
        for name in before.groups.keys().filter(|name| !policy.groups.contains_key(*name)) {
            // A group that did not exist has nothing to end.
            let _ = self.ungroup(name);
        }
        self.make_groups();
        self.debug_check();
    }

    /// Books an existing footprint under a new policy, which may count other things. `old` are the classes before it.
    fn rebook(&mut self, footprint: &mut Footprint, old: &Classes) {
        if let Some(class) = &mut footprint.class {
            *class = Arc::make_mut(&mut self.classes).intern(old.names.text(*class));
        }
        let interface = self.interfaces.text(footprint.interface);
        if self.policy.interface(interface).is_none() {
            return;
        }
        let class = footprint.class.and_then(|class| self.classes.policy(class).ok());
        footprint.class_counts = ClassCounts::of(class);
        footprint.class_type = class.map_or(0, |class| class.class_type);
        if class.is_none_or(|class| class.admission == Admission::Declared) {
            footprint.peak = None;
        }
        let now = self.now;
        if let Some(account) = self.account_at(footprint.interface) {
            account.book(footprint, now);
        }
    }
}
