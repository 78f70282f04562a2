//! Notifies flows that wait once there is enough capacity for them.

use super::group::Member;
use super::prepare::{Constraint, Described, Wanted};
use super::queue::{GRACE, Lane, LaneKind, MOST_NOTIFIED, WaitingRequest, Walk};
use super::scarce::Scarce;
use super::state::Ledger;
use crate::admission::account::fit::FitContext;
use crate::admission::refusal::Refusal;
use crate::admission::request::Request;
use crate::ordered::OrderedMap;

/// The most flows that wait for later windows and lack something, for which one walk over the queue tries it.
const MOST_LATER_LACKING: usize = 64;

/// Unbooks what was only tried.
type Undo = Box<dyn FnOnce(&mut Ledger)>;

/// How much of one walk over the queue is done, and whether a limit left a flow out.
#[derive(Default)]
struct WalkLimits<'q> {
    /// How many flows of each kind count as notified.
    notified: OrderedMap<LaneKind<'q>, usize>,
    /// How many flows lack something in a later window.
    later_lacking: usize,
    is_reached: bool,
}

impl<'q> WalkLimits<'q> {
    /// Whether no more flows of a lane are tried.
    fn end_at(&mut self, lane: &'q Lane) -> bool {
        let has_enough = self.notified.get(&lane.kind()).is_some_and(|count| *count >= MOST_NOTIFIED);
        let has_ended =
            has_enough || lane.time.later_start().is_some() && self.later_lacking >= MOST_LATER_LACKING;
        self.is_reached |= has_ended;
        has_ended
    }

    fn count_notified(&mut self, lane: &'q Lane) {
        *self.notified.entry(lane.kind()).or_default() += 1;
    }

    fn count_lacking(&mut self, lane: &Lane) {
        self.later_lacking += usize::from(lane.time.later_start().is_some());
    }
}

impl Ledger {
    /// A flow waits from now on, or keeps its place. Returns whether it waits.
    pub(crate) fn wait(&mut self, request: &Request) -> bool {
        let lane = self.lane_of(request);
        // What it waited for before, or was notified of, may be free for the flows behind it.
        self.risen |= self.waiting.has(&request.id) && !self.waiting.has_request(request, &lane);
        self.waiting.join(request, lane)
    }

    /// Notifies the flows that wait and fit, in order, and gives them: those that wait to begin now fit from now on, the
    /// others in their windows.
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
        let mut limits = WalkLimits::default();
        // What is too scarce for flows that have waited longer.
        let mut scarce = Scarce::default();
        while let Some((place, WaitingRequest { request, lane, notified_until })) = walk.next(&waiting) {
            let window = request.window(now);
            let blocking = self.blocking(lane, &window, &scarce);
            if !blocking.is_empty() {
                // It keeps its place before the flows behind it also at the moments at which those before it lack nothing.
                scarce.add(blocking, window);
                continue;
            }
            if limits.end_at(lane) {
                // The flows behind it do not take what it may be notified of next.
                scarce.add(self.limited_resources(lane), window);
                continue;
            }
            match self.try_waiting(request) {
                Ok(undo) => {
                    taken.push(undo);
                    limits.count_notified(lane);
                    walk.go_on(&waiting, place);
                    if notified_until.is_none() {
                        notified.push((place, request.id.clone()));
                    }
                }
                // A flow that lacks something else, or more than the whole budget, does not block the others.
                Err(refusal) if !self.may_fit_later(request, &refusal) => walk.go_on(&waiting, place),
                Err(_) => {
                    scarce.add(self.lacked_by(request), window);
                    limits.count_lacking(lane);
                }
            }
        }
        waiting.is_settled = !limits.is_reached;
        for (place, _) in &notified {
            waiting.set_notified(*place, now.saturating_add(GRACE));
        }
        waiting.is_settled &= taken.len() == waiting.notified();
        for undo in taken.into_iter().rev() {
            undo(self);
        }
        self.waiting = waiting;
        notified.into_iter().map(|(_, id)| id).collect()
    }

    /// Books what a flow waits for, until that is undone.
    fn try_waiting(&mut self, request: &Request) -> Result<Undo, Refusal> {
        if self.flows.slot(&request.id).is_none() {
            let slot = self.try_out(request)?;
            return Ok(Box::new(move |ledger| drop(ledger.end(slot))));
        }
        let (grant, before) = self.replace_reservation(&request.id, request.qos.map(Some))?;
        // It has what it has until it requests the better one: nothing of that is free.
        self.charge_both(&request.id, &grant, &before);
        Ok(Box::new(move |ledger| ledger.restore(before)))
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
