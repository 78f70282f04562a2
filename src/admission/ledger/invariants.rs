//! What holds of a ledger between any two operations, as assertions.

use super::state::{Ledger, MOST_FLOWS, client_of};
use crate::admission::account::entry::Entry;
use crate::admission::account::footprint::Footprint;
use crate::admission::account::recount::RecountSource;
use crate::ordered::{OrderedMap, OrderedSet};

/// With at most this many flows, a debug build checks after every mutation.
const ALWAYS_CHECKED_FLOWS: usize = 16;

/// With at most this many flows, a debug build checks after one mutation in [`SAMPLED`]; with more, never.
const SOMETIMES_CHECKED_FLOWS: usize = 4096;

/// See [`SOMETIMES_CHECKED_FLOWS`].
const SAMPLED: u64 = 64;

impl Ledger {
    /// Asserts what holds between any two operations:
    ///
    /// - the sums of every account, group and client equal a recount from the flows, and a flow is counted on its
    ///   interface and on each parent of it;
    /// - the endings are those of the flows, and so are the peers that are absent; the waiting queue and its index
    ///   agree;
    /// - no interface has more reserved than its budget, unless its capacity or its policy has changed since.
    ///
    /// It costs a recount of every flow. Debug builds call it after each mutation while there are few flows.
    ///
    /// # Panics
    /// When one of them does not hold.
    pub fn invariants(&self) {
        let entries: Vec<_> = self.flows.slots().map(|slot| self.flows.entry(slot)).collect();
        self.assert_flows(&entries);
        self.assert_accounts(&entries);
        self.assert_groups(&entries);
        self.assert_clients(&entries);
        self.assert_absences(&entries);
        self.waiting.invariants();
    }

    /// Checks the invariants in a debug build, as often as the number of flows allows.
    pub(crate) fn debug_check(&self) {
        if cfg!(debug_assertions) {
            let flows = self.flows.len();
            let sampled = flows <= SOMETIMES_CHECKED_FLOWS && self.admitted.is_multiple_of(SAMPLED);
            if flows <= ALWAYS_CHECKED_FLOWS || sampled {
                self.invariants();
            }
        }
    }

    fn assert_flows(&self, entries: &[Entry]) {
        assert!(entries.len() <= MOST_FLOWS, "{} flows", entries.len());
        let mut orders = OrderedSet::new();
        let mut endings = OrderedSet::new();
        for entry in entries {
            let footprint = &entry.footprint;
            let id = self.flows.id(footprint.slot);
            assert_eq!(self.flows.slot(id), Some(footprint.slot), "{id}: the slot of the flow");
            assert!(footprint.order <= self.admitted, "{id}: its order is not given out");
            assert!(orders.insert(footprint.order), "{id}: another flow has its order");
            // A flow that is reinstated after its time is over ends with the next advance of time.
            endings.extend(entry.ending().map(|at| (at, footprint.rank())));
        }
        assert_eq!(self.endings, endings, "the endings, and those of the flows");
    }

    fn assert_accounts(&self, entries: &[Entry]) {
        let mut booked: OrderedMap<u32, Vec<Footprint>> = OrderedMap::new();
        let groups = self.groups.values().map(|group| &group.footprint);
        for footprint in entries.iter().map(|entry| &entry.footprint).chain(groups) {
            for (number, _) in self.wire(footprint.interface) {
                booked.entry(number).or_default().push(footprint.clone());
            }
        }
        for (number, account) in (0..).zip(&self.accounts) {
            let name = self.interfaces.text(number);
            // What stays of an interface that the policy no longer has is not limited, and not recounted.
            let (Some(account), Some(policy)) = (account, self.policy.interface(name)) else { continue };
            let footprints = booked.get(&number).map_or(&[][..], Vec::as_slice);
            let (measures, now) = (self.counted(number).measures(), self.now);
            account.invariants(&RecountSource { name, policy, footprints, measures, now });
        }
    }

    fn assert_groups(&self, entries: &[Entry]) {
        for (name, group) in &self.groups {
            let members: OrderedSet<_> = entries
                .iter()
                .filter(|entry| entry.group.as_deref() == Some(&**name))
                .map(|entry| entry.footprint.slot)
                .collect();
            group.invariants(name, &members, self.now);
        }
        for entry in entries {
            if let Some(group) = &entry.group {
                assert!(self.groups.contains_key(group), "group {group} has a member and does not exist");
            }
        }
    }

    fn assert_clients(&self, entries: &[Entry]) {
        let mut of_client: OrderedMap<&str, Vec<&Entry>> = OrderedMap::new();
        for entry in entries {
            if let Some((name, _)) = client_of(&self.policy, entry.client.as_deref()) {
                of_client.entry(name).or_default().push(entry);
            }
        }
        for (name, client) in &self.clients {
            let flows = of_client.remove(name.as_str()).unwrap_or_default();
            client.invariants(name, &flows, self.now);
        }
        assert!(of_client.is_empty(), "clients that are not counted: {:?}", of_client.keys());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use flowspec::{Bytes, Flowspec, Moment, Qos, Rate};

    use super::*;
    use crate::admission::request::{NewFlow, Request};
    use crate::policy::{Policy, Source};

    fn ledger() -> Ledger {
        let text = "version = 1\npreemption = true\n[interface.eth0]\negress = { capacity = \"80 Mbit/s\" }\nmax_flows = 9\n[client.c]\nmax_flows = 5\n";
        let (policy, _) = Policy::parse(&[Source { name: "test", text }]).unwrap();
        let mut ledger = Ledger::new(Arc::new(policy));
        // An id may be empty.
        for id in ["a", "b", ""] {
            let qos = Qos::sending(Flowspec::guaranteed(Rate::from_mbit(6), Bytes::new(9000)));
            let request =
                Request { client: Some("c".into()), ..Request::new(NewFlow { id, interface: "eth0" }, qos) };
            ledger.admit(&request).unwrap();
        }
        ledger
    }

    /// A change that leaves the ledger in disagreement with its flows is found.
    #[track_caller]
    fn check(name: &str, change: impl FnOnce(&mut Ledger)) {
        let mut ledger = ledger();
        ledger.invariants();
        change(&mut ledger);
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| ledger.invariants()));
        assert!(found.is_err(), "{name} is not found");
    }

    #[test]
    fn each_kind_of_disagreement_is_found() {
        let entry = |ledger: &Ledger, id| ledger.flows.get(id).unwrap();
        check("a flow that is booked twice", |ledger| {
            let footprint = entry(ledger, "a").footprint;
            ledger.account_at(0).unwrap().book(&footprint, Moment::START);
        });
        check("a flow whose booking is gone", |ledger| {
            let footprint = entry(ledger, "a").footprint;
            ledger.account_at(0).unwrap().unbook(&footprint, Moment::START);
        });
        check("a client that is not counted", |ledger| ledger.clients.clear());
        check("an ending without a flow", |ledger| {
            let rank = entry(ledger, "a").footprint.rank();
            ledger.endings.insert((Moment::START, rank));
        });
        check("more than the budget", |ledger| {
            let account = ledger.account_at(0).unwrap();
            account.capacity.sending = Some(Rate::from_mbit(9));
        });
    }
}
