//! What is reserved, as the events report it.

use flowspec::{Both, Direction, Rate};

use super::event::Event;
use crate::admission::Holding;
use crate::ordered::OrderedMap;

/// The rate that is reserved on each interface: the sum of the events since the first flow.
///
/// An interface's rate is that of its own flows, whatever the policy says of a shared wire.
///
/// Follows what flows and groups declare, from their admission on. The ledger takes less where a class is measured,
/// and nothing yet of a reservation that begins later.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ReservedRates(OrderedMap<String, Both<Rate>>);

impl ReservedRates {
    /// Applies one event; those that neither reserve nor release change nothing.
    pub fn record(&mut self, event: &Event) {
        match event {
            Event::FlowAdmitted(admitted) => self.replace(&admitted.flow, Both::default()),
            Event::FlowRenegotiated(changed) => self.replace(&changed.flow, changed.previously),
            Event::FlowReleased(released) => self.end(&released.flow),
            Event::FlowPreempted(preempted) => self.end(&preempted.flow),
            Event::FlowShed(shed) => self.end(&shed.flow),
            Event::FlowLinkGone(gone) => self.end(&gone.flow),
            Event::FlowExpired(expired) => self.end(&expired.flow),
            Event::FlowTimedOut(timed_out) => self.end(&timed_out.flow),
            Event::FlowNotEnforced(unenforced) => self.end(&unenforced.flow),
            Event::FlowRerouted(rerouted) => self.end(&rerouted.flow),
            Event::GroupMade(made) => self.add(&made.interface, made.charged, Both::default()),
            Event::GroupCharged(group) => self.add(&group.interface, group.charged, group.previously),
            Event::GroupEnded(ended) => self.add(&ended.interface, Both::default(), ended.charged),
            Event::FlowRefused(_)
            | Event::RequestRefused(_)
            | Event::RequestDeferred(_)
            | Event::RequestQueued(_)
            | Event::CapacityChanged(_)
            | Event::CapacityAvailable(_)
            | Event::InterfaceOvercommitted(_)
            | Event::InterfaceWithinBudget(_)
            | Event::InterfacePrepared(_)
            | Event::InterfaceLeftToUserSpace(_)
            | Event::InterfaceGone(_)
            | Event::InterfaceReleased(_)
            | Event::InterfaceSharesWire(_)
            | Event::RootTakenOver(_)
            | Event::RootRestored(_)
            | Event::RootNotRestored(_)
            | Event::RootFileFailed(_)
            | Event::TreeChanged(_)
            | Event::TreeApplied(_)
            | Event::TreeRolledBack(_)
            | Event::ClassMeasured(_)
            | Event::PolicyReloaded(_)
            | Event::ManagerFaulted(_) => {}
        }
    }

    /// Bytes per second that flows and groups have reserved on an interface; zero where none has.
    pub fn on(&self, interface: &str) -> Both<Rate> {
        self.0.get(interface).copied().unwrap_or_default()
    }

    fn replace(&mut self, flow: &Holding, previously: Both<Rate>) {
        // The interface charges the group in place of its members.
        if flow.group.is_none() {
            self.add(&flow.interface, flow.charged, previously);
        }
    }

    fn end(&mut self, flow: &Holding) {
        if flow.group.is_none() {
            self.add(&flow.interface, Both::default(), flow.charged);
        }
    }

    fn add(&mut self, interface: &str, now: Both<Rate>, previously: Both<Rate>) {
        let reserved = self.0.entry(interface.to_owned()).or_default();
        for direction in Direction::BOTH {
            let rate = reserved.get_mut(direction);
            let more = rate.get().saturating_add(now.get(direction).get());
            *rate = Rate::new(more.saturating_sub(previously.get(direction).get()));
        }
    }
}
