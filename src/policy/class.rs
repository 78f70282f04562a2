//! Classes: kinds of flows, with their share, limits and marks.

use flowspec::{Rate, Share};

use super::owner::OwnerMatch;
use super::place::Place;

/// A kind of flow: its share, limits and marks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Class {
    /// What the class may hold of an interface's budget, per direction; classes may overlap (MAM).
    /// All of it where nothing is given.
    pub share: Option<Share>,
    /// How many flows it may hold on an interface.
    pub max_flows: Option<u64>,
    /// The most one flow may be charged.
    pub max_rate: Option<Rate>,
    /// Controlled load is charged its rate divided by this, in thousandths. Where admission is measured it
    /// is charged its rate, and this is how far what is measured may lower the sum.
    pub overbooking_thousandths: u64,
    /// 0 best to 7.
    pub setup_priority: u8,
    /// 0 best to 7; not worse than `setup_priority`.
    pub holding_priority: u8,
    /// Orders the Russian dolls, 0 the outermost to 7.
    pub class_type: u8,
    /// What a flow is charged.
    pub allocate: Allocate,
    /// Whether its controlled load counts as declared or as measured.
    pub admission: Admission,
    /// Whose flows it is for; everybody's where there is nothing.
    pub matches: Option<OwnerMatch>,
    /// The DS field's code point for the class's packets.
    pub dscp: Option<u8>,
    /// Where it is defined.
    pub place: Place,
}

/// What a flow is charged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Allocate {
    /// What its service needs: r, or R where a delay needs more.
    Rate,
    /// p: it may then always send at its peak.
    Peak,
}

/// How controlled load counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Admission {
    /// By the sum of what flows have declared.
    Declared,
    /// By what they were measured to send, with a margin; by the sum where there is no measurement.
    Measured,
}
