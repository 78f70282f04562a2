//! What waiting flows compete for, and what those that do not fit yet lack.

use flowspec::{Both, Direction};

use super::group::Member;
use super::prepare::{Constraint, Described, Wanted};
use super::queue::{Lane, LaneTime};
use super::scarce::Scarce;
use super::state::Ledger;
use crate::admission::account::charge::Charge;
use crate::admission::account::entry::Entry;
use crate::admission::account::resource::Resource;
use crate::admission::account::window::Window;
use crate::admission::request::Request;
use crate::policy::{ClassModel, GroupMode};

impl Ledger {
    /// The resources of which a request takes more than its flow has, and when.
    pub(crate) fn lane_of(&mut self, request: &Request) -> Lane {
        let interface = self.interface_number(&request.interface);
        let time = LaneTime::of(&request.window(self.now), self.now);
        let nothing = Lane { interface, resources: Vec::new(), time };
        let Ok(Described { entry, charge, .. }) = self.describe(request) else { return nothing };
        let held = self.flows.get(&request.id);
        let mut resources = Vec::new();
        let flow = held.as_ref().unwrap_or(&entry);
        if held.is_none() {
            resources.push(Resource::Flows);
            resources.extend(flow.footprint.class.map(Resource::ClassFlows));
        }
        resources.extend(self.demanded(flow, &charge, held.as_ref()));
        Lane { resources, ..nothing }
    }

    /// The resources of which a charge takes more than the flow has; a group's member is charged to the group.
    fn demanded(&self, flow: &Entry, charge: &Charge, held: Option<&Entry>) -> Vec<Resource> {
        let group = flow.group.as_ref().and_then(|name| self.groups.get(name));
        let payer = match group {
            // The group has reserved for all of its members.
            Some(group) if group.mode == GroupMode::Envelope => return Vec::new(),
            Some(group) => &group.footprint,
            None => &flow.footprint,
        };
        let held = held.map_or_else(Charge::default, |held| held.charge(Both::default()));
        let mut demanded = Vec::new();
        for direction in Direction::BOTH {
            if charge.buffer.get(direction) > held.buffer.get(direction) {
                demanded.push(Resource::Buffer(direction));
            }
            if charge.rate.get(direction) > held.rate.get(direction) {
                demanded.push(Resource::Budget(direction));
                demanded.extend(payer.class.map(|class| Resource::Share(class, direction)));
                demanded
                    .extend((1..=usize::from(payer.class_type)).map(|doll| Resource::Doll(doll, direction)));
            }
        }
        demanded
    }

    /// What flows of a lane take some of, and is too scarce in a window for flows that have waited longer.
    pub(crate) fn blocking(&self, lane: &Lane, window: &Window, scarce: &Scarce) -> Vec<(u32, Resource)> {
        let of_resource = |number: u32, resource: Resource| {
            let is_scarce = |resource| scarce.has((number, resource), window);
            let below_threshold = |class, direction| {
                let threshold = Resource::BelowThreshold(direction);
                let binds = is_scarce(threshold) && self.is_above_share(number, class, direction);
                binds.then_some((number, threshold))
            };
            match resource {
                resource if is_scarce(resource) => Some((number, resource)),
                Resource::Share(class, direction) => below_threshold(class, direction),
                _ => None,
            }
        };
        let of_interface =
            |number| lane.resources.iter().filter_map(move |resource| of_resource(number, *resource));
        self.wire(lane.interface).flat_map(|(number, _)| of_interface(number)).collect()
    }

    /// The resources of a lane on its wire that are limited.
    pub(crate) fn limited_resources(&self, lane: &Lane) -> Vec<(u32, Resource)> {
        let limited = |number: u32| {
            let resources = lane.resources.iter().filter(move |resource| self.is_limited(number, **resource));
            resources.map(move |resource| (number, *resource))
        };
        self.wire(lane.interface).flat_map(|(number, _)| limited(number)).collect()
    }

