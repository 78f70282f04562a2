//! Groups: one reservation that several flows share (lpGQOS).

use flowspec::{Both, Bytes, Direction, Moment, Peak, Qos, Rate, TSpec};

use crate::admission::account::charge::{Charge, reserves_nothing};
use crate::admission::account::entry::Entry;
use crate::admission::account::footprint::Footprint;
use crate::admission::account::profile::Profile;
use crate::admission::account::steps::{self, Largest, TakenStep};
use crate::admission::account::window::Window;
use crate::admission::limits::{GroupAmount, GroupLimit};
use crate::admission::refusal::Refusal;
use crate::ordered::{OrderedMap, OrderedSet};
use crate::policy::GroupMode;

/// A group, and what its members take of it.
#[derive(Clone, Debug)]
pub(crate) struct LedgerGroup {
    pub(crate) interface: String,
    pub(crate) mode: GroupMode,
    /// The group's QOS: in an envelope, the sum that the members stay within; in a shared group, the most that a member
    /// may request.
    qos: Qos,
    /// The charge of the group's own flowspec.
    charge: Charge,
    /// The charge before a reload to a flowspec that the members exceed together, which stays until they fit.
    outgrown: Option<Charge>,
    /// What is booked for it.
    pub(crate) footprint: Footprint,
    /// By slot.
    members: OrderedMap<u32, Member>,
    sums: Both<MemberSums>,
    largest: LargestMembers,
    /// Whether it ends with its last member.
    pub(crate) closing: bool,
}

/// The largest member at each moment, which is what a shared group is charged.
#[derive(Clone, Debug, Default)]
struct LargestMembers {
    charged: Both<Largest>,
    buffer: Both<Largest>,
}

/// What a member takes of its group.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Member {
    pub(crate) charge: Charge,
    pub(crate) window: Window,
}

impl Member {
    /// What a flow takes of its group for this charge; `None` where it has none.
    pub(crate) fn of(entry: &Entry, charge: &Charge) -> Option<Box<Self>> {
        entry.group.as_ref().map(|_| Box::new(Self { charge: *charge, window: entry.footprint.window }))
    }
}

/// The sums over the members of an envelope.
#[derive(Clone, Debug, Default)]
struct MemberSums {
    /// R, which is what is charged.
    charged: Profile,
    token_rate: Profile,
    token_bucket_size: Profile,
    peak_bandwidth: Profile,
}

impl LedgerGroup {
    pub(crate) fn new(
        interface: &str,
        mode: GroupMode,
        qos: Qos,
        charge: Charge,
        footprint: Footprint,
    ) -> Self {
        Self {
            interface: interface.to_owned(),
            mode,
            qos,
            charge,
            outgrown: None,
            footprint,
            members: OrderedMap::new(),
            sums: Both::default(),
            largest: LargestMembers::default(),
            closing: false,
        }
    }

