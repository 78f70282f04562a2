//! The manager with those who wait for its answers: what the loop and its callers share.
//!
//! Whoever has the lock feeds the manager. Nobody waits while he has it, so that a caller who needs nothing of
//! the kernel is answered on his own thread.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use flowspec::Moment;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::command::{Command, Commands, Reply, WeakCommands};
use super::reservation::{Granted, Reservation, Standing};
use crate::admission::Operation;
use crate::manager::{Answer, Effect, Input, Lost, Manager, Notice, RequestId};
use crate::policy::Policy;

/// The manager, and whom to tell.
pub(crate) struct Core {
    pub(crate) manager: Manager,
    pub(crate) started: Instant,
    callers: BTreeMap<RequestId, Caller>,
    last_request: u64,
    /// Those who hold reservations.
    standings: HashMap<String, Weak<Standing>>,
    rooms: Rooms,
    /// Who wants to hear of interfaces of which more is promised than they carry.
    strained: Vec<Strained>,
    /// To hear of closed sockets without keeping the loop alive.
    commands: WeakCommands,
    /// Itself, for those who give something back.
    me: Weak<Mutex<Self>>,
}

/// Those who wait for room, and how they are told.
pub(crate) type Rooms = Arc<Mutex<HashMap<String, Arc<Notify>>>>;

/// Who waits for an answer.
pub(crate) enum Caller {
    Reserves(oneshot::Sender<Reply>),
    Asks(oneshot::Sender<Answer>),
    /// Nobody: it was asked by the loop itself.
    Nobody,
}

/// Somebody who is told, once nobody has the lock.
#[must_use]
pub(crate) enum Told {
    Nobody,
    Lost(Arc<Standing>, Lost),
    Room(Arc<Notify>),
    Strained(Vec<Strained>, String, bool),
}

/// Is told of an interface, and whether more is promised of it than it carries; must not wait.
pub(crate) type Strained = Arc<dyn Fn(&str, bool) + Send + Sync>;

impl Told {
    pub(crate) fn tell(self) {
        match self {
            Self::Nobody => {}
            Self::Lost(standing, lost) => standing.lose(lost),
            Self::Room(room) => room.notify_one(),
            Self::Strained(all, interface, over) => all.iter().for_each(|tell| tell(&interface, over)),
        }
    }
}

/// What is left to be done of something that was asked without the loop.
#[must_use]
pub(crate) struct Settled {
    told: Vec<Told>,
    rest: Vec<Effect>,
    /// Something ends by itself: the loop has to know when.
    due: bool,
}

impl Settled {
    /// Does it, once nobody has the lock: what only wakes somebody here, everything else by the loop.
    pub(crate) fn finish(self, commands: &Commands, core: MutexGuard<'_, Core>) {
        drop(core);
        let (here, there): (Vec<_>, Vec<_>) =
            self.told.into_iter().partition(|told| matches!(told, Told::Nobody | Told::Room(_)));
        here.into_iter().for_each(Told::tell);
        if !there.is_empty() || !self.rest.is_empty() || self.due {
            commands.send(Command::Settle(there, self.rest));
        }
    }
}

/// Feeds the manager something of a flow that has no class in the kernel, where nobody is before; else it is the
/// loop's.
pub(crate) fn feed_here(
    core: &Weak<Mutex<Core>>,
    commands: &Commands,
    id: &str,
    input: Input,
) -> Result<(), Input> {
    let Some(core) = core.upgrade() else { return Err(input) };
    // Whoever has the lock may be the one who lets go of this flow just now.
    let Ok(mut core) = core.try_lock() else { return Err(input) };
    if !commands.are_done() || core.manager.class(id).is_some() {
        return Err(input);
    }
    let effects = core.handle(input);
    core.settle_here(effects).finish(commands, core);
    Ok(())
}

