//! What is taken of each limit of an interface, now and at every later moment.

use flowspec::{Both, Direction, Moment};

use super::candidates::{BindingLimit, LimitedQuantity, Scope};
use super::footprint::Footprint;
use super::profile::Profile;
use super::steps::TakenStep;
use super::window::Window;

/// Class types, of the Russian dolls model.
const TYPES: usize = 8;

/// What is taken of each limit.
#[derive(Clone, Debug)]
pub(crate) struct AccountUse {
    counts: CountedKinds,
    pub(crate) reserved: Both<Profile>,
    pub(crate) buffer: Both<Profile>,
    pub(crate) flows: Profile,
    /// By the class's number.
    classes: Vec<ClassUse>,
    /// What the flows of each class type, and of the types inside it, take.
    pub(crate) dolls: [Both<Profile>; TYPES],
}

/// What is taken of a class's limits.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClassUse {
    pub(crate) reserved: Both<Profile>,
    pub(crate) flows: Profile,
}

/// What is counted of an interface besides its rate; what nothing limits is not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CountedKinds {
    pub(crate) flows: bool,
    pub(crate) buffer: bool,
    pub(crate) dolls: bool,
}

impl AccountUse {
    pub(crate) fn new(counts: CountedKinds) -> Self {
        Self {
            counts,
            reserved: Both::default(),
            buffer: Both::default(),
            flows: Profile::default(),
            classes: Vec::new(),
            dolls: Default::default(),
        }
    }

    /// The same with nothing booked.
    pub(crate) fn emptied(&self) -> Self {
        Self::new(self.counts)
    }

    pub(crate) fn book(&mut self, footprint: &Footprint, now: Moment) {
        self.each_profile(footprint, |profile, amount, window| profile.book(amount, window, now));
    }

    pub(crate) fn unbook(&mut self, footprint: &Footprint, now: Moment) {
        self.each_profile(footprint, |profile, amount, window| profile.unbook(amount, window, now));
    }

    /// Calls `change` for every profile that a footprint is counted in, with the amount and its window.
    fn each_profile(&mut self, footprint: &Footprint, mut change: impl FnMut(&mut Profile, u64, Window)) {
        if self.counts.flows {
            change(&mut self.flows, footprint.flows, footprint.window);
        }
        if let Some(class) = footprint.class
            && footprint.class_counts.flows
        {
            change(&mut self.class_mut(class).flows, footprint.flows, footprint.window);
        }
        match &footprint.steps {
            None => self.each_amount(footprint, &footprint.whole(), &mut change),
            Some(steps) => steps.iter().for_each(|step| self.each_amount(footprint, step, &mut change)),
        }
    }

    /// The same for one step of it, without what is counted as flows.
    #[inline]
    fn each_amount(
        &mut self,
        footprint: &Footprint,
        step: &TakenStep,
        change: &mut impl FnMut(&mut Profile, u64, Window),
    ) {
        let TakenStep { window, charged, buffer } = *step;
        for direction in Direction::BOTH {
            let rate = charged.get(direction).get();
            if rate > 0 {
                change(self.reserved.get_mut(direction), rate, window);
            }
            if self.counts.buffer {
                change(self.buffer.get_mut(direction), buffer.get(direction).get(), window);
            }
            if self.counts.dolls {
                for doll in &mut self.dolls[1..=usize::from(footprint.class_type)] {
                    change(doll.get_mut(direction), rate, window);
                }
            }
            if let Some(class) = footprint.class
                && footprint.class_counts.rate
                && rate > 0
            {
                change(self.class_mut(class).reserved.get_mut(direction), rate, window);
            }
        }
    }

    fn class_mut(&mut self, class: u32) -> &mut ClassUse {
        let class = class as usize;
        if class >= self.classes.len() {
            self.classes.resize_with(class + 1, ClassUse::default);
        }
        &mut self.classes[class]
    }

    /// What is taken of a class; `None` where nothing of it was ever counted.
    pub(crate) fn class(&self, class: u32) -> Option<&ClassUse> {
        self.classes.get(class as usize)
    }

