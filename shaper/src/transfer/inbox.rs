//! What other threads tell a worker: new transfers, changed plans, and transfers that are given up.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;

use crate::sys::Doorbell;

/// The messages for a worker. `T` is a new transfer.
///
/// It has at most as many new transfers as the worker takes, and one further message for each transfer.
#[derive(Debug)]
pub(super) struct Inbox<T> {
    queue: Mutex<Queue<T>>,
    doorbell: Doorbell,
    /// The transfers of the worker, and those that are to be its.
    transfers: AtomicUsize,
}

#[derive(Debug)]
struct Queue<T> {
    messages: Vec<Message<T>>,
    state: State,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Open,
    /// The worker is to stop.
    Stopping,
    /// There is no worker any more.
    Closed,
}

/// In the order in which they were sent.
#[derive(Debug)]
pub(super) enum Message<T> {
    Begin(T),
    /// The transfer's plan has changed, or it is given up.
    Look(Arc<Ticket<T>>),
}

/// What a transfer's owner and its worker share.
#[derive(Debug)]
pub(super) struct Ticket<T> {
    inbox: Arc<Inbox<T>>,
    progress: Mutex<Progress>,
    /// The bytes that the socket has accepted.
    sent: AtomicU64,
}

#[derive(Debug)]
struct Progress {
    /// By which the worker knows the transfer, once it does.
    key: Option<u32>,
    /// It has ended or is given up: nothing is sent any more.
    is_over: bool,
    /// The worker has a message to look at it.
    is_announced: bool,
}

impl<T> Inbox<T> {
    /// - **Errors**: no descriptors are left.
    pub(super) fn new() -> io::Result<Self> {
        let queue = Mutex::new(Queue { messages: Vec::new(), state: State::Open });
        Ok(Self { queue, doorbell: Doorbell::new()?, transfers: AtomicUsize::new(0) })
    }

    pub(super) const fn doorbell(&self) -> &Doorbell {
        &self.doorbell
    }

    /// The transfers of the worker.
    pub(super) fn transfers(&self) -> usize {
        self.transfers.load(Ordering::Relaxed)
    }

    /// Counts another transfer, unless there are `most`.
    pub(super) fn reserve(&self, most: usize) -> bool {
        let add = |count: usize| (count < most).then_some(count + 1);
        self.transfers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
    }

    /// A transfer that was counted has ended.
    pub(super) fn leave(&self) {
        self.transfers.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether the worker takes transfers.
    pub(super) fn is_open(&self) -> bool {
        self.queue().state == State::Open
    }

    /// Hands a transfer to the worker, or back where that stops.
    pub(super) fn begin(&self, transfer: T) -> Result<(), T> {
        {
            let mut queue = self.queue();
            if queue.state != State::Open {
                return Err(transfer);
            }
            queue.messages.push(Message::Begin(transfer));
        }
        self.doorbell.ring();
        Ok(())
    }

    /// Asks the worker to stop.
    pub(super) fn stop(&self) {
        {
            let mut queue = self.queue();
            if queue.state == State::Open {
                queue.state = State::Stopping;
            }
        }
        self.doorbell.ring();
    }

    /// Moves the messages to `into`, which is empty, and says whether the worker is to stop.
    pub(super) fn take(&self, into: &mut Vec<Message<T>>) -> bool {
        let mut queue = self.queue();
        std::mem::swap(&mut queue.messages, into);
        queue.state != State::Open
    }

    /// The worker has ended: returns the messages that it has not seen.
    pub(super) fn close(&self) -> Vec<Message<T>> {
        let mut queue = self.queue();
        queue.state = State::Closed;
        std::mem::take(&mut queue.messages)
    }

    fn look(&self, ticket: Arc<Ticket<T>>) {
        {
            let mut queue = self.queue();
            if queue.state == State::Closed {
                return;
            }
            queue.messages.push(Message::Look(ticket));
        }
        self.doorbell.ring();
    }

    fn queue(&self) -> MutexGuard<'_, Queue<T>> {
        // A queue is whole between any two statements that can panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Ticket<T> {
    pub(super) fn new(inbox: Arc<Inbox<T>>) -> Self {
        let progress = Progress { key: None, is_over: false, is_announced: false };
        Self { inbox, progress: Mutex::new(progress), sent: AtomicU64::new(0) }
    }

    /// The bytes that the socket has accepted.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Sends by `send`, which gives how much, unless the transfer is over: then `None`. Calls `complete` with what was sent.
    pub(super) fn send<E>(
        &self,
        send: impl FnOnce() -> Result<usize, E>,
        complete: &mut dyn FnMut(Option<usize>),
    ) -> Option<Result<usize, E>> {
        // Locked until it is counted: after `give_up`, nothing is sent, and what was sent is in all counters.
        let progress = self.progress();
        if progress.is_over {
            complete(None);
            return None;
        }
        let result = send();
        let sent = result.as_ref().ok().copied();
        self.sent.fetch_add(sent.unwrap_or(0) as u64, Ordering::Relaxed);
        complete(sent);
        Some(result)
    }

    /// Nothing is sent from now on; the worker forgets the transfer.
    pub(super) fn give_up(self: &Arc<Self>) {
        let was_over = std::mem::replace(&mut self.progress().is_over, true);
        if !was_over {
            self.announce();
        }
    }

    /// The worker has the transfer under this key, from now on or no more.
    pub(super) fn set_key(&self, key: Option<u32>) {
        let mut progress = self.progress();
        progress.key = key;
        progress.is_over |= key.is_none();
    }

    /// The worker looks at the transfer, which it may have forgotten.
    pub(super) fn looked(&self) -> Option<u32> {
        let mut progress = self.progress();
        progress.is_announced = false;
        progress.key
    }

    /// Whether the transfer has ended or is given up.
    pub(super) fn is_over(&self) -> bool {
        self.progress().is_over
    }

    fn announce(self: &Arc<Self>) {
        if !std::mem::replace(&mut self.progress().is_announced, true) {
            self.inbox.look(Arc::clone(self));
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        // Whole between any two statements that can panic.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Send> Wake for Ticket<T> {
    fn wake(self: Arc<Self>) {
        self.announce();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.announce();
    }
}
