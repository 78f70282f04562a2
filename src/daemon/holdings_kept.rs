//! What is written down of the reservations that clients hold, and what a daemon that was started again takes over.

use std::collections::HashSet;
use std::sync::Arc;

use shaper::clock;

use super::held::{Client, ConnectionId, HeldGrant, HeldGroup, HeldId, Requester};
use super::holdings::Reservations;
use super::notices::Process;
use super::saved::{HeldSocket, SavedFlow, SavedGroup, StateLine};
use super::state_log::Key;
use crate::engine::{Granted, KeptReservation};

impl Reservations {
    /// A reservation was granted again that a daemon before this one had granted. `false` where another reservation has its
    /// id or its socket.
    pub(super) fn adopt(self: &Arc<Self>, flow: &SavedFlow, granted: Granted) -> bool {
        let SavedFlow { uid, pid, epoch, socket, reservation: kept } = flow;
        let client = Client { connection: ConnectionId::BEFORE, process: Process { uid: *uid, pid: *pid } };
        let Granted { admitted, reservation, decision } = granted;
        let requester = Requester {
            client: kept.client.clone(),
            group: kept.group.clone(),
            owner: kept.owner.clone(),
            setup_priority: kept.setup_priority,
            holding_priority: kept.holding_priority,
            names_interface: false,
        };
        let (reserved, decision) = (reservation.state(), Box::new(decision));
        let (since, is_committed) = (clock::now(), kept.is_established);
        let mut state = self.state();
        let has_socket = |socket: &HeldSocket| state.sockets.contains_key(&socket.cookie);
        if state.held.contains_key(&kept.id) || socket.as_ref().is_some_and(has_socket) {
            return false;
        }
        let held = HeldId {
            client,
            granted: Some(HeldGrant { reservation, admitted, decision, requester, since, is_committed }),
            socket: *socket,
            is_doubtful: socket.is_some_and(|socket| !socket.is_listed),
            epoch: epoch.as_str().into(),
            is_claimed: false,
        };
        state.held.insert(kept.id.clone(), held);
        *state.counts.entry(*uid).or_default() += 1;
        if let Some(socket) = socket {
            state.sockets.insert(socket.cookie, kept.id.clone());
        }
        drop(state);
        self.watch(&kept.id, client, &reserved);
        true
    }

    /// A group was made again that a daemon before this one had made.
    pub(super) fn adopt_group(&self, group: &SavedGroup) {
        let process = Process { uid: group.uid, pid: group.pid };
        let client = Client { connection: ConnectionId::BEFORE, process };
        self.group_made(group.request(), client);
    }

    /// The groups of these ids had ended for their owners, and have the members that were adopted.
    pub(super) fn groups_had_ended(&self, ids: &[String]) {
        self.state().end_groups(|group| ids.contains(&group.request.id));
    }

    /// Ends what no client has claimed and no socket keeps. Gives the ids of the reservations, and of the groups, which
    /// the engine has to end.
    pub(super) fn end_unclaimed(&self, live: &HashSet<u64>) -> (Vec<String>, Vec<String>) {
        let mut state = self.state();
        for held in state.held.values_mut() {
            if let Some(socket) = &mut held.socket {
                socket.is_listed |= live.contains(&socket.cookie);
            }
        }
        let ended = state.end_where(|_, held| {
            !held.is_claimed && held.granted.is_some() && !held.socket.is_some_and(|socket| socket.is_listed)
        });
        let groups = state.end_groups(|group| group.client.connection == ConnectionId::BEFORE);
        drop(state);
        groups.iter().for_each(|id| self.journal.note(Key::Group(id.clone())));
        let ids = ended.iter().map(|reservation| reservation.id().to_owned()).collect();
        self.release_all(ended);
        (ids, groups)
    }

    /// What is written down of something that is held; `kept` is what the engine knows of a reservation.
    pub(super) fn line(&self, key: &Key, kept: impl FnOnce(&str) -> Option<KeptReservation>) -> StateLine {
        match key {
            Key::Flow(id) => match self.saved(id, kept) {
                Some(flow) => StateLine::Flow(Box::new(flow)),
                None => key.ended(),
            },
            Key::Group(id) => match self.state().groups.get(id) {
                Some(group) => StateLine::Group(Box::new(saved_group(group))),
                None => key.ended(),
            },
        }
    }

    fn saved(&self, id: &str, kept: impl FnOnce(&str) -> Option<KeptReservation>) -> Option<SavedFlow> {
        let (client, epoch, socket, (requester, is_committed)) = {
            let state = self.state();
            let held = state.held.get(id)?;
            let granted = held.granted.as_ref()?;
            let request = (granted.requester.clone(), granted.is_committed);
            (held.client, held.epoch.to_string(), held.socket, request)
        };
        // The engine has locks of its own.
        let mut reservation = kept(id)?;
        reservation.client = requester.client;
        reservation.owner = requester.owner;
        // The client has committed, and the engine may not have handled that yet.
        reservation.is_established |= is_committed;
        (reservation.setup_priority, reservation.holding_priority) =
            (requester.setup_priority, requester.holding_priority);
        Some(SavedFlow { uid: client.process.uid, pid: client.process.pid, epoch, socket, reservation })
    }

    /// Everything that is written down.
    pub(super) fn written(&self) -> Vec<Key> {
        let state = self.state();
        let flows = state.held.keys().cloned().map(Key::Flow);
        state.groups.keys().cloned().map(Key::Group).chain(flows).collect()
    }
}

fn saved_group(group: &HeldGroup) -> SavedGroup {
    let HeldGroup { client, request, has_ended } = group;
    let Process { uid, pid } = client.process;
    SavedGroup { has_ended: *has_ended, ..SavedGroup::of(request, uid, pid) }
}
