//! The quality of service of a socket: requested, reserved, and reported to the program.

use std::collections::VecDeque;

use flowspec::{Direction, Flowspec, Qos, ServiceType};
use gqos::admission::Decision;
use gqos::engine::{Admitted, Reservation};

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
    /// The latest status.
    pub(crate) status: Option<QosStatus>,
    /// The statuses that FD_QOS has announced and SIO_GET_QOS has not read, oldest first.
    unread: VecDeque<QosStatus>,
    /// The latest SIO_GET_QOS has read one of them: the one after the last reports WSAEWOULDBLOCK, once.
    reading: bool,
    /// The id under which a refused flow of this socket waits for capacity.
    pub(crate) waiting_id: Option<String>,
    /// The DSCP that the program had set, while the socket's packets carry another.
    pub(crate) original_code_point: Option<u8>,
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

/// The id of the flow that a decision is about.
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

/// SIO_GET_QOS has read all statuses.
pub(crate) struct NoMoreStatuses;

/// Whether a QOS needs no reservation.
pub(crate) fn needs_no_reservation(qos: &Qos) -> bool {
    let none = |spec: &Flowspec| {
        matches!(
            spec.service_type,
            ServiceType::NoTraffic
                | ServiceType::BestEffort
                | ServiceType::Qualitative
                | ServiceType::NoChange
        )
    };
    none(&qos.sending) && none(&qos.receiving)
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
