//! The reservations that this process holds by the daemon.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use flowspec::{Both, Flowspec};
use tokio::sync::oneshot;

use super::slices::HeldSlice;
use crate::admission::Decision;
use crate::control::ReserveCall;
use crate::engine::reservation::{AttachedSocket, ReservationState};
use crate::manager::{Admitted, Answer, Loss, Lost};

/// The reservations by their ids. Bounded by what the daemon grants.
#[derive(Default)]
pub(super) struct HeldFlows(Mutex<FlowTable>);

#[derive(Default)]
struct FlowTable {
    flows: HashMap<String, HeldFlow>,
    /// How many requests are without an answer.
    requested: usize,
    /// Losses of flows that are not held, while there are such requests: a notice may overtake the answer to its request.
    early: HashMap<String, Lost>,
    /// Flows whose sockets are being attached, for those that wait for it.
    attaching: HashMap<String, oneshot::Receiver<()>>,
}

/// A reservation as the daemon has granted it.
#[derive(Clone)]
pub(super) struct HeldFlow {
    pub(super) state: Weak<ReservationState>,
    /// What was asked for, under the id that it has, to ask for it again.
    pub(super) request: Arc<ReserveCall>,
    /// The name of the link that it is charged on.
    pub(super) interface: String,
    /// Its peer has answered: it is no longer provisional.
    pub(super) is_connected: bool,
    /// Its socket, once that is known.
    pub(super) socket: Option<AttachedSocket>,
    /// It was granted while the daemon was not there, or within a slice: the daemon has not granted it yet.
    pub(super) is_without_daemon: bool,
    /// The slice that it was admitted in.
    pub(super) slice: Option<Arc<HeldSlice>>,
    /// Its socket is attached as soon as the daemon has granted it: nothing waits for that.
    pub(super) is_attached: bool,
}

/// A request without an answer, which a loss may overtake.
pub(super) struct UnansweredRequest<'a>(&'a HeldFlows);

