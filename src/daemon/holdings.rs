//! The reservations that clients hold: with which connection or socket each of them lives, and which user it belongs to.
//!
//! An id is here from its request on, so that the events of a flow are shown to its user from the first one on.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use flowspec::{Bytes, Timestamp};
use shaper::clock;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::held::{Client, ConnectionId, HeldGrant, HeldGroup, HeldId, Requester};
use super::journal::Journal;
use super::notices::{Notices, Process};
use super::refused::RefusedIds;
use super::saved::HeldSocket;
use super::state_log::Key;
use crate::admission::Decision;
use crate::admission::GroupRequest;
use crate::control::{ClientNotice, DecisionDetails, ReleaseCall};
use crate::engine::{Admitted, Granted, Lingering, Reservation, ReservationState, Usage};

/// The reservations of all clients.
pub(super) struct Reservations {
    state: Mutex<State>,
    notices: Arc<Notices>,
    pub(super) journal: Arc<Journal>,
    /// This run of the daemon.
    epoch: Arc<str>,
    /// A connection has ended, and sockets of its reservations may have as well.
    doubt: Notify,
}

/// Maps that are iterated are ordered, so that the same calls lead to the same releases in the same order.
#[derive(Default)]
pub(super) struct State {
    /// By their ids.
    pub(super) held: BTreeMap<String, HeldId>,
    /// The ids by the cookies of the sockets.
    pub(super) sockets: HashMap<u64, String>,
    /// The flows that wait for capacity.
    waiting: BTreeMap<String, Waiting>,
    /// The groups that clients have made.
    pub(super) groups: BTreeMap<String, HeldGroup>,
    /// Groups that have ended with their last members, until that is written down.
    groups_left: Vec<String>,
    /// The connections that are open.
    open: HashSet<ConnectionId>,
    /// How many ids each user has.
    pub(super) counts: HashMap<u32, usize>,
    /// The ids whose requests have come to nothing.
    refused: RefusedIds,
}

struct Waiting {
    client: Client,
    /// Turns notifications of the engine into notices.
    task: AbortHandle,
}

/// An id whose request is under way. Dropped without a reservation, it is free again.
pub(super) struct RequestedId {
    holdings: Arc<Reservations>,
    id: String,
    client: Client,
    is_done: bool,
}

/// What is shown of a reservation.
#[derive(Clone, Debug)]
pub(super) struct ShownReservation {
    pub(super) id: String,
    pub(super) process: Process,
    pub(super) cookie: Option<u64>,
    /// The client that it is counted for.
    pub(super) client: Option<String>,
    /// When this run of the daemon began to hold it.
    pub(super) since: Timestamp,
}

/// Why an id cannot be requested.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NotRequested {
    /// It is taken, by a reservation or by a request that is under way.
    Taken,
    /// The user holds as many as there may be.
    TooMany(usize),
}

/// What a connection's end leaves to the engine.
pub(super) struct LeftBehind {
    pub(super) groups: Vec<String>,
    pub(super) waiting: Vec<String>,
}

