//! Accepting.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use flowspec::{Qos, Wsa};

use super::Result;
use super::exchange::{Accepting, Caller, Offered, Pending, Verdict, swapped};
use super::notify::Events;
use super::provider::running;
use super::qos::merged;
use super::setup::Answer;
use super::socket::{Endpoint, Phase, Socket};
use super::waiting::{calling_back, wait, wait_for};
use crate::sys::raw::{self, Ready};

/// Tells a caller. An answer fits what a fresh connection takes at once, and one who has gone needs none.
fn answer(fd: &OwnedFd, refused: Option<Wsa>, status: Option<Wsa>, data: Vec<u8>) {
    let _ = raw::send(fd, &Answer { refused, status, data }.write(), raw::Flags::default());
}

impl Endpoint {
    /// The next connection, with its peer's address. It has the listener's properties: what SIO_SET_QOS has said of
    /// the listener is admitted for it, where the caller has not asked for anything. One for which there is no room
    /// is closed, the next one is waited for, and the listener is told by FD_QOS.
    ///
    /// - **Errors**: WSAEINVAL where the socket does not listen; WSAEOPNOTSUPP for datagrams; WSAEWOULDBLOCK;
    ///   WSAEINTR; WSAEMFILE.
    /// - **Source**: WSPAccept.
    pub fn accept(self: &Arc<Self>) -> Result<(Socket, SocketAddr)> {
        // What it brought along is taken as it is.
        self.accept_if(|_| Verdict::accept())
    }

