//! Sending.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use flowspec::{Direction, Errno, Wsa};
use shaper::Credit;

use super::Result;
use super::blocking::{blocks, set_credit_delay};
use super::endpoint::{ConnectionPhase, Endpoint};
use super::network_events::EventSet;
use super::provider::{check_started, provider};
use crate::sys::{self, MessageFlags, Readiness, SendBuffer};

impl Endpoint {
    /// Sends to the peer and returns how much was sent: all of it where the socket is a blocking stream. A shaped flow
    /// waits for credit; where the socket does not block it fails with WSAEWOULDBLOCK instead.
    ///
    /// A leaf of a multicast session sends to that.
    ///
    /// - **Errors**: WSAENOTCONN, WSAESHUTDOWN, WSAEWOULDBLOCK, WSAECONNRESET, WSAEMSGSIZE, WSAEINTR, WSAETIMEDOUT;
    ///   WSAEOPNOTSUPP for a socket that only receives.
    /// - **Source**: WSPSend.
    pub fn send(self: &Arc<Self>, data: &[u8], flags: MessageFlags) -> Result<usize> {
        self.send_buffer(data.into(), flags)
    }

    /// Sends a datagram to an address, whether or not the socket has a peer. A stream ignores the address.
    ///
    /// - **Errors**: those of [`send`](Self::send); WSAEADDRNOTAVAIL, WSAEACCES.
    /// - **Source**: WSPSendTo.
    pub fn send_to(self: &Arc<Self>, data: &[u8], flags: MessageFlags, to: SocketAddr) -> Result<usize> {
        self.send_buffer_to(data.into(), flags, to)
    }

    /// [`send`](Self::send) from memory of ours or of the program's.
    pub(crate) fn send_buffer(self: &Arc<Self>, data: SendBuffer<'_>, flags: MessageFlags) -> Result<usize> {
        check_started()?;
        self.check_direction(Direction::Sending)?;
        let session = self.state().session;
        if let Some(session) = session {
            return self.send_buffer_to(data, flags, session);
        }
        let blocking = {
            let state = self.state();
            if state.phase != ConnectionPhase::Connected {
                return Err(Wsa::Enotconn);
            }
            if state.sending_ended {
                return Err(Wsa::Eshutdown);
            }
            blocks(state.nonblocking)
        };
        self.send_shaped(data, blocking, |part| sys::send(&self.fd, part, flags))
    }

    /// [`send_to`](Self::send_to) from memory of ours or of the program's.
    pub(crate) fn send_buffer_to(
        self: &Arc<Self>,
        data: SendBuffer<'_>,
        flags: MessageFlags,
        to: SocketAddr,
    ) -> Result<usize> {
        if self.is_stream() {
            return self.send_buffer(data, flags);
        }
        check_started()?;
        self.check_direction(Direction::Sending)?;
        self.check_family(to)?;
        if to.ip().is_unspecified() || to.port() == 0 {
            return Err(Wsa::Eaddrnotavail);
        }
        let (blocking, was_bound) = {
            let mut state = self.state();
            if state.sending_ended {
                return Err(Wsa::Eshutdown);
            }
            (blocks(state.nonblocking), std::mem::replace(&mut state.bound, true))
        };
        let sent = self.send_shaped(data, blocking, |part| sys::send_to(&self.fd, part, flags, to));
        if !was_bound {
            self.record_if_selected();
        }
        sent
    }

    /// Sends as the flow's credit and the socket's send queue allow.
    pub(crate) fn send_shaped(
        self: &Arc<Self>,
        data: SendBuffer<'_>,
        blocking: bool,
        send: impl Fn(SendBuffer<'_>) -> core::result::Result<usize, Errno>,
    ) -> Result<usize> {
        let is_datagram = !self.is_stream();
        let discards = is_datagram && self.state().qos.provider_specific.discards();
        if is_datagram
            && let Some(largest) = self.control.largest_datagram(Direction::Sending)
            && data.len() as u64 > largest
        {
            return Err(Wsa::Emsgsize);
        }
        let mut sent = 0;
        loop {
            let rest = data.after(sent);
            let granted = match self.control.acquire(Direction::Sending, rest.len()) {
                Credit::Granted(granted) => granted,
                // QOS_SD_MODE: the datagram is dropped, which is not an error.
                Credit::Wait(_) if discards => return Ok(data.len()),
                Credit::Wait(_) if !blocking && sent > 0 => return Ok(sent),
                Credit::Wait(time) => match self.await_send_credit(time, blocking) {
                    Ok(()) => continue,
                    Err(Wsa::Etimedout) if sent > 0 => return Ok(sent),
                    Err(code) => return Err(code),
                },
            };
            let result = send(rest.first(granted));
            self.control.complete(Direction::Sending, granted, result.ok());
            match result {
                Ok(passed) => {
                    sent += passed;
                    if is_datagram || sent == data.len() {
                        return Ok(sent);
                    }
                }
                Err(Errno::EINTR) => {}
                // The ICMP error of an earlier datagram, which the next receive reports. This one was not sent.
                Err(Errno::ECONNREFUSED) if is_datagram => {}
                Err(Errno::EAGAIN) if !blocking && sent > 0 => return Ok(sent),
                Err(Errno::EAGAIN) => match self.await_send_queue(blocking) {
                    Ok(()) => {}
                    Err(Wsa::Etimedout) if sent > 0 => return Ok(sent),
                    Err(code) => return Err(code),
                },
                Err(error) => return Err(self.note_reset(error)),
            }
        }
    }

    /// Waits until the flow has credit, but not beyond SO_SNDTIMEO. A non-blocking call has FD_WRITE recorded then.
    fn await_send_credit(self: &Arc<Self>, time: Duration, blocking: bool) -> Result<()> {
        if !blocking {
            self.enable_event_after(time, EventSet::WRITE);
            return Err(Wsa::Ewouldblock);
        }
        match self.state().send_timeout {
            Some(timeout) if timeout < time => self.pause(timeout).and(Err(Wsa::Etimedout)),
            _ => self.pause(time),
        }
    }

    /// Waits until there is space in the send queue. A non-blocking call has FD_WRITE recorded then.
    fn await_send_queue(self: &Arc<Self>, blocking: bool) -> Result<()> {
        if !blocking {
            self.enable_event(EventSet::WRITE);
            return Err(Wsa::Ewouldblock);
        }
        let timeout = self.state().send_timeout;
        self.wait_until(Readiness::WRITABLE, timeout).map(drop)
    }

    /// Enables an event once the flow has credit again.
    pub(crate) fn enable_event_after(self: &Arc<Self>, time: Duration, event: EventSet) {
        set_credit_delay(time);
        if !self.events.selects(event) {
            return;
        }
        let Ok(provider) = provider() else { return };
        let this = self.weak();
        self.events.disable(event);
        provider.host.spawn(async move {
            tokio::time::sleep(time).await;
            // The program may have closed the descriptor by close(2).
            if let Some(this) = this.upgrade().filter(|this| this.fd.is_same()) {
                this.enable_event(event);
            }
        });
    }
}
