//! Classes: kinds of flows, each with a share, limits and marks.

use flowspec::{Rate, Share};

use super::owner::OwnerMatch;
use super::place::Place;
use super::timeouts::OwnTimeouts;

/// A kind of flow.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Class {
    /// How much of an interface's budget its flows may hold together, per direction; `None` means all of it.
    pub share: Option<Share>,
    /// How many flows it may hold on one interface.
    pub max_flows: Option<u64>,
    /// The most that one flow may be charged.
    pub max_rate: Option<Rate>,
    /// The overbooking factor in thousandths. With declared admission, a controlled-load flow is charged its rate
    /// divided by the factor. With measured admission it is charged its rate, and the measured sum is not taken to be
    /// less than the declared sum divided by the factor.
    pub overbooking_thousandths: u64,
    /// From 0 (best) to 7: compared with the holding priorities of the flows that it would preempt.
    pub setup_priority: u8,
    /// From 0 (best) to 7; not worse than `setup_priority`.
    pub holding_priority: u8,
    /// The class's position in the Russian dolls model, from 0 (outermost) to 7.
    pub class_type: u8,
    /// Which rate a flow is charged.
    pub allocate: Allocate,
    /// Whether controlled load counts as declared or as measured.
    pub admission: Admission,
    /// Conditions on the owner of a flow; `None` admits every owner.
    pub matches: Option<OwnerMatch>,
    /// The DS field's code point of its packets.
    pub dscp: Option<u8>,
    /// How long its flows keep their reservations without their peers.
    pub timeouts: OwnTimeouts,
    /// Where the class is defined.
    pub place: Place,
}

/// Which rate a flow is charged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Allocate {
    /// The rate that its service needs: r, or R if a delay bound needs more.
    Rate,
    /// The peak rate p; the flow may then send at p at any time.
    Peak,
}

/// How controlled load counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Admission {
    /// By the sum of the declared rates.
    Declared,
    /// By the measured rate plus a margin; by the sum of the declared rates while there is no measurement.
    Measured,
}

impl Class {
    /// The names of code points. Source: RFC 2474, 2597, 3246, 5865, 8622.
    pub(super) const CODE_POINTS: [(&str, u8); 23] = [
        ("CS0", 0),
        ("LE", 1),
        ("CS1", 8),
        ("AF11", 10),
        ("AF12", 12),
        ("AF13", 14),
        ("CS2", 16),
        ("AF21", 18),
        ("AF22", 20),
        ("AF23", 22),
        ("CS3", 24),
        ("AF31", 26),
        ("AF32", 28),
        ("AF33", 30),
        ("CS4", 32),
        ("AF41", 34),
        ("AF42", 36),
        ("AF43", 38),
        ("CS5", 40),
        ("VA", 44),
        ("EF", 46),
        ("CS6", 48),
        ("CS7", 56),
    ];
}

impl Allocate {
    /// The words of a policy file.
    pub(super) const WORDS: [(&str, Self); 2] = [("rate", Self::Rate), ("peak", Self::Peak)];
}

impl Admission {
    /// The words of a policy file.
    pub(super) const WORDS: [(&str, Self); 2] = [("declared", Self::Declared), ("measured", Self::Measured)];
}
