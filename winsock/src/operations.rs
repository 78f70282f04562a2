//! The queues of overlapped operations on a socket.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flowspec::{Both, Direction, Wsa};
use tokio::sync::Notify;

use super::Result;

/// Performs an operation on a socket of type `E`, or continues it: WSAEWOULDBLOCK where it has to wait for the socket.
pub(crate) type Attempt<E> = Box<dyn FnMut(&Arc<E>) -> Result<u32> + Send>;

/// Takes the result of an operation.
pub(crate) type Completion = Box<dyn FnOnce(Result<u32>) + Send>;

/// An operation. When it is dropped before it has completed, it completes with WSA_OPERATION_ABORTED.
pub(crate) struct PendingOperation<E> {
    pub(crate) attempt: Attempt<E>,
    completion: Option<Completion>,
}

impl<E> PendingOperation<E> {
    pub(crate) fn new(attempt: Attempt<E>, completion: Completion) -> Self {
        Self { attempt, completion: Some(completion) }
    }

    pub(crate) fn complete(mut self, result: Result<u32>) {
        if let Some(completion) = self.completion.take() {
            completion(result);
        }
    }
}

impl<E> Drop for PendingOperation<E> {
    fn drop(&mut self) {
        if let Some(completion) = self.completion.take() {
            completion(Err(Wsa::OperationAborted));
        }
    }
}

/// The operations of a socket that have not completed: one queue for each direction.
pub(crate) struct Operations<E> {
    queues: Both<Mutex<OperationQueue<E>>>,
    /// Notified when a QoS status was added or the socket was closed.
    pub(crate) changed: Notify,
}

struct OperationQueue<E> {
    waiting: VecDeque<PendingOperation<E>>,
    /// A task of the reactor performs the operations.
    is_served: bool,
}

/// The most operations that wait on a socket in one direction.
const MAX_WAITING: usize = 4096;

impl<E> Default for OperationQueue<E> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), is_served: false }
    }
}

impl<E> Default for Operations<E> {
    fn default() -> Self {
        Self {
            queues: Both { sending: Mutex::default(), receiving: Mutex::default() },
            changed: Notify::new(),
        }
    }
}

impl<E> std::fmt::Debug for Operations<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operations").finish_non_exhaustive()
    }
}

impl<E> Operations<E> {
    fn queue(&self, direction: Direction) -> MutexGuard<'_, OperationQueue<E>> {
        // A queue is consistent between any two statements that can panic.
        self.queues.get(direction).lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an operation, which completes with WSAENOBUFS where too many wait. Returns whether a task has to be
    /// started for the queue.
    pub(crate) fn push(&self, direction: Direction, operation: PendingOperation<E>) -> bool {
        let mut queue = self.queue(direction);
        if queue.waiting.len() >= MAX_WAITING {
            drop(queue);
            operation.complete(Err(Wsa::Enobufs));
            return false;
        }
        queue.waiting.push_back(operation);
        !std::mem::replace(&mut queue.is_served, true)
    }

    /// Takes the next operation. Where there is none, the task that asks is not the queue's any more.
    pub(crate) fn next(&self, direction: Direction) -> Option<PendingOperation<E>> {
        let mut queue = self.queue(direction);
        let next = queue.waiting.pop_front();
        queue.is_served = next.is_some();
        next
    }

    /// Waits until `find` finds something. It is called at first and after each change.
    pub(crate) async fn until<T>(&self, mut find: impl FnMut() -> Option<T>) -> T {
        loop {
            let mut changed = pin!(self.changed.notified());
            // Registers before the call, so that no change after it is missed.
            changed.as_mut().enable();
            if let Some(found) = find() {
                return found;
            }
            changed.await;
        }
    }
}
