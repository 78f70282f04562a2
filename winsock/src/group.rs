//! Socket groups: sockets that share one reservation, as in Winsock 2 of 1998.
//!
//! A group lives as long as its sockets. The socket that created it sets the group's QOS; requests of the others are
//! ignored. In the ledger a group is an envelope: reserved as a whole, spent by its members.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use flowspec::{Qos, Wsa};
use gqos::linux::RouteQuery;

use super::Result;
use super::protocol::{Family, SocketType};
use super::qos_host::QosHost;
use super::qos_state::needs_no_reservation;
use super::status::QosStatus;
use crate::sys;

/// The group of a new socket, as WSASocket's parameter `g` selects it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum GroupSelection {
    /// No group.
    #[default]
    None,
    /// SG_UNCONSTRAINED_GROUP: a new group of any sockets.
    Unconstrained,
    /// SG_CONSTRAINED_GROUP: a new group of streams of one family to one host.
    Constrained,
    /// The group with this SO_GROUP_ID.
    Join(u32),
}

impl GroupSelection {
    /// The selection of a value of `g`.
    pub const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::None,
            1 => Self::Unconstrained,
            2 => Self::Constrained,
            id => Self::Join(id),
        }
    }
}

/// A socket's membership in a group.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) group: Arc<SocketGroup>,
    /// The socket created the group and sets its QOS.
    pub(crate) is_creator: bool,
}

/// Sockets that share one reservation, as WSAConnect's lpGQOS asks.
#[derive(Debug)]
pub(crate) struct SocketGroup {
    pub(crate) id: u32,
    pub(crate) is_constrained: bool,
    family: Family,
    socket_type: SocketType,
    groups: Weak<Groups>,
    state: Mutex<GroupState>,
}

#[derive(Debug, Default)]
pub(crate) struct GroupState {
    /// The host to which all sockets of a constrained group connect.
    pub(crate) peer_host: Option<IpAddr>,
    /// The QOS that was requested, reserved or not.
    pub(crate) requested: Option<Qos>,
    /// The QOS that is reserved, and the peer whose route decided the interface.
    pub(crate) reserved: Option<(Qos, RouteQuery)>,
    interface: Option<String>,
}

/// The groups of the provider, and the host that reserves for them.
pub(crate) struct Groups {
    host: Arc<QosHost>,
    registry: Mutex<Registry>,
}

#[derive(Debug, Default)]
struct Registry {
    /// The largest id so far: ids of ended groups are not used again.
    last_id: u32,
    open: BTreeMap<u32, Weak<SocketGroup>>,
}

impl std::fmt::Debug for Groups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.registry().fmt(f)
    }
}

/// Ids begin above SG_UNCONSTRAINED_GROUP and SG_CONSTRAINED_GROUP.
const LAST_RESERVED_ID: u32 = 2;

/// The most groups at once.
const MAX_GROUPS: usize = 10_000;

impl Groups {
    pub(crate) fn new(host: Arc<QosHost>) -> Self {
        Self { host, registry: Mutex::default() }
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        // The registry is consistent between any two statements that can panic.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the group that is selected for a socket, or joins it.
    ///
    /// - **Errors**: WSAEINVAL for a group that does not exist or does not take such sockets; WSAENOBUFS where there
    ///   are too many groups.
    pub(crate) fn enter(
        self: &Arc<Self>,
        selection: GroupSelection,
        family: Family,
        socket_type: SocketType,
    ) -> Result<Option<Membership>> {
        let is_constrained = match selection {
            GroupSelection::None => return Ok(None),
            GroupSelection::Join(id) => {
                let group = self.registry().open.get(&id).and_then(Weak::upgrade).ok_or(Wsa::Einval)?;
                if group.is_constrained && (family, socket_type) != (group.family, group.socket_type) {
                    return Err(Wsa::Einval);
                }
                return Ok(Some(Membership { group, is_creator: false }));
            }
            GroupSelection::Unconstrained => false,
            GroupSelection::Constrained if socket_type != SocketType::Stream => return Err(Wsa::Einval),
            GroupSelection::Constrained => true,
        };
        let mut registry = self.registry();
        registry.open.retain(|_, group| group.strong_count() > 0);
        if registry.open.len() >= MAX_GROUPS {
            return Err(Wsa::Enobufs);
        }
        let id = registry.last_id.max(LAST_RESERVED_ID).checked_add(1).ok_or(Wsa::Enobufs)?;
        let (groups, state) = (Arc::downgrade(self), Mutex::default());
        let group = Arc::new(SocketGroup { id, is_constrained, family, socket_type, groups, state });
        registry.last_id = id;
        registry.open.insert(id, Arc::downgrade(&group));
        Ok(Some(Membership { group, is_creator: true }))
    }
}

impl SocketGroup {
    pub(crate) fn state(&self) -> MutexGuard<'_, GroupState> {
        // The state is consistent between any two statements that can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The group's id in the ledger.
    fn ledger_id(&self) -> String {
        format!("winsock-{}-group-{}", sys::process_id(), self.id)
    }

    /// The id in the ledger, where the group has a reservation for its members to share.
    pub(crate) fn shared_id(&self) -> Option<String> {
        self.state().reserved.as_ref().map(|_| self.ledger_id())
    }

    /// The QOS that is reserved, else the one that was requested.
    pub(crate) fn qos(&self) -> Option<Qos> {
        let state = self.state();
        state.reserved.map(|(qos, _)| qos).or(state.requested)
    }

    pub(crate) fn is_reserved_on(&self, interface: &str) -> bool {
        let state = self.state();
        state.reserved.is_some() && state.interface.as_deref() == Some(interface)
    }

    /// Reserves this QOS in place of the group's earlier reservation, which is returned.
    ///
    /// - **Errors**: the refusal's code and status; the earlier reservation is kept.
    pub(crate) fn reserve(
        self: &Arc<Self>,
        qos: Qos,
        to: RouteQuery,
    ) -> core::result::Result<PreviousGroupReservation, (Wsa, QosStatus)> {
        let before = self.state().reserved;
        let groups = self.groups.upgrade();
        let groups = groups.ok_or((Wsa::NotInitialised, QosStatus::from(Wsa::QosGenericError)))?;
        if needs_no_reservation(&qos) {
            self.release(&groups.host);
        } else {
            let interface = groups.host.reserve_group(self.ledger_id(), qos, to);
            let interface = interface.map_err(|error| error.codes())?;
            let mut state = self.state();
            (state.reserved, state.requested) = (Some((qos, to)), Some(qos));
            state.interface = Some(interface);
        }
        Ok(PreviousGroupReservation { group: Arc::clone(self), before })
    }

    fn release(&self, host: &QosHost) {
        if self.state().reserved.take().is_some() {
            host.release_group(self.ledger_id());
        }
    }
}

impl Drop for SocketGroup {
    fn drop(&mut self) {
        if let Some(groups) = self.groups.upgrade() {
            groups.registry().open.remove(&self.id);
            self.release(&groups.host);
        }
    }
}

/// A group's reservation before a connect call replaced it.
pub(crate) struct PreviousGroupReservation {
    group: Arc<SocketGroup>,
    before: Option<(Qos, RouteQuery)>,
}

impl PreviousGroupReservation {
    /// Restores it, since the connection was not made.
    pub(crate) fn restore(self) {
        let Self { group, before } = self;
        let Some(groups) = group.groups.upgrade() else { return };
        match before {
            Some((qos, to)) => {
                group.state().reserved = before;
                groups.host.restore_group(group.ledger_id(), qos, to);
            }
            None => group.release(&groups.host),
        }
    }
}
