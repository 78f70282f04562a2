//! What a flow or a group takes of an interface, and what of it is counted.

use flowspec::{Both, Bytes, Direction, Rate};

use super::place::Place;
use super::rank::Rank;
use super::window::Window;
use crate::policy::Class;

/// What a flow or a group takes of an interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Footprint {
    /// The slot that it is kept in.
    pub(crate) slot: u32,
    /// When it was admitted, as a number.
    pub(crate) order: u64,
    /// The interface's number.
    pub(crate) interface: u32,
    /// The class's number.
    pub(crate) class: Option<u32>,
    pub(crate) class_type: u8,
    pub(crate) class_counts: ClassCounts,
    /// Zero for a member of a group, which the interface charges in its place.
    pub(crate) charged: Both<Rate>,
    pub(crate) buffer: Both<Bytes>,
    pub(crate) window: Window,
    /// 1 for a flow, 0 for a group.
    pub(crate) flows: u64,
    /// `None` where it is never preempted or shed.
    pub(crate) holding_priority: Option<u8>,
    /// How fast it may send where its class is measured; zero in a direction that is not.
    pub(crate) peak: Option<Box<Both<Rate>>>,
}

/// What is counted of a class.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct ClassCounts {
    pub(crate) flows: bool,
    pub(crate) rate: bool,
}

impl Footprint {
    pub(crate) fn is_measured(&self, direction: Direction) -> bool {
        self.peak.as_ref().is_some_and(|peak| *peak.get(direction) > Rate::ZERO)
    }

    pub(crate) const fn rank(&self) -> Rank {
        Rank::of(self.order, self.slot)
    }

    /// Its place among the flows that can be preempted or shed; `None` where it never is.
    pub(crate) fn place(&self) -> Option<Place> {
        self.holding_priority.map(|priority| Place::of(priority, self.rank()))
    }
}

impl ClassCounts {
    pub(crate) fn of(class: Option<&Class>) -> Self {
        Self {
            flows: class.is_some_and(|class| class.max_flows.is_some()),
            rate: class.is_some_and(|class| class.share.is_some()),
        }
    }
}
