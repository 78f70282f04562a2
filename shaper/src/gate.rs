//! What stands between a socket and the network: one lane for each direction, shaped or free.
//!
//! A [`Control`] is shared by the socket's adapter and by whoever may change its plan while it runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use flowspec::Direction;
use tokio::sync::Notify;

use crate::bucket::Bucket;
use crate::clock;
use crate::limiter::{Due, Limiter, Moment};
use crate::plan::{Framing, Plan};
use crate::timer::Wait;

/// The handle on a socket's shaping: cheap to clone, usable from any thread.
#[derive(Clone, Default)]
pub struct Control(Arc<Lanes>);

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plan = |direction| self.plan(direction);
        let (sending, receiving) = (plan(Direction::Sending), plan(Direction::Receiving));
        f.debug_struct("Control").field("sending", &sending).field("receiving", &receiving).finish()
    }
}

/// What has passed in one direction.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Payload that passed.
    pub bytes: u64,
    /// What it was charged, headers and small datagrams included.
    pub charged: u64,
    /// How often data had to wait for credit.
    pub waits: u64,
}

#[derive(Default)]
struct Lanes {
    sending: Mutex<Lane>,
    receiving: Mutex<Lane>,
    replanned: Notify,
}

#[derive(Default)]
pub(crate) struct Lane {
    shaping: Shaping,
    stats: Stats,
    waiting: Option<Waker>,
}

/// A direction without a reservation is free: its lane never waits.
#[derive(Default)]
enum Shaping {
    #[default]
    Free,
    Held {
        plan: Plan,
        limiter: Box<dyn Limiter>,
    },
}

/// What a lane answers.
pub(crate) enum Verdict {
    /// This much payload may pass; it has been taken and is settled afterwards.
    Go(usize),
    /// Ask again then.
    Wait(Wait),
}

/// What a caller that waits by itself is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Turn {
    /// This much payload may pass now. It is taken; what passes of it is [settled](Control::settle).
    Go(usize),
    /// Nothing may pass before this time has.
    Wait(Duration),
}

impl Control {
    /// Asks for credit, for callers that are not futures: how much of `wanted` may pass now, or how long
    /// nothing may.
    pub fn turn(&self, direction: Direction, wanted: usize) -> Turn {
        let mut lane = self.lane(direction);
        // What is free needs no clock.
        if lane.is_free() {
            return Turn::Go(wanted);
        }
        let now = clock::now();
        match lane.ask(now, wanted) {
            Verdict::Go(granted) => Turn::Go(granted),
            Verdict::Wait(wait) => Turn::Wait(Duration::from_nanos(wait.until.since(now))),
        }
    }

    /// Settles a [turn](Self::turn): of what was granted so much passed; nothing at all where it failed.
    pub fn settle(&self, direction: Direction, granted: usize, passed: Option<usize>) {
        let mut lane = self.lane(direction);
        if lane.is_free() {
            lane.count(passed);
        } else {
            lane.settle(clock::now(), granted, passed);
        }
    }

    /// The largest payload of a datagram that may be sent, where the direction is shaped.
    pub fn largest_datagram(&self, direction: Direction) -> Option<u64> {
        self.lane(direction).largest_datagram()
    }

    /// Shapes a direction by this plan from now on, or frees it.
    ///
    /// A direction that was shaped before keeps its credit, up to the new depth.
    pub fn set(&self, direction: Direction, plan: Option<Plan>) {
        let waker = {
            let mut lane = self.lane(direction);
            lane.replan(clock::now(), plan);
            lane.waiting.take()
        };
        self.0.replanned.notify_waiters();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The plan of a direction, if it is shaped.
    pub fn plan(&self, direction: Direction) -> Option<Plan> {
        match &self.lane(direction).shaping {
            Shaping::Free => None,
            Shaping::Held { plan, .. } => Some(*plan),
        }
    }

    /// What has passed.
    pub fn stats(&self, direction: Direction) -> Stats {
        self.lane(direction).stats
    }

    pub(crate) fn lane(&self, direction: Direction) -> MutexGuard<'_, Lane> {
        let lane = match direction {
            Direction::Sending => &self.0.sending,
            Direction::Receiving => &self.0.receiving,
        };
        // A lane is consistent between any two statements that can panic.
        lane.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Woken whenever a plan changes.
    pub(crate) fn replanned(&self) -> &Notify {
        &self.0.replanned
    }
}

impl Lane {
    fn replan(&mut self, now: Moment, plan: Option<Plan>) {
        let Some(plan) = plan else {
            self.shaping = Shaping::Free;
            return;
        };
        match &mut self.shaping {
            Shaping::Held { plan: held, limiter } => {
                limiter.replan(now, &plan);
                *held = plan;
            }
            Shaping::Free => {
                self.shaping = Shaping::Held { limiter: Box::new(Bucket::new(&plan, now)), plan };
            }
        }
    }

    const fn is_free(&self) -> bool {
        matches!(self.shaping, Shaping::Free)
    }

    /// So much payload has passed.
    fn count(&mut self, passed: Option<usize>) {
        self.stats.bytes += passed.unwrap_or(0) as u64;
    }

    /// How much of `wanted` payload may pass now.
    ///
    /// A stream is released once a quantum (or all that is wanted) has credit, and then as much as
    /// there is credit for, so that a late timer is made good at once. A datagram passes whole.
    pub(crate) fn ask(&mut self, now: Moment, wanted: usize) -> Verdict {
        let Shaping::Held { plan, limiter } = &mut self.shaping else { return Verdict::Go(wanted) };
        let wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
        let least = match plan.framing {
            Framing::Stream { .. } => wanted.min(plan.payload_within(plan.quantum.get())),
            Framing::Datagram { .. } => wanted,
        };
        let due = limiter.due(now, plan.charge(least));
        if let Due::At(until) = due {
            self.stats.waits += 1;
            return Verdict::Wait(Wait { until, precise: !plan.tolerates_coarse_timers() });
        }
        debug_assert!(due == Due::Now, "a quantum and a datagram of at most M fit the bucket");
        let payload = match plan.framing {
            Framing::Stream { .. } => wanted.min(plan.payload_within(limiter.available(now))).max(least),
            Framing::Datagram { .. } => wanted,
        };
        let taken = limiter.take(now, plan.charge(payload));
        debug_assert!(taken, "what is due may leave");
        // `payload` is at most `wanted`, which was a usize.
        Verdict::Go(usize::try_from(payload).unwrap_or(usize::MAX))
    }

    /// Settles an answer: of `granted` payload, `passed` did, or nothing
    /// was sent at all; the rest is refunded.
    pub(crate) fn settle(&mut self, now: Moment, granted: usize, passed: Option<usize>) {
        self.count(passed);
        let (granted, passed) = (granted as u64, passed.map(|passed| passed as u64));
        if let Shaping::Held { plan, limiter } = &mut self.shaping {
            let charged = passed.map_or(0, |passed| plan.charge(passed));
            limiter.refund(now, plan.charge(granted).saturating_sub(charged));
            self.stats.charged += charged;
        }
    }

    /// Whom to wake when the plan changes.
    pub(crate) fn wait(&mut self, waker: &Waker) {
        match &mut self.waiting {
            Some(waiting) => waiting.clone_from(waker),
            None => self.waiting = Some(waker.clone()),
        }
    }

    /// The largest datagram payload that may pass at all.
    pub(crate) fn largest_datagram(&self) -> Option<u64> {
        match &self.shaping {
            Shaping::Held { plan, .. } => Some(plan.max_sdu_size.get().saturating_sub(plan.framing.header())),
            Shaping::Free => None,
        }
    }
}
