//! QOS: what a socket asks for, one flowspec for each direction.

use crate::flowspec::Flowspec;

pub use crate::direction::{Both, Direction};

/// What a socket asks for. One atomic request: both directions are granted, or neither.
///
/// Source: QOS, `qos.h`; the provider-specific objects that may follow are not part of it yet.
pub type Qos = Both<Flowspec>;

impl Qos {
    /// No reservation in either direction.
    pub const BEST_EFFORT: Self = Self { sending: Flowspec::BEST_EFFORT, receiving: Flowspec::BEST_EFFORT };

    /// This flowspec for what is sent, best effort for what is received.
    pub const fn sending(spec: Flowspec) -> Self {
        Self { sending: spec, receiving: Flowspec::BEST_EFFORT }
    }
}
