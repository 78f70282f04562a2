//! Interfaces: what a link carries, what of it may be promised, and how.

use flowspec::{Both, Bytes, Direction, ErrorTerms, Micros, Rate, Share};

use super::place::Place;

/// What one interface may promise.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InterfacePolicy {
    /// Egress (sending) and ingress (receiving).
    pub budgets: Both<Budget>,
    /// How promises are kept.
    pub enforcement: Enforcement,
    /// What happens to flows that no longer fit after a capacity drop.
    pub on_capacity_drop: OnCapacityDrop,
    /// How classes share the budget.
    pub class_model: ClassModel,
    /// The largest IP datagram, where the policy knows better than the kernel.
    pub mtu: Option<Bytes>,
    /// What the path adds to every packet's delay, however fast it is served.
    pub path_latency: Micros,
    /// How many flows there may be.
    pub max_flows: Option<u64>,
    /// What the flows' buffer needs may come to, per direction.
    pub buffer: Option<Bytes>,
    /// Whether latency and delay variation are part of the test.
    pub delay: bool,
    /// C and D of the path, instead of those of the programmed tree.
    pub error_terms: Option<ErrorTerms>,
    /// Whether a foreign root qdisc may be replaced.
    pub takeover: bool,
    /// What keeps a link that comes and goes from taking the flows along.
    pub hysteresis: Option<Hysteresis>,
    /// Where it is defined.
    pub place: Place,
}

/// How much of a direction may be promised.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Budget {
    /// What the link carries.
    pub capacity: Capacity,
    /// The part of it that may be promised.
    pub reservable: Share,
    /// What is kept for traffic without a reservation, whatever is reservable.
    pub min_best_effort: Option<Share>,
}

/// How classes share a budget. Source: RFC 4125, 4126, 4127.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClassModel {
    /// Maximum allocation: each class within its share; shares may overlap.
    Mam,
    /// Russian dolls: all classes of a type and of those inside it within that type's shares.
    Rdm,
    /// Reservation thresholds: a class above its share may go on while this part of the budget stays free.
    Mar(Share),
}

/// What a link carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Capacity {
    /// The link speed that the kernel reports.
    Auto,
    /// This much.
    Rate(Rate),
}

/// How promises are kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Enforcement {
    /// By tc where it can be programmed, else by user space alone, which is then said.
    Auto,
    /// By tc and user space; refused where tc cannot be programmed.
    Kernel,
    /// By user space alone.
    UserSpace,
}

/// When a link's capacity counts that is not what it was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hysteresis {
    /// A rise counts once it has lasted so long.
    pub time: Micros,
    /// Nobody has to go for a drop of less than this part of the capacity.
    pub change: Share,
}

/// What happens to flows that no longer fit after a capacity drop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnCapacityDrop {
    /// They stay; nothing new is admitted until they fit again.
    Keep,
    /// The least important are ended until the rest fits.
    Shed,
}

impl Budget {
    /// So much of a link may be promised.
    pub const fn new(capacity: Capacity, reservable: Share) -> Self {
        Self { capacity, reservable, min_best_effort: None }
    }

    /// The budget: `floor(capacity × reservable)`, and not more than `min_best_effort` leaves; an absolute
    /// `reservable` is at most the capacity.
    pub fn reservable_of(&self, capacity: Rate) -> Rate {
        let kept = self.min_best_effort.map_or(Rate::ZERO, |share| share.of(capacity));
        self.reservable.of(capacity).min(capacity.saturating_sub(kept))
    }
}

impl InterfacePolicy {
    /// What a policy means that says nothing but budgets.
    pub fn new(budgets: Both<Budget>) -> Self {
        Self {
            budgets,
            enforcement: Enforcement::Auto,
            on_capacity_drop: OnCapacityDrop::Keep,
            class_model: ClassModel::Mam,
            mtu: None,
            path_latency: Micros::new(0),
            max_flows: None,
            buffer: None,
            delay: true,
            error_terms: None,
            takeover: false,
            hysteresis: None,
            place: Place::default(),
        }
    }

    /// The budget of a direction.
    pub const fn budget(&self, direction: Direction) -> &Budget {
        self.budgets.get(direction)
    }
}
