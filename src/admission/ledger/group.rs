//! Groups: one reservation that several flows share (lpGQOS).

use std::collections::{BTreeMap, BTreeSet};

use flowspec::{Both, Bytes, Direction, Moment, Peak, Qos, Rate, TSpec};

use crate::admission::account::charge::{Charge, reserves_nothing};
use crate::admission::account::footprint::Footprint;
use crate::admission::account::profile::Profile;
use crate::admission::account::window::Window;
use crate::admission::limits::GroupLimit;
use crate::admission::refusal::Refusal;
use crate::policy::GroupMode;

/// A group, and what its members take of it.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) interface: String,
    pub(crate) mode: GroupMode,
    /// The group's QOS: in an envelope, the sum that the members stay within; in a shared group, the most that a member
    /// may request.
    qos: Qos,
    /// The charge of the group's own flowspec.
    charge: Charge,
    /// What is booked for it.
    pub(crate) footprint: Footprint,
    /// By slot.
    members: BTreeMap<u32, Member>,
    sums: Both<Sums>,
    /// Whether it ends with its last member.
    pub(crate) closing: bool,
}

/// What a member takes of its group.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Member {
    pub(crate) charge: Charge,
    pub(crate) window: Window,
}

/// The sums over the members of an envelope.
#[derive(Clone, Debug, Default)]
struct Sums {
    /// R, which is what is charged.
    charged: Profile,
    token_rate: Profile,
    token_bucket_size: Profile,
    peak_bandwidth: Profile,
}

