//! The proven error terms of a data path, computed by the module that knows what is programmed.

use flowspec::{Bytes, ErrorTerms, Rate};

/// What a bound on the delay of a link's reserved flows depends on.
#[derive(Clone, Copy, Debug)]
pub struct Provable {
    /// What the link carries.
    pub capacity: Rate,
    /// What may be promised of it.
    pub budget: Rate,
    /// The largest IP datagram.
    pub mtu: Bytes,
    /// The most flows that may be admitted, not those that are: a later admission must not break an earlier bound.
    pub max_flows: Option<u64>,
    /// The most that the flows' token buckets may sum to.
    pub buffer: Option<Bytes>,
}

/// Computes C and D of a link as it will be programmed; `None` where they have no bound.
pub type Prover = fn(&Provable) -> Option<ErrorTerms>;

/// Proves nothing: for a data path that is not known.
pub const fn unproven(_: &Provable) -> Option<ErrorTerms> {
    None
}
