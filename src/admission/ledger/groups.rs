//! Groups are made, changed and ended, and charged as their members change.

use std::sync::Arc;

use flowspec::{Both, Rate};

use super::alternative::{Tried, with_alternative};
use super::group::LedgerGroup;
use super::state::Ledger;
use crate::admission::account::charge::Charge;
use crate::admission::account::footprint::{ClassCounts, Footprint};
use crate::admission::account::window::Window;
use crate::admission::refusal::Refusal;
use crate::admission::request::{Grant, GroupRequest};
use crate::policy::GroupMode;
use crate::policy::PeerTimeouts;

/// The most groups there may be at once.
const MOST_GROUPS: usize = 100_000;

/// Which of a group's members have to fit its other flowspec.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum MembersMust {
    /// All of them together: what was requested is refused otherwise.
    Fit,
    /// None: they keep what they have, and a new policy counts for those that come.
    KeepTheirs,
}

impl Ledger {
    /// Makes a group, or changes the one of that name. Its members stay, and it may not become smaller than they are
    /// together.
    ///
    /// - **Errors**: a refusal, and everything is as it was.
    pub fn group(&mut self, request: &GroupRequest) -> Result<Grant, Refusal> {
        let grant = self.set_group(request, MembersMust::Fit)?;
        self.unmade.remove(request.id.as_str());
        Ok(grant)
    }

    pub(crate) fn set_group(
        &mut self,
        request: &GroupRequest,
        members: MembersMust,
    ) -> Result<Grant, Refusal> {
        let GroupRequest { id, interface, class, mode, qos } = request;
        let classes = Arc::clone(&self.classes);
        let found = match class {
            None => None,
            Some(name) => Some(classes.find(name)?),
        };
        let (class_number, class_policy) = found.unzip();
        let charge = self.charge(interface, qos, class_policy)?;
        let key: Arc<str> = Arc::from(id.as_str());
        self.check_group(request, self.groups.get(&key))?;
        self.check_own_charge(id, class_number, &charge)?;
        let before = self.groups.get(&key).cloned();
        let order = before.as_ref().map_or(self.admitted + 1, |before| before.footprint.order);
        let mut footprint = Footprint {
            slot: before.as_ref().map_or(0, |before| before.footprint.slot),
            order,
            interface: self.interface_number(interface),
            class: class_number,
            class_type: class_policy.map_or(0, |class| class.class_type),
            class_counts: ClassCounts::of(class_policy),
            charged: Both::default(),
            buffer: Both::default(),
            window: Window::from(self.now),
            flows: 0,
            holding_priority: None,
            peak: None,
            steps: None,
        };
        let new = before.is_none();
        if new {
            self.flows.insert_group(&format!("group {id}"), &mut footprint, self.now);
        }
        let mut group = LedgerGroup::new(interface, *mode, *qos, charge, footprint);
        let old = before.as_ref().map(|before| before.footprint.clone());
        if let Some(before) = before {
            group = match members {
                MembersMust::Fit => {
                    before.check_members(id, &group, self.now)?;
                    group.with_members_of(before)
                }
                MembersMust::KeepTheirs => group.by_policy_with_members_of(before, self.now),
            };
        }
        group.footprint = group.due(None, self.now);
        if let Err(refusal) = self.replace(old.as_ref(), &group.footprint) {
            if new {
                self.flows.remove_group(group.footprint.slot);
            }
            return Err(refusal);
        }
        self.admitted = self.admitted.max(order);
        self.flows.update_group(&group.footprint, self.now);
        self.tidy(&group.footprint);
        let charged = group.footprint.charged;
        self.groups.insert(key, group);
        self.relane_group(id);
        self.debug_check();
        Ok(Grant {
            charged,
            tspec: charge.tspec,
            dscp: class_policy.and_then(|c| c.dscp),
            timeouts: PeerTimeouts::OFF,
            preempted: Vec::new(),
        })
    }

