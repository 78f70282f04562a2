//! Another policy for a ledger that is in use.

use std::sync::Arc;

use flowspec::{Both, Direction, Rate};
use serde::{Deserialize, Serialize};

use super::client::ClientUse;
use super::state::{Ledger, client_of};
use crate::admission::account::classes::Classes;
use crate::admission::account::footprint::{ClassCounts, Footprint};
use crate::admission::account::state::{Account, stated};
use crate::admission::group_difference::GroupDifference;
use crate::admission::totals::Totals;
use crate::policy::{Admission, Policy, PolicyChanges};

/// What a new policy means for a ledger that is in use: what it changes, and where the ledger differs from one that
/// starts under it.
///
/// - **JSON**: an object in which empty lists are left out.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Reload {
    /// The definitions of the policy that were added, removed or changed.
    #[serde(flatten)]
    pub changes: PolicyChanges,
    /// Flows, oldest first, whose interface or class it does not have: they keep their reservations until they end, and
    /// may ask for less.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub orphans: Vec<String>,
    /// Groups that are not as it states them, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<(String, GroupDifference)>,
    /// Links that carry another rate than it states, as was observed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub capacities: Vec<ObservedCapacity>,
    /// Where more would be reserved than the budget: no flow is admitted there until enough has ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub over: Vec<(String, Direction, Totals)>,
}

/// A link that carries another rate than the policy states.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ObservedCapacity {
    /// The name of the link: `eth0`.
    pub interface: String,
    /// The direction in which the rates differ.
    pub direction: Direction,
    /// What it was observed to carry, which counts.
    pub observed: Rate,
    /// The `capacity` of the policy, in bytes per second.
    pub stated: Rate,
}

impl Ledger {
    /// What another policy would change, in itself and for the admitted flows. Nothing is changed.
    pub fn compare(&self, after: &Policy) -> Reload {
        self.clone().reload(Arc::new(after.clone()))
    }

    /// Uses another policy from now on, and gives what differs from a ledger that starts under it.
    ///
    /// Flows keep their reservations, even those that no longer fit. Groups are as the new policy states them, or listed
    /// with the reason; those that it does not have end with their last member. Flows that wait are notified by the next
    /// decision if they fit now.
    pub fn reload(&mut self, policy: Arc<Policy>) -> Reload {
        self.bookings += 1;
        let changes = PolicyChanges::between(&self.policy, &policy);
        let before = std::mem::replace(&mut self.policy, policy);
        self.rebook_all(&before);
        self.recount_clients();
        self.renew_absences();
        let stated = Arc::clone(&self.policy);
        for name in before.groups.keys().filter(|name| !stated.groups.contains_key(*name)) {
            // A group that did not exist has nothing to end.
            drop(self.ungroup(name));
        }
        self.state_groups();
        self.relane();
        self.risen = true;
        self.debug_check();
        Reload {
            changes,
            orphans: self.orphans(),
            groups: self.reloaded_groups(&before),
            capacities: self.observed_capacities(),
            over: self.over_budget(),
        }
    }

    /// Books everything anew: a ledger counts what its policy limits, and numbers the policy's classes.
    pub(crate) fn rebook_all(&mut self, before: &Policy) {
        let (now, policy) = (self.now, Arc::clone(&self.policy));
        let old = std::mem::replace(&mut self.classes, Arc::new(Classes::of(&policy)));
        for (number, account) in (0..).zip(&mut self.accounts) {
            let (name, Some(known)) = (self.interfaces.text(number), account.take()) else { continue };
            let before = before.interface(name);
            *account = Some(match policy.interface(name) {
                None => known.dropped(before),
                Some(interface) => {
                    let mut known = known.under(before, interface, policy.preemption);
                    known.update_error_terms(interface, self.prover);
                    known
                }
            });
        }
        self.relink();
        for slot in self.flows.slots().collect::<Vec<_>>() {
            let mut entry = self.flows.entry(slot);
            self.rebook(&mut entry.footprint, &old);
            self.flows.update(&entry, now);
        }
        let mut groups = std::mem::take(&mut self.groups);
        for group in groups.values_mut() {
            self.rebook(&mut group.footprint, &old);
            self.flows.update_group(&group.footprint, now);
        }
        self.groups = groups;
        // An account that was opened for a flow, or for the parent of one, counts what was admitted without it.
        for account in self.accounts.iter_mut().flatten() {
            account.may_exceed = Both { sending: true, receiving: true };
        }
    }

