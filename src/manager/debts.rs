//! What the flows of a manager owe at its end, for the manager that follows it.

use std::time::Duration;

use flowspec::{Micros, Moment};

use super::owed::Owed;
use super::state::Manager;

/// What the flows of a manager have taken from their buckets and owe.
#[derive(Clone, Debug, Default)]
pub struct Debts(Owed);

impl Manager {
    /// What its flows owe now, those that have not ended as well.
    pub fn debts(&self, now: Moment) -> Debts {
        let mut owed = self.owed.clone();
        owed.advance(now);
        // What a flow owes that has ended is counted since then.
        for flow in self.flows.values().filter(|flow| !flow.debt.is_counted) {
            owed.owe(flow.debtor(), flow.missing(owed.now()));
        }
        Debts(owed)
    }

    /// Its flows begin without what those of an earlier manager owed this long before `now`. For a manager without flows.
    pub fn begin_with(&mut self, debts: Debts, elapsed: Duration, now: Moment) {
        let Debts(mut owed) = debts;
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        owed.advance(owed.now().saturating_add(Micros::new(micros)));
        self.owed = owed.at(now);
    }
}
