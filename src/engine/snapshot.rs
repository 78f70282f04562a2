//! What the ledger holds at one moment, read without the kernel and without the engine's task.

use flowspec::{Both, Moment};

use super::core::lock;
use super::local::LocalEngine;
use crate::admission::{ClassTotals, Holding, Totals};
use crate::manager::Status;
use crate::tc::Handle;

/// Interfaces, classes and groups at one moment.
#[derive(Clone, Debug, Default)]
pub struct EngineSnapshot {
    /// The interfaces that have been seen, with their states, by name.
    pub interfaces: Vec<(String, Status)>,
    /// The classes of each interface that the ledger knows.
    pub classes: Vec<ClassTotals>,
    /// The groups: at most as many as were asked for.
    pub groups: Vec<GroupSnapshot>,
    /// How many groups there are.
    pub all_groups: usize,
    /// When it was so, by the engine's clock.
    pub at: Moment,
}

/// A flow that holds a reservation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FlowSnapshot {
    /// What it holds, and where.
    pub holding: Holding,
    /// Its class in the policy.
    pub class: Option<String>,
    /// Its class in the kernel; `None` where user space alone enforces it.
    pub kernel_class: Option<Handle>,
}

/// A group, and what its members hold of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GroupSnapshot {
    /// The id that the request or the policy gives it.
    pub id: String,
    /// The link that all its members use.
    pub interface: String,
    /// What it is charged, and what its members are charged together.
    pub totals: Both<Totals>,
}

impl LocalEngine {
    /// The ledger's interfaces, classes and its first groups by name.
    ///
    /// The engine's lock is held for a time in proportion to the number of flows.
    pub fn snapshot(&self, most_groups: usize) -> EngineSnapshot {
        let core = lock(self.core());
        let manager = &core.manager;
        let interfaces = manager.interfaces().into_iter();
        let interfaces =
            interfaces.filter_map(|(name, _)| manager.status(&name).map(|status| (name, status)));
        let ledger = manager.ledger();
        let group = |id: &str| {
            let (interface, totals) = ledger.group_totals(id)?;
            Some(GroupSnapshot { id: id.to_owned(), interface: interface.to_owned(), totals })
        };
        EngineSnapshot {
            interfaces: interfaces.collect(),
            classes: ledger.class_totals(),
            groups: ledger.group_ids().take(most_groups).filter_map(group).collect(),
            all_groups: ledger.group_ids().count(),
            at: core.now(),
        }
    }

    /// When the engine's clock began, from 1970 on.
    pub fn began(&self) -> Moment {
        lock(self.core()).began()
    }

    /// The flows of these ids that are admitted, read while the engine's lock is held.
    pub fn flow_snapshots(&self, ids: &[String]) -> Vec<FlowSnapshot> {
        let core = lock(self.core());
        let (manager, ledger) = (&core.manager, core.manager.ledger());
        let flow = |id: &String| {
            let holding = ledger.holding_of(id)?;
            let class = ledger.flow_class(id).map(str::to_owned);
            Some(FlowSnapshot { holding, class, kernel_class: manager.class(id).map(|(_, class)| class) })
        };
        ids.iter().filter_map(flow).collect()
    }
}
