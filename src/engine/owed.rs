//! What the flows of an engine owe, for the engine that follows it in the process.

use tokio::time::Instant;

use super::clock::now;
use super::core::lock;
use super::local::LocalEngine;
use crate::manager::Debts;

/// The tokens that the flows of an engine have taken from their buckets and owe.
#[derive(Clone, Debug)]
pub struct OwedTokens {
    debts: Debts,
    /// When they were owed.
    at: Instant,
}

impl LocalEngine {
    /// What its flows owe now; of an engine that has stopped as well.
    pub fn owed(&self) -> OwedTokens {
        let core = lock(self.core());
        OwedTokens { debts: core.manager.debts(core.now()), at: now() }
    }

    /// Its flows begin without what those of an earlier engine owe. For an engine that has no flows yet.
    pub fn begin_with(&self, owed: OwedTokens) {
        let OwedTokens { debts, at } = owed;
        let mut core = lock(self.core());
        let (elapsed, here) = (now().saturating_duration_since(at), core.now());
        core.manager.begin_with(debts, elapsed, here);
    }
}
