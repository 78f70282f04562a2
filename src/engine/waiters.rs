//! Flows that were refused and wait to be notified of free capacity.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::error::EngineError;

/// The waiting flows by their ids, shared by the engine and its clients.
///
/// Bounded by the requests in flight and the manager's waiting queue.
#[derive(Clone, Default)]
pub(super) struct WaitingFlows(Arc<Mutex<HashMap<String, Arc<Notify>>>>);

/// The entry of a flow that may have to wait, made before its request so that no notification is missed. Dropped, it
/// takes back the entry that it made.
pub(super) struct WaitingEntry {
    waiters: WaitingFlows,
    id: String,
    keep: bool,
}

impl WaitingFlows {
    pub(super) fn enter(&self, id: &str) -> WaitingEntry {
        let mut keep = true;
        self.map().entry(id.to_owned()).or_insert_with(|| {
            keep = false;
            Arc::default()
        });
        WaitingEntry { waiters: self.clone(), id: id.to_owned(), keep }
    }

    pub(super) fn get(&self, id: &str) -> Option<Arc<Notify>> {
        self.map().get(id).cloned()
    }

    /// Waits until capacity is free for a flow.
    ///
    /// - **Errors**: no flow of this id waits.
    pub(super) fn wait(&self, id: &str) -> impl Future<Output = Result<(), EngineError>> + Send + use<> {
        let entry = self.get(id).ok_or_else(|| EngineError::NotWaiting { id: id.to_owned() });
        async move {
            entry?.notified().await;
            Ok(())
        }
    }

    /// Wakes every flow that waits, so that it asks again.
    pub(super) fn notify_all(&self) {
        self.map().values().for_each(|waiter| waiter.notify_one());
    }

    /// Whether there was an entry.
    pub(super) fn remove(&self, id: &str) -> bool {
        self.map().remove(id).is_some()
    }

    fn map(&self) -> MutexGuard<'_, HashMap<String, Arc<Notify>>> {
        // The map is whole between any two statements that can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WaitingEntry {
    /// The request was answered: the entry stays as long as the flow waits.
    pub(super) fn answered(mut self, waiting: bool) {
        self.keep = waiting;
    }
}

impl Drop for WaitingEntry {
    fn drop(&mut self) {
        if !self.keep {
            self.waiters.remove(&self.id);
        }
    }
}
