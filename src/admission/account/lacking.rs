//! What is too scarce on an interface for a footprint: every limit that it exceeds, and not only the first.

use flowspec::{Bytes, Direction, Rate};

use super::fit::FitContext;
use super::footprint::Footprint;
use super::resource::Resource;
use super::state::Account;

impl Account {
    /// What is too scarce for a footprint: nothing where [`check`](Self::check) admits it. Neither the footprint nor `old`,
    /// which it replaces, is booked while this is called.
    pub(crate) fn lacked(
        &self,
        context: &FitContext<'_>,
        footprint: &Footprint,
        old: Option<&Footprint>,
    ) -> Vec<Resource> {
        let mut lacked = self.lacked_places(context, footprint, old);
        for direction in Direction::BOTH {
            if let Some(limit) = context.interface.buffer {
                let needed = footprint.buffer.get(direction).get();
                let held = old.map_or(Bytes::ZERO, |old| *old.buffer.get(direction)).get();
                let taken = context.usage.buffer.get(direction).highest(footprint.window, context.now);
                let fits = taken.checked_add(needed).is_some_and(|sum| sum <= limit.get());
                lacked.extend((needed > held && !fits).then_some(Resource::Buffer(direction)));
            }
            let rate = *footprint.charged.get(direction);
            let held = old.map_or(Rate::ZERO, |old| *old.charged.get(direction));
            if rate > held {
                lacked.extend(self.lacked_rates(context, direction, footprint));
            }
        }
        lacked
    }

    fn lacked_places(
        &self,
        context: &FitContext<'_>,
        footprint: &Footprint,
        old: Option<&Footprint>,
    ) -> Vec<Resource> {
        let (usage, window, now) = (context.usage, footprint.window, context.now);
        let mut lacked = Vec::new();
        if old.is_some_and(|old| old.flows >= footprint.flows) {
            return lacked;
        }
        if let Some((number, _, class)) = context.class
            && let Some(most) = class.max_flows
        {
            let flows = usage.class(number).map_or(0, |used| used.flows.highest(window, now));
            lacked.extend((flows + footprint.flows > most).then_some(Resource::ClassFlows(number)));
        }
        if let Some(most) = context.interface.max_flows {
            let flows = usage.flows.highest(window, now);
            lacked.extend((flows + footprint.flows > most).then_some(Resource::Flows));
        }
        lacked
    }
}
