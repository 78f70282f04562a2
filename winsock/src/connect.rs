//! Connecting: the checks in the page's order, the promise, then the peer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use flowspec::{Qos, Wsa};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Result;
use super::group::GroupBefore;
use super::notify::Events;
use super::promise::Promise;
use super::provider::{provider, running};
use super::qos::merged;
use super::setup::{Answer, Offer};
use super::socket::{Endpoint, Family, Phase};
use super::waiting::{may_block, now, wait, waits, watch};
use super::wishes::{Status, Wishes};
use crate::sys;
use crate::sys::raw::{self, Ready};

/// What a connection is asked for with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Connecting<'a> {
    /// Data for the peer to see before it accepts.
    pub caller_data: Option<&'a [u8]>,
    /// What the flow is to get, one flowspec a direction; what SIO_SET_QOS has said where there is nothing.
    pub sqos: Option<Qos>,
    /// What is asked for besides the flowspecs.
    pub wishes: Wishes,
    /// What the socket's group is to get: heeded only where this socket created the group.
    pub gqos: Option<Qos>,
    /// How much the callee may send along: more ends the connection with WSAEFAULT. Where there is nothing, what
    /// it sends is not kept.
    pub callee_room: Option<usize>,
}

impl<'a> Connecting<'a> {
    const DEFAULT: Self = Self {
        caller_data: None,
        sqos: None,
        wishes: Wishes {
            excess: None,
            shaping_rate: None,
            ds_field: None,
            traffic_class: None,
            destination: None,
            confirm: false,
        },
        gqos: None,
        callee_room: None,
    };

    /// With data, flow specifications, and room for as much data of the callee's.
    pub const fn with(caller_data: &'a [u8], sqos: Option<Qos>, callee_room: usize) -> Self {
        Self { caller_data: Some(caller_data), sqos, callee_room: Some(callee_room), ..Self::DEFAULT }
    }
}

/// What was promised for a connection that is not made yet; given back when dropped.
pub(super) struct Promised {
    promise: Option<Promise>,
    group: Option<GroupBefore>,
}

impl Promised {
    /// The connection stands: both are kept.
    pub(super) fn keep(&mut self, endpoint: &Endpoint, peer: IpAddr) -> Result<()> {
        endpoint.keep(self.promise.take(), peer)?;
        self.group = None;
        Ok(())
    }
}

impl Drop for Promised {
    fn drop(&mut self) {
        // The member first: a group goes with its last.
        self.promise = None;
        self.group.take().into_iter().for_each(GroupBefore::restore);
    }
}

/// How a connection stands when the call returns.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It is made; or the datagram socket has its peer.
    Connected,
    /// The datagram socket has no peer any more.
    Dissolved,
}

impl Endpoint {
    /// Connects to a peer, with the quality that is asked for reserved before the first packet leaves.
    ///
    /// Datagrams: names the peer; the address of all zeroes takes it away.
    ///
    /// - **Errors**: WSPConnect's table. WSAEWOULDBLOCK where the socket does not block: how it ends is told
    ///   by events, select, or SO_ERROR. A refused, timed out or unreachable connection may be tried again.
    /// - **Source**: WSPConnect.
    pub fn connect(self: &Arc<Self>, peer: SocketAddr, asked: &Connecting<'_>) -> Result<Outcome> {
        self.connect_telling(peer, asked, 0)
    }

    /// The same, with a WSABUF of the program's for the callee's data once it has come; 0 for none.
    pub(super) fn connect_telling(
        self: &Arc<Self>,
        peer: SocketAddr,
        asked: &Connecting<'_>,
        place: usize,
    ) -> Result<Outcome> {
        running()?;
        self.check_family(peer)?;
        let nonblocking = self.begin(peer)?;
        if self.is_stream() {
            self.connect_stream(peer, asked, place, nonblocking)
        } else {
            self.connect_datagram(peer, asked)
        }
    }

