//! Closing sockets, and shutting their connections down.

use std::os::fd::{AsFd, RawFd};
use std::sync::Arc;

use flowspec::{Direction, Errno, Wsa};
use gqos::engine::Lingering;

use super::Result;
use super::blocking::may_await_others;
use super::endpoint::{ConnectionPhase, Endpoint};
use super::provider::{check_started, provider};
use super::socket_table;
use crate::sys::{self, ShutdownHow};

/// Closes the socket with this number.
///
/// - **Errors**: WSAENOTSOCK.
pub(crate) fn close(number: RawFd) -> Result<()> {
    close_socket(&socket_table::get(number)?)
}

/// Closes a socket, unless it is closed already.
///
/// - **Errors**: WSAENOTSOCK.
pub(crate) fn close_socket(endpoint: &Arc<Endpoint>) -> Result<()> {
    if !socket_table::remove(endpoint) {
        return Err(Wsa::Enotsock);
    }
    endpoint.close_now();
    Ok(())
}

pub(crate) fn close_all() {
    socket_table::remove_all().into_iter().for_each(|endpoint| endpoint.close_now());
}

impl Endpoint {
    /// Wakes the calls that wait on the socket, releases its reservation once its data has left, and closes the kernel's
    /// socket: when it returns, nothing of this process keeps that open.
    ///
    /// Where the program has closed the descriptor by close(2), the number may be another file's, and is left alone.
    pub(crate) fn close_now(&self) {
        let is_open = self.fd.is_same();
        let waiters = self.closing.close();
        if is_open && waiters.in_receive {
            let _ = sys::shutdown(&self.fd, ShutdownHow::Receive);
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
            // The child closes its descriptor. The connection and its reservation are the parent's, as are the threads
            // that were counted.
            std::mem::forget(qos);
            self.fd.retire();
            return;
        }
        if let Some(held) = qos.reservation {
            let lingers = is_open && phase == ConnectionPhase::Connected;
            held.reservation.end(if lingers { self.lingering() } else { Lingering::Nothing });
        }
        if let (Some(id), Ok(provider)) = (qos.waiting_id, provider()) {
            provider.host.stop_waiting(&id);
        }
        if is_open && waiters.with_others {
            self.wake_pollers();
        }
        for direction in Direction::BOTH {
            self.control.set(direction, None);
        }
        if may_await_others() {
            self.closing.wait_until_unused();
        }
        self.fd.retire();
    }

    /// What has to leave a stream before its reservation is released.
    pub(crate) fn lingering(&self) -> Lingering {
        match self.fd.as_fd().try_clone_to_owned() {
            Ok(duplicate) if self.is_stream() => Lingering::Descriptor(Arc::new(duplicate)),
            // Without a descriptor the reservation is released at once.
            _ => Lingering::Nothing,
        }
    }

    /// Wakes the threads that wait for this socket and others.
    fn wake_pollers(&self) {
        let aborts = self.is_stream() && sys::linger(&self.fd) == Ok(Some(0));
        // A shutdown would end the connection in order, where the program has chosen a reset.
        let _ = if aborts { sys::disconnect(&self.fd) } else { sys::shutdown(&self.fd, ShutdownHow::Both) };
    }

    /// Ends one direction of the connection, or both. The reservation for a direction is released once the data that
    /// is on its way has left.
    ///
    /// A stream is connected until it is closed or reset, also after both ends have ended their directions.
    ///
    /// - **Errors**: WSAENOTCONN, after a reset too. A call that fails changes nothing.
    /// - **Source**: WSPShutdown.
    pub fn shutdown(&self, how: ShutdownHow) -> Result<()> {
        check_started()?;
        let mut state = self.state();
        if self.is_stream() && state.phase != ConnectionPhase::Connected {
            return Err(Wsa::Enotconn);
        }
        if state.phase == ConnectionPhase::Connected
            && let Err(error) = sys::shutdown(&self.fd, how)
        {
            // Of a stream whose two directions have ended, Linux says that it is not connected.
            let has_ended = self.is_stream() && state.reset.is_none() && !sys::has_error(&self.fd);
            if error != Errno::ENOTCONN || !has_ended {
                return Err(error.wsa());
            }
        }
        state.sending_ended |= how != ShutdownHow::Receive;
        state.receiving_ended |= how != ShutdownHow::Send;
        drop(state);
        self.release_ended_directions();
        Ok(())
    }
}
