//! What is proven of a data path: its error terms, from whoever knows what is programmed.

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
    /// The most flows there may be, not those there are: no later admission breaks an earlier promise.
    pub max_flows: Option<u64>,
    /// The most that the flows' buckets come to.
    pub buffer: Option<Bytes>,
}

/// Says what C and D of a link are, as it is going to be programmed; nothing where they have no bound.
pub type Prover = fn(&Provable) -> Option<ErrorTerms>;

/// Proves nothing: a data path of which nothing is known.
pub const fn unproven(_: &Provable) -> Option<ErrorTerms> {
    None
}
