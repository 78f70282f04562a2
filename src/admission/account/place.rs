//! The order of importance, by which flows are preempted or shed.

use super::rank::{PRIORITY_BITS, Rank, SLOT_BITS};

/// The place of a flow in the order of importance: best holding priority first, then the oldest. Flows are preempted or
/// shed from the end.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct PreemptionPlace(u64);

impl PreemptionPlace {
    /// The place of a flow with a holding priority, 0 to 7.
    pub(crate) const fn of(priority: u8, rank: Rank) -> Self {
        Self(
            (priority as u64) << (u64::BITS - PRIORITY_BITS) | rank.order() << SLOT_BITS | rank.slot() as u64,
        )
    }

    /// The place before which every flow has this holding priority or a better one, and no other flow; `None` where no
    /// priority is worse.
    pub(crate) const fn after_priority(priority: u8) -> Option<Self> {
        const WORST: u8 = (1 << PRIORITY_BITS) - 1;
        match priority {
            WORST.. => None,
            _ => Some(Self((priority as u64 + 1) << (u64::BITS - PRIORITY_BITS))),
        }
    }

    /// After every flow.
    pub(crate) const END: Self = Self(u64::MAX);

    pub(crate) const fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    pub(crate) const fn slot(self) -> u32 {
        // The lowest bits of it.
        (self.0 & ((1 << SLOT_BITS) - 1)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::super::rank::LAST_ORDER;
    use super::*;

    #[test]
    fn a_better_priority_comes_first_then_an_older_flow() {
        let place = |priority, order| PreemptionPlace::of(priority, Rank::of(order, 3));
        let order = [place(0, 1), place(0, 9), place(6, 9), place(7, 1), place(7, 2), place(7, LAST_ORDER)];
        assert!(order.is_sorted());
        assert_eq!(place(5, 8).slot(), 3);
    }

    #[test]
    fn priorities_are_apart() {
        let place = |priority, order| PreemptionPlace::of(priority, Rank::of(order, 3));
        let after = PreemptionPlace::after_priority(4).unwrap();
        assert!(place(4, LAST_ORDER) < after && after < place(5, 1));
        assert_eq!(PreemptionPlace::after_priority(7), None);
    }
}
