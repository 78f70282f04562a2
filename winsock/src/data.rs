//! Sending and receiving.

use std::net::SocketAddr;
use std::sync::Arc;

use flowspec::{Direction, Wsa};
use shaper::Credit;

use super::Result;
use super::notify::Events;
use super::provider::{provider, running};
use super::socket::{Endpoint, Phase};
use super::waiting::{no_credit, pause, receive_waiting, wait, waits};
use crate::sys::raw::{self, Flags, Ready};

impl Endpoint {
    /// Sends to the peer: how much was taken. A flow that is held to its flowspec waits for credit, or takes
    /// nothing where the socket does not block.
    ///
    /// - **Errors**: WSAENOTCONN, WSAESHUTDOWN, WSAEWOULDBLOCK, WSAECONNRESET, WSAEMSGSIZE, WSAEINTR; WSAEOPNOTSUPP
    ///   where the socket only receives.
    /// - **Source**: WSPSend.
    pub fn send(self: &Arc<Self>, data: &[u8], flags: Flags) -> Result<usize> {
        running()?;
        self.check_way(Direction::Sending)?;
        let nonblocking = {
            let state = self.state();
            if state.phase != Phase::Connected {
                return Err(Wsa::Enotconn);
            }
            if state.sending_ended {
                return Err(Wsa::Eshutdown);
            }
            !waits(state.nonblocking)
        };
        self.send_held(data, nonblocking, |part| raw::send(&*self.fd, part, flags))
    }

    /// Sends a datagram to an address, connected or not; on a stream the address is ignored.
    ///
    /// - **Errors**: those of [`send`](Self::send); WSAEADDRNOTAVAIL, WSAEACCES.
    /// - **Source**: WSPSendTo.
    pub fn send_to(self: &Arc<Self>, data: &[u8], flags: Flags, to: SocketAddr) -> Result<usize> {
        if self.is_stream() {
            return self.send(data, flags);
        }
        running()?;
        self.check_way(Direction::Sending)?;
        self.check_family(to)?;
        if to.ip().is_unspecified() || to.port() == 0 {
            return Err(Wsa::Eaddrnotavail);
        }
        let nonblocking = {
            let mut state = self.state();
            if state.sending_ended {
                return Err(Wsa::Eshutdown);
            }
            state.bound = true;
            !waits(state.nonblocking)
        };
        self.send_held(data, nonblocking, |part| raw::send_to(&*self.fd, part, flags, to))
    }

    /// Sends as the flow's credit and the kernel's room allow.
    fn send_held(
        self: &Arc<Self>,
        data: &[u8],
        nonblocking: bool,
        send: impl Fn(&[u8]) -> std::io::Result<usize>,
    ) -> Result<usize> {
        let whole = !self.is_stream();
        let discards = whole && self.state().quality.wishes.discards();
        if whole
            && let Some(largest) = self.control.largest_datagram(Direction::Sending)
            && data.len() as u64 > largest
        {
            return Err(Wsa::Emsgsize);
        }
        let mut sent = 0;
        loop {
            let rest = &data[sent..];
            let granted = match self.control.acquire(Direction::Sending, rest.len()) {
                Credit::Granted(granted) => granted,
                // QOS_SD_MODE: what does not conform is dropped, and nobody waits.
                Credit::Wait(_) if discards => return Ok(data.len()),
                Credit::Wait(time) if nonblocking => {
                    if sent > 0 {
                        return Ok(sent);
                    }
                    self.ready_after(time, Events::WRITE);
                    return Err(Wsa::Ewouldblock);
                }
                Credit::Wait(time) => {
                    let most = self.state().send_timeout;
                    pause(self, most.map_or(time, |most| most.min(time)))?;
                    if most.is_some_and(|most| most < time) {
                        return if sent > 0 { Ok(sent) } else { Err(Wsa::Etimedout) };
                    }
                    continue;
                }
            };
            let result = send(&rest[..granted.min(rest.len())]);
            self.control.complete(Direction::Sending, granted, result.as_ref().ok().copied());
            match result {
                Ok(passed) => {
                    sent += passed;
                    // A blocking stream takes all of it.
                    if whole || sent == data.len() {
                        return Ok(sent);
                    }
                }
                Err(error) => match raw::code(&error) {
                    Wsa::Eintr => {}
                    Wsa::Ewouldblock if sent > 0 && nonblocking => return Ok(sent),
                    Wsa::Ewouldblock if nonblocking => {
                        self.notify.rearm(self, Events::WRITE);
                        return Err(Wsa::Ewouldblock);
                    }
                    Wsa::Ewouldblock => {
                        let most = self.state().send_timeout;
                        match wait(self, Ready { writable: true, ..Ready::default() }, most) {
                            Err(Wsa::Etimedout) if sent > 0 => return Ok(sent),
                            waited => waited?,
                        };
                    }
                    // Whether a datagram came is not known when it is sent: what comes back surfaces on receive.
                    Wsa::Econnrefused if whole => {}
                    // The peer has closed: Windows says who did what.
                    Wsa::Econnreset => return Err(Wsa::Econnreset),
                    code => return Err(code),
                },
            }
        }
    }

