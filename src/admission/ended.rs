//! Flows that have ended though their owners have not ended them, and why.

use super::holding::Holding;
use super::peer::PeerLoss;

/// A flow that has ended though its owner has not ended it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EndedFlow {
    /// The reservation that is free now.
    pub held: Holding,
    /// Decides the loss that the owner is notified of.
    pub cause: EndCause,
}

/// Why a flow has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum EndCause {
    /// Its time is over.
    Expired,
    /// Its link carries less than before.
    Shed,
    /// It is without its peer for too long.
    Peer(PeerLoss),
}

/// The names of flows that time has ended, by cause, each in the order in which they ended.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EndedIds {
    /// Their time was over.
    pub expired: Vec<String>,
    /// Their peers are gone.
    pub dead: Vec<String>,
    /// Their peers accepted nothing.
    pub stalled: Vec<String>,
}

impl EndedFlow {
    /// Why it is without its peer, where that has ended it.
    pub const fn peer_loss(&self) -> Option<PeerLoss> {
        match self.cause {
            EndCause::Peer(loss) => Some(loss),
            EndCause::Expired | EndCause::Shed => None,
        }
    }
}

impl EndedIds {
    /// The names of these flows. Shed flows are named by the change of their link's capacity.
    pub(crate) fn of(ended: &[EndedFlow]) -> Self {
        let mut ids = Self::default();
        for EndedFlow { held, cause } in ended {
            let list = match cause {
                EndCause::Expired => &mut ids.expired,
                EndCause::Peer(PeerLoss::Dead) => &mut ids.dead,
                EndCause::Peer(PeerLoss::Stalled) => &mut ids.stalled,
                EndCause::Shed => continue,
            };
            list.push(held.id.clone());
        }
        ids
    }

    /// Adds flows that have ended later.
    pub(crate) fn append(&mut self, mut later: Self) {
        self.expired.append(&mut later.expired);
        self.dead.append(&mut later.dead);
        self.stalled.append(&mut later.stalled);
    }

    /// Whether no flow has ended.
    pub const fn is_empty(&self) -> bool {
        self.expired.is_empty() && self.dead.is_empty() && self.stalled.is_empty()
    }
}
