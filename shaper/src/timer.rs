//! Timers: tokio's timing wheel where a millisecond does not matter, the kernel's high-resolution timer where it
//! does.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use flowspec::Timestamp;
use tokio::time::Sleep;

use crate::clock;
use crate::plan::Plan;
use crate::sys::PreciseTimer;

/// Both kinds of timer, each created when it is first needed.
#[derive(Default)]
pub(crate) struct Timer {
    coarse: Option<Pin<Box<Sleep>>>,
    precise: Option<PreciseTimer>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct TimedWait {
    pub(crate) until: Timestamp,
    pub(crate) precise: bool,
}

impl TimedWait {
    /// The end of the wait for a flow with this plan where one thread serves many: with others that have the same
    /// [slot](Plan::slot).
    pub(crate) fn shared_end(self, plan: Option<&Plan>) -> Timestamp {
        let Some(slot) = plan.and_then(Plan::slot) else { return self.until };
        let slot = slot.get().saturating_mul(1000);
        // Rounded up: never early.
        Timestamp::from_nanos(self.until.as_nanos().div_ceil(slot).saturating_mul(slot))
    }
}

impl Timer {
    /// Ready at the time of the wait, never earlier.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, wait: TimedWait) -> Poll<io::Result<()>> {
        if wait.precise {
            let timer = match &mut self.precise {
                Some(timer) => timer,
                None => self.precise.insert(PreciseTimer::new()?),
            };
            return timer.poll_until(cx, clock::now(), wait.until);
        }
        let deadline = clock::instant(wait.until);
        let sleep = self.coarse.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(Ok(()))
    }
}
