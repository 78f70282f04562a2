//! What those that watch the daemon are shown: `gqos top`, `gqos flows` and the HTTP endpoint read the same, so that each further
//! one costs little.
//!
//! A snapshot holds the engine's lock, a reading of the kernel's counters takes its task's time, and the table of flows both in
//! small parts. Each is taken again only after a multiple of the time that it took, so that they cost admission a bounded part of
//! the time, whatever clients do.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shaper::clock;

use super::flow_table::FlowTable;
use super::holdings::Reservations;
use super::taken::Taken;
use super::traffic::MeasuredTraffic;
use crate::engine::{Engine, EngineError, EngineSnapshot, InterfaceReport, LocalEngine};

/// The most groups of a snapshot.
pub(super) const MOST_GROUPS: usize = 512;

/// What was read last.
pub(super) struct Watched {
    engine: Arc<LocalEngine>,
    holdings: Arc<Reservations>,
    snapshot: Mutex<Option<Taken<EngineSnapshot>>>,
    /// Locked while the kernel is asked, so that it is asked once at a time.
    report: tokio::sync::Mutex<Option<Taken<Vec<InterfaceReport>>>>,
    traffic: Mutex<MeasuredTraffic>,
    /// Locked while it is read.
    flows: tokio::sync::Mutex<Option<Taken<FlowTable>>>,
}

/// How long the kernel's counters are kept at least: a reading is a netlink dump of all classes.
const REPORT: Duration = Duration::from_millis(500);

/// How many flows lengthen that by a second: the dump takes the engine's task about a millisecond for 300 classes.
const FLOWS_A_SECOND: usize = 300;

/// How long the kernel's answer is waited for; what was counted before is shown then.
const KERNEL_PATIENCE: Duration = Duration::from_millis(500);

impl Watched {
    pub(super) fn new(engine: Arc<LocalEngine>, holdings: Arc<Reservations>) -> Self {
        let (snapshot, report, traffic, flows) = Default::default();
        Self { engine, holdings, snapshot, report, traffic, flows }
    }

    /// What the ledger holds now, or held when reading it again would take too much of the engine's time.
    pub(super) fn snapshot(&self) -> Arc<EngineSnapshot> {
        // It is replaced as a whole.
        let mut last = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        Taken::or_read(&mut last, || self.engine.snapshot(MOST_GROUPS))
    }

    /// What the kernel counts, as of a moment ago.
    ///
    /// - **Errors**: the kernel's; the engine has stopped.
    pub(super) async fn report(&self) -> Result<Arc<Vec<InterfaceReport>>, EngineError> {
        let mut last = self.report.lock().await;
        if let Some(kept) = Taken::kept(&last) {
            return Ok(kept);
        }
        let what = self.engine.report().await?;
        self.traffic().read(&what, clock::now());
        let classes: usize = what.iter().map(|report| report.classes.len()).sum();
        let seconds = u64::try_from(classes / FLOWS_A_SECOND).unwrap_or(u64::MAX);
        Ok(last.insert(Taken::keeping(what, REPORT.max(Duration::from_secs(seconds)))).what())
    }

    /// The same, unless the kernel does not answer for so long that something else is to be shown.
    pub(super) async fn report_in_time(&self) -> Option<Arc<Vec<InterfaceReport>>> {
        tokio::time::timeout(KERNEL_PATIENCE, self.report()).await.ok()?.ok()
    }

    /// The flows with what the kernel has counted, as of a moment ago.
    pub(super) async fn flows(&self) -> Arc<FlowTable> {
        let mut last = self.flows.lock().await;
        if let Some(kept) = Taken::kept(&last) {
            return kept;
        }
        drop(self.report_in_time().await);
        let began = clock::now();
        let table = self.flows_now(true).await;
        last.insert(Taken::read(table, began)).what()
    }

    /// The flows now; with what the kernel counted when it was read last.
    pub(super) async fn flows_now(&self, with_traffic: bool) -> FlowTable {
        let mut table = FlowTable::read(&self.engine, &self.holdings).await;
        if with_traffic {
            table.count(&self.traffic());
        }
        table
    }

    /// What the classes did between the last two readings.
    pub(super) fn traffic(&self) -> MutexGuard<'_, MeasuredTraffic> {
        // A panic leaves classes out of one reading.
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
