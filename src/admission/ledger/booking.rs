//! Unbooks what flows take, and keeps holders and order right.

use std::collections::HashMap;
use std::sync::Arc;

use super::state::{Ledger, client_of};
use crate::admission::account::entry::Entry;
use crate::admission::account::footprint::Footprint;

impl Ledger {
    /// Unbooks everything that a flow takes. The caller has removed the flow, or books it again.
    pub(crate) fn unbook(&mut self, entry: &Entry) {
        let (now, footprint) = (self.now, &entry.footprint);
        self.bookings += 1;
        self.each_account(footprint.interface, |account, _| account.unbook(footprint, now));
        if let Some((name, _)) = client_of(&self.policy, entry.client.as_deref())
            && let Some(client) = self.clients.get_mut(name)
        {
            client.unbook(entry.rate(), footprint.window, now);
        }
        if let Some(name) = &entry.group {
            self.change_group(name, |group| {
                group.leave(footprint.slot, now);
            });
        }
        if let Some(at) = entry.ending() {
            self.endings.remove(&(at, footprint.rank()));
        }
    }

    /// Finds the largest holders again, once every booking of an operation is done.
    pub(crate) fn tidy(&mut self, footprint: &Footprint) {
        self.each_account(footprint.interface, |account, known| account.tidy(footprint.class, known));
    }

    /// Numbers all flows and groups anew, in their order: after 2⁴³ admissions.
    pub(crate) fn renumber(&mut self) {
        let mut slots: Vec<_> =
            self.flows.slots().map(|slot| (self.flows.entry(slot).footprint.order, slot)).collect();
        let groups = self.groups.values().map(|group| (group.footprint.order, group.footprint.slot));
        slots.extend(groups);
        slots.sort_unstable();
        let orders: HashMap<u32, u64> =
            slots.iter().zip(1..).map(|((_, slot), order)| (*slot, order)).collect();
        self.admitted = orders.len() as u64;
        self.endings.clear();
        for slot in self.flows.slots().collect::<Vec<_>>() {
            let mut entry = self.flows.entry(slot);
            entry.footprint.order = orders[&slot];
            self.endings.extend(entry.ending().map(|at| (at, entry.footprint.rank())));
            self.flows.update(&entry, self.now);
        }
        for group in self.groups.values_mut() {
            group.footprint.order = orders[&group.footprint.slot];
            self.flows.update_group(&group.footprint, self.now);
        }
        let policy = Arc::clone(&self.policy);
        self.rebook_all(&policy);
        self.renew_absences();
    }
}
