//! A flow that was preempted, with what it had.

use std::sync::Arc;

use flowspec::Moment;

use super::account::classes::Classes;
use super::account::entry::Entry;

/// A flow that was preempted, with what it had.
#[derive(Clone, Debug)]
pub struct Displaced {
    /// The id under which it is reinstated.
    pub id: String,
    pub(crate) entry: Entry,
    /// The classes under the policy of that time: they number the class of the entry.
    pub(crate) classes: Arc<Classes>,
}

impl Displaced {
    /// When its reservation ends by itself, and when its soft state does.
    pub(crate) const fn times(&self) -> (Option<Moment>, Option<Moment>) {
        (self.entry.footprint.window.end, self.entry.deadline)
    }
}

impl PartialEq for Displaced {
    fn eq(&self, other: &Self) -> bool {
        (&self.id, &self.entry) == (&other.id, &other.entry)
    }
}

impl Eq for Displaced {}
