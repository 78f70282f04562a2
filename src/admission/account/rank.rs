//! The order of flows: when each was admitted, and in which slot it is kept.

use std::cmp::Reverse;

use flowspec::Rate;

/// The bits of a rank that hold the slot.
pub(crate) const SLOT_BITS: u32 = 21;

/// The bits that hold a priority where one is put beside a rank.
pub(crate) const PRIORITY_BITS: u32 = 3;

/// The largest order that is given out.
pub(crate) const LAST_ORDER: u64 = u64::MAX >> (SLOT_BITS + PRIORITY_BITS);

/// A flow's part of a budget: the largest first, then the oldest, as a refusal names them.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct ChargedRank {
    pub(crate) charged: Reverse<Rate>,
    pub(crate) rank: Rank,
}

/// When a flow was admitted, and in which slot it is: ordered as they were admitted.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Rank(u64);

impl ChargedRank {
    pub(crate) const fn of(charged: Rate, rank: Rank) -> Self {
        Self { charged: Reverse(charged), rank }
    }
}

impl Rank {
    /// After the rank of every flow.
    pub(crate) const LAST: Self = Self(u64::MAX);

    pub(crate) const fn of(order: u64, slot: u32) -> Self {
        Self(order << SLOT_BITS | slot as u64)
    }

    pub(crate) const fn order(self) -> u64 {
        self.0 >> SLOT_BITS
    }

    pub(crate) const fn slot(self) -> u32 {
        // The lowest bits of it.
        (self.0 & ((1 << SLOT_BITS) - 1)) as u32
    }
}
