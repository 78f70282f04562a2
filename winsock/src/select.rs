//! Select and poll: several sockets at once, as Winsock sees them.

use std::sync::Arc;
use std::time::Duration;

use flowspec::{Direction, Wsa};
use shaper::Credit;

use super::Result;
use super::provider::running;
use super::socket::{Endpoint, Phase};
use super::waiting::{deadline, now, wait_for_all};
use crate::sys::raw::Ready;

/// What is asked of a socket, and what was found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Interest {
    /// A read would not wait, or a connection can be accepted.
    pub read: bool,
    /// A write would not wait, or a connection was made.
    pub write: bool,
    /// A connection was not made, or there is out-of-band data.
    pub except: bool,
    /// The socket is broken or the peer has closed; found, never asked for.
    pub hung_up: bool,
    /// An error waits; found, never asked for.
    pub error: bool,
}

impl Interest {
    const fn any(self) -> bool {
        self.read || self.write || self.except
    }
}

/// Waits until one of the sockets is ready: how many are. Without a timeout for as long as it takes.
///
/// - **Errors**: WSAEINVAL where there is nothing to wait for; WSAEINTR, WSAEINPROGRESS.
/// - **Source**: WSPSelect.
pub fn select(sockets: &mut [(Arc<Endpoint>, Interest)], timeout: Option<Duration>) -> Result<usize> {
    if sockets.iter().all(|(_, interest)| !interest.any()) {
        return Err(Wsa::Einval);
    }
    poll(sockets, timeout)
}

/// The same with what poll tells besides: what hung up and what failed.
///
/// - **Errors**: WSAEINTR, WSAEINPROGRESS.
/// - **Source**: WSAPoll.
pub fn poll(sockets: &mut [(Arc<Endpoint>, Interest)], timeout: Option<Duration>) -> Result<usize> {
    running()?;
    let wanted: Vec<_> = sockets.iter().map(|(_, interest)| *interest).collect();
    let until = timeout.map(deadline);
    loop {
        let mut watched = Vec::with_capacity(sockets.len());
        // A flow without credit is not ready before it has some; one that is being connected is looked at
        // again soon, since the reactor has the last word on it.
        let mut soonest: Option<Duration> = None;
        for ((endpoint, _), wanted) in sockets.iter().zip(&wanted) {
            let mut ready = Ready { readable: wanted.read, urgent: wanted.except, ..Ready::default() };
            let phase = endpoint.state().phase;
            ready.writable = wanted.write || (wanted.except && phase == Phase::Connecting);
            for (asked, direction) in
                [(wanted.write, Direction::Sending), (wanted.read, Direction::Receiving)]
            {
                if asked
                    && phase == Phase::Connected
                    && let Some(time) = endpoint.without_credit(direction)
                {
                    match direction {
                        Direction::Sending => ready.writable = false,
                        Direction::Receiving => ready.readable = false,
                    }
                    soonest = Some(soonest.map_or(time, |soonest| soonest.min(time)));
                }
            }
            let idle = endpoint.is_stream() && phase == Phase::Idle;
            // Who has connected to a listener for offers is ready once he has said what he offers.
            let offered = endpoint.state().offered.as_ref().map(|offered| offered.number());
            let number = offered.unwrap_or_else(|| endpoint.number());
            watched.push((if idle { -1 } else { number }, ready));
        }
        let left = until.map(|until| until.saturating_duration_since(now()));
        let at_once = sockets.iter().any(|(endpoint, _)| endpoint.state().failed);
        let wait = if at_once { Some(Duration::ZERO) } else { left.into_iter().chain(soonest).min() };
        wait_for_all(&mut watched, wait)?;
        let mut count = 0;
        let mut connecting = false;
        for (((endpoint, found), wanted), (_, ready)) in sockets.iter_mut().zip(&wanted).zip(&watched) {
            *found = endpoint.seen(*wanted, *ready);
            connecting |= endpoint.state().phase == Phase::Connecting && (ready.writable || ready.failed);
            count += usize::from(found.any() || found.hung_up || found.error);
        }
        if count > 0 || until.is_some_and(|until| now() >= until) {
            return Ok(count);
        }
        if connecting {
            // The kernel has the answer and the reactor is about to write it down.
            std::thread::yield_now();
        }
    }
}

impl Endpoint {
    /// How long a held flow has no credit in this direction; nothing where it has some.
    fn without_credit(&self, direction: Direction) -> Option<Duration> {
        // A stream is asked for as much as goes at once, so that nobody is told of credit that is too little for him.
        let wanted = match (self.is_stream(), direction) {
            (true, _) => usize::MAX,
            (false, Direction::Sending) => 1,
            // What is received by datagrams cannot be held back.
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

    /// What Winsock says where the kernel says this.
    fn seen(&self, wanted: Interest, ready: Ready) -> Interest {
        let state = self.state();
        let mut found = Interest::default();
        match (self.is_stream(), state.phase) {
            (true, Phase::Idle) => found.except = wanted.except && state.failed,
            (true, Phase::Connecting) => {}
            (true, Phase::Listening) => found.read = wanted.read && ready.readable,
            (true, Phase::Connected) => {
                found.read = wanted.read && (ready.readable || ready.failed);
                found.write = wanted.write && (ready.writable || ready.failed);
                found.except = wanted.except && ready.urgent;
                found.hung_up = ready.failed;
            }
            (false, _) => {
                found.read = wanted.read && (ready.readable || ready.failed);
                found.write = wanted.write && ready.writable;
                found.error = false;
            }
        }
        found
    }
}
