//! Which flows are preempted for a newcomer: the least important ones that free enough, without those that can stay.
//!
//! Flows that last until they are released are not examined one by one: sums over them, in the order of their
//! importance, show how many free enough, and how many of those can stay. The search costs O(log n) for each flow that
//! is preempted, and for each flow with a window that comes before the last of them and counts against a limit that the
//! newcomer exceeds.

use flowspec::Moment;

use crate::admission::account::candidates::{BindingLimit, Candidates};
use crate::admission::account::flows::Flows;
use crate::admission::account::footprint::Footprint;
use crate::admission::account::parents::{ChildLink, Parents};
use crate::admission::account::place::PreemptionPlace;
use crate::admission::account::usage::AccountUse;
use crate::ordered::OrderedMap;

/// A search for the flows to preempt.
pub(crate) struct VictimSearch<'a> {
    /// The accounts of the newcomer's wire, by the interface's number.
    pub(crate) accounts: OrderedMap<u32, SearchedAccount<'a>>,
    pub(crate) parents: &'a Parents,
    pub(crate) flows: &'a Flows,
    /// The limits that the newcomer exceeds.
    pub(crate) limits: Vec<ExceededLimit>,
    pub(crate) now: Moment,
    /// No flow before this place is preempted.
    pub(crate) from: PreemptionPlace,
}

/// An account whose limits the newcomer has to meet.
pub(crate) struct SearchedAccount<'a> {
    /// What is taken of each limit. The search books and unbooks flows in it, and leaves it as it was.
    pub(crate) usage: &'a mut AccountUse,
    pub(crate) candidates: &'a Candidates,
}

/// A limit that the newcomer exceeds.
pub(crate) struct ExceededLimit {
    /// The number of its interface.
    pub(crate) number: u32,
    pub(crate) limit: BindingLimit,
}

/// Flows that together free enough; some of them may be able to stay.
struct Enough {
    /// The most important flow that is preempted.
    last: PreemptionPlace,
    /// The flows with a window that are preempted as well, least important first.
    single: Vec<WindowedFlow>,
}

struct WindowedFlow {
    place: PreemptionPlace,
    footprint: Footprint,
}

