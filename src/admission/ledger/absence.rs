//! Flows without their peers: since when, and until when they keep their reservations.

use flowspec::Moment;

use crate::admission::account::rank::Rank;
use crate::admission::peer::PeerLoss;
use crate::ordered::{OrderedMap, OrderedSet};
use crate::policy::{PeerTimeouts, Timeout};

/// The flows whose peers are silent or accept nothing, by slot. At most as many as there are flows.
#[derive(Clone, Debug, Default)]
pub(crate) struct AbsentPeers {
    absences: OrderedMap<u32, (Rank, PeerAbsence)>,
    /// When the flows end, at one moment in the order in which they were admitted.
    due: OrderedSet<(Moment, Rank)>,
}

/// Since when a flow is without its peer, and when it ends for that.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct PeerAbsence {
    pub(crate) silent: Option<Moment>,
    pub(crate) stalled: Option<Moment>,
    /// `None` where its timeouts are off.
    pub(crate) end: Option<(Moment, PeerLoss)>,
}

impl PeerAbsence {
    /// The same under these timeouts.
    pub(crate) fn under(self, timeouts: PeerTimeouts) -> Self {
        let at = |since: Option<Moment>, timeout: Timeout, loss| {
            Some((since?.checked_add(timeout.limit()?)?, loss))
        };
        let dead = at(self.silent, timeouts.dead_after, PeerLoss::Dead);
        let stalled = at(self.stalled, timeouts.stalled_after, PeerLoss::Stalled);
        Self { end: dead.into_iter().chain(stalled).min(), ..self }
    }
}

impl AbsentPeers {
    /// When the next flow ends.
    pub(crate) fn next(&self) -> Option<(Moment, u32)> {
        self.due.first().map(|(at, rank)| (*at, rank.slot()))
    }

    /// The flow in a slot has its peer again, or has ended.
    pub(crate) fn remove(&mut self, slot: u32) {
        if let Some((rank, PeerAbsence { end: Some((at, _)), .. })) = self.absences.remove(&slot) {
            self.due.remove(&(at, rank));
        }
    }

    pub(crate) fn insert(&mut self, rank: Rank, absence: PeerAbsence) {
        self.remove(rank.slot());
        self.absences.insert(rank.slot(), (rank, absence));
        self.due.extend(absence.end.map(|(at, _)| (at, rank)));
    }

    /// Since when the flow in a slot is without its peer.
    pub(crate) fn get(&self, slot: u32) -> Option<PeerAbsence> {
        self.absences.get(&slot).map(|(_, absence)| *absence)
    }

    /// The flows that are without their peers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Rank, PeerAbsence)> {
        self.absences.values().copied()
    }

    /// Asserts that flows end when their absences say.
    pub(crate) fn invariants(&self) {
        let ends = self.iter().filter_map(|(rank, absence)| Some((absence.end?.0, rank)));
        assert_eq!(self.due, ends.collect(), "when the flows without their peers end");
    }
}
