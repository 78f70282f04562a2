//! Classes of an interface's flows in the trees of its parents: a packet keeps its SO_PRIORITY when it passes from a VLAN or
//! a bridge to the interface below, and selects the class of the same number there.
//!
//! A parent's tree gets the classes after the flow's own interface has them, and no answer waits for them: a change that
//! the kernel refuses leaves the parent's tree in doubt, and the repair adds what is missing.

use super::interface::Interface;
use super::pending::Purpose;
use super::state::Manager;
use super::turn::Turn;
use crate::ordered::{OrderedMap, OrderedSet};
use crate::tc::{Change, Handle};

impl Manager {
    /// An interface was seen, or there is another policy: which interfaces' classes are copied is decided again.
    pub(super) fn recopy(&mut self, turn: &mut Turn) {
        let mut carried: OrderedMap<String, OrderedSet<Handle>> = OrderedMap::new();
        for (name, interface) in &mut self.interfaces {
            let parents: Vec<_> = self.ledger.wire_names(name).into_iter().skip(1).collect();
            interface.set_copied(!parents.is_empty());
            for parent in parents {
                carried.entry(parent).or_default().extend(interface.classes());
            }
        }
        let mut changes = Vec::new();
        for (name, interface) in &mut self.interfaces {
            let is_carried =
                |class: &Handle| carried.get(name).is_some_and(|classes| classes.contains(class));
            let mut change = Change::default();
            for class in interface.copies().filter(|class| !is_carried(class)).collect::<Vec<_>>() {
                change.ops.extend(interface.copy(class, None).ops);
            }
            changes.push((name.clone(), change));
        }
        for (name, change) in changes.into_iter().filter(|(_, change)| !change.ops.is_empty()) {
            self.apply(turn, &name, change, Purpose::Realign);
        }
    }

    /// Brings the trees of the parents in line with the classes that have changed since.
    pub(super) fn copy_classes(&mut self, turn: &mut Turn) {
        let mut changed: Vec<(String, OrderedSet<Handle>)> = Vec::new();
        for (name, interface) in &mut self.interfaces {
            let classes = interface.take_changed();
            if !classes.is_empty() {
                changed.push((name.clone(), classes));
            }
        }
        for (name, classes) in changed {
            for parent in self.ledger.wire_names(&name).into_iter().skip(1) {
                let mut change = Change::default();
                for class in &classes {
                    let traffic = self.interfaces.get(&name).and_then(|interface| interface.traffic(*class));
                    if let Some(parent) = self.interfaces.get_mut(&parent) {
                        change.ops.extend(parent.copy(*class, traffic).ops);
                    }
                }
                if !change.ops.is_empty() {
                    self.apply(turn, &parent, change, Purpose::Realign);
                }
            }
        }
    }

    /// An interface's tree is new: it gets the classes of the flows that it carries for others.
    pub(super) fn add_copies(&mut self, turn: &mut Turn, name: &str) {
        let change = self.interfaces.get_mut(name).map(Interface::change_copies);
        if let Some(change) = change.filter(|change| !change.ops.is_empty()) {
            self.apply(turn, name, change, Purpose::Realign);
        }
    }
}
