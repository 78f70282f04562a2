//! Promises: what a connection is to have, asked for before it is made and kept once it stands.

use std::net::IpAddr;
use std::sync::{Arc, Weak};

use flowspec::{Direction, Qos, ServiceType, Wsa};

use super::Result;
use super::notify::Events;
use super::provider::{Provider, Refused, provider};
use super::qos::{Held, asks_for_nothing};
use super::socket::{Endpoint, Family};
use super::wishes::Wishes;
use crate::sys::raw;
use gqos::admission::Decision;
use gqos::connect::{Ask, plan, segment_limit};
use gqos::engine::{Granted, Lingering};
use gqos::linux::socket;
use gqos::manager::{Admitted, Lost};
use gqos::policy::Protocol;

/// What was promised for a connection that is not made yet; given back when dropped.
pub(super) struct Promise {
    /// How it is had; nothing once it is kept.
    how: Option<How>,
    pub(super) asked: Qos,
    wishes: Wishes,
    /// Whose it is.
    endpoint: Weak<Endpoint>,
}

enum How {
    /// There is nothing to be had.
    Nothing,
    /// It was granted.
    New(Box<Granted>),
    /// It is what the socket had before, made into something else.
    Changed { admitted: Box<Admitted>, decision: Box<Decision>, before: Box<Qos> },
}

impl Drop for Promise {
    fn drop(&mut self) {
        let how = self.how.take();
        // Its packets leave a class before somebody else may have that.
        if matches!(how, Some(How::New(_) | How::Changed { .. }))
            && let Some(endpoint) = self.endpoint.upgrade()
        {
            endpoint.prepare_again();
        }
        if let (Some(How::Changed { decision, before, .. }), Ok(provider)) = (how, provider()) {
            provider.renegotiate_again(decision.id().unwrap_or_default().to_owned(), *before);
        }
    }
}

impl Endpoint {
    /// Asks for what a connection is to have, before it is made. What the socket has already, by the same way,
    /// becomes what is asked for.
    ///
    /// - **Errors**: WSAEOPNOTSUPP where it cannot be satisfied: what was promised before stands, and the extended
    ///   status is kept for SIO_GET_QOS.
    pub(super) fn promise(
        &self,
        asked: Option<Qos>,
        wishes: Wishes,
        peer: IpAddr,
    ) -> Result<Option<Promise>> {
        let Some(mut asked) = asked else { return Ok(None) };
        for direction in Direction::BOTH {
            if !self.goes(direction) {
                asked.get_mut(direction).service_type = ServiceType::NoTraffic;
            }
        }
        let promised = |how| Promise { how: Some(how), asked, wishes, endpoint: self.me() };
        if asks_for_nothing(&asked) {
            return Ok(Some(promised(How::Nothing)));
        }
        let provider = provider()?;
        let ipv6 = peer.to_canonical().is_ipv6();
        let before = {
            let state = self.state();
            let held = state.quality.held.as_ref();
            held.map(|held| held.decision.clone()).zip(state.quality.asked)
        };
        if let Some((decision, before)) = before
            && provider.interface(peer).is_none_or(|interface| decision.totals.contains_key(&interface))
        {
            let changed = provider.renegotiate(decision.id().unwrap_or_default().to_owned(), asked);
            let (admitted, decision) = changed.map_err(|refused| self.refused(&refused))?;
            let (admitted, decision, before) = (Box::new(admitted), Box::new(decision), Box::new(before));
            let how = How::Changed { admitted, decision, before };
            return Ok(Some(promised(how)));
        }
        let granted = self.reserve(&provider, asked, peer)?;
        let prepared = self.prepare(&granted.admitted, &wishes, ipv6);
        let promise = promised(How::New(Box::new(granted)));
        prepared.map(|()| Some(promise))
    }

    fn reserve(&self, provider: &Provider, asked: Qos, peer: IpAddr) -> Result<Granted> {
        let protocol = if self.is_stream() { Protocol::Tcp } else { Protocol::Udp };
        let bound = self.state().bound;
        let local_port = if bound { raw::local(&*self.fd).map_or(0, |local| local.port()) } else { 0 };
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
        answered.map_err(|refused| {
            if wait && refused.waits() {
                self.wait_for_room(provider, id);
            }
            self.refused(&refused)
        })
    }

