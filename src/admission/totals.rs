//! What one direction of an interface or a group may promise, and what is promised of it.

use flowspec::Rate;
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
