//! What the loop is told, and the way to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{mpsc, oneshot};

use super::core::Told;
use super::lingering::Lingering;
use super::report::InterfaceReport;
use super::request::Submission;
use super::reservation::Reply;
use crate::admission::Operation;
use crate::failure::KernelFailure;
use crate::manager::{Answer, Effect};

/// What the loop is told.
pub(super) enum Command {
    Reserve {
        submission: Box<Submission>,
        reply: oneshot::Sender<Reply>,
    },
    Submit {
        operation: Box<Operation>,
        reply: oneshot::Sender<Answer>,
    },
    /// What follows from something that was asked without the loop.
    Settle(Vec<Told>, Vec<Effect>),
    Connected {
        id: String,
    },
    Closed {
        id: String,
        lingering: Lingering,
    },
    /// With the bytes that its class has sent, if that is known.
    Drained {
        id: String,
        sent: Option<u64>,
    },
    Report {
        reply: oneshot::Sender<Result<Vec<InterfaceReport>, KernelFailure>>,
    },
    Stop {
        reply: oneshot::Sender<()>,
    },
}

/// The way to the loop, with how much is on it that may make room: who asks without the loop does so only where
/// nothing of that kind is, so that everybody is answered in his turn.
#[derive(Clone)]
pub(super) struct Commands {
    sender: mpsc::UnboundedSender<Command>,
    queued: Arc<AtomicUsize>,
}

/// The same, without keeping the loop alive.
#[derive(Clone)]
pub(super) struct WeakCommands {
    sender: mpsc::WeakUnboundedSender<Command>,
    queued: Arc<AtomicUsize>,
}

impl Command {
    /// Whether somebody may be admitted after it who is not before.
    pub(super) const fn may_make_room(&self) -> bool {
        match self {
            // What lingers makes room later.
            Self::Closed { lingering, .. } => matches!(lingering, Lingering::Nothing),
            Self::Reserve { .. } | Self::Submit { .. } | Self::Drained { .. } => true,
            Self::Settle(_, effects) => !effects.is_empty(),
            Self::Connected { .. } | Self::Report { .. } | Self::Stop { .. } => false,
        }
    }
}

impl Commands {
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Command>) {
        let (sender, inbox) = mpsc::unbounded_channel();
        (Self { sender, queued: Arc::default() }, inbox)
    }

    pub(super) fn send(&self, command: Command) {
        if command.may_make_room() {
            self.queued.fetch_add(1, Ordering::AcqRel);
        }
        // A manager that has stopped has given everything back.
        let _ = self.sender.send(command);
    }

    /// Whether nothing is on its way that may make room.
    pub(super) fn are_done(&self) -> bool {
        self.queued.load(Ordering::Acquire) == 0
    }

    pub(super) fn downgrade(&self) -> WeakCommands {
        WeakCommands { sender: self.sender.downgrade(), queued: Arc::clone(&self.queued) }
    }
}

impl WeakCommands {
    pub(super) fn upgrade(&self) -> Option<Commands> {
        Some(Commands { sender: self.sender.upgrade()?, queued: Arc::clone(&self.queued) })
    }

    /// A command that may make room has been obeyed.
    pub(super) fn obeyed(&self) {
        self.queued.fetch_sub(1, Ordering::AcqRel);
    }
}
