//! The account of one interface: what is taken, by whom, and what would still fit.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use flowspec::{Both, Bytes, Direction, ErrorTerms, Rate};

use super::charge::Link;
use super::measured::Measured;
use super::profile::{Profile, Window};
use super::refusal::Refusal;
use super::sum::{Holder, Sum};
use crate::policy::{Capacity, Class, ClassModel, InterfacePolicy, OnCapacityDrop, Policy};

/// The MTU of an interface that has not been seen yet: Ethernet's.
pub const UNKNOWN_MTU: Bytes = Bytes::new(1500);

/// How many holders a refusal names.
const NAMED_HOLDERS: usize = 3;

/// Types of Russian dolls.
const TYPES: usize = 8;

/// One interface.
#[derive(Clone, Debug)]
pub(super) struct Account {
    /// Nothing where the capacity is to be read from the kernel and has not been.
    pub(super) capacity: Both<Option<Rate>>,
    /// A capacity that counts once it has lasted until then.
    pub(super) rising: Both<Option<(u64, Rate)>>,
    /// What drops are measured against: the capacity when it last changed by more than is let pass.
    pub(super) settled: Both<Option<Rate>>,
    /// What the kernel says.
    pub(super) mtu: Bytes,
    /// C and D, stated or proven.
    pub(super) terms: Both<Option<ErrorTerms>>,
    /// The kernel would not have the tree that a proof is about.
    pub(super) unprogrammed: bool,
    /// What the policy limits, and is counted for that.
    counts: Counts,
    pub(super) reserved: Both<Profile>,
    buffer: Both<Profile>,
    flows: Profile,
    classes: BTreeMap<Arc<str>, ClassUse>,
    /// The flows of the classes that are measured.
    measured: BTreeMap<Arc<str>, Measured>,
    /// What the flows of each class type and of those inside it take.
    dolls: [Both<Profile>; TYPES],
    /// Most charged first, then oldest.
    holders: Both<BTreeSet<Held>>,
    /// Who could be made to go, least important first: worst holding priority, then newest.
    pub(super) candidates: BTreeSet<Candidate>,
}

#[derive(Clone, Debug, Default)]
struct ClassUse {
    reserved: Both<Profile>,
    flows: Profile,
}

/// What is counted of an interface; what nothing limits is not.
#[derive(Clone, Copy, Debug)]
struct Counts {
    flows: bool,
    buffer: bool,
    dolls: bool,
    /// Somebody may be made to go.
    candidates: bool,
}

/// What is counted of a class.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct ClassCounts {
    flows: bool,
    rate: bool,
}

/// A flow's part of a budget, ordered as a refusal names them.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Held {
    charged: Reverse<Rate>,
    order: u64,
    id: Arc<str>,
    class: Option<Arc<str>>,
}

/// A flow that could be made to go.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Candidate {
    holding_priority: Reverse<u8>,
    order: Reverse<u64>,
    pub(super) id: Arc<str>,
}

/// What a flow or a group takes of an interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Footprint {
    pub(super) id: Arc<str>,
    /// When it was admitted, as a number.
    pub(super) order: u64,
    pub(super) class: Option<Arc<str>>,
    pub(super) class_type: u8,
    pub(super) class_counts: ClassCounts,
    /// Nothing where a group pays.
    pub(super) charged: Both<Rate>,
    pub(super) buffer: Both<Bytes>,
    pub(super) window: Window,
    /// 1 for a flow, 0 for a group.
    pub(super) flows: u64,
    /// Nothing where it is never made to go.
    pub(super) holding_priority: Option<u8>,
    /// How fast it may send where its class is measured; zero in a direction that is not.
    pub(super) peak: Option<Box<Both<Rate>>>,
}

/// Where a refusal would be decided: the link, with what the policy says of it.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a> {
    pub(super) name: &'a str,
    pub(super) interface: &'a InterfacePolicy,
    pub(super) policy: &'a Policy,
    pub(super) class: Option<(&'a str, &'a Class)>,
    pub(super) now: u64,
}

/// What one constraint leaves.
#[derive(Clone, Copy)]
struct Room {
    taken: u64,
    limit: u64,
    left: u64,
}

impl Room {
    const fn new(taken: u64, limit: u64) -> Self {
        Self { taken, limit, left: limit.saturating_sub(taken) }
    }
}

