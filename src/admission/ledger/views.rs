//! What a ledger shows: totals of interfaces and groups, and the flows that hold them.

use flowspec::{Both, Direction, Moment, Rate};

use super::state::Ledger;
use crate::admission::account::entry::Entry;
use crate::admission::account::state::{Account, capacity};
use crate::admission::displaced::Displaced;
use crate::admission::holding::Holding;
use crate::admission::totals::Totals;
use crate::policy::GroupMode;

impl Ledger {
    /// Both directions of an interface now, if the policy knows it. What the flows of the interfaces on its wire take is
    /// included.
    pub fn totals(&self, interface: &str) -> Option<Both<Totals>> {
        let policy = self.policy.interface(interface)?;
        let account = self.account(interface);
        let total = |direction| {
            let known = match account {
                Some(account) => *account.capacity.get(direction),
                None => *capacity(policy, None).get(direction),
            };
            let budget =
                known.map_or(Rate::ZERO, |capacity| policy.budget(direction).reservable_of(capacity));
            let taken = |account: &Account| {
                let relief = self.counted(account.number).relief(direction, self.now, |_, _| true);
                Rate::new(account.declared(direction).saturating_sub(relief))
            };
            Totals { budget, reserved: account.map_or(Rate::ZERO, taken) }
        };
        Some(Both { sending: total(Direction::Sending), receiving: total(Direction::Receiving) })
    }

    /// Both directions of an interface that the policy does not have any more: nothing may be reserved there, and its flows
    /// keep what they have.
    pub(crate) fn dropped_totals(&self, interface: &str) -> Both<Totals> {
        let reserved = |direction| {
            let declared = self.account(interface).map_or(0, |account| account.declared(direction));
            Totals { budget: Rate::ZERO, reserved: Rate::new(declared) }
        };
        Both { sending: reserved(Direction::Sending), receiving: reserved(Direction::Receiving) }
    }

    /// What the link carries in a direction, if that is known.
    pub fn capacity(&self, interface: &str, direction: Direction) -> Option<Rate> {
        *self.account(interface)?.capacity.get(direction)
    }

    /// When a larger capacity begins to count; `None` where none is pending.
    pub(crate) fn rises(&self, interface: &str, direction: Direction) -> Option<Moment> {
        self.account(interface)?.rising.get(direction).map(|(at, _)| at)
    }

    /// By how much less is taken of an interface than its own flows have declared, by the measurements.
    pub(crate) fn relief(&self, interface: &str) -> Both<Rate> {
        let relief = |direction| {
            let account = self.account(interface);
            let relief = account.map(|account| account.relief(direction, self.now, |_, _| true));
            Rate::new(relief.unwrap_or(0))
        };
        Both { sending: relief(Direction::Sending), receiving: relief(Direction::Receiving) }
    }

    /// What a flow holds, if it is admitted.
    pub fn holding_of(&self, id: &str) -> Option<Holding> {
        let entry = self.flows.get(id)?;
        Some(self.holding(id.to_owned(), &entry))
    }

    /// The reservation of a flow that was preempted, as it was then.
    pub fn held(&self, displaced: &Displaced) -> Holding {
        self.holding(displaced.id.clone(), &displaced.entry)
    }

    /// What a flow holds that has this entry.
    pub(crate) fn holding(&self, id: String, entry: &Entry) -> Holding {
        Holding {
            id,
            interface: self.interfaces.text(entry.footprint.interface).to_string(),
            charged: entry.rate(),
            group: entry.group.as_ref().map(ToString::to_string),
        }
    }

    /// The ids of all groups, those that end with their last member included.
    pub fn group_ids(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(|id| &**id)
    }

    /// The ids of the admitted flows, in no order.
    pub fn flow_ids(&self) -> impl Iterator<Item = &str> {
        self.flows.slots().map(|slot| self.flows.id(slot))
    }

    /// How many flows are admitted.
    pub fn flows(&self) -> usize {
        self.flows.len()
    }

    /// A flow's interface and charge, if it is admitted.
    pub fn flow(&self, id: &str) -> Option<(&str, Both<Rate>)> {
        let entry = self.flows.get(id)?;
        Some((&**self.interfaces.text(entry.footprint.interface), entry.rate()))
    }

    /// How a group is charged, if there is one of that name.
    pub fn group_mode(&self, id: &str) -> Option<GroupMode> {
        self.groups.get(id).map(|group| group.mode)
    }

    /// The interface of a group, and what its members are charged together.
    pub fn group_totals(&self, id: &str) -> Option<(&str, Both<Totals>)> {
        let group = self.groups.get(id)?;
        let totals = |direction| Totals {
            budget: *group.footprint.charged.get(direction),
            reserved: group.members_charge(direction, self.now),
        };
        Some((
            &group.interface,
            Both { sending: totals(Direction::Sending), receiving: totals(Direction::Receiving) },
        ))
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

    /// The flows of an interface with their charges, largest first, then oldest.
    pub fn holders(&self, interface: &str) -> Vec<(String, Both<Rate>)> {
        let Some(number) = self.interfaces.number(interface) else { return Vec::new() };
        let entries = self.flows.slots().map(|slot| self.flows.entry(slot));
        let entries = entries.filter(|entry| entry.footprint.interface == number);
        let mut flows: Vec<_> = entries.map(|entry| (entry.footprint.rank(), entry.rate())).collect();
        flows.sort_by_key(|(rank, rate)| (std::cmp::Reverse(rate.sending.max(rate.receiving)), *rank));
        flows.into_iter().map(|(rank, rate)| (self.flows.id(rank.slot()).to_owned(), rate)).collect()
    }
}
