//! Interfaces as they are seen, carry another rate, and end.

use flowspec::{Bytes, Direction, Micros, Rate};

use super::interface::{Interface, TreeState};
use super::message::{Loss, Notice, Seen};
use super::pending::Purpose;
use super::record::record_interface;
use super::state::Manager;
use super::turn::{DecisionReply, Turn};
use crate::admission::{Ledger, NotProgrammed, Operation};
use crate::failure::KernelFailure;
use crate::policy::{Capacity, WireNames};
use crate::tc::{Change, ClassBlock, ForeignRoot, LinkRates, LinkShape, ObservedTree, diff};
use crate::telemetry::event::{
    Event, InterfaceGone, InterfaceOvercommitted, InterfaceSharesWire, InterfaceWithinBudget, TreeChanged,
};

impl Manager {
    /// An interface is to be managed: its tree is set up, where the policy and its root qdisc allow that.
    pub(super) fn seen(&mut self, turn: &mut Turn, seen: &Seen) {
        let name = &seen.interface;
        if let Some(known) = self.interfaces.get(name) {
            match known.index == seen.index && !known.is_gone() {
                true => return self.seen_again(turn, seen),
                // Another link has the name now.
                false => self.gone(turn, name),
            }
        }
        self.audit_link(turn, seen, false);
        self.ledger.observe_link(name, seen.mtu, seen.speed);
        let Some(policy) = self.ledger.policy().interface(name) else { return };
        let shape = shape(&self.ledger, name, seen.mtu).filter(|shape| shape.rates.capacity > Rate::ZERO);
        let (mut interface, change) = Interface::new(seen, policy.enforcement, shape);
        interface.block = self.block_for(name);
        self.marks.on(name).for_each(|class| interface.mark(class));
        match &interface.state {
            TreeState::UserSpace(why) => {
                record_interface(turn, name, seen.index, Some(why.clone()));
                self.set_programmed(turn, name, false);
            }
            // What is adopted is charged as it was.
            TreeState::Suspended(..) => self.set_programmed(turn, name, true),
            TreeState::Preparing(_) | TreeState::Programmed(_) => {}
        }
        self.interfaces.insert(name.clone(), interface);
        self.record_shared_wires(turn, name);
        if let Some(change) = change {
            self.apply(turn, name, change, Purpose::SetUp);
        }
        self.recopy(turn);
    }

    /// The interface on whose wire the kernel says that another one sends, where the policy relates neither to the other.
    pub(super) fn unrelated_below(&self, above: &str) -> Option<&str> {
        let index = self.interfaces.get(above)?.shares_wire_with?;
        let below = self.interfaces.iter().find(|(_, other)| other.index == index && !other.is_gone());
        let below = below?.0.as_str();
        let related =
            [WireNames { interface: above, parent: below }, WireNames { interface: below, parent: above }];
        let policy = self.ledger.policy();
        (!related.into_iter().any(|wire| policy.is_on_wire_of(wire))).then_some(below)
    }

    /// Records the pairs of interfaces on one wire to which this one belongs and which the policy does not relate.
    fn record_shared_wires(&self, turn: &mut Turn, name: &str) {
        for above in self.interfaces.keys() {
            if let Some(below) = self.unrelated_below(above).filter(|below| [*below, above].contains(&name)) {
                turn.record(|| {
                    let (interface, with) = (above.clone(), below.to_owned());
                    Event::InterfaceSharesWire(InterfaceSharesWire { interface, with })
                });
            }
        }
    }

    /// The numbers for the classes of an interface: those it had, else those that the fewest others have.
    fn block_for(&self, name: &str) -> ClassBlock {
        if let Some(before) = self.interfaces.get(name) {
            return before.block;
        }
        let uses =
            |block: &ClassBlock| self.interfaces.values().filter(|other| other.block == *block).count();
        ClassBlock::all().min_by_key(uses).unwrap_or_default()
    }

    /// An interface was looked at again: its MTU and speed count, and its tree is set up where that is possible now.
    fn seen_again(&mut self, turn: &mut Turn, seen: &Seen) {
        let name = &seen.interface;
        let Some(interface) = self.interfaces.get_mut(name) else { return };
        let wire_before = std::mem::replace(&mut interface.shares_wire_with, seen.shares_wire_with);
        let before = std::mem::replace(&mut interface.speed, seen.speed);
        if interface.mtu != seen.mtu || before != seen.speed {
            interface.mtu = seen.mtu;
            self.ledger.see_again(name, seen.mtu, seen.speed);
            self.audit_link(turn, seen, true);
        }
        if wire_before != seen.shares_wire_with {
            self.record_shared_wires(turn, name);
        }
        let Some(policy) = self.ledger.policy().interface(name) else { return };
        let enforcement = policy.enforcement;
        if let Some(capacity) = seen.speed.filter(|_| before != seen.speed) {
            let of_the_link = |direction: &Direction| policy.budget(*direction).capacity == Capacity::Auto;
            for direction in Direction::BOTH.into_iter().filter(of_the_link).collect::<Vec<_>>() {
                let interface = name.clone();
                self.consult(turn, &Operation::Capacity { interface, direction, capacity });
            }
        }
        let shape = shape(&self.ledger, name, seen.mtu).filter(|shape| shape.rates.capacity > Rate::ZERO);
        let Some(interface) = self.interfaces.get_mut(name) else { return };
        let TreeState::UserSpace(before) = &interface.state else { return };
        let (after, change) = Interface::new(seen, enforcement, shape);
        match (after.state, change) {
            (TreeState::UserSpace(why), _) if why == *before => {}
            (state, change) => {
                if let TreeState::UserSpace(why) = &state {
                    record_interface(turn, name, seen.index, Some(why.clone()));
                }
                interface.state = state;
                if let Some(change) = change {
                    self.apply(turn, name, change, Purpose::SetUp);
                }
            }
        }
    }

