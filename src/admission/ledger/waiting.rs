//! Notifies flows that wait once there is enough capacity for them.

use std::collections::BTreeSet;

use super::group::Member;
use super::prepare::{Constraint, Described, Wanted};
use super::queue::{GRACE, Walk};
use super::state::Ledger;
use crate::admission::account::fit::FitContext;
use crate::admission::refusal::Refusal;
use crate::admission::request::Request;

/// Unbooks what was only tried.
type Undo = Box<dyn FnOnce(&mut Ledger)>;

impl Ledger {
    /// Notifies the flows that wait and fit now, in order, and gives them.
    pub(crate) fn notify_waiting(&mut self) -> Vec<String> {
        if self.waiting.queue.is_empty() {
            return Vec::new();
        }
        let now = self.now;
        let mut waiting = std::mem::take(&mut self.waiting);
        let mut notified = Vec::new();
        // What earlier flows are notified of counts as taken while the later ones are tried.
        let mut taken: Vec<Undo> = Vec::new();
        let mut walk = Walk::begin(&waiting);
        // The interfaces that have too little for a flow that has waited longer.
        let mut full = BTreeSet::new();
        while let Some((place, waiter)) = walk.next(&waiting) {
            if self.wire_numbers(&waiter.request.interface).iter().any(|number| full.contains(number)) {
                continue;
            }
            let request = Request { start: None, ..waiter.request.clone() };
            let tried = if self.flows.slot(&request.id).is_some() {
                let better = self.replace_reservation(&request.id, request.qos.map(Some));
                better.map(|(grant, before)| {
                    // It has what it has until it requests the better one: nothing of that is free.
                    self.charge_both(&request.id, &grant, &before);
                    Box::new(move |ledger: &mut Ledger| ledger.restore(before)) as Undo
                })
            } else {
                let new = self.try_out(&request);
                new.map(|slot| {
                    Box::new(move |ledger: &mut Ledger| {
                        ledger.end(slot);
                    }) as Undo
                })
            };
            match tried {
                Ok(undo) => taken.push(undo),
                Err(refusal) => {
                    // A flow that lacks something else, or more than the whole budget, does not block the others.
                    if !self.may_fit_later(&request, &refusal) {
                        walk.go_on(&waiting, place);
                    } else {
                        full.extend(self.lacked_by(&request));
                    }
                    continue;
                }
            }
            walk.go_on(&waiting, place);
            if waiter.notified_until.is_none() {
                notified.push((place, request.id));
            }
        }
        for undo in taken.into_iter().rev() {
            undo(self);
        }
        for (place, _) in &notified {
            waiting.set_notified(*place, now.saturating_add(GRACE));
        }
        self.waiting = waiting;
        notified.into_iter().map(|(_, id)| id).collect()
    }

    /// Whether a request that was refused lacks nothing but what others hold: it would fit if nothing else were reserved.
    pub(crate) fn may_fit_later(&mut self, request: &Request, refusal: &Refusal) -> bool {
        if !refusal.lacks_capacity() {
            return false;
        }
        let Ok(Described { entry, charge, .. }) = self.describe(request) else { return false };
        let member = Member::of(&entry, &charge);
        let wanted = self.wanted(entry, member.as_deref());
        match self.fits_alone(&wanted) {
            Ok(()) => true,
            // A link with a capacity of zero is down, and may come up again.
            Err(refusal) => refusal.may_fit_later(),
        }
    }

    fn fits_alone(&self, wanted: &Wanted) -> Result<(), Refusal> {
        for Constraint { footprint, old, flow } in self.constraints(wanted) {
            for (_, account) in self.wire(footprint.interface) {
                let Some(context) = self.fit_context(account, &footprint, flow) else { continue };
                let nothing = account.usage.emptied();
                account.check(&FitContext { usage: &nothing, ..context }, &footprint, old.as_ref())?;
            }
        }
        Ok(())
    }

    /// The interfaces that are full for the flows behind one that does not fit: its own, and each parent that has too
    /// little for it.
    fn lacked_by(&mut self, request: &Request) -> Vec<u32> {
        let own = self.interface_number(&request.interface);
        let Ok(Described { entry, charge, .. }) = self.describe(request) else { return vec![own] };
        let member = Member::of(&entry, &charge);
        // What it has would be replaced.
        let held = self.flows.get(&request.id);
        let slot = held.as_ref().map(|held| held.footprint.slot);
        let group = held.as_ref().and_then(|held| self.groups.get(held.group.as_ref()?));
        let held_member = group.zip(slot).and_then(|(group, slot)| group.member(slot).cloned());
        let group_before = group.map(|group| group.footprint.clone());
        if let Some(held) = &held {
            self.unbook(held);
        }
        let mut wanted = self.wanted(entry, member.as_deref());
        if let Some(held) = &held {
            let start = held.footprint.window.start.max(self.now);
            wanted.entry = held.clone().costing(&charge);
            wanted.entry.footprint.window.start = start;
            wanted.old = Some(Box::new(held.clone()));
        }
        if let (Some(group), Some(before)) = (&mut wanted.group, group_before) {
            group.held = before;
        }
        let lacking = self.without_group(&wanted, |ledger| ledger.lacking(&wanted));
        if let Some(held) = &held {
            self.book(held, held_member.map(Box::new));
            self.tidy(&held.footprint);
        }
        lacking.into_iter().chain([own]).collect()
    }
}
