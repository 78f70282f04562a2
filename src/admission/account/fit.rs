//! Whether a footprint fits an account, and the numbers of the refusal where it does not.

use flowspec::{Both, Bytes, Direction, Moment, Rate};

use super::candidates::{BindingLimit, LimitedQuantity, Scope};
use super::counted::CountedAccounts;
use super::flows::Flows;
use super::footprint::Footprint;
use super::measured::MeasuredFlows;
use super::profile::{Demand, Profile};
use super::rank::ChargedRank;
use super::resource::Resource;
use super::state::Account;
use super::usage::AccountUse;
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
    pub(crate) usage: &'a AccountUse,
    pub(crate) counted: CountedAccounts<'a>,
    pub(crate) now: Moment,
    /// What the flow is charged, to its interface or to its group; `None` for a group, which no limit of a flow binds.
    pub(crate) flow: Option<FlowRates>,
}

/// The charge of a flow that is checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlowRates {
    pub(crate) charged: Both<Rate>,
    /// What the flow was charged before; zero for a new one.
    pub(crate) held: Both<Rate>,
}

/// What one constraint leaves free.
struct Headroom<'a> {
    taken: u64,
    limit: u64,
    left: u64,
    declared: &'a Profile,
    /// How much less counts as taken.
    relief: u64,
    /// When it binds.
    windows: Vec<Window>,
    /// Whose charges are counted.
    scope: Scope,
}

impl<'a> Headroom<'a> {
    fn new(declared: &'a Profile, relief: u64, limit: u64, windows: Vec<Window>, now: Moment) -> Self {
        let taken = windows.iter().map(|window| declared.highest(*window, now)).max().unwrap_or(0);
        let taken = taken.saturating_sub(relief);
        let left = limit.saturating_sub(taken);
        Self { taken, limit, left, declared, relief, windows, scope: Scope::Interface }
    }

    fn of(self, scope: Scope) -> Self {
        Self { scope, ..self }
    }

    const fn fits(&self, rate: Rate) -> bool {
        rate.get() <= self.left && self.taken <= self.limit
    }

    /// The first moment after a start at which as much is taken as `taken` says; `None` where that is the start.
    fn moment(&self, start: Moment, now: Moment) -> Option<Moment> {
        let highest = |window: &&Window| self.declared.highest(**window, now);
        // Of several windows with as much, the first.
        let window = self.windows.iter().rev().max_by_key(highest)?;
        let (_, first) = self.declared.first_highest(*window, now);
        Some(first.unwrap_or(window.start)).filter(|first| *first > start.max(now))
    }
}

impl<'a> FitContext<'a> {
    /// Whether a flow may use what is measured as unused.
    pub(crate) fn relieves(&self, footprint: &Footprint) -> bool {
        let is_measured = Direction::BOTH.iter().any(|&direction| footprint.is_measured(direction));
        is_measured && footprint.window.start <= self.now && self.counted.measures()
    }

    /// What is measured as unused may be reserved for controlled load of measured classes that begins now, and for
    /// nothing else: no guarantee rests on a measurement.
    fn relief_for(
        &self,
        direction: Direction,
        footprint: &Footprint,
        counts: impl Fn(u32, &MeasuredFlows) -> bool,
    ) -> u64 {
        if !footprint.is_measured(direction) || footprint.window.start > self.now {
            return 0;
        }
        self.counted.relief(direction, self.now, counts)
    }

    /// What the interface's budget leaves for a flow.
    fn link_headroom(&self, direction: Direction, footprint: &Footprint, budget: Rate) -> Headroom<'a> {
        let relief = self.relief_for(direction, footprint, |_, _| true);
        let declared = self.usage.reserved.get(direction);
        Headroom::new(declared, relief, budget.get(), vec![footprint.window], self.now)
    }

    /// What BC_b leaves for a flow, for every class type that its own is inside of. BC_0 is the budget, which is checked
    /// anyway.
    fn doll_headrooms(
        &self,
        direction: Direction,
        footprint: &Footprint,
        budget: Rate,
    ) -> impl Iterator<Item = (usize, Headroom<'a>)> {
        let innermost = self.class.map_or(0, |(_, _, class)| usize::from(class.class_type));
        (1..=innermost).filter_map(move |doll| {
            let constraint = doll_size(self.policy, doll, budget)?;
            let inside = |_: u32, measured: &MeasuredFlows| usize::from(measured.class_type) >= doll;
            let relief = self.relief_for(direction, footprint, inside);
            let taken = self.usage.dolls[doll].get(direction);
            let headroom = Headroom::new(taken, relief, constraint, vec![footprint.window], self.now);
            Some((doll, headroom.of(Scope::Type(doll))))
        })
    }

    /// Whether the flow may take the place of others.
    fn may_preempt(&self) -> bool {
        self.policy.preemption && self.flow.is_some()
    }

    /// The class's limit for one flow; `None` where there is none.
    fn most_per_flow(&self) -> Option<(&str, Rate)> {
        let (_, name, class) = self.class.filter(|_| self.flow.is_some())?;
        class.max_rate.map(|most| (name, most))
    }

    fn check_flow_rate(&self) -> Result<(), Refusal> {
        let (Some(FlowRates { charged, held }), Some((class, max_rate))) = (self.flow, self.most_per_flow())
        else {
            return Ok(());
        };
        for direction in Direction::BOTH {
            let rate = *charged.get(direction);
            if rate > max_rate && rate > *held.get(direction) {
                let (class, asked, would_fit) = (class.to_owned(), rate, max_rate);
                return Err(Refusal::FlowRate {
                    class,
                    direction,
                    asked,
                    max_rate,
                    would_fit,
                    least_latency: None,
                    preemption: self.may_preempt(),
                    besides: None,
                });
            }
        }
        Ok(())
    }
}

