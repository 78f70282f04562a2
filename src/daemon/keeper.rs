//! The state file of a daemon that runs: what it is written from, and how it ends.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::holdings::Reservations;
use super::journal::{Journal, Writer};
use super::recovered::Recovered;
use super::state_log::{Key, Lines};
use crate::engine::LocalEngine;
use crate::failure::{KernelCall, KernelFailure};
use crate::policy::Policy;

/// What outlives the daemon, and what it has found of the one before.
pub(super) struct StateKeeper {
    journal: Arc<Journal>,
    pub(super) writer: Writer,
    pub(super) recovered: Recovered,
    /// How long what was recovered waits for its clients.
    pub(super) grace: Duration,
}

/// What is written down, where, and what was found there.
pub(super) struct KeeperParts<'a> {
    pub(super) journal: Arc<Journal>,
    /// The path of the state file.
    pub(super) path: PathBuf,
    /// What tells this system from others.
    pub(super) system: String,
    pub(super) engine: &'a Arc<LocalEngine>,
    pub(super) holdings: &'a Arc<Reservations>,
    pub(super) recovered: Recovered,
    /// How long what was recovered waits for its clients.
    pub(super) grace: Duration,
}

/// How long reservations wait for their clients where the policy does not say.
const GRACE: Duration = Duration::from_secs(30);

impl StateKeeper {
    /// Writes down what is held, from now on.
    ///
    /// - **Errors**: the thread that writes cannot be started.
    pub(super) fn start(parts: KeeperParts<'_>) -> Result<Self, KernelFailure> {
        let KeeperParts { journal, path, system, engine, holdings, recovered, grace } = parts;
        let writer = journal.write(path, system, lines(engine, holdings));
        let writer = writer.map_err(|error| KernelCall("clone").failed("thread gqos-state", error))?;
        Ok(Self { journal, writer, recovered, grace })
    }

    /// The first failure to write, once there is one.
    pub(super) fn failure(&self) -> impl Future<Output = KernelFailure> + Send + 'static {
        let mut failure = self.journal.failure();
        async move {
            let said = failure.wait_for(Option::is_some).await.ok().and_then(|failure| failure.clone());
            match said {
                Some(failure) => failure,
                // The daemon has ended.
                None => std::future::pending().await,
            }
        }
    }
}

/// How long reservations wait for their clients under a policy.
pub(super) fn grace(policy: &Policy) -> Duration {
    let grace = policy.daemon.as_ref().and_then(|daemon| daemon.grace);
    grace.map_or(GRACE, |grace| Duration::from_micros(grace.get()))
}

/// What is written down of what is held.
pub(super) fn lines(engine: &Arc<LocalEngine>, holdings: &Arc<Reservations>) -> Lines {
    // The thread that writes keeps neither.
    let (engine, of, all) = (Arc::downgrade(engine), Arc::downgrade(holdings), Arc::downgrade(holdings));
    let line = move |key: &Key| {
        let line = of.upgrade().map(|holdings| holdings.line(key, |id| engine.upgrade()?.kept(id)));
        line.unwrap_or_else(|| key.ended())
    };
    let all = move || all.upgrade().map_or_else(Vec::new, |holdings| holdings.written());
    Lines { of: Box::new(line), all: Box::new(all) }
}
