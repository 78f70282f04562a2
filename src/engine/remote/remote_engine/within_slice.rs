//! Flows within slices: admitted by this process, which tells the daemon and does not wait for its answer.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::oneshot;

use super::super::calls::{self, DecidedCall};
use super::super::connection::{DaemonConnection, OnReply};
use super::super::error::DaemonError;
use super::super::slices::HeldSlice;
use super::RemoteEngine;
use crate::admission::{Decision, Reason};
use crate::control::{FlowId, MethodCall, Reply, ReserveCall};
use crate::engine::error::EngineError;
use crate::engine::handle::{Engine, EngineFuture};
use crate::engine::request::ReservationRequest;
use crate::engine::reservation::{Granted, Usage};
use crate::engine::routes::LocalRoutes;
use crate::linux::{RouteQuery, random_name};
use crate::manager::{Admitted, Loss, Lost};

/// How long after the answer to a release the room of a flow is used again: the daemon keeps it until the packets that are queued in
/// the flow's class have left.
const UNTIL_RELEASED: Duration = Duration::from_millis(50);

/// How often the daemon is told once more of a flow for which it has no room yet: for ten seconds in all.
const MOST_TIMES: u32 = 200;

/// How often a slice without a flow is looked at, at most.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

impl RemoteEngine {
    /// Admits a flow within a slice, and tells the daemon. `None` where there is none for it, and the daemon is to be asked.
    pub(super) async fn within_slice(&self, request: &ReservationRequest) -> Option<Granted> {
        if !self.slices.may_match(request) {
            return None;
        }
        let link = self.routes.get()?.link(request.route()).await.ok()?;
        let slice = self.slices.matching(request, link)?;
        let connection = self.open_connection()?;
        let id = match request.ask.id.clone().filter(|id| !id.is_empty()) {
            Some(id) => id,
            None => random_name().ok()?,
        };
        // The daemon refuses a second flow of an id.
        if self.held.contains(&id) {
            return None;
        }
        let granted = slice.take(&id, self.now())?;
        let (group, interface) = (Some(slice.id().to_owned()), slice.group.interface.clone());
        let call = ReserveCall { id: Some(id.clone()), group, ..calls::reserve(request) };
        let Ok(granted) = self.hold(granted, call.clone(), interface) else {
            slice.left(&id, self.now());
            return None;
        };
        self.held.in_slice(&id, &slice);
        self.tell(&connection, (id, slice), (call, 0));
        Some(granted)
    }

    /// Tells the daemon of a flow within a slice, which it was told of some times before.
    fn tell(
        &self,
        connection: &DaemonConnection,
        (id, slice): (String, Arc<HeldSlice>),
        (call, times): (ReserveCall, u32),
    ) {
        let me = Weak::clone(&self.me);
        let on_reply: OnReply = Box::new(move |answered| {
            if let Some(engine) = me.upgrade() {
                engine.confirmed(&id, &slice, (answered, times));
            }
        });
        connection.call(&MethodCall::Reserve(Box::new(call)), None, Some(on_reply));
    }

    /// The daemon has answered about a flow within a slice.
    fn confirmed(
        &self,
        id: &str,
        slice: &Arc<HeldSlice>,
        (answered, times): (Result<Reply, DaemonError>, u32),
    ) {
        let reason = match calls::decided(answered) {
            Ok(DecidedCall { admitted: Some(admitted), epoch, decision }) => {
                self.held.granted_by(id, epoch);
                return self.granted_later(id, (admitted, decision));
            }
            Ok(DecidedCall { decision, .. })
                if decision.reason() == Some(Reason::GroupBudget) && times < MOST_TIMES =>
            {
                return self.tell_later(id, slice, times + 1);
            }
            Ok(DecidedCall { decision, .. }) => decision.reason(),
            // The next daemon is asked for it, unless that has happened before it was held.
            Err(EngineError::Daemon(error)) if error.is_unreachable() => {
                if self.open_connection().is_none() || self.held.unconfirmed(id).is_none() {
                    return;
                }
                None
            }
            Err(_) => None,
        };
        self.end_slice(slice);
        slice.left(id, self.now());
        if self.held.contains(id) {
            let interface = slice.group.interface.clone();
            self.lose(Lost { id: id.to_owned(), interface, why: Loss::Unconfirmed { reason } });
        }
    }

    /// A flow has ended in the slice whose queued data still leaves, by which the daemon keeps its room: it is told of the next
    /// flow once more after a pause.
    fn tell_later(&self, id: &str, slice: &Arc<HeldSlice>, times: u32) {
        let (me, id, slice) = (Weak::clone(&self.me), id.to_owned(), Arc::clone(slice));
        self.runtime.spawn(async move {
            tokio::time::sleep(UNTIL_RELEASED).await;
            let Some(engine) = me.upgrade() else { return };
            // It may have ended, and the next daemon is asked for all flows.
            let Some(flow) = engine.held.unconfirmed(&id) else { return };
            let Some(connection) = engine.open_connection() else { return };
            let call = ReserveCall::clone(&flow.request);
            engine.tell(&connection, (id.clone(), slice), (call, times));
            engine.attach_to(&connection, &id, (flow.socket.as_ref(), Box::new(|_| {})));
            if flow.is_connected {
                connection.call(&MethodCall::Commit(FlowId { id }), None, None);
            }
        });
    }

