//! Whether a flow fits: the limits of the interface, the class, the client and the group, by the recount.

use gqos::policy::GroupMode;

use crate::FOREVER;
use crate::policy::{BUFFER, CLIENT_FLOWS, CLIENT_HORIZON, CLIENT_RATE, CLIENT_SETUP, ClassModel};
use crate::recount::{Charge, Flow, Group, Recount};

/// What an interface or a class may have too little of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Limit {
    Flows,
    ClassFlows(String),
    Buffer(usize),
    Budget(usize),
    Share(String, usize),
    /// Of the types inside this one, with it.
    Doll(u64, usize),
    /// What the MAR model leaves for classes that are above their shares.
    BelowThreshold(usize),
}

impl Recount {
    /// Which limits of the interface and of the class model are too small for the rate of a flow in a direction.
    fn lacks_rate(&self, flow: &Flow, direction: usize) -> Vec<Limit> {
        let charge = flow.charges[direction];
        // Only a measured flow may use what was measured as unused.
        let is_measured = flow.group.is_none() && charge.peak > 0 && flow.start <= self.now;
        let unused = |counts: &dyn Fn(Option<&str>) -> bool| {
            if is_measured { self.unused(direction, counts) } else { 0 }
        };
        let used = |counts: &dyn Fn(Option<&str>) -> bool| {
            let declared = self.largest(flow.start, flow.end, |at| self.rate(at, direction, counts));
            declared - unused(counts)
        };
        let budget = self.budget(direction);
        let mut lacks = Vec::new();
        let mut needs = |fits: bool, limit: Limit| lacks.extend((!fits).then_some(limit));
        needs(used(&|_| true) + charge.rate <= budget, Limit::Budget(direction));
        let Some((name, class)) = self.class(flow.class.as_deref()) else { return lacks };
        let share = class.share.of(budget);
        match self.variant.class_model {
            ClassModel::Mam => {
                let fits = used(&|class| class == Some(name)) + charge.rate <= share;
                needs(fits, Limit::Share(name.to_owned(), direction));
            }
            ClassModel::Rdm => (1..=class.class_type).for_each(|class_type| {
                let of_types = used(&|class| self.class_type(class) >= class_type);
                let shares = self.stated_classes().filter(|class| class.class_type == class_type);
                let fits = of_types + charge.rate <= shares.map(|class| class.share.of(budget)).sum::<u64>();
                needs(fits, Limit::Doll(class_type, direction));
            }),
            // Moment by moment: the threshold binds only while the class is above its share.
            ClassModel::Mar => {
                let fits = self.moments(flow.start, flow.end).all(|at| {
                    let used = |counts: &dyn Fn(Option<&str>) -> bool| {
                        self.rate(at, direction, counts).saturating_sub(unused(counts))
                    };
                    used(&|class| class == Some(name)) <= share
                        || used(&|_| true) + charge.rate <= budget - budget / 100
                });
                needs(fits, Limit::BelowThreshold(direction));
            }
        }
        lacks
    }

    /// Whether a class has more than its share now or later.
    pub(crate) fn is_above_share(&self, name: &str, direction: usize) -> bool {
        let Some((name, class)) = self.class(Some(name)) else { return false };
        let used =
            self.largest(self.now, FOREVER, |at| self.rate(at, direction, |class| class == Some(name)));
        used > class.share.of(self.budget(direction))
    }

    pub(crate) fn class_type(&self, class: Option<&str>) -> u64 {
        self.class(class).map_or(0, |(_, class)| class.class_type)
    }

    /// The most flows at once, within the window of `flow`.
    fn most_flows(&self, flow: &Flow, counts: impl Fn(&Flow) -> bool) -> u64 {
        let count = |at| self.flows.iter().filter(|flow| flow.is_active(at) && counts(flow)).count() as u64;
        self.largest(flow.start, flow.end, count)
    }

    /// Whether a flow's interface, the one below it and the class have capacity for the flow. `held` is what it had before.
    pub(crate) fn fits_now(&self, flow: &Flow, held: Option<&Flow>) -> bool {
        self.wire(flow.link).all(|link| self.on(link).fits_here(flow, held))
    }

    /// The same of the interface whose sums are counted.
    pub(crate) fn fits_here(&self, flow: &Flow, held: Option<&Flow>) -> bool {
        self.lacks_here(flow, held).is_empty()
    }

