//! Select and poll on several sockets.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use flowspec::{Direction, Wsa};
use shaper::Credit;

use super::Result;
use super::blocking::{deadline_after, now, wait_for_any};
use super::endpoint::{Endpoint, Phase};
use super::provider::check_started;
use crate::sys::Readiness;

/// The conditions of a socket that a call waits for, and those that it found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PollEvents {
    /// A receive would not wait, or a connection can be accepted.
    pub read: bool,
    /// A send would not wait, or a connection was made.
    pub write: bool,
    /// A connection has failed, or there is out-of-band data.
    pub except: bool,
    /// The connection has ended. Found without being waited for.
    pub hung_up: bool,
    /// An error is pending. Found without being waited for.
    pub error: bool,
}

impl PollEvents {
    const fn any(self) -> bool {
        self.read || self.write || self.except
    }
}

/// Waits until at least one socket meets a condition that it is watched for, replaces each socket's conditions by
/// those found, and returns how many sockets meet any; 0 after the timeout. `None` waits without limit.
///
/// - **Errors**: WSAEINVAL where there is nothing to wait for; WSAEINTR, WSAEINPROGRESS.
/// - **Source**: WSPSelect.
pub fn select(sockets: &mut [(Arc<Endpoint>, PollEvents)], timeout: Option<Duration>) -> Result<usize> {
    if sockets.iter().all(|(_, wanted)| !wanted.any()) {
        return Err(Wsa::Einval);
    }
    poll(sockets, timeout)
}

/// [`select`] that also reports connections that have ended.
///
/// - **Errors**: WSAEINTR, WSAEINPROGRESS.
/// - **Source**: WSAPoll.
pub fn poll(sockets: &mut [(Arc<Endpoint>, PollEvents)], timeout: Option<Duration>) -> Result<usize> {
    check_started()?;
    let wanted: Vec<_> = sockets.iter().map(|(_, wanted)| *wanted).collect();
    let deadline = timeout.map(deadline_after);
    loop {
        // The first moment at which a shaped flow has credit again.
        let mut next_credit: Option<Duration> = None;
        let mut watched = Vec::with_capacity(sockets.len());
        for ((endpoint, _), wanted) in sockets.iter().zip(&wanted) {
            watched.push(endpoint.watched_states(*wanted, &mut next_credit));
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(now()));
        let ready_already = sockets.iter().any(|(endpoint, _)| endpoint.state().connect_failed);
        let wait =
            if ready_already { Some(Duration::ZERO) } else { left.into_iter().chain(next_credit).min() };
        wait_for_any(&mut watched, wait)?;
        let mut count = 0;
        let mut connect_ends = false;
        for (((endpoint, found), wanted), (_, states)) in sockets.iter_mut().zip(&wanted).zip(&watched) {
            *found = endpoint.met_conditions(*wanted, *states);
            connect_ends |= endpoint.state().phase == Phase::Connecting && (states.writable || states.failed);
            count += usize::from(found.any() || found.hung_up || found.error);
        }
        if count > 0 || deadline.is_some_and(|deadline| now() >= deadline) {
            return Ok(count);
        }
        if connect_ends {
            // The kernel has finished the connection, and the reactor is about to record that.
            std::thread::yield_now();
        }
    }
}

impl Endpoint {
    /// The descriptor and the states to poll for. `next_credit` is lowered to the time after which the flow has credit,
    /// where it has none now: the socket is not ready before.
    fn watched_states(&self, wanted: PollEvents, next_credit: &mut Option<Duration>) -> (RawFd, Readiness) {
        let (phase, offers) = {
            let state = self.state();
            (state.phase, state.offers.as_ref().map(|offers| offers.descriptor()))
        };
        if self.is_stream() && phase == Phase::Idle {
            // To the kernel a stream without a peer is always ready.
            return (-1, Readiness::default());
        }
        let mut states = Readiness {
            readable: wanted.read,
            urgent: wanted.except,
            // A connection that fails is writable too.
            writable: wanted.write || wanted.except && phase == Phase::Connecting,
            ..Readiness::default()
        };
        if phase == Phase::Connected {
            for (watched, direction) in
                [(&mut states.writable, Direction::Sending), (&mut states.readable, Direction::Receiving)]
            {
                if *watched && let Some(time) = self.time_to_credit(direction) {
                    *watched = false;
                    *next_credit = Some(next_credit.map_or(time, |next| next.min(time)));
                }
            }
        }
        // A connection whose connect call carries data is ready once its offer has arrived.
        (offers.unwrap_or_else(|| self.number()), states)
    }

    /// How long until a shaped flow has credit in this direction; `None` where it has some.
    fn time_to_credit(&self, direction: Direction) -> Option<Duration> {
        let wanted = match (self.is_stream(), direction) {
            // As much as passes at once: with less credit a caller would wait again.
            (true, _) => usize::MAX,
            (false, Direction::Sending) => 1,
            // Received datagrams are not shaped.
            (false, Direction::Receiving) => return None,
        };
        match self.control.acquire(direction, wanted) {
            Credit::Granted(granted) => {
                self.control.complete(direction, granted, None);
                None
            }
            Credit::Wait(time) => Some(time),
        }
    }

    /// Winsock's conditions that the kernel's states stand for.
    fn met_conditions(&self, wanted: PollEvents, states: Readiness) -> PollEvents {
        let state = self.state();
        let mut found = PollEvents::default();
        match (self.is_stream(), state.phase) {
            (true, Phase::Idle) => found.except = wanted.except && state.connect_failed,
            (true, Phase::Connecting) => {}
            (true, Phase::Listening) => found.read = wanted.read && states.readable,
            (true, Phase::Connected) => {
                found.read = wanted.read && (states.readable || states.failed);
                found.write = wanted.write && (states.writable || states.failed);
                found.except = wanted.except && states.urgent;
                found.hung_up = states.failed;
            }
            (false, _) => {
                found.read = wanted.read && (states.readable || states.failed);
                found.write = wanted.write && states.writable;
            }
        }
        found
    }
}
