//! Reservations: held once, given back once, or lost before that.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use super::command::{Command, Commands};
use super::core::{Core, feed_here};
use super::lingering::Lingering;
use crate::admission::Decision;
use crate::manager::{Admitted, Input, Lost};

/// A reservation, given back exactly once: by [`end`](Self::end) or when dropped.
pub struct Reservation {
    commands: Commands,
    core: Weak<Mutex<Core>>,
    id: String,
    standing: Arc<Standing>,
    ended: bool,
}

/// A reservation that was granted: how to set its flow up, and the duty to give it back.
pub struct Granted {
    /// How its flow is to be set up.
    pub admitted: Admitted,
    /// The decision, with the whole sum.
    pub decision: Decision,
    /// The reservation itself.
    pub reservation: Reservation,
}

/// Whether a promise still stands: shared by the manager's loop and whoever holds the reservation.
#[derive(Default)]
pub struct Standing {
    lost: OnceLock<Lost>,
    tell: Mutex<Option<Tell>>,
}

/// What is done when the promise is taken back, on the manager's loop: it must not wait.
type Tell = Box<dyn FnOnce(&Lost) + Send>;

impl Standing {
    /// The promise is taken back.
    pub(crate) fn lose(&self, lost: Lost) {
        let lost = self.lost.get_or_init(|| lost);
        let tell = self.tell.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(tell) = tell {
            tell(lost);
        }
    }
}

impl Standing {
    /// Why it does not, if it does not.
    pub(crate) fn lost(&self) -> Option<Lost> {
        self.lost.get().cloned()
    }

    /// Has something done should the promise be taken back; at once, if it has been.
    pub fn on_loss(&self, tell: impl FnOnce(&Lost) + Send + 'static) {
        *self.tell.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(tell));
        if let Some(lost) = self.lost.get() {
            // Whichever of the two finds it.
            self.lose(lost.clone());
        }
    }
}

impl Reservation {
    pub(crate) const fn new(
        commands: Commands,
        core: Weak<Mutex<Core>>,
        id: String,
        standing: Arc<Standing>,
    ) -> Self {
        Self { commands, core, id, standing, ended: false }
    }

    /// The peer has answered: the flow is no longer provisional.
    pub fn connected(&self) {
        let input = Input::Connected { id: self.id.clone() };
        if let Err(Input::Connected { id }) = feed_here(&self.core, &self.commands, &self.id, input) {
            self.commands.send(Command::Connected { id });
        }
    }

    /// To hear whether it still stands.
    pub fn standing(&self) -> Arc<Standing> {
        Arc::clone(&self.standing)
    }

    /// Gives it back: once this much has left.
    pub fn end(mut self, lingering: Lingering) {
        self.give_back(lingering);
    }

    fn give_back(&mut self, lingering: Lingering) {
        // What is lost is not held any more, and its name may be somebody else's.
        if std::mem::replace(&mut self.ended, true) || self.standing.lost.get().is_some() {
            return;
        }
        let lingering = lingering.left();
        let input = Input::Closed { id: self.id.clone() };
        let input = match lingering {
            Lingering::Nothing => feed_here(&self.core, &self.commands, &self.id, input),
            Lingering::Tcp(_) | Lingering::Descriptor(_) => Err(input),
        };
        if let Err(Input::Closed { id }) = input {
            self.commands.send(Command::Closed { id, lingering });
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.give_back(Lingering::Nothing);
    }
}