    /// Everything that is looked at before quality is: whether that would be asked for at all.
    ///
    /// - **Errors**: those of [`connect`](Self::connect) that come before WSAEOPNOTSUPP.
    pub fn check_connect(&self, peer: SocketAddr) -> Result<()> {
        running()?;
        self.check_family(peer)?;
        self.begin(peer)?;
        self.give_up();
        Ok(())
    }

    /// State and address; a stream socket is being connected from here on.
    fn begin(&self, peer: SocketAddr) -> Result<bool> {
        let mut state = self.state();
        match state.phase {
            Phase::Listening => return Err(Wsa::Einval),
            Phase::Connecting => return Err(Wsa::Ealready),
            Phase::Connected if self.is_stream() => return Err(Wsa::Eisconn),
            Phase::Connected | Phase::Idle => {}
        }
        let nowhere = peer.ip().is_unspecified();
        if self.is_stream() {
            // Linux takes the address of all zeroes for this host.
            if nowhere || peer.port() == 0 {
                return Err(Wsa::Eaddrnotavail);
            }
            if waits(state.nonblocking) {
                may_block()?;
            }
            self.check_group(peer.ip())?;
            (state.phase, state.peer, state.failed) = (Phase::Connecting, Some(peer), false);
        } else {
            if !nowhere && peer.port() == 0 {
                return Err(Wsa::Eaddrnotavail);
            }
            if !state.broadcast && raw::is_broadcast(peer) {
                return Err(Wsa::Eacces);
            }
        }
        Ok(!waits(state.nonblocking))
    }

    /// The connection is not being made any more.
    fn give_up(&self) {
        let mut state = self.state();
        if state.phase == Phase::Connecting {
            (state.phase, state.peer) = (Phase::Idle, None);
        }
    }

    fn connect_stream(
        self: &Arc<Self>,
        peer: SocketAddr,
        asked: &Connecting<'_>,
        place: usize,
        nonblocking: bool,
    ) -> Result<Outcome> {
        let promise = self.promised(peer, asked).inspect_err(|_| self.give_up())?;
        // Linux would bind to whatever is free; that counts as bound.
        self.state().bound = true;
        if !nonblocking && let Err(error) = raw::set_nonblocking(&*self.fd, true) {
            self.give_up();
            return Err(raw::code(&error));
        }
        let result = raw::connect(&*self.fd, peer);
        let pending = result.as_ref().is_err_and(|error| raw::code(error) == Wsa::Ewouldblock);
        let offer = self.with_data.then(|| Offer {
            sqos: promise.promise.as_ref().map(|promise| promise.asked),
            gqos: asked.gqos,
            data: asked.caller_data.unwrap_or_default().to_vec(),
        });
        let callee = (asked.callee_room, place);
        // An exchange is never over at once.
        if nonblocking && (pending || offer.is_some() && result.is_ok()) {
            self.complete_later(promise, peer, offer, callee)?;
            return Err(Wsa::Ewouldblock);
        }
        let outcome = if pending {
            let writable = Ready { writable: true, ..Ready::default() };
            wait(self, writable, None).and_then(|_| self.answer())
        } else {
            result.map_err(|error| connect_code(&error))
        };
        let outcome = outcome.and_then(|()| match offer {
            None => Ok(()),
            Some(offer) => {
                let this = Arc::clone(self);
                let answered = provider()?.wait(async move { this.set_up(&offer, callee).await });
                answered.unwrap_or(Err(Wsa::Enetdown))
            }
        });
        if !nonblocking {
            let nonblocking = self.state().nonblocking;
            // One that cannot be set has been closed meanwhile.
            let _ = raw::set_nonblocking(&*self.fd, nonblocking);
        }
        self.finish(outcome, promise, peer)?;
        self.notify.record(Events::CONNECT, None);
        self.notify.rearm(self, Events::WRITE);
        self.watch();
        Ok(Outcome::Connected)
    }

