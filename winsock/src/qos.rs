//! Requesting and reading a socket's quality of service: SIO_SET_QOS, SIO_GET_QOS and SIO_CHK_QOS.

use std::sync::Arc;

use flowspec::{Qos, Rate, Wsa};
use gqos::admission::Decision;

use super::Result;
use super::endpoint::{ConnectionPhase, Endpoint};
use super::network_events::EventSet;
use super::provider::{check_started, provider};
use super::provider_specific::ProviderSpecific;
use super::qos_state::merged;
use super::status::QosStatus;

impl Endpoint {
    /// Requests a QOS: it is reserved at once where the socket has a peer, else with its next connection.
    /// SERVICETYPE_NOCHANGE keeps a direction; a direction that needs no reservation any more is released.
    ///
    /// - **Errors**: WSAEOPNOTSUPP where the request is refused: the earlier reservation is kept.
    /// - **Source**: WSPIoctl, SIO_SET_QOS.
    pub fn set_qos(self: &Arc<Self>, requested: &Qos) -> Result<()> {
        let objects = self.state().qos.provider_specific;
        self.set_qos_with(requested, objects)
    }

    /// [`set_qos`](Self::set_qos) with the objects of the QOS, which replace the earlier ones.
    ///
    /// - **Errors**: those of [`set_qos`](Self::set_qos).
    pub fn set_qos_with(self: &Arc<Self>, requested: &Qos, objects: ProviderSpecific) -> Result<()> {
        check_started()?;
        let (qos, peer, destination_before) = {
            let mut state = self.state();
            let before = state.qos.provider_specific.destination;
            let qos = merged(requested, state.qos.requested.as_ref());
            let peer = state.peer.filter(|_| state.phase == ConnectionPhase::Connected).or(state.session);
            // QOS_DESTADDR stands for the peer of a datagram socket that has none.
            let is_destination = |to: &_| !self.is_stream() && self.check_family(*to).is_ok();
            match peer.or(objects.destination.filter(is_destination)) {
                Some(peer) => (qos, peer, before),
                None => {
                    (state.qos.requested, state.qos.provider_specific) = (Some(qos), objects);
                    drop(state);
                    self.note_end_in_process();
                    return Ok(());
                }
            }
        };
        let pending = self.reserve(Some(qos), objects, peer)?;
        self.commit(pending, peer.ip())?;
        if objects.destination != destination_before {
            self.state().qos.forget_other_end();
        }
        self.note_end_in_process();
        Ok(())
    }

    /// Keeps the status of a QOS that is inconsistent, and so was not requested, for SIO_GET_QOS.
    pub(crate) fn keep_invalid_qos(&self, status: Wsa) {
        self.state().qos.status = Some(status.into());
    }

    /// The requested QOS, and the status: the oldest that FD_QOS has announced and that was not read, else the latest.
    ///
    /// - **Errors**: WSAEWOULDBLOCK once, after the last status that FD_QOS has announced.
    /// - **Source**: WSPIoctl, SIO_GET_QOS.
    pub fn qos(self: &Arc<Self>) -> Result<(Qos, Option<QosStatus>)> {
        check_started()?;
        self.enable_event(EventSet::QOS);
        let mut state = self.state();
        let status = state.qos.read_status().map_err(|_| Wsa::Ewouldblock)?;
        Ok((state.qos.requested_or_no_change(), status))
    }

    pub(crate) fn announce_other_end(&self) {
        let arrived = self.state().qos.take_arrived();
        arrived.into_iter().for_each(|status| self.report_status(status));
    }

    /// Waits for the next status that FD_QOS announces, or takes one that was not read.
    ///
    /// - **Errors**: WSA_OPERATION_ABORTED where the socket is closed first.
    pub(crate) async fn next_status(&self) -> Result<(Qos, QosStatus)> {
        self.announce_other_end();
        self.operations
            .until(|| {
                if self.is_closed() {
                    return Some(Err(Wsa::OperationAborted));
                }
                let mut state = self.state();
                let status = state.qos.pop_status()?;
                Some(Ok((state.qos.requested_or_no_change(), status)))
            })
            .await
    }

    /// The capacity of the interface by which the socket reaches its peer; `None` where that is not known.
    ///
    /// - **Source**: WSPIoctl, SIO_CHK_QOS, LINE_RATE.
    pub fn line_rate(&self) -> Option<Rate> {
        let peer = {
            let state = self.state();
            state.peer.or(state.session).or(state.qos.provider_specific.destination)?
        };
        provider().ok()?.host.line_rate(self.route_to(peer))
    }

    /// Whether there is a policy to reserve by.
    ///
    /// - **Source**: WSPIoctl, SIO_CHK_QOS, LOCAL_QOSABILITY.
    pub fn can_reserve(&self) -> bool {
        provider().is_ok_and(|provider| provider.host.has_policy())
    }

    /// The decision that has admitted the socket's flow.
    pub fn decision(&self) -> Option<Decision> {
        self.state().qos.reservation.as_ref().map(|held| (*held.decision).clone())
    }
}
