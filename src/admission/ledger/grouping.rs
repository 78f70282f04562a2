//! The ledger's groups: made, changed, ended, and charged for as their members come and go.

use std::sync::Arc;

use flowspec::{Both, Direction, Micros, Rate};

use super::client::ClientUse;
use super::group::Group;
use super::state::{Ledger, client_of};
use crate::admission::account::classes::Classes;
use crate::admission::account::profile::Window;
use crate::admission::account::state::{ClassCounts, Footprint};
use crate::admission::refusal::Refusal;
use crate::admission::request::{Grant, GroupRequest};
use crate::admission::totals::Totals;
use crate::policy::{Admission, Changes, Policy};

/// What a new policy means for a ledger that is in use.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Reload {
    /// What it says otherwise.
    pub changes: Changes,
    /// Flows, oldest first, whose interface or class it does not have: they keep what they have until they end.
    pub orphans: Vec<String>,
    /// Where more would be reserved than may be: nothing new is admitted there until that has passed.
    pub over: Vec<(String, Direction, Totals)>,
}

/// The most groups there may be at once.
const MOST_GROUPS: usize = 100_000;

impl Ledger {
    /// What another policy would change, for itself and for those who are there: nothing is changed yet.
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

    /// Another policy from now on. Flows keep what they have; what no longer fits is not made to go. Groups
    /// that the new policy does not have end with their last member, its own are made.
    pub fn reload(&mut self, policy: Arc<Policy>) {
        let before = std::mem::replace(&mut self.policy, policy);
        let policy = Arc::clone(&self.policy);
        let old = std::mem::replace(&mut self.classes, Arc::new(Classes::of(&policy)));
        // What is counted is what a policy limits: everything is booked anew.
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
        // What clients have is counted under the new limits, and what they had asked is forgotten.
        self.clients.clear();
        for slot in self.flows.slots() {
            let entry = self.flows.entry(slot);
            if let Some((name, limits)) = client_of(&policy, entry.client.as_deref()) {
                let client =
                    self.clients.entry(name.to_owned()).or_insert_with(|| ClientUse::new(limits, now));
                client.book(entry.rate(), entry.footprint.window, now);
            }
        }
        for name in before.groups.keys().filter(|name| !policy.groups.contains_key(*name)) {
            // One that was not there has nothing to end.
            let _ = self.ungroup(name);
        }
        self.make_groups();
    }

    /// Books what stands under a new policy, which may count it otherwise; `old` are the classes before it.
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

    /// What the flows of a class sent on average over the `window` that ends now, as it was measured; what
    /// they take is reckoned by that, where the class's admission is measured, until three windows later.
    ///
    /// - **Errors**: no such interface or class; a class whose admission is not measured.
    pub fn measure(
        &mut self,
        interface: &str,
        class: &str,
        window: Micros,
        rate: Both<Rate>,
    ) -> Result<(), Refusal> {
        let classes = Arc::clone(&self.classes);
        let (number, found) = classes.find(class)?;
        if found.admission == Admission::Declared {
            return Err(Refusal::NotMeasured { class: class.to_owned() });
        }
        let now = self.now;
        let Some(account) = self.account_of(interface) else {
            return Err(Refusal::UnknownInterface { interface: interface.to_owned() });
        };
        let since = now.saturating_sub(window.get());
        account.measure(number, rate, since, found.overbooking_thousandths, now);
        Ok(())
    }

    /// The flows of a client, in the order in which they were admitted.
    pub fn flows_of(&self, client: &str) -> Vec<String> {
        let entries = self.flows.slots().map(|slot| self.flows.entry(slot));
        let entries = entries.filter(|entry| entry.client.as_deref() == Some(client));
        let mut flows: Vec<_> = entries.map(|entry| entry.footprint.rank()).collect();
        flows.sort_unstable();
        flows.into_iter().map(|rank| self.flows.id(rank.slot()).to_owned()).collect()
    }

    /// The interfaces that are known, with their totals.
    pub fn interfaces(&self) -> Vec<(String, Both<Totals>)> {
        let open = self.interfaces.iter().filter(|(_, number)| self.accounts[*number as usize].is_some());
        open.filter_map(|(name, _)| Some((name.to_string(), self.totals(name)?))).collect()
    }

    /// The flows of an interface with what they cost, most first, then oldest.
    pub fn holders(&self, interface: &str) -> Vec<(String, Both<Rate>)> {
        let Some(number) = self.interfaces.number(interface) else { return Vec::new() };
        let entries = self.flows.slots().map(|slot| self.flows.entry(slot));
        let entries = entries.filter(|entry| entry.footprint.interface == number);
        let mut flows: Vec<_> = entries.map(|entry| (entry.footprint.rank(), entry.rate())).collect();
        flows.sort_by_key(|(rank, rate)| (std::cmp::Reverse(rate.sending.max(rate.receiving)), *rank));
        flows.into_iter().map(|(rank, rate)| (self.flows.id(rank.slot()).to_owned(), rate)).collect()
    }

