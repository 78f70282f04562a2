//! What flows compete for on an interface.

use flowspec::Direction;

/// Something limited that flows take a part of.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Resource {
    /// The `max_flows` of the interface.
    Flows,
    /// The `max_flows` of a class, by its number.
    ClassFlows(u32),
    /// The `buffer` of the interface.
    Buffer(Direction),
    /// The interface's budget.
    Budget(Direction),
    /// The share of a class, by its number.
    Share(u32, Direction),
    /// What the Russian dolls model leaves for a class type, 1 to 7, and the types inside it.
    Doll(usize, Direction),
    /// The interface's budget less the threshold of the MAR model: for classes that are above their shares.
    BelowThreshold(Direction),
}