impl Reservations {
    /// No reservations yet, in the run `epoch` of the daemon. The journal is notified of each change.
    pub(super) fn new(notices: Arc<Notices>, journal: Arc<Journal>, epoch: &str) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            notices,
            journal,
            epoch: epoch.into(),
            doubt: Notify::new(),
        })
    }

    /// A connection begins.
    pub(super) fn connected(&self, connection: ConnectionId) {
        self.state().open.insert(connection);
    }

    /// A connection has ended: what lives with it is released.
    pub(super) fn disconnected(&self, connection: ConnectionId) -> LeftBehind {
        let mut state = self.state();
        state.open.remove(&connection);
        let lives_with = |held: &HeldId| {
            held.client.connection == connection && held.granted.is_some() && held.socket.is_none()
        };
        let ended = state.end_where(|_, held| lives_with(held));
        let groups = state.end_groups(|group| group.client.connection == connection);
        let waiting: Vec<_> = keys(&state.waiting, |waiting| waiting.client.connection == connection);
        if state.held.values().any(|held| held.is_doubtful && held.client.connection == connection) {
            self.doubt.notify_one();
        }
        waiting.iter().for_each(|id| state.stop_waiting(id));
        drop(state);
        groups.iter().for_each(|id| self.journal.note(Key::Group(id.clone())));
        self.release_all(ended);
        LeftBehind { groups, waiting }
    }

    /// Notes that a client requests a flow of this id.
    ///
    /// - **Errors**: the id is taken; the user holds `most` already.
    pub(super) fn request(
        self: &Arc<Self>,
        id: &str,
        client: Client,
        most: usize,
    ) -> Result<RequestedId, NotRequested> {
        let mut state = self.state();
        let own = state.counts.get(&client.process.uid).copied().unwrap_or(0);
        if own >= most {
            return Err(NotRequested::TooMany(own));
        }
        if state.held.contains_key(id) {
            return Err(NotRequested::Taken);
        }
        let epoch = Arc::clone(&self.epoch);
        let held =
            HeldId { client, granted: None, socket: None, is_doubtful: false, epoch, is_claimed: true };
        state.held.insert(id.to_owned(), held);
        *state.counts.entry(client.process.uid).or_default() += 1;
        Ok(RequestedId { holdings: Arc::clone(self), id: id.to_owned(), client, is_done: false })
    }

    /// The user that an id belongs to, from its request on.
    pub(super) fn owner(&self, id: &str) -> Option<u32> {
        let state = self.state();
        let held = state.held.get(id).map(|held| held.client.process.uid);
        held.or_else(|| state.waiting.get(id).map(|waiting| waiting.client.process.uid))
    }

    /// The user whose request for an id was refused last.
    pub(super) fn refused_owner(&self, id: &str) -> Option<u32> {
        self.state().refused.user(id)
    }

    /// The process that an id belongs to.
    pub(super) fn process(&self, id: &str) -> Option<Process> {
        Some(self.state().held.get(id)?.client.process)
    }

    /// The user that has made a group; `None` for a group of the policy.
    pub(super) fn group_owner(&self, id: &str) -> Option<u32> {
        self.group_process(id).map(|process| process.uid)
    }

    /// The process that has made a group.
    pub(super) fn group_process(&self, id: &str) -> Option<Process> {
        self.state().groups.get(id).map(|group| group.client.process)
    }

    /// A client has made a group, or changed its own.
    pub(super) fn group_made(&self, request: GroupRequest, client: Client) {
        let key = Key::Group(request.id.clone());
        let mut state = self.state();
        let before = state.groups.get(&request.id).filter(|group| !group.has_ended).map(|group| group.client);
        let client = before.filter(|before| before.connection != ConnectionId::BEFORE).unwrap_or(client);
        let (id, request) = (request.id.clone(), Box::new(request));
        state.groups.insert(id, HeldGroup { client, request, has_ended: false });
        drop(state);
        self.journal.note(key);
    }

    /// A group's owner has ended it.
    pub(super) fn group_ended(&self, id: &str) {
        self.state().end_groups(|group| group.request.id == id);
        self.journal.note(Key::Group(id.to_owned()));
    }

    /// How the flow of an id is set up.
    pub(super) fn admitted(&self, id: &str) -> Option<Admitted> {
        let state = self.state();
        state.held.get(id).and_then(|held| held.granted.as_ref()).map(|granted| granted.admitted.clone())
    }

    /// Whether the client of a reservation has named its interface and no peer.
    pub(super) fn names_interface(&self, id: &str) -> bool {
        let state = self.state();
        let granted = state.held.get(id).and_then(|held| held.granted.as_ref());
        granted.is_some_and(|granted| granted.requester.names_interface)
    }

    /// The state of a reservation.
    pub(super) fn reservation(&self, id: &str) -> Option<Arc<ReservationState>> {
        Some(self.state().held.get(id)?.granted.as_ref()?.reservation.state())
    }

    /// A flow was renegotiated, and is set up like this from now on.
    pub(super) fn renegotiated(&self, id: &str, now: Admitted) {
        let mut state = self.state();
        if let Some(granted) = state.held.get_mut(id).and_then(|held| held.granted.as_mut()) {
            granted.admitted = now;
        }
        drop(state);
        self.changed(id);
    }

    /// Something else of a reservation has changed.
    pub(super) fn changed(&self, id: &str) {
        self.journal.note(Key::Flow(id.to_owned()));
    }

    /// The flow's peer has answered.
    pub(super) fn commit(&self, id: &str) {
        let mut state = self.state();
        if let Some(granted) = state.held.get_mut(id).and_then(|held| held.granted.as_mut()) {
            granted.is_committed = true;
            granted.reservation.connected();
        }
        drop(state);
        self.changed(id);
    }

    /// Ties a reservation to a socket, in place of the one before. `false` where another reservation has the socket.
    pub(super) fn attach(&self, id: &str, socket: HeldSocket) -> bool {
        let mut state = self.state();
        if state.sockets.get(&socket.cookie).is_some_and(|holder| holder != id) {
            return false;
        }
        let Some(held) = state.held.get_mut(id).filter(|held| held.granted.is_some()) else { return false };
        let before = held.socket.replace(socket);
        held.is_doubtful = false;
        if let Some(before) = before {
            state.sockets.remove(&before.cookie);
        }
        state.sockets.insert(socket.cookie, id.to_owned());
        drop(state);
        self.changed(id);
        true
    }

    /// The reservation lives with its client's connection again.
    pub(super) fn detach(&self, id: &str) {
        let mut state = self.state();
        if let Some(before) = state.held.get_mut(id).and_then(|held| held.socket.take()) {
            state.sockets.remove(&before.cookie);
        }
        drop(state);
        self.changed(id);
    }

    /// Sockets have ended: their reservations are released. Gives the ids.
    pub(super) fn sockets_ended(&self, cookies: &[u64]) -> Vec<String> {
        let mut state = self.state();
        let ids: Vec<_> = cookies.iter().filter_map(|cookie| state.sockets.get(cookie).cloned()).collect();
        let ended: Vec<_> = ids.iter().filter_map(|id| state.end(id)).collect();
        drop(state);
        self.release_all(ended);
        ids
    }

    /// Waits until the connection of a client has ended whose reservations live with sockets that may have ended unseen.
    pub(super) async fn doubted(&self) {
        self.doubt.notified().await;
    }

    /// The cookies of all sockets that reservations live with.
    pub(super) fn cookies(&self) -> HashSet<u64> {
        self.state().sockets.keys().copied().collect()
    }

    /// Releases the reservations whose sockets have ended: those in `known`, which had reservations before the kernel listed
    /// the `live` ones, and are not among them.
    pub(super) fn keep_live(&self, known: &HashSet<u64>, live: &HashSet<u64>) {
        let mut state = self.state();
        let open = state.open.clone();
        let ended = state.end_where(|_, held| {
            held.socket.is_some_and(|socket| {
                let is_gone = known.contains(&socket.cookie) && !live.contains(&socket.cookie);
                // The kernel does not list a socket before it is connected.
                is_gone && (socket.is_listed || !open.contains(&held.client.connection))
            })
        });
        for held in state.held.values_mut() {
            if let Some(socket) = held.socket.as_mut().filter(|socket| known.contains(&socket.cookie)) {
                let is_live = live.contains(&socket.cookie);
                socket.is_listed |= is_live;
                held.is_doubtful = !is_live;
            }
        }
        drop(state);
        self.release_all(ended);
    }

    /// Ends a reservation as its client says. `false` where there is none.
    pub(super) fn release(&self, asked: &ReleaseCall) -> bool {
        let reservation = self.state().end(&asked.id);
        let Some(mut reservation) = reservation else { return false };
        self.changed(&asked.id);
        self.note_groups();
        let usage =
            Usage { missing: asked.missing.unwrap_or_default(), sent: asked.sent.unwrap_or(Bytes::ZERO) };
        reservation.metered(move || usage);
        match asked.peer_gone.unwrap_or(false) {
            true => reservation.end_without_peer(),
            false => reservation.end(Lingering::Nothing),
        }
        true
    }

    /// A refused flow waits for capacity; the task notifies its client.
    pub(super) fn waits(&self, id: String, client: Client, task: AbortHandle) {
        let before = self.state().waiting.insert(id, Waiting { client, task });
        if let Some(before) = before {
            before.task.abort();
        }
    }

    /// A flow does not wait any more. `false` where it did not.
    pub(super) fn stop_waiting(&self, id: &str) -> bool {
        let mut state = self.state();
        let waits = state.waiting.contains_key(id);
        state.stop_waiting(id);
        waits
    }

    /// Whether a flow waits for capacity.
    pub(super) fn is_waiting(&self, id: &str) -> bool {
        self.state().waiting.contains_key(id)
    }

    /// The reservations behind an id in the order of ids, at most `most`. Only these are copied while the lock is held.
    pub(super) fn shown_after(&self, after: Option<&str>, most: usize) -> Vec<ShownReservation> {
        let state = self.state();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let held = state.held.range::<str, _>((from, Bound::Unbounded));
        held.filter(|(_, held)| held.granted.is_some()).take(most).map(|(id, held)| held.shown(id)).collect()
    }

    /// How many reservations are held.
    pub(super) fn count(&self) -> usize {
        self.state().held.values().filter(|held| held.granted.is_some()).count()
    }

    /// The engine has taken a reservation back.
    fn lost(&self, id: &str, of: &Arc<ReservationState>) -> Option<Client> {
        let mut state = self.state();
        let is_same = |granted: &HeldGrant| Arc::ptr_eq(&granted.reservation.state(), of);
        let held = state.held.get(id).filter(|held| held.granted.as_ref().is_some_and(is_same))?;
        let client = held.client;
        // It is lost: dropping it tells the engine nothing.
        drop(state.end(id));
        drop(state);
        self.changed(id);
        self.note_groups();
        Some(client)
    }

    /// Notifies the client of the reservation's loss, and of its start where it was made ahead.
    pub(super) fn watch(self: &Arc<Self>, id: &str, client: Client, state: &Arc<ReservationState>) {
        let (holdings, of, flow) = (Arc::downgrade(self), Arc::downgrade(state), id.to_owned());
        state.on_begin(move |admitted| {
            let Some(holdings) = holdings.upgrade() else { return };
            holdings.renegotiated(&flow, admitted.clone());
            let begun = ClientNotice::Begun { id: flow.clone(), admitted: Box::new(admitted.clone()) };
            holdings.notices.notify(client.process, &flow, &begun);
        });
        let (holdings, flow) = (Arc::downgrade(self), id.to_owned());
        state.on_move(move |answer| {
            let (Some(holdings), Some(admitted)) = (holdings.upgrade(), &answer.admitted) else { return };
            holdings.renegotiated(&flow, admitted.clone());
            let details = Box::new(DecisionDetails(answer.decision.clone()));
            let moved =
                ClientNotice::Moved { id: flow.clone(), details, admitted: Box::new(admitted.clone()) };
            holdings.notices.notify(client.process, &flow, &moved);
        });
        let holdings: Weak<Self> = Arc::downgrade(self);
        state.on_loss(move |lost| {
            if let (Some(holdings), Some(of)) = (holdings.upgrade(), of.upgrade())
                && let Some(client) = holdings.lost(&lost.id, &of)
            {
                holdings.notices.notify(client.process, &lost.id, &ClientNotice::Lost { lost: lost.clone() });
            }
        });
    }

    /// The run of the daemon.
    pub(super) fn epoch(&self) -> &str {
        &self.epoch
    }

    pub(super) fn release_all(&self, reservations: impl IntoIterator<Item = Reservation>) {
        for reservation in reservations {
            self.changed(reservation.id());
            reservation.end(Lingering::Nothing);
        }
        self.note_groups();
    }

    /// Writes down the groups that have ended with their last members.
    fn note_groups(&self) {
        let ended = std::mem::take(&mut self.state().groups_left);
        ended.into_iter().for_each(|id| self.journal.note(Key::Group(id)));
    }

    /// A client that has connected again claims a reservation, which is its user's and was granted in this run of the
    /// daemon: it lives with that connection, unless it lives with its socket. `None` where there is none.
    pub(super) fn claim(
        self: &Arc<Self>,
        id: &str,
        epoch: &str,
        client: Client,
    ) -> Option<(Decision, Admitted)> {
        let mut state = self.state();
        if !state.open.contains(&client.connection) {
            return None;
        }
        let is_own =
            |held: &&mut HeldId| *held.epoch == *epoch && held.client.process.uid == client.process.uid;
        let held = state.held.get_mut(id).filter(is_own)?;
        let granted = held.granted.as_ref()?;
        let answer = ((*granted.decision).clone(), granted.admitted.clone());
        let group = granted.requester.group.clone();
        (held.client, held.is_claimed) = (client, true);
        let reserved = granted.reservation.state();
        let group = group.and_then(|group| state.groups.get_mut(&group));
        if let Some(group) =
            group.filter(|group| group.client.connection == ConnectionId::BEFORE && !group.has_ended)
        {
            group.client = client;
        }
        drop(state);
        // Its notices go to the process that has claimed it.
        self.watch(id, client, &reserved);
        self.changed(id);
        Some(answer)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // The maps are whole between any two statements that can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HeldId {
    fn shown(&self, id: &str) -> ShownReservation {
        let cookie = self.socket.map(|socket| socket.cookie);
        let client = self.granted.as_ref().and_then(|granted| granted.requester.client.clone());
        let since = self.granted.as_ref().map_or_else(clock::now, |granted| granted.since);
        ShownReservation { id: id.to_owned(), process: self.client.process, cookie, client, since }
    }
}