    /// Is told by FD_QOS once there is room for what was refused.
    fn wait_for_room(&self, provider: &Provider, id: String) {
        self.state().quality.waits = Some(id.clone());
        let me = self.me();
        provider.when_room(id, move || {
            if let Some(endpoint) = me.upgrade() {
                endpoint.tell_quality(Wsa::QosReceivers.into());
            }
        });
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
            let before = socket::code_point(&*self.fd, ipv6).map_err(failed)?;
            self.state().quality.unmarked.get_or_insert(before);
            socket::classify(&*self.fd, ipv6, dscp, admitted.class).map_err(failed)?;
        }
        Ok(())
    }

    /// The connection for which the socket was prepared is not made: it is as it was before.
    fn prepare_again(&self) {
        let (held, wishes) = {
            let state = self.state();
            (state.quality.held.as_ref().map(|held| held.admitted.clone()), state.quality.wishes)
        };
        match held {
            // What cannot be done again was the kernel's to refuse the first time.
            Some(admitted) => drop(self.prepare(&admitted, &wishes, self.family == Family::Inet6)),
            None => self.unmark(),
        }
    }

    /// The connection stands: it is held to what was promised, from its first byte on.
    pub(super) fn keep(&self, promise: Option<Promise>, peer: IpAddr) -> Result<()> {
        let Some(mut promise) = promise else { return Ok(()) };
        let (asked, wishes) = (promise.asked, promise.wishes);
        match &promise.how {
            Some(How::New(granted)) => self.shape(&granted.admitted, &wishes, peer)?,
            Some(How::Changed { admitted, .. }) => {
                self.prepare(admitted, &wishes, peer.to_canonical().is_ipv6())?;
                self.shape(admitted, &wishes, peer)?;
            }
            Some(How::Nothing) | None => self.unhold(),
        }
        let mut state = self.state();
        (state.quality.asked, state.quality.wishes) = (Some(asked), wishes);
        match promise.how.take() {
            Some(How::New(granted)) => {
                let Granted { admitted, decision, reservation } = *granted;
                let (admitted, decision) = (Box::new(admitted), Box::new(decision));
                reservation.connected();
                let standing = reservation.state();
                state.quality.status = Some(Wsa::QosRequestConfirmed.into());
                let before = state.quality.held.replace(Held { reservation, decision, admitted });
                drop(state);
                if let Some(Held { reservation, .. }) = before {
                    reservation.end(Lingering::Nothing);
                }
                let me = self.me();
                // Only now, since it may be lost already.
                standing.on_loss(move |lost| {
                    if let Some(endpoint) = me.upgrade() {
                        endpoint.lost(lost);
                    }
                });
            }
            Some(How::Changed { admitted, decision, .. }) => match &mut state.quality.held {
                Some(held) => {
                    (held.admitted, held.decision) = (admitted, decision);
                    state.quality.status = Some(Wsa::QosRequestConfirmed.into());
                    drop(state);
                }
                // It was lost meanwhile, which has been told.
                None => {
                    state.quality.asked = Some(Qos::BEST_EFFORT);
                    drop(state);
                    self.let_go();
                    return Ok(());
                }
            },
            Some(How::Nothing) | None => {
                state.quality.status = None;
                return Ok(());
            }
        }
        if wishes.confirm {
            self.tell_quality(Wsa::QosRequestConfirmed.into());
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
            // What is sent leaves at once: a shaped flow has its own pauses.
            let _ = raw::set(&*self.fd, raw::Knob::NoDelay, 1);
        }
        self.control.set(Direction::Sending, sending);
        // What is received by datagrams cannot be held back.
        self.control.set(Direction::Receiving, if stream { plan(Direction::Receiving)? } else { None });
        Ok(())
    }

    /// The promise was taken back: the connection goes on as best effort.
    fn lost(&self, lost: &Lost) {
        let held = {
            let mut state = self.state();
            state.quality.asked = Some(Qos::BEST_EFFORT);
            state.quality.held.take()
        };
        if held.is_some() {
            self.let_go();
        }
        self.tell_quality(lost.why.status().into());
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

    /// A half has ended: nothing is reserved for it any more, once what is on its way has left.
    pub(super) fn release_halves(&self) {
        let held = self.state().quality.held.is_some();
        let (Ok(provider), Some(this), true) = (provider(), self.me().upgrade(), held) else { return };
        let lingering = match self.is_stream() && !self.goes(Direction::Sending) {
            true => Lingering::Descriptor(Arc::clone(&self.fd)),
            false => Lingering::Nothing,
        };
        let on = Arc::clone(&provider);
        provider.spawn(async move {
            lingering.finish().await;
            this.shrink(&on).await;
        });
    }

    /// Keeps what is reserved for the halves that go on.
    async fn shrink(&self, provider: &Provider) {
        let (id, left) = {
            let ended = Direction::BOTH.map(|direction| (direction, !self.goes(direction)));
            let mut state = self.state();
            let quality = &mut state.quality;
            let (Some(held), Some(asked)) = (&quality.held, &mut quality.asked) else { return };
            for (direction, _) in ended.into_iter().filter(|(_, ended)| *ended) {
                asked.get_mut(direction).service_type = ServiceType::NoTraffic;
            }
            (held.decision.id().unwrap_or_default().to_owned(), *asked)
        };
        if asks_for_nothing(&left) {
            self.unhold();
        } else if let Some((_, decision)) = provider.renegotiated(id, left).await
            && let Some(held) = &mut self.state().quality.held
        {
            *held.decision = decision;
        }
    }

    /// The socket is held to nothing any more.
    fn let_go(&self) {
        for direction in Direction::BOTH {
            self.control.set(direction, None);
        }
        self.unmark();
        if self.is_stream() {
            let _ = shaper::sys::release_tcp(&*self.fd);
        }
    }

    /// The socket's packets are as the program marks them.
    fn unmark(&self) {
        let unmarked = self.state().quality.unmarked.take();
        if unmarked.is_some() {
            // A socket that cannot be taken out of its class any more has no packets for it either.
            let _ = socket::classify(&*self.fd, self.family == Family::Inet6, unmarked, None);
        }
    }
}