    /// Whether the charge of an envelope's flowspec fits in place of what is booked for the group: found out before its
    /// members are looked at.
    fn check_own_charge(&mut self, id: &str, class: Option<u32>, charge: &Charge) -> Result<(), Refusal> {
        let is_same =
            |group: &&LedgerGroup| group.mode == GroupMode::Envelope && group.footprint.class == class;
        let Some(group) = self.groups.get(id).filter(is_same) else { return Ok(()) };
        let booked = group.footprint.clone();
        let own = Footprint { charged: charge.rate, buffer: charge.buffer, ..booked.clone() };
        let now = self.now;
        self.each_account(booked.interface, |account, _| account.unbook(&booked, now));
        let result = self.check_group_footprint(&own, Some(&booked));
        self.each_account(booked.interface, |account, _| account.book(&booked, now));
        result
    }

    /// Whether a group may be made, or changed where there is one of that name.
    fn check_group(&self, request: &GroupRequest, before: Option<&LedgerGroup>) -> Result<(), Refusal> {
        let GroupRequest { id, interface, mode, .. } = request;
        let Some(before) = before else {
            return match self.groups.len() {
                groups if groups >= MOST_GROUPS => Err(Refusal::TooManyGroups { groups }),
                _ => Ok(()),
            };
        };
        if before.interface != *interface {
            let (group_interface, interface) = (before.interface.clone(), interface.clone());
            return Err(Refusal::GroupElsewhere { group: id.clone(), group_interface, interface });
        }
        if before.mode != *mode {
            return Err(Refusal::GroupModeFixed { group: id.clone() });
        }
        Ok(())
    }

    /// Ends a group: at once where it has no members, else with its last one. Returns whether it has ended.
    ///
    /// - **Errors**: no such group.
    pub fn ungroup(&mut self, id: &str) -> Result<bool, Refusal> {
        let Some(group) = self.groups.get_mut(id) else {
            return Err(Refusal::UnknownGroup { group: id.to_owned() });
        };
        group.closing = true;
        self.bookings += 1;
        // Where the policy states it otherwise, it is not made anew either.
        self.unmade.remove(id);
        let gone = group.is_empty();
        if gone {
            self.end_group(id);
        }
        self.relane_group(id);
        self.debug_check();
        Ok(gone)
    }

    /// Books a footprint in place of another, or as a new one.
    fn replace(&mut self, old: Option<&Footprint>, new: &Footprint) -> Result<(), Refusal> {
        let now = self.now;
        self.bookings += 1;
        if let Some(old) = old {
            self.each_account(new.interface, |account, _| account.unbook(old, now));
        }
        let result = self.check_group_footprint(new, old).map_err(|refusal| {
            let is_both = new.charged.sending > Rate::ZERO && new.charged.receiving > Rate::ZERO;
            with_alternative(refusal, is_both, |Tried { direction, rate, is_alone }| {
                let mut less = new.clone();
                if is_alone {
                    less.charged = Both::default();
                }
                *less.charged.get_mut(direction) = rate;
                self.check_group_footprint(&less, old)
            })
        });
        let booked = if result.is_ok() { Some(new) } else { old };
        if let Some(booked) = booked {
            self.each_account(new.interface, |account, _| account.book(booked, now));
        }
        result
    }

    /// Changes a group's members, and with them what the interface is charged for it.
    pub(crate) fn change_group(&mut self, name: &str, change: impl FnOnce(&mut LedgerGroup)) {
        let now = self.now;
        let Some(group) = self.groups.get_mut(name) else { return };
        change(group);
        let due = group.due(None, now);
        if group.is_booked_as(&due, now) {
            return;
        }
        let before = std::mem::replace(&mut group.footprint, due.clone());
        self.each_account(before.interface, |account, _| {
            account.unbook(&before, now);
            account.book(&due, now);
        });
        self.flows.update_group(&due, now);
        self.tidy(&due);
    }

    /// Charges a group no more than its flowspec, once its members fit that again.
    pub(crate) fn shrink_group(&mut self, name: &str) {
        if self.groups.get(name).is_some_and(LedgerGroup::is_outgrown) {
            let now = self.now;
            self.change_group(name, |group| group.shrink(now));
        }
    }

    pub(crate) fn end_group(&mut self, name: &str) {
        let now = self.now;
        self.bookings += 1;
        let Some(group) = self.groups.remove(name) else { return };
        self.each_account(group.footprint.interface, |account, _| account.unbook(&group.footprint, now));
        self.flows.remove_group(group.footprint.slot);
        self.tidy(&group.footprint);
    }
}
