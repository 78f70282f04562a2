//! The thread of a worker: waits, reads the clock, and advances the transfers whose turn it is.

use std::io;
use std::sync::Arc;
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::error::{TransferError, TransferProblem};
use super::inbox::{Inbox, Message, Ticket};
use super::payload::Payload;
use super::schedule::{Complete, Ended, Outlet, Schedule, Scheduled};
use crate::clock;
use crate::control::Control;
use crate::sys::{Poller, Readiness, prepare_sending_thread};

/// A transfer on its way to a worker.
pub(super) struct NewTransfer {
    pub(super) socket: Arc<TcpStream>,
    pub(super) control: Control,
    pub(super) payload: Payload,
    pub(super) ticket: Arc<TransferTicket>,
    pub(super) done: oneshot::Sender<Result<u64, TransferError>>,
}

pub(super) type TransferInbox = Inbox<NewTransfer>;
pub(super) type TransferTicket = Ticket<NewTransfer>;

/// The socket of a transfer, and what is sent to it.
struct SocketOutlet {
    socket: Arc<TcpStream>,
    payload: Payload,
    ticket: Arc<TransferTicket>,
    done: oneshot::Sender<Result<u64, TransferError>>,
}

/// The most transfers that are advanced before sockets and the inbox are looked at again.
const BATCH: usize = 256;

struct Worker {
    inbox: Arc<TransferInbox>,
    poller: Poller,
    schedule: Schedule<SocketOutlet>,
    messages: Vec<Message<NewTransfer>>,
    readiness: Vec<Readiness>,
}

/// Starts a worker that reads this inbox.
///
/// - **Errors**: no descriptors or threads are left.
pub(super) fn start(inbox: Arc<TransferInbox>, name: String) -> io::Result<JoinHandle<()>> {
    let poller = Poller::new(inbox.doorbell())?;
    std::thread::Builder::new().name(name).spawn(move || {
        prepare_sending_thread();
        let schedule = Schedule::new(clock::now());
        // Dropped where the thread ends, also by a panic: nothing is left in an inbox that no thread reads.
        let mut worker = Worker { inbox, poller, schedule, messages: Vec::new(), readiness: Vec::new() };
        worker.run();
    })
}

impl Worker {
    fn run(&mut self) {
        loop {
            if self.read_inbox() {
                return;
            }
            let now = clock::now();
            for _ in 0..BATCH {
                let Some(key) = self.schedule.due(now) else { break };
                // The clock is read for each, since sending takes time in which tokens arrive.
                let ended = self.schedule.advance(key, clock::now());
                self.end(ended);
            }
            for _ in 0..self.schedule.in_line().min(BATCH) {
                let ended = self.schedule.advance_first_in_line(clock::now());
                self.end(ended);
            }
            if let Err(error) = self.wait() {
                // It fails only for a descriptor that is not one of epoll.
                debug_assert!(false, "epoll_pwait2: {error}");
                return;
            }
        }
    }

    /// Waits until a transfer is due, a socket has changed or the inbox has messages.
    fn wait(&mut self) -> io::Result<()> {
        let most = if self.schedule.in_line() > 0 {
            Some(Duration::ZERO)
        } else {
            self.schedule.next_due().map(|due| due.saturating_since(clock::now()))
        };
        let mut readiness = std::mem::take(&mut self.readiness);
        readiness.extend(self.poller.wait(self.inbox.doorbell(), most)?);
        for change in readiness.drain(..) {
            let ended = match change {
                Readiness { key, has_error, is_closed, .. } if has_error || is_closed => {
                    self.failure(key, is_closed)
                }
                Readiness { key, .. } => self.schedule.unblocked(key, clock::now()),
            };
            self.end(ended);
        }
        self.readiness = readiness;
        Ok(())
    }

    /// The end of a transfer whose socket has failed.
    fn failure(&mut self, key: u32, is_closed: bool) -> Option<Ended<SocketOutlet>> {
        let error = match self.schedule.get(key)?.socket.take_error() {
            Ok(Some(error)) | Err(error) => error,
            Ok(None) if is_closed => io::ErrorKind::BrokenPipe.into(),
            // Something is in the queue of errors, such as a time stamp.
            Ok(None) => return self.schedule.unblocked(key, clock::now()),
        };
        let outlet = self.schedule.remove(key)?;
        Some(Ended { outlet, result: Err(TransferProblem::Socket(error)) })
    }

    /// Carries out what other threads have said, and says whether the worker is to stop.
    fn read_inbox(&mut self) -> bool {
        let mut messages = std::mem::take(&mut self.messages);
        let stops = self.inbox.take(&mut messages);
        for message in messages.drain(..) {
            match message {
                Message::Begin(transfer) => self.begin(transfer),
                Message::Look(ticket) => {
                    let Some(key) = ticket.looked() else { continue };
                    let ended = if ticket.is_over() {
                        self.schedule.remove(key).map(|outlet| Ended { outlet, result: Ok(()) })
                    } else {
                        self.schedule.plan_changed(key, clock::now())
                    };
                    self.end(ended);
                }
            }
        }
        self.messages = messages;
        stops
    }

    fn begin(&mut self, transfer: NewTransfer) {
        let NewTransfer { socket, control, payload, ticket, done } = transfer;
        let waker = Waker::from(Arc::clone(&ticket));
        let key = self.schedule.next_key();
        let added = self.poller.add(&*socket, key);
        let outlet = SocketOutlet { socket, payload, ticket, done };
        match added {
            Ok(()) => {
                outlet.ticket.set_key(Some(key));
                self.schedule.add(Scheduled { outlet, control, waker });
            }
            Err(error) => self.end(Some(Ended { outlet, result: Err(TransferProblem::Socket(error)) })),
        }
    }

    /// Forgets a transfer that has ended, and tells its owner.
    fn end(&self, ended: Option<Ended<SocketOutlet>>) {
        let Some(Ended { outlet, result }) = ended else { return };
        self.poller.remove(&*outlet.socket);
        self.inbox.leave();
        outlet.end(result);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        for message in self.inbox.close() {
            if let Message::Begin(NewTransfer { ticket, done, .. }) = message {
                ticket.set_key(None);
                // The owner may have given up.
                let _ = done.send(Err(TransferError { sent: 0, problem: TransferProblem::Stopped }));
            }
        }
        for outlet in self.schedule.remove_all() {
            self.poller.remove(&*outlet.socket);
            outlet.end(Err(TransferProblem::Stopped));
        }
    }
}

impl Outlet for SocketOutlet {
    fn remaining(&self) -> u64 {
        self.payload.remaining()
    }

    fn send(&mut self, most: usize, complete: Complete<'_>) -> Option<Result<usize, TransferProblem>> {
        let Self { socket, payload, ticket, .. } = self;
        ticket.send(|| payload.send(&**socket, most), complete)
    }
}

impl SocketOutlet {
    /// Tells the owner, after the socket is left.
    fn end(self, result: Result<(), TransferProblem>) {
        let Self { socket, payload, ticket, done } = self;
        ticket.set_key(None);
        drop((socket, payload));
        let sent = ticket.sent();
        // The owner may have given up.
        let _ = done.send(result.map(|()| sent).map_err(|problem| TransferError { sent, problem }));
    }
}
