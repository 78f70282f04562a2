//! Select and poll on several sockets.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use flowspec::{Direction, Wsa};
use shaper::Credit;

use super::Result;
use super::blocking::{deadline_after, now, wait_for_any};
use super::close_state::WaitKind;
use super::endpoint::{ConnectionPhase, Endpoint};
use super::provider::check_started;
use crate::sys::{self, Readiness};

/// The conditions of a socket that a call waits for, and those that it found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PollEvents {
    /// A receive would not wait, or a connection can be accepted.
    pub read: bool,
    /// A send would not wait, or a connection was made.
    pub write: bool,
    /// A connection has failed, or there is out-of-band data.
    pub except: bool,
    /// The connection has ended, or was not made. Found without being waited for.
    pub hung_up: bool,
    /// The connection was reset, or was not made. Found without being waited for.
    pub error: bool,
    /// The socket was closed during the call. Found without being waited for.
    pub closed: bool,
}

impl PollEvents {
    const fn any_wanted(self) -> bool {
        self.read || self.write || self.except
    }

    const fn any(self) -> bool {
        self.any_wanted() || self.hung_up || self.error || self.closed
    }
}

/// How conditions are reported.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum ReadinessStyle {
    /// As the sets of select: the end of a connection can be read.
    Select,
    /// As the bits of WSAPoll: the end of a connection is a condition of its own.
    Poll,
}

/// Waits until at least one socket meets a condition that it is watched for, replaces each socket's conditions by
/// those found, and returns how many sockets meet any; 0 after the timeout. `None` waits without limit.
///
/// A socket that another thread closes meanwhile can be read; where reading is not waited for, the call fails.
///
/// - **Errors**: WSAEINVAL where there is nothing to wait for; WSAENOTSOCK; WSAEINTR, WSAEINPROGRESS.
/// - **Source**: WSPSelect.
pub fn select(sockets: &mut [(Arc<Endpoint>, PollEvents)], timeout: Option<Duration>) -> Result<usize> {
    if sockets.iter().all(|(_, wanted)| !wanted.any_wanted()) {
        return Err(Wsa::Einval);
    }
    let count = wait_for_conditions(sockets, timeout, ReadinessStyle::Select)?;
    if sockets.iter().any(|(_, found)| found.closed && !found.read) {
        return Err(Wsa::Enotsock);
    }
    Ok(count)
}

/// [`select`] that reports connections that have ended, or were not made, as such.
///
/// - **Errors**: WSAEINTR, WSAEINPROGRESS.
/// - **Source**: WSAPoll.
pub fn poll(sockets: &mut [(Arc<Endpoint>, PollEvents)], timeout: Option<Duration>) -> Result<usize> {
    wait_for_conditions(sockets, timeout, ReadinessStyle::Poll)
}

