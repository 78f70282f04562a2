//! Reservations: held by a client, released exactly once, or lost before that.

use std::future::Future;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use flowspec::{Both, Bytes};

use super::lingering::Lingering;
use super::peer::PeerSocket;
use crate::admission::Decision;
use crate::manager::{Admitted, Answer, Lost};
use crate::policy::PeerTimeouts;

/// What a reservation tells the engine that granted it.
///
/// The calls return at once, on any thread, and are never lost while the engine runs.
pub trait ReservationBackend: Send + Sync {
    /// The peer of this flow has answered: its reservation is no longer provisional.
    fn connected(&self, id: &str);

    /// This flow has ended, with this use of its buckets. Its reservation is released once the data that lingers has
    /// left.
    fn release(&self, id: String, lingering: Lingering, usage: Usage);

    /// The connection of this flow has failed since its peer is gone, with this use of its
    /// buckets: its reservation is released, with that reason.
    fn peer_gone(&self, id: String, usage: Usage);

    /// Watches the peer of this flow by its socket, until [`unwatch`](Self::unwatch) or its loss.
    fn watch(&self, flow: (&str, &Arc<ReservationState>), socket: PeerSocket, timeouts: PeerTimeouts);

    /// Ends that: the socket's options are as they were before.
    fn unwatch(&self, state: &Arc<ReservationState>);

    /// Whether the engine sends the packets of sockets to their classes by itself. Otherwise its clients do.
    fn marks_sockets(&self) -> bool {
        false
    }

    /// Ties this flow to its socket, whose packets go to the flow's class from now on. For an engine that
    /// [marks sockets](Self::marks_sockets).
    fn attach(&self, id: &str, socket: AttachedSocket) {
        let _ = (id, socket);
    }

    /// Waits until this flow's socket is attached, or is known not to be: what it sends before may leave by another class,
    /// and overtake what it sends after.
    fn attached<'a>(&'a self, id: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        let _ = id;
        Box::pin(std::future::ready(()))
    }
}

/// The socket of a flow, for an engine that sends its packets to a class. It does not keep the socket open.
pub type AttachedSocket = Weak<dyn AsFd + Send + Sync>;

/// What a flow has taken from its buckets in user space.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Usage {
    /// The tokens that are missing from its bucket in each direction; `None` where it has none in user space.
    pub missing: Both<Option<Bytes>>,
    /// The tokens that its sends have taken in all.
    pub sent: Bytes,
}

/// Reads what a flow has taken from its buckets so far.
type UsageReader = Box<dyn Fn() -> Usage + Send + Sync>;

/// A reservation, released exactly once: by [`end`](Self::end) or when dropped.
///
/// It does not know whether its engine runs in this process.
pub struct Reservation {
    engine: Arc<dyn ReservationBackend>,
    id: String,
    state: Arc<ReservationState>,
    ended: bool,
}

/// A granted reservation, with what its client needs to set the flow up.
pub struct Granted {
    /// How the flow is to be set up.
    pub admitted: Admitted,
    /// As traces record it, with the totals after it.
    pub decision: Decision,
    /// Releases itself when it is dropped.
    pub reservation: Reservation,
}

/// The answer to a request for a reservation: a refusal is its decision.
pub(super) type ReserveReply = Result<Granted, Box<Decision>>;

/// Whether a reservation still stands, and its use: shared by the engine and the holder of the reservation.
#[derive(Default)]
pub struct ReservationState {
    meter: OnceLock<UsageReader>,
    lost: OnceLock<Lost>,
    on_loss: Mutex<Option<OnLoss>>,
    begun: OnceLock<Admitted>,
    on_begin: Mutex<Option<OnBegin>>,
    on_move: Mutex<Moves>,
}

type OnLoss = Box<dyn FnOnce(&Lost) + Send>;
type OnBegin = Box<dyn FnOnce(&Admitted) + Send>;
type OnMove = Arc<dyn Fn(&Answer) + Send + Sync>;

/// What is called when a flow is set up anew, and what it has missed: the last answer that came before it was there.
#[derive(Default)]
struct Moves {
    notify: Option<OnMove>,
    missed: Option<Answer>,
}

impl ReservationState {
    /// Why the reservation is lost; `None` while it stands.
    pub fn lost(&self) -> Option<Lost> {
        self.lost.get().cloned()
    }

