//! What one direction of an interface or a group may promise, and what is promised of it.

use flowspec::{Both, Rate};
use serde::{Deserialize, Serialize};

/// One direction: the budget and the part of it that is reserved.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Totals {
    /// What may be promised.
    pub budget: Rate,
    /// Bytes per second that flows and groups are charged now.
    pub reserved: Rate,
}

impl Totals {
    /// What is left of the budget; zero where more is promised than may be.
    pub fn available(&self) -> Rate {
        self.budget.saturating_sub(self.reserved)
    }
}

/// What a class holds of an interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClassTotals {
    /// The name of the link: `eth0`.
    pub interface: String,
    /// The policy's class.
    pub class: String,
    /// Its share of the interface's budget, or the whole where it has none, and what its flows and groups declare of it now.
    pub totals: Both<Totals>,
    /// How many flows have it; members of groups, and flows that begin later, included.
    pub flows: usize,
}
