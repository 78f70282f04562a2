//! What the answers of the endpoint are made of.

use std::sync::Arc;

use super::counted::CountedEvents;
use crate::daemon::state::DaemonServer;
use crate::engine::EngineSnapshot;

/// What the answers to requests are made of.
pub(super) struct HttpFacts {
    pub(super) server: Arc<DaemonServer>,
    counted: Arc<CountedEvents>,
}

impl HttpFacts {
    pub(super) fn new(server: Arc<DaemonServer>) -> Self {
        Self { server, counted: Arc::default() }
    }

    pub(super) const fn counted(&self) -> &Arc<CountedEvents> {
        &self.counted
    }

    /// What the ledger holds, as of a moment ago.
    pub(super) fn snapshot(&self) -> Arc<EngineSnapshot> {
        self.server.watched.snapshot()
    }
}
