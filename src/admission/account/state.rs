//! The account of one interface: what is reserved over time, and the flows that hold it.

use std::cmp::Reverse;
use std::sync::Arc;

use flowspec::{Both, Bytes, Direction, ErrorTerms, Moment, Rate};

use super::candidates::{CandidateSums, Candidates};
use super::charge::LinkParameters;
use super::flows::Flows;
use super::footprint::Footprint;
use super::holders::Holders;
use super::measured::{Mean, MeasuredFlows};
use super::parents::{ChildLink, Parents};
use super::place::PreemptionPlace;
use super::proof::{Provable, Prover};
use super::rank::ChargedRank;
use super::usage::{AccountUse, CountedKinds};
use super::window::Window;
use crate::ordered::OrderedMap;
use crate::policy::{Capacity, ClassModel, Enforcement, InterfacePolicy, OnCapacityDrop};

/// The MTU of an interface that has not been observed yet: Ethernet's.
pub const UNKNOWN_MTU: Bytes = Bytes::new(1500);

/// The holding priorities that are better than another: 0 to 6.
const BETTER_PRIORITIES: usize = 7;

/// The state of one interface: its capacity, its limits, and what is booked on it over time.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    /// The interface's number.
    pub(crate) number: u32,
    /// `None` where the capacity is to be read from the kernel and has not been.
    pub(crate) capacity: Both<Option<Rate>>,
    /// A larger capacity, and the moment from which it counts if it lasts until then.
    pub(crate) rising: Both<Option<(Moment, Rate)>>,
    /// The capacity that a drop is compared with: that of the last change beyond the hysteresis.
    pub(crate) reference_capacity: Both<Option<Rate>>,
    /// The largest IP datagram, as the policy or the kernel states it.
    pub(crate) mtu: Bytes,
    /// What the kernel has stated, whether or not the policy states something else.
    seen: Option<SeenLink>,
    /// The interface's policy before a reload that has dropped it: the flows that are left are charged by it.
    pub(crate) former: Option<Arc<InterfacePolicy>>,
    /// C and D, stated or proven.
    pub(crate) terms: Both<Option<ErrorTerms>>,
    /// The capacity or the policy has changed: what is reserved may be above the budget until enough has ended.
    pub(crate) may_exceed: Both<bool>,
    /// The kernel has no tree, so that a proof about the tree does not hold.
    pub(crate) unprogrammed: bool,
    /// What is taken of each limit.
    pub(crate) usage: AccountUse,
    /// The same without the flows whose holding priority is worse than 0, 1, up to 6; empty where no flow is preempted.
    lasting: Vec<AccountUse>,
    /// By the number of the class; only classes with `admission = "measured"`.
    measured: OrderedMap<u32, MeasuredFlows>,
    /// The holders of each class, by the class's number plus one; first those without a class.
    holders: Vec<Both<Holders>>,
    /// The flows that can be preempted or shed; `None` where none can.
    candidates: Option<Candidates>,
}

/// A link as the kernel states it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SeenLink {
    /// The largest IP datagram.
    pub(crate) mtu: Bytes,
    /// `None` where the kernel knows none.
    pub(crate) speed: Option<Rate>,
}

impl Account {
    pub(crate) fn new(number: u32, policy: &InterfacePolicy, preemption: bool) -> Self {
        let counts = CountedKinds {
            flows: policy.max_flows.is_some(),
            buffer: policy.buffer.is_some(),
            dolls: policy.class_model == ClassModel::Rdm,
        };
        let sheds = policy.on_capacity_drop == OnCapacityDrop::Shed;
        Self {
            number,
            capacity: capacity(policy, None),
            rising: Both::default(),
            reference_capacity: capacity(policy, None),
            mtu: policy.mtu.unwrap_or(UNKNOWN_MTU),
            seen: None,
            former: None,
            terms: Both { sending: policy.error_terms, receiving: policy.error_terms },
            may_exceed: Both::default(),
            unprogrammed: false,
            usage: AccountUse::new(counts),
            lasting: vec![AccountUse::new(counts); if preemption { BETTER_PRIORITIES } else { 0 }],
            measured: OrderedMap::new(),
            holders: Vec::new(),
            candidates: match (preemption, counts.dolls) {
                (true, true) => Some(Candidates::new(CandidateSums::Types)),
                (true, false) => Some(Candidates::new(CandidateSums::Classes)),
                (false, _) if sheds => Some(Candidates::new(CandidateSums::None)),
                (false, _) => None,
            },
        }
    }

