//! Interfaces: what a link carries, how much of it may be reserved, and how reservations are enforced.

use flowspec::{Both, Bytes, Direction, ErrorTerms, Micros, Rate, Share};

use super::place::Place;

/// What may be reserved on one interface, and how reservations are enforced.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InterfacePolicy {
    /// Sending is egress, receiving is ingress.
    pub budgets: Both<Budget>,
    /// Where reservations are enforced.
    pub enforcement: Enforcement,
    /// What happens while another manager has the interface.
    pub shared: Shared,
    /// What happens to flows that no longer fit when the capacity falls.
    pub on_capacity_drop: OnCapacityDrop,
    /// How classes share the budget.
    pub class_model: ClassModel,
    /// The largest IP datagram; `None` leaves it to the kernel.
    pub mtu: Option<Bytes>,
    /// The delay that the path adds to every packet, whatever its rate; part of `latency`.
    pub path_latency: Micros,
    /// The most flows on the interface, best effort included.
    pub max_flows: Option<u64>,
    /// The most that the buffer needs of all flows may come to, per direction.
    pub buffer: Option<Bytes>,
    /// Whether latency and delay variation are part of the admission test.
    pub delay: bool,
    /// C and D of the path, in place of those derived from the programmed tree.
    pub error_terms: Option<ErrorTerms>,
    /// Whether a foreign root qdisc may be replaced.
    pub takeover: bool,
    /// Damping for a link whose capacity changes often.
    pub hysteresis: Option<Hysteresis>,
    /// The interface on whose wire this one sends: what is reserved here is reserved there as well.
    pub parent: Option<String>,
    /// Where the interface is defined.
    pub place: Place,
}

/// How much of one direction may be reserved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Budget {
    /// What the link carries.
    pub capacity: Capacity,
    /// The part of the capacity that may be reserved.
    pub reservable: Share,
    /// The part of the capacity that is never reserved, whatever `reservable` says.
    pub min_best_effort: Option<Share>,
}

/// How classes share a budget. Source: RFC 4125, 4126, 4127.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ClassModel {
    /// Maximum allocation model: each class stays within its share; shares may overlap.
    Mam,
    /// Russian dolls model: for each type, the classes of that type and of all higher types stay within that type's
    /// shares.
    Rdm,
    /// Maximum allocation with reservation: a class above its share is admitted while this part of the budget stays
    /// free.
    Mar(Share),
}

/// What a link carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Capacity {
    /// The link speed that the kernel reports.
    Auto,
    /// `"80 Mbit/s"`, in bytes per second on the wire.
    Rate(Rate),
}

/// Where reservations are enforced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Enforcement {
    /// By tc and in user space; in user space alone where tc cannot be programmed, which every decision then states.
    Auto,
    /// By tc and in user space; a request is refused where tc cannot be programmed.
    Kernel,
    /// `"user-space"`: no class in the kernel, though it could have one.
    UserSpace,
}

/// What happens while another manager has the interface, which accounts for its reservations alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Shared {
    /// Reservations are refused, with the process that has it.
    Refuse,
    /// Reservations are enforced in user space. Both managers reserve the whole budget.
    UserSpace,
}

/// When a changed capacity takes effect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hysteresis {
    /// A rise takes effect once it has lasted this long.
    pub time: Micros,
    /// No flow is shed for a drop of less than this part of the capacity.
    pub change: Share,
}

/// What happens to flows that no longer fit when the capacity falls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum OnCapacityDrop {
    /// They keep their reservations; no new flow is admitted until all fit again.
    Keep,
    /// The least important flows are ended until the rest fits.
    Shed,
}

impl Enforcement {
    /// The words of a policy file.
    pub(super) const WORDS: [(&str, Self); 3] =
        [("auto", Self::Auto), ("kernel", Self::Kernel), ("user-space", Self::UserSpace)];
}

impl Shared {
    /// The words of a policy file.
    pub(super) const WORDS: [(&str, Self); 2] = [("refuse", Self::Refuse), ("user-space", Self::UserSpace)];
}

impl OnCapacityDrop {
    /// The words of a policy file.
    pub(super) const WORDS: [(&str, Self); 2] = [("keep", Self::Keep), ("shed", Self::Shed)];
}

impl Budget {
    /// A budget without a minimum for best effort.
    pub const fn new(capacity: Capacity, reservable: Share) -> Self {
        Self { capacity, reservable, min_best_effort: None }
    }

    /// What may be reserved of a capacity.
    ///
    /// `floor(capacity × reservable)`, and not more than `min_best_effort` leaves. An absolute `reservable` counts up to
    /// the capacity.
    pub fn reservable_of(&self, capacity: Rate) -> Rate {
        let kept = self.min_best_effort.map_or(Rate::ZERO, |share| share.of(capacity));
        self.reservable.of(capacity).min(capacity.saturating_sub(kept))
    }
}

impl InterfacePolicy {
    /// An interface with these budgets and the default of every other key.
    pub fn new(budgets: Both<Budget>) -> Self {
        Self {
            budgets,
            enforcement: Enforcement::Auto,
            shared: Shared::Refuse,
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
            parent: None,
            place: Place::default(),
        }
    }

    /// The `egress` budget for sending, the `ingress` budget for receiving.
    pub const fn budget(&self, direction: Direction) -> &Budget {
        self.budgets.get(direction)
    }
}
