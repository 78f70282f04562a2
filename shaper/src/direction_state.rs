//! One direction of a socket: its limiter, where it is shaped, and its counters.

use std::task::Waker;

use flowspec::{Bytes, Timestamp};

use crate::bucket::Bucket;
use crate::debts::Debts;
use crate::limiter::{Deficit, Due, Limiter};
use crate::plan::{Framing, Plan, Segments};
use crate::release::Release;
use crate::timer::TimedWait;

/// What has passed in one direction.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Bytes of payload that passed.
    pub bytes: u64,
    /// Tokens that the payload cost while the direction was shaped, in bytes of IP datagrams.
    pub charged: u64,
    /// How often data had to wait for tokens.
    pub waits: u64,
}

impl Stats {
    /// A number that grows with everything that passes, an empty datagram included while the direction is shaped.
    pub const fn passed(&self) -> u64 {
        self.bytes.wrapping_add(self.charged)
    }
}

/// One direction of a socket.
#[derive(Default)]
pub(crate) struct DirectionState {
    shaping: Shaping,
    debts: Debts,
    stats: Stats,
    waiting: Option<Waker>,
}

#[derive(Default)]
enum Shaping {
    /// No reservation: data never waits.
    #[default]
    Off,
    /// Apart, since most sockets are shaped in one direction alone.
    On(Box<Shaped>),
}

struct Shaped {
    plan: Plan,
    limiter: Bucket,
    /// Tokens of transfers that are not completed: the most that may be refunded. A transfer that began while the
    /// direction was not shaped has taken none.
    taken: Bytes,
    release: Release,
}

/// The answer to [`DirectionState::acquire`].
pub(crate) enum Acquired {
    /// This many bytes of payload may pass now. Their tokens are taken; [`DirectionState::complete`] follows.
    Granted(usize),
    /// Nothing may pass before this time.
    Wait(TimedWait),
}

impl DirectionState {
    /// Shapes the direction by a plan from now on, or stops shaping it.
    ///
    /// What was taken from the buckets of the plan before, and does not fit into those of the new one, is owed by the
    /// direction until it would have been refilled. Buckets that are made start without what is owed, or without
    /// `owed` where that is more.
    pub(crate) fn set_plan(&mut self, now: Timestamp, plan: Option<Plan>, owed: Bytes) {
        match (&mut self.shaping, plan) {
            (Shaping::Off, None) => {}
            (Shaping::On(shaped), None) => {
                let Shaped { plan, limiter, .. } = &mut **shaped;
                self.debts.owe(now, plan, limiter.deficit(now));
                self.shaping = Shaping::Off;
            }
            (Shaping::On(shaped), Some(new)) => {
                let Shaped { plan, limiter, release, .. } = &mut **shaped;
                let before = limiter.deficit(now);
                limiter.set_plan(now, &new);
                let after = limiter.deficit(now);
                let sustained = before.sustained.saturating_sub(after.sustained);
                let peak = before.peak.saturating_sub(after.peak);
                self.debts.owe(now, plan, Deficit { sustained, peak });
                *plan = new;
                *release = Release::default();
            }
            (Shaping::Off, Some(plan)) => {
                let mut limiter = Bucket::new(&plan, now);
                let Deficit { sustained, peak } = self.debts.take_over(now, &plan);
                limiter.withdraw(now, Deficit { sustained: sustained.max(owed), peak });
                let (taken, release) = (Bytes::ZERO, Release::default());
                self.shaping = Shaping::On(Box::new(Shaped { plan, limiter, taken, release }));
            }
        }
        self.invariants();
    }

    /// The tokens of sustained buckets that were taken and are not refilled yet.
    pub(crate) fn owed(&mut self, now: Timestamp) -> Bytes {
        let before = self.debts.sustained(now);
        match &mut self.shaping {
            Shaping::Off => before,
            Shaping::On(shaped) => before.saturating_add(shaped.limiter.deficit(now).sustained),
        }
    }

    /// The plan, where the direction is shaped.
    pub(crate) const fn plan(&self) -> Option<&Plan> {
        match &self.shaping {
            Shaping::Off => None,
            Shaping::On(shaped) => Some(&shaped.plan),
        }
    }

    pub(crate) const fn is_shaped(&self) -> bool {
        matches!(self.shaping, Shaping::On(_))
    }

    pub(crate) const fn stats(&self) -> Stats {
        self.stats
    }

