//! Quality: what a socket has been promised, and how it is held to it.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use flowspec::{Bytes, Direction, Flowspec, Qos, Rate, ServiceType, Wsa};

use super::Result;
use super::notify::Events;
use super::provider::{Provider, Refused, provider, running};
use super::socket::{Endpoint, Phase};
use super::wishes::{Status, Wishes};
use crate::admission::Decision;
use crate::connect::{Ask, Granted, Lingering, Reservation, plan, segment_limit};
use crate::linux::{raw, socket};
use crate::manager::{Admitted, Lost};
use crate::policy::Protocol;

/// What a socket asks for and has.
#[derive(Debug, Default)]
pub(super) struct Quality {
    /// As it was set: by SIO_SET_QOS, or with the connect call.
    pub(super) asked: Option<Qos>,
    held: Option<Held>,
    /// What was last said about it.
    pub(super) status: Option<Status>,
    /// What has been told by FD_QOS and not been fetched.
    told: VecDeque<Status>,
    /// Something of it has been fetched: the end of it is told once.
    fetching: bool,
    /// The name under which it waits for room.
    waits: Option<String>,
    /// What was asked for besides.
    pub(super) wishes: Wishes,
}

/// A reservation, and what it is for.
struct Held {
    reservation: Reservation,
    decision: Box<Decision>,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.decision.id)
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

/// A reservation that has been granted and waits for its connection.
pub(super) struct Promise {
    granted: Option<Granted>,
    pub(super) asked: Qos,
    wishes: Wishes,
}

impl Endpoint {
    /// Asks for what a connection is to have, before it is made.
    ///
    /// - **Errors**: WSAEOPNOTSUPP where it cannot be satisfied; the extended status is kept for SIO_GET_QOS.
    pub(super) fn promise(
        &self,
        asked: Option<Qos>,
        wishes: Wishes,
        peer: IpAddr,
    ) -> Result<Option<Promise>> {
        let Some(asked) = asked else { return Ok(None) };
        if asks_for_nothing(&asked) {
            return Ok(Some(Promise { granted: None, asked, wishes }));
        }
        let provider = provider()?;
        let protocol = if self.is_stream() { Protocol::Tcp } else { Protocol::Udp };
        let local_port = raw::local(&*self.fd).map_or(0, |local| local.port());
        // Who wants to hear of his quality waits for room where there is none.
        let wait = self.notify.wants(Events::QOS);
        let waits = self.state().quality.waits.take();
        let id = waits.clone().unwrap_or_else(|| provider.name());
        let group = self.membership().and_then(|member| member.group.shared());
        let ask = Ask { id: Some(id.clone()), group, wait, ..Ask::qos(asked) };
        let answered = provider.reserve(ask, peer, protocol, local_port);
        if waits.is_some() && answered.is_err() && !wait {
            provider.give_up(&id);
        }
        match answered {
            Ok(granted) => {
                let ipv6 = peer.to_canonical().is_ipv6();
                self.prepare(&granted.admitted, &wishes, ipv6)?;
                Ok(Some(Promise { granted: Some(granted), asked, wishes }))
            }
            Err(refused) => {
                if wait && refused.waits() {
                    self.wait_for_room(&provider, id);
                }
                Err(self.refused(&refused))
            }
        }
    }

    /// Is told by FD_QOS once there is room for what was refused.
    fn wait_for_room(&self, provider: &Provider, id: String) {
        self.state().quality.waits = Some(id.clone());
        let me = self.me();
        provider.when_room(id, move || {
            if let Some(endpoint) = me.upgrade() {
                endpoint.state().quality.tell(Wsa::QosReceivers.into());
                endpoint.notify.record(Events::QOS, Some(Wsa::QosReceivers));
            }
        });
    }

    /// The promise was taken back: the connection goes on as best effort.
    fn lost(&self, lost: &Lost) {
        let code = lost.why.status();
        let held = {
            let mut state = self.state();
            state.quality.tell(code.into());
            state.quality.asked = Some(Qos::BEST_EFFORT);
            state.quality.held.take()
        };
        if held.is_some() {
            self.let_go();
        }
        self.notify.record(Events::QOS, Some(code));
    }

    /// The socket is held to nothing any more.
    fn let_go(&self) {
        for direction in Direction::BOTH {
            self.control.set(direction, None);
        }
        let ipv6 = self.family == super::socket::Family::Inet6;
        // A socket that cannot be taken out of its class any more has no packets for it either.
        let _ = socket::classify(&*self.fd, ipv6, Some(0), None);
        if self.is_stream() {
            let _ = shaper::sys::release_tcp(&*self.fd);
        }
    }