impl Account {
    pub(super) fn new(policy: &InterfacePolicy, preemption: bool) -> Self {
        Self {
            capacity: capacity(policy, None),
            rising: Both::default(),
            settled: capacity(policy, None),
            mtu: policy.mtu.unwrap_or(UNKNOWN_MTU),
            terms: Both { sending: policy.error_terms, receiving: policy.error_terms },
            unprogrammed: false,
            counts: Counts {
                flows: policy.max_flows.is_some(),
                buffer: policy.buffer.is_some(),
                dolls: policy.class_model == ClassModel::Rdm,
                candidates: preemption || policy.on_capacity_drop == OnCapacityDrop::Shed,
            },
            reserved: Both::default(),
            buffer: Both::default(),
            flows: Profile::default(),
            classes: BTreeMap::new(),
            measured: BTreeMap::new(),
            dolls: Default::default(),
            holders: Both::default(),
            candidates: BTreeSet::new(),
        }
    }

    /// An empty account under another policy: what it states goes before what was seen, and a rate that
    /// the old one stated and the new one does not is not known.
    pub(super) fn under(
        mut self,
        before: Option<&InterfacePolicy>,
        after: &InterfacePolicy,
        preemption: bool,
    ) -> Self {
        for direction in Direction::BOTH {
            let stated = |policy: &InterfacePolicy| match policy.budget(direction).capacity {
                Capacity::Rate(rate) => Some(rate),
                Capacity::Auto => None,
            };
            let known = self.capacity.get_mut(direction);
            match (before.and_then(stated), stated(after)) {
                (before, Some(after)) if before != Some(after) => *known = Some(after),
                (Some(_), None) => *known = None,
                _ => {}
            }
        }
        for direction in Direction::BOTH {
            if let Some((_, capacity)) = *self.rising.get(direction) {
                *self.capacity.get_mut(direction) = Some(capacity);
            }
        }
        Self {
            capacity: self.capacity,
            settled: self.capacity,
            unprogrammed: self.unprogrammed,
            mtu: after.mtu.unwrap_or(self.mtu),
            ..Self::new(after, preemption)
        }
    }

    /// What charges depend on.
    pub(super) fn link<'a>(&self, name: &'a str, policy: &'a InterfacePolicy) -> Link<'a> {
        Link { name, policy, mtu: self.mtu, terms: self.terms }
    }

    /// What may be promised in a direction; nothing where the capacity is not known.
    pub(super) fn budget(&self, policy: &InterfacePolicy, direction: Direction) -> Option<Rate> {
        let capacity = (*self.capacity.get(direction))?;
        Some(policy.budget(direction).reservable_of(capacity))
    }

    pub(super) fn book(&mut self, footprint: &Footprint, now: u64) {
        let Footprint { id, order, class, charged, window, .. } = footprint;
        self.each_profile(footprint, |profile, amount| profile.book(amount, *window, now));
        for direction in Direction::BOTH {
            let amount = *charged.get(direction);
            if amount > Rate::ZERO {
                let held =
                    Held { charged: Reverse(amount), order: *order, id: id.clone(), class: class.clone() };
                self.holders.get_mut(direction).insert(held);
            }
        }
        if self.counts.candidates {
            self.candidates.extend(footprint.candidate());
        }
        if let (Some(_), Some(class)) = (&footprint.peak, class) {
            self.measured.entry(class.clone()).or_default().join(footprint);
        }
    }

    pub(super) fn unbook(&mut self, footprint: &Footprint, now: u64) {
        let Footprint { id, order, class, charged, window, .. } = footprint;
        self.each_profile(footprint, |profile, amount| profile.unbook(amount, *window, now));
        for direction in Direction::BOTH {
            let amount = *charged.get(direction);
            let held = Held { charged: Reverse(amount), order: *order, id: id.clone(), class: class.clone() };
            self.holders.get_mut(direction).remove(&held);
        }
        if let Some(candidate) = footprint.candidate() {
            self.candidates.remove(&candidate);
        }
        if let (Some(_), Some(class)) = (&footprint.peak, class)
            && let Some(measured) = self.measured.get_mut(class)
        {
            measured.leave(footprint);
        }
    }

    /// The flows of a class were measured.
    pub(super) fn measure(&mut self, class: &Arc<str>, rate: Both<Rate>, since: u64, now: u64) {
        self.measured.entry(class.clone()).or_default().measure(rate, since, now);
    }

