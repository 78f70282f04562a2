//! Interfaces as they are seen, change and end.

use std::sync::Arc;

use flowspec::{Direction, Micros, Rate};

use super::interface::{Interface, State};
use super::message::{Effect, Notice, RequestId, Seen};
use super::reducer::{Manager, Pending, answer};
use crate::admission::Decision;
use crate::tc::{Change, Desired, LinkRates, Shape};

impl Manager {
    pub(super) fn seen(&mut self, seen: &Seen, effects: &mut Vec<Effect>) {
        self.ledger.see(&seen.interface, seen.mtu, seen.speed);
        let policy = Arc::clone(self.ledger.policy());
        let Some(interface_policy) = policy.interface(&seen.interface) else { return };
        if self.interfaces.contains_key(&seen.interface) {
            return;
        }
        let tree = self.shape(&seen.interface).filter(|(capacity, ..)| *capacity > Rate::ZERO);
        let tree = tree.map(|(capacity, budget, wait)| {
            Desired::new(Shape { rates: LinkRates { capacity, budget }, mtu: seen.mtu, wait })
        });
        let (interface, change) = Interface::new(seen, interface_policy.enforcement, tree);
        if let Some(change) = change {
            let pending = Pending::SetUp { interface: seen.interface.clone() };
            effects.push(self.apply(seen.index, change, pending));
        }
        if let State::UserSpace(_) = interface.state {
            self.ledger.unprogrammed(&seen.interface);
        }
        self.interfaces.insert(seen.interface.clone(), interface);
    }

    /// What a tree is built for: what the link carries, what of it may be promised, and how long a leaf may wait.
    fn shape(&self, interface: &str) -> Option<(Rate, Rate, Micros)> {
        let capacity = self.ledger.capacity(interface, Direction::Sending)?;
        let budget = self.ledger.policy().interface(interface)?.budget(Direction::Sending);
        let wait = self.ledger.proven(interface).map_or(Micros::new(0), |terms| terms.d);
        Some((capacity, budget.reservable_of(capacity), wait))
    }

    /// The answer to a link that carries another rate, once its trunk does as well.
    pub(super) fn capacity_changed(
        &mut self,
        request: RequestId,
        interface: &str,
        decision: Decision,
        effects: &mut Vec<Effect>,
    ) {
        match self.trunk(interface) {
            None => effects.push(answer(request, decision)),
            Some((index, change)) => {
                let pending = Pending::Trunk { request: Some((request, Box::new(decision))) };
                effects.push(self.apply(index, change, pending));
            }
        }
    }

    /// Brings the trunks in line with capacities that count from now on, and tells where that is too little.
    pub(super) fn reshape(&mut self, effects: &mut Vec<Effect>) {
        for name in self.interfaces.keys().cloned().collect::<Vec<_>>() {
            if let Some((index, change)) = self.trunk(&name) {
                effects.push(self.apply(index, change, Pending::Trunk { request: None }));
            }
            let over = self.ledger.totals(&name).is_some_and(|totals| {
                [totals.sending, totals.receiving].iter().any(|totals| totals.reserved > totals.budget)
            });
            if let Some(interface) = self.interfaces.get_mut(&name)
                && std::mem::replace(&mut interface.over, over) != over
            {
                effects.push(Effect::Tell(Notice::Overcommitted { interface: name, over }));
            }
        }
    }

    /// What has to be changed of a trunk, if anything.
    fn trunk(&mut self, name: &str) -> Option<(u32, Change)> {
        let (capacity, budget, wait) = self.shape(name)?;
        let interface = self.interfaces.get_mut(name)?;
        let change = interface.reshape(capacity, budget, wait);
        (!change.ops.is_empty()).then_some((interface.index, change))
    }

    pub(super) fn is_preparing(&self, interface: &str) -> bool {
        let interface = self.interfaces.get(interface);
        matches!(interface.map(|interface| &interface.state), Some(State::Preparing(_)))
    }

    /// Asks the kernel for a change.
    pub(super) fn apply(&mut self, index: u32, change: Change, pending: Pending) -> Effect {
        let id = self.next_change();
        self.pending.insert(id, pending);
        Effect::Apply { id, index, change }
    }

    pub(super) fn stop(&mut self, effects: &mut Vec<Effect>) {
        let trees = self.interfaces.values().filter_map(|interface| match &interface.state {
            State::Programmed(tree) => Some((interface.index, tree.tear_down())),
            State::Preparing(_) | State::UserSpace(_) => None,
        });
        for (index, change) in trees.collect::<Vec<_>>() {
            effects.push(self.apply(index, change, Pending::TearDown));
        }
    }
}