impl State {
    /// Takes a reservation out.
    fn end(&mut self, id: &str) -> Option<Reservation> {
        let held = self.held.remove(id)?;
        let uid = held.client.process.uid;
        if let Some(count) = self.counts.get_mut(&uid) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&uid);
            }
        }
        if let Some(socket) = held.socket {
            self.sockets.remove(&socket.cookie);
        }
        let granted = held.granted?;
        if let Some(group) = granted.requester.group {
            self.leave_group(group);
        }
        Some(granted.reservation)
    }

    /// A member has left a group, which ends with its last one if its owner has ended it.
    fn leave_group(&mut self, id: String) {
        if self.groups.get(&id).is_some_and(|group| group.has_ended) && !self.has_members(&id) {
            self.groups.remove(&id);
            self.groups_left.push(id);
        }
    }

    fn has_members(&self, group: &str) -> bool {
        let mut granted = self.held.values().filter_map(|held| held.granted.as_ref());
        granted.any(|granted| granted.requester.group.as_deref() == Some(group))
    }

    /// Ends groups for their owners, and gives them. Those with members stay until these have left.
    pub(super) fn end_groups(&mut self, ends: impl Fn(&HeldGroup) -> bool) -> Vec<String> {
        let ended = keys(&self.groups, |group| !group.has_ended && ends(group));
        for id in &ended {
            if !self.has_members(id) {
                self.groups.remove(id);
            } else if let Some(group) = self.groups.get_mut(id) {
                group.has_ended = true;
            }
        }
        ended
    }

    pub(super) fn end_where(&mut self, ends: impl Fn(&str, &HeldId) -> bool) -> Vec<Reservation> {
        let ids: Vec<_> =
            self.held.iter().filter(|(id, held)| ends(id, held)).map(|(id, _)| id.clone()).collect();
        ids.iter().filter_map(|id| self.end(id)).collect()
    }

    fn stop_waiting(&mut self, id: &str) {
        if let Some(waiting) = self.waiting.remove(id) {
            waiting.task.abort();
        }
    }
}