    /// By how much the measured classes for which `counts` holds take less than they have declared.
    pub(super) fn relief(
        &self,
        policy: &Policy,
        direction: Direction,
        now: u64,
        counts: impl Fn(&str, &Measured) -> bool,
    ) -> u64 {
        let classes = self.measured.iter().filter(|(name, measured)| counts(name, measured));
        let relief = classes.map(|(name, measured)| {
            let overbooking = policy.classes.get(&**name).map_or(1000, |class| class.overbooking_thousandths);
            measured.relief(direction, overbooking, now)
        });
        relief.fold(0, u64::saturating_add)
    }

    /// What is taken now, as it is measured.
    pub(super) fn taken(&self, policy: &Policy, direction: Direction, now: u64) -> Rate {
        let relief = self.relief(policy, direction, now, |_, _| true);
        Rate::new(self.reserved.get(direction).current().saturating_sub(relief))
    }

    /// Whether anything is measured.
    pub(super) fn measures(&self) -> bool {
        !self.measured.is_empty()
    }

    /// Time passes. Says whether a capacity counts from now on that is more than before.
    pub(super) fn advance(&mut self, now: u64) -> bool {
        let mut risen = false;
        for direction in Direction::BOTH {
            if let Some((_, capacity)) = self.rising.get_mut(direction).take_if(|(at, _)| *at <= now) {
                *self.capacity.get_mut(direction) = Some(capacity);
                *self.settled.get_mut(direction) = Some(capacity);
                risen = true;
            }
        }
        for direction in Direction::BOTH {
            self.reserved.get_mut(direction).advance(now);
            self.buffer.get_mut(direction).advance(now);
            for doll in &mut self.dolls {
                doll.get_mut(direction).advance(now);
            }
        }
        self.flows.advance(now);
        for class in self.classes.values_mut() {
            class.flows.advance(now);
            class.reserved.sending.advance(now);
            class.reserved.receiving.advance(now);
        }
        risen
    }

    /// Everything that a footprint is counted in.
    fn each_profile(&mut self, footprint: &Footprint, mut change: impl FnMut(&mut Profile, u64)) {
        let Counts { flows, buffer, dolls, .. } = self.counts;
        if flows {
            change(&mut self.flows, footprint.flows);
        }
        for direction in Direction::BOTH {
            let rate = footprint.charged.get(direction).get();
            if rate > 0 {
                change(self.reserved.get_mut(direction), rate);
            }
            if buffer {
                change(self.buffer.get_mut(direction), footprint.buffer.get(direction).get());
            }
            if dolls {
                for doll in &mut self.dolls[1..=usize::from(footprint.class_type)] {
                    change(doll.get_mut(direction), rate);
                }
            }
        }
        let ClassCounts { flows, rate } = footprint.class_counts;
        if let Some(class) = &footprint.class
            && (flows || rate)
        {
            let used = match self.classes.get_mut(class) {
                Some(used) => used,
                None => self.classes.entry(class.clone()).or_default(),
            };
            if flows {
                change(&mut used.flows, footprint.flows);
            }
            for direction in Direction::BOTH {
                let charged = footprint.charged.get(direction).get();
                if rate && charged > 0 {
                    change(used.reserved.get_mut(direction), charged);
                }
            }
        }
    }

    /// The moments at which something ends or begins that a flow of a class may have to wait for.
    pub(super) fn moments(&self, class: Option<&str>) -> Vec<u64> {
        let mut moments = self.flows.moments();
        for direction in Direction::BOTH {
            moments.extend(self.reserved.get(direction).moments());
            moments.extend(self.buffer.get(direction).moments());
        }
        if let Some(used) = class.and_then(|class| self.class_use(class)) {
            moments.extend(used.flows.moments());
        }
        moments
    }