    fn is_limited(&self, number: u32, resource: Resource) -> bool {
        let interface = self.policy.interface(self.interfaces.text(number));
        match resource {
            Resource::Flows => interface.is_some_and(|interface| interface.max_flows.is_some()),
            Resource::Buffer(_) => interface.is_some_and(|interface| interface.buffer.is_some()),
            Resource::ClassFlows(class) => {
                self.classes.policy(class).is_ok_and(|class| class.max_flows.is_some())
            }
            Resource::Share(class, _) => self.classes.policy(class).is_ok_and(|class| class.share.is_some()),
            Resource::Budget(_) | Resource::Doll(..) | Resource::BelowThreshold(_) => true,
        }
    }

    /// Whether a class has more than its share in the MAR model, now or later.
    fn is_above_share(&self, number: u32, class: u32, direction: Direction) -> bool {
        let account = self.accounts.get(number as usize).and_then(Option::as_ref);
        let interface = self.policy.interface(self.interfaces.text(number));
        let (Some(account), Some(interface), Ok(settings)) = (account, interface, self.classes.policy(class))
        else {
            return false;
        };
        let (Some(share), Some(budget)) = (settings.share, account.budget(interface, direction)) else {
            return false;
        };
        let used = account.usage.class(class);
        let runs = |share: u64| {
            used.map(|used| used.reserved.get(direction).runs_above(share, Window::from(self.now), self.now))
        };
        matches!(interface.class_model, ClassModel::Mar(_))
            && runs(share.of(budget).get()).is_some_and(|runs| !runs.is_empty())
    }

    /// What is too scarce for a request that waits, in place of what its flow has.
    pub(crate) fn lacked_by(&mut self, request: &Request) -> Vec<(u32, Resource)> {
        let Ok(Described { entry, charge, .. }) = self.describe(request) else { return Vec::new() };
        let member = Member::of(&entry, &charge);
        // What it has would be replaced.
        let held = self.flows.get(&request.id);
        let slot = held.as_ref().map(|held| held.footprint.slot);
        let group = held.as_ref().and_then(|held| self.groups.get(held.group.as_ref()?));
        let held_member = group.zip(slot).and_then(|(group, slot)| group.member(slot).cloned());
        let group_before = group.map(|group| group.footprint.clone());
        if let Some(held) = &held {
            self.unbook(held);
        }
        let mut wanted = self.wanted(entry, member.as_deref());
        if let Some(held) = &held {
            let start = held.footprint.window.start.max(self.now);
            wanted.entry = held.clone().costing(&charge);
            wanted.entry.footprint.window.start = start;
            wanted.old = Some(Box::new(held.clone()));
        }
        if let (Some(group), Some(before)) = (&mut wanted.group, group_before) {
            group.held = before;
        }
        let lacked = self.without_group(&wanted, |ledger| ledger.lacked(&wanted));
        if let Some(held) = &held {
            self.book(held, held_member.map(Box::new));
            self.tidy(&held.footprint);
        }
        lacked
    }

    /// What is too scarce on the wire for what a flow would book; called [without the group](Self::without_group).
    fn lacked(&self, wanted: &Wanted) -> Vec<(u32, Resource)> {
        let constraints = self.constraints(wanted);
        let mut lacked = Vec::new();
        for (number, account) in self.wire(wanted.entry.footprint.interface) {
            for Constraint { footprint, old, flow } in &constraints {
                let Some(context) = self.fit_context(account, footprint, *flow) else { continue };
                let scarce = account.lacked(&context, footprint, old.as_ref());
                lacked.extend(scarce.into_iter().map(|resource| (number, resource)));
            }
        }
        lacked
    }

    /// Finds the lanes of the waiting flows again, after a group has changed for which some of them wait.
    pub(crate) fn relane_group(&mut self, id: &str) {
        if self.waiting.has_of_group(id) {
            self.relane();
        }
    }

    /// Finds the lanes of the waiting flows again, after the policy has changed.
    pub(crate) fn relane(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.relane(|request| self.lane_of(request));
        self.waiting = waiting;
    }
}