    /// Tells that there is something to be done once the flow has credit again.
    fn ready_after(self: &Arc<Self>, time: std::time::Duration, event: Events) {
        no_credit(time);
        if !self.notify.wants(event) {
            return;
        }
        let Ok(provider) = provider() else { return };
        let this = Arc::clone(self);
        self.notify.disarm(event);
        provider.spawn(async move {
            tokio::time::sleep(time).await;
            this.notify.rearm(&this, event);
        });
    }

    /// Receives from the peer: how much came; nothing at the end of a stream.
    ///
    /// - **Errors**: WSAENOTCONN; WSAEINVAL for datagrams where the socket has no local address; WSAESHUTDOWN;
    ///   WSAEWOULDBLOCK; WSAEMSGSIZE where the datagram was longer, whose beginning is in the buffer;
    ///   WSAECONNRESET; WSAEINTR; WSAEOPNOTSUPP where the socket only sends.
    /// - **Source**: WSPRecv.
    pub fn receive(self: &Arc<Self>, buffer: &mut [u8], flags: Flags) -> Result<usize> {
        self.receive_from(buffer, flags, true).map(|(came, _)| came)
    }

    /// Receives, and says from whom.
    ///
    /// - **Errors**: those of [`receive`](Self::receive).
    /// - **Source**: WSPRecvFrom.
    pub fn receive_any(
        self: &Arc<Self>,
        buffer: &mut [u8],
        flags: Flags,
    ) -> Result<(usize, Option<SocketAddr>)> {
        self.receive_from(buffer, flags, false)
    }

    fn receive_from(
        self: &Arc<Self>,
        buffer: &mut [u8],
        flags: Flags,
        from_peer: bool,
    ) -> Result<(usize, Option<SocketAddr>)> {
        running()?;
        self.check_way(Direction::Receiving)?;
        let (nonblocking, in_kernel) = {
            let state = self.state();
            match (self.is_stream(), state.phase) {
                (true, Phase::Connected) => {}
                (true, _) => return Err(Wsa::Enotconn),
                (false, _) if !state.bound => return Err(Wsa::Einval),
                (false, _) if from_peer && state.dissolved => return Err(Wsa::Enotconn),
                (false, _) => {}
            }
            if state.receiving_ended {
                return Err(Wsa::Eshutdown);
            }
            let plain = self.is_stream() && !flags.urgent && state.receive_timeout.is_none();
            (!waits(state.nonblocking), plain && !state.nonblocking && waits(false))
        };
        let shaped = self.is_stream() && !flags.peek;
        loop {
            let granted = match self.control.acquire(Direction::Receiving, buffer.len()) {
                _ if !shaped => buffer.len(),
                Credit::Granted(granted) => granted,
                Credit::Wait(time) if nonblocking => {
                    self.ready_after(time, Events::READ);
                    return Err(Wsa::Ewouldblock);
                }
                Credit::Wait(time) => {
                    pause(self, time)?;
                    continue;
                }
            };
            let length = granted.min(buffer.len());
            let part = &mut buffer[..length];
            let result = if in_kernel {
                let flags = Flags { waits: true, ..flags };
                receive_waiting(self, || raw::receive_stream(&*self.fd, part, flags), |came| *came == 0)?
                    .map(|came| (came, false, None))
            } else if self.is_stream() {
                raw::receive_stream(&*self.fd, part, flags).map(|came| (came, false, None))
            } else {
                raw::receive(&*self.fd, part, flags)
            };
            if shaped {
                let passed = result.as_ref().ok().map(|(came, ..)| *came);
                self.control.complete(Direction::Receiving, granted, passed);
            }
            match result {
                Ok((came, cut, from)) => {
                    self.notify.rearm(self, Events::READ);
                    return if cut { Err(Wsa::Emsgsize) } else { Ok((came, from)) };
                }
                Err(error) => match raw::code(&error) {
                    Wsa::Eintr => {}
                    Wsa::Ewouldblock if nonblocking => {
                        self.notify.rearm(self, Events::READ);
                        return Err(Wsa::Ewouldblock);
                    }
                    Wsa::Ewouldblock => {
                        let most = self.state().receive_timeout;
                        wait(self, Ready { readable: true, ..Ready::default() }, most)?;
                    }
                    // A datagram that nobody took: Windows says that here.
                    Wsa::Econnrefused if !self.is_stream() => {
                        if !self.state().resets_untold {
                            return Err(Wsa::Econnreset);
                        }
                    }
                    code => return Err(code),
                },
            }
        }
    }

    /// Whether a datagram that nobody took is told on receive, as WSAECONNRESET; it is, where nothing is said.
    ///
    /// - **Source**: WSAIoctl, SIO_UDP_CONNRESET.
    pub fn tell_resets(&self, told: bool) -> Result<()> {
        running()?;
        self.state().resets_untold = !told;
        Ok(())
    }

    /// How much there is to read.
    ///
    /// - **Errors**: what `ioctl` answered.
    /// - **Source**: WSPIoctl, FIONREAD.
    pub fn available(&self) -> Result<u32> {
        running()?;
        raw::available(&*self.fd).map_err(|error| raw::code(&error))
    }

    /// Whether all out-of-band data has been read.
    ///
    /// - **Errors**: what `ioctl` answered.
    /// - **Source**: WSPIoctl, SIOCATMARK.
    pub fn at_mark(&self) -> Result<bool> {
        running()?;
        raw::at_mark(&*self.fd).map_err(|error| raw::code(&error))
    }
}