    /// Quality, then the caller's data, which plain TCP cannot carry.
    pub(super) fn promised(&self, peer: SocketAddr, asked: &Connecting<'_>) -> Result<Promised> {
        let (sqos, wishes) = match asked.sqos {
            // What it does not change is as SIO_SET_QOS has said.
            Some(sqos) => (Some(merged(&sqos, self.state().quality.asked.as_ref())?), asked.wishes),
            None => {
                let state = self.state();
                (state.quality.asked, state.quality.wishes)
            }
        };
        let group = self.promise_group(asked.gqos, peer.ip())?;
        let promise = match self.promise(sqos, wishes, peer.ip()) {
            Ok(promise) => promise,
            Err(wsa) => {
                group.into_iter().for_each(GroupBefore::restore);
                return Err(wsa);
            }
        };
        let promised = Promised { promise, group };
        if self.is_stream() && !self.with_data && asked.caller_data.is_some_and(|data| !data.is_empty()) {
            return Err(Wsa::Eprotonosupport);
        }
        Ok(promised)
    }

    /// Offers what the call has brought along, and keeps what comes back.
    async fn set_up(&self, offer: &Offer, (room, place): (Option<usize>, usize)) -> Result<()> {
        let Answer { refused, status, data } = self.offer(offer).await?;
        if let Some(refused) = refused {
            self.state().quality.status = status.map(Status::from);
            return Err(refused);
        }
        let Some(room) = room else { return Ok(()) };
        if data.len() > room {
            return Err(Wsa::Efault);
        }
        if place != 0 {
            deliver(place, &data)?;
        }
        self.state().callee_data = data;
        Ok(())
    }

    /// Whether connect calls carry data and flow specifications.
    pub const fn carries_data(&self) -> bool {
        self.with_data
    }

    /// What the callee has sent along with its answer to the connect call.
    pub fn callee_data(&self) -> Vec<u8> {
        self.state().callee_data.clone()
    }

    /// What became of the attempt, once the socket is writable.
    fn answer(&self) -> Result<()> {
        match raw::take_error(&*self.fd) {
            Ok(None) => Ok(()),
            Ok(Some(error)) | Err(error) => Err(connect_code(&error)),
        }
    }

    /// Writes down how it ended, and tells.
    fn finish(&self, outcome: Result<()>, mut promise: Promised, peer: SocketAddr) -> Result<()> {
        let outcome = outcome.and_then(|()| promise.keep(self, peer.ip()));
        if outcome.is_ok() {
            self.fix_group(peer.ip());
        }
        // Otherwise both are given back.
        drop(promise);
        {
            let mut state = self.state();
            match outcome {
                Ok(()) => {
                    (state.phase, state.peer) = (Phase::Connected, Some(peer));
                    (state.error, state.connected_at) = (None, Some(now()));
                }
                Err(_) => {
                    (state.phase, state.peer) = (Phase::Idle, None);
                    let local = raw::local(&*self.fd).ok();
                    // Linux would answer the next attempt with this one's end, and let nobody listen.
                    let _ = raw::dissolve(&*self.fd);
                    // It takes back the port that nobody has asked for; one that was asked for stays.
                    if let Some(local) = local.filter(|local| local.port() != 0) {
                        let any = match self.family {
                            Family::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                            Family::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
                        };
                        let _ = raw::bind(&*self.fd, SocketAddr::new(any, local.port()));
                    }
                }
            }
        }
        outcome
    }

    /// Waits for the peer on the reactor.
    fn complete_later(
        self: &Arc<Self>,
        promise: Promised,
        peer: SocketAddr,
        offer: Option<Offer>,
        callee: (Option<usize>, usize),
    ) -> Result<()> {
        let this = Arc::clone(self);
        provider()?.spawn(async move {
            let outcome = match this.watched(Interest::WRITABLE) {
                Err(wsa) => Err(wsa),
                Ok(watched) => match watched.writable().await {
                    Ok(_) => this.answer(),
                    Err(error) => Err(raw::code(&error)),
                },
            };
            let outcome = match (outcome, &offer) {
                (Ok(()), Some(offer)) => this.set_up(offer, callee).await,
                (outcome, _) => outcome,
            };
            if this.is_closed() {
                return;
            }
            let outcome = this.finish(outcome, promise, peer);
            {
                let mut state = this.state();
                (state.error, state.failed) = (outcome.err(), outcome.is_err());
            }
            this.notify.record(Events::CONNECT, outcome.err());
            if outcome.is_ok() {
                this.notify.record(Events::WRITE, None);
                this.watch();
            }
        });
        Ok(())
    }

