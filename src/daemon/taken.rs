//! Something that was read, and is not read again for some time.

use std::sync::Arc;
use std::time::Duration;

use flowspec::Timestamp;
use shaper::clock;

/// Something that was read, and until when it is not read again.
pub(super) struct Taken<T> {
    what: Arc<T>,
    keeps_until: Timestamp,
}

/// The part of the time in which something is read: one in so many.
const SHARE: u32 = 10;

impl<T> Taken<T> {
    /// What was read from `began` until now. It is kept for a multiple of the time that the reading took.
    pub(super) fn read(what: T, began: Timestamp) -> Self {
        let now = clock::now();
        let keeps_until = now.saturating_add(now.saturating_since(began) * SHARE);
        Self { what: Arc::new(what), keeps_until }
    }

    /// What was read, to be kept for this time.
    pub(super) fn keeping(what: T, time: Duration) -> Self {
        Self { what: Arc::new(what), keeps_until: clock::now().saturating_add(time) }
    }

    /// What was read, whether it is kept still or not.
    pub(super) fn what(&self) -> Arc<T> {
        Arc::clone(&self.what)
    }

    /// What was read, if it is kept still.
    pub(super) fn kept(last: &Option<Self>) -> Option<Arc<T>> {
        last.as_ref().filter(|taken| clock::now() < taken.keeps_until).map(Self::what)
    }

    /// What was read last, or what is read now: not before a multiple of the time has passed that the reading took.
    pub(super) fn or_read(last: &mut Option<Self>, read: impl FnOnce() -> T) -> Arc<T> {
        if let Some(kept) = Self::kept(last) {
            return kept;
        }
        let began = clock::now();
        last.insert(Self::read(read(), began)).what()
    }
}
