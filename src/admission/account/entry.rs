//! A flow as it is kept: what it takes, which group and client it belongs to, and when its soft state ends.

use std::sync::Arc;

use flowspec::{Both, Bytes, Direction, Moment, Rate, TSpec};

use super::charge::Charge;
use super::footprint::Footprint;

/// What a flow holds. It is released as it stands here, whatever the policy says by then.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Entry {
    pub(crate) footprint: Footprint,
    /// The flow's charge where its group is charged on the interface; otherwise the footprint has it.
    pub(crate) cost: Option<Box<Cost>>,
    pub(crate) group: Option<Arc<str>>,
    pub(crate) client: Option<Arc<str>>,
    /// When its soft state ends, if it has any.
    pub(crate) deadline: Option<Moment>,
    /// r where its charge is less; zero in a direction where it is not.
    pub(crate) declared: Option<Box<Both<Rate>>>,
}

/// The charge of a group's member.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Cost {
    pub(crate) rate: Both<Rate>,
    pub(crate) buffer: Both<Bytes>,
}

impl Entry {
    /// The flow's charge, to the interface or to its group.
    pub(crate) fn rate(&self) -> Both<Rate> {
        self.cost.as_ref().map_or(self.footprint.charged, |cost| cost.rate)
    }

    pub(crate) fn buffer(&self) -> Both<Bytes> {
        self.cost.as_ref().map_or(self.footprint.buffer, |cost| cost.buffer)
    }

    /// The flow's charge with its TSpec.
    pub(crate) fn charge(&self, tspec: Both<Option<TSpec>>) -> Charge {
        let peak = self.footprint.peak.as_deref().copied().unwrap_or_default();
        let declared = self.declared.as_deref().copied().unwrap_or_default();
        Charge { rate: self.rate(), buffer: self.buffer(), tspec, peak, declared }
    }

    /// What it has asked for: r where it is charged less, otherwise its charge.
    pub(crate) fn asked(&self, direction: Direction) -> Rate {
        let declared = self.declared.as_ref().map_or(Rate::ZERO, |declared| *declared.get(direction));
        declared.max(*self.rate().get(direction))
    }

    /// The same flow with another charge.
    pub(crate) fn costing(mut self, charge: &Charge) -> Self {
        self.set_charge(charge);
        self
    }

    /// Sets another charge in place.
    #[inline]
    pub(crate) fn set_charge(&mut self, charge: &Charge) {
        let (rate, buffer) = (charge.rate, charge.buffer);
        self.declared = (charge.declared != Both::default()).then(|| Box::new(charge.declared));
        if self.group.is_some() {
            self.cost = Some(Box::new(Cost { rate, buffer }));
        } else {
            (self.footprint.charged, self.footprint.buffer) = (rate, buffer);
            self.footprint.peak = (charge.peak != Both::default()).then(|| Box::new(charge.peak));
        }
    }

    /// When it ends by itself.
    pub(crate) fn ending(&self) -> Option<Moment> {
        self.deadline.into_iter().chain(self.footprint.window.end).min()
    }
}