    /// Whether a footprint fits, which is not booked; `old` is what it stands in for, not booked either.
    /// A constraint is violated only where it would be made worse.
    ///
    /// Counts first, then the flow's own rate, then each direction's buffer, class and interface.
    pub(super) fn check(
        &self,
        terms: &Terms<'_>,
        asked: &Footprint,
        old: Option<&Footprint>,
    ) -> Result<(), Refusal> {
        let Terms { name, interface, class, now, .. } = *terms;
        let window = asked.window;
        if old.is_none_or(|old| old.flows < asked.flows) {
            if let Some((class, Class { max_flows: Some(max_flows), .. })) = class {
                let flows = self.class_use(class).map_or(0, |used| used.flows.highest(window, now));
                if flows + asked.flows > *max_flows {
                    let (interface, class) = (name.to_owned(), class.to_owned());
                    return Err(Refusal::ClassFlows { interface, class, flows, max_flows: *max_flows });
                }
            }
            let flows = self.flows.highest(window, now);
            if let Some(max_flows) = interface.max_flows
                && flows + asked.flows > max_flows
            {
                return Err(Refusal::InterfaceFlows { interface: name.to_owned(), flows, max_flows });
            }
        }
        for direction in Direction::BOTH {
            let rate = *asked.charged.get(direction);
            let held = old.map_or(Rate::ZERO, |old| *old.charged.get(direction));
            if let Some((class, Class { max_rate: Some(max_rate), .. })) = class
                && rate > *max_rate
                && rate > held
            {
                let (class, max_rate) = (class.to_owned(), *max_rate);
                return Err(Refusal::FlowRate { class, direction, asked: rate, max_rate });
            }
        }
        for direction in Direction::BOTH {
            self.check_buffer(terms, asked, old, direction)?;
            let rate = *asked.charged.get(direction);
            let held = old.map_or(Rate::ZERO, |old| *old.charged.get(direction));
            if rate > held || old.is_some_and(|old| rate > Rate::ZERO && !within(window, old.window)) {
                self.check_budgets(terms, direction, asked)?;
            }
        }
        Ok(())
    }

    fn check_buffer(
        &self,
        terms: &Terms<'_>,
        asked: &Footprint,
        old: Option<&Footprint>,
        direction: Direction,
    ) -> Result<(), Refusal> {
        let Some(limit) = terms.interface.buffer else { return Ok(()) };
        let needed = *asked.buffer.get(direction);
        let held = old.map_or(Bytes::ZERO, |old| *old.buffer.get(direction));
        let taken = Bytes::new(self.buffer.get(direction).highest(asked.window, terms.now));
        if needed <= held || taken.get().checked_add(needed.get()).is_some_and(|sum| sum <= limit.get()) {
            return Ok(());
        }
        Err(Refusal::Buffer { interface: terms.name.to_owned(), direction, needed, taken, limit })
    }

    /// The interface's budget and the class's part of it. Where both are too small, the one with less
    /// room is what binds, and the interface where they are equal.
    fn check_budgets(
        &self,
        terms: &Terms<'_>,
        direction: Direction,
        asked: &Footprint,
    ) -> Result<(), Refusal> {
        let Some(budget) = self.budget(terms.interface, direction) else {
            return Err(Refusal::UnknownCapacity { interface: terms.name.to_owned(), direction });
        };
        let rate = *asked.charged.get(direction);
        let relief = self.relief_for(terms, direction, asked, |_, _| true);
        let declared = self.reserved.get(direction).highest(asked.window, terms.now);
        let link = Room::new(declared.saturating_sub(relief), budget.get());
        let share = self.class_room(terms, direction, asked, link);
        let fits = |room: Room| rate.get() <= room.left && room.taken <= room.limit;
        let narrower = share.filter(|share| !fits(*share) && share.left < link.left);
        let binding = match narrower {
            None if fits(link) => return Ok(()),
            None => link,
            Some(share) => share,
        };
        let most = terms.class.and_then(|(_, class)| class.max_rate).map_or(u64::MAX, Rate::get);
        let would_fit = Rate::new(link.left.min(share.map_or(u64::MAX, |share| share.left)).min(most));
        let class = narrower.and(terms.class).map(|(name, _)| name);
        let sum = Box::new(Sum {
            asked: rate,
            reserved: Rate::new(binding.taken),
            budget: Rate::new(binding.limit),
            holders: self.named_holders(direction, class),
            would_fit,
            least_latency: None,
            measured: match asked.is_measured(direction) {
                true => Rate::ZERO,
                false => Rate::new(self.relief(terms.policy, direction, terms.now, |_, _| true)),
            },
        });
        let interface = terms.name.to_owned();
        Err(match class {
            Some(class) => Refusal::ClassShare { interface, direction, class: class.to_owned(), sum },
            None => Refusal::InterfaceBudget { interface, direction, sum },
        })
    }

