//! Datagrams with control data: WSASendMsg and WSARecvMsg.

use std::net::SocketAddr;
use std::sync::Arc;

use flowspec::{Direction, Wsa};

use super::Result;
use super::blocking::blocks;
use super::endpoint::{ConnectionPhase, Endpoint};
use super::network_events::EventSet;
use super::receive::From;
use crate::sys::{self, ControlItem, MessageFlags, ReceiveBuffer, ReceivedMessage, SendBuffer};

impl Endpoint {
    /// Sends a datagram with control data, to the peer where there is no destination. It is shaped as every send.
    ///
    /// - **Errors**: those of [`send_to`](Self::send_to); WSAEOPNOTSUPP for a stream.
    /// - **Source**: WSASendMsg.
    pub(crate) fn send_message(
        self: &Arc<Self>,
        data: SendBuffer<'_>,
        flags: MessageFlags,
        to: Option<SocketAddr>,
        control: &[ControlItem],
    ) -> Result<usize> {
        if self.is_stream() {
            return Err(Wsa::Eopnotsupp);
        }
        self.check_direction(Direction::Sending)?;
        if let Some(to) = to {
            self.check_family(to)?;
            if to.ip().is_unspecified() || to.port() == 0 {
                return Err(Wsa::Eaddrnotavail);
            }
        }
        let blocking = {
            let mut state = self.state();
            if state.sending_ended {
                return Err(Wsa::Eshutdown);
            }
            if to.is_none() && state.phase != ConnectionPhase::Connected {
                return Err(Wsa::Enotconn);
            }
            state.bound = true;
            blocks(state.nonblocking)
        };
        self.send_shaped(data, blocking, |part| sys::send_message(&self.fd, part, flags, to, control))
    }

    /// Receives a datagram with its control data.
    ///
    /// - **Errors**: those of [`receive_from`](Self::receive_from), but that a datagram longer than the buffer is
    ///   returned as truncated; WSAEOPNOTSUPP for a stream.
    /// - **Source**: WSARecvMsg.
    pub(crate) fn receive_message(
        self: &Arc<Self>,
        buffer: ReceiveBuffer<'_>,
        flags: MessageFlags,
    ) -> Result<ReceivedMessage> {
        if self.is_stream() {
            return Err(Wsa::Eopnotsupp);
        }
        let waiting = self.check_receive(flags, From::Anyone)?;
        loop {
            match sys::receive_message(&self.fd, buffer, flags) {
                Ok(message) => {
                    self.enable_event(EventSet::READ);
                    return Ok(message);
                }
                Err(error) => self.prepare_retry(error, waiting)?,
            }
        }
    }
}
