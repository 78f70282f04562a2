//! An account against a recount: the sums that are kept, and those of what is booked.

use flowspec::{Direction, Moment, Rate};

use super::footprint::Footprint;
use super::rank::ChargedRank;
use super::state::Account;
use crate::ordered::OrderedMap;
use crate::policy::InterfacePolicy;

/// How many of the largest holders a refusal can name.
const NAMED: usize = 3;

pub(crate) struct RecountSource<'a> {
    /// The interface, for messages.
    pub(crate) name: &'a str,
    pub(crate) policy: &'a InterfacePolicy,
    /// Every flow and group that is booked on the interface.
    pub(crate) footprints: &'a [Footprint],
    /// Whether anything is measured that the interface counts.
    pub(crate) measures: bool,
    pub(crate) now: Moment,
}

impl Account {
    /// Asserts that every sum equals its recount, and that nothing is above budget unless the capacity has fallen.
    pub(crate) fn invariants(&self, booked: &RecountSource<'_>) {
        let mut recount = self.emptied();
        for footprint in booked.footprints {
            recount.book(footprint, booked.now);
        }
        let name = booked.name;
        for (usage, recounted) in self.usages(&recount) {
            usage.each_pair(recounted, |what, number, kept, counted| {
                assert!(
                    kept.is_same(counted),
                    "{name}, {what} (number {number}): kept {:?}, recounted {:?}",
                    kept.over_time(),
                    counted.over_time()
                );
            });
        }
        for direction in Direction::BOTH {
            self.assert_holders(booked, direction);
            self.assert_measured(&recount, name, direction);
            self.assert_within_budget(booked, direction);
        }
        assert!(self.places().eq(recount.places()), "{name}: the flows that can be preempted or shed");
    }

    /// The holders that refusals name are those that hold the most.
    fn assert_holders(&self, booked: &RecountSource<'_>, direction: Direction) {
        let mut by_class: OrderedMap<Option<u32>, Vec<ChargedRank>> = OrderedMap::new();
        for footprint in booked.footprints {
            let charged = *footprint.charged.get(direction);
            if charged > Rate::ZERO {
                by_class.entry(footprint.class).or_default().push(ChargedRank::of(charged, footprint.rank()));
            }
        }
        for (class, mut held) in by_class {
            held.sort_unstable();
            held.truncate(NAMED);
            let named: Vec<_> = self.holders_in(direction, class).take(NAMED).collect();
            let name = booked.name;
            assert_eq!(named, held, "{name} {direction}, class number {class:?}: the largest holders");
        }
    }

    fn assert_measured(&self, recount: &Self, name: &str, direction: Direction) {
        for class in self.measured_classes() {
            let (kept, counted) =
                (self.measured_declares(class, direction), recount.measured_declares(class, direction));
            assert_eq!(
                kept, counted,
                "{name} {direction}, class number {class}: what measured flows declare"
            );
        }
    }

    /// A measurement may end, after which what was admitted by it is above the budget.
    fn assert_within_budget(&self, booked: &RecountSource<'_>, direction: Direction) {
        if booked.measures || *self.may_exceed.get(direction) {
            return;
        }
        let reserved = self.reserved_ever(direction, booked.now);
        let budget = self.budget(booked.policy, direction).unwrap_or_default();
        assert!(reserved <= budget, "{} {direction}: {reserved} reserved of {budget}", booked.name);
    }
}