    /// Makes a group, or changes the one of that name; its members stay, and it may not be smaller than
    /// they are.
    ///
    /// - **Errors**: a refusal, and everything is as it was.
    pub fn group(&mut self, request: &GroupRequest) -> Result<Grant, Refusal> {
        let GroupRequest { id, interface, class, mode, qos } = request;
        let policy = Arc::clone(&self.policy);
        let classes = Arc::clone(&self.classes);
        let found = match class {
            None => None,
            Some(name) => Some(classes.find(name)?),
        };
        let (class_number, class_policy) = found.unzip();
        let charge = self.charge(&policy, interface, qos, class_policy)?;
        let key: Arc<str> = Arc::from(id.as_str());
        let before = self.groups.get(&key).cloned();
        if let Some(before) = &before
            && (before.interface != *interface || before.mode != *mode)
        {
            let (group_interface, interface) = (before.interface.clone(), interface.clone());
            return Err(Refusal::GroupElsewhere { group: id.clone(), group_interface, interface });
        }
        if before.is_none() && self.groups.len() >= MOST_GROUPS {
            return Err(Refusal::TooManyFlows { flows: self.groups.len() });
        }
        let order = before.as_ref().map_or(self.admitted + 1, |before| before.footprint.order);
        let mut footprint = Footprint {
            slot: before.as_ref().map_or(0, |before| before.footprint.slot),
            order,
            interface: self.interface_number(interface),
            class: class_number,
            class_type: class_policy.map_or(0, |class| class.class_type),
            class_counts: ClassCounts::of(class_policy),
            charged: Both::default(),
            buffer: Both::default(),
            window: Window::from(self.now),
            flows: 0,
            holding_priority: None,
            peak: None,
        };
        let new = before.is_none();
        if new {
            self.flows.insert_group(&format!("group {id}"), &mut footprint, self.now);
        }
        let mut group = Group::new(interface, *mode, *qos, charge, footprint);
        if let Some(before) = &before {
            before.check_members(id, &group, self.now)?;
            group = group.with_members_of(before.clone());
        }
        (group.footprint.charged, group.footprint.buffer) = group.due(None);
        let old = before.as_ref().map(|before| before.footprint.clone());
        if let Err(refusal) = self.replace(old.as_ref(), &group.footprint) {
            if new {
                self.flows.remove_group(group.footprint.slot);
            }
            return Err(refusal);
        }
        self.admitted = self.admitted.max(order);
        self.flows.update_group(&group.footprint, self.now);
        self.tidy(&group.footprint);
        let charged = group.footprint.charged;
        self.groups.insert(key, group);
        Ok(Grant {
            charged,
            tspec: charge.tspec,
            dscp: class_policy.and_then(|c| c.dscp),
            preempted: Vec::new(),
        })
    }

    /// Ends a group: at once where it has no members, else with its last one. Says whether it is gone.
    ///
    /// - **Errors**: no such group.
    pub fn ungroup(&mut self, id: &str) -> Result<bool, Refusal> {
        let Some(group) = self.groups.get_mut(id) else {
            return Err(Refusal::UnknownGroup { group: id.to_owned() });
        };
        group.closing = true;
        let gone = group.is_empty();
        if gone {
            self.end_group(id);
        }
        Ok(gone)
    }

    /// Whether something fits in place of what is booked; it is not made worse than what was `held`.
    pub(crate) fn check_replaced(
        &self,
        booked: &Footprint,
        new: &Footprint,
        held: &Footprint,
    ) -> Result<(), Refusal> {
        if new.charged == booked.charged && new.buffer == booked.buffer {
            return Ok(());
        }
        let Some(Some(account)) = self.accounts.get(booked.interface as usize) else { return Ok(()) };
        let mut without = account.clone();
        without.unbook(booked, self.now);
        self.check_on(&without, new, Some(held))
    }

    /// Books something in place of something else, or of nothing.
    fn replace(&mut self, old: Option<&Footprint>, new: &Footprint) -> Result<(), Refusal> {
        let now = self.now;
        if let (Some(account), Some(old)) = (self.account_at(new.interface), old) {
            account.unbook(old, now);
        }
        let result = self.check_footprint(new, old);
        if let Some(account) = self.account_at(new.interface) {
            match (&result, old) {
                (Ok(()), _) => account.book(new, now),
                (Err(_), Some(old)) => account.book(old, now),
                (Err(_), None) => {}
            }
        }
        result
    }

    /// Changes a group's members, and with them what the link is charged for it.
    pub(crate) fn change_group(&mut self, name: &str, change: impl FnOnce(&mut Group)) {
        let now = self.now;
        let Some(group) = self.groups.get_mut(name) else { return };
        change(group);
        let (charged, buffer) = group.due(None);
        if (charged, buffer) == (group.footprint.charged, group.footprint.buffer) {
            return;
        }
        let due = Footprint { charged, buffer, ..group.footprint.clone() };
        let before = std::mem::replace(&mut group.footprint, due);
        if let Some(Some(account)) = self.accounts.get_mut(before.interface as usize) {
            account.unbook(&before, now);
            account.book(&group.footprint, now);
            self.flows.update_group(&group.footprint, now);
            account.tidy(before.interface, before.class, &self.flows);
        }
    }

    pub(crate) fn end_group(&mut self, name: &str) {
        let now = self.now;
        let Some(group) = self.groups.remove(name) else { return };
        if let Some(account) = self.account_at(group.footprint.interface) {
            account.unbook(&group.footprint, now);
        }
        self.flows.remove_group(group.footprint.slot);
        self.tidy(&group.footprint);
    }

    /// The groups of the policy that there are not yet: again when a capacity has become known.
    pub(crate) fn make_groups(&mut self) {
        let policy = Arc::clone(&self.policy);
        for (id, group) in &policy.groups {
            if !self.groups.contains_key(id.as_str()) {
                let request = GroupRequest {
                    id: id.clone(),
                    interface: group.interface.clone(),
                    class: group.class.clone(),
                    mode: group.mode,
                    qos: group.qos,
                };
                // One that does not fit stays away: its members are told that there is no such group.
                let _ = self.group(&request);
            }
        }
    }
}
