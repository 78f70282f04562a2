//! Interfaces as they are seen, carry another rate, and end.

use flowspec::{Bytes, Direction, Micros, Rate};

use super::interface::{Interface, State};
use super::message::{Notice, Seen};
use super::pending::Purpose;
use super::record::record_interface;
use super::state::Manager;
use super::turn::{Reply, Turn};
use crate::admission::Ledger;
use crate::tc::{Change, LinkRates, Shape};
use crate::telemetry::event::{Event, InterfaceOvercommitted, InterfaceWithinBudget};

impl Manager {
    /// An interface is to be managed: its tree is set up, where the policy and its root qdisc allow that.
    pub(super) fn seen(&mut self, turn: &mut Turn, seen: &Seen) {
        let name = &seen.interface;
        self.ledger.observe_link(name, seen.mtu, seen.speed);
        let Some(policy) = self.ledger.policy().interface(name) else { return };
        if self.interfaces.contains_key(name) {
            return;
        }
        let shape = shape(&self.ledger, name, seen.mtu).filter(|shape| shape.rates.capacity > Rate::ZERO);
        let (interface, change) = Interface::new(seen, policy.enforcement, shape);
        if let State::UserSpace(why) = &interface.state {
            record_interface(turn, name, seen.index, Some(why.clone()));
            self.ledger.unprogrammed(name);
        }
        self.interfaces.insert(name.clone(), interface);
        if let Some(change) = change {
            self.apply(turn, name, change, Purpose::SetUp);
        }
    }

    /// A link carries another rate: the request is answered once the tree's link class does as well.
    pub(super) fn capacity_changed(&mut self, turn: &mut Turn, name: &str, reply: Reply) {
        let ledger = &self.ledger;
        let change = self.interfaces.get_mut(name).map(|interface| reshape(ledger, name, interface));
        match change.filter(|change| !change.ops.is_empty()) {
            None => turn.answer(reply),
            Some(change) => {
                self.apply(turn, name, change, Purpose::Trunk { reply: Some(Box::new(reply)) });
            }
        }
    }

    /// Brings the trees in line with capacities that count from now on, and notifies where more is reserved than an
    /// interface carries.
    pub(super) fn follow_capacities(&mut self, turn: &mut Turn) {
        let mut changes = Vec::new();
        for (name, interface) in &mut self.interfaces {
            let change = reshape(&self.ledger, name, interface);
            if !change.ops.is_empty() {
                changes.push((name.clone(), change));
            }
            let Some(totals) = self.ledger.totals(name) else { continue };
            let over =
                [totals.sending, totals.receiving].iter().any(|totals| totals.reserved > totals.budget);
            if std::mem::replace(&mut interface.overcommitted, over) == over {
                continue;
            }
            turn.record(|| {
                let interface = name.clone();
                let reserved = totals.map(|totals| totals.reserved);
                let budget = totals.map(|totals| totals.budget);
                match over {
                    true => {
                        Event::InterfaceOvercommitted(InterfaceOvercommitted { interface, reserved, budget })
                    }
                    false => Event::InterfaceWithinBudget(InterfaceWithinBudget { interface }),
                }
            });
            turn.tell(Notice::Overcommitted { interface: name.clone(), over });
        }
        for (name, change) in changes {
            self.apply(turn, &name, change, Purpose::Trunk { reply: None });
        }
    }

    pub(super) fn is_preparing(&self, interface: &str) -> bool {
        let interface = self.interfaces.get(interface);
        matches!(interface.map(|interface| &interface.state), Some(State::Preparing(_)))
    }

    /// Deletes every tree.
    pub(super) fn stop(&mut self, turn: &mut Turn) {
        let trees = self.interfaces.iter().filter_map(|(name, interface)| match &interface.state {
            State::Programmed(tree) => Some((name.clone(), tree.tear_down())),
            State::Preparing(_) | State::UserSpace(_) => None,
        });
        for (name, change) in trees.collect::<Vec<_>>() {
            self.apply(turn, &name, change, Purpose::TearDown);
        }
    }
}

/// What a tree is built for; `None` while the capacity is unknown.
fn shape(ledger: &Ledger, interface: &str, mtu: Bytes) -> Option<Shape> {
    let capacity = ledger.capacity(interface, Direction::Sending)?;
    let budget = ledger.policy().interface(interface)?.budget(Direction::Sending).reservable_of(capacity);
    let wait = ledger.proven(interface).map_or(Micros::new(0), |terms| terms.d);
    Some(Shape { rates: LinkRates { capacity, budget }, mtu, wait })
}

/// Brings an interface's link class in line with the link: the kernel's change.
fn reshape(ledger: &Ledger, name: &str, interface: &mut Interface) -> Change {
    match shape(ledger, name, interface.mtu) {
        None => Change::default(),
        Some(shape) => interface.reshape(shape),
    }
}
