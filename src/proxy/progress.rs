//! How far the two directions of a connection have come.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::bad_start::BadStart;
use super::exchange::Exchange;
use crate::connect::ConnectError;

/// How the way to the origin ended.
#[derive(Debug)]
pub(super) enum UpEnd {
    /// The client has sent its last byte, and the origin has it.
    Finished,
    ClientFailed(io::Error),
    /// The origin takes nothing any more; it may still send.
    OriginFailed,
    /// A later request was refused, of this method.
    Refused {
        error: Box<ConnectError>,
        method: String,
    },
    BadRequest(BadStart),
}

/// How much has passed so far.
#[derive(Debug, Default)]
pub(super) struct Progress {
    up: AtomicU64,
    down: AtomicU64,
    /// The client has sent whole requests.
    between_requests: AtomicBool,
    /// The requests and responses of HTTP.
    pub(super) exchange: Exchange,
    /// The error that a write to the origin has got.
    origin_failed: OnceLock<io::ErrorKind>,
}

impl Progress {
    pub(super) fn add_up(&self, bytes: usize) {
        self.up.fetch_add(u64::try_from(bytes).unwrap_or(0), Ordering::Relaxed);
    }

    pub(super) fn set_between_requests(&self, between: bool) {
        self.between_requests.store(between, Ordering::Relaxed);
    }

    /// Whether the client has sent whole requests, and has the whole response to each of them.
    pub(super) fn is_between_requests(&self) -> bool {
        self.between_requests.load(Ordering::Relaxed) && self.exchange.is_quiet()
    }

    /// A write to the origin has failed. The kernel reports a reset once: a read after it finds an end, as if the origin had
    /// sent all that it wanted to.
    pub(super) fn note_origin(&self, error: &io::Error) {
        // The first one counts.
        let _ = self.origin_failed.set(error.kind());
    }

    /// Why what the origin has sent may not be all, although its side has ended. A broken pipe follows an end that was sent.
    pub(super) fn hidden_reset(&self) -> Option<io::Error> {
        let kind = *self.origin_failed.get()?;
        (kind != io::ErrorKind::BrokenPipe).then(|| kind.into())
    }

    pub(super) fn add_down(&self, bytes: usize) {
        self.down.fetch_add(u64::try_from(bytes).unwrap_or(0), Ordering::Relaxed);
    }

    /// The bytes to the origin and to the client.
    pub(super) fn passed(&self) -> (u64, u64) {
        (self.up.load(Ordering::Relaxed), self.down.load(Ordering::Relaxed))
    }
}

/// How long nothing has passed, seen in steps.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    seen: (u64, u64),
    steps: u32,
    patience: Duration,
}

/// Into how many steps a time without traffic is divided: it is found late by one of them at most.
const QUIET_STEPS: u32 = 8;

impl Quiet {
    /// How long one step of this time is.
    pub(super) fn step(patience: Duration) -> Duration {
        patience / QUIET_STEPS
    }

    /// Another step of this time has gone by: whether nothing has passed for all of it.
    pub(super) fn lasts(&mut self, passed: (u64, u64), patience: Duration) -> bool {
        if self.seen != passed || self.patience != patience {
            *self = Self { seen: passed, steps: 0, patience };
        }
        self.steps += 1;
        self.steps > QUIET_STEPS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_time_is_counted_from_the_last_traffic() {
        let (patience, mut quiet) = (Duration::from_secs(8), Quiet::default());
        // Traffic before each of the first steps.
        assert!((1..20).all(|passed| !quiet.lasts((passed, 0), patience)));
        let lasts = (0..8).map(|_| quiet.lasts((19, 0), patience)).collect::<Vec<_>>();
        assert_eq!(lasts, [[false; 7].as_slice(), &[true]].concat());
        // Another time begins anew.
        assert!(!quiet.lasts((19, 0), Duration::from_secs(1)));
        assert_eq!(Quiet::step(patience), Duration::from_secs(1));
    }
}
