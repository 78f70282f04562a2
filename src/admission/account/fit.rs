//! Whether a footprint fits an account, and the numbers of the refusal where it does not.

use flowspec::{Both, Bytes, Direction, Moment, Rate};

use super::candidates::{Amount, Limit, Scope};
use super::flows::Flows;
use super::footprint::Footprint;
use super::measured::Measured;
use super::profile::Profile;
use super::rank::Held;
use super::state::Account;
use super::usage::Usage;
use super::window::Window;
use crate::admission::limits::{Holder, Shortfall};
use crate::admission::refusal::Refusal;
use crate::policy::{Class, ClassModel, InterfacePolicy, Policy};

/// How many holders a refusal names.
const NAMED_HOLDERS: usize = 3;

/// What a check depends on besides the account: the policy, the class, the flows and the time.
#[derive(Clone, Copy)]
pub(crate) struct FitContext<'a> {
    pub(crate) name: &'a str,
    pub(crate) interface: &'a InterfacePolicy,
    pub(crate) policy: &'a Policy,
    pub(crate) class: Option<(u32, &'a str, &'a Class)>,
    pub(crate) flows: &'a Flows,
    /// What is taken.
    pub(crate) usage: &'a Usage,
    pub(crate) now: Moment,
    /// What the flow is charged, to its interface or to its group; `None` for a group, which no limit of a flow binds.
    pub(crate) flow: Option<FlowRates>,
}

/// The charge of a flow that is checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlowRates {
    pub(crate) asked: Both<Rate>,
    /// What the flow was charged before; zero for a new one.
    pub(crate) held: Both<Rate>,
}

/// What one constraint leaves free.
struct Headroom<'a> {
    taken: u64,
    limit: u64,
    left: u64,
    /// What is declared.
    declared: &'a Profile,
    /// How much less counts as taken.
    relief: u64,
    /// When it binds.
    windows: Vec<Window>,
}

impl<'a> Headroom<'a> {
    fn new(declared: &'a Profile, relief: u64, limit: u64, windows: Vec<Window>, now: Moment) -> Self {
        let taken = windows.iter().map(|window| declared.highest(*window, now)).max().unwrap_or(0);
        let taken = taken.saturating_sub(relief);
        Self { taken, limit, left: limit.saturating_sub(taken), declared, relief, windows }
    }

    const fn fits(&self, rate: Rate) -> bool {
        rate.get() <= self.left && self.taken <= self.limit
    }

    /// The first moment after a start at which a rate does not fit; `None` where that is the start, and where the rate is
    /// above the limit itself.
    fn first_without(&self, rate: Rate, start: Moment, now: Moment) -> Option<Moment> {
        let limit = self.limit.saturating_add(self.relief);
        let least = self.limit.checked_sub(rate.get())?.saturating_add(self.relief);
        let window = self.windows.iter().find(|window| self.declared.highest(**window, now) > least)?;
        let first = self.declared.first_without(rate.get(), limit, *window, now).unwrap_or(window.start);
        Some(first).filter(|first| *first > start.max(now))
    }
}

impl FitContext<'_> {
    /// The class's limit for one flow; `None` where there is none.
    fn most_per_flow(&self) -> Option<(&str, Rate)> {
        let (_, name, class) = self.class.filter(|_| self.flow.is_some())?;
        class.max_rate.map(|most| (name, most))
    }

    fn check_flow_rate(&self) -> Result<(), Refusal> {
        let (Some(FlowRates { asked, held }), Some((class, max_rate))) = (self.flow, self.most_per_flow())
        else {
            return Ok(());
        };
        for direction in Direction::BOTH {
            let rate = *asked.get(direction);
            if rate > max_rate && rate > *held.get(direction) {
                let (class, asked, would_fit) = (class.to_owned(), rate, max_rate);
                return Err(Refusal::FlowRate {
                    class,
                    direction,
                    asked,
                    max_rate,
                    would_fit,
                    besides: None,
                });
            }
        }
        Ok(())
    }
}