impl VictimSearch<'_> {
    /// The places of the flows to preempt, least important first; `None` where all together are not enough.
    pub(crate) fn run(mut self) -> Option<Vec<PreemptionPlace>> {
        let enough = self.enough()?;
        let mut victims = self.needed(enough);
        victims.reverse();
        Some(victims)
    }

    /// The account that a limit is of.
    fn of(&self, exceeded: &ExceededLimit) -> &SearchedAccount<'_> {
        &self.accounts[&exceeded.number]
    }

    fn book(&mut self, footprint: &Footprint) {
        let now = self.now;
        self.counting(footprint).for_each(|usage| usage.book(footprint, now));
    }

    fn unbook(&mut self, footprint: &Footprint) {
        let now = self.now;
        self.counting(footprint).for_each(|usage| usage.unbook(footprint, now));
    }

    /// What is taken of the accounts that count a flow.
    fn counting(&mut self, footprint: &Footprint) -> impl Iterator<Item = &mut AccountUse> {
        let (parents, interface) = (self.parents, footprint.interface);
        let counts = move |number: u32| parents.counts(ChildLink { interface, parent: Some(number) });
        let accounts = self.accounts.iter_mut().filter(move |(number, _)| counts(**number));
        accounts.map(|(_, account)| &mut *account.usage)
    }

    /// By how much the newcomer exceeds each limit, by what is taken now.
    fn excess(&self) -> Vec<i128> {
        let excess = |exceeded: &ExceededLimit| self.of(exceeded).usage.excess(&exceeded.limit, self.now);
        self.limits.iter().map(excess).collect()
    }

    /// What the flows that are less important than a place would free of each limit, of those kept as sums.
    fn after(&self, place: PreemptionPlace) -> Vec<i128> {
        let after = |exceeded: &ExceededLimit| {
            let BindingLimit { scope, quantity, .. } = exceeded.limit;
            self.of(exceeded).candidates.after(place, scope, quantity)
        };
        self.limits.iter().map(|limit| i128::try_from(after(limit)).unwrap_or(i128::MAX)).collect()
    }

    /// The flow with which those kept as sums, from the least important on, free these amounts; `None` if all of them
    /// free less.
    fn reach(&self, amounts: &[i128]) -> Option<PreemptionPlace> {
        let mut reached = PreemptionPlace::END;
        for (exceeded, amount) in self.limits.iter().zip(amounts) {
            let BindingLimit { scope, quantity, .. } = exceeded.limit;
            if let Ok(amount) = u128::try_from(*amount)
                && amount > 0
            {
                let candidates = self.of(exceeded).candidates;
                reached = reached.min(candidates.reach(amount, scope, quantity)?);
            }
        }
        Some(reached)
    }

    /// The least important flow with a window before a place that is there while the newcomer exceeds a limit.
    fn single_before(&self, mut place: PreemptionPlace) -> Option<WindowedFlow> {
        loop {
            let at = place;
            let before = |exceeded: &ExceededLimit| {
                self.of(exceeded).candidates.single_before(at, std::iter::once(exceeded.limit.scope))
            };
            place = self.limits.iter().filter_map(before).max().filter(|place| *place >= self.from)?;
            let footprint = self.flows.entry(place.slot()).footprint;
            if self.limits.iter().any(|exceeded| footprint.window.overlaps(&exceeded.limit.window)) {
                return Some(WindowedFlow { place, footprint });
            }
        }
    }

    /// Ends flows, least important first, until the newcomer fits.
    fn enough(&mut self) -> Option<Enough> {
        let mut gone: Vec<WindowedFlow> = Vec::new();
        loop {
            let reached = self.reach(&self.excess()).filter(|place| *place >= self.from);
            let next = self.single_before(gone.last().map_or(PreemptionPlace::END, |single| single.place));
            match (reached, next) {
                (Some(last), next) if next.as_ref().is_none_or(|next| last > next.place) => {
                    return Some(Enough { last, single: gone });
                }
                (_, Some(next)) => {
                    let place = next.place;
                    self.unbook(&next.footprint);
                    gone.push(next);
                    if self.is_enough(&self.after(place)) {
                        return Some(Enough { last: place, single: gone });
                    }
                }
                (_, None) => {
                    gone.iter().for_each(|single| self.book(&single.footprint));
                    return None;
                }
            }
        }
    }

    /// Whether the newcomer fits where flows kept as sums free these amounts.
    fn is_enough(&self, freed: &[i128]) -> bool {
        self.excess().iter().zip(freed).all(|(excess, freed)| excess <= freed)
    }

    /// Lets flows stay that the newcomer does not need, the most important first. Gives the others, most important first.
    fn needed(&mut self, enough: Enough) -> Vec<PreemptionPlace> {
        let Enough { last, mut single } = enough;
        // The last one was needed.
        let (mut victims, mut ended) = (vec![last], Vec::new());
        let mut freed = match single.pop_if(|single| single.place == last) {
            Some(WindowedFlow { footprint, .. }) => {
                ended.push(footprint);
                self.after(last)
            }
            None => self.after(last.before()),
        };
        let mut place = last;
        loop {
            let after = self.after(place);
            let excess = self.excess();
            // The flows that follow can stay as long as they take no more than what is freed beyond the excess.
            let over = |((after, freed), excess): ((&i128, &i128), &i128)| after - (freed - excess);
            let too_much: Vec<_> = after.iter().zip(&freed).zip(&excess).map(over).collect();
            let stops = self.reach(&too_much).filter(|stop| *stop != PreemptionPlace::END);
            match (stops, single.last().map(|single| single.place)) {
                (None, None) => break,
                (Some(stop), next) if next.is_none_or(|next| stop < next) => {
                    keep_between(&mut freed, &after, &self.after(stop.before()));
                    victims.push(stop);
                    place = stop;
                }
                (_, _) => {
                    let Some(WindowedFlow { place: next, footprint }) = single.pop() else { break };
                    keep_between(&mut freed, &after, &self.after(next));
                    self.book(&footprint);
                    if !self.is_enough(&freed) {
                        self.unbook(&footprint);
                        ended.push(footprint);
                        victims.push(next);
                    }
                    place = next;
                }
            }
        }
        ended.iter().for_each(|footprint| self.book(footprint));
        victims
    }
}

/// The flows between two places stay: what they would have freed is taken from what is freed.
fn keep_between(freed: &mut [i128], after_first: &[i128], after_last: &[i128]) {
    for ((freed, first), last) in freed.iter_mut().zip(after_first).zip(after_last) {
        *freed -= first - last;
    }
}