    /// Calls `notify` when the reservation is lost, at once if it is lost already. The call comes from the engine's
    /// task and must not block.
    pub fn on_loss(&self, notify: impl FnOnce(&Lost) + Send + 'static) {
        *self.on_loss.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(notify));
        if let Some(lost) = self.lost.get() {
            // The engine may have lost it in between: whichever side finds the callback calls it.
            self.lose(lost.clone());
        }
    }

    /// Calls `notify` when a reservation that was [made ahead](Admitted::begins) begins, at once if it has begun already. The
    /// call comes from the engine's task and must not block.
    pub fn on_begin(&self, notify: impl FnOnce(&Admitted) + Send + 'static) {
        *self.on_begin.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(notify));
        if let Some(begun) = self.begun.get() {
            // It may have begun in between: whichever side finds the callback calls it.
            self.begin(begun.clone());
        }
    }

    /// Calls `notify` whenever the flow is admitted on another interface, since the kernel sends its packets there: its owner
    /// sends it to the class that it has there. The call comes from the engine's task and must not block. A flow whose owner
    /// has not called this loses its reservation instead.
    pub fn on_move(&self, notify: impl Fn(&Answer) + Send + Sync + 'static) {
        let notify: OnMove = Arc::new(notify);
        let missed = {
            let mut moves = self.on_move.lock().unwrap_or_else(PoisonError::into_inner);
            moves.notify = Some(Arc::clone(&notify));
            moves.missed.take()
        };
        if let Some(answer) = missed {
            notify(&answer);
        }
    }

    /// Whether its owner has called [`on_move`](Self::on_move).
    pub(super) fn is_movable(&self) -> bool {
        self.on_move.lock().unwrap_or_else(PoisonError::into_inner).notify.is_some()
    }

    /// The flow is admitted on another interface, or by the daemon, which was not there or had not answered: the decision, and
    /// how its flow is to be set up. Its owner gets it as soon as it has called [`on_move`](Self::on_move).
    pub fn moved(&self, answer: Answer) {
        let notify = {
            let mut moves = self.on_move.lock().unwrap_or_else(PoisonError::into_inner);
            if moves.notify.is_none() {
                moves.missed = Some(answer);
                return;
            }
            moves.notify.clone()
        };
        if let Some(notify) = notify {
            notify(&answer);
        }
    }

    /// The reservation begins now: how its flow is to be set up.
    pub fn begin(&self, admitted: Admitted) {
        let admitted = self.begun.get_or_init(|| admitted);
        let notify = self.on_begin.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(notify) = notify {
            notify(admitted);
        }
    }

    /// What the flow has taken from its buckets so far, as far as that is known.
    pub fn usage(&self) -> Usage {
        self.meter.get().map_or_else(Usage::default, |meter| meter())
    }

    /// The engine has taken the reservation back.
    pub fn lose(&self, lost: Lost) {
        let lost = self.lost.get_or_init(|| lost);
        let notify = self.on_loss.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(notify) = notify {
            notify(lost);
        }
    }
}

impl Reservation {
    /// A reservation that this engine has granted. The engine reports its loss to `state`.
    pub const fn new(engine: Arc<dyn ReservationBackend>, id: String, state: Arc<ReservationState>) -> Self {
        Self { engine, id, state, ended: false }
    }

    /// The flow's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The flow has buckets in user space, of which `meter` tells the use. Asked when the reservation is released or
    /// lost, in the latter case by the engine, whose locks it must not take: what is missing then is owed by the flows
    /// that come after it, until it would have been refilled. The first meter counts.
    pub fn metered(&mut self, meter: impl Fn() -> Usage + Send + Sync + 'static) {
        // A flow that is shaped again keeps its meter.
        let _ = self.state.meter.set(Box::new(meter));
    }

    /// The peer has answered: the reservation is no longer provisional.
    pub fn connected(&self) {
        self.engine.connected(&self.id);
    }

    /// Releases the reservation once the flow's peer was silent or stalled for as long as these timeouts say. A socket
    /// that is gone is watched no longer.
    pub fn watch(&self, socket: PeerSocket, timeouts: PeerTimeouts) {
        self.engine.watch((&self.id, &self.state), socket, timeouts);
        if self.state.lost.get().is_some() {
            // It may have been lost before it was watched.
            self.engine.unwatch(&self.state);
        }
    }

    /// Whether its engine sends the packets of sockets to their classes by itself.
    pub fn marks_sockets(&self) -> bool {
        self.engine.marks_sockets()
    }

    /// Ties the reservation to its flow's socket, for an engine that [marks sockets](Self::marks_sockets).
    pub fn attach(&self, socket: AttachedSocket) {
        self.engine.attach(&self.id, socket);
    }

    /// Whether the reservation still stands.
    pub fn state(&self) -> Arc<ReservationState> {
        Arc::clone(&self.state)
    }

    /// Releases the reservation once the data that lingers has left.
    pub fn end(mut self, lingering: Lingering) {
        self.release(lingering);
    }

    /// Releases the reservation, since the flow's peer is gone.
    pub fn end_without_peer(mut self) {
        if self.is_to_end() {
            let usage = self.state.usage();
            self.engine.peer_gone(std::mem::take(&mut self.id), usage);
        }
    }

    fn release(&mut self, lingering: Lingering) {
        if self.is_to_end() {
            let usage = self.state.usage();
            self.engine.release(std::mem::take(&mut self.id), lingering.left(), usage);
        }
    }

    /// Whether the engine is to be notified of its end: this once, and not where it is lost, since it is released then
    /// and another flow may have its id.
    fn is_to_end(&mut self) -> bool {
        if std::mem::replace(&mut self.ended, true) || self.state.lost.get().is_some() {
            return false;
        }
        self.engine.unwatch(&self.state);
        true
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.release(Lingering::Nothing);
    }
}