    /// The next connection that the condition accepts, which sees who calls, what he has brought along and what
    /// his flow is to get. The acceptor's side is admitted as well before he is told, so that both ends are
    /// guaranteed, or there is no connection: then the next one is waited for.
    ///
    /// - **Errors**: those of [`accept`](Self::accept); WSAECONNREFUSED where the condition rejects, WSATRY_AGAIN
    ///   where it defers.
    /// - **Source**: WSPAccept, ConditionFunc.
    pub fn accept_if(
        self: &Arc<Self>,
        mut condition: impl FnMut(&Caller<'_>) -> Verdict,
    ) -> Result<(Socket, SocketAddr)> {
        running()?;
        let offered = self.state().offered.clone();
        if let Some(offered) = offered {
            return self.accept_offered(&offered, &mut condition);
        }
        loop {
            let (socket, peer) = self.accept_plain()?;
            let local = socket.local_address()?;
            let caller = Caller { peer, local, data: &[], sqos: None, gqos: None };
            let terms = match calling_back(|| condition(&caller)) {
                Verdict::Accept(terms) => terms,
                Verdict::Reject => return Err(Wsa::Econnrefused),
                Verdict::Defer => {
                    self.state().deferred = Some((socket.into_raw(), peer));
                    return Err(Wsa::TryAgain);
                }
            };
            socket.join(terms.group.enter(socket.family, socket.kind)?);
            socket.fix_group(peer.ip());
            match self.admit(&socket, peer, &terms, None) {
                Ok(()) => return Ok((socket, peer)),
                Err(code) => {
                    let status = socket.state().quality.status;
                    self.tell_quality(status.unwrap_or_else(|| code.into()));
                }
            }
        }
    }

    /// What a new socket is to have: what the condition says, or the caller, or SIO_SET_QOS of this listener.
    ///
    /// - **Errors**: WSAEOPNOTSUPP, with the status kept for the new socket's SIO_GET_QOS.
    fn admit(
        &self,
        socket: &Endpoint,
        peer: SocketAddr,
        terms: &Accepting,
        offered: Option<Qos>,
    ) -> Result<()> {
        let (own, own_wishes) = {
            let state = self.state();
            (state.quality.asked, state.quality.wishes)
        };
        let (asked, wishes) = match terms.sqos.or(offered) {
            Some(asked) => (Some(merged(&asked, own.as_ref())?), terms.wishes),
            None => (own, own_wishes),
        };
        let promise = socket.promise(asked, wishes, peer.ip())?;
        socket.keep(promise, peer.ip())
    }

    fn accept_offered(
        self: &Arc<Self>,
        offered: &Offered,
        condition: &mut dyn FnMut(&Caller<'_>) -> Verdict,
    ) -> Result<(Socket, SocketAddr)> {
        loop {
            let nonblocking = self.state().nonblocking;
            let Some(pending) = offered.take() else {
                if nonblocking {
                    return Err(Wsa::Ewouldblock);
                }
                wait_for(self, offered.number(), Ready { readable: true, ..Ready::default() }, None)?;
                continue;
            };
            let local = raw::local(&pending.fd).map_err(|error| raw::code(&error))?;
            let Pending { peer, offer, .. } = &pending;
            let own = offer.sqos.map(swapped);
            let told =
                Caller { peer: *peer, local, data: &offer.data, sqos: own, gqos: offer.gqos.map(swapped) };
            let terms = match calling_back(|| condition(&told)) {
                Verdict::Accept(terms) => terms,
                Verdict::Reject => {
                    answer(&pending.fd, Some(Wsa::Econnrefused), None, Vec::new());
                    return Err(Wsa::Econnrefused);
                }
                Verdict::Defer => {
                    offered.put_back(pending);
                    return Err(Wsa::TryAgain);
                }
            };
            // A group that makes no sense is the acceptor's mistake: the caller is turned away.
            let membership = terms.group.enter(self.family, self.kind).inspect_err(|_| {
                answer(&pending.fd, Some(Wsa::Econnrefused), None, Vec::new());
            })?;
            let Pending { fd, peer, .. } = pending;
            raw::set_nonblocking(&fd, nonblocking).map_err(|error| raw::code(&error))?;
            let socket = Socket::of(self.accepted(fd, peer));
            socket.join(membership);
            socket.fix_group(peer.ip());
            self.notify.rearm(self, Events::ACCEPT);
            if let Err(code) = self.admit(&socket, peer, &terms, own) {
                let status = socket.state().quality.status;
                answer(&socket.fd, Some(code), status.map(|status| status.code), Vec::new());
                self.tell_quality(status.unwrap_or_else(|| code.into()));
                continue;
            }
            answer(&socket.fd, None, None, terms.callee_data);
            if let Some((target, wanted)) = self.notify.selected() {
                socket.tell(target, wanted)?;
            }
            return Ok((socket, peer));
        }
    }

    fn accept_plain(self: &Arc<Self>) -> Result<(Socket, SocketAddr)> {
        if !self.is_stream() {
            return Err(Wsa::Eopnotsupp);
        }
        let nonblocking = {
            let state = self.state();
            if state.phase != Phase::Listening {
                return Err(Wsa::Einval);
            }
            state.nonblocking
        };
        // One that was put off is the first.
        if let Some((number, peer)) = self.state().deferred.take()
            && let Ok(socket) = Socket::from_raw(number)
        {
            return Ok((socket, peer));
        }
        // The descriptor must not wait where this call does not: two threads may be told of one connection.
        raw::set_nonblocking(&*self.fd, true).map_err(|error| raw::code(&error))?;
        let accepted = loop {
            match raw::accept(&*self.fd) {
                Ok(accepted) => break Ok(accepted),
                Err(error) => match raw::code(&error) {
                    Wsa::Ewouldblock if nonblocking => break Err(Wsa::Ewouldblock),
                    Wsa::Ewouldblock => {
                        let readable = Ready { readable: true, ..Ready::default() };
                        if let Err(wsa) = wait(self, readable, None) {
                            break Err(wsa);
                        }
                    }
                    // One that was gone before it was accepted is nobody.
                    Wsa::Econnaborted | Wsa::Econnreset | Wsa::Enotconn | Wsa::Eintr => {}
                    code => break Err(code),
                },
            }
        };
        if !nonblocking {
            let _ = raw::set_nonblocking(&*self.fd, false);
        }
        self.notify.rearm(self, Events::ACCEPT);
        let (fd, peer) = accepted?;
        if nonblocking {
            raw::set_nonblocking(&fd, true).map_err(|error| raw::code(&error))?;
        }
        let socket = Socket::of(self.accepted(fd, peer));
        if let Some((target, wanted)) = self.notify.selected() {
            // Event registrations are properties as well.
            socket.tell(target, wanted)?;
        }
        Ok((socket, peer))
    }
}
