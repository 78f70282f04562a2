//! The workers, and the future of a transfer.

use std::fmt;
use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::error::{TransferError, TransferProblem};
use super::payload::Payload;
use super::worker::{NewTransfer, TransferInbox, TransferTicket, start};
use crate::control::Control;

/// Threads that send. Cheap to clone; dropped with its last handle, it ends the transfers that it has with
/// [`TransferProblem::Stopped`].
#[derive(Clone)]
pub struct Workers(Arc<Pool>);

struct Pool {
    inboxes: Vec<Arc<TransferInbox>>,
    limits: Limits,
}

/// How many workers there are, and how much each takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// The threads: by default one for each core that the process may use.
    pub workers: NonZeroUsize,
    /// The transfers of each: by default 65,536.
    pub transfers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let workers = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self { workers, transfers: 1 << 16 }
    }
}

impl Workers {
    /// Starts the threads.
    ///
    /// - **Errors**: no descriptors or threads are left.
    pub fn start(limits: Limits) -> io::Result<Self> {
        let mut pool = Pool { inboxes: Vec::new(), limits };
        for number in 0..limits.workers.get() {
            let inbox = Arc::new(TransferInbox::new()?);
            start(Arc::clone(&inbox), format!("shaper-{number}"))?;
            // The pool stops those that have started where a later one does not.
            pool.inboxes.push(inbox);
        }
        Ok(Self(Arc::new(pool)))
    }

    /// Sends a payload to a socket, as `control` shapes what that sends, by the worker that has the fewest transfers. The
    /// caller sends nothing to the socket until the transfer has ended.
    ///
    /// - **Errors**: of the transfer: the socket or the file fails; the source is shorter than was said; all workers have
    ///   as many transfers as they take; they have stopped.
    pub fn send(&self, socket: Arc<TcpStream>, control: Control, payload: Payload) -> Transfer {
        let Pool { inboxes, limits } = &*self.0;
        let (done, result) = oneshot::channel();
        // A worker stops before the others only where it has failed.
        let open = || inboxes.iter().filter(|inbox| inbox.is_open());
        let Some(inbox) = open()
            .min_by_key(|inbox| inbox.transfers())
            .into_iter()
            // Another thread may have taken its last place.
            .chain(open())
            .find(|inbox| inbox.reserve(limits.transfers))
        else {
            let is_full = open().next().is_some();
            let full = TransferProblem::Full { most: limits.transfers };
            let problem = if is_full { full } else { TransferProblem::Stopped };
            return Transfer { state: TransferState::Refused(Some(problem)) };
        };
        let ticket = Arc::new(TransferTicket::new(Arc::clone(inbox)));
        let transfer = NewTransfer { socket, control, payload, ticket: Arc::clone(&ticket), done };
        if inbox.begin(transfer).is_err() {
            inbox.leave();
            return Transfer { state: TransferState::Refused(Some(TransferProblem::Stopped)) };
        }
        Transfer { state: TransferState::Begun { result, ticket } }
    }

    /// How many transfers each worker has.
    pub fn transfers(&self) -> Vec<usize> {
        self.0.inboxes.iter().map(|inbox| inbox.transfers()).collect()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.inboxes.iter().for_each(|inbox| inbox.stop());
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("transfers", &self.transfers()).finish()
    }
}

/// A transfer: completes with the bytes that it has sent, once the socket has accepted all of them. A shutdown of the
/// socket's sending half, or its end, then comes after them.
///
/// Dropped, it ends the transfer: when the drop returns, nothing of it is sent any more.
#[must_use = "a transfer ends where it is dropped"]
pub struct Transfer {
    state: TransferState,
}

enum TransferState {
    /// Until the refusal is told.
    Refused(Option<TransferProblem>),
    Begun {
        result: oneshot::Receiver<Result<u64, TransferError>>,
        ticket: Arc<TransferTicket>,
    },
}

impl Transfer {
    /// The bytes that the socket has accepted so far.
    pub fn sent(&self) -> u64 {
        match &self.state {
            TransferState::Refused(_) => 0,
            TransferState::Begun { ticket, .. } => ticket.sent(),
        }
    }
}

impl Future for Transfer {
    type Output = Result<u64, TransferError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.state {
            TransferState::Refused(problem) => {
                let problem = problem.take().unwrap_or(TransferProblem::Stopped);
                Poll::Ready(Err(TransferError { sent: 0, problem }))
            }
            TransferState::Begun { result, ticket } => {
                let result = ready!(Pin::new(result).poll(cx));
                let stopped = |_| TransferError { sent: ticket.sent(), problem: TransferProblem::Stopped };
                Poll::Ready(result.map_err(stopped).flatten())
            }
        }
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        if let TransferState::Begun { ticket, .. } = &self.state {
            ticket.give_up();
        }
    }
}

impl fmt::Debug for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transfer").field("sent", &self.sent()).finish_non_exhaustive()
    }
}