impl Account {
    /// Whether a footprint fits, which is not booked; `old` is what it stands in for, not booked either.
    /// A constraint is violated only where it would be made worse.
    ///
    /// Counts first, then the flow's own rate, then each direction's buffer, class and interface.
    pub(crate) fn check(
        &self,
        terms: &FitContext<'_>,
        asked: &Footprint,
        old: Option<&Footprint>,
    ) -> Result<(), Refusal> {
        let FitContext { name, interface, class, usage, now, .. } = *terms;
        let window = asked.window;
        if old.is_none_or(|old| old.flows < asked.flows) {
            if let Some((number, class, Class { max_flows: Some(max_flows), .. })) = class {
                let used = usage.class(number);
                let room = used.is_some_and(|used| used.flows.fits_always(asked.flows, *max_flows));
                let flows = || used.map_or(0, |used| used.flows.highest(window, now));
                if !room && flows() + asked.flows > *max_flows {
                    let (flows, max_flows) = (flows(), *max_flows);
                    let (interface, class) = (name.to_owned(), class.to_owned());
                    let from =
                        used.and_then(|used| used.flows.first_without(asked.flows, max_flows, window, now));
                    return Err(Refusal::ClassFlows { interface, class, flows, max_flows, from });
                }
            }
            if let Some(max_flows) = interface.max_flows
                && !usage.flows.fits_always(asked.flows, max_flows)
                && usage.flows.highest(window, now) + asked.flows > max_flows
            {
                let flows = usage.flows.highest(window, now);
                let from = usage.flows.first_without(asked.flows, max_flows, window, now);
                return Err(Refusal::InterfaceFlows { interface: name.to_owned(), flows, max_flows, from });
            }
        }
        terms.check_flow_rate()?;
        for direction in Direction::BOTH {
            self.check_buffer(terms, asked, old, direction)?;
            let rate = *asked.charged.get(direction);
            let held = old.map_or(Rate::ZERO, |old| *old.charged.get(direction));
            if rate > held || old.is_some_and(|old| rate > Rate::ZERO && !window.is_within(&old.window)) {
                self.check_budgets(terms, direction, asked)?;
            }
        }
        Ok(())
    }

    fn check_buffer(
        &self,
        terms: &FitContext<'_>,
        asked: &Footprint,
        old: Option<&Footprint>,
        direction: Direction,
    ) -> Result<(), Refusal> {
        let Some(limit) = terms.interface.buffer else { return Ok(()) };
        let needed = *asked.buffer.get(direction);
        let held = old.map_or(Bytes::ZERO, |old| *old.buffer.get(direction));
        let taken = Bytes::new(terms.usage.buffer.get(direction).highest(asked.window, terms.now));
        if needed <= held || taken.get().checked_add(needed.get()).is_some_and(|sum| sum <= limit.get()) {
            return Ok(());
        }
        let buffer = terms.usage.buffer.get(direction);
        let from = buffer.first_without(needed.get(), limit.get(), asked.window, terms.now);
        Err(Refusal::Buffer { interface: terms.name.to_owned(), direction, needed, taken, limit, from })
    }