    /// What the interface whose sums are counted lacks for a flow.
    pub(crate) fn lacks_here(&self, flow: &Flow, held: Option<&Flow>) -> Vec<Limit> {
        let mut lacks = Vec::new();
        if held.is_none() {
            let class_limit = self.class(flow.class.as_deref()).and_then(|(_, class)| class.max_flows);
            let is_here = |other: &Flow| self.counts(other.link);
            let of_class = |other: &Flow| is_here(other) && other.class == flow.class;
            if let Some(name) = &flow.class
                && class_limit.is_some_and(|most| self.most_flows(flow, of_class) >= most)
            {
                lacks.push(Limit::ClassFlows(name.clone()));
            }
            if self.is_on(0) && self.most_flows(flow, is_here) >= self.variant.max_flows() {
                lacks.push(Limit::Flows);
            }
        }
        lacks.extend(self.lacks_capacity(flow, held));
        lacks
    }

    /// The same without the limits on the number of flows.
    fn lacks_capacity(&self, flow: &Flow, held: Option<&Flow>) -> Vec<Limit> {
        if let Some(id) = flow.group.as_deref() {
            return self.lacks_for_member(id, flow, held);
        }
        let lacks = |direction: usize| {
            let before = held.map_or(Charge::default(), |held| held.charges[direction]);
            let charge = flow.charges[direction];
            let buffer =
                || self.largest(flow.start, flow.end, |at| self.buffer(at, direction)) + charge.buffer;
            let has_buffer = !self.is_on(0) || charge.buffer <= before.buffer || buffer() <= BUFFER;
            let grows = charge.rate > before.rate;
            let rate = if grows { self.lacks_rate(flow, direction) } else { Vec::new() };
            (!has_buffer).then_some(Limit::Buffer(direction)).into_iter().chain(rate)
        };
        (0..2).flat_map(lacks).collect()
    }

    /// Whether a flow would fit if nothing else were reserved.
    pub(crate) fn would_fit_alone(&self, flow: &Flow) -> bool {
        let mut alone = self.clone();
        let group = flow.group.as_deref();
        alone.flows.retain(|other| group.is_some_and(|group| other.is_in(group)));
        alone.groups.retain(|id, _| group == Some(id));
        alone.allows_rates(flow.class.as_deref(), &flow.charges, &Default::default())
            && alone.wire(flow.link).all(|link| alone.on(link).lacks_capacity(flow, None).is_empty())
    }

    /// Whether a class allows flows of these rates, or rates that are no higher than before.
    fn allows_rates(&self, class: Option<&str>, new: &[Charge; 2], old: &[Charge; 2]) -> bool {
        let Some(most) = self.class(class).and_then(|(_, class)| class.max_rate) else { return true };
        (0..2).all(|direction| new[direction].rate <= most || new[direction].rate <= old[direction].rate)
    }

    /// The limits that preemption does not help against: the rate of a class's flows, the client's, the group's.
    pub(crate) fn allows(&self, flow: &Flow, setup: u8, held: Option<&Flow>) -> bool {
        let before = held.map_or([Charge::default(); 2], |held| held.charges);
        let of_class = self.allows_rates(flow.class.as_deref(), &flow.charges, &before);
        let of_client = flow.client.is_none() || self.client_allows(flow, setup, held);
        let of_group = flow
            .group
            .as_deref()
            .is_none_or(|id| (0..2).all(|direction| self.is_within(id, flow, direction)));
        of_class && of_client && of_group
    }

    fn client_allows(&self, flow: &Flow, setup: u8, held: Option<&Flow>) -> bool {
        let is_of_client = |other: &Flow| other.client == flow.client;
        let is_new = held.is_none();
        if is_new && (flow.start - self.now > CLIENT_HORIZON || setup < CLIENT_SETUP) {
            return false;
        }
        if is_new && self.most_flows(flow, is_of_client) >= CLIENT_FLOWS {
            return false;
        }
        (0..2).all(|direction| {
            let rate = |flow: &Flow| flow.charges[direction].rate;
            let sum = |at| {
                let flows = self.flows.iter().filter(|other| is_of_client(other) && other.is_active(at));
                flows.map(rate).sum()
            };
            rate(flow) <= held.map_or(0, rate)
                || self.largest(flow.start, flow.end, sum) + rate(flow) <= CLIENT_RATE
        })
    }