    fn refused(&self, refused: &Refused) -> Wsa {
        let (code, status) = refused.codes();
        self.state().quality.status = Some(status);
        code
    }

    /// Sends a socket's packets to their class before there is a connection.
    fn prepare(&self, admitted: &Admitted, wishes: &Wishes, ipv6: bool) -> Result<()> {
        let failed = |_| Wsa::Enetdown;
        if self.is_stream()
            && let Some(tspec) = &admitted.tspec.sending
            && let Some(payload) = segment_limit(tspec.max_sdu_size(), ipv6)
        {
            socket::limit_segment(&*self.fd, payload).map_err(failed)?;
        }
        let dscp = wishes.code_point().or(admitted.dscp);
        if admitted.class.is_some() || dscp.is_some() {
            socket::classify(&*self.fd, ipv6, dscp, admitted.class).map_err(failed)?;
        }
        Ok(())
    }

    /// The connection stands: it is held to what was promised, from its first byte on.
    pub(super) fn keep(&self, promise: Option<Promise>, peer: IpAddr) -> Result<()> {
        let Some(Promise { granted, asked, wishes }) = promise else { return Ok(()) };
        let held = match granted {
            None => None,
            Some(Granted { admitted, decision, reservation }) => {
                self.shape(&admitted, &wishes, peer)?;
                reservation.connected();
                Some(Held { reservation, decision: Box::new(decision) })
            }
        };
        let standing = held.as_ref().map(|held| held.reservation.standing());
        let before = {
            let mut state = self.state();
            (state.quality.asked, state.quality.wishes) = (Some(asked), wishes);
            state.quality.status = held.as_ref().map(|_| Wsa::QosRequestConfirmed.into());
            std::mem::replace(&mut state.quality.held, held)
        };
        if let Some(Held { reservation, .. }) = before {
            reservation.end(Lingering::Nothing);
        }
        if let Some(standing) = standing {
            let me = self.me();
            // Only now, since it may be lost already.
            standing.on_loss(move |lost| {
                if let Some(endpoint) = me.upgrade() {
                    endpoint.lost(lost);
                }
            });
        }
        Ok(())
    }

    fn shape(&self, admitted: &Admitted, wishes: &Wishes, peer: IpAddr) -> Result<()> {
        let stream = self.is_stream();
        let framing = if stream {
            socket::tcp_framing(&*self.fd, peer).map_err(|_| Wsa::Enetdown)?
        } else {
            socket::udp_framing(peer)
        };
        let plan = |direction| plan(admitted, direction, framing).map_err(|error| error.wsa());
        let mut sending = plan(Direction::Sending)?.filter(|_| !wishes.borrows());
        if let (Some(plan), Some(rate)) = (&mut sending, wishes.shaping_rate) {
            plan.sustained.rate = plan.sustained.rate.min(rate);
        }
        if let (Some(plan), true) = (&sending, stream) {
            shaper::sys::assist_tcp(&*self.fd, plan).map_err(|_| Wsa::Enetdown)?;
        }
        self.control.set(Direction::Sending, sending);
        // What is received by datagrams cannot be held back.
        self.control.set(Direction::Receiving, if stream { plan(Direction::Receiving)? } else { None });
        Ok(())
    }

    /// Gives back what is reserved; the connection goes on as best effort.
    pub(super) fn unhold(&self) {
        let before = {
            let mut state = self.state();
            state.quality.status = None;
            state.quality.held.take()
        };
        let Some(Held { reservation, .. }) = before else { return };
        self.let_go();
        reservation.end(Lingering::Nothing);
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
        if asks_for_nothing(&qos) {
            self.unhold();
            self.state().quality.asked = Some(qos);
            return Ok(());
        }
        let before = {
            let state = self.state();
            state.quality.held.as_ref().map(|held| held.decision.id.clone())
        };
        let Some(id) = before else {
            let promise = self.promise(Some(qos), wishes, peer)?;
            return self.keep(promise, peer);
        };
        let changed = provider()?.renegotiate(id, qos);
        let admitted = changed.map_err(|refused| self.refused(&refused))?;
        self.prepare(&admitted, &wishes, peer.to_canonical().is_ipv6())?;
        self.shape(&admitted, &wishes, peer)?;
        let mut state = self.state();
        (state.quality.asked, state.quality.wishes) = (Some(qos), wishes);
        state.quality.status = Some(Wsa::QosRequestConfirmed.into());
        Ok(())
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
        let qos = state.quality.asked.unwrap_or(Qos {
            sending: Flowspec::new(ServiceType::NoChange),
            receiving: Flowspec::new(ServiceType::NoChange),
        });
        Ok((qos, next.or(state.quality.status)))
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
