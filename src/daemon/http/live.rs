//! What the endpoint follows by the second: the history, the rates, and the frames of those that watch the page.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use flowspec::{Both, Direction, Rate};
use shaper::clock;
use tokio::sync::{Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::facts::{HttpFacts, Taken};
use super::frame::{Fragments, frame};
use super::history::{History, HistorySample, SeriesKey};
use super::pictures::{Picture, pictures};
use super::rates::{MeasuredFlowRates, MeasuredLinkRates};
use super::view::{ClassView, FlowView, MOST_FLOWS, View, interfaces};
use crate::engine::{EngineSnapshot, FlowSnapshot, InterfaceReport};

/// What is followed by the second.
pub(super) struct Live {
    pub(super) facts: Arc<HttpFacts>,
    state: Mutex<Followed>,
    /// What was shown last.
    shown: Mutex<Option<Taken<View>>>,
    /// The last frame, for those that watch.
    frames: watch::Sender<Bytes>,
    /// A place for each stream of events.
    pub(super) places: Arc<Semaphore>,
}

#[derive(Default)]
struct Followed {
    history: History,
    links: MeasuredLinkRates,
    flows: MeasuredFlowRates,
    /// What the flows of each class of an interface send.
    classes: BTreeMap<(String, String), u64>,
    /// The last report that was taken into account.
    report: Option<Arc<Vec<InterfaceReport>>>,
}

/// The most streams of events, a quarter of the connections.
const MOST_STREAMS: usize = 16;

/// How many flows are looked up at once, so that the engine's lock is free in between.
const FLOWS_AT_ONCE: usize = 256;

/// The seconds between two drawings of the pictures.
const PICTURES: u32 = 5;

impl Live {
    pub(super) fn new(facts: Arc<HttpFacts>) -> Self {
        let places = Arc::new(Semaphore::new(MOST_STREAMS));
        Self {
            facts,
            state: Mutex::default(),
            shown: Mutex::default(),
            frames: watch::Sender::default(),
            places,
        }
    }

    /// Follows the daemon by the second, for ever.
    pub(super) async fn run(self: Arc<Self>) {
        let mut seconds = interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
        for second in 0_u32.. {
            seconds.tick().await;
            self.follow().await;
            if self.frames.receiver_count() > 0 {
                let with_pictures = second.is_multiple_of(PICTURES);
                let fragments = self.fragments(with_pictures);
                self.frames.send_replace(frame(&fragments));
            }
        }
    }

    /// The frames from now on; the first at once.
    pub(super) fn watch(&self) -> watch::Receiver<Bytes> {
        let fragments = self.fragments(true);
        self.frames.send_replace(frame(&fragments));
        let mut frames = self.frames.subscribe();
        frames.mark_changed();
        frames
    }

    /// The parts of the page now, with its pictures or without.
    pub(super) fn fragments(&self, with_pictures: bool) -> Fragments {
        let drawn: Option<Vec<Picture>> = with_pictures.then(|| pictures(&self.state().history));
        Fragments::of(&self.view(), drawn.as_deref())
    }

    /// What is so now, or was so when reading it again would take too much of the daemon's time.
    fn view(&self) -> Arc<View> {
        // It is replaced as a whole.
        let mut last = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        Taken::or_read(&mut last, || self.read_view())
    }

    fn read_view(&self) -> View {
        let server = &self.facts.server;
        let snapshot = self.facts.snapshot();
        let shown = server.holdings.first_shown(MOST_FLOWS);
        let ids: Vec<_> = shown.iter().map(|shown| shown.id.clone()).collect();
        let found: BTreeMap<_, _> = self.found(&ids).into_iter().collect();
        let state = self.state();
        let flows = shown.into_iter().filter_map(|shown| {
            let (flow, rate) = (found.get(&shown.id)?.clone(), state.flows.of(&shown.id));
            Some(FlowView { flow, uid: shown.process.uid, pid: shown.process.pid, rate })
        });
        View {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            policy: server.policy_names(),
            draining: server.is_draining(),
            connections: server.users.connections(),
            held: server.holdings.count(),
            interfaces: interfaces(&snapshot, |interface| state.links.of(interface)),
            classes: state.class_views(&snapshot),
            flows: flows.collect(),
            refusals: self.facts.counted().refusals(),
            now: snapshot.at,
        }
    }

    /// Flows by their ids.
    fn found(&self, ids: &[String]) -> Vec<(String, FlowSnapshot)> {
        let batches = ids.chunks(FLOWS_AT_ONCE).flat_map(|ids| self.facts.server.engine.flow_snapshots(ids));
        batches.map(|flow| (flow.holding.id.clone(), flow)).collect()
    }

    /// Takes the counters of links and classes into account, and adds a second to the history.
    async fn follow(&self) {
        let links = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
        // A kernel that does not answer is waited for elsewhere.
        let report = timeout(Duration::from_millis(500), self.facts.report()).await;
        let (now, snapshot) = (clock::now(), self.facts.snapshot());
        let mut state = self.state();
        state.links.read(&links, now);
        let is_new = |report: &Arc<Vec<InterfaceReport>>| {
            state.report.as_ref().is_none_or(|before| !Arc::ptr_eq(before, report))
        };
        if let Some(report) = report.ok().and_then(Result::ok).filter(is_new) {
            state.flows.read(&report, now);
            state.report = Some(report);
            let ids: Vec<_> = state.flows.all().map(|(id, _)| id.clone()).collect();
            drop(state);
            let found = self.found(&ids);
            state = self.state();
            let mut classes = BTreeMap::new();
            for (id, flow) in found {
                let (Some(class), Some(rate)) = (flow.class, state.flows.of(&id)) else { continue };
                let sum: &mut u64 = classes.entry((flow.holding.interface, class)).or_default();
                *sum = sum.saturating_add(rate.sent.get());
            }
            state.classes = classes;
        }
        let samples = state.samples(&snapshot);
        state.history.add(samples);
    }

    fn state(&self) -> MutexGuard<'_, Followed> {
        // A panic leaves the numbers of one second out.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Followed {
    fn class_views(&self, snapshot: &EngineSnapshot) -> Vec<ClassView> {
        let views = snapshot.classes.iter().map(|class| {
            let status = snapshot.interfaces.iter().find(|(interface, _)| *interface == class.interface);
            let is_counted = status.is_some_and(|(_, status)| status.kernel.is_ok()) && self.report.is_some();
            let sent = self.classes.get(&(class.interface.clone(), class.class.clone()));
            let sending = is_counted.then(|| Rate::new(sent.copied().unwrap_or(0)));
            ClassView { class: class.clone(), used: Both { sending, receiving: None } }
        });
        views.collect()
    }

    fn samples(&self, snapshot: &EngineSnapshot) -> Vec<(SeriesKey, HistorySample)> {
        let mut samples = Vec::new();
        for (interface, status) in &snapshot.interfaces {
            let used = self.links.of(interface);
            for direction in Direction::BOTH {
                let totals = *status.totals.get(direction);
                let used = used.map(|used| *used.get(direction));
                let key = SeriesKey::new(interface, None, direction);
                samples.push((key, HistorySample { totals, used }));
            }
        }
        for ClassView { class, used } in self.class_views(snapshot) {
            for direction in Direction::BOTH {
                let (totals, used) = (*class.totals.get(direction), *used.get(direction));
                let key = SeriesKey::new(&class.interface, Some(&class.class), direction);
                samples.push((key, HistorySample { totals, used }));
            }
        }
        samples
    }
}
