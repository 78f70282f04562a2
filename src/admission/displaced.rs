//! A flow that was preempted, with what it had.

use std::sync::Arc;

use super::account::classes::Classes;
use super::account::entry::Entry;

/// One who had to go, with what he had.
#[derive(Clone, Debug)]
pub struct Displaced {
    /// What he is called.
    pub id: String,
    pub(crate) entry: Entry,
    /// As they were then.
    pub(crate) classes: Arc<Classes>,
}

impl PartialEq for Displaced {
    fn eq(&self, other: &Self) -> bool {
        (&self.id, &self.entry) == (&other.id, &other.entry)
    }
}

impl Eq for Displaced {}