    /// The kernel states what the link carries.
    pub(crate) fn observe_link(&mut self, policy: &InterfacePolicy, seen: SeenLink) {
        self.seen = Some(seen);
        self.mtu = policy.mtu.unwrap_or(seen.mtu);
        self.capacity = capacity(policy, seen.speed);
        self.reference_capacity = self.capacity;
        self.may_exceed = Both { sending: true, receiving: true };
    }

    /// The kernel states other parameters of the link. A capacity that is known stays.
    pub(crate) fn see_again(&mut self, policy: &InterfacePolicy, seen: SeenLink) {
        self.seen = Some(seen);
        self.mtu = policy.mtu.unwrap_or(seen.mtu);
    }

    /// An empty account under another policy. A capacity that the new policy states replaces what was observed; one that
    /// only the old policy stated is what the kernel has stated.
    pub(crate) fn under(
        mut self,
        before: Option<&InterfacePolicy>,
        after: &InterfacePolicy,
        preemption: bool,
    ) -> Self {
        let before = before.or(self.former.as_deref());
        for direction in Direction::BOTH {
            if let Some((_, capacity)) = *self.rising.get(direction) {
                *self.capacity.get_mut(direction) = Some(capacity);
            }
            let known = self.capacity.get_mut(direction);
            let stated_before = before.and_then(|before| stated(before, direction));
            match (stated_before, stated(after, direction)) {
                (before, Some(after)) if before != Some(after) => *known = Some(after),
                (Some(before), None) if *known == Some(before) => {
                    *known = self.seen.and_then(|seen| seen.speed);
                }
                _ => {}
            }
        }
        let seen_mtu = self.seen.map(|seen| seen.mtu);
        Self {
            capacity: self.capacity,
            reference_capacity: self.capacity,
            unprogrammed: self.unprogrammed,
            may_exceed: Both { sending: true, receiving: true },
            mtu: after.mtu.or(seen_mtu).unwrap_or(UNKNOWN_MTU),
            seen: self.seen,
            ..Self::new(self.number, after, preemption)
        }
    }

    /// An empty account of an interface that the policy no longer has.
    pub(crate) fn dropped(self, before: Option<&InterfacePolicy>) -> Self {
        let former = before.cloned().map(Arc::new).or_else(|| self.former.clone());
        Self { former, ..self.emptied() }
    }

    /// The parameters that charges depend on.
    pub(crate) fn link<'a>(&self, name: &'a str, policy: &'a InterfacePolicy) -> LinkParameters<'a> {
        LinkParameters { name, policy, mtu: self.mtu, terms: self.terms }
    }

    /// What may be reserved in a direction; `None` where the capacity is not known.
    pub(crate) fn budget(&self, policy: &InterfacePolicy, direction: Direction) -> Option<Rate> {
        let capacity = (*self.capacity.get(direction))?;
        Some(policy.budget(direction).reservable_of(capacity))
    }

    /// Computes the error terms: those that the policy states, else the proven ones, which exist for sending only.
    pub(crate) fn update_error_terms(&mut self, policy: &InterfacePolicy, prover: Prover) {
        let provable = policy.enforcement != Enforcement::UserSpace && !self.unprogrammed;
        let proven = self.capacity.sending.filter(|_| provable).and_then(|capacity| {
            let budget = policy.budget(Direction::Sending).reservable_of(capacity);
            let (max_flows, buffer) = (policy.max_flows, policy.buffer);
            prover(&Provable { capacity, budget, mtu: self.mtu, max_flows, buffer })
        });
        self.terms = Both { sending: policy.error_terms.or(proven), receiving: policy.error_terms };
    }

    pub(crate) fn book(&mut self, footprint: &Footprint, now: Moment) {
        let Footprint { class, charged, .. } = footprint;
        self.each_usage(footprint, |usage| usage.book(footprint, now));
        let rank = footprint.rank();
        for direction in Direction::BOTH {
            let amount = *charged.get(direction);
            if amount > Rate::ZERO {
                let held = ChargedRank { charged: Reverse(amount), rank };
                self.holders_of(*class).get_mut(direction).insert(held);
            }
        }
        if let Some(candidates) = &mut self.candidates {
            candidates.insert(footprint, now);
        }
        if let (Some(_), Some(class)) = (&footprint.peak, class)
            && footprint.interface == self.number
        {
            self.measured.entry(*class).or_default().join(footprint);
        }
    }