impl Account {
    /// Whether a footprint fits. Neither it nor `old`, the footprint that it replaces, is booked while this is called.
    /// A constraint that `old` violates already refuses only a footprint that is larger there.
    ///
    /// Counts first, then the flow's own rate, then each direction's buffer, class and interface.
    pub(crate) fn check(
        &self,
        context: &FitContext<'_>,
        footprint: &Footprint,
        old: Option<&Footprint>,
    ) -> Result<(), Refusal> {
        let FitContext { name, interface, class, usage, now, .. } = *context;
        let window = footprint.window;
        let of_flows = |limit| Demand { amount: footprint.flows, limit };
        if footprint.flows > old.map_or(0, |old| old.flows) {
            if let Some((number, class, Class { max_flows: Some(max_flows), .. })) = class {
                let used = usage.class(number);
                let fits = used.is_some_and(|used| used.flows.fits_always(of_flows(*max_flows)));
                let flows = || used.map_or(0, |used| used.flows.highest(window, now));
                if !fits && flows() + footprint.flows > *max_flows {
                    let max_flows = *max_flows;
                    let (interface, class) = (name.to_owned(), class.to_owned());
                    let (flows, from) = used.map_or((0, None), |used| used.flows.first_highest(window, now));
                    return Err(Refusal::ClassFlows { interface, class, flows, max_flows, from });
                }
            }
            if let Some(max_flows) = interface.max_flows
                && !usage.flows.fits_always(of_flows(max_flows))
                && usage.flows.highest(window, now) + footprint.flows > max_flows
            {
                let (flows, from) = usage.flows.first_highest(window, now);
                return Err(Refusal::InterfaceFlows { interface: name.to_owned(), flows, max_flows, from });
            }
        }
        context.check_flow_rate()?;
        for direction in Direction::BOTH {
            self.check_buffer(context, footprint, old, direction)?;
            let rate = *footprint.charged.get(direction);
            let held = old.map_or(Rate::ZERO, |old| *old.charged.get(direction));
            if rate > held || old.is_some_and(|old| rate > Rate::ZERO && !window.is_within(&old.window)) {
                self.check_budgets(context, direction, footprint)?;
            }
        }
        Ok(())
    }

    fn check_buffer(
        &self,
        context: &FitContext<'_>,
        footprint: &Footprint,
        old: Option<&Footprint>,
        direction: Direction,
    ) -> Result<(), Refusal> {
        let Some(limit) = context.interface.buffer else { return Ok(()) };
        let needed = *footprint.buffer.get(direction);
        let held = old.map_or(Bytes::ZERO, |old| *old.buffer.get(direction));
        let taken = Bytes::new(context.usage.buffer.get(direction).highest(footprint.window, context.now));
        if needed <= held || taken.get().checked_add(needed.get()).is_some_and(|sum| sum <= limit.get()) {
            return Ok(());
        }
        let (_, from) = context.usage.buffer.get(direction).first_highest(footprint.window, context.now);
        Err(Refusal::Buffer { interface: context.name.to_owned(), direction, needed, taken, limit, from })
    }

