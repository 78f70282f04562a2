//! What is held, and by which client.

use std::sync::Arc;

use flowspec::Timestamp;

use super::notices::Process;
use super::saved::HeldSocket;
use crate::admission::{Decision, GroupRequest};
use crate::engine::{Admitted, Reservation};
use crate::policy::Owner;

/// The number of a connection; no two have the same.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct ConnectionId(pub(super) u64);

impl ConnectionId {
    /// That of clients from before the daemon was started, which have not connected again.
    pub(super) const BEFORE: Self = Self(u64::MAX);
}

/// The connection that asks for something, and its process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    pub(super) connection: ConnectionId,
    pub(super) process: Process,
}

/// An id: a reservation, or a request that is under way.
pub(super) struct HeldId {
    pub(super) client: Client,
    /// `None` while the engine has not answered.
    pub(super) granted: Option<HeldGrant>,
    pub(super) socket: Option<HeldSocket>,
    /// Whether its socket may have ended unseen: it was not listed when the sockets that live were.
    pub(super) is_doubtful: bool,
    /// The run of the daemon that has granted it.
    pub(super) epoch: Arc<str>,
    /// Whether its client is known to be there: it has asked for it, or has claimed it since.
    pub(super) is_claimed: bool,
}

/// A reservation that was granted.
pub(super) struct HeldGrant {
    pub(super) reservation: Reservation,
    pub(super) admitted: Admitted,
    pub(super) decision: Box<Decision>,
    pub(super) requester: Requester,
    /// When this run of the daemon began to hold it.
    pub(super) since: Timestamp,
    /// Its peer has answered.
    pub(super) is_committed: bool,
}

/// What the engine does not know of a request, to be asked for again.
#[derive(Clone, Debug, Default)]
pub(super) struct Requester {
    pub(super) client: Option<String>,
    pub(super) group: Option<String>,
    pub(super) owner: Owner,
    pub(super) setup_priority: Option<u8>,
    pub(super) holding_priority: Option<u8>,
    /// Whether the client has named an interface and no peer: the flow stays there, wherever its packets leave.
    pub(super) names_interface: bool,
}

/// A group that a client has made.
#[derive(Clone, Debug)]
pub(super) struct HeldGroup {
    pub(super) client: Client,
    pub(super) request: Box<GroupRequest>,
    /// Whether its owner has ended it, or is gone: it ends with its last member.
    pub(super) has_ended: bool,
}
