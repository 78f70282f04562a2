//! QOS: the request of a socket, one flowspec for each direction.

use crate::flowspec::Flowspec;

pub use crate::direction::{Both, Direction};

/// The request of a socket: both directions are granted, or neither.
///
/// Without the provider-specific objects, which [`QosRequest`](crate::QosRequest) has. Source: QOS, `qos.h`.
pub type Qos = Both<Flowspec>;

impl Qos {
    /// No reservation in either direction.
    pub const BEST_EFFORT: Self = Self { sending: Flowspec::BEST_EFFORT, receiving: Flowspec::BEST_EFFORT };

    /// This flowspec for sending, best effort for receiving.
    pub const fn sending(spec: Flowspec) -> Self {
        Self { sending: spec, receiving: Flowspec::BEST_EFFORT }
    }
}
