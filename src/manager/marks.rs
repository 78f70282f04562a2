//! Sockets that send to a class whether or not a flow has it. The number of such a class is no other flow's before the socket
//! has ended, or sends elsewhere.

use super::pending::Purpose;
use super::state::Manager;
use crate::tc::Handle;

impl Manager {
    /// A socket sends to a class from now on: that of this flow, on its interface; on any interface where the flow is not known.
    pub(super) fn socket_marked(&mut self, socket: u64, class: Handle, flow: Option<&str>) {
        let interface = flow.and_then(|id| self.flows.get(id)).map(|flow| flow.interface.clone());
        if self.marks.0.contains_key(&(socket, class)) {
            return;
        }
        for (_, interface) in self.interfaces.iter_mut().filter(|(name, _)| is_on(interface.as_ref(), name)) {
            interface.mark(class);
        }
        self.marks.0.insert((socket, class), interface);
    }

    /// A socket has ended, or sends to another class.
    pub(super) fn socket_unmarked(&mut self, socket: u64, class: Handle) {
        let Some(of) = self.marks.0.remove(&(socket, class)) else { return };
        let now = self.owed.now();
        let names: Vec<_> = self.interfaces.keys().filter(|name| is_on(of.as_ref(), name)).cloned().collect();
        for name in names {
            let is_left = self.interfaces.get_mut(&name).is_some_and(|interface| interface.unmark(class));
            // What still deletes the class frees its number.
            if is_left
                && !self.is_being_deleted(&name, class)
                && let Some(interface) = self.interfaces.get_mut(&name)
            {
                interface.free(class, now);
            }
        }
    }

    /// Whether the kernel has not answered the change that deletes a class without members.
    fn is_being_deleted(&self, interface: &str, class: Handle) -> bool {
        let has_class =
            |flow: &super::flow::ManagedFlow| flow.class == Some(class) && flow.interface == interface;
        self.pending
            .values()
            .any(|pending| matches!(pending.purpose, Purpose::Lose { class: lost } if lost == class))
            || self.flows.values().any(has_class)
    }
}

fn is_on(of: Option<&String>, name: &str) -> bool {
    of.is_none_or(|of| of == name)
}