impl HeldFlows {
    pub(super) fn request(&self) -> UnansweredRequest<'_> {
        self.lock().requested += 1;
        UnansweredRequest(self)
    }

    /// A reservation was granted. It may be lost already.
    pub(super) fn insert(&self, id: &str, flow: HeldFlow) {
        let early = {
            let mut table = self.lock();
            let early = table.early.remove(id);
            if early.is_none() {
                table.flows.insert(id.to_owned(), flow.clone());
            }
            early
        };
        if let (Some(lost), Some(state)) = (early, flow.state.upgrade()) {
            state.lose(lost);
        }
    }

    /// The client has ended it. Returns the slice that it was admitted in.
    pub(super) fn remove(&self, id: &str) -> Option<Arc<HeldSlice>> {
        let mut table = self.lock();
        table.attaching.remove(id);
        table.flows.remove(id)?.slice
    }

    /// It was admitted in this slice.
    pub(super) fn in_slice(&self, id: &str, slice: &Arc<HeldSlice>) {
        if let Some(flow) = self.lock().flows.get_mut(id) {
            flow.slice = Some(Arc::clone(slice));
        }
    }

    /// The slice that a flow was admitted in.
    pub(super) fn slice(&self, id: &str) -> Option<Arc<HeldSlice>> {
        self.lock().flows.get(id)?.slice.clone()
    }

    /// Whether the daemon is to be told of the socket of a flow. That of a flow in a slice was said before the daemon has
    /// granted the flow, and is not said again then.
    pub(super) fn is_to_attach(&self, id: &str) -> bool {
        match self.lock().flows.get_mut(id) {
            Some(flow) if flow.slice.is_some() => !std::mem::replace(&mut flow.is_attached, true),
            _ => true,
        }
    }

    /// The socket of a flow is to be attached anew.
    pub(super) fn attach_again(&self, id: &str) {
        if let Some(flow) = self.lock().flows.get_mut(id) {
            flow.is_attached = false;
        }
    }

    /// A flow that the daemon has not granted yet.
    pub(super) fn unconfirmed(&self, id: &str) -> Option<HeldFlow> {
        self.lock().flows.get(id).filter(|flow| flow.is_without_daemon).cloned()
    }

    /// The daemon is asked to attach the socket of a flow, and answers by this.
    pub(super) fn attaching(&self, id: &str, answered: oneshot::Receiver<()>) {
        let mut table = self.lock();
        if table.flows.contains_key(id) {
            table.attaching.insert(id.to_owned(), answered);
        }
    }

    /// The answer of the daemon about the socket of a flow, the first time that this is called.
    pub(super) fn take_attaching(&self, id: &str) -> Option<oneshot::Receiver<()>> {
        self.lock().attaching.remove(id)
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.lock().flows.contains_key(id)
    }

    pub(super) fn connected(&self, id: &str) {
        if let Some(flow) = self.lock().flows.get_mut(id) {
            flow.is_connected = true;
        }
    }

    pub(super) fn attached(&self, id: &str, socket: AttachedSocket) {
        if let Some(flow) = self.lock().flows.get_mut(id) {
            flow.socket = Some(socket);
        }
    }

    /// It has other flowspecs from now on; those of an absent direction stay.
    pub(super) fn renegotiated(&self, id: &str, flowspecs: Both<Option<Flowspec>>) {
        if let Some(flow) = self.lock().flows.get_mut(id) {
            let mut request = ReserveCall::clone(&flow.request);
            request.sending = flowspecs.sending.or(request.sending);
            request.receiving = flowspecs.receiving.or(request.receiving);
            if request.sending.is_some() && request.receiving.is_some() {
                (request.template, request.templates) = (None, None);
            }
            flow.request = Arc::new(request);
        }
    }

    /// It was granted in this run of the daemon, by which it is claimed after the next restart.
    pub(super) fn granted_by(&self, id: &str, epoch: Option<String>) {
        if let Some(flow) = self.lock().flows.get_mut(id) {
            flow.request = Arc::new(ReserveCall { epoch, ..ReserveCall::clone(&flow.request) });
        }
    }

    /// A flow that was granted without the daemon has its reservation now, as this answer says.
    pub(super) fn reserved(&self, id: &str, (admitted, decision): (Admitted, Decision)) {
        if let Some(flow) = self.lock().flows.get_mut(id) {
            flow.is_without_daemon = false;
        }
        self.begin(id, admitted.clone());
        // Its decision is this one from now on, with its class.
        self.moved(id, Answer { decision, admitted: Some(admitted) });
    }

    pub(super) fn state(&self, id: &str) -> Option<Arc<ReservationState>> {
        self.lock().flows.get(id)?.state.upgrade()
    }

    /// The daemon has taken it back.
    pub(super) fn lose(&self, lost: Lost) {
        let flow = {
            let mut table = self.lock();
            let flow = table.flows.remove(&lost.id);
            table.attaching.remove(&lost.id);
            if flow.is_none() && table.requested > 0 {
                table.early.insert(lost.id.clone(), lost.clone());
            }
            flow
        };
        if let Some(state) = flow.and_then(|flow| flow.state.upgrade()) {
            state.lose(lost);
        }
    }

    /// The reservation was taken back by the client itself, for this reason: the state and the interface it had.
    pub(super) fn take(&self, id: &str, why: Loss) {
        let interface = self.lock().flows.get(id).map(|flow| flow.interface.clone());
        if let Some(interface) = interface {
            self.lose(Lost { id: id.to_owned(), interface, why });
        }
    }

    /// A reservation that was made ahead begins.
    pub(super) fn begin(&self, id: &str, admitted: Admitted) {
        let state = self.lock().flows.get(id).and_then(|flow| flow.state.upgrade());
        if let Some(state) = state {
            state.begin(admitted);
        }
    }

    /// A flow is admitted on another interface.
    pub(super) fn moved(&self, id: &str, answer: Answer) {
        let state = {
            let mut table = self.lock();
            let flow = table.flows.get_mut(id);
            flow.and_then(|flow| {
                if let Some(interface) = answer.decision.totals.keys().next() {
                    flow.interface.clone_from(interface);
                }
                flow.state.upgrade()
            })
        };
        if let Some(state) = state {
            state.moved(answer);
        }
    }

    /// Each reservation, to be asked for again.
    pub(super) fn all(&self) -> Vec<(String, HeldFlow)> {
        self.lock().flows.iter().map(|(id, flow)| (id.clone(), flow.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, FlowTable> {
        // The table is whole between any two statements that can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnansweredRequest<'_> {
    fn drop(&mut self) {
        let mut table = self.0.lock();
        table.requested -= 1;
        if table.requested == 0 {
            table.early.clear();
        }
    }
}