    /// Sets the parents by the policy, and of an interface that it does not have any more by the last one that had it.
    fn relink(&mut self) {
        self.parents.clear();
        let parent = |account: &Account| {
            let stated = self.policy.interface(self.interfaces.text(account.number));
            let interface = stated.or(account.former.as_deref());
            (account.number, interface.and_then(|interface| interface.parent.clone()))
        };
        let links: Vec<_> = self.accounts.iter().flatten().map(parent).collect();
        for (number, parent) in links {
            self.set_parent(number, parent.as_deref());
        }
    }

    /// Books an existing footprint under a new policy, which may count other things. `old` are the classes before it.
    fn rebook(&mut self, footprint: &mut Footprint, old: &Classes) {
        if let Some(class) = &mut footprint.class {
            *class = Arc::make_mut(&mut self.classes).intern(old, *class);
        }
        let class = footprint.class.and_then(|class| self.classes.policy(class).ok());
        footprint.class_counts = ClassCounts::of(class);
        footprint.class_type = class.map_or(0, |class| class.class_type);
        if class.is_none_or(|class| class.admission == Admission::Declared) {
            footprint.peak = None;
        }
        let now = self.now;
        // An interface that the policy has again has no account yet.
        let interface = Arc::clone(self.interfaces.text(footprint.interface));
        self.interface_number(&interface);
        self.each_account(footprint.interface, |account, _| account.book(footprint, now));
    }

    /// What clients hold is counted under the policy's limits, and their past requests are forgotten.
    fn recount_clients(&mut self) {
        let (now, policy) = (self.now, Arc::clone(&self.policy));
        self.clients.clear();
        for slot in self.flows.slots() {
            let entry = self.flows.entry(slot);
            if let Some((name, limits)) = client_of(&policy, entry.client.as_deref()) {
                let client =
                    self.clients.entry(name.to_owned()).or_insert_with(|| ClientUse::new(limits, now));
                client.book(entry.rate(), entry.footprint.window, now);
            }
        }
    }

    /// Flows, oldest first, whose interface or class the policy no longer has.
    fn orphans(&self) -> Vec<String> {
        let is_orphan = |footprint: &Footprint| {
            let account = self.accounts.get(footprint.interface as usize).and_then(Option::as_ref);
            let interface = self.interfaces.text(footprint.interface);
            let has_interface = account.is_none() || self.policy.interface(interface).is_some();
            !has_interface || footprint.class.is_some_and(|class| self.classes.policy(class).is_err())
        };
        let footprints = self.flows.slots().map(|slot| self.flows.entry(slot).footprint);
        let mut ranks: Vec<_> = footprints.filter(is_orphan).map(|footprint| footprint.rank()).collect();
        ranks.sort_unstable();
        ranks.into_iter().map(|rank| self.flows.id(rank.slot()).to_owned()).collect()
    }

    fn observed_capacities(&self) -> Vec<ObservedCapacity> {
        let mut observed_capacities = Vec::new();
        for (interface, number) in self.interfaces.iter() {
            let (Some(policy), Some(Some(account))) =
                (self.policy.interface(interface), self.accounts.get(number as usize))
            else {
                continue;
            };
            for direction in Direction::BOTH {
                if let (Some(stated), Some(observed)) =
                    (stated(policy, direction), *account.capacity.get(direction))
                    && stated != observed
                {
                    let interface = interface.to_string();
                    observed_capacities.push(ObservedCapacity { interface, direction, observed, stated });
                }
            }
        }
        observed_capacities
    }

    fn over_budget(&self) -> Vec<(String, Direction, Totals)> {
        let mut over = Vec::new();
        for (interface, totals) in self.interfaces() {
            for direction in Direction::BOTH {
                let totals = *totals.get(direction);
                if totals.reserved > totals.budget {
                    over.push((interface.clone(), direction, totals));
                }
            }
        }
        over
    }
}
