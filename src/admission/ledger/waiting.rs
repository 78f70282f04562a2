//! Notifies flows that wait once there is enough capacity for them.

use std::collections::BTreeMap;

use super::group::Member;
use super::lanes::Scarce;
use super::prepare::{Constraint, Described, Wanted};
use super::queue::{GRACE, Lane, MOST_NOTIFIED, Walk};
use super::state::Ledger;
use crate::admission::account::fit::FitContext;
use crate::admission::refusal::Refusal;
use crate::admission::request::Request;

/// Unbooks what was only tried.
type Undo = Box<dyn FnOnce(&mut Ledger)>;

impl Ledger {
    /// A flow waits from now on, or keeps its place. Returns whether it waits.
    pub(crate) fn wait(&mut self, request: &Request) -> bool {
        let lane = self.lane_of(request);
        // What it waited for before, or was notified of, may be free for the flows behind it. One that was to begin later is
        // notified of what it can have now: only a flow that begins now may use what is measured as unused.
        let waits_for_another = self.waiting.has(&request.id) && !self.waiting.has_request(request, &lane);
        self.risen |= waits_for_another || request.start.is_some();
        self.waiting.join(request, lane)
    }

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
        // What is too scarce for flows that have waited longer.
        let mut scarce = Scarce::new();
        // How many flows of each lane count as notified.
        let mut notified_of: BTreeMap<&Lane, usize> = BTreeMap::new();
        let mut is_settled = true;
        while let Some((place, waiter)) = walk.next(&waiting) {
            if self.is_blocked(&waiter.lane, &scarce) {
                continue;
            }
            if notified_of.get(&waiter.lane).is_some_and(|count| *count >= MOST_NOTIFIED) {
                // The flows behind it do not take what it may be notified of next.
                scarce.extend(self.limited_resources(&waiter.lane));
                is_settled = false;
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
                Ok(undo) => {
                    taken.push(undo);
                    *notified_of.entry(&waiter.lane).or_default() += 1;
                }
                Err(refusal) => {
                    // A flow that lacks something else, or more than the whole budget, does not block the others.
                    if !self.may_fit_later(&request, &refusal) {
                        walk.go_on(&waiting, place);
                    } else {
                        scarce.extend(self.lacked_by(&request));
                    }
                    continue;
                }
            }
            walk.go_on(&waiting, place);
            if waiter.notified_until.is_none() {
                notified.push((place, request.id));
            }
        }
        for (place, _) in &notified {
            waiting.set_notified(*place, now.saturating_add(GRACE));
        }
        waiting.is_settled = is_settled && taken.len() == waiting.notified();
        for undo in taken.into_iter().rev() {
            undo(self);
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
}
