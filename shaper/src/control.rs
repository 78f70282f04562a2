//! The handle on a socket's shaping.
//!
//! The socket's adapter and the code that changes its plans share a [`Control`]; each direction is locked by itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flowspec::{Bytes, Direction};
use tokio::sync::Notify;

use crate::clock;
use crate::direction_state::{Acquired, DirectionState, Stats};
use crate::plan::Plan;

/// The handle on a socket's shaping: cheap to clone, usable from any thread. Neither direction is shaped at first.
#[derive(Clone, Default)]
pub struct Control(Arc<Directions>);

/// The answer to [`Control::acquire`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Credit {
    /// This many bytes of payload may pass now. Their tokens are taken; [`Control::complete`] follows.
    Granted(usize),
    /// Nothing may pass until this much time has passed.
    Wait(Duration),
}

#[derive(Default)]
struct Directions {
    sending: Mutex<DirectionState>,
    receiving: Mutex<DirectionState>,
    plan_changed: Notify,
}

impl Control {
    /// Asks for the tokens of `wanted` bytes of payload, for callers that wait by themselves.
    ///
    /// A stream may be granted less than it wants; a datagram passes whole.
    pub fn acquire(&self, direction: Direction, wanted: usize) -> Credit {
        let mut state = self.state(direction);
        // A direction that is not shaped needs no clock.
        if !state.is_shaped() {
            return Credit::Granted(wanted);
        }
        let now = clock::now();
        match state.acquire(now, wanted) {
            Acquired::Granted(payload) => Credit::Granted(payload),
            Acquired::Wait(wait) => Credit::Wait(wait.until.saturating_since(now)),
        }
    }

    /// Completes a transfer that [`acquire`](Self::acquire) has granted: counts the payload that passed and refunds
    /// the tokens of the rest.
    ///
    /// `passed` is `None` where the transfer failed: then it cost nothing.
    pub fn complete(&self, direction: Direction, granted: usize, passed: Option<usize>) {
        let mut state = self.state(direction);
        if state.is_shaped() {
            state.complete(clock::now(), granted, passed);
        } else {
            state.count(passed);
        }
    }

    /// The largest payload of a datagram, where the direction is shaped.
    pub fn largest_datagram(&self, direction: Direction) -> Option<u64> {
        self.state(direction).plan().map(Plan::largest_datagram)
    }

    /// Shapes a direction by this plan from now on, or stops shaping it. Wakes the tasks that wait for tokens.
    ///
    /// A direction that is shaped keeps its tokens, up to the new depth. One that was shaped before starts without the
    /// tokens that it has taken and that would not have been refilled yet; any other starts with a full bucket.
    pub fn set(&self, direction: Direction, plan: Option<Plan>) {
        self.set_owing(direction, plan, Bytes::ZERO);
    }

    /// The same for a direction whose bucket starts without at least `owed` tokens, since others have taken them.
    pub fn set_owing(&self, direction: Direction, plan: Option<Plan>, owed: Bytes) {
        let waker = {
            let mut state = self.state(direction);
            state.set_plan(clock::now(), plan, owed);
            state.take_waker()
        };
        self.0.plan_changed.notify_waiters();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The tokens of a direction that were taken and are not refilled yet, in bytes of IP datagrams.
    pub fn owed(&self, direction: Direction) -> Bytes {
        self.state(direction).owed(clock::now())
    }

    /// The plan of a direction, where it is shaped.
    pub fn plan(&self, direction: Direction) -> Option<Plan> {
        self.state(direction).plan().copied()
    }

    /// What has passed in a direction.
    pub fn stats(&self, direction: Direction) -> Stats {
        self.state(direction).stats()
    }

    /// Asserts what holds after every call, in debug builds: each direction's plan and buckets are consistent.
    pub fn invariants(&self) {
        Direction::BOTH.into_iter().for_each(|direction| self.state(direction).invariants());
    }

    pub(crate) fn state(&self, direction: Direction) -> MutexGuard<'_, DirectionState> {
        let state = match direction {
            Direction::Sending => &self.0.sending,
            Direction::Receiving => &self.0.receiving,
        };
        // A state is consistent between any two statements that can panic.
        state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notified whenever a plan changes.
    pub(crate) fn plan_changed(&self) -> &Notify {
        &self.0.plan_changed
    }
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plan = |direction| self.plan(direction);
        let (sending, receiving) = (plan(Direction::Sending), plan(Direction::Receiving));
        f.debug_struct("Control").field("sending", &sending).field("receiving", &receiving).finish()
    }
}
