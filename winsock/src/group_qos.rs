//! The quality of service of socket groups: SIO_SET_GROUP_QOS, SIO_GET_GROUP_QOS and FD_GROUP_QOS.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use flowspec::{Qos, Wsa};

use super::Result;
use super::endpoint::Endpoint;
use super::group::{Membership, PreviousGroupReservation};
use super::network_events::EventSet;
use super::provider::check_started;
use super::qos_state::merged;
use super::socket_table;

/// Reports to the members of an interface's groups that its reservations exceed its capacity (`exceeded`), or no longer
/// do. Groups are not preempted.
pub(crate) fn on_overcommitment(interface: &str, exceeded: bool) {
    let code = if exceeded { Wsa::QosAdmissionFailure } else { Wsa::QosRequestConfirmed };
    let is_concerned = |endpoint: &Endpoint| {
        endpoint.membership().is_some_and(|member| member.group.is_reserved_on(interface))
    };
    for member in socket_table::find(is_concerned) {
        member.events.record(EventSet::GROUP_QOS, Some(code));
    }
}

impl Endpoint {
    /// Whether the socket has created its group, and so sets the group's QOS.
    pub fn is_group_creator(&self) -> bool {
        self.membership().is_some_and(|member| member.is_creator)
    }

    /// SO_GROUP_ID; 0 without a group.
    pub fn group_id(&self) -> u32 {
        self.membership().map_or(0, |member| member.group.id)
    }

    /// Checks that the socket's group may connect to this host.
    ///
    /// - **Errors**: WSAEINVAL for a constrained group that is connected to another host.
    pub(crate) fn check_group_peer(&self, peer: IpAddr) -> Result<()> {
        let Some(Membership { group, .. }) = self.membership() else { return Ok(()) };
        let host = group.state().peer_host;
        if group.is_constrained && host.is_some_and(|host| host != peer) { Err(Wsa::Einval) } else { Ok(()) }
    }

    /// Makes the peer of a first connection the host of a constrained group.
    pub(crate) fn set_group_peer(&self, peer: IpAddr) {
        if let Some(Membership { group, .. }) = self.membership()
            && group.is_constrained
        {
            group.state().peer_host.get_or_insert(peer);
        }
    }

    /// Reserves for the socket's group what its creator requests: with the connect call, or by SIO_SET_GROUP_QOS
    /// before. Returns the earlier reservation, where it was replaced.
    ///
    /// - **Errors**: WSAEOPNOTSUPP, with the status kept for SIO_GET_QOS.
    pub(crate) fn reserve_group(
        &self,
        gqos: Option<Qos>,
        peer: SocketAddr,
    ) -> Result<Option<PreviousGroupReservation>> {
        let Some(Membership { group, is_creator: true }) = self.membership() else { return Ok(None) };
        let (requested, reserved) = {
            let state = group.state();
            (gqos.or(state.requested), state.reserved)
        };
        let Some(requested) = requested else { return Ok(None) };
        let qos = merged(&requested, reserved.as_ref().map(|(qos, _)| qos));
        let to = self.route_to(peer);
        if reserved == Some((qos, to)) {
            return Ok(None);
        }
        let before = group.reserve(qos, to).map_err(|(code, status)| {
            self.state().qos.status = Some(status);
            code
        })?;
        let id = group.id;
        for member in socket_table::find(|other| other.group_id() == id) {
            member.events.record(EventSet::GROUP_QOS, Some(Wsa::QosRequestConfirmed));
        }
        Ok(Some(before))
    }

    /// Requests a QOS for the socket's group: it is reserved at once where the socket has a peer, else with its
    /// connection.
    ///
    /// - **Errors**: WSAEINVAL where the socket has not created its group; WSAEOPNOTSUPP where the request is refused.
    /// - **Source**: WSPIoctl, SIO_SET_GROUP_QOS.
    pub fn set_group_qos(&self, requested: &Qos) -> Result<()> {
        check_started()?;
        let Some(Membership { group, is_creator: true }) = self.membership() else { return Err(Wsa::Einval) };
        let peer = self.state().peer;
        if let Some(peer) = peer {
            return self.reserve_group(Some(*requested), peer).map(drop);
        }
        let before = group.qos();
        group.state().requested = Some(merged(requested, before.as_ref()));
        Ok(())
    }

    /// The QOS that is reserved or requested for the socket's group; `None` where there is none.
    ///
    /// - **Source**: WSPIoctl, SIO_GET_GROUP_QOS.
    pub fn group_qos(self: &Arc<Self>) -> Result<Option<Qos>> {
        check_started()?;
        self.enable_event(EventSet::GROUP_QOS);
        Ok(self.membership().and_then(|member| member.group.qos()))
    }
}
