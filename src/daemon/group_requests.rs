//! The groups that clients ask for at this moment: the audit log names the client, which holds none of them yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::notices::Process;

/// The clients by the ids of the groups. Bounded by the calls that are under way.
#[derive(Default)]
pub(super) struct GroupRequests(Mutex<HashMap<String, Process>>);

/// A call that is under way.
pub(super) struct GroupRequest {
    requests: Arc<GroupRequests>,
    id: String,
}

impl GroupRequests {
    /// A client asks for a group, until what is returned is dropped.
    pub(super) fn enter(self: &Arc<Self>, id: &str, process: Process) -> GroupRequest {
        self.lock().insert(id.to_owned(), process);
        GroupRequest { requests: Arc::clone(self), id: id.to_owned() }
    }

    /// The client that asks for a group.
    pub(super) fn process(&self, id: &str) -> Option<Process> {
        self.lock().get(id).copied()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Process>> {
        // The map is whole between any two statements that can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for GroupRequest {
    fn drop(&mut self) {
        self.requests.lock().remove(&self.id);
    }
}
