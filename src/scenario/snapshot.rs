//! The state of a ledger at one step, for people.

use std::fmt;

use flowspec::{Both, Direction, Rate};

use crate::admission::{Ledger, Totals};

/// The most flows that are listed for an interface.
const LISTED: usize = 20;

/// The state of a ledger at one step.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LedgerSnapshot {
    /// In the order of their names.
    pub interfaces: Vec<InterfaceSnapshot>,
}

/// The state of one interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InterfaceSnapshot {
    /// The interface's name.
    pub name: String,
    /// Budget and reservations.
    pub totals: Both<Totals>,
    /// Up to 20 flows with their charges, largest first.
    pub flows: Vec<(String, Both<Rate>)>,
    /// How many further flows there are.
    pub more: usize,
}

impl LedgerSnapshot {
    /// The present state of a ledger.
    pub(super) fn of(ledger: &Ledger) -> Self {
        let interfaces = ledger.interfaces().into_iter().map(|(name, totals)| {
            let mut flows = ledger.holders(&name);
            let more = flows.len().saturating_sub(LISTED);
            flows.truncate(LISTED);
            InterfaceSnapshot { name, totals, flows, more }
        });
        Self { interfaces: interfaces.collect() }
    }
}

impl fmt::Display for LedgerSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.interfaces.iter().try_for_each(|interface| interface.fmt(f))
    }
}

impl fmt::Display for InterfaceSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for direction in Direction::BOTH {
            let totals = self.totals.get(direction);
            if totals.budget > Rate::ZERO || totals.reserved > Rate::ZERO {
                let Totals { budget, reserved } = totals;
                let (name, available) = (&self.name, totals.available());
                writeln!(f, "{name} {direction}: {reserved} reserved of {budget}, {available} available")?;
            }
        }
        for (id, Both { sending, receiving }) in &self.flows {
            writeln!(f, "  {id}: sending {sending}, receiving {receiving}")?;
        }
        if self.more > 0 {
            writeln!(f, "  and {} more", self.more)?;
        }
        Ok(())
    }
}
