//! The groups that the policy states: made as soon as they fit, and changed when a reload changes them.

use std::sync::Arc;

use super::groups::MembersMust;
use super::state::Ledger;
use crate::admission::group_difference::GroupDifference;
use crate::admission::request::GroupRequest;
use crate::ordered::OrderedMap;
use crate::policy::{Group as GroupPolicy, Policy};

impl Ledger {
    /// The groups that are not as the policy states them, with the reason.
    pub fn group_differences(&self) -> Vec<(String, GroupDifference)> {
        let unmade = self.unmade.iter().map(|(name, why)| (name.to_string(), why.clone()));
        let mut differences: Vec<_> = unmade.collect();
        for (name, group) in &self.groups {
            let stated = self.policy.groups.contains_key(&**name);
            if self.unmade.contains_key(name) {
                continue;
            }
            if group.is_outgrown() {
                differences.push((name.to_string(), GroupDifference::Outgrown));
            } else if group.closing && !stated {
                differences.push((name.to_string(), GroupDifference::Removed));
            }
        }
        differences.sort_by(|(one, _), (other, _)| one.cmp(other));
        differences
    }

    /// The groups that are not as the policy states them, and those whose members are not, after another policy.
    pub(crate) fn reloaded_groups(&self, before: &Policy) -> Vec<(String, GroupDifference)> {
        let mut differences = self.group_differences();
        differences.extend(self.former_classes(before));
        differences.sort_by(|(one, _), (other, _)| one.cmp(other));
        differences
    }

    /// The groups that have another class than before, and members in the former one.
    fn former_classes(&self, before: &Policy) -> OrderedMap<String, GroupDifference> {
        let former = |name: &str| {
            let (former, stated) = (before.groups.get(name)?, self.policy.groups.get(name)?);
            (former.class != stated.class).then_some(&former.class)
        };
        let mut found = OrderedMap::new();
        for entry in self.flows.slots().map(|slot| self.flows.entry(slot)) {
            let Some(name) = &entry.group else { continue };
            let Some(former) = former(name) else { continue };
            let class = entry.footprint.class.map(|number| &**self.classes.names.text(number));
            if class == former.as_deref() {
                found.insert(name.to_string(), GroupDifference::OtherClass { class: former.clone() });
            }
        }
        found
    }

    /// Makes every group of the policy, and changes those that exist and are not as the policy states them.
    pub(crate) fn state_groups(&mut self) {
        let policy = Arc::clone(&self.policy);
        self.unmade.clear();
        for (name, group) in &policy.groups {
            self.state_group(name, group);
        }
        // A group that takes less now can leave capacity for one that was tried before it.
        let mut refused = usize::MAX;
        while self.unmade.len() < refused {
            refused = self.unmade.len();
            self.retry_groups();
        }
    }

    /// Makes or changes the groups of the policy that did not fit before: capacity may have become free.
    pub(crate) fn retry_groups(&mut self) {
        if self.unmade.is_empty() {
            return;
        }
        let policy: Arc<Policy> = Arc::clone(&self.policy);
        for name in self.unmade.keys().cloned().collect::<Vec<_>>() {
            match policy.groups.get(&*name) {
                Some(group) => self.state_group(&name, group),
                None => drop(self.unmade.remove(&name)),
            }
        }
    }

    /// Makes the groups anew that take something of one interface, whose parameters have changed.
    pub(crate) fn restate_groups_on(&mut self, interface: &str) {
        let policy = Arc::clone(&self.policy);
        let concerned = policy.groups.iter().filter(|(_, group)| {
            group.interface == interface || self.is_on_wire_of(&group.interface, interface)
        });
        for (name, group) in concerned.collect::<Vec<_>>() {
            let ended = !self.groups.contains_key(name.as_str()) && !self.unmade.contains_key(name.as_str());
            if !ended {
                self.state_group(name, group);
            }
        }
    }

    fn state_group(&mut self, name: &str, stated: &GroupPolicy) {
        match self.try_to_state(name, stated) {
            Ok(()) => drop(self.unmade.remove(name)),
            Err(why) => drop(self.unmade.insert(Arc::from(name), why)),
        }
    }

    fn try_to_state(&mut self, name: &str, stated: &GroupPolicy) -> Result<(), GroupDifference> {
        let GroupPolicy { interface, class, mode, qos, .. } = stated.clone();
        if let Some(group) = self.groups.get_mut(name)
            && (group.interface != interface || group.mode != mode)
        {
            if !group.is_empty() {
                group.closing = true;
                return Err(match group.interface != interface {
                    true => GroupDifference::OtherInterface { interface: group.interface.clone() },
                    false => GroupDifference::OtherMode,
                });
            }
            self.end_group(name);
        }
        let request = GroupRequest { id: name.to_owned(), interface, class, mode, qos };
        let made = self.set_group(&request, MembersMust::KeepTheirs);
        if let Some(group) = self.groups.get_mut(name) {
            // It may have been about to end, under a policy without it.
            group.closing = false;
        }
        made.map(drop).map_err(GroupDifference::Refused)
    }
}
