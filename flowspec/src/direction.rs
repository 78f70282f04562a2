//! The two directions of a socket, and a value for each.

use serde::{Deserialize, Serialize};

/// The direction of data, as seen from the socket.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Out of this host.
    Sending,
    /// Into this host.
    Receiving,
}

impl Direction {
    /// Both directions, sending first.
    pub const BOTH: [Self; 2] = [Self::Sending, Self::Receiving];

    /// The name used in messages and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sending => "sending",
            Self::Receiving => "receiving",
        }
    }
}

impl std::fmt::Display for Direction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// One value for each direction.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Both<T> {
    /// Out of this host.
    pub sending: T,
    /// Into this host.
    pub receiving: T,
}

impl<T> Both<T> {
    /// The value of one direction.
    pub const fn get(&self, direction: Direction) -> &T {
        match direction {
            Direction::Sending => &self.sending,
            Direction::Receiving => &self.receiving,
        }
    }

    /// The value of one direction, mutable.
    pub const fn get_mut(&mut self, direction: Direction) -> &mut T {
        match direction {
            Direction::Sending => &mut self.sending,
            Direction::Receiving => &mut self.receiving,
        }
    }

    /// Applies a function to both values.
    pub fn map<U>(self, mut f: impl FnMut(T) -> U) -> Both<U> {
        Both { sending: f(self.sending), receiving: f(self.receiving) }
    }
}
