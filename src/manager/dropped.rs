//! Interfaces that the policy does not have any more: each is managed until its last flow has ended, and then left without a
//! tree.

use super::flow::ManagedFlow;
use super::message::Effect;
use super::state::Manager;
use super::turn::Turn;
use crate::tc::Desired;

impl Manager {
    /// Another policy is in use: the interfaces that it does not have are known from now on.
    pub(super) fn note_dropped(&mut self) {
        let policy = self.ledger.policy();
        let dropped = self.interfaces.keys().filter(|name| policy.interface(name).is_none());
        self.dropped = dropped.map(|name| (name.clone(), None)).collect();
    }

    /// Whether the policy does not have an interface any more on which flows have reservations.
    pub fn is_dropped(&self, interface: &str) -> bool {
        self.dropped.contains_key(interface)
    }

    /// Leaves the interfaces that the policy does not have and that have no flows. What one needs for its flows to be answered
    /// comes first.
    pub(super) fn leave_dropped(&mut self, turn: &mut Turn) {
        if self.dropped.is_empty() {
            return;
        }
        for name in self.dropped.keys().cloned().collect::<Vec<_>>() {
            if self.is_used(&name) {
                continue;
            }
            self.dropped.remove(&name);
            let Some(interface) = self.interfaces.remove(&name).filter(|interface| !interface.is_gone())
            else {
                continue;
            };
            let root = interface.tree().map(Desired::root);
            turn.push(Effect::Leave { index: interface.index, interface: name, root });
        }
    }

    /// Whether flows have reservations on an interface that was dropped, or the kernel has not answered about it. One of its
    /// flows is kept in mind, so that not all flows are looked at each time.
    fn is_used(&mut self, name: &str) -> bool {
        let is_there = |flow: &ManagedFlow| flow.interface == name;
        let known = self.dropped.get(name).and_then(Option::as_ref);
        if known.and_then(|id| self.flows.get(id)).is_some_and(is_there) {
            return true;
        }
        let flow = self.flows.iter().find(|(_, flow)| is_there(flow)).map(|(id, _)| id.clone());
        let has_copies =
            self.interfaces.get(name).is_some_and(|interface| interface.copies().next().is_some());
        let is_used = flow.is_some() || has_copies || self.is_changing(name);
        self.dropped.insert(name.to_owned(), flow);
        is_used
    }
}
