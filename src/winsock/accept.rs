//! Accepting.

use std::net::SocketAddr;
use std::sync::Arc;

use flowspec::Wsa;

use super::Result;
use super::notify::Events;
use super::provider::provider;
use super::socket::{Endpoint, Phase, Socket};
use super::waiting::wait;
use crate::linux::raw::{self, Ready};

impl Endpoint {
    /// Puts a connection off: it stays the first, and is accepted by the next call.
    pub fn defer(&self, socket: Socket, peer: SocketAddr) {
        self.state().deferred = Some((socket.into_raw(), peer));
    }

    /// The next connection, with its peer's address. It has the listener's properties.
    ///
    /// - **Errors**: WSAEINVAL where the socket does not listen; WSAEOPNOTSUPP for datagrams; WSAEWOULDBLOCK;
    ///   WSAEINTR; WSAEMFILE.
    /// - **Source**: WSPAccept.
    pub fn accept(self: &Arc<Self>) -> Result<(Socket, SocketAddr)> {
        provider()?;
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
        if let Some((event, wanted)) = self.notify.selected() {
            // Event registrations are properties as well.
            socket.select_events(event.as_ref(), wanted)?;
        }
        Ok((socket, peer))
    }
}
