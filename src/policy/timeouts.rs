//! Timeouts of peers: how long a flow keeps its reservation without its peer.

use std::fmt;

use flowspec::Micros;
use serde::{Deserialize, Serialize};

/// A time, or the statement that there is no limit.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Timeout {
    /// `"off"`: the flow keeps its reservation for as long as its socket is open.
    Off,
    /// The flow loses its reservation after this time.
    After(Micros),
}

/// The timeouts of the whole policy, which classes and clients may replace.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PeerTimeouts {
    /// How long nothing may be heard of the peer of a connection that expects an answer, or be sent by a datagram flow.
    pub dead_after: Timeout,
    /// How long the peer of a connection may accept no byte while data waits for it.
    pub stalled_after: Timeout,
}

/// The timeouts that a class or a client states; `None` leaves that of the wider scope.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct OwnTimeouts {
    /// Overrides [`PeerTimeouts::dead_after`] where it is stated.
    pub dead_after: Option<Timeout>,
    /// Overrides [`PeerTimeouts::stalled_after`] where it is stated.
    pub stalled_after: Option<Timeout>,
}

impl PeerTimeouts {
    /// The shortest timeout: keepalive counts in seconds.
    pub const SHORTEST: Micros = Micros::new(1_000_000);

    /// A day, the most that a policy may state.
    pub const LONGEST: Micros = Micros::new(24 * 3_600 * 1_000_000);

    /// No limit for either.
    pub const OFF: Self = Self { dead_after: Timeout::Off, stalled_after: Timeout::Off };

    /// The same, with those that a narrower scope states.
    #[must_use]
    pub fn with(self, own: OwnTimeouts) -> Self {
        Self {
            dead_after: own.dead_after.unwrap_or(self.dead_after),
            stalled_after: own.stalled_after.unwrap_or(self.stalled_after),
        }
    }
}

/// `dead_after` is 30 s: a viewer that comes out of a tunnel within that time keeps its reservation. `stalled_after` is
/// 60 s, nginx's `send_timeout`: longer than a player waits that reads in blocks.
impl Default for PeerTimeouts {
    fn default() -> Self {
        Self {
            dead_after: Timeout::After(Micros::new(30_000_000)),
            stalled_after: Timeout::After(Micros::new(60_000_000)),
        }
    }
}

impl Timeout {
    /// The word of a policy file for no limit.
    pub(crate) const OFF: &'static str = "off";

    /// The limit, if there is one.
    pub const fn limit(self) -> Option<Micros> {
        match self {
            Self::Off => None,
            Self::After(time) => Some(time),
        }
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str(Self::OFF),
            Self::After(time) => write!(f, "{time}"),
        }
    }
}
