//! The numbers of flows' classes on one interface, and which is used next.
//!
//! Free numbers are used again in the order in which they were freed, so that a late packet of an ended flow seldom gets into
//! another flow's class.

use std::collections::VecDeque;

use flowspec::{Micros, Moment};

use crate::ordered::OrderedSet;
use crate::tc::LARGEST_FLOW_CLASSES;

/// The numbers that no flow has.
#[derive(Debug, Default)]
pub(super) struct ClassNumbers {
    /// Those whose classes were deleted, the one that was freed first in front.
    freed: VecDeque<u16>,
    /// Those whose classes are idle, with the time since when.
    idle: VecDeque<(u16, Moment)>,
    /// The first that was never used.
    unused: u16,
}

/// With fewer idle classes a class is added, as long as there are numbers that were never used: one that is used again at
/// once would get late packets.
const LEAST_IDLE: usize = 16;

/// How many idle classes are tried for one flow, those that have rested longest first.
const MOST_TRIED: usize = 8;

impl ClassNumbers {
    /// The number of an idle class that has rested long enough; the closure says how long that is, where it may be used.
    pub(super) fn take_idle(&mut self, now: Moment, rest: impl Fn(u16) -> Option<Micros>) -> Option<u16> {
        if self.idle.len() < LEAST_IDLE && self.unused < LARGEST_FLOW_CLASSES {
            return None;
        }
        let has_rested = |(number, since): &(u16, Moment)| {
            rest(*number).is_some_and(|rest| now.saturating_since(*since) >= rest)
        };
        let place = self.idle.iter().take(MOST_TRIED).position(has_rested)?;
        self.idle.remove(place).map(|(number, _)| number)
    }

    /// A number for a class that is added; that of an idle class, where all others are in use.
    pub(super) fn take(&mut self) -> Option<u16> {
        if self.unused < LARGEST_FLOW_CLASSES {
            self.unused += 1;
            return Some(self.unused - 1);
        }
        self.freed.pop_front().or_else(|| self.idle.pop_front().map(|(number, _)| number))
    }

    /// Takes a certain number. `false` where a flow has it.
    pub(super) fn keep(&mut self, number: u16) -> bool {
        if number >= LARGEST_FLOW_CLASSES {
            return false;
        }
        if number >= self.unused {
            self.freed.extend(self.unused..number);
            self.unused = number + 1;
            return true;
        }
        let before = self.freed.len() + self.idle.len();
        self.freed.retain(|free| *free != number);
        self.idle.retain(|(free, _)| *free != number);
        self.freed.len() + self.idle.len() < before
    }

    /// No flow has the number any more; its class is idle since this time, or was deleted. Whether the number was in use.
    pub(super) fn free(&mut self, number: u16, idle_since: Option<Moment>) -> bool {
        // Several members of a group may leave it in one change, and each frees the class.
        if number >= self.unused || self.free_again().any(|free| free == number) {
            return false;
        }
        match idle_since {
            Some(since) => self.idle.push_back((number, since)),
            None => self.freed.push_back(number),
        }
        true
    }

    pub(super) const fn was_used(&self, number: u16) -> bool {
        number < self.unused
    }

    /// The numbers that were in use before.
    pub(super) fn free_again(&self) -> impl Iterator<Item = u16> {
        self.freed.iter().copied().chain(self.idle.iter().map(|(number, _)| *number))
    }

    pub(super) fn invariants(&self, name: &str) {
        let mut seen = OrderedSet::new();
        for number in self.free_again() {
            assert!(seen.insert(number), "{name}: class {number} is free twice");
            assert!(self.was_used(number), "{name}: class {number} was never used and is free again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Moment {
        Moment::from_micros(micros)
    }

    #[test]
    fn idle_classes_are_used_once_there_are_some_and_they_have_rested() {
        let mut numbers = ClassNumbers::default();
        let rest = |_| Some(Micros::new(10));
        for expected in 0..20 {
            assert_eq!(numbers.take(), Some(expected));
        }
        for number in 0..15 {
            assert!(numbers.free(number, Some(at(u64::from(number)))));
        }
        assert_eq!(numbers.take_idle(at(1000), rest), None, "too few");
        assert!(numbers.free(15, Some(at(15))));
        assert!(!numbers.free(15, None), "it is free already");
        assert_eq!(numbers.take_idle(at(9), rest), None, "none has rested");
        assert_eq!(numbers.take_idle(at(1000), |_| None), None, "none may be used");
        let odd = |number: u16| (number % 2 == 1).then_some(Micros::new(10));
        assert_eq!(numbers.take_idle(at(1000), odd), Some(1));
        assert_eq!(numbers.take_idle(at(1000), rest), None, "too few again");
        numbers.invariants("eth0");
    }

    #[test]
    fn a_certain_number_is_taken_once() {
        let mut numbers = ClassNumbers::default();
        assert!(numbers.keep(3) && !numbers.keep(3) && numbers.keep(1));
        assert!(!numbers.keep(LARGEST_FLOW_CLASSES), "there is no such number");
        assert!(numbers.free(1, Some(at(0))) && numbers.keep(1) && !numbers.keep(1));
        let mut taken = Vec::new();
        while let Some(number) = numbers.take() {
            taken.push(number);
        }
        assert_eq!((taken.len(), taken.first()), (usize::from(LARGEST_FLOW_CLASSES) - 2, Some(&4)));
        assert!(!taken.contains(&1) && !taken.contains(&3));
        numbers.invariants("eth0");
    }

    #[test]
    fn a_class_is_added_under_a_number_that_has_none_as_long_as_there_is_one() {
        let mut numbers = ClassNumbers::default();
        while numbers.take().is_some() {}
        assert!(numbers.free(7, Some(at(0))) && numbers.free(9, None) && numbers.free(8, None));
        assert_eq!(
            [numbers.take(), numbers.take(), numbers.take(), numbers.take()],
            [Some(9), Some(8), Some(7), None]
        );
        assert!(numbers.free(3, Some(at(0))));
        assert_eq!(numbers.take_idle(at(10), |_| Some(Micros::new(10))), Some(3), "there is no other");
    }
}
