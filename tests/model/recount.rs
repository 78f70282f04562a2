//! The reservations as plain lists: every sum is counted anew, moment by moment.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeMap;

use flowspec::Qos;
use gqos::policy::GroupMode;

use crate::FOREVER;
use crate::clients::Requests;
use crate::policy::{CAPACITY, Class, Variant, budget, wire_budget};
use crate::waiting::Waiter;

/// What a flow takes in one direction: rates in bytes per second, sizes in bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Charge {
    pub(crate) rate: u64,
    pub(crate) buffer: u64,
    pub(crate) bucket: u64,
    pub(crate) token_rate: u64,
    /// The most that a measured flow sends; zero for a flow that is not measured.
    pub(crate) peak: u64,
    /// Whether it is for controlled load.
    pub(crate) is_load: bool,
}

impl Charge {
    /// A charge that covers both.
    pub(crate) fn larger(&self, other: &Self) -> Self {
        Self {
            rate: self.rate.max(other.rate),
            buffer: self.buffer.max(other.buffer),
            bucket: self.bucket.max(other.bucket),
            token_rate: self.token_rate.max(other.token_rate),
            peak: self.peak.max(other.peak),
            is_load: self.is_load || other.is_load,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) id: String,
    pub(crate) order: u64,
    /// The place of its interface in [`LINKS`](crate::policy::LINKS).
    pub(crate) link: usize,
    pub(crate) class: Option<String>,
    pub(crate) client: Option<String>,
    pub(crate) group: Option<String>,
    /// Sending first.
    pub(crate) charges: [Charge; 2],
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) deadline: Option<u64>,
    pub(crate) holding: u8,
    pub(crate) qos: Qos,
    /// Since when its peer is silent, and accepts nothing.
    pub(crate) silent: Option<u64>,
    pub(crate) stalled: Option<u64>,
}

impl Flow {
    pub(crate) fn is_active(&self, moment: u64) -> bool {
        self.start <= moment && moment < self.end
    }

    pub(crate) fn is_in(&self, group: &str) -> bool {
        self.group.as_deref() == Some(group)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) mode: GroupMode,
    pub(crate) class: Option<String>,
    pub(crate) charges: [Charge; 2],
    pub(crate) bucket: [Option<u64>; 2],
    pub(crate) token_rate: [Option<u64>; 2],
    /// Directions without limits for the members.
    pub(crate) unlimited: [bool; 2],
    pub(crate) start: u64,
    /// The group ends with its last member.
    pub(crate) closing: bool,
}

#[derive(Clone)]
pub(crate) struct Recount {
    pub(crate) variant: Variant,
    /// The interface whose sums are counted.
    link: usize,
    pub(crate) now: u64,
    /// The number of flows and groups so far.
    pub(crate) order: u64,
    pub(crate) capacity: [u64; 2],
    /// All classes, with class gold where the policy does not have it now.
    classes: BTreeMap<&'static str, Class>,
    pub(crate) flows: Vec<Flow>,
    pub(crate) groups: BTreeMap<String, Group>,
    /// The flows that wait, in order.
    pub(crate) waiting: Vec<Waiter>,
    /// What is left of each client's requests.
    pub(crate) requests: BTreeMap<String, Requests>,
    /// The latest measured means of class silver.
    samples: Vec<[u64; 2]>,
    /// Flows that began before this are measured.
    pub(crate) measured_since: Option<u64>,
    /// The end of the time in which the measurements count.
    pub(crate) measured_until: u64,
}

impl Recount {
    pub(crate) fn new(variant: Variant) -> Self {
        Self {
            variant,
            link: 0,
            now: 0,
            order: 0,
            capacity: CAPACITY,
            classes: variant.classes(),
            flows: Vec::new(),
            groups: BTreeMap::new(),
            waiting: Vec::new(),
            requests: BTreeMap::new(),
            samples: Vec::new(),
            measured_since: None,
            measured_until: 0,
        }
    }

    /// A class that the policy has now, with its name.
    pub(crate) fn class(&self, name: Option<&str>) -> Option<(&'static str, &Class)> {
        let (name, class) = self.classes.get_key_value(name?)?;
        (*name != "gold" || self.variant.has_gold).then_some((name, class))
    }

    /// A class as the policy has it, or had it last.
    pub(crate) fn settings(&self, name: Option<&str>) -> Option<&Class> {
        name.map(|name| &self.classes[name])
    }

    pub(crate) fn stated_classes(&self) -> impl Iterator<Item = &Class> {
        self.classes.keys().filter_map(|name| self.class(Some(name))).map(|(_, class)| class)
    }

