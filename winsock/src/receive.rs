//! Receiving.

use std::net::SocketAddr;
use std::sync::Arc;

use flowspec::{Direction, Errno, Wsa};
use shaper::Credit;

use super::Result;
use super::blocking::{blocks, receive_in_kernel};
use super::endpoint::{ConnectionPhase, Endpoint};
use super::network_events::EventSet;
use super::provider::check_started;
use crate::sys::{self, MessageFlags, Readiness, ReceiveBuffer, Received};

/// Which datagrams a call takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum From {
    /// Those of the peer: recv.
    Peer,
    /// Those of any sender: recvfrom.
    Anyone,
}

/// How a call waits for data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReceiveWaitMode {
    /// The call waits.
    blocking: bool,
    /// It waits inside of recv, where a cancelled or closed socket is noticed too.
    in_kernel: bool,
}

impl Endpoint {
    /// Receives from the peer and returns how much; 0 at the end of a stream.
    ///
    /// - **Errors**: WSAENOTCONN; WSAEINVAL for a datagram socket without a local address; WSAESHUTDOWN;
    ///   WSAEWOULDBLOCK; WSAEMSGSIZE for a datagram longer than the buffer, which holds its beginning; WSAECONNRESET;
    ///   WSAETIMEDOUT; WSAEINTR; WSAEOPNOTSUPP for a socket that only sends.
    /// - **Source**: WSPRecv.
    pub fn receive(self: &Arc<Self>, buffer: &mut [u8], flags: MessageFlags) -> Result<usize> {
        self.receive_into(buffer.into(), flags, From::Peer).map(|received| received.length)
    }

    /// Receives and also returns the sender of a datagram.
    ///
    /// - **Errors**: those of [`receive`](Self::receive).
    /// - **Source**: WSPRecvFrom.
    pub fn receive_from(
        self: &Arc<Self>,
        buffer: &mut [u8],
        flags: MessageFlags,
    ) -> Result<(usize, Option<SocketAddr>)> {
        let received = self.receive_into(buffer.into(), flags, From::Anyone)?;
        Ok((received.length, received.from))
    }

    /// The same into memory of ours or of the program's.
    pub(crate) fn receive_into(
        self: &Arc<Self>,
        buffer: ReceiveBuffer<'_>,
        flags: MessageFlags,
        from: From,
    ) -> Result<Received> {
        let waiting = self.check_receive(flags, from)?;
        // Datagrams have arrived already, and a peek takes nothing: neither is shaped.
        let is_shaped = self.is_stream() && !flags.peek;
        loop {
            let granted = if is_shaped {
                match self.control.acquire(Direction::Receiving, buffer.len()) {
                    Credit::Granted(granted) => granted,
                    Credit::Wait(time) if waiting.blocking => {
                        self.pause(time)?;
                        continue;
                    }
                    Credit::Wait(time) => {
                        self.enable_event_after(time, EventSet::READ);
                        return Err(Wsa::Ewouldblock);
                    }
                }
            } else {
                buffer.len()
            };
            let result = self.receive_once(buffer.first(granted), flags, waiting)?;
            // Datagrams that come count as a sign of life.
            if !flags.peek {
                let passed = result.ok().map(|received| received.length);
                self.control.complete(Direction::Receiving, granted, passed);
            }
            match result {
                Ok(received) => {
                    self.enable_event(if flags.out_of_band { EventSet::OOB } else { EventSet::READ });
                    if received.length == 0 && self.is_stream() && buffer.len() > 0 {
                        // The kernel reports a reset once, and the end of the stream afterwards.
                        let reset = self.state().reset;
                        return reset.map_or(Ok(received), Err);
                    }
                    return if received.truncated { Err(Wsa::Emsgsize) } else { Ok(received) };
                }
                Err(error) => self.prepare_retry(error, waiting)?,
            }
        }
    }

