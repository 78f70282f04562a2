//! The manager with those who wait for its answers: what the loop and its callers share.
//!
//! Whoever has the lock feeds the manager. Nobody waits while he has it, so that a caller who needs nothing of
//! the kernel is answered on his own thread.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use flowspec::Moment;
use tokio::sync::{Notify, oneshot};

use super::clock::Clock;
use super::command::{Command, Commands};
use super::handle::OnOvercommitment;
use super::request::{Placement, ReservationRequest, request_for};
use super::reservation::{Granted, Reply, Reservation, ReservationBackend, ReservationState};
use super::waiters::Waiters;
use crate::admission::{Operation, Refusal, RefusedRequest, RequestKind};
use crate::manager::{Answer, Effect, Input, Lost, Manager, Notice, RequestId};
use crate::policy::Policy;

/// The manager, and whom to tell.
pub(super) struct Core {
    pub(super) manager: Manager,
    pub(super) clock: Clock,
    callers: BTreeMap<RequestId, Caller>,
    last_request: u64,
    /// Those who hold reservations.
    standings: HashMap<String, Weak<ReservationState>>,
    waiters: Waiters,
    /// Who wants to hear of interfaces of which more is promised than they carry.
    strained: Vec<OnOvercommitment>,
    /// The engine that reservations are released to.
    engine: Weak<dyn ReservationBackend>,
}

/// Who waits for an answer.
pub(super) enum Caller {
    Reserves(oneshot::Sender<Reply>),
    Asks(oneshot::Sender<Answer>),
    /// Nobody: it was asked by the loop itself.
    Nobody,
}

/// Somebody who is told, once nobody has the lock.
#[must_use]
pub(super) enum Told {
    Nobody,
    Lost(Arc<ReservationState>, Lost),
    Room(Arc<Notify>),
    Strained(Vec<OnOvercommitment>, String, bool),
}

impl Told {
    pub(super) fn tell(self) {
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
pub(super) struct Settled {
    told: Vec<Told>,
    rest: Vec<Effect>,
    /// Something ends by itself: the loop has to know when.
    due: bool,
}

impl Settled {
    /// Does it, once nobody has the lock: what only wakes somebody here, everything else by the loop.
    pub(super) fn finish(self, commands: &Commands, core: MutexGuard<'_, Core>) {
        drop(core);
        let (here, there): (Vec<_>, Vec<_>) =
            self.told.into_iter().partition(|told| matches!(told, Told::Nobody | Told::Room(_)));
        here.into_iter().for_each(Told::tell);
        if !there.is_empty() || !self.rest.is_empty() || self.due {
            commands.send(Command::Settle(there, self.rest));
        }
    }
}

/// The lock on the core. What is inside is whole between any two statements that can panic.
pub(super) fn lock(core: &Mutex<Core>) -> MutexGuard<'_, Core> {
    core.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    pub(super) fn new(policy: &Arc<Policy>, waiters: Waiters, engine: Weak<dyn ReservationBackend>) -> Self {
        Self {
            manager: Manager::new(Arc::clone(policy)),
            clock: Clock::start(),
            callers: BTreeMap::new(),
            last_request: 0,
            standings: HashMap::new(),
            waiters,
            strained: Vec::new(),
            engine,
        }
    }

    pub(super) fn now(&self) -> Moment {
        self.clock.now()
    }

    /// What follows from an input.
    pub(super) fn handle(&mut self, input: Input) -> Vec<Effect> {
        let now = self.now();
        self.manager.handle(input, now)
    }

    /// What follows from a question.
    pub(super) fn ask(&mut self, operation: Box<Operation>, caller: Caller) -> Vec<Effect> {
        self.last_request += 1;
        let id = RequestId(self.last_request);
        self.callers.insert(id, caller);
        self.handle(Input::Request { id, operation })
    }

    /// Resolves a client's request under the policy and asks for what it stands for.
    pub(super) fn reserve(
        &mut self,
        request: &ReservationRequest,
        placement: &Placement,
        reply: oneshot::Sender<Reply>,
    ) -> Vec<Effect> {
        match request_for(self.manager.ledger().policy(), request, placement) {
            Ok(ladder) => self.ask(Box::new(Operation::Reserve(Box::new(ladder))), Caller::Reserves(reply)),
            Err(refusal) => {
                self.refuse(placement, refusal, reply);
                Vec::new()
            }
        }
    }

    /// Refuses a request that does not reach the ledger.
    pub(super) fn refuse(&self, placement: &Placement, refusal: Refusal, reply: oneshot::Sender<Reply>) {
        let (id, interface) = (placement.id.clone(), Some(placement.link.name.clone()));
        let request = RefusedRequest { kind: RequestKind::Reserve, id, interface, refusal };
        let decision = self.manager.ledger().refused(self.now(), request);
        // The caller may have gone.
        let _ = reply.send(Err(Box::new(decision)));
    }

    /// Somebody wants to hear of interfaces of which more is promised than they carry.
    pub(super) fn subscribe(&mut self, notify: OnOvercommitment) {
        self.strained.push(notify);
    }

    pub(super) fn answer(&mut self, id: RequestId, Answer { decision, admitted }: Answer) {
        let (Some(caller), Some(engine)) = (self.callers.remove(&id), self.engine.upgrade()) else {
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
                let state: Arc<ReservationState> = Arc::default();
                let id = decision.id().unwrap_or_default().to_owned();
                self.standings.insert(id.clone(), Arc::downgrade(&state));
                let reservation = Reservation::new(engine, id, state);
                Ok(Granted { admitted, decision, reservation })
            }
        };
        // The caller may have given up, now or before it looks: what it was granted then gives itself
        // back, as the reservation is dropped.
        let _ = caller.send(reply);
    }

    /// What somebody is told who did not ask just now.
    pub(super) fn notice(&mut self, notice: Notice) -> Told {
        match notice {
            Notice::Ended(decision) => {
                self.standings.remove(decision.id().unwrap_or_default());
                Told::Nobody
            }
            Notice::Lost(lost) => {
                let standing = self.standings.remove(&lost.id).and_then(|standing| standing.upgrade());
                standing.map_or(Told::Nobody, |standing| Told::Lost(standing, lost))
            }
            Notice::Overcommitted { interface, over } => {
                Told::Strained(self.strained.clone(), interface, over)
            }
            Notice::CapacityAvailable { id } => self.waiters.get(&id).map_or(Told::Nobody, Told::Room),
        }
    }

    /// Settles what was asked without the loop.
    pub(super) fn settle_here(&mut self, effects: Vec<Effect>) -> Settled {
        let (told, rest) = self.settle(effects);
        Settled { told, rest, due: self.manager.due().is_some() }
    }

    /// Carries out what needs nothing of the kernel, in order: who is to be told, and what is left from the first
    /// change for the kernel on.
    pub(super) fn settle(&mut self, effects: Vec<Effect>) -> (Vec<Told>, Vec<Effect>) {
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