    /// Whether a member is within the limits of its group in a direction.
    pub(crate) fn is_within(&self, id: &str, flow: &Flow, direction: usize) -> bool {
        let group = &self.groups[id];
        let charge = flow.charges[direction];
        if charge.token_rate == 0 {
            return true;
        }
        let others = |what: fn(&Charge) -> u64| {
            let members = |at| self.flows.iter().filter(move |other| other.is_in(id) && other.is_active(at));
            let sum = |at| members(at).map(|member| what(&member.charges[direction])).sum();
            if group.mode == GroupMode::Shared { 0 } else { self.largest(flow.start, flow.end, sum) }
        };
        let has = |what: fn(&Charge) -> u64, most: u64| others(what) + what(&charge) <= most;
        let is_unlimited = group.mode == GroupMode::Shared && group.unlimited[direction];
        is_unlimited
            || has(|charge| charge.rate, group.charges[direction].rate)
                && group.token_rate[direction].is_none_or(|most| has(|charge| charge.token_rate, most))
                && group.bucket[direction].is_none_or(|most| has(|charge| charge.bucket, most))
    }

    /// What the interface and the group's class lack for a shared group with one more member. At each moment the group is
    /// charged its largest member.
    fn lacks_for_member(&self, id: &str, flow: &Flow, held: Option<&Flow>) -> Vec<Limit> {
        let group = &self.groups[id];
        if group.mode == GroupMode::Envelope {
            return Vec::new();
        }
        let taken = |moment: u64, with: Option<&Flow>| {
            let members = self.flows.iter().filter(|other| other.is_in(id)).chain(with);
            let members: Vec<_> = members.filter(|member| member.is_active(moment)).collect();
            [0, 1].map(|direction| {
                let largest = |what: fn(&Charge) -> u64| {
                    members.iter().map(|member| what(&member.charges[direction])).max().unwrap_or(0)
                };
                let (rate, buffer) = (largest(|charge| charge.rate), largest(|charge| charge.buffer));
                Charge { rate, buffer, ..Charge::default() }
            })
        };
        let mut rest = self.clone();
        rest.remove_group(id);
        let members = self.flows.iter().filter(|other| other.is_in(id)).chain(held).chain([flow]);
        let changes = members.flat_map(|member| [member.start, member.end]).collect();
        rest.lacks_for_group(group, changes, |moment| (taken(moment, Some(flow)), taken(moment, held)))
    }

    /// What the interface whose sums are counted lacks for a group that takes the first of `taken` at each moment, and has held the second. They
    /// change at the moments `changes` only.
    pub(crate) fn lacks_for_group(
        &self,
        group: &Group,
        mut changes: Vec<u64>,
        taken: impl Fn(u64) -> ([Charge; 2], [Charge; 2]),
    ) -> Vec<Limit> {
        let mut lacks = Vec::new();
        changes.retain(|moment| (self.now + 1..FOREVER).contains(moment));
        changes.sort_unstable();
        let mut start = self.now;
        while start < FOREVER {
            let step = taken(start);
            let differs = |moment: &u64| *moment > start && taken(*moment) != step;
            let end = changes.iter().copied().find(differs).unwrap_or(FOREVER);
            let [new, old] = [step.0, step.1].map(|charges| Flow { start, end, ..group.as_flow(charges) });
            lacks.extend(self.lacks_here(&new, Some(&old)));
            start = end;
        }
        lacks
    }

    /// Removes a group with its members.
    pub(crate) fn remove_group(&mut self, id: &str) {
        self.groups.remove(id);
        self.flows.retain(|flow| !flow.is_in(id));
    }
}

impl Group {
    /// The group as a flow that takes `charges`.
    pub(crate) fn as_flow(&self, charges: [Charge; 2]) -> Flow {
        Flow {
            id: String::new(),
            order: 0,
            link: 0,
            class: self.class.clone(),
            client: None,
            group: None,
            charges,
            start: self.start,
            end: FOREVER,
            deadline: None,
            holding: 0,
            qos: flowspec::Qos::BEST_EFFORT,
            silent: None,
            stalled: None,
        }
    }
}
