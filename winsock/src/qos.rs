//! Quality: what a socket has been promised, and how it is held to it.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use flowspec::{Bytes, Direction, Flowspec, Qos, Rate, ServiceType, Wsa};

use super::Result;
use super::notify::Events;
use super::provider::{provider, running};
use super::socket::{Endpoint, Phase};
use super::wishes::{Status, Wishes};
use gqos::admission::Decision;
use gqos::engine::{Lingering, Reservation};
use gqos::manager::Admitted;

/// What a socket asks for and has.
#[derive(Debug, Default)]
pub(super) struct Quality {
    /// As it was set: by SIO_SET_QOS, or with the connect call.
    pub(super) asked: Option<Qos>,
    pub(super) held: Option<Held>,
    /// What was last said about it.
    pub(super) status: Option<Status>,
    /// What has been told by FD_QOS and not been fetched.
    told: VecDeque<Status>,
    /// Something of it has been fetched: the end of it is told once.
    fetching: bool,
    /// The name under which it waits for room.
    pub(super) waits: Option<String>,
    /// The code point that the socket had before it was marked.
    pub(super) unmarked: Option<u8>,
    /// What was asked for besides.
    pub(super) wishes: Wishes,
}

/// A reservation, and what it is for.
pub(super) struct Held {
    pub(super) reservation: Reservation,
    pub(super) decision: Box<Decision>,
    /// How its flow is set up.
    pub(super) admitted: Box<Admitted>,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.decision.id().unwrap_or_default())
    }
}

/// A named QOS: a template of the policy, or one of the codecs that Windows has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Template {
    /// What it is called.
    pub name: String,
    /// What it asks for.
    pub qos: Qos,
}

impl Quality {
    /// Gives back what is reserved.
    pub(super) fn end(self, lingering: Lingering) {
        if let Some(Held { reservation, .. }) = self.held {
            reservation.end(lingering);
        }
        if let (Some(waits), Ok(provider)) = (self.waits, provider()) {
            provider.give_up(&waits);
        }
    }

    /// Something is told that nobody has asked for just now.
    fn tell(&mut self, status: Status) {
        if self.told.len() >= MOST_TOLD {
            self.told.pop_front();
        }
        self.told.push_back(status);
        self.status = Some(status);
    }
}

/// What SIO_GET_QOS gives where nobody has asked for anything.
const NOTHING_ASKED: Qos =
    Qos { sending: Flowspec::new(ServiceType::NoChange), receiving: Flowspec::new(ServiceType::NoChange) };

/// The most that is kept for SIO_GET_QOS: what nobody fetches is forgotten, oldest first.
const MOST_TOLD: usize = 16;

/// Whether a QOS asks for nothing.
pub(super) fn asks_for_nothing(qos: &Qos) -> bool {
    let nothing = |spec: &Flowspec| {
        matches!(
            spec.service_type,
            ServiceType::NoTraffic
                | ServiceType::BestEffort
                | ServiceType::Qualitative
                | ServiceType::NoChange
        )
    };
    nothing(&qos.sending) && nothing(&qos.receiving)
}

/// The QOS that takes the place of another: NOCHANGE keeps a direction as it is.
///
/// - **Errors**: WSAEOPNOTSUPP where there is nothing to be kept.
pub(super) fn merged(asked: &Qos, before: Option<&Qos>) -> Result<Qos> {
    let mut merged = *asked;
    for direction in Direction::BOTH {
        if asked.get(direction).service_type == ServiceType::NoChange {
            *merged.get_mut(direction) =
                before.map_or(Flowspec::BEST_EFFORT, |before| *before.get(direction));
        }
    }
    Ok(merged)
}

impl Endpoint {
    /// Something is told of the quality: FD_QOS.
    pub(super) fn tell_quality(&self, status: Status) {
        self.state().quality.tell(status);
        self.later.changed.notify_waiters();
        self.notify.record(Events::QOS, Some(status.code));
    }

    /// What is told next, or was told and not fetched, with what the socket has then.
    ///
    /// - **Errors**: WSA_OPERATION_ABORTED where the socket is closed meanwhile.
    pub(super) async fn next_told(&self) -> Result<(Qos, Status)> {
        self.until(|| {
            if self.is_closed() {
                return Some(Err(Wsa::OperationAborted));
            }
            let mut state = self.state();
            let told = state.quality.told.pop_front()?;
            Some(Ok((state.quality.asked.unwrap_or(NOTHING_ASKED), told)))
        })
        .await
    }

    /// Asks for another quality, or for a first one: at once where the socket has a peer, else with its next
    /// connection. NOCHANGE keeps a direction; what takes no quality any more is given back.
    ///
    /// - **Errors**: WSAEOPNOTSUPP where it cannot be satisfied: what was promised before is kept.
    /// - **Source**: WSPIoctl, SIO_SET_QOS.
    pub fn set_qos(self: &Arc<Self>, asked: &Qos) -> Result<()> {
        let wishes = self.state().quality.wishes;
        self.set_qos_with(asked, wishes)
    }