    fn connect_datagram(self: &Arc<Self>, peer: SocketAddr, asked: &Connecting<'_>) -> Result<Outcome> {
        if peer.ip().is_unspecified() {
            return self.dissolve();
        }
        let mut promise = self.promised(peer, asked)?;
        let before = self.state().peer;
        if before.is_some_and(|before| before != peer) || before.is_none() && self.state().bound {
            // What others have sent before is not the peer's.
            self.discard();
        }
        raw::connect(&*self.fd, peer).map_err(|error| connect_code(&error))?;
        if before != Some(peer) {
            self.discard_others(peer);
        }
        promise.keep(self, peer.ip())?;
        {
            let mut state = self.state();
            (state.phase, state.peer, state.bound) = (Phase::Connected, Some(peer), true);
            (state.dissolved, state.error) = (false, None);
        }
        self.notify.record(Events::CONNECT, None);
        self.notify.record(Events::WRITE, None);
        Ok(Outcome::Connected)
    }

    /// Takes a datagram socket's peer away. Linux would take its port as well, where nobody asked for that.
    fn dissolve(&self) -> Result<Outcome> {
        let local = raw::local(&*self.fd).ok();
        self.unhold();
        raw::dissolve(&*self.fd).map_err(|error| raw::code(&error))?;
        let after = raw::local(&*self.fd).ok();
        if let (Some(local), Some(after)) = (local, after)
            && local.port() != 0
            && after.port() == 0
        {
            let any = SocketAddr::new(after.ip(), local.port());
            raw::bind(&*self.fd, any).map_err(|error| raw::code(&error))?;
        }
        let mut state = self.state();
        (state.phase, state.peer, state.dissolved) = (Phase::Idle, None, true);
        Ok(Outcome::Dissolved)
    }

    /// Everything that has come is gone.
    fn discard(&self) {
        while raw::receive(&*self.fd, &mut [0], raw::Flags::default()).is_ok() {}
    }

    /// What came from others between the two.
    fn discard_others(&self, peer: SocketAddr) {
        let peek = raw::Flags { peek: true, ..raw::Flags::default() };
        while let Ok((_, _, from)) = raw::receive(&*self.fd, &mut [0], peek)
            && from != Some(peer)
        {
            let _ = raw::receive(&*self.fd, &mut [0], raw::Flags::default());
        }
    }
}

/// Puts data where a WSABUF says, and says how much that is.
fn deliver(wsabuf: usize, data: &[u8]) -> Result<()> {
    let fault = |_| Wsa::Efault;
    let mut pointer = [0; 8];
    sys::read_memory(wsabuf.wrapping_add(8), &mut pointer).map_err(fault)?;
    if !data.is_empty() {
        sys::write_memory(usize::from_ne_bytes(pointer), data).map_err(fault)?;
    }
    let length = u32::try_from(data.len()).map_err(|_| Wsa::Efault)?;
    sys::write_memory(wsabuf, &length.to_ne_bytes()).map_err(fault)
}

/// A four-tuple that is taken is a local address in use; the rest is as everywhere.
fn connect_code(error: &std::io::Error) -> Wsa {
    match raw::code(error) {
        Wsa::Eaddrnotavail => Wsa::Eaddrinuse,
        code => code,
    }
}

impl Endpoint {
    /// The descriptor as the reactor watches it: one of its own, since others may watch the same socket.
    pub(super) fn watched(&self, interest: Interest) -> Result<AsyncFd<OwnedFd>> {
        let own = self.fd.try_clone().map_err(|error| raw::code(&error))?;
        watch(own, interest)
    }
}