    /// Another policy: what is reserved stays, and what was measured or requested is forgotten.
    pub(crate) fn reload(&mut self, variant: Variant) {
        (self.variant, self.classes) = (variant, variant.classes());
        self.requests.clear();
        (self.measured_until, self.measured_since) = (0, None);
        if !variant.measured {
            let charges = self.flows.iter_mut().flat_map(|flow| &mut flow.charges);
            charges.for_each(|charge| charge.peak = 0);
        }
    }

    pub(crate) fn remove(&mut self, id: &str) -> bool {
        let Some(at) = self.flows.iter().position(|flow| flow.id == id) else { return false };
        if let Some(group) = self.flows.remove(at).group {
            self.end_if_empty(&group);
        }
        true
    }

    /// Ends a group once its last member has left. Returns whether there is such a group.
    pub(crate) fn ungroup(&mut self, id: &str) -> bool {
        let Some(group) = self.groups.get_mut(id) else { return false };
        group.closing = true;
        self.end_if_empty(id);
        true
    }

    fn end_if_empty(&mut self, id: &str) {
        let is_empty = !self.flows.iter().any(|flow| flow.is_in(id));
        if is_empty && self.groups.get(id).is_some_and(|group| group.closing) {
            self.groups.remove(id);
        }
    }

    pub(crate) fn measure(&mut self, window: u64, rate: [u64; 2]) {
        if self.now >= self.measured_until {
            self.samples.clear();
        }
        self.samples.push(rate);
        if self.samples.len() > 10 {
            self.samples.remove(0);
        }
        let since = self.now.saturating_sub(window);
        self.measured_since = self.measured_since.max(Some(since));
        self.measured_until = self.now + 3 * (self.now - since);
    }

    /// The rate that class silver declares and was measured not to use, where `counts` holds for that class.
    pub(crate) fn unused(&self, direction: usize, counts: impl Fn(Option<&str>) -> bool) -> u64 {
        if self.now >= self.measured_until || !counts(Some("silver")) {
            return 0;
        }
        // The first interface alone is measured.
        if !self.counts(0) {
            return 0;
        }
        let measured = |flow: &&Flow| {
            let peak = flow.charges[direction].peak;
            let is_measured = flow.link == 0 && flow.group.is_none() && flow.end == FOREVER && peak > 0;
            is_measured && Some(flow.start) <= self.measured_since
        };
        let charges: Vec<_> =
            self.flows.iter().filter(measured).map(|flow| flow.charges[direction]).collect();
        let declared: u64 = charges.iter().map(|charge| charge.rate).sum();
        let squares: u128 = charges.iter().map(|charge| u128::from(charge.peak).pow(2)).sum();
        let margin = square_root((squares * 6_907_756).div_ceil(1_000_000));
        let mean = self.samples.iter().map(|sample| sample[direction]).max().unwrap();
        let taken = (mean + margin).max((declared * 2).div_ceil(3)).min(declared);
        declared - taken
    }

    pub(crate) fn budget(&self, direction: usize) -> u64 {
        match self.link {
            0 => budget(direction, self.capacity[direction]),
            _ => wire_budget(direction),
        }
    }