    /// By how much a flow would exceed a limit; not more than zero where it fits.
    pub(crate) fn excess(&self, limit: &BindingLimit, now: Moment) -> i128 {
        let taken = self.limited(limit).map_or(0, |profile| profile.highest_sum(limit.window, now));
        // A sum of a million amounts of 64 bits.
        let taken = i128::try_from(taken).unwrap_or(i128::MAX / 2);
        taken + i128::from(limit.demand.amount) - i128::from(limit.demand.limit)
    }

    /// A moment before which the flow does not meet a limit, wherever its window begins between its start and then; `None`
    /// where none is known.
    pub(crate) fn next_try(&self, limit: &BindingLimit, now: Moment) -> Option<Moment> {
        self.limited(limit)?.next_try(limit.demand, limit.window, now)
    }

    /// What is taken of a limit; `None` where nothing ever was.
    fn limited(&self, limit: &BindingLimit) -> Option<&Profile> {
        match (limit.scope, limit.quantity) {
            (Scope::Interface, LimitedQuantity::Flows) => Some(&self.flows),
            (Scope::Interface, LimitedQuantity::Rate(direction)) => Some(self.reserved.get(direction)),
            (_, LimitedQuantity::Buffer(direction)) => Some(self.buffer.get(direction)),
            (Scope::Class(class), LimitedQuantity::Flows) => self.class(class).map(|class| &class.flows),
            (Scope::Class(class), LimitedQuantity::Rate(direction)) => {
                self.class(class).map(|class| class.reserved.get(direction))
            }
            (Scope::Type(number), LimitedQuantity::Rate(direction)) => {
                self.dolls.get(number).map(|doll| doll.get(direction))
            }
            // No limit is on the number of flows of a class type.
            (Scope::Type(_), LimitedQuantity::Flows) => None,
        }
    }

    /// Time passes.
    pub(crate) fn advance(&mut self, now: Moment) {
        for direction in Direction::BOTH {
            self.reserved.get_mut(direction).advance(now);
            self.buffer.get_mut(direction).advance(now);
            for doll in &mut self.dolls {
                doll.get_mut(direction).advance(now);
            }
        }
        self.flows.advance(now);
        for class in &mut self.classes {
            class.flows.advance(now);
            class.reserved.sending.advance(now);
            class.reserved.receiving.advance(now);
        }
    }

    /// The first moment after this one, which is not before now, at which something begins or ends.
    pub(crate) fn next_change(&self, moment: Moment) -> Option<Moment> {
        let classes = self
            .classes
            .iter()
            .flat_map(|class| [&class.flows, &class.reserved.sending, &class.reserved.receiving]);
        let directions = Direction::BOTH.into_iter().flat_map(|direction| {
            let dolls = self.dolls.iter().map(move |doll| doll.get(direction));
            [self.reserved.get(direction), self.buffer.get(direction)].into_iter().chain(dolls)
        });
        let profiles = std::iter::once(&self.flows).chain(classes).chain(directions);
        profiles.filter_map(|profile| profile.next_change(moment)).min()
    }

    /// Gives every profile of two usages side by side: the name of what is counted, and a number where there are several.
    pub(crate) fn each_pair(
        &self,
        other: &Self,
        mut visit: impl FnMut(&'static str, usize, &Profile, &Profile),
    ) {
        let none = ClassUse::default();
        visit("flows", 0, &self.flows, &other.flows);
        for number in 0..self.classes.len().max(other.classes.len()) {
            let own = self.classes.get(number).unwrap_or(&none);
            let others = other.classes.get(number).unwrap_or(&none);
            visit("flows of a class", number, &own.flows, &others.flows);
            for direction in Direction::BOTH {
                visit("rate of a class", number, own.reserved.get(direction), others.reserved.get(direction));
            }
        }
        for direction in Direction::BOTH {
            visit("rate", 0, self.reserved.get(direction), other.reserved.get(direction));
            visit("buffer", 0, self.buffer.get(direction), other.buffer.get(direction));
            for (number, (own, others)) in self.dolls.iter().zip(&other.dolls).enumerate() {
                visit("rate of a class type", number, own.get(direction), others.get(direction));
            }
        }
    }
}