    /// The interface's budget and the class's part of it. Where both are too small, the refusal names the one with
    /// less left, and the interface where they are equal.
    fn check_budgets(
        &self,
        terms: &FitContext<'_>,
        direction: Direction,
        asked: &Footprint,
    ) -> Result<(), Refusal> {
        let Some(budget) = self.budget(terms.interface, direction) else {
            return Err(Refusal::UnknownCapacity { interface: terms.name.to_owned(), direction });
        };
        let rate = *asked.charged.get(direction);
        if self.fits_always(terms, direction, asked, budget) {
            return Ok(());
        }
        let relief = self.relief_for(terms, direction, asked, |_, _| true);
        let (declared, now) = (terms.usage.reserved.get(direction), terms.now);
        let link = Headroom::new(declared, relief, budget.get(), vec![asked.window], now);
        let share = self.class_headroom(terms, direction, asked, &link);
        let narrower = share.as_ref().filter(|share| !share.fits(rate) && share.left < link.left);
        let binding = match narrower {
            None if link.fits(rate) => return Ok(()),
            None => &link,
            Some(share) => share,
        };
        let most = terms.most_per_flow().map_or(u64::MAX, |(_, most)| most.get());
        let in_class = share.as_ref().map_or(u64::MAX, |share| share.left);
        let would_fit = Rate::new(link.left.min(in_class).min(most));
        let class = narrower.and(terms.class);
        let from = binding.first_without(rate, asked.window.start, now);
        let when = from.unwrap_or(asked.window.start).max(now);
        let shortfall = Box::new(Shortfall {
            asked: rate,
            reserved: Rate::new(binding.taken),
            budget: Rate::new(binding.limit),
            holders: self.named_holders(terms.flows, direction, class.map(|(number, ..)| number), when),
            would_fit,
            least_latency: None,
            measured: match asked.is_measured(direction) {
                true => Rate::ZERO,
                false => Rate::new(self.relief(direction, terms.now, |_, _| true)),
            },
            from,
        });
        let (interface, besides) = (terms.name.to_owned(), None);
        Err(match class {
            Some((_, class, _)) => {
                let class = class.to_owned();
                Refusal::ClassShare { interface, direction, class, shortfall, besides }
            }
            None => Refusal::InterfaceBudget { interface, direction, shortfall, besides },
        })
    }

    /// Whether it fits at every later moment, found without a search and without the measurements.
    fn fits_always(
        &self,
        terms: &FitContext<'_>,
        direction: Direction,
        asked: &Footprint,
        budget: Rate,
    ) -> bool {
        let rate = asked.charged.get(direction).get();
        let in_class = || match (terms.class, terms.interface.class_model) {
            (None, _) => true,
            (Some((number, _, class)), ClassModel::Mam) => class.share.is_none_or(|share| {
                let limit = share.of(budget).get();
                match terms.usage.class(number) {
                    None => rate <= limit,
                    Some(used) => used.reserved.get(direction).fits_always(rate, limit),
                }
            }),
            (Some(_), ClassModel::Rdm | ClassModel::Mar(_)) => false,
        };
        terms.usage.reserved.get(direction).fits_always(rate, budget.get()) && in_class()
    }

