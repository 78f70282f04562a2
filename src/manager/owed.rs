//! The tokens that flows have taken from their buckets and owe after their end, by interface and class of the policy.
//!
//! A flow that has ended owes the tokens that are missing from its bucket, until the bucket would have been refilled; the
//! buckets of the next flows of its class start without them. The debts of an interface are refilled at the rate that
//! nothing reserves: the rates of debts and flows together are never more than what may be reserved.

use std::time::Duration;

use flowspec::{Both, Bytes, Direction, Moment, Rate, TSpec, TokenDebt};

use crate::ordered::OrderedMap;

/// The debts of all interfaces. Bounded: one for each direction of each class of each interface, while it is owed.
#[derive(Clone, Debug, Default)]
pub(super) struct Owed {
    interfaces: OrderedMap<String, Both<ClassDebts>>,
    /// Up to when the debts have been refilled.
    at: Moment,
}

/// The debts in one direction of an interface.
#[derive(Clone, Debug, Default)]
struct ClassDebts {
    /// By class of the policy; `None` for flows without one.
    classes: OrderedMap<Option<String>, TokenDebt>,
    /// The rate that nothing has reserved.
    free: Rate,
}

/// Whose debt it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Debtor<'a> {
    pub(super) interface: &'a str,
    pub(super) class: &'a Option<String>,
    /// What the flow was granted.
    pub(super) tspec: &'a Both<Option<TSpec>>,
}

impl Owed {
    /// Time passes.
    pub(super) fn advance(&mut self, now: Moment) {
        let elapsed = Duration::from_micros(now.saturating_since(self.at).get());
        self.at = self.at.max(now);
        if elapsed > Duration::ZERO {
            self.debts().for_each(|debts| debts.pass(elapsed));
            self.interfaces.retain(|_, debts| !debts.sending.is_paid() || !debts.receiving.is_paid());
        }
    }

    /// Up to when the debts have been refilled.
    pub(super) const fn now(&self) -> Moment {
        self.at
    }

    /// The same debts at a moment of another clock.
    pub(super) fn at(mut self, at: Moment) -> Self {
        self.at = at;
        self
    }

    /// A flow has ended with these tokens of its buckets missing, of which it owes no more than the buckets hold.
    pub(super) fn owe(&mut self, debtor: Debtor<'_>, missing: Both<Bytes>) {
        for direction in Direction::BOTH {
            let Some(tspec) = debtor.tspec.get(direction) else { continue };
            let missing = (*missing.get(direction)).min(tspec.token_bucket_size());
            if missing > Bytes::ZERO {
                let interface = self.interfaces.entry(debtor.interface.to_owned()).or_default();
                let classes = &mut interface.get_mut(direction).classes;
                classes.entry(debtor.class.clone()).or_default().owe(missing, tspec.token_rate());
            }
        }
    }

    /// A flow is admitted whose buckets lack these tokens already: the tokens that they start without in all.
    pub(super) fn take_over(&mut self, debtor: Debtor<'_>, missing: Both<Bytes>) -> Both<Bytes> {
        let mut all = missing;
        let Some(interface) = self.interfaces.get_mut(debtor.interface) else { return all };
        for direction in Direction::BOTH {
            let debt = interface.get_mut(direction).classes.get_mut(debtor.class);
            if let (Some(tspec), Some(debt)) = (debtor.tspec.get(direction), debt) {
                let missing = all.get_mut(direction);
                let left = tspec.token_bucket_size().saturating_sub(*missing);
                *missing = missing.saturating_add(debt.take_over(left));
            }
        }
        all
    }

    /// Looks up the rate that nothing has reserved on each interface with debts, which refills them from now on.
    pub(super) fn set_refill_rates(&mut self, free: impl Fn(&str) -> Both<Rate>) {
        for (name, interface) in &mut self.interfaces {
            let free = free(name);
            for direction in Direction::BOTH {
                interface.get_mut(direction).free = *free.get(direction);
            }
        }
    }

    /// Panics unless something is owed wherever there is a debt.
    pub(super) fn invariants(&self) {
        for debts in self.interfaces.values().flat_map(|debts| [&debts.sending, &debts.receiving]) {
            debts.classes.values().for_each(TokenDebt::invariants);
        }
    }

    fn debts(&mut self) -> impl Iterator<Item = &mut ClassDebts> {
        self.interfaces.values_mut().flat_map(|debts| [&mut debts.sending, &mut debts.receiving])
    }
}

impl ClassDebts {
    /// The free rate goes to the classes in their order, to each as much as its flows had.
    fn pass(&mut self, elapsed: Duration) {
        let mut free = self.free;
        for debt in self.classes.values_mut() {
            let rate = debt.rate().min(free);
            free = free.saturating_sub(rate);
            debt.pass(elapsed, rate);
        }
        self.classes.retain(|_, debt| !debt.is_paid());
    }

    fn is_paid(&self) -> bool {
        self.classes.values().all(TokenDebt::is_paid)
    }
}
