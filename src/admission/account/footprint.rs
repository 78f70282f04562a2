//! What a flow or a group takes of an interface, and what of it is counted.

use std::sync::Arc;

use flowspec::{Both, Bytes, Direction, Moment, Rate};

use super::place::PreemptionPlace;
use super::rank::Rank;
use super::steps::{self, TakenStep};
use super::window::Window;
use crate::policy::Class;

/// What a flow or a group takes of an interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Footprint {
    pub(crate) slot: u32,
    /// When it was admitted, as a number.
    pub(crate) order: u64,
    /// The interface's number.
    pub(crate) interface: u32,
    /// The class's number.
    pub(crate) class: Option<u32>,
    pub(crate) class_type: u8,
    pub(crate) class_counts: ClassCounts,
    /// Zero for a member of a group, which the interface charges in its place. The largest of the steps where there
    /// are some.
    pub(crate) charged: Both<Rate>,
    pub(crate) buffer: Both<Bytes>,
    pub(crate) window: Window,
    /// 1 for a flow, 0 for a group.
    pub(crate) flows: u64,
    /// `None` where it is never preempted or shed.
    pub(crate) holding_priority: Option<u8>,
    /// How fast it may send where its class is measured; zero in a direction that is not.
    pub(crate) peak: Option<Box<Both<Rate>>>,
    /// What it takes where that changes over time; `None` where it takes the same during its whole window.
    pub(crate) steps: Option<Arc<[TakenStep]>>,
}

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

    /// What it takes during its window, as one step.
    pub(crate) const fn whole(&self) -> TakenStep {
        TakenStep { window: self.window, charged: self.charged, buffer: self.buffer }
    }

    /// What it takes, step by step.
    fn parts(&self) -> Vec<TakenStep> {
        self.steps.as_ref().map_or_else(|| vec![self.whole()], |steps| steps.to_vec())
    }

    /// The windows in which it takes more than another footprint does, with what both take there: each as a footprint
    /// that takes the same during its whole window.
    pub(crate) fn above(&self, other: &Self, now: Moment) -> Vec<(Self, Self)> {
        let above = steps::above(&self.parts(), &other.parts(), now);
        let of = |footprint: &Self, step: TakenStep| {
            let TakenStep { window, charged, buffer } = step;
            Self { window, charged, buffer, steps: None, ..footprint.clone() }
        };
        above.into_iter().map(|(own, others)| (of(self, own), of(other, others))).collect()
    }

    /// Its place among the flows that can be preempted or shed; `None` where it never is.
    pub(crate) fn place(&self) -> Option<PreemptionPlace> {
        self.holding_priority.map(|priority| PreemptionPlace::of(priority, self.rank()))
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
