//! Idle classes: those of flows that have ended, kept for the next ones.
//!
//! To add or delete a class takes the kernel time in proportion to all classes of the machine; to change one does not.
//! A large tree therefore keeps some classes without flows, and changes one of them in place of adding a class.
//!
//! An idle class has the least rate of its own. A packet that comes late is served like traffic without a reservation.
//!
//! A class keeps its tokens when it is changed, and the kernel counts them as time, whatever its rate: a class is used
//! again once its buckets are full, those of the next flow included.

use flowspec::{Bytes, Micros, Rate};

use super::htb::HtbClass;
use super::layout::{LINK_CLASS, flow_number};
use super::shape::{DEFAULT_PRIO, LinkRates, LinkShape};
use crate::kernel::Handle;

/// The size from which a tree keeps idle classes: below it a class is added in less than 50 us.
pub const LEAST_POOLED: usize = 64;

/// The most idle classes of a tree. Each takes 3 kB of the kernel's memory.
pub const MOST_IDLE: u16 = 256;

/// The rate that an idle class has of its own: the least that HTB has.
const IDLE_RATE: Rate = Rate::new(1);

/// The bucket of an idle class: one byte, which takes a second at its rate.
const IDLE_BURST: Bytes = Bytes::new(1);

/// A slower link has no idle classes: there, fewer flows have classes, and each byte per second counts.
const LEAST_CAPACITY: Rate = Rate::from_mbit(10);

/// The kernel counts no more than this time since a class has sent last: `mbuffer`.
pub(super) const MOST_COUNTED: Micros = Micros::new(60_000_000);

/// A class without flows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct IdleClass {
    pub(super) class: HtbClass,
    /// How long each bucket takes to fill that the class had.
    pub(super) filled_in: [u64; 2],
    /// How long it takes from the end of its last flow until both were full.
    pub(super) full_in: Micros,
}

impl IdleClass {
    /// The class `of` a flow, once that has ended, on this link.
    pub(super) fn new(shape: &LinkShape, of: &HtbClass, full_in: Micros) -> Self {
        Self { class: shape.idle_class(of.handle), filled_in: filled_in(of), full_in }
    }

    /// How long the class has to have been idle to have the full buckets of this one, its next settings; `None` where the
    /// kernel does not count that much time.
    pub(super) fn rest_before(&self, next: &HtbClass) -> Option<Micros> {
        let [rate, ceil] = filled_in(next);
        let more = rate.saturating_sub(self.filled_in[0]).max(ceil.saturating_sub(self.filled_in[1]));
        let rest = Micros::new(self.full_in.get().saturating_add(more));
        (rest <= MOST_COUNTED).then_some(rest)
    }
}

/// Whether these are the settings of an idle class.
pub fn is_idle(class: &HtbClass) -> bool {
    class.rate == IDLE_RATE && class.prio == DEFAULT_PRIO && flow_number(class.handle).is_some()
}

/// The time that each bucket takes to fill, in microseconds, rounded up.
fn filled_in(class: &HtbClass) -> [u64; 2] {
    let micros = |size: Bytes, rate: Rate| {
        let micros = (u128::from(size.get()) * 1_000_000).div_ceil(u128::from(rate.get().max(1)));
        u64::try_from(micros).unwrap_or(u64::MAX)
    };
    [micros(class.burst, class.rate), micros(class.cburst, class.ceil)]
}

impl LinkRates {
    /// How many idle classes the tree may have.
    pub(super) fn most_idle(&self) -> u16 {
        if self.capacity < LEAST_CAPACITY { 0 } else { MOST_IDLE }
    }

    /// What all idle classes have of their own.
    pub(super) fn idle_rate(&self) -> Rate {
        Rate::new(u64::from(self.most_idle()) * IDLE_RATE.get())
    }
}

impl LinkShape {
    /// A class without flows: it borrows like the default class.
    pub(super) fn idle_class(&self, handle: Handle) -> HtbClass {
        let default = self.default_class();
        HtbClass { handle, parent: LINK_CLASS, rate: IDLE_RATE, burst: IDLE_BURST, ..default }
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::{DEFAULT_CLASS, flow_class};
    use super::*;

    fn class(rate: u64, burst: u64) -> HtbClass {
        let (rate, burst) = (Rate::new(rate), Bytes::new(burst));
        let (handle, quantum) = (flow_class(3), Bytes::new(1514));
        let (ceil, cburst) = (rate, burst);
        HtbClass { handle, parent: LINK_CLASS, rate, ceil, burst, cburst, quantum, prio: 0 }
    }

    fn shape(megabits: u64) -> LinkShape {
        let rates = LinkRates { capacity: Rate::from_mbit(megabits), budget: Rate::from_mbit(megabits / 2) };
        LinkShape { rates, mtu: Bytes::new(1500), wait: Micros::new(0) }
    }

    #[test]
    fn a_class_rests_until_the_buckets_of_its_next_flow_are_full() {
        // 0.5 s for its buckets, which are full 200 ms after its end.
        let idle = IdleClass::new(&shape(100), &class(20_000, 10_000), Micros::new(200_000));
        let rest = |next: HtbClass| idle.rest_before(&next).map(Micros::get);
        assert_eq!(rest(class(20_000, 10_000)), Some(200_000), "the same flow again");
        assert_eq!(rest(class(1_000_000, 10_000)), Some(200_000), "a smaller bucket by its time");
        assert_eq!(rest(class(10_000, 10_000)), Some(700_000), "a larger one");
        let ceil = HtbClass { cburst: Bytes::new(30_000), ..class(20_000, 10_000) };
        assert_eq!(rest(ceil), Some(1_200_000), "the bucket of the peak counts as well");
        assert_eq!(rest(class(100, 10_000)), None, "more than a minute");
    }

    #[test]
    fn an_idle_class_is_sent_as_it_is_and_is_known_by_its_settings() {
        for megabits in [10, 100, 40_000] {
            let shape = shape(megabits);
            let idle = shape.idle_class(flow_class(3));
            assert!(is_idle(&idle) && !is_idle(&shape.default_class()) && !is_idle(&class(1, 1)), "{idle}");
            assert!(!is_idle(&HtbClass { handle: DEFAULT_CLASS, ..idle }));
            assert_eq!(idle.ceil, shape.link_class().rate, "it borrows what is unused");
            assert!(idle.is_kept_as(&idle.as_kept().expect("it fits"), false), "{idle}");
        }
    }

    #[test]
    fn idle_classes_are_within_the_rate_that_the_trunk_leaves_for_them() {
        for (megabits, most) in [(1, 0), (9, 0), (10, MOST_IDLE), (40_000, MOST_IDLE)] {
            let rates = shape(megabits).rates;
            assert_eq!(rates.most_idle(), most, "{megabits} Mbit/s");
            let trunk = rates.default_rate().get() + rates.left_for_leaves().get();
            assert_eq!(trunk + u64::from(most), rates.sent().get(), "{megabits} Mbit/s");
        }
    }
}