    /// After a receive that has failed: returns when it is to be repeated.
    ///
    /// - **Errors**: WSAEWOULDBLOCK, WSAETIMEDOUT, WSAEINTR; the error's own code where it is final.
    pub(crate) fn prepare_retry(self: &Arc<Self>, error: Errno, waiting: ReceiveWaitMode) -> Result<()> {
        match error {
            Errno::EINTR => Ok(()),
            Errno::EAGAIN if waiting.blocking => {
                let timeout = self.state().receive_timeout;
                self.wait_until(Readiness::READABLE, timeout).map(drop)
            }
            Errno::EAGAIN => {
                self.enable_event(EventSet::READ);
                Err(Wsa::Ewouldblock)
            }
            // An ICMP port unreachable: Windows reports it on receive, as WSAECONNRESET.
            Errno::ECONNREFUSED if !self.is_stream() => {
                if self.state().ignores_resets {
                    Ok(())
                } else {
                    Err(Wsa::Econnreset)
                }
            }
            error => Err(self.note_reset(error)),
        }
    }

    /// The code of a failed transfer, which every receive after a reset reports again.
    pub(crate) fn note_reset(&self, error: Errno) -> Wsa {
        let code = error.wsa();
        if self.is_stream() && matches!(error, Errno::ECONNRESET | Errno::EPIPE | Errno::ETIMEDOUT) {
            self.state().reset.get_or_insert(code);
        }
        code
    }

    /// The checks of a receive, and how it waits.
    pub(crate) fn check_receive(&self, flags: MessageFlags, from: From) -> Result<ReceiveWaitMode> {
        check_started()?;
        self.check_direction(Direction::Receiving)?;
        let state = self.state();
        match (self.is_stream(), state.phase) {
            (true, ConnectionPhase::Connected) => {}
            (true, _) => return Err(Wsa::Enotconn),
            (false, _) if !state.bound => return Err(Wsa::Einval),
            (false, _) if from == From::Peer && state.peer_removed => return Err(Wsa::Enotconn),
            (false, _) => {}
        }
        if state.receiving_ended {
            return Err(Wsa::Eshutdown);
        }
        let is_plain = self.is_stream() && !flags.out_of_band && state.receive_timeout.is_none();
        // The kernel waits only on a descriptor that blocks itself.
        let in_kernel = is_plain && !state.nonblocking && blocks(false);
        Ok(ReceiveWaitMode { blocking: blocks(state.nonblocking), in_kernel })
    }

    /// One system call.
    fn receive_once(
        &self,
        buffer: ReceiveBuffer<'_>,
        flags: MessageFlags,
        waiting: ReceiveWaitMode,
    ) -> Result<core::result::Result<Received, Errno>> {
        Ok(if waiting.in_kernel {
            let receive = || sys::receive_stream_waiting(&self.fd, buffer, flags);
            let result = receive_in_kernel(&self.closing, &self.fd, receive, |length| *length == 0)?;
            result.map(Received::stream)
        } else if self.is_stream() {
            sys::receive_stream(&self.fd, buffer, flags).map(Received::stream)
        } else {
            sys::receive(&self.fd, buffer, flags)
        })
    }

    /// Sets whether an ICMP port unreachable is reported on receive, as WSAECONNRESET. By default it is.
    ///
    /// - **Source**: WSAIoctl, SIO_UDP_CONNRESET.
    pub fn set_reports_resets(&self, reports: bool) -> Result<()> {
        check_started()?;
        self.state().ignores_resets = !reports;
        Ok(())
    }

    /// Bytes to read; of a datagram socket, those of its first datagram.
    ///
    /// - **Errors**: those of `ioctl`.
    /// - **Source**: WSPIoctl, FIONREAD.
    pub fn available(&self) -> Result<u32> {
        check_started()?;
        sys::available(&self.fd).map_err(Errno::wsa)
    }

    /// Whether all out-of-band data has been read.
    ///
    /// - **Errors**: those of `ioctl`.
    /// - **Source**: WSPIoctl, SIOCATMARK.
    pub fn at_mark(&self) -> Result<bool> {
        check_started()?;
        sys::at_mark(&self.fd).map_err(Errno::wsa)
    }
}
