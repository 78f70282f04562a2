//! The groups as the events have reported them.
//!
//! What a group is charged changes with its members, whatever ends them. The events follow from the difference
//! between what was reported and what the ledger has.

use flowspec::{Both, Rate};

use super::turn::Turn;
use crate::admission::Ledger;
use crate::ordered::OrderedMap;
use crate::policy::GroupMode;
use crate::telemetry::Event;
use crate::telemetry::event::{GroupCharged, GroupEnded, GroupMade};

/// The groups as the events have reported them, by name.
#[derive(Debug, Default)]
pub(super) struct RecordedGroups(OrderedMap<String, RecordedGroup>);

#[derive(Debug)]
struct RecordedGroup {
    interface: String,
    mode: GroupMode,
    charged: Both<Rate>,
}

impl RecordedGroups {
    /// Records how the ledger's groups differ from those that were reported.
    pub(super) fn record_changes(&mut self, ledger: &Ledger, turn: &mut Turn) {
        let stays = |id: &str, group: &RecordedGroup| {
            ledger.group_totals(id).is_some_and(|(interface, _)| interface == group.interface)
                && ledger.group_mode(id) == Some(group.mode)
        };
        let ended = self.0.iter().filter(|(id, group)| !stays(id, group));
        let ended: Vec<_> = ended.map(|(id, _)| id.clone()).collect();
        for id in ended {
            if let Some(RecordedGroup { interface, charged, .. }) = self.0.remove(&id) {
                turn.record(|| Event::GroupEnded(GroupEnded { id, interface, charged }));
            }
        }
        for id in ledger.group_ids() {
            let (Some((interface, totals)), Some(mode)) = (ledger.group_totals(id), ledger.group_mode(id))
            else {
                continue;
            };
            let charged = totals.map(|totals| totals.budget);
            match self.0.get_mut(id) {
                None => {
                    let group = RecordedGroup { interface: interface.to_owned(), mode, charged };
                    self.0.insert(id.to_owned(), group);
                    let (id, interface) = (id.to_owned(), interface.to_owned());
                    turn.record(|| Event::GroupMade(GroupMade { id, interface, mode, charged }));
                }
                Some(group) if group.charged != charged => {
                    let previously = std::mem::replace(&mut group.charged, charged);
                    let (id, interface) = (id.to_owned(), interface.to_owned());
                    turn.record(|| Event::GroupCharged(GroupCharged { id, interface, charged, previously }));
                }
                Some(_) => {}
            }
        }
    }
}
