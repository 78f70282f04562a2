//! Closing sockets, and shutting their connections down.

use std::os::fd::RawFd;
use std::sync::Arc;

use flowspec::{Direction, Errno, Wsa};
use gqos::engine::Lingering;

use super::Result;
use super::endpoint::{Endpoint, Phase};
use super::provider::{check_started, provider};
use super::socket_table;
use crate::sys::{self, ShutdownHow};

/// Closes the socket with this number.
///
/// - **Errors**: WSAENOTSOCK.
pub(crate) fn close(number: RawFd) -> Result<()> {
    socket_table::remove(number)?.close_now();
    Ok(())
}

/// Closes all sockets.
pub(crate) fn close_all() {
    socket_table::remove_all().into_iter().for_each(|endpoint| endpoint.close_now());
}

impl Endpoint {
    /// Wakes the calls that wait on the socket, and releases its reservation once its data has left.
    fn close_now(&self) {
        if self.closing.close() {
            let _ = sys::shutdown(&*self.fd, ShutdownHow::Receive);
        }
        self.operations.changed.notify_waiters();
        self.events.close();
        let (qos, phase, deferred) = {
            let mut state = self.state();
            state.offers = None;
            (std::mem::take(&mut state.qos), std::mem::take(&mut state.phase), state.deferred.take())
        };
        if let Some((number, _)) = deferred {
            // The program may have closed it by its number.
            let _ = close(number);
        }
        if !self.is_own() {
            // The child closes its descriptor. The connection and its reservation are the parent's.
            std::mem::forget(qos);
            return;
        }
        let lingering = match phase {
            Phase::Connected if self.is_stream() => Lingering::Descriptor(Arc::clone(&self.fd)),
            _ => Lingering::Nothing,
        };
        if let Some(held) = qos.reservation {
            held.reservation.end(lingering);
        }
        if let (Some(id), Ok(provider)) = (qos.waiting_id, provider()) {
            provider.host.stop_waiting(&id);
        }
        if matches!(phase, Phase::Connecting | Phase::Listening) {
            // A task of the reactor may hold the descriptor open a little longer.
            let _ = sys::shutdown(&*self.fd, ShutdownHow::Both);
        }
        for direction in Direction::BOTH {
            self.control.set(direction, None);
        }
    }

    /// Ends one direction of the connection, or both. The reservation for a direction is released once the data that
    /// is on its way has left.
    ///
    /// - **Errors**: WSAENOTCONN.
    /// - **Source**: WSPShutdown.
    pub fn shutdown(&self, how: ShutdownHow) -> Result<()> {
        check_started()?;
        let mut state = self.state();
        if self.is_stream() && state.phase != Phase::Connected {
            return Err(Wsa::Enotconn);
        }
        state.sending_ended |= how != ShutdownHow::Receive;
        state.receiving_ended |= how != ShutdownHow::Send;
        if state.phase == Phase::Connected {
            sys::shutdown(&*self.fd, how).map_err(Errno::wsa)?;
        }
        drop(state);
        self.release_ended_directions();
        Ok(())
    }
}
