//! The task that serves a netlink connection.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

/// How many requests have been queued since the connection was polled last.
#[derive(Clone, Debug, Default)]
pub(super) struct Queued(Arc<AtomicUsize>);

/// A netlink connection that sends every queued request.
///
/// netlink-proto sends one request each time it is polled, and relies on the answer to wake it for the next. A request
/// whose answer is lost would hold up the one behind it, which may be for another interface.
pub(super) struct Serve<C> {
    connection: C,
    queued: Queued,
}

impl Queued {
    /// Counts a request. Comes before the request is queued, so that the poll which it wakes sees it.
    pub(super) fn count(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

impl<C> Serve<C> {
    pub(super) const fn new(connection: C, queued: Queued) -> Self {
        Self { connection, queued }
    }
}

impl<C: Future<Output = ()> + Unpin> Future for Serve<C> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let queued = this.queued.0.swap(0, Ordering::Acquire);
        for _ in 1..queued {
            if Pin::new(&mut this.connection).poll(context).is_ready() {
                return Poll::Ready(());
            }
        }
        Pin::new(&mut this.connection).poll(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends one request each time it is polled, and ends after so many.
    struct CountedConnection {
        sent: usize,
        last: usize,
    }

    impl Future for CountedConnection {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            self.sent += 1;
            if self.sent == self.last { Poll::Ready(()) } else { Poll::Pending }
        }
    }

    #[test]
    fn one_poll_sends_all_queued_requests() {
        let queued = Queued::default();
        let mut serve = Serve::new(CountedConnection { sent: 0, last: 7 }, queued.clone());
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut poll = |requests: usize| {
            (0..requests).for_each(|_| queued.count());
            let ended = Pin::new(&mut serve).poll(&mut context).is_ready();
            (serve.connection.sent, ended)
        };
        assert_eq!(poll(0), (1, false), "an answer is read");
        assert_eq!(poll(1), (2, false));
        assert_eq!(poll(3), (5, false));
        assert_eq!(poll(0), (6, false));
        assert_eq!(poll(9), (7, true), "an ended connection is not polled again");
    }
}
