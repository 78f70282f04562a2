//! What is seen of a flow's peer, and what a flow is lost by.

use serde::{Deserialize, Serialize};

/// What is seen of a flow's peer.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PeerState {
    /// The peer is heard and accepts data.
    Active,
    /// Nothing is heard of the peer, though something is expected of it; for datagrams: nothing is sent.
    Silent,
    /// Data waits, and the peer accepts none of it.
    Stalled,
    /// The connection has failed or ended.
    Gone,
}

/// Why a flow is taken to be without its peer. The word of events.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PeerLoss {
    /// The peer was silent for `dead_after`, or is gone.
    Dead,
    /// The peer accepted nothing for `stalled_after`.
    Stalled,
}

impl PeerState {
    /// The words of traces and tests.
    #[cfg(feature = "scenario")]
    pub(crate) const WORDS: [(&str, Self); 4] = [
        ("active", Self::Active),
        ("silent", Self::Silent),
        ("stalled", Self::Stalled),
        ("gone", Self::Gone),
    ];

    /// The word of traces and tests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Silent => "silent",
            Self::Stalled => "stalled",
            Self::Gone => "gone",
        }
    }
}

impl PeerLoss {
    /// The word of events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Stalled => "stalled",
        }
    }
}