    /// What the class model leaves a flow; nothing where it sets no limit.
    fn class_room(
        &self,
        terms: &Terms<'_>,
        direction: Direction,
        asked: &Footprint,
        link: Room,
    ) -> Option<Room> {
        let (name, class) = terms.class?;
        let budget = Rate::new(link.limit);
        let share = class.share.map(|share| share.of(budget).get());
        let used = || {
            let used = self.class_use(name);
            let used = used.map_or(0, |used| used.reserved.get(direction).highest(asked.window, terms.now));
            used.saturating_sub(self.relief_for(terms, direction, asked, |class, _| class == name))
        };
        match terms.interface.class_model {
            ClassModel::Mam => share.map(|share| Room::new(used(), share)),
            // BC_b for every type that this one is inside of. BC_0 is the budget, which is checked anyway.
            ClassModel::Rdm => {
                let dolls = (1..=usize::from(class.class_type)).filter_map(|doll| {
                    let constraint = doll_size(terms.policy, doll, budget)?;
                    let taken = self.dolls[doll].get(direction).highest(asked.window, terms.now);
                    let inside = |_: &str, measured: &Measured| usize::from(measured.class_type) >= doll;
                    let relief = self.relief_for(terms, direction, asked, inside);
                    Some(Room::new(taken.saturating_sub(relief), constraint))
                });
                dolls.min_by_key(|room| room.left)
            }
            // RFC 4126, table 1: within the share, equality included, anything that fits the link; above
            // it only what leaves the threshold free.
            ClassModel::Mar(threshold) => {
                let within = share.is_none_or(|share| used() <= share);
                let kept = threshold.of(budget).get();
                (!within).then(|| Room::new(link.taken, link.limit.saturating_sub(kept)))
            }
        }
    }

    /// What is measured as unused is for controlled load of measured classes that begins now, for nothing
    /// else: no guarantee rests on it.
    fn relief_for(
        &self,
        terms: &Terms<'_>,
        direction: Direction,
        asked: &Footprint,
        counts: impl Fn(&str, &Measured) -> bool,
    ) -> u64 {
        if !asked.is_measured(direction) || asked.window.start > terms.now {
            return 0;
        }
        self.relief(terms.policy, direction, terms.now, counts)
    }

    fn class_use(&self, class: &str) -> Option<&ClassUse> {
        self.classes.get(class)
    }

    /// Who holds most: of the class where the class is full.
    fn named_holders(&self, direction: Direction, class: Option<&str>) -> Vec<Holder> {
        let holders = self.holders.get(direction).iter();
        let holders = holders.filter(|holder| class.is_none() || holder.class.as_deref() == class);
        let named = holders.take(NAMED_HOLDERS);
        named.map(|holder| Holder { id: holder.id.to_string(), charged: holder.charged.0 }).collect()
    }
}

impl ClassCounts {
    pub(super) fn of(class: Option<&Class>) -> Self {
        Self {
            flows: class.is_some_and(|class| class.max_flows.is_some()),
            rate: class.is_some_and(|class| class.share.is_some()),
        }
    }
}

impl Footprint {
    fn is_measured(&self, direction: Direction) -> bool {
        self.peak.as_ref().is_some_and(|peak| *peak.get(direction) > Rate::ZERO)
    }

    fn candidate(&self) -> Option<Candidate> {
        let holding_priority = Reverse(self.holding_priority?);
        Some(Candidate { holding_priority, order: Reverse(self.order), id: self.id.clone() })
    }
}

impl Candidate {
    pub(super) const fn holding_priority(&self) -> u8 {
        self.holding_priority.0
    }
}

/// Whether one window is part of another.
const fn within(inner: Window, outer: Window) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// BC of a class type: what its classes' shares come to; nothing where one of them is without limit or
/// there is none.
fn doll_size(policy: &Policy, doll: usize, budget: Rate) -> Option<u64> {
    let mut classes =
        policy.classes.values().filter(|class| usize::from(class.class_type) == doll).peekable();
    classes.peek()?;
    let mut sum = Rate::ZERO;
    for class in classes {
        sum = sum.checked_add(class.share?.of(budget))?;
    }
    Some(sum.get())
}

pub(super) fn capacity(policy: &InterfacePolicy, speed: Option<Rate>) -> Both<Option<Rate>> {
    policy.budgets.map(|budget| match budget.capacity {
        Capacity::Rate(rate) => Some(rate),
        Capacity::Auto => speed,
    })
}