    /// The interface's budget and the class's part of it. Where both are too small, the refusal names the one with
    /// less left, and the interface where they are equal.
    fn check_budgets(
        &self,
        context: &FitContext<'_>,
        direction: Direction,
        footprint: &Footprint,
    ) -> Result<(), Refusal> {
        let Some(budget) = self.budget(context.interface, direction) else {
            return Err(Refusal::UnknownCapacity { interface: context.name.to_owned(), direction });
        };
        let rate = *footprint.charged.get(direction);
        if self.fits_always(context, direction, footprint, budget) {
            return Ok(());
        }
        let now = context.now;
        let link = context.link_headroom(direction, footprint, budget);
        let share = self.class_headroom(context, direction, footprint, &link);
        let narrower = share.as_ref().filter(|share| !share.fits(rate) && share.left < link.left);
        let binding = match narrower {
            None if link.fits(rate) => return Ok(()),
            None => &link,
            Some(share) => share,
        };
        let most = context.most_per_flow().map_or(u64::MAX, |(_, most)| most.get());
        let in_class = share.as_ref().map_or(u64::MAX, |share| share.left);
        let would_fit = Rate::new(link.left.min(in_class).min(most));
        let class = narrower.and(context.class);
        let from = binding.moment(footprint.window.start, now);
        let when = from.unwrap_or(footprint.window.start).max(now);
        let shortfall = Box::new(Shortfall {
            asked: rate,
            reserved: Rate::new(binding.taken),
            budget: Rate::new(binding.limit),
            holders: self.named_holders(context.flows, direction, binding.scope, when),
            would_fit,
            least_latency: None,
            measured: match footprint.is_measured(direction) {
                true => Rate::ZERO,
                false => Rate::new(context.counted.relief(direction, context.now, |_, _| true)),
            },
            from,
            preemption: context.may_preempt(),
            mar_threshold: match context.interface.class_model {
                ClassModel::Mar(threshold) if narrower.is_some() => Some(threshold.of(budget)),
                _ => None,
            },
        });
        let (interface, besides) = (context.name.to_owned(), None);
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
        context: &FitContext<'_>,
        direction: Direction,
        footprint: &Footprint,
        budget: Rate,
    ) -> bool {
        let amount = footprint.charged.get(direction).get();
        let in_class = || match (context.class, context.interface.class_model) {
            (None, _) => true,
            (Some((number, _, class)), ClassModel::Mam) => class.share.is_none_or(|share| {
                let limit = share.of(budget).get();
                match context.usage.class(number) {
                    None => amount <= limit,
                    Some(used) => used.reserved.get(direction).fits_always(Demand { amount, limit }),
                }
            }),
            (Some(_), ClassModel::Rdm | ClassModel::Mar(_)) => false,
        };
        let demand = Demand { amount, limit: budget.get() };
        context.usage.reserved.get(direction).fits_always(demand) && in_class()
    }

