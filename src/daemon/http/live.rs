//! What the endpoint follows by the second: the history, the rates, and the frames of those that watch the page.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use flowspec::{Both, Direction, Rate};
use shaper::clock;
use tokio::sync::{Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::facts::HttpFacts;
use super::frame::{Fragments, frame};
use super::history::{History, HistorySample, SeriesKey};
use super::pictures::{Picture, pictures};
use super::rates::MeasuredLinkRates;
use super::view::{ClassView, View, first_flows, interfaces};
use crate::daemon::flow_table::FlowTable;
use crate::daemon::taken::Taken;
use crate::engine::{EngineSnapshot, InterfaceReport};

/// What is followed by the second.
pub(super) struct Live {
    pub(super) facts: Arc<HttpFacts>,
    state: Mutex<Followed>,
    /// What was shown last.
    shown: tokio::sync::Mutex<Option<Taken<View>>>,
    /// The last frame, for those that watch.
    frames: watch::Sender<Bytes>,
    /// A place for each stream of events.
    pub(super) places: Arc<Semaphore>,
}

#[derive(Default)]
struct Followed {
    history: History,
    links: MeasuredLinkRates,
    /// The flows at the last report, with their sums.
    flows: Arc<FlowTable>,
    /// The last report that was taken into account.
    report: Option<Arc<Vec<InterfaceReport>>>,
}

/// The most streams of events, a quarter of the connections.
const MOST_STREAMS: usize = 16;

/// The seconds between two drawings of the pictures.
const PICTURES: u32 = 5;

impl Live {
    pub(super) fn new(facts: Arc<HttpFacts>) -> Self {
        let places = Arc::new(Semaphore::new(MOST_STREAMS));
        Self {
            facts,
            state: Mutex::default(),
            shown: tokio::sync::Mutex::default(),
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
                let fragments = self.fragments(with_pictures).await;
                self.frames.send_replace(frame(&fragments));
            }
        }
    }

    /// The frames from now on; the first at once.
    pub(super) async fn watch(&self) -> watch::Receiver<Bytes> {
        let fragments = self.fragments(true).await;
        self.frames.send_replace(frame(&fragments));
        let mut frames = self.frames.subscribe();
        frames.mark_changed();
        frames
    }

    /// The parts of the page now, with its pictures or without.
    pub(super) async fn fragments(&self, with_pictures: bool) -> Fragments {
        let drawn: Option<Vec<Picture>> = with_pictures.then(|| pictures(&self.state().history));
        Fragments::of(&*self.view().await, drawn.as_deref())
    }

    /// What is so now, or was so when reading it again would take too much of the daemon's time.
    async fn view(&self) -> Arc<View> {
        let mut last = self.shown.lock().await;
        if let Some(kept) = Taken::kept(&last) {
            return kept;
        }
        let table = self.facts.server.watched.flows().await;
        Taken::or_read(&mut last, || self.read_view(&table))
    }

    fn read_view(&self, table: &FlowTable) -> View {
        let server = &self.facts.server;
        let snapshot = self.facts.snapshot();
        let flows = first_flows(table, &server.watched.traffic());
        let state = self.state();
        View {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            policy: server.policy_names(),
            draining: server.is_draining(),
            connections: server.users.connections(),
            held: server.holdings.count(),
            interfaces: interfaces(&snapshot, table, |interface| state.links.of(interface)),
            classes: state.class_views(&snapshot, table),
            flows,
            refusals: self.facts.counted().refusals(),
            now: snapshot.at,
        }
    }

    /// Takes the counters of links and classes into account, and adds a second to the history.
    async fn follow(&self) {
        let links = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
        let watched = &self.facts.server.watched;
        let report = watched.report_in_time().await;
        let is_new = |report: &Arc<Vec<InterfaceReport>>| {
            self.state().report.as_ref().is_none_or(|before| !Arc::ptr_eq(before, report))
        };
        let report = report.filter(is_new);
        // With thousands of flows, the kernel and they are not read every second.
        let flows = if report.is_some() { Some(watched.flows().await) } else { None };
        let (now, snapshot) = (clock::now(), self.facts.snapshot());
        let mut state = self.state();
        state.links.read(&links, now);
        if let Some(flows) = flows {
            (state.report, state.flows) = (report, flows);
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
    fn class_views(&self, snapshot: &EngineSnapshot, table: &FlowTable) -> Vec<ClassView> {
        let views = snapshot.classes.iter().map(|class| {
            let status = snapshot.interfaces.iter().find(|(interface, _)| *interface == class.interface);
            let is_counted = status.is_some_and(|(_, status)| status.kernel.is_ok()) && self.report.is_some();
            let traffic = table.classes.get(&(class.interface.clone(), class.class.clone())).copied();
            let sent = traffic.and_then(|traffic| traffic.used).unwrap_or(Rate::ZERO);
            let used = Both { sending: is_counted.then_some(sent), receiving: None };
            ClassView { class: class.clone(), used, traffic }
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
        for ClassView { class, used, .. } in self.class_views(snapshot, &self.flows) {
            for direction in Direction::BOTH {
                let (totals, used) = (*class.totals.get(direction), *used.get(direction));
                let key = SeriesKey::new(&class.interface, Some(&class.class), direction);
                samples.push((key, HistorySample { totals, used }));
            }
        }
        samples
    }
}
