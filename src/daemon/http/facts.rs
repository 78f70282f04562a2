//! The daemon's state as the endpoint sees it.
//!
//! A snapshot holds the engine's lock, and a reading of the kernel's counters takes its task's time. Both are taken again only
//! after a multiple of the time that they took, so that clients of the endpoint cost admission a bounded part of the time,
//! whatever they do.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flowspec::Timestamp;
use shaper::clock;

use super::counted::CountedEvents;
use crate::daemon::state::DaemonServer;
use crate::engine::{Engine, EngineError, EngineSnapshot, InterfaceReport};
use crate::telemetry::metrics::MOST_GROUP_SERIES;

/// What the answers to requests are made of.
pub(super) struct HttpFacts {
    pub(super) server: Arc<DaemonServer>,
    counted: Arc<CountedEvents>,
    snapshot: Mutex<Option<Taken<EngineSnapshot>>>,
    /// Locked while the kernel is asked, so that it is asked once at a time.
    report: tokio::sync::Mutex<Option<Taken<Vec<InterfaceReport>>>>,
}

/// Something that was read, and until when it is not read again.
pub(super) struct Taken<T> {
    what: Arc<T>,
    keeps_until: Timestamp,
}

impl<T> Taken<T> {
    /// What was read last, or what is read now: not before a multiple of the time has passed that the reading took.
    pub(super) fn or_read(last: &mut Option<Self>, read: impl FnOnce() -> T) -> Arc<T> {
        let began = clock::now();
        if let Some(taken) = last.as_ref().filter(|taken| began < taken.keeps_until) {
            return Arc::clone(&taken.what);
        }
        let what = Arc::new(read());
        let now = clock::now();
        let took = Duration::from_nanos(now.as_nanos().saturating_sub(began.as_nanos()));
        *last = Some(Self { what: Arc::clone(&what), keeps_until: now.saturating_add(took * SHARE) });
        what
    }
}

/// The part of the time in which the engine is read: one in so many.
const SHARE: u32 = 10;

/// How long the kernel's counters are kept at least: a reading is a netlink dump of all classes.
const REPORT: Duration = Duration::from_millis(500);

/// How many flows lengthen that by a second: the dump takes the engine's task about a millisecond for 300 classes.
const FLOWS_A_SECOND: usize = 300;

impl HttpFacts {
    pub(super) fn new(server: Arc<DaemonServer>) -> Self {
        let (counted, snapshot, report) = Default::default();
        Self { server, counted, snapshot, report }
    }

    pub(super) const fn counted(&self) -> &Arc<CountedEvents> {
        &self.counted
    }

    /// What the ledger holds now, or held when reading it again would take too much of the engine's time.
    pub(super) fn snapshot(&self) -> Arc<EngineSnapshot> {
        Taken::or_read(&mut self.last_snapshot(), || self.server.engine.snapshot(MOST_GROUP_SERIES))
    }

    /// What the kernel counts, as of a moment ago.
    ///
    /// - **Errors**: the kernel's; the engine has stopped.
    pub(super) async fn report(&self) -> Result<Arc<Vec<InterfaceReport>>, EngineError> {
        let mut last = self.report.lock().await;
        if let Some(taken) = last.as_ref().filter(|taken| clock::now() < taken.keeps_until) {
            return Ok(Arc::clone(&taken.what));
        }
        let what = Arc::new(self.server.engine.report().await?);
        let classes: usize = what.iter().map(|report| report.classes.len()).sum();
        let seconds = u64::try_from(classes / FLOWS_A_SECOND).unwrap_or(u64::MAX);
        let keeps_until = clock::now().saturating_add(REPORT.max(Duration::from_secs(seconds)));
        *last = Some(Taken { what: Arc::clone(&what), keeps_until });
        Ok(what)
    }

    fn last_snapshot(&self) -> MutexGuard<'_, Option<Taken<EngineSnapshot>>> {
        // It is replaced as a whole.
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