    /// What the class model leaves for a flow; `None` where it sets no limit.
    fn class_headroom<'a>(
        &self,
        terms: &FitContext<'a>,
        direction: Direction,
        asked: &Footprint,
        link: &Headroom<'a>,
    ) -> Option<Headroom<'a>> {
        let (number, _, class) = terms.class?;
        let (budget, usage, now) = (Rate::new(link.limit), terms.usage, terms.now);
        let share = class.share.map(|share| share.of(budget).get());
        let always = || vec![asked.window];
        let of_class = || {
            let relief = self.relief_for(terms, direction, asked, |class, _| class == number);
            usage.class(number).map(|used| (used.reserved.get(direction), relief))
        };
        match terms.interface.class_model {
            ClassModel::Mam => {
                let share = share?;
                match of_class() {
                    Some((used, relief)) => Some(Headroom::new(used, relief, share, always(), now)),
                    // Nothing of the class was ever reserved.
                    None => Some(Headroom::new(link.declared, u64::MAX, share, Vec::new(), now)),
                }
            }
            // BC_b for every type that this one is inside of. BC_0 is the budget, which is checked anyway.
            ClassModel::Rdm => {
                let dolls = (1..=usize::from(class.class_type)).filter_map(|doll| {
                    let constraint = doll_size(terms.policy, doll, budget)?;
                    let inside = |_: u32, measured: &Measured| usize::from(measured.class_type) >= doll;
                    let relief = self.relief_for(terms, direction, asked, inside);
                    let taken = usage.dolls[doll].get(direction);
                    Some(Headroom::new(taken, relief, constraint, always(), now))
                });
                dolls.min_by_key(|room| room.left)
            }
            // RFC 4126, table 1: within the share, equality included, anything that fits the link; while the class is
            // above it, only what leaves the threshold free. The link may carry less then than at other moments.
            ClassModel::Mar(threshold) => {
                let limit = link.limit.saturating_sub(threshold.of(budget).get());
                let (used, relief) = of_class()?;
                let above = used.runs_above(share?.saturating_add(relief), asked.window, now);
                (!above.is_empty()).then(|| Headroom::new(link.declared, link.relief, limit, above, now))
            }
        }
    }

    /// Every limit that a footprint has to meet, as [`check`](Self::check) has it, where these limits depend on nothing but
    /// sums: `None` in a class of the MAR model with a share, and where flows are measured.
    pub(crate) fn limits(
        &self,
        terms: &FitContext<'_>,
        asked: &Footprint,
        old: Option<&Footprint>,
    ) -> Option<Vec<Limit>> {
        let FitContext { interface, class, .. } = *terms;
        let window = asked.window;
        if self.measures() {
            return None;
        }
        let mut limits = Vec::new();
        let mut limit = |scope, amount, most: Option<u64>, asked: u64| {
            limits.extend(most.filter(|_| asked > 0).map(|most| Limit {
                scope,
                amount,
                most,
                asked,
                window,
            }));
        };
        let flows = if old.is_none_or(|old| old.flows < asked.flows) { asked.flows } else { 0 };
        if let Some((number, _, class)) = class {
            limit(Scope::Class(number), Amount::Flows, class.max_flows, flows);
        }
        limit(Scope::Interface, Amount::Flows, interface.max_flows, flows);
        for direction in Direction::BOTH {
            let worse = |asked: u64, held: u64| if asked > held { asked } else { 0 };
            let held =
                old.map_or((0, 0), |old| (old.buffer.get(direction).get(), old.charged.get(direction).get()));
            let buffer = worse(asked.buffer.get(direction).get(), held.0);
            let rate = worse(asked.charged.get(direction).get(), held.1);
            let size = interface.buffer.map(Bytes::get);
            limit(Scope::Interface, Amount::Buffer(direction), size, buffer);
            let Some(budget) = self.budget(interface, direction) else { continue };
            limit(Scope::Interface, Amount::Rate(direction), Some(budget.get()), rate);
            let Some((number, _, class)) = class else { continue };
            let share = class.share.map(|share| share.of(budget).get());
            match interface.class_model {
                ClassModel::Mam => limit(Scope::Class(number), Amount::Rate(direction), share, rate),
                ClassModel::Rdm => {
                    for doll in 1..=usize::from(class.class_type) {
                        let size = doll_size(terms.policy, doll, budget);
                        limit(Scope::Type(doll), Amount::Rate(direction), size, rate);
                    }
                }
                ClassModel::Mar(_) if share.is_none() => {}
                ClassModel::Mar(_) => return None,
            }
        }
        Some(limits)
    }

    /// What is measured as unused may be reserved for controlled load of measured classes that begins now, and for
    /// nothing else: no guarantee rests on a measurement.
    fn relief_for(
        &self,
        terms: &FitContext<'_>,
        direction: Direction,
        asked: &Footprint,
        counts: impl Fn(u32, &Measured) -> bool,
    ) -> u64 {
        if !asked.is_measured(direction) || asked.window.start > terms.now {
            return 0;
        }
        self.relief(direction, terms.now, counts)
    }

    /// The flows that hold the most at a moment: of the class where the class is full.
    fn named_holders(
        &self,
        flows: &Flows,
        direction: Direction,
        class: Option<u32>,
        when: Moment,
    ) -> Vec<Holder> {
        let most = self.most(direction, class);
        let is_there = |held: &&Held| {
            let window = flows.entry(held.rank.slot()).footprint.window;
            window.start <= when && window.ends_after(when)
        };
        let named = most.iter().filter(is_there).take(NAMED_HOLDERS);
        let holder =
            |held: &Held| Holder { id: flows.id(held.rank.slot()).to_owned(), charged: held.charged.0 };
        named.map(holder).collect()
    }
}

/// BC of a class type: the sum of its classes' shares; `None` where one of them has no limit, or where the type has
/// no class.
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
