//! A flow that was preempted, with what it had.

use std::sync::Arc;

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

impl PartialEq for Displaced {
    fn eq(&self, other: &Self) -> bool {
        (&self.id, &self.entry) == (&other.id, &other.entry)
    }
}

impl Eq for Displaced {}
