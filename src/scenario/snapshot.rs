//! The state of a ledger at one step, for people.

use std::fmt;

use flowspec::{Both, Direction, Rate};

use crate::admission::{Ledger, Totals};

/// The most rows that are listed for an interface, and the most ids in a row.
const LISTED_ROWS: usize = 20;
const LISTED_IDS: usize = 4;

/// The state of a ledger at one step.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LedgerSnapshot {
    /// In the order of their names.
    pub interfaces: Vec<InterfaceSnapshot>,
}

/// What one interface has reserved, and for which flows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InterfaceSnapshot {
    /// The interface's name.
    pub name: String,
    /// Budget and reservations.
    pub totals: Both<Totals>,
    /// The groups on it: what each has, and what its members take of it.
    pub groups: Vec<(String, Both<Totals>)>,
    /// Up to 20 rows of flows, largest charges first.
    pub rows: Vec<FlowRow>,
    /// How many flows are in further rows.
    pub more: usize,
}

/// Flows with the same charges.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FlowRow {
    /// The ids of up to four of them, oldest first.
    pub ids: Vec<String>,
    /// How many flows they are.
    pub count: usize,
    /// Bytes per second that each of them is charged.
    pub charged: Both<Rate>,
}

impl LedgerSnapshot {
    /// The present state of a ledger.
    pub(super) fn of(ledger: &Ledger) -> Self {
        let interfaces = ledger.interfaces().into_iter().map(|(name, totals)| {
            let mut rows = rows(ledger.holders(&name));
            let more = rows.iter().skip(LISTED_ROWS).map(|row| row.count).sum();
            rows.truncate(LISTED_ROWS);
            let groups = ledger.group_ids().filter_map(|id| {
                let (_, totals) = ledger.group_totals(id).filter(|(interface, _)| *interface == name)?;
                Some((id.to_owned(), totals))
            });
            let groups = groups.collect();
            InterfaceSnapshot { name, totals, groups, rows, more }
        });
        Self { interfaces: interfaces.collect() }
    }
}

/// Flows by their charges, in the order of the first flow of each row.
fn rows(flows: Vec<(String, Both<Rate>)>) -> Vec<FlowRow> {
    let mut rows: Vec<FlowRow> = Vec::new();
    let mut known = std::collections::BTreeMap::new();
    for (id, charged) in flows {
        let number = *known.entry((charged.sending, charged.receiving)).or_insert_with(|| {
            rows.push(FlowRow { ids: Vec::new(), count: 0, charged });
            rows.len() - 1
        });
        let row = &mut rows[number];
        row.count += 1;
        if row.ids.len() < LISTED_IDS {
            row.ids.push(id);
        }
    }
    rows
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
        for (id, Both { sending, receiving }) in &self.groups {
            let (sent, received) = (sending.reserved, receiving.reserved);
            writeln!(
                f,
                "  group {id}: sending {sent} of {}, receiving {received} of {}",
                sending.budget, receiving.budget
            )?;
        }
        self.rows.iter().try_for_each(|row| writeln!(f, "  {row}"))?;
        if self.more > 0 {
            writeln!(f, "  and {} more", self.more)?;
        }
        Ok(())
    }
}

impl fmt::Display for FlowRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Both { sending, receiving } = self.charged;
        f.write_str(&self.ids.join(", "))?;
        if self.count > self.ids.len() {
            f.write_str(", …")?;
        }
        if self.count > 1 {
            write!(f, " (× {})", self.count)?;
        }
        write!(f, ": sending {sending}, receiving {receiving}")
    }
}
