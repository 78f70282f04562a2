//! The sockets of reserved flows, looked at by one timer for all of them.

use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use flowspec::{Micros, Moment};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::absence::{ObservedPeer, Observer};
use super::clock;
use super::peer::PeerSocket;
use super::reservation::ReservationState;
use crate::linux::peer::PeerOptions;
use crate::manager::Loss;
use crate::ordered::OrderedMap;
use crate::policy::{PeerTimeouts, Timeout};

/// The sockets that are watched, shared by the engine's task and its clients. Bounded by the reservations.
#[derive(Clone)]
pub(super) struct Watches {
    shared: Arc<Mutex<WatchTable>>,
    /// Wakes the engine's task.
    wake: Arc<Notify>,
}

#[derive(Default)]
struct WatchTable {
    /// By the number of the reservation's state.
    watches: OrderedMap<usize, Arc<SocketWatch>>,
    /// The last that was looked at in this round.
    cursor: Option<usize>,
    /// When the engine's task looks next; `None` while nothing is watched.
    next: Option<Instant>,
}

struct SocketWatch {
    id: String,
    state: Weak<ReservationState>,
    socket: PeerSocket,
    timeouts: PeerTimeouts,
    /// The socket's options before, where the kernel was to end a dead connection.
    before: Option<PeerOptions>,
    seen: Mutex<LastLook>,
}

/// What was seen of a socket.
struct LastLook {
    observer: Observer,
    /// Whether the kernel's limit is lifted, since the peer's window is closed.
    lifted: bool,
}

/// What is reported of a flow's peer.
pub(super) struct PeerReport {
    pub(super) id: String,
    pub(super) state: Weak<ReservationState>,
    pub(super) timeouts: PeerTimeouts,
    pub(super) reports: Vec<ObservedPeer>,
}

/// How many looks fit a timeout. A state that begins between two of them is found before most of the timeout is over.
const LOOKS_IN_A_TIMEOUT: u64 = 8;

/// The times between two looks at a socket, at least and at most.
const SHORTEST_INTERVAL: Micros = Micros::new(250_000);
const LONGEST_INTERVAL: Micros = Micros::new(4_000_000);

/// The most sockets that are looked at before the engine's task does something else: about two milliseconds.
const MOST_AT_ONCE: usize = 1024;

impl Watches {
    pub(super) fn new(wake: Arc<Notify>) -> Self {
        Self { shared: Arc::default(), wake }
    }

    /// Watches the socket of a reservation until it is [removed](Self::remove).
    pub(super) fn add(
        &self,
        (id, state): (&str, &Arc<ReservationState>),
        socket: PeerSocket,
        timeouts: PeerTimeouts,
        now: Moment,
    ) {
        let Some(interval) = interval(timeouts) else { return };
        let before = timeouts.dead_after.limit().and_then(|limit| socket.watch(limit));
        let watch = SocketWatch {
            id: id.to_owned(),
            state: Arc::downgrade(state),
            socket,
            timeouts,
            before,
            seen: Mutex::new(LastLook { observer: Observer::new(now), lifted: false }),
        };
        let mut shared = self.lock();
        shared.watches.insert(key(state), Arc::new(watch));
        let at = clock::now() + interval;
        if shared.next.is_none_or(|next| at < next) {
            shared.next = Some(at);
            self.wake.notify_one();
        }
    }

    /// The reservation has ended: the socket has its own options again.
    pub(super) fn remove(&self, state: &Arc<ReservationState>) {
        let watch = self.lock().watches.remove(&key(state));
        if let Some(watch) = watch {
            watch.restore();
        }
    }

    /// The reservation is lost. The connection to a dead peer ends; any other has its own options again.
    pub(super) fn lost(&self, state: &Arc<ReservationState>, why: &Loss) {
        if *why != Loss::Dead {
            return self.remove(state);
        }
        let watch = self.lock().watches.remove(&key(state));
        if let Some(watch) = watch {
            watch.socket.give_up();
        }
    }

    /// When the engine's task looks next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.lock().next
    }

    /// Looks at the next sockets: what is to be reported.
    ///
    /// A look may drop the last handle on a socket, whose end [removes](Self::remove) its watch: nothing is locked
    /// meanwhile.
    pub(super) fn look(&self, now: Moment) -> Vec<PeerReport> {
        let chunk = self.lock().chunk();
        let (mut reports, mut gone) = (Vec::new(), Vec::new());
        let last = chunk.last().map(|(key, _)| *key);
        for (key, watch) in chunk {
            match watch.look(now) {
                None => gone.push(key),
                Some(seen) if seen.is_empty() => {}
                Some(seen) => {
                    let (id, state) = (watch.id.clone(), Weak::clone(&watch.state));
                    reports.push(PeerReport { id, state, timeouts: watch.timeouts, reports: seen });
                }
            }
            if !self.lock().watches.contains_key(&key) {
                // It was removed meanwhile, and the look may have set its limit again.
                watch.restore();
            }
        }
        let mut shared = self.lock();
        for key in gone {
            shared.watches.remove(&key);
        }
        shared.schedule(last);
        reports
    }

    fn lock(&self) -> MutexGuard<'_, WatchTable> {
        // The map is whole between any two statements that can panic.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WatchTable {
    /// The next sockets of this round.
    fn chunk(&self) -> Vec<(usize, Arc<SocketWatch>)> {
        let from = self.cursor.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.watches.range((from, Bound::Unbounded)).take(MOST_AT_ONCE);
        next.map(|(key, watch)| (*key, Arc::clone(watch))).collect()
    }

    /// Goes on after this socket at once, or begins another round later.
    fn schedule(&mut self, last: Option<usize>) {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        let is_round_over = last.is_none() || self.watches.range((from, Bound::Unbounded)).next().is_none();
        if !is_round_over {
            (self.cursor, self.next) = (last, Some(clock::now()));
            return;
        }
        self.cursor = None;
        let shortest = self.watches.values().filter_map(|watch| interval(watch.timeouts)).min();
        self.next = shortest.map(|interval| clock::now() + interval);
    }
}

impl SocketWatch {
    /// Looks at the socket; `None` where it is gone.
    fn look(&self, now: Moment) -> Option<Vec<ObservedPeer>> {
        let counters = self.socket.counters()?;
        let (reports, changed) = {
            // It is whole between any two statements that can panic.
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let changed =
                std::mem::replace(&mut seen.lifted, counters.window_closed) != counters.window_closed;
            (seen.observer.look(now, counters), changed)
        };
        if let (Some(_), Timeout::After(limit), true) = (self.before, self.timeouts.dead_after, changed) {
            // A peer whose window is closed is well as long as it answers.
            self.socket.limit((!counters.window_closed).then_some(limit));
        }
        Some(reports)
    }

    fn restore(&self) {
        if let Some(before) = self.before {
            self.socket.restore(before);
        }
    }
}

/// How often a socket is looked at; `None` where both timeouts are off.
fn interval(timeouts: PeerTimeouts) -> Option<Duration> {
    let limits = [timeouts.dead_after.limit(), timeouts.stalled_after.limit()];
    let shortest = limits.into_iter().flatten().min()?;
    let interval =
        (shortest.get() / LOOKS_IN_A_TIMEOUT).clamp(SHORTEST_INTERVAL.get(), LONGEST_INTERVAL.get());
    Some(Duration::from_micros(interval))
}

/// The number of a reservation's state, which no other has while this one is watched.
fn key(state: &Arc<ReservationState>) -> usize {
    Arc::as_ptr(state).addr()
}
