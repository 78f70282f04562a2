//! Operations that are begun now and finished on the reactor: one after the other, each direction by itself.

use std::collections::VecDeque;
use std::future::pending;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flowspec::{Both, Direction, Wsa};
use tokio::io::Interest;
use tokio::sync::Notify;

use super::Result;
use super::provider::provider;
use super::socket::Endpoint;
use super::waiting::without_waiting;

/// Tries to do it, or to go on: WSAEWOULDBLOCK where the socket is to be waited for.
pub(super) type Attempt = Box<dyn FnMut(&Arc<Endpoint>) -> Result<u32> + Send>;

/// Is told how it ended.
pub(super) type Told = Box<dyn FnOnce(Result<u32>) + Send>;

/// An operation; one that is dropped has ended with its socket.
struct Operation {
    attempt: Attempt,
    told: Option<Told>,
}

impl Operation {
    fn end(mut self, result: Result<u32>) {
        if let Some(told) = self.told.take() {
            told(result);
        }
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if let Some(told) = self.told.take() {
            told(Err(Wsa::OperationAborted));
        }
    }
}

/// What is under way on a socket.
#[derive(Default)]
pub(super) struct Later {
    queues: Both<Mutex<Queue>>,
    /// Something was told of the socket's quality, or the socket was closed.
    pub(super) changed: Notify,
}

impl std::fmt::Debug for Later {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Later")
    }
}

/// The most that may wait on a socket in one direction.
const MOST_WAITING: usize = 4096;

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Operation>,
    /// Somebody works it off.
    worked: bool,
}

impl Later {
    fn queue(&self, direction: Direction) -> MutexGuard<'_, Queue> {
        // Whole between any two statements that can panic.
        self.queues.get(direction).lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next operation; nobody works the queue off any more where there is none.
    fn next(&self, direction: Direction) -> Option<Operation> {
        let mut queue = self.queue(direction);
        let next = queue.waiting.pop_front();
        queue.worked = next.is_some();
        next
    }
}

impl Endpoint {
    /// Begins something that moves data in this direction, after what was begun before. `told` hears how it ended, on
    /// the reactor: WSA_OPERATION_ABORTED where the socket was closed meanwhile, WSAENOBUFS where too much waits already.
    ///
    /// - **Errors**: WSANOTINITIALISED.
    pub(super) fn later(self: &Arc<Self>, direction: Direction, attempt: Attempt, told: Told) -> Result<()> {
        let provider = provider()?;
        let operation = Operation { attempt, told: Some(told) };
        let worked = {
            let mut queue = self.later.queue(direction);
            if queue.waiting.len() >= MOST_WAITING {
                drop(queue);
                operation.end(Err(Wsa::Enobufs));
                return Ok(());
            }
            queue.waiting.push_back(operation);
            std::mem::replace(&mut queue.worked, true)
        };
        if !worked {
            let this = Arc::clone(self);
            provider.spawn(async move { this.work_off(direction).await });
        }
        Ok(())
    }

    async fn work_off(self: Arc<Self>, direction: Direction) {
        let interest = match direction {
            Direction::Sending => Interest::WRITABLE,
            Direction::Receiving => Interest::READABLE,
        };
        // Only what has to wait is watched.
        let mut watched = None;
        while let Some(mut operation) = self.later.next(direction) {
            let result = loop {
                if self.is_closed() {
                    break Err(Wsa::OperationAborted);
                }
                let guard = match &watched {
                    None => None,
                    Some(watched) => {
                        let ready = async {
                            match tokio::io::unix::AsyncFd::ready(watched, interest).await {
                                Ok(guard) => guard,
                                // The reactor ends, and this with it.
                                Err(_) => pending().await,
                            }
                        };
                        tokio::select! {
                            guard = ready => Some(guard),
                            () = self.until_closed() => continue,
                        }
                    }
                };
                let (result, until_credit) = without_waiting(|| (operation.attempt)(&self));
                if result != Err(Wsa::Ewouldblock) {
                    break result;
                }
                if let Some(time) = until_credit {
                    tokio::select! {
                        () = tokio::time::sleep(time) => {}
                        () = self.until_closed() => {}
                    }
                } else if let Some(mut guard) = guard {
                    guard.clear_ready();
                } else {
                    match self.watched(interest) {
                        Ok(fresh) => watched = Some(fresh),
                        Err(wsa) => break Err(wsa),
                    }
                }
            };
            operation.end(result);
            // Others have their turn as well.
            tokio::task::yield_now().await;
        }
    }

    /// Until the socket is closed.
    async fn until_closed(&self) {
        self.until(|| self.is_closed().then_some(())).await;
    }

    /// Until there is something to be had, looked for whenever something has changed.
    pub(super) async fn until<T>(&self, mut found: impl FnMut() -> Option<T>) -> T {
        loop {
            let mut changed = pin!(self.later.changed.notified());
            // What changes between the look and the wait is not missed.
            changed.as_mut().enable();
            if let Some(found) = found() {
                return found;
            }
            changed.await;
        }
    }
}