    pub(crate) fn unbook(&mut self, footprint: &Footprint, now: Moment) {
        let Footprint { class, charged, .. } = footprint;
        self.each_usage(footprint, |usage| usage.unbook(footprint, now));
        let rank = footprint.rank();
        for direction in Direction::BOTH {
            let amount = *charged.get(direction);
            if amount > Rate::ZERO {
                let held = ChargedRank { charged: Reverse(amount), rank };
                self.holders_of(*class).get_mut(direction).remove(held);
            }
        }
        if let Some(candidates) = &mut self.candidates {
            candidates.remove(footprint);
        }
        if let (Some(_), Some(class)) = (&footprint.peak, class)
            && footprint.interface == self.number
            && let Some(measured) = self.measured.get_mut(class)
        {
            measured.leave(footprint);
        }
    }

    /// Calls `change` for everything that a footprint is counted in.
    fn each_usage(&mut self, footprint: &Footprint, change: impl Fn(&mut AccountUse)) {
        change(&mut self.usage);
        // A flow is gone without those whose holding priority is worse than a better one.
        let from = footprint.holding_priority.map_or(0, usize::from);
        self.lasting.iter_mut().skip(from).for_each(change);
    }

    /// What is taken without the flows whose holding priority is worse than this; `None` where that is not counted.
    pub(crate) fn lasting(&self, priority: u8) -> Option<&AccountUse> {
        match usize::from(priority) {
            BETTER_PRIORITIES => Some(&self.usage),
            priority => self.lasting.get(priority),
        }
    }

    /// The holders in a class, or without one.
    fn holders_of(&mut self, class: Option<u32>) -> &mut Both<Holders> {
        let place = holders_place(class);
        if place >= self.holders.len() {
            self.holders.resize_with(place + 1, Both::default);
        }
        &mut self.holders[place]
    }

    /// The largest holders of a class, or of the interface, in order: at least three, where there are as many.
    pub(crate) fn most(&self, direction: Direction, class: Option<u32>) -> Vec<ChargedRank> {
        let of = |holders: &Both<Holders>| holders.get(direction).first().copied().collect::<Vec<_>>();
        match class {
            Some(_) => self.holders.get(holders_place(class)).map_or_else(Vec::new, of),
            None => {
                let mut most: Vec<_> = self.holders.iter().flat_map(of).collect();
                most.sort_unstable();
                most
            }
        }
    }

    /// Finds the largest holders again, after flows of a class were booked or unbooked.
    pub(crate) fn tidy(&mut self, class: Option<u32>, (parents, flows): (&Parents, &Flows)) {
        let parent = Some(self.number);
        let is_here = |interface| parents.counts(ChildLink { interface, parent });
        if let Some(holders) = self.holders.get_mut(holders_place(class)) {
            for direction in Direction::BOTH {
                holders
                    .get_mut(direction)
                    .tidy(|held| flows.holds(held, class, direction).is_some_and(is_here));
            }
        }
    }

    /// The same for every class.
    pub(crate) fn tidy_all(&mut self, known: (&Parents, &Flows)) {
        let classes = (0..).take(self.holders.len().saturating_sub(1));
        for class in std::iter::once(None).chain(classes.map(Some)) {
            self.tidy(class, known);
        }
    }

    /// The flows of a class were measured.
    pub(crate) fn measure(&mut self, class: u32, mean: Mean, now: Moment) {
        self.measured.entry(class).or_default().measure(mean, now);
    }

    /// By how much the measured classes for which `counts` holds, of the interface's own flows, take less than they have
    /// declared.
    pub(crate) fn relief(
        &self,
        direction: Direction,
        now: Moment,
        counts: impl Fn(u32, &MeasuredFlows) -> bool,
    ) -> u64 {
        let classes = self.measured.iter().filter(|(class, measured)| counts(**class, measured));
        let relief = classes.map(|(_, measured)| measured.relief(direction, now));
        relief.fold(0, u64::saturating_add)
    }

