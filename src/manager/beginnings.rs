//! When the reservations of flows begin that were made ahead.

use flowspec::Moment;

use crate::ordered::OrderedSet;

/// The flows whose reservations begin later.
#[derive(Debug, Default)]
pub(super) struct Beginnings {
    /// When each begins.
    due: OrderedSet<(Moment, String)>,
    /// Those that would have begun while the kernel worked on them.
    held_up: OrderedSet<String>,
}

impl Beginnings {
    pub(super) fn add(&mut self, at: Moment, id: &str) {
        self.due.insert((at, id.to_owned()));
    }

    pub(super) fn remove(&mut self, at: Moment, id: &str) {
        self.due.remove(&(at, id.to_owned()));
        self.held_up.remove(id);
    }

    /// The kernel works on a flow that would begin now.
    pub(super) fn hold_up(&mut self, id: &str) {
        self.held_up.insert(id.to_owned());
    }

    /// When the next one begins.
    pub(super) fn next(&self) -> Option<Moment> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The flows that begin now.
    pub(super) fn take(&mut self, now: Moment) -> OrderedSet<String> {
        let mut begun = std::mem::take(&mut self.held_up);
        while self.next().is_some_and(|at| at <= now) {
            begun.extend(self.due.pop_first().map(|(_, id)| id));
        }
        begun
    }
}
