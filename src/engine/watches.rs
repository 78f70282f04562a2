//! The sockets of reserved flows, looked at by one timer for all of them.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use flowspec::{Micros, Moment};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::absence::{Observer, Report};
use super::clock;
use super::peer::PeerSocket;
use super::reservation::ReservationState;
use crate::linux::peer::PeerOptions;
use crate::manager::Loss;
use crate::policy::{PeerTimeouts, Timeout};

/// The sockets that are watched, shared by the engine's task and its clients. Bounded by the reservations.
#[derive(Clone)]
pub(super) struct Watches {
    shared: Arc<Mutex<Shared>>,
    /// Wakes the engine's task.
    wake: Arc<Notify>,
}

#[derive(Default)]
struct Shared {
    /// By the number of the reservation's state.
    watches: BTreeMap<usize, Watch>,
    /// The last that was looked at in this round.
    cursor: Option<usize>,
    /// When the engine's task looks next; `None` while nothing is watched.
    next: Option<Instant>,
}

/// A socket that is watched.
struct Watch {
    id: String,
    state: Weak<ReservationState>,
    socket: PeerSocket,
    timeouts: PeerTimeouts,
    observer: Observer,
    /// The socket's options before, where the kernel was told to end a dead connection.
    before: Option<PeerOptions>,
    /// Whether that is lifted, since the peer's window is closed.
    lifted: bool,
}

/// What is reported of a flow's peer.
pub(super) struct PeerReport {
    pub(super) id: String,
    pub(super) state: Weak<ReservationState>,
    pub(super) reports: Vec<Report>,
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
        let watch = Watch {
            id: id.to_owned(),
            state: Arc::downgrade(state),
            socket,
            timeouts,
            observer: Observer::new(now),
            before,
            lifted: false,
        };
        let mut shared = self.lock();
        shared.watches.insert(key(state), watch);
        let at = clock::now() + interval;
        if shared.next.is_none_or(|next| at < next) {
            shared.next = Some(at);
            self.wake.notify_one();
        }
    }

    /// The reservation has ended: the socket has its own options again.
    pub(super) fn remove(&self, state: &Arc<ReservationState>) {
        let watch = self.lock().watches.remove(&key(state));
        if let Some(Watch { socket, before: Some(before), .. }) = watch {
            socket.restore(before);
        }
    }

    /// The reservation is lost. The connection to a dead peer ends; any other has its own options again.
    pub(super) fn lost(&self, state: &Arc<ReservationState>, why: &Loss) {
        if *why != Loss::Dead {
            return self.remove(state);
        }
        let watch = self.lock().watches.remove(&key(state));
        if let Some(Watch { socket, .. }) = watch {
            socket.give_up();
        }
    }

    /// When the engine's task looks next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.lock().next
    }

    /// Looks at the next sockets: what is to be reported.
    pub(super) fn look(&self, now: Moment) -> Vec<PeerReport> {
        let mut shared = self.lock();
        let from = shared.cursor.map_or(Bound::Unbounded, Bound::Excluded);
        let (mut reports, mut gone, mut last) = (Vec::new(), Vec::new(), None);
        for (key, watch) in shared.watches.range_mut((from, Bound::Unbounded)).take(MOST_AT_ONCE) {
            last = Some(*key);
            match watch.look(now) {
                None => gone.push(*key),
                Some(seen) if seen.is_empty() => {}
                Some(seen) => {
                    let (id, state) = (watch.id.clone(), Weak::clone(&watch.state));
                    reports.push(PeerReport { id, state, reports: seen });
                }
            }
        }
        for key in gone {
            shared.watches.remove(&key);
        }
        shared.schedule(last);
        reports
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // The map is whole between any two statements that can panic.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
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

impl Watch {
    /// Looks at the socket; `None` where it is gone.
    fn look(&mut self, now: Moment) -> Option<Vec<Report>> {
        let seen = self.socket.counters()?;
        if let (Some(_), Timeout::After(limit)) = (self.before, self.timeouts.dead_after)
            && self.lifted != seen.window_closed
        {
            // A peer whose window is closed is well as long as it answers.
            self.lifted = seen.window_closed;
            self.socket.limit((!self.lifted).then_some(limit));
        }
        Some(self.observer.look(now, seen))
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
