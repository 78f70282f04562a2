//! How far the two directions of a connection have come.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::bad_start::BadStart;
use crate::connect::ConnectError;

/// How the way to the origin ended.
#[derive(Debug)]
pub(super) enum UpEnd {
    /// The client has sent its last byte, and the origin has it.
    Finished,
    ClientFailed(io::Error),
    /// The origin takes nothing any more; it may still send.
    OriginFailed,
    /// A later request was refused.
    Refused(Box<ConnectError>),
    BadRequest(BadStart),
}

/// How much has passed so far.
#[derive(Debug, Default)]
pub(super) struct Progress {
    up: AtomicU64,
    down: AtomicU64,
    /// The client has sent whole requests.
    between_requests: AtomicBool,
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

    pub(super) fn is_between_requests(&self) -> bool {
        self.between_requests.load(Ordering::Relaxed)
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
