//! The quality of service of a socket: requested, reserved, and reported to the program.

use std::collections::VecDeque;

use flowspec::{Both, Direction, Flowspec, Qos, ServiceType, Wsa};
use gqos::admission::Decision;
use gqos::engine::{Admitted, Reservation};
use shaper::headers::IpVersion;

use super::provider_specific::ProviderSpecific;
use super::status::QosStatus;

/// The QoS part of a socket's state.
#[derive(Debug, Default)]
pub(crate) struct QosState {
    /// What SIO_SET_QOS or the connect call has requested.
    pub(crate) requested: Option<Qos>,
    /// The objects of that request.
    pub(crate) provider_specific: ProviderSpecific,
    pub(crate) reservation: Option<HeldReservation>,
    pub(crate) status: Option<QosStatus>,
    /// The statuses that FD_QOS has announced and SIO_GET_QOS has not read, oldest first.
    unread: VecDeque<QosStatus>,
    /// The latest SIO_GET_QOS has read one of them: the one after the last reports WSAEWOULDBLOCK, once.
    reading: bool,
    /// What is known of the other end, until FD_QOS is selected.
    arrived: Vec<QosStatus>,
    /// The directions for which that was noted.
    noted: Both<bool>,
    /// The id under which a refused flow of this socket waits for capacity.
    pub(crate) waiting_id: Option<String>,
    /// The mark that the program had set, while the socket's packets carry another.
    pub(crate) original_mark: Option<OriginalMark>,
}

/// The DSCP of a socket, and the IP version whose packets carry it: an IPv6 socket sends to an IPv4-mapped peer by IPv4.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OriginalMark {
    pub(crate) version: IpVersion,
    pub(crate) code_point: u8,
}

/// A reservation, with the decision that granted it.
pub(crate) struct HeldReservation {
    pub(crate) reservation: Reservation,
    pub(crate) decision: Box<Decision>,
    /// How the flow is enforced.
    pub(crate) admitted: Box<Admitted>,
}

impl HeldReservation {
    /// The flow's id.
    pub(crate) fn id(&self) -> String {
        flow_id(&self.decision)
    }
}

pub(crate) fn flow_id(decision: &Decision) -> String {
    decision.id().unwrap_or_default().to_owned()
}

impl std::fmt::Debug for HeldReservation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.decision.id().unwrap_or_default())
    }
}

/// The most statuses that are kept for SIO_GET_QOS; beyond that the oldest is dropped.
const MAX_UNREAD: usize = 16;

impl QosState {
    /// The requested QOS as SIO_GET_QOS returns it: SERVICETYPE_NOCHANGE where nothing was requested.
    pub(crate) fn requested_or_no_change(&self) -> Qos {
        const NO_CHANGE: Flowspec = Flowspec::new(ServiceType::NoChange);
        self.requested.unwrap_or(Qos { sending: NO_CHANGE, receiving: NO_CHANGE })
    }

    /// Adds a status for FD_QOS to announce.
    pub(crate) fn push_status(&mut self, status: QosStatus) {
        if self.unread.len() >= MAX_UNREAD {
            self.unread.pop_front();
        }
        self.unread.push_back(status);
        self.status = Some(status);
    }

    /// Takes the oldest status that was not read.
    pub(crate) fn pop_status(&mut self) -> Option<QosStatus> {
        self.unread.pop_front()
    }

    /// The status for SIO_GET_QOS: the oldest unread one, else the latest; `Err` once after the last unread one.
    pub(crate) fn read_status(&mut self) -> Result<Option<QosStatus>, NoMoreStatuses> {
        let next = self.pop_status();
        let was_reading = std::mem::replace(&mut self.reading, next.is_some());
        if was_reading && next.is_none() { Err(NoMoreStatuses) } else { Ok(next.or(self.status)) }
    }
}

impl QosState {
    /// Keeps what is known of the other end's QoS: WSA_QOS_RECEIVERS where both ends have QoS for what this end sends,
    /// WSA_QOS_SENDERS where they have for what it receives. Each is kept once for a connection.
    pub(crate) fn note_other_end(&mut self, other: Both<bool>) {
        let own = self.requested_directions();
        for (direction, code) in
            [(Direction::Sending, Wsa::QosReceivers), (Direction::Receiving, Wsa::QosSenders)]
        {
            let both = *own.get(direction) && *other.get(direction);
            if both && !std::mem::replace(self.noted.get_mut(direction), true) {
                self.arrived.push(code.into());
            }
        }
    }

    /// Forgets what is known of another end.
    pub(crate) fn forget_other_end(&mut self) {
        self.noted = Both::default();
        self.arrived.clear();
    }

    /// The directions for which the socket has requested a reservation.
    pub(crate) fn requested_directions(&self) -> Both<bool> {
        self.requested.as_ref().map(reserved_directions).unwrap_or_default()
    }

    /// The directions for which the socket holds a reservation.
    pub(crate) fn reserved_directions(&self) -> Both<bool> {
        if self.reservation.is_some() { self.requested_directions() } else { Both::default() }
    }

    /// Takes what [`note_other_end`](Self::note_other_end) has kept.
    pub(crate) fn take_arrived(&mut self) -> Vec<QosStatus> {
        std::mem::take(&mut self.arrived)
    }
}

/// The directions for which a QOS needs a reservation.
pub(crate) fn reserved_directions(qos: &Qos) -> Both<bool> {
    Both { sending: !needs_none(&qos.sending), receiving: !needs_none(&qos.receiving) }
}

/// SIO_GET_QOS has read all statuses.
pub(crate) struct NoMoreStatuses;

pub(crate) fn needs_no_reservation(qos: &Qos) -> bool {
    needs_none(&qos.sending) && needs_none(&qos.receiving)
}

fn needs_none(spec: &Flowspec) -> bool {
    use ServiceType::{BestEffort, NoChange, NoTraffic, Qualitative};
    matches!(spec.service_type, NoTraffic | BestEffort | Qualitative | NoChange)
}

/// The QOS that is in force after a request: SERVICETYPE_NOCHANGE keeps the earlier flowspec of a direction, which is
/// best effort where there is none.
pub(crate) fn merged(requested: &Qos, before: Option<&Qos>) -> Qos {
    let mut merged = *requested;
    for direction in Direction::BOTH {
        if requested.get(direction).service_type == ServiceType::NoChange {
            *merged.get_mut(direction) =
                before.map_or(Flowspec::BEST_EFFORT, |before| *before.get(direction));
        }
    }
    merged
}