    /// The same reservations with the sums of another interface.
    pub(crate) fn on(&self, link: usize) -> Cow<'_, Self> {
        match link == self.link {
            true => Cow::Borrowed(self),
            false => Cow::Owned(Self { link, ..self.clone() }),
        }
    }

    /// Whether the interface whose sums are counted is this one.
    pub(crate) const fn is_on(&self, link: usize) -> bool {
        self.link == link
    }

    /// Whether what is reserved of an interface is in the sums.
    pub(crate) const fn counts(&self, link: usize) -> bool {
        link == self.link || (link < self.link && self.variant.has_parent)
    }

    /// The interfaces that a flow takes something of, its own first.
    pub(crate) fn wire(&self, link: usize) -> impl Iterator<Item = usize> {
        let has_parent = self.variant.has_parent;
        (link..2).filter(move |below| *below == link || has_parent)
    }

    /// What a group takes of the interface at a moment: its own charge, or that of its largest member.
    pub(crate) fn group_takes(
        &self,
        id: &str,
        moment: u64,
        direction: usize,
        what: fn(&Charge) -> u64,
    ) -> u64 {
        let group = &self.groups[id];
        let charge = |flow: &Flow| what(&flow.charges[direction]);
        match group.mode {
            GroupMode::Envelope => what(&group.charges[direction]),
            GroupMode::Shared => {
                let members = self.flows.iter().filter(|flow| flow.is_in(id) && flow.is_active(moment));
                members.map(charge).max().unwrap_or(0)
            }
        }
    }

    /// The sum of what all flows and groups take at a moment, of the classes for which `counts` holds.
    fn sum(
        &self,
        moment: u64,
        direction: usize,
        counts: impl Fn(Option<&str>) -> bool,
        what: fn(&Charge) -> u64,
    ) -> u64 {
        let flows = self.flows.iter().filter(|flow| flow.group.is_none() && flow.is_active(moment));
        let flows = flows.filter(|flow| self.counts(flow.link) && counts(flow.class.as_deref()));
        let groups = self.groups.iter().filter(|(_, group)| self.counts(0) && group.start <= moment);
        let groups = groups.filter(|(_, group)| counts(group.class.as_deref()));
        let of_flows: u64 = flows.map(|flow| what(&flow.charges[direction])).sum();
        let of_groups: u64 = groups.map(|(id, _)| self.group_takes(id, moment, direction, what)).sum();
        of_flows + of_groups
    }

    pub(crate) fn rate(&self, moment: u64, direction: usize, counts: impl Fn(Option<&str>) -> bool) -> u64 {
        self.sum(moment, direction, counts, |charge| charge.rate)
    }

    pub(crate) fn buffer(&self, moment: u64, direction: usize) -> u64 {
        self.sum(moment, direction, |_| true, |charge| charge.buffer)
    }

    /// The moments of a window at which something begins or ends, and its start: between them nothing changes.
    pub(crate) fn moments(&self, start: u64, end: u64) -> impl Iterator<Item = u64> {
        let of_flows = self.flows.iter().flat_map(|flow| [flow.start, flow.end]);
        let of_groups = self.groups.values().map(|group| group.start);
        let inside = of_flows.chain(of_groups).filter(move |moment| start < *moment && *moment < end);
        std::iter::once(start).chain(inside)
    }

    /// The largest value within a window.
    pub(crate) fn largest(&self, start: u64, end: u64, value: impl Fn(u64) -> u64) -> u64 {
        self.moments(start, end).map(value).max().unwrap_or(0)
    }

    /// The ids of the flows for which `is_wanted` holds, the least important one first. Groups are not preempted.
    pub(crate) fn candidates(&self, is_wanted: impl Fn(&Flow) -> bool) -> Vec<String> {
        let flows = self.flows.iter().filter(|flow| flow.group.is_none() && is_wanted(flow));
        let mut candidates: Vec<_> = flows.collect();
        candidates.sort_by_key(|flow| (Reverse(flow.holding), Reverse(flow.order)));
        candidates.iter().map(|flow| flow.id.clone()).collect()
    }

    /// The fewest of the first candidates without which `holds` holds, less those that need not go.
    pub(crate) fn victims(
        &self,
        candidates: &[String],
        holds: impl Fn(&Self) -> bool,
    ) -> Option<Vec<String>> {
        let holds_without = |victims: &[String]| {
            let mut rest = self.clone();
            rest.flows.retain(|flow| !victims.contains(&flow.id));
            holds(&rest)
        };
        let needed = (1..=candidates.len()).find(|&count| holds_without(&candidates[..count]))?;
        let mut victims = candidates[..needed].to_vec();
        for index in (0..needed - 1).rev() {
            let mut fewer = victims.clone();
            fewer.remove(index);
            if holds_without(&fewer) {
                victims = fewer;
            }
        }
        Some(victims)
    }

    /// Returns the ids of the flows that are shed.
    pub(crate) fn set_capacity(&mut self, direction: usize, capacity: u64) -> Vec<String> {
        self.capacity[direction] = capacity;
        let fits = |recount: &Self| {
            let declared = recount.largest(recount.now, FOREVER, |at| recount.rate(at, direction, |_| true));
            declared - recount.unused(direction, |_| true) <= recount.budget(direction)
        };
        if !self.variant.shed || fits(self) {
            return Vec::new();
        }
        let candidates = self.candidates(|flow| flow.link == 0 && flow.charges[direction].rate > 0);
        let victims = self.victims(&candidates, fits).unwrap_or(candidates);
        for id in &victims {
            self.lose(id);
        }
        victims
    }

    /// A flow is lost to others: it does not wait for more either.
    pub(crate) fn lose(&mut self, id: &str) {
        self.remove(id);
        self.leave(id);
    }
}

/// Rounded up, by bisection.
fn square_root(square: u128) -> u64 {
    let (mut low, mut high) = (0u128, 1 << 60);
    while low < high {
        let middle = (low + high) / 2;
        if middle * middle >= square {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low as u64
}