impl RequestedId {
    /// The id that is requested.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The reservation was granted: it lives with its client's connection from now on. One whose connection has ended
    /// meanwhile is released.
    pub(super) fn granted(mut self, granted: Granted, requester: Requester) {
        self.is_done = true;
        let Granted { admitted, reservation, decision } = granted;
        let decision = Box::new(decision);
        let reserved = reservation.state();
        let mut state = self.holdings.state();
        let is_open = state.open.contains(&self.client.connection);
        if let Some(held) = state.held.get_mut(&self.id) {
            let (since, is_committed) = (clock::now(), false);
            held.granted =
                Some(HeldGrant { reservation, admitted, decision, requester, since, is_committed });
        }
        let ended = if is_open { None } else { state.end(&self.id) };
        drop(state);
        self.holdings.release_all(ended);
        self.holdings.changed(&self.id);
        if is_open {
            // After it is held, since it may be lost already.
            self.holdings.watch(&self.id, self.client, &reserved);
        }
    }
}

impl Drop for RequestedId {
    fn drop(&mut self) {
        if !self.is_done {
            let mut state = self.holdings.state();
            state.refused.note(&self.id, self.client.process.uid);
            drop(state.end(&self.id));
        }
    }
}

pub(super) fn keys<T>(map: &BTreeMap<String, T>, is: impl Fn(&T) -> bool) -> Vec<String> {
    map.iter().filter(|(_, value)| is(value)).map(|(id, _)| id.clone()).collect()
}
