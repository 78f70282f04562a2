//! Counters: how often each fact has happened.

use std::collections::BTreeMap;

use serde::Serialize;

use super::event::Event;
use crate::admission::{PeerLoss, Reason};

/// How often each fact has happened. No counter ever falls.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each counter is named for its event")]
pub struct Counters {
    pub flows_admitted: u64,
    pub flows_refused: BTreeMap<Reason, u64>,
    pub flows_renegotiated: u64,
    pub flows_released: u64,
    pub flows_preempted: u64,
    pub flows_shed: u64,
    pub flows_link_gone: u64,
    pub flows_expired: u64,
    pub flows_timed_out: BTreeMap<PeerLoss, u64>,
    pub flows_not_enforced: u64,
    pub flows_rerouted: u64,
    pub requests_refused: BTreeMap<Reason, u64>,
    pub requests_deferred: u64,
    pub requests_queued: u64,
    pub groups_made: u64,
    pub groups_charged: u64,
    pub groups_ended: u64,
    pub capacities_changed: u64,
    pub capacities_available: u64,
    pub interfaces_overcommitted: u64,
    pub interfaces_within_budget: u64,
    pub interfaces_prepared: u64,
    pub interfaces_left_to_user_space: u64,
    pub interfaces_gone: u64,
    pub interfaces_released: u64,
    pub interfaces_sharing_a_wire: u64,
    pub roots_taken_over: u64,
    pub roots_restored: u64,
    pub roots_not_restored: u64,
    pub root_files_failed: u64,
    pub trees_changed: u64,
    pub trees_applied: u64,
    pub trees_rolled_back: u64,
    pub classes_measured: u64,
    pub policies_reloaded: u64,
    pub manager_faulted: u64,
}

impl Counters {
    /// Counts one event: in the counter that is named for it, and by its reason where it has one.
    pub fn record(&mut self, event: &Event) {
        let counter = match event {
            Event::FlowAdmitted(_) => &mut self.flows_admitted,
            Event::FlowRefused(refused) => self.flows_refused.entry(refused.reason).or_default(),
            Event::FlowRenegotiated(_) => &mut self.flows_renegotiated,
            Event::FlowReleased(_) => &mut self.flows_released,
            Event::FlowPreempted(_) => &mut self.flows_preempted,
            Event::FlowShed(_) => &mut self.flows_shed,
            Event::FlowLinkGone(_) => &mut self.flows_link_gone,
            Event::FlowExpired(_) => &mut self.flows_expired,
            Event::FlowTimedOut(timed_out) => self.flows_timed_out.entry(timed_out.reason).or_default(),
            Event::FlowNotEnforced(_) => &mut self.flows_not_enforced,
            Event::FlowRerouted(_) => &mut self.flows_rerouted,
            Event::RequestRefused(refused) => self.requests_refused.entry(refused.reason).or_default(),
            Event::RequestDeferred(_) => &mut self.requests_deferred,
            Event::RequestQueued(_) => &mut self.requests_queued,
            Event::GroupMade(_) => &mut self.groups_made,
            Event::GroupCharged(_) => &mut self.groups_charged,
            Event::GroupEnded(_) => &mut self.groups_ended,
            Event::CapacityChanged(_) => &mut self.capacities_changed,
            Event::CapacityAvailable(_) => &mut self.capacities_available,
            Event::InterfaceOvercommitted(_) => &mut self.interfaces_overcommitted,
            Event::InterfaceWithinBudget(_) => &mut self.interfaces_within_budget,
            Event::InterfacePrepared(_) => &mut self.interfaces_prepared,
            Event::InterfaceLeftToUserSpace(_) => &mut self.interfaces_left_to_user_space,
            Event::InterfaceGone(_) => &mut self.interfaces_gone,
            Event::InterfaceReleased(_) => &mut self.interfaces_released,
            Event::InterfaceSharesWire(_) => &mut self.interfaces_sharing_a_wire,
            Event::RootTakenOver(_) => &mut self.roots_taken_over,
            Event::RootRestored(_) => &mut self.roots_restored,
            Event::RootNotRestored(_) => &mut self.roots_not_restored,
            Event::RootFileFailed(_) => &mut self.root_files_failed,
            Event::TreeChanged(_) => &mut self.trees_changed,
            Event::TreeApplied(_) => &mut self.trees_applied,
            Event::TreeRolledBack(_) => &mut self.trees_rolled_back,
            Event::ClassMeasured(_) => &mut self.classes_measured,
            Event::PolicyReloaded(_) => &mut self.policies_reloaded,
            Event::ManagerFaulted(_) => &mut self.manager_faulted,
        };
        *counter = counter.saturating_add(1);
    }

    /// How many flows hold a reservation: admitted and not ended since the first event.
    pub fn flows(&self) -> u64 {
        let Self { flows_released, flows_preempted, flows_shed, flows_link_gone, flows_expired, .. } = self;
        let timed_out = self.flows_timed_out.values().sum::<u64>();
        let lost = *flows_preempted + *flows_shed + *flows_link_gone + *flows_expired + timed_out;
        let ended = *flows_released + lost + self.flows_not_enforced + self.flows_rerouted;
        self.flows_admitted.saturating_sub(ended)
    }
}