    /// The daemon has granted a flow that had begun before.
    pub(super) fn granted_later(&self, id: &str, (admitted, mut decision): (Admitted, Decision)) {
        if let (Some(slice), Some(enforced)) = (self.held.slice(id), decision.enforced_mut()) {
            enforced.slice = Some(slice.id().to_owned());
        }
        self.held.reserved(id, (admitted, decision));
    }

    /// Sends the release of a flow, whose room in its slice is free some time after the daemon has answered.
    pub(super) fn send_release(&self, (id, slice): (&str, Option<Arc<HeldSlice>>), release: MethodCall) {
        let Some(slice) = slice else { return self.send(release) };
        slice.releasing(id);
        // The next connection says it.
        let Some(connection) = self.open_connection() else { return };
        let (me, id) = (Weak::clone(&self.me), id.to_owned());
        let on_reply: OnReply = Box::new(move |answered| {
            let Some(engine) = me.upgrade().filter(|_| answered.is_ok()) else { return };
            let clock = engine.clock;
            engine.runtime.spawn(async move {
                tokio::time::sleep(UNTIL_RELEASED).await;
                slice.left(&id, clock.now());
            });
        });
        connection.call(&release, None, Some(on_reply));
    }

    /// Sends the releases of flows in slices that the last daemon has not answered.
    pub(super) fn release_again(&self) {
        for slice in self.slices.all() {
            for id in slice.unanswered() {
                let release = calls::release(id.clone(), Usage::default(), false);
                self.send_release((&id, Some(Arc::clone(&slice))), release);
            }
        }
    }

    /// Asks the daemon of a new connection for the groups of the slices, before anything is asked of it about their members. A
    /// slice that it refuses ends.
    pub(super) fn make_slices_again(&self, connection: &DaemonConnection) -> EngineFuture<'_, ()> {
        let mut answers = Vec::new();
        for slice in self.slices.all() {
            let group = MethodCall::Group(Box::new(slice.group.clone()));
            let (reply, answer) = oneshot::channel();
            // This engine may have been dropped.
            let on_reply: OnReply = Box::new(move |answer| drop(reply.send(answer)));
            connection.call(&group, None, Some(on_reply));
            answers.push((slice, answer));
        }
        Box::pin(async move {
            for (slice, answer) in answers {
                let Ok(answered) = answer.await else { return };
                match calls::decided(answered) {
                    // A daemon that has just begun says it again if more is reserved than its interfaces carry.
                    Ok(DecidedCall { decision, .. }) if decision.is_ok() => {
                        self.slices.overcommitted(&slice.group.interface, false);
                    }
                    Err(EngineError::Daemon(error)) if error.is_unreachable() => return,
                    _ => self.end_slice(&slice),
                }
            }
        })
    }

    /// The number of the link by which packets leave, by the routes of this process's network namespace.
    ///
    /// - **Errors**: no route; the kernel's.
    pub(in crate::engine::remote) async fn local_link(&self, query: RouteQuery) -> Result<u32, EngineError> {
        let routes = match self.routes.get() {
            Some(routes) => routes,
            None => {
                let opened = LocalRoutes::open()?;
                self.routes.get_or_init(|| opened)
            }
        };
        Ok(routes.link(query).await?)
    }

    /// Admits flows within a slice from now on. This flow is its first, which the daemon has admitted. `false` where there are as
    /// many slices as there may be.
    #[must_use]
    pub(in crate::engine::remote) fn hold_slice(&self, slice: &Arc<HeldSlice>, first: &str) -> bool {
        slice.count(first);
        self.held.in_slice(first, slice);
        self.slices.add(slice)
    }

    /// Ends a slice once it has had no flow for so long.
    pub(in crate::engine::remote) fn end_when_idle(&self, slice: &Arc<HeldSlice>, idle: Duration) {
        let (me, slice) = (Weak::clone(&self.me), Arc::downgrade(slice));
        self.spawn(async move {
            loop {
                let pause = {
                    let (Some(engine), Some(slice)) = (me.upgrade(), slice.upgrade()) else { return };
                    let left = idle.saturating_sub(slice.idle(engine.now()));
                    if left.is_zero() {
                        engine.end_slice(&slice);
                    }
                    if slice.has_ended() {
                        return;
                    }
                    left.max(SHORTEST_PAUSE)
                };
                tokio::time::sleep(pause).await;
            }
        });
    }

    /// Admits nothing more within a slice. Its group ends with its last flow.
    pub(in crate::engine::remote) fn end_slice(&self, slice: &HeldSlice) {
        if slice.end() {
            self.slices.remove(slice);
            self.end_group(slice.id().to_owned());
        }
    }
}