    /// The same definition without members.
    fn emptied(&self) -> Self {
        let (sums, largest) = (Both::default(), LargestMembers::default());
        Self { members: OrderedMap::new(), sums, largest, ..self.clone() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(crate) fn join(&mut self, slot: u32, member: Member, now: Moment) {
        self.count(&member, |profile, amount| profile.book(amount, member.window, now));
        if self.mode == GroupMode::Shared {
            self.largest.each(&member, |largest, amount| largest.insert(slot, amount, member.window));
        }
        self.members.insert(slot, member);
    }

    pub(crate) fn leave(&mut self, slot: u32, now: Moment) -> Option<Member> {
        let member = self.members.remove(&slot)?;
        self.count(&member, |profile, amount| profile.unbook(amount, member.window, now));
        self.largest.each(&member, |largest, amount| largest.remove(slot, amount, member.window));
        Some(member)
    }

    /// Where the members fit the group's flowspec again, it is charged no more than that.
    pub(crate) fn shrink(&mut self, now: Moment) {
        if self.outgrown.is_some() && self.holds_members(now) {
            self.outgrown = None;
        }
    }

    /// The first moment after this one, which is not before now, at which something of it begins or ends.
    pub(crate) fn next_change(&self, moment: Moment) -> Option<Moment> {
        let of = |direction| {
            let MemberSums { charged, token_rate, token_bucket_size, peak_bandwidth } =
                self.sums.get(direction);
            [charged, token_rate, token_bucket_size, peak_bandwidth]
        };
        let profiles = Direction::BOTH.into_iter().flat_map(of);
        profiles.filter_map(|profile| profile.next_change(moment)).min()
    }

    pub(crate) fn advance(&mut self, now: Moment) {
        for direction in Direction::BOTH {
            let MemberSums { charged, token_rate, token_bucket_size, peak_bandwidth } =
                self.sums.get_mut(direction);
            for profile in [charged, token_rate, token_bucket_size, peak_bandwidth] {
                profile.advance(now);
            }
        }
    }

    fn count(&mut self, member: &Member, mut change: impl FnMut(&mut Profile, u64)) {
        for direction in Direction::BOTH {
            let sums = self.sums.get_mut(direction);
            change(&mut sums.charged, member.charge.rate.get(direction).get());
            if let Some(tspec) = member.charge.tspec.get(direction) {
                change(&mut sums.token_rate, tspec.token_rate().get());
                change(&mut sums.token_bucket_size, tspec.token_bucket_size().get());
                if let Peak::Finite(peak) = tspec.peak_bandwidth() {
                    change(&mut sums.peak_bandwidth, peak.get());
                }
            }
        }
    }

    /// Whether a member that is not counted yet fits. `before` is what it had, which is not counted either: no limit
    /// refuses a demand of at most that.
    ///
    /// Envelope: the sum of the members' rates and of their TSpecs stays within the group's, in the fields
    /// that the group's flowspec gives. Shared: a member requests no more than the group's flowspec.
    pub(crate) fn check(
        &self,
        group: &str,
        member: &Member,
        before: Option<&Member>,
        now: Moment,
    ) -> Result<(), Refusal> {
        for direction in Direction::BOTH {
            let Some(tspec) = member.charge.tspec.get(direction) else { continue };
            // A shared group without a flowspec limits its members in nothing.
            if self.mode == GroupMode::Shared && reserves_nothing(self.qos.get(direction)) {
                continue;
            }
            let group = || group.to_owned();
            let before = before.and_then(|before| {
                let tspec = before.charge.tspec.get(direction).as_ref()?;
                Some((tspec, requested(direction, tspec, before)))
            });
            let sizes = self.check_sizes(direction, tspec, before.map(|(tspec, _)| tspec));
            sizes.map_err(|(limit, asked, most)| Refusal::GroupBudget {
                group: group(),
                direction,
                limit,
                asked: GroupAmount::Size(asked),
                taken: GroupAmount::Size(Bytes::ZERO),
                most: GroupAmount::Size(most),
                from: None,
            })?;
            let asked = requested(direction, tspec, member);
            for (place, (limit, most, sum)) in self.limits(direction).into_iter().enumerate() {
                let asked = asked[place];
                let is_no_more = |before: Option<u64>| match (asked, before) {
                    (_, None) => true,
                    (None, Some(_)) => false,
                    (Some(asked), Some(before)) => asked <= before,
                };
                if before.is_some_and(|(_, before)| is_no_more(before[place])) {
                    continue;
                }
                // The members of a shared group do not add up.
                let (taken, from) = match self.mode {
                    GroupMode::Envelope => sum.first_highest(member.window, now),
                    GroupMode::Shared => (0, None),
                };
                if let Some(most) = most
                    && asked.and_then(|asked| taken.checked_add(asked)).is_none_or(|sum| sum > most)
                {
                    return Err(Refusal::GroupBudget {
                        group: group(),
                        direction,
                        limit,
                        asked: limit.amount(asked),
                        taken: limit.amount(Some(taken)),
                        most: limit.amount(Some(most)),
                        from,
                    });
                }
            }
        }
        Ok(())
    }

    /// Whether a member's packets are within the sizes of the group's flowspec; else what it requests, and the limit.
    fn check_sizes(
        &self,
        direction: Direction,
        tspec: &TSpec,
        before: Option<&TSpec>,
    ) -> Result<(), (GroupLimit, Bytes, Bytes)> {
        let spec = self.qos.get(direction);
        let (largest, smallest) = (tspec.max_sdu_size(), tspec.minimum_policed_size());
        let grows = before.is_none_or(|before| largest > before.max_sdu_size());
        if let Some(most) = spec.max_sdu_size.filter(|most| grows && largest > *most) {
            return Err((GroupLimit::MaxSduSize, largest, most));
        }
        let falls = before.is_none_or(|before| smallest < before.minimum_policed_size());
        if let Some(least) = spec.minimum_policed_size.filter(|least| falls && smallest < *least) {
            return Err((GroupLimit::MinimumPolicedSize, smallest, least));
        }
        Ok(())
    }

    /// Each of the group's limits, and the sum of what its members request of it.
    fn limits(&self, direction: Direction) -> [(GroupLimit, Option<u64>, &Profile); 4] {
        let (spec, sums) = (self.qos.get(direction), self.sums.get(direction));
        let most_charged = self.charge.rate.get(direction).get();
        let most_peak = match spec.peak_bandwidth {
            Some(Peak::Finite(peak)) => Some(peak.get()),
            Some(Peak::Infinite) | None => None,
        };
        let (most_rate, most_bucket) =
            (spec.token_rate.map(Rate::get), spec.token_bucket_size.map(Bytes::get));
        [
            (GroupLimit::Rate, Some(most_charged), &sums.charged),
            (GroupLimit::TokenRate, most_rate, &sums.token_rate),
            (GroupLimit::TokenBucketSize, most_bucket, &sums.token_bucket_size),
            (GroupLimit::PeakBandwidth, most_peak, &sums.peak_bandwidth),
        ]
    }

    /// Whether the members would fit another flowspec for the group.
    pub(crate) fn check_members(&self, group: &str, changed: &Self, now: Moment) -> Result<(), Refusal> {
        let mut counted = changed.emptied();
        for (slot, member) in &self.members {
            counted.check(group, member, None, now)?;
            counted.join(*slot, member.clone(), now);
        }
        Ok(())
    }

    /// Whether the members' sums are within the group's flowspec.
    fn holds_members(&self, now: Moment) -> bool {
        let always = Window::from(now);
        self.mode == GroupMode::Shared
            || Direction::BOTH.iter().all(|&direction| {
                let limits = self.limits(direction);
                limits.iter().all(|(_, most, sum)| most.is_none_or(|most| sum.highest(always, now) <= most))
            })
    }

    /// The same group with another flowspec, its members kept.
    pub(crate) fn with_members_of(mut self, other: Self) -> Self {
        (self.members, self.sums, self.largest) = (other.members, other.sums, other.largest);
        self
    }

    /// The same group with another flowspec by a new policy, its members kept. Where they exceed it together, the group
    /// is charged what it was until they fit.
    pub(crate) fn by_policy_with_members_of(self, other: Self, now: Moment) -> Self {
        let before = other.outgrown.map_or(other.charge, |outgrown| outgrown.larger(&other.charge));
        let changed = self.with_members_of(other);
        let outgrown = (!changed.holds_members(now)).then_some(before);
        Self { outgrown, ..changed }
    }

    /// What the interface is to be charged: the group's own charge, or at each moment that of the largest member.
    pub(crate) fn due(&self, with: Option<&Member>, now: Moment) -> Footprint {
        let booked = &self.footprint;
        if self.mode == GroupMode::Envelope {
            let charge = self.outgrown.map_or(self.charge, |outgrown| outgrown.larger(&self.charge));
            return Footprint { charged: charge.rate, buffer: charge.buffer, ..booked.clone() };
        }
        let steps = self.largest.steps(with, now);
        let (mut charged, mut buffer) = (Both::<Rate>::default(), Both::<Bytes>::default());
        for step in &steps {
            for direction in Direction::BOTH {
                let largest = charged.get_mut(direction);
                *largest = (*largest).max(*step.charged.get(direction));
                let largest = buffer.get_mut(direction);
                *largest = (*largest).max(*step.buffer.get(direction));
            }
        }
        Footprint { charged, buffer, steps: Some(steps.into()), ..booked.clone() }
    }

    /// Whether what is booked is the same as a footprint, from now on.
    pub(crate) fn is_booked_as(&self, due: &Footprint, now: Moment) -> bool {
        let booked = &self.footprint;
        (booked.charged, booked.buffer) == (due.charged, due.buffer)
            && match (&booked.steps, &due.steps) {
                (None, None) => true,
                (Some(booked), Some(due)) => steps::are_same(booked, due, now),
                _ => false,
            }
    }

    /// Whether it is charged more than its flowspec, since its members exceed that.
    pub(crate) const fn is_outgrown(&self) -> bool {
        self.outgrown.is_some()
    }

    /// Asserts that the members are these, and that the sums are theirs.
    pub(crate) fn invariants(&self, name: &str, members: &OrderedSet<u32>, now: Moment) {
        let kept: OrderedSet<_> = self.members.keys().copied().collect();
        assert_eq!(kept, *members, "group {name}: its members");
        let mut counted = self.emptied();
        for (slot, member) in &self.members {
            counted.join(*slot, member.clone(), now);
        }
        for direction in Direction::BOTH {
            let over_time = |group: &Self| {
                let MemberSums { charged, token_rate, token_bucket_size, peak_bandwidth } =
                    group.sums.get(direction);
                [charged, token_rate, token_bucket_size, peak_bandwidth].map(Profile::over_time)
            };
            assert_eq!(over_time(self), over_time(&counted), "group {name} {direction}: its members' sums");
        }
        let due = counted.due(None, now);
        assert!(self.is_booked_as(&due, now), "group {name}: {:?} is booked, {due:?} is due", self.footprint);
    }

    pub(crate) fn member(&self, slot: u32) -> Option<&Member> {
        self.members.get(&slot)
    }

    /// What the members are charged together now.
    pub(crate) fn members_charge(&self, direction: Direction, now: Moment) -> Rate {
        let Some(steps) = &self.footprint.steps else {
            return Rate::new(self.sums.get(direction).charged.current());
        };
        let is_now = |step: &&TakenStep| step.window.start <= now && step.window.ends_after(now);
        steps.iter().find(is_now).map_or(Rate::ZERO, |step| *step.charged.get(direction))
    }
}

impl LargestMembers {
    fn each(&mut self, member: &Member, mut change: impl FnMut(&mut Largest, u64)) {
        for direction in Direction::BOTH {
            change(self.charged.get_mut(direction), member.charge.rate.get(direction).get());
            change(self.buffer.get_mut(direction), member.charge.buffer.get(direction).get());
        }
    }

    fn steps(&self, with: Option<&Member>, now: Moment) -> Vec<TakenStep> {
        let steps = |direction: Direction| {
            let charged = with.map(|with| (with.charge.rate.get(direction).get(), with.window));
            let buffer = with.map(|with| (with.charge.buffer.get(direction).get(), with.window));
            let (charges, buffers) = (self.charged.get(direction), self.buffer.get(direction));
            (charges.steps(charged, now), buffers.steps(buffer, now))
        };
        let (sending, receiving) = (steps(Direction::Sending), steps(Direction::Receiving));
        let charged = Both { sending: sending.0, receiving: receiving.0 };
        steps::together(&charged, &Both { sending: sending.1, receiving: receiving.1 })
    }
}

/// What a member requests of each of a group's limits, in their order; `None` is an infinite peak.
const fn requested(direction: Direction, tspec: &TSpec, member: &Member) -> [Option<u64>; 4] {
    let peak = match tspec.peak_bandwidth() {
        Peak::Finite(peak) => Some(peak.get()),
        Peak::Infinite => None,
    };
    let charged = member.charge.rate.get(direction).get();
    [Some(charged), Some(tspec.token_rate().get()), Some(tspec.token_bucket_size().get()), peak]
}
