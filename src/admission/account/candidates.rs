//! The flows of an account that can be preempted or shed, with what each constraint gains by their end.
//!
//! A flow that lasts until it is released frees the same amount at every moment, so such flows are kept as sums. A flow
//! with a window frees its amount during the window only; it is kept by itself, and examined where it counts against a
//! limit that is exceeded.

use flowspec::{Both, Direction, Moment};

use super::footprint::Footprint;
use super::place::PreemptionPlace;
use super::profile::Demand;
use super::sorted::Sorted;
use super::tally::{Amounts, KINDS, Tally};
use super::window::Window;

/// Class types that the outermost one contains, in the Russian dolls model (RFC 4127).
const INNER_TYPES: usize = 7;

/// The flows that can be preempted or shed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Candidates {
    sums: CandidateSums,
    all: ScopeCandidates,
    /// Those of each class that has limits, by the class's number.
    by_class: Vec<ScopeCandidates>,
    /// Those of each class type with the types inside it, by the class type less one.
    by_type: Vec<ScopeCandidates>,
}

#[derive(Clone, Debug, Default)]
struct ScopeCandidates {
    /// Those that last until they are released, as sums.
    lasting: Tally,
    /// One by one: those with a window, and all of them where no sums are kept.
    single: Sorted<PreemptionPlace>,
}

/// The sums that an account keeps of its candidates: with them, what preemption would free is known without a search.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum CandidateSums {
    /// None: flows are shed one by one, and never preempted.
    #[default]
    None,
    /// One for the interface, and one for each class that has limits.
    Classes,
    /// Those, and one for each class type.
    Types,
}

/// A limit that leaves the flow too little now, so that preemption must free some of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BindingLimit {
    pub(crate) scope: Scope,
    pub(crate) quantity: LimitedQuantity,
    /// What the flow would take, which is not zero, and the most that may be taken.
    pub(crate) demand: Demand,
    /// When.
    pub(crate) window: Window,
}

/// What a constraint limits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum LimitedQuantity {
    /// A number of flows: `max_flows`.
    Flows,
    /// What is charged in a direction.
    Rate(Direction),
    /// What is taken of the buffer in a direction.
    Buffer(Direction),
}

/// Which flows a constraint limits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Scope {
    /// All of the interface.
    Interface,
    /// Those of a class, by its number.
    Class(u32),
    /// Those of a class type and of the types inside it, 1 to 7.
    Type(usize),
}

impl LimitedQuantity {
    const fn kind(self) -> usize {
        match self {
            Self::Flows => 0,
            Self::Rate(Direction::Sending) => 1,
            Self::Rate(Direction::Receiving) => 2,
            Self::Buffer(Direction::Sending) => 3,
            Self::Buffer(Direction::Receiving) => 4,
        }
    }
}

impl Candidates {
    pub(crate) fn new(sums: CandidateSums) -> Self {
        Self { sums, ..Self::default() }
    }

    /// The same with no flows.
    pub(crate) fn emptied(&self) -> Self {
        Self::new(self.sums)
    }

    /// Adds a flow; of no effect for one that is never preempted or shed.
    pub(crate) fn insert(&mut self, footprint: &Footprint, now: Moment) {
        let Some(place) = footprint.place() else { return };
        let lasts = footprint.window.end.is_none() && footprint.window.start <= now;
        if self.sums == CandidateSums::None {
            return self.all.single.insert(place);
        }
        let amounts = lasts.then(|| amounts(footprint));
        self.all.insert(place, amounts);
        for part in self.others(footprint) {
            part.insert(place, amounts);
        }
    }

    pub(crate) fn remove(&mut self, footprint: &Footprint) {
        let Some(place) = footprint.place() else { return };
        if self.sums == CandidateSums::None {
            return self.all.single.remove(place);
        }
        self.all.remove(place);
        self.others(footprint).for_each(|part| part.remove(place));
    }