/// The lock on the core. What is inside is whole between any two statements that can panic.
pub(crate) fn lock(core: &Mutex<Core>) -> MutexGuard<'_, Core> {
    core.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    pub(crate) fn new(
        policy: &Arc<Policy>,
        commands: WeakCommands,
        rooms: Rooms,
        me: Weak<Mutex<Self>>,
    ) -> Self {
        Self {
            manager: Manager::new(Arc::clone(policy)),
            started: Instant::now(),
            callers: BTreeMap::new(),
            last_request: 0,
            standings: HashMap::new(),
            rooms,
            strained: Vec::new(),
            commands,
            me,
        }
    }

    pub(crate) fn now(&self) -> Moment {
        Moment::from_micros(u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// What follows from an input.
    pub(crate) fn handle(&mut self, input: Input) -> Vec<Effect> {
        let now = self.now();
        self.manager.handle(input, now)
    }

    /// What follows from a question.
    pub(crate) fn ask(&mut self, operation: Box<Operation>, caller: Caller) -> Vec<Effect> {
        self.last_request += 1;
        let id = RequestId(self.last_request);
        self.callers.insert(id, caller);
        self.handle(Input::Request { id, operation })
    }

    /// Somebody wants to hear of interfaces of which more is promised than they carry.
    pub(crate) fn on_strain(&mut self, tell: Strained) {
        self.strained.push(tell);
    }

    pub(crate) fn answer(&mut self, id: RequestId, Answer { decision, admitted }: Answer) {
        let (Some(caller), Some(commands)) = (self.callers.remove(&id), self.commands.upgrade()) else {
            return;
        };
        let caller = match caller {
            Caller::Nobody => return,
            Caller::Reserves(caller) => caller,
            Caller::Asks(caller) => {
                // Who asked may have gone; it is so all the same.
                let _ = caller.send(Answer { decision, admitted });
                return;
            }
        };
        let reply = match admitted {
            None => Err(Box::new(decision)),
            Some(admitted) => {
                let standing: Arc<Standing> = Arc::default();
                self.standings.insert(decision.id.clone(), Arc::downgrade(&standing));
                let reservation =
                    Reservation::new(commands, Weak::clone(&self.me), decision.id.clone(), standing);
                Ok(Granted { admitted, decision, reservation })
            }
        };
        // The caller may have given up, now or before it looks: what it was granted then gives itself
        // back, as the reservation is dropped.
        let _ = caller.send(reply);
    }

    /// What somebody is told who did not ask just now.
    pub(crate) fn notice(&mut self, notice: Notice) -> Told {
        match notice {
            Notice::Ended(decision) => {
                self.standings.remove(&decision.id);
                Told::Nobody
            }
            Notice::Lost(lost) => {
                let standing = self.standings.remove(&lost.id).and_then(|standing| standing.upgrade());
                standing.map_or(Told::Nobody, |standing| Told::Lost(standing, lost))
            }
            Notice::Overcommitted { interface, over } => {
                Told::Strained(self.strained.clone(), interface, over)
            }
            Notice::CapacityAvailable { id } => {
                let rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
                rooms.get(&id).map_or(Told::Nobody, |room| Told::Room(Arc::clone(room)))
            }
        }
    }

    /// Settles what was asked without the loop.
    pub(crate) fn settle_here(&mut self, effects: Vec<Effect>) -> Settled {
        let (told, rest) = self.settle(effects);
        Settled { told, rest, due: self.manager.due().is_some() }
    }

    /// Carries out what needs nothing of the kernel, in order: who is to be told, and what is left from the first
    /// change for the kernel on.
    pub(crate) fn settle(&mut self, effects: Vec<Effect>) -> (Vec<Told>, Vec<Effect>) {
        let (mut told, mut effects) = (Vec::new(), effects.into_iter());
        while let Some(effect) = effects.next() {
            match effect {
                Effect::Answer { id, answer } => self.answer(id, *answer),
                Effect::Tell(notice) => told.push(self.notice(notice)),
                apply @ Effect::Apply { .. } => {
                    return (told, std::iter::once(apply).chain(effects).collect());
                }
            }
        }
        (told, Vec::new())
    }
}