fn wait_for_conditions(
    sockets: &mut [(Arc<Endpoint>, PollEvents)],
    timeout: Option<Duration>,
    style: ReadinessStyle,
) -> Result<usize> {
    check_started()?;
    let wanted: Vec<_> = sockets.iter().map(|(_, wanted)| *wanted).collect();
    let deadline = timeout.map(deadline_after);
    loop {
        let endpoints: Vec<_> = sockets.iter().map(|(endpoint, _)| Arc::clone(endpoint)).collect();
        let waiters: Vec<_> =
            endpoints.iter().map(|endpoint| endpoint.closing.wait_as(WaitKind::WithOthers)).collect();
        // The first moment at which a shaped flow has credit again.
        let mut next_credit: Option<Duration> = None;
        let mut watched = Vec::with_capacity(sockets.len());
        for (endpoint, wanted) in endpoints.iter().zip(&wanted) {
            watched.push(endpoint.watched_states(*wanted, style, &mut next_credit));
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(now()));
        let is_ready = |endpoint: &Arc<Endpoint>| endpoint.is_closed() || endpoint.state().connect_failed;
        let wait = match endpoints.iter().any(is_ready) {
            true => Some(Duration::ZERO),
            false => left.into_iter().chain(next_credit).min(),
        };
        let waited = wait_for_any(&mut watched, wait);
        drop(waiters);
        waited?;
        let mut count = 0;
        let mut connect_ends = false;
        for (((endpoint, found), wanted), (_, states)) in sockets.iter_mut().zip(&wanted).zip(&watched) {
            *found = endpoint.met_conditions(*wanted, style, *states);
            connect_ends |=
                endpoint.state().phase == ConnectionPhase::Connecting && (states.writable || states.failed);
            count += usize::from(found.any());
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

/// How often WSAPoll looks at a connection whose end the kernel does not report, since this end has shut it down.
const SHUT_DOWN_STEP: Duration = Duration::from_millis(20);

impl Endpoint {
    /// The descriptor and the states to poll for. `next_credit` is lowered to the time after which the flow has credit,
    /// where it has none now: the socket is not ready before.
    fn watched_states(
        &self,
        wanted: PollEvents,
        style: ReadinessStyle,
        next_credit: &mut Option<Duration>,
    ) -> (RawFd, Readiness) {
        let (phase, offers) = {
            let state = self.state();
            (state.phase, state.offers.as_ref().map(|offers| offers.descriptor()))
        };
        if self.is_closed() || self.is_stream() && phase == ConnectionPhase::Idle {
            // To the kernel a stream without a peer is always ready.
            return (-1, Readiness::default());
        }
        let receives = self.is_open_for(Direction::Receiving);
        if style == ReadinessStyle::Poll
            && self.is_stream()
            && phase == ConnectionPhase::Connected
            && !receives
        {
            // To the kernel a direction that this end has shut down is at its end, all the time.
            *next_credit = Some(next_credit.map_or(SHUT_DOWN_STEP, |next| next.min(SHUT_DOWN_STEP)));
            if !self.is_open_for(Direction::Sending) {
                return (-1, Readiness::default());
            }
        }
        let mut states = Readiness {
            readable: wanted.read && (style == ReadinessStyle::Select || receives || !self.is_stream()),
            urgent: wanted.except,
            // A connection that fails is writable too.
            writable: wanted.write
                || phase == ConnectionPhase::Connecting && (wanted.except || style == ReadinessStyle::Poll),
            peer_closed: style == ReadinessStyle::Poll
                && phase == ConnectionPhase::Connected
                && self.is_open_for(Direction::Receiving),
            ..Readiness::default()
        };
        if phase == ConnectionPhase::Connected {
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
    fn met_conditions(&self, wanted: PollEvents, style: ReadinessStyle, states: Readiness) -> PollEvents {
        if self.is_closed() {
            return PollEvents { closed: true, read: wanted.read, ..PollEvents::default() };
        }
        let (phase, connect_failed) = {
            let state = self.state();
            (state.phase, state.connect_failed)
        };
        let mut found = PollEvents::default();
        match (self.is_stream(), phase, style) {
            (true, ConnectionPhase::Idle, ReadinessStyle::Select) => {
                found.except = wanted.except && connect_failed
            }
            (true, ConnectionPhase::Idle, ReadinessStyle::Poll) if connect_failed => {
                (found.write, found.hung_up, found.error) = (wanted.write, true, true);
            }
            (true, ConnectionPhase::Idle | ConnectionPhase::Connecting, _) => {}
            (true, ConnectionPhase::Listening, _) => {
                found.read = wanted.read && states.readable;
                found.except = wanted.except && connect_failed && style == ReadinessStyle::Select;
            }
            (true, ConnectionPhase::Connected, ReadinessStyle::Select) => {
                found.read = wanted.read && (states.readable || states.failed);
                found.write = wanted.write && (states.writable || states.failed);
                found.except = wanted.except && states.urgent;
            }
            (true, ConnectionPhase::Connected, ReadinessStyle::Poll) => {
                let receives = self.is_open_for(Direction::Receiving);
                let ended =
                    self.has_ended(Readiness { peer_closed: states.peer_closed || !receives, ..states });
                found.hung_up = ended;
                found.error = ended && self.reset_code(states).is_some();
                let has_data = || sys::available(&self.fd).is_ok_and(|length| length > 0);
                found.read = wanted.read && states.readable && (!ended || has_data());
                let sends = self.is_open_for(Direction::Sending);
                found.write = wanted.write && (states.writable || states.failed || !sends);
                found.except = wanted.except && states.urgent;
            }
            (false, _, _) => {
                found.read = wanted.read && (states.readable || states.failed);
                found.write = wanted.write && states.writable;
            }
        }
        found
    }
}