    /// The tree of an interface was read: it is made the desired one.
    pub(super) fn observed(
        &mut self,
        turn: &mut Turn,
        name: &str,
        observed: Result<ObservedTree, ForeignRoot>,
    ) {
        if self.is_changing(name) {
            return;
        }
        let Some(interface) = self.interfaces.get_mut(name) else { return };
        let index = interface.index;
        let Some(tree) = interface.tree() else { return };
        match observed.map(|observed| diff(tree, &observed)) {
            Err(ForeignRoot { kind, handle }) => {
                self.suspend(turn, name, NotProgrammed::ForeignRoot { kind, handle });
            }
            Ok(change) if change.ops.is_empty() => {
                if interface.confirm() && interface.not_programmed().is_none() {
                    record_interface(turn, name, index, None);
                    self.set_programmed(turn, name, true);
                }
            }
            Ok(repair) => {
                let found = repair.repaired();
                interface.doubt(NotProgrammed::Repairing { found: found.clone() });
                turn.record(|| Event::TreeChanged(TreeChanged { interface: name.to_owned(), found }));
                self.apply(turn, name, repair, Purpose::Repair);
            }
        }
    }

    pub(super) fn repaired(&mut self, turn: &mut Turn, name: &str, result: Result<(), KernelFailure>) {
        match (self.interfaces.get_mut(name), result) {
            (None, _) => {}
            (Some(interface), Ok(())) => {
                let index = interface.index;
                if interface.confirm() && interface.not_programmed().is_none() {
                    record_interface(turn, name, index, None);
                    self.set_programmed(turn, name, true);
                }
            }
            (Some(_), Err(failure)) => self.suspend(turn, name, failure.into()),
        }
    }

    /// The kernel does not answer about an interface.
    pub(super) fn unanswered(&mut self, turn: &mut Turn, name: &str, failure: KernelFailure) {
        let has_tree = |interface: &Interface| interface.tree().is_some();
        if self.interfaces.get(name).is_some_and(has_tree) {
            self.suspend(turn, name, failure.into());
        }
    }

    fn suspend(&mut self, turn: &mut Turn, name: &str, why: NotProgrammed) {
        let Some(interface) = self.interfaces.get_mut(name) else { return };
        let index = interface.index;
        if interface.suspend(why.clone()) {
            record_interface(turn, name, index, Some(why));
            self.set_programmed(turn, name, false);
        }
    }

    /// The kernel has not done what it was asked: its tree may not be the desired one.
    pub(super) fn doubt(&mut self, name: &str, failure: &KernelFailure) {
        // A privilege that is lost says nothing of the tree.
        let is_of_the_tree = !failure.is_not_expressible() && !failure.is_permission();
        if let Some(interface) = self.interfaces.get_mut(name).filter(|_| is_of_the_tree) {
            interface.doubt(failure.clone().into());
        }
    }

    /// An interface is gone: its flows are released, and their owners notified.
    pub(super) fn gone(&mut self, turn: &mut Turn, name: &str) {
        let Some(interface) = self.interfaces.get_mut(name).filter(|interface| !interface.is_gone()) else {
            return;
        };
        interface.uproot();
        for flow in self.flows.values_mut().filter(|flow| flow.interface == name) {
            flow.class = None;
        }
        turn.record(|| Event::InterfaceGone(InterfaceGone { interface: name.to_owned() }));
        let flows = self.flows.iter().filter(|(_, flow)| flow.interface == name);
        for id in flows.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            if let Some(held) = self.ledger.holding_of(&id) {
                self.take_back(turn, &id);
                self.lose(turn, held, Loss::LinkGone);
            }
        }
        self.consult(turn, &Operation::Tick);
    }

    /// A link carries another rate: the request is answered once the tree's link class does as well.
    pub(super) fn capacity_changed(&mut self, turn: &mut Turn, name: &str, reply: DecisionReply) {
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
            turn.notify(Notice::Overcommitted { interface: name.clone(), over });
        }
        for (name, change) in changes {
            self.apply(turn, &name, change, Purpose::Trunk { reply: None });
        }
    }

    pub(super) fn is_preparing(&self, interface: &str) -> bool {
        let interface = self.interfaces.get(interface);
        matches!(interface.map(|interface| &interface.state), Some(TreeState::Preparing(_)))
    }

    /// Deletes every tree.
    pub(super) fn stop(&mut self, turn: &mut Turn) {
        let trees = self.interfaces.iter().filter_map(|(name, interface)| match &interface.state {
            TreeState::Programmed(tree) | TreeState::Suspended(tree, _) if !interface.is_torn_down => {
                Some((name.clone(), tree.tear_down()))
            }
            _ => None,
        });
        for (name, change) in trees.collect::<Vec<_>>() {
            self.apply(turn, &name, change, Purpose::TearDown);
        }
    }
}

/// What a tree is built for; `None` while the capacity is unknown.
fn shape(ledger: &Ledger, interface: &str, mtu: Bytes) -> Option<LinkShape> {
    let capacity = ledger.capacity(interface, Direction::Sending)?;
    let budget = ledger.policy().interface(interface)?.budget(Direction::Sending).reservable_of(capacity);
    let wait = ledger.error_terms(interface).map_or(Micros::new(0), |terms| terms.d);
    Some(LinkShape { rates: LinkRates { capacity, budget }, mtu, wait })
}

/// Brings an interface's link class in line with the link: the kernel's change.
fn reshape(ledger: &Ledger, name: &str, interface: &mut Interface) -> Change {
    match shape(ledger, name, interface.mtu) {
        None => Change::default(),
        Some(shape) => interface.reshape(shape),
    }
}