    /// The same, with what is asked for besides: NOCHANGE in both directions changes that alone.
    ///
    /// - **Errors**: those of [`set_qos`](Self::set_qos).
    pub fn set_qos_with(self: &Arc<Self>, asked: &Qos, wishes: Wishes) -> Result<()> {
        running()?;
        let (qos, peer) = {
            let mut state = self.state();
            let qos = merged(asked, state.quality.asked.as_ref())?;
            match (state.phase, state.peer) {
                (Phase::Connected, Some(peer)) => (qos, peer.ip()),
                // One that names where it sends to has no need of a peer.
                _ if !self.is_stream()
                    && wishes.destination.is_some_and(|to| self.check_family(to).is_ok()) =>
                {
                    (qos, wishes.destination.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |to| to.ip()))
                }
                _ => {
                    (state.quality.asked, state.quality.wishes) = (Some(qos), wishes);
                    return Ok(());
                }
            }
        };
        let promise = self.promise(Some(qos), wishes, peer)?;
        self.keep(promise, peer)
    }

    /// What the socket asks for or has, and what was last said about it.
    ///
    /// Where FD_QOS has told something, the first of it that was not fetched; after the last, WSAEWOULDBLOCK once.
    ///
    /// - **Errors**: WSAEWOULDBLOCK, as said.
    /// - **Source**: WSPIoctl, SIO_GET_QOS.
    pub fn qos(self: &Arc<Self>) -> Result<(Qos, Option<Status>)> {
        running()?;
        self.notify.rearm(self, Events::QOS);
        let mut state = self.state();
        let next = state.quality.told.pop_front();
        let fetched = std::mem::replace(&mut state.quality.fetching, next.is_some());
        if fetched && next.is_none() {
            return Err(Wsa::Ewouldblock);
        }
        Ok((state.quality.asked.unwrap_or(NOTHING_ASKED), next.or(state.quality.status)))
    }

    /// What the link carries by which the socket reaches its peer; nothing where one of them is not known.
    ///
    /// - **Source**: WSPIoctl, SIO_CHK_QOS, LINE_RATE.
    pub fn line_rate(&self) -> Option<Rate> {
        let peer = {
            let state = self.state();
            state.peer.or(state.quality.wishes.destination)?
        };
        provider().ok()?.line_rate(peer.ip())
    }

    /// Whether there is a policy, and with it something to guarantee with.
    pub fn may_guarantee(&self) -> bool {
        provider().is_ok_and(|provider| provider.guarantees())
    }

    /// What the decision was that admitted the socket's flow.
    pub fn decision(&self) -> Option<Decision> {
        self.state().quality.held.as_ref().map(|held| (*held.decision).clone())
    }
}

/// The codecs that Windows names, with what they send: rate in bytes a second and packet, IP headers included.
///
/// Source: WSAGetQOSByName lists the names; the numbers are the codecs': ITU-T G.711, G.723.1 and G.729 with
/// RTP packets of 20 ms (30 ms for G.723.1), GSM 06.10 of 20 ms, H.261 and H.263 at usual rates.
const CODECS: [(&str, u64, u64, bool); 8] = [
    ("G711", 10_000, 200, true),
    ("G723.1", 2_134, 64, true),
    ("G729", 3_000, 60, true),
    ("GSM6.10", 3_650, 73, true),
    ("H263QCIF", 9_000, 1_000, false),
    ("H263CIF", 18_000, 1_000, false),
    ("H261QCIF", 16_000, 1_000, false),
    ("H261CIF", 32_000, 1_000, false),
];

/// Every named QOS: the policy's templates, then the codecs.
///
/// - **Errors**: WSANOTINITIALISED.
/// - **Source**: WSAGetQOSByName.
pub fn templates() -> Result<Vec<Template>> {
    let provider = provider()?;
    let own = provider.policy.templates.iter();
    let mut templates: Vec<_> =
        own.map(|(name, template)| Template { name: name.clone(), qos: template.qos }).collect();
    for (name, rate, packet, voice) in CODECS {
        if templates.iter().all(|template| template.name != name) {
            let service = if voice { ServiceType::Guaranteed } else { ServiceType::ControlledLoad };
            let mut spec = Flowspec::new(service);
            spec.token_rate = Some(Rate::new(rate));
            spec.token_bucket_size = Some(Bytes::new(packet * 4));
            spec.max_sdu_size = Some(Bytes::new(packet));
            spec.minimum_policed_size = Some(Bytes::new(packet.min(64)));
            templates.push(Template { name: name.into(), qos: Qos { sending: spec, receiving: spec } });
        }
    }
    Ok(templates)
}

/// A named QOS.
///
/// - **Errors**: WSAEINVAL where nobody has defined it; WSANOTINITIALISED.
pub fn template(name: &str) -> Result<Qos> {
    let found = templates()?.into_iter().find(|template| template.name == name);
    found.map(|template| template.qos).ok_or(Wsa::Einval)
}