    /// The scopes, apart from the interface, that count a flow.
    fn others(&mut self, footprint: &Footprint) -> impl Iterator<Item = &mut ScopeCandidates> {
        let counts = footprint.class_counts;
        let class = footprint.class.filter(|_| counts.flows || counts.rate).map(|class| class as usize);
        if let Some(class) = class
            && class >= self.by_class.len()
        {
            self.by_class.resize_with(class + 1, ScopeCandidates::default);
        }
        let inside = match self.sums {
            CandidateSums::Types => usize::from(footprint.class_type),
            CandidateSums::None | CandidateSums::Classes => 0,
        };
        if inside > 0 && self.by_type.is_empty() {
            self.by_type.resize_with(INNER_TYPES, ScopeCandidates::default);
        }
        let class = class.and_then(|class| self.by_class.get_mut(class));
        self.by_type.iter_mut().take(inside).chain(class)
    }

    fn part(&self, scope: Scope) -> Option<&ScopeCandidates> {
        match scope {
            Scope::Interface => Some(&self.all),
            Scope::Class(class) => self.by_class.get(class as usize),
            Scope::Type(number) => self.by_type.get(number.checked_sub(1)?),
        }
    }

    /// How much of a quantity the flows that are less important than a place would free, of those kept as sums.
    pub(crate) fn after(&self, place: PreemptionPlace, scope: Scope, quantity: LimitedQuantity) -> u128 {
        self.part(scope).map_or(0, |part| part.lasting.after(place, quantity.kind()))
    }

    /// Counts from the least important flow on, among those kept as sums: the flow with which the total that they free
    /// reaches `wanted`, which is not zero. `None` where all of them free less.
    pub(crate) fn reach(
        &self,
        wanted: u128,
        scope: Scope,
        quantity: LimitedQuantity,
    ) -> Option<PreemptionPlace> {
        self.part(scope)?.lasting.reach(quantity.kind(), wanted)
    }

    /// Of the flows in these scopes that are kept one by one, the least important one before a place.
    pub(crate) fn single_before(
        &self,
        place: PreemptionPlace,
        scopes: impl Iterator<Item = Scope>,
    ) -> Option<PreemptionPlace> {
        let before = |scope| self.part(scope)?.single.last_before(place);
        scopes.filter_map(before).max()
    }

    /// All flows, least important first.
    pub(crate) fn places(&self) -> impl Iterator<Item = PreemptionPlace> {
        let (mut lasting, mut single) =
            (self.all.lasting.places().peekable(), self.all.single.iter().rev().peekable());
        std::iter::from_fn(move || match (lasting.peek(), single.peek()) {
            (Some(lasting), Some(next)) if next > lasting => single.next(),
            (None, _) => single.next(),
            _ => lasting.next(),
        })
    }
}

impl ScopeCandidates {
    /// Adds a flow to the sums with the amounts that it would free, or by itself without them.
    fn insert(&mut self, place: PreemptionPlace, amounts: Option<Amounts>) {
        match amounts {
            Some(amounts) => self.lasting.insert(place, amounts),
            None => self.single.insert(place),
        }
    }

    fn remove(&mut self, place: PreemptionPlace) {
        if !self.lasting.remove(place) {
            self.single.remove(place);
        }
    }
}

/// What a flow frees of each kind.
fn amounts(footprint: &Footprint) -> Amounts {
    let mut amounts: Amounts = [0; KINDS];
    amounts[LimitedQuantity::Flows.kind()] = footprint.flows;
    let Both { sending, receiving } = footprint.charged;
    amounts[LimitedQuantity::Rate(Direction::Sending).kind()] = sending.get();
    amounts[LimitedQuantity::Rate(Direction::Receiving).kind()] = receiving.get();
    let Both { sending, receiving } = footprint.buffer;
    amounts[LimitedQuantity::Buffer(Direction::Sending).kind()] = sending.get();
    amounts[LimitedQuantity::Buffer(Direction::Receiving).kind()] = receiving.get();
    amounts
}