    /// How much of `wanted` payload may pass now.
    ///
    /// A stream waits until there are tokens for a quantum (or for all that is wanted), or, where its plan has a
    /// period, until the time of its next release; then it gets as much as there are tokens for: tokens that arrived
    /// while a timer was late are used at once. A datagram passes whole.
    pub(crate) fn acquire(&mut self, now: Timestamp, wanted: usize) -> Acquired {
        let Shaping::On(shaped) = &mut self.shaping else {
            return Acquired::Granted(wanted);
        };
        let Shaped { plan, limiter, taken, release } = &mut **shaped;
        let wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
        let least = match (plan.framing, plan.period) {
            (Framing::Stream { segment, .. }, Some(_)) => wanted.min(segment),
            (Framing::Stream { .. }, None) => wanted.min(plan.payload_within(plan.quantum)),
            (Framing::Datagram { .. }, _) => wanted,
        };
        let due = release.due(now, plan.period, limiter.due(now, plan.charge(least)));
        if let Due::At(until) = due {
            self.stats.waits += 1;
            return Acquired::Wait(TimedWait { until, precise: !plan.tolerates_coarse_timers() });
        }
        debug_assert!(due == Due::Now, "a quantum and a datagram of at most M fit the bucket");
        let payload = match plan.framing {
            Framing::Stream { .. } => wanted.min(plan.payload_within(limiter.available(now))).max(least),
            Framing::Datagram { .. } => wanted,
        };
        let conforms = limiter.take(now, plan.charge(payload));
        debug_assert!(conforms, "a packet that is due now may leave");
        *taken = taken.saturating_add(plan.charge(payload));
        self.invariants();
        // `payload` is at most `wanted`, which was a usize.
        Acquired::Granted(usize::try_from(payload).unwrap_or(usize::MAX))
    }

    /// How much of these datagrams may pass now, as one batch. [`complete_segments`] follows with it.
    ///
    /// [`complete_segments`]: Self::complete_segments
    pub(crate) fn acquire_segments(&mut self, now: Timestamp, segments: Segments) -> Acquired {
        let Shaping::On(shaped) = &mut self.shaping else {
            return Acquired::Granted(usize::try_from(segments.payload).unwrap_or(usize::MAX));
        };
        let Shaped { plan, limiter, taken, .. } = &mut **shaped;
        let batch = plan.batch(segments);
        let cost = plan.charge_segments(batch);
        let due = limiter.due(now, cost);
        if let Due::At(until) = due {
            self.stats.waits += 1;
            return Acquired::Wait(TimedWait { until, precise: !plan.tolerates_coarse_timers_for(cost) });
        }
        debug_assert!(due == Due::Now, "a batch fits the bucket");
        let conforms = limiter.take(now, cost);
        debug_assert!(conforms, "a batch that is due now may leave");
        *taken = taken.saturating_add(cost);
        self.invariants();
        Acquired::Granted(usize::try_from(batch.payload).unwrap_or(usize::MAX))
    }

    /// Completes a batch of datagrams, of which all have passed or none.
    pub(crate) fn complete_segments(&mut self, now: Timestamp, batch: Segments, passed: bool) {
        if passed {
            self.stats.bytes += batch.payload;
        }
        if let Shaping::On(shaped) = &mut self.shaping {
            let Shaped { plan, limiter, taken, .. } = &mut **shaped;
            let cost = plan.charge_segments(batch);
            match passed {
                true => self.stats.charged += cost.get(),
                false => limiter.refund(now, cost.min(*taken)),
            }
            *taken = taken.saturating_sub(cost);
        }
        self.invariants();
    }

    /// Completes a transfer: counts the payload that passed and refunds the tokens of the rest.
    ///
    /// `passed` is `None` where the transfer failed: then it cost nothing, not even a datagram's headers.
    pub(crate) fn complete(&mut self, now: Timestamp, granted: usize, passed: Option<usize>) {
        self.count(passed);
        let (granted, passed) = (granted as u64, passed.map(|passed| passed as u64));
        if let Shaping::On(shaped) = &mut self.shaping {
            let Shaped { plan, limiter, taken, .. } = &mut **shaped;
            let charged = passed.map_or(Bytes::ZERO, |passed| plan.charge(passed));
            let cost = plan.charge(granted);
            limiter.refund(now, cost.saturating_sub(charged).min(*taken));
            *taken = taken.saturating_sub(cost);
            self.stats.charged += charged.get();
        }
        self.invariants();
    }

    /// Counts payload that passed without tokens.
    pub(crate) fn count(&mut self, passed: Option<usize>) {
        self.stats.bytes += passed.unwrap_or(0) as u64;
    }

    /// Remembers the task to wake when the plan changes.
    pub(crate) fn wake_on_change(&mut self, waker: &Waker) {
        match &mut self.waiting {
            Some(waiting) => waiting.clone_from(waker),
            None => self.waiting = Some(waker.clone()),
        }
    }

    /// The task that waits for tokens, which is no longer remembered.
    pub(crate) const fn take_waker(&mut self) -> Option<Waker> {
        self.waiting.take()
    }

    /// Asserts what holds after every call, in debug builds: the plan's invariants and the limiter's.
    pub(crate) fn invariants(&self) {
        if cfg!(debug_assertions)
            && let Shaping::On(shaped) = &self.shaping
        {
            shaped.plan.invariants();
            shaped.limiter.invariants();
        }
    }
}