    /// What the class model leaves for a flow; `None` where it sets no limit.
    fn class_headroom<'a>(
        &self,
        context: &FitContext<'a>,
        direction: Direction,
        footprint: &Footprint,
        link: &Headroom<'a>,
    ) -> Option<Headroom<'a>> {
        let (number, _, class) = context.class?;
        let (budget, usage, now) = (Rate::new(link.limit), context.usage, context.now);
        let share = class.share.map(|share| share.of(budget).get());
        let always = || vec![footprint.window];
        let of_class = || {
            let relief = context.relief_for(direction, footprint, |class, _| class == number);
            usage.class(number).map(|used| (used.reserved.get(direction), relief))
        };
        match context.interface.class_model {
            ClassModel::Mam => {
                let share = share?;
                match of_class() {
                    Some((used, relief)) => {
                        Some(Headroom::new(used, relief, share, always(), now).of(Scope::Class(number)))
                    }
                    // Nothing of the class was ever reserved.
                    None => {
                        let nothing = Headroom::new(link.declared, u64::MAX, share, Vec::new(), now);
                        Some(nothing.of(Scope::Class(number)))
                    }
                }
            }
            ClassModel::Rdm => {
                let dolls = context.doll_headrooms(direction, footprint, budget);
                dolls.map(|(_, headroom)| headroom).min_by_key(|headroom| headroom.left)
            }
            // RFC 4126, table 1: within the share, equality included, anything that fits the link; while the class is
            // above it, only what leaves the threshold free. The link may carry less then than at other moments.
            ClassModel::Mar(threshold) => {
                let limit = link.limit.saturating_sub(threshold.of(budget).get());
                let (used, relief) = of_class()?;
                let above = used.runs_above(share?.saturating_add(relief), footprint.window, now);
                (!above.is_empty()).then(|| Headroom::new(link.declared, link.relief, limit, above, now))
            }
        }
    }

    /// What is too scarce for the charge of a footprint in a direction: the budget, and what the class model leaves.
    pub(crate) fn lacked_rates(
        &self,
        context: &FitContext<'_>,
        direction: Direction,
        footprint: &Footprint,
    ) -> Vec<Resource> {
        let Some(budget) = self.budget(context.interface, direction) else {
            return vec![Resource::Budget(direction)];
        };
        let rate = *footprint.charged.get(direction);
        let link = context.link_headroom(direction, footprint, budget);
        let mut lacked = Vec::new();
        lacked.extend((!link.fits(rate)).then_some(Resource::Budget(direction)));
        let Some((number, ..)) = context.class else { return lacked };
        let of_class = match context.interface.class_model {
            ClassModel::Mam => Resource::Share(number, direction),
            ClassModel::Mar(_) => Resource::BelowThreshold(direction),
            ClassModel::Rdm => {
                let dolls = context.doll_headrooms(direction, footprint, budget);
                let scarce = dolls.filter(|(_, headroom)| !headroom.fits(rate));
                lacked.extend(scarce.map(|(doll, _)| Resource::Doll(doll, direction)));
                return lacked;
            }
        };
        let left = self.class_headroom(context, direction, footprint, &link);
        lacked.extend(left.is_some_and(|left| !left.fits(rate)).then_some(of_class));
        lacked
    }

    /// Every limit that a footprint has to meet, as [`check`](Self::check) has it, where these limits depend on nothing but
    /// sums: `None` in a class of the MAR model with a share, and for a flow that may use what is measured as unused.
    pub(crate) fn limits(
        &self,
        context: &FitContext<'_>,
        footprint: &Footprint,
        old: Option<&Footprint>,
    ) -> Option<Vec<BindingLimit>> {
        let FitContext { interface, class, .. } = *context;
        let window = footprint.window;
        if context.relieves(footprint) {
            return None;
        }
        let mut limits = Vec::new();
        let mut limit = |scope, quantity, most: Option<u64>, amount: u64| {
            let demand = most.filter(|_| amount > 0).map(|limit| Demand { amount, limit });
            limits.extend(demand.map(|demand| BindingLimit { scope, quantity, demand, window }));
        };
        let flows = if old.is_none_or(|old| old.flows < footprint.flows) { footprint.flows } else { 0 };
        if let Some((number, _, class)) = class {
            limit(Scope::Class(number), LimitedQuantity::Flows, class.max_flows, flows);
        }
        limit(Scope::Interface, LimitedQuantity::Flows, interface.max_flows, flows);
        for direction in Direction::BOTH {
            let worse = |amount: u64, held: u64| if amount > held { amount } else { 0 };
            let held =
                old.map_or((0, 0), |old| (old.buffer.get(direction).get(), old.charged.get(direction).get()));
            let buffer = worse(footprint.buffer.get(direction).get(), held.0);
            let rate = worse(footprint.charged.get(direction).get(), held.1);
            let size = interface.buffer.map(Bytes::get);
            limit(Scope::Interface, LimitedQuantity::Buffer(direction), size, buffer);
            let Some(budget) = self.budget(interface, direction) else { continue };
            limit(Scope::Interface, LimitedQuantity::Rate(direction), Some(budget.get()), rate);
            let Some((number, _, class)) = class else { continue };
            let share = class.share.map(|share| share.of(budget).get());
            match interface.class_model {
                ClassModel::Mam => limit(Scope::Class(number), LimitedQuantity::Rate(direction), share, rate),
                ClassModel::Rdm => {
                    for doll in 1..=usize::from(class.class_type) {
                        let size = doll_size(context.policy, doll, budget);
                        limit(Scope::Type(doll), LimitedQuantity::Rate(direction), size, rate);
                    }
                }
                ClassModel::Mar(_) if share.is_none() => {}
                ClassModel::Mar(_) => return None,
            }
        }
        Some(limits)
    }

    /// The flows that hold the most of what a scope counts at a moment.
    fn named_holders(&self, flows: &Flows, direction: Direction, scope: Scope, when: Moment) -> Vec<Holder> {
        let (class, innermost) = match scope {
            Scope::Interface => (None, 0),
            Scope::Class(class) => (Some(class), 0),
            Scope::Type(doll) => (None, doll),
        };
        let most = self.most(direction, class);
        let is_there = |held: &&ChargedRank| {
            let Footprint { window, class_type, .. } = flows.entry(held.rank.slot()).footprint;
            window.start <= when && window.ends_after(when) && usize::from(class_type) >= innermost
        };
        let named = most.iter().filter(is_there).take(NAMED_HOLDERS);
        let holder = |held: &ChargedRank| Holder {
            id: flows.id(held.rank.slot()).to_owned(),
            charged: held.charged.0,
        };
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