    /// Whether what was measured of a class stops counting after one moment and by another.
    pub(crate) fn relief_ends_between(&self, before: Moment, now: Moment) -> bool {
        self.measured.values().any(|measured| measured.ends_between(before, now))
    }

    /// What is reserved now, as it was declared.
    pub(crate) fn declared(&self, direction: Direction) -> u64 {
        self.usage.reserved.get(direction).current()
    }

    /// Whether anything is measured of the interface's own flows.
    pub(crate) fn measures(&self) -> bool {
        !self.measured.is_empty()
    }

    /// Time passes. Returns whether a larger capacity counts from now on.
    pub(crate) fn advance(&mut self, now: Moment) -> bool {
        let mut risen = false;
        for direction in Direction::BOTH {
            if let Some((_, capacity)) = self.rising.get_mut(direction).take_if(|(at, _)| *at <= now) {
                *self.capacity.get_mut(direction) = Some(capacity);
                *self.reference_capacity.get_mut(direction) = Some(capacity);
                risen = true;
            }
        }
        self.usage.advance(now);
        self.lasting.iter_mut().for_each(|usage| usage.advance(now));
        risen
    }

    /// The same account with nothing booked.
    pub(crate) fn emptied(&self) -> Self {
        Self {
            number: self.number,
            capacity: self.capacity,
            rising: self.rising,
            reference_capacity: self.reference_capacity,
            mtu: self.mtu,
            seen: self.seen,
            former: self.former.clone(),
            terms: self.terms,
            may_exceed: self.may_exceed,
            unprogrammed: self.unprogrammed,
            usage: self.usage.emptied(),
            lasting: self.lasting.iter().map(AccountUse::emptied).collect(),
            measured: OrderedMap::new(),
            holders: Vec::new(),
            candidates: self.candidates.as_ref().map(Candidates::emptied),
        }
    }

    /// Everything that counts what is booked, side by side with that of another account of this interface.
    pub(crate) fn usages<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = (&'a AccountUse, &'a AccountUse)> {
        std::iter::once((&self.usage, &other.usage)).chain(self.lasting.iter().zip(&other.lasting))
    }

    /// The most that is reserved at any moment from now on; the largest rate where it is more.
    pub(crate) fn reserved_ever(&self, direction: Direction, now: Moment) -> Rate {
        Rate::new(self.usage.reserved.get(direction).highest(Window::from(now), now))
    }

    pub(crate) fn measured_classes(&self) -> impl Iterator<Item = u32> {
        self.measured.keys().copied()
    }

    pub(crate) fn measured_declares(&self, class: u32, direction: Direction) -> u128 {
        self.measured.get(&class).map_or(0, |measured| measured.declares(direction))
    }

    /// The flows that hold the most in a class, or without one.
    pub(crate) fn holders_in(
        &self,
        direction: Direction,
        class: Option<u32>,
    ) -> impl Iterator<Item = ChargedRank> {
        let holders = self.holders.get(holders_place(class));
        holders.into_iter().flat_map(move |holders| holders.get(direction).first().copied())
    }

    /// The flows that can be preempted or shed, least important first.
    pub(crate) fn places(&self) -> impl Iterator<Item = PreemptionPlace> {
        self.candidates.iter().flat_map(Candidates::places)
    }

    /// What is taken, to be changed on trial, and the flows whose end frees something; `None` where no flow can be
    /// preempted or shed.
    pub(crate) const fn usage_and_candidates(&mut self) -> Option<(&mut AccountUse, &Candidates)> {
        match &self.candidates {
            Some(candidates) => Some((&mut self.usage, candidates)),
            None => None,
        }
    }
}

/// The capacity that a policy states; `None` where it is to be read from the kernel.
pub(crate) const fn stated(policy: &InterfacePolicy, direction: Direction) -> Option<Rate> {
    match policy.budget(direction).capacity {
        Capacity::Rate(rate) => Some(rate),
        Capacity::Auto => None,
    }
}

fn holders_place(class: Option<u32>) -> usize {
    class.map_or(0, |class| class as usize + 1)
}

pub(crate) fn capacity(policy: &InterfacePolicy, speed: Option<Rate>) -> Both<Option<Rate>> {
    policy.budgets.map(|budget| match budget.capacity {
        Capacity::Rate(rate) => Some(rate),
        Capacity::Auto => speed,
    })
}
