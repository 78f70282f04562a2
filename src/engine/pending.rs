//! Requests that the engine has taken and may not have answered.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::error::EngineError;
use super::reservation::{Granted, ReserveReply};
use super::waiters::WaitingEntry;

/// A request for a reservation that the engine has taken: a future of its answer.
///
/// Dropped, it releases what was or will be granted.
#[must_use]
pub struct PendingReservation {
    answer: oneshot::Receiver<ReserveReply>,
    waiting: Option<WaitingEntry>,
}

impl PendingReservation {
    pub(super) const fn new(answer: oneshot::Receiver<ReserveReply>, waiting: Option<WaitingEntry>) -> Self {
        Self { answer, waiting }
    }

    /// The answer, if it has come; this request otherwise.
    pub fn ready(mut self) -> Result<Result<Granted, EngineError>, Self> {
        match self.answer.try_recv() {
            Ok(reply) => Ok(self.answered(reply)),
            Err(TryRecvError::Closed) => Ok(Err(EngineError::Stopped)),
            Err(TryRecvError::Empty) => Err(self),
        }
    }

    fn answered(&mut self, reply: ReserveReply) -> Result<Granted, EngineError> {
        if let Some(entry) = self.waiting.take() {
            let decision = match &reply {
                Ok(granted) => &granted.decision,
                Err(decision) => decision,
            };
            entry.answered(decision.is_waiting());
        }
        reply.map_err(EngineError::Refused)
    }
}

impl Future for PendingReservation {
    type Output = Result<Granted, EngineError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer).poll(cx).map(|reply| match reply {
            Ok(reply) => self.answered(reply),
            Err(_) => Err(EngineError::Stopped),
        })
    }
}