impl Group {
    pub(crate) fn new(
        interface: &str,
        mode: GroupMode,
        qos: Qos,
        charge: Charge,
        footprint: Footprint,
    ) -> Self {
        let sums = Both::default();
        let interface = interface.to_owned();
        Self { interface, mode, qos, charge, footprint, members: BTreeMap::new(), sums, closing: false }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(crate) fn join(&mut self, slot: u32, member: Member, now: Moment) {
        self.count(&member, |profile, amount| profile.book(amount, member.window, now));
        self.members.insert(slot, member);
    }

    pub(crate) fn leave(&mut self, slot: u32, now: Moment) -> Option<Member> {
        let member = self.members.remove(&slot)?;
        self.count(&member, |profile, amount| profile.unbook(amount, member.window, now));
        Some(member)
    }

    /// The moments at which something of it begins or ends.
    pub(crate) fn moments(&self) -> Vec<Moment> {
        let of = |direction| {
            let Sums { charged, token_rate, token_bucket_size, peak_bandwidth } = self.sums.get(direction);
            [charged, token_rate, token_bucket_size, peak_bandwidth].map(Profile::moments)
        };
        Direction::BOTH.into_iter().flat_map(of).flatten().collect()
    }

    pub(crate) fn advance(&mut self, now: Moment) {
        for direction in Direction::BOTH {
            let Sums { charged, token_rate, token_bucket_size, peak_bandwidth } =
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

    /// Whether a member fits that is not counted yet.
    ///
    /// Envelope: the sum of the members' rates and of their TSpecs stays within the group's, in the fields
    /// that the group's flowspec gives. Shared: a member requests no more than the group's flowspec.
    pub(crate) fn check(&self, group: &str, member: &Member, now: Moment) -> Result<(), Refusal> {
        for direction in Direction::BOTH {
            let Some(tspec) = member.charge.tspec.get(direction) else { continue };
            // A shared group without a flowspec limits its members in nothing.
            if self.mode == GroupMode::Shared && reserves_nothing(self.qos.get(direction)) {
                continue;
            }
            let group = || group.to_owned();
            self.check_sizes(direction, tspec).map_err(|(limit, asked, most)| Refusal::GroupBudget {
                group: group(),
                direction,
                limit,
                asked,
                taken: 0,
                most,
            })?;
            for (limit, asked, most, sum) in self.limits(direction, tspec, member) {
                // The members of a shared group do not add up.
                let taken = match self.mode {
                    GroupMode::Envelope => sum.highest(member.window, now),
                    GroupMode::Shared => 0,
                };
                if let Some(most) = most
                    && taken.checked_add(asked).is_none_or(|sum| sum > most)
                {
                    return Err(Refusal::GroupBudget {
                        group: group(),
                        direction,
                        limit,
                        asked,
                        taken,
                        most,
                    });
                }
            }
        }
        Ok(())
    }

    /// Whether a member's packets are within the sizes of the group's flowspec; else what it requests, and the limit.
    fn check_sizes(&self, direction: Direction, tspec: &TSpec) -> Result<(), (GroupLimit, u64, u64)> {
        let spec = self.qos.get(direction);
        let (largest, smallest) = (tspec.max_sdu_size(), tspec.minimum_policed_size());
        if let Some(most) = spec.max_sdu_size.filter(|most| largest > *most) {
            return Err((GroupLimit::MaxSduSize, largest.get(), most.get()));
        }
        if let Some(least) = spec.minimum_policed_size.filter(|least| smallest < *least) {
            return Err((GroupLimit::MinimumPolicedSize, smallest.get(), least.get()));
        }
        Ok(())
    }

    /// What a member requests of each of the group's limits, the limit where there is one, and the members' sum.
    fn limits(
        &self,
        direction: Direction,
        tspec: &TSpec,
        member: &Member,
    ) -> [(GroupLimit, u64, Option<u64>, &Profile); 4] {
        let (spec, sums) = (self.qos.get(direction), self.sums.get(direction));
        let charged = member.charge.rate.get(direction).get();
        let most_charged = self.charge.rate.get(direction).get();
        let peak = match tspec.peak_bandwidth() {
            Peak::Finite(peak) => peak.get(),
            Peak::Infinite => u64::MAX,
        };
        let most_peak = match spec.peak_bandwidth {
            Some(Peak::Finite(peak)) => Some(peak.get()),
            Some(Peak::Infinite) | None => None,
        };
        let (rate, bucket) = (tspec.token_rate().get(), tspec.token_bucket_size().get());
        let (most_rate, most_bucket) =
            (spec.token_rate.map(Rate::get), spec.token_bucket_size.map(Bytes::get));
        [
            (GroupLimit::Rate, charged, Some(most_charged), &sums.charged),
            (GroupLimit::TokenRate, rate, most_rate, &sums.token_rate),
            (GroupLimit::TokenBucketSize, bucket, most_bucket, &sums.token_bucket_size),
            (GroupLimit::PeakBandwidth, peak, most_peak, &sums.peak_bandwidth),
        ]
    }

    /// Whether the members would fit another flowspec for the group.
    pub(crate) fn check_members(&self, group: &str, changed: &Self, now: Moment) -> Result<(), Refusal> {
        let mut counted = Self { members: BTreeMap::new(), sums: Both::default(), ..changed.clone() };
        for (slot, member) in &self.members {
            counted.check(group, member, now)?;
            counted.join(*slot, member.clone(), now);
        }
        Ok(())
    }

    /// The same group with another flowspec, its members kept.
    pub(crate) fn with_members_of(mut self, other: Self) -> Self {
        (self.members, self.sums) = (other.members, other.sums);
        self
    }

    /// What the interface is to be charged: the group's own charge, or the largest member's.
    pub(crate) fn due(&self, with: Option<&Member>) -> (Both<Rate>, Both<Bytes>) {
        if self.mode == GroupMode::Envelope {
            return (self.charge.rate, self.charge.buffer);
        }
        let (mut rate, mut buffer) = (Both::default(), Both::default());
        for member in self.members.values().chain(with) {
            for direction in Direction::BOTH {
                let largest: &mut Rate = rate.get_mut(direction);
                *largest = (*largest).max(*member.charge.rate.get(direction));
                let largest: &mut Bytes = buffer.get_mut(direction);
                *largest = (*largest).max(*member.charge.buffer.get(direction));
            }
        }
        (rate, buffer)
    }

    /// Asserts that the members are these, and that the sums are theirs.
    pub(crate) fn invariants(&self, name: &str, members: &BTreeSet<u32>, now: Moment) {
        let kept: BTreeSet<_> = self.members.keys().copied().collect();
        assert_eq!(kept, *members, "group {name}: its members");
        let mut counted = Self { members: BTreeMap::new(), sums: Both::default(), ..self.clone() };
        for (slot, member) in &self.members {
            counted.join(*slot, member.clone(), now);
        }
        for direction in Direction::BOTH {
            let over_time = |group: &Self| {
                let Sums { charged, token_rate, token_bucket_size, peak_bandwidth } =
                    group.sums.get(direction);
                [charged, token_rate, token_bucket_size, peak_bandwidth].map(Profile::over_time)
            };
            assert_eq!(over_time(self), over_time(&counted), "group {name} {direction}: its members' sums");
        }
        let due = self.due(None);
        assert_eq!((self.footprint.charged, self.footprint.buffer), due, "group {name}: what it is charged");
    }

    /// A member, as it is counted.
    pub(crate) fn member(&self, slot: u32) -> Option<&Member> {
        self.members.get(&slot)
    }

    /// What the members are charged together now.
    pub(crate) fn spent(&self, direction: Direction) -> Rate {
        match self.mode {
            GroupMode::Envelope => Rate::new(self.sums.get(direction).charged.current()),
            GroupMode::Shared => *self.footprint.charged.get(direction),
        }
    }
}
