//! Flows are admitted by the best rendition that fits, booked, tried, and released.

use flowspec::{Both, Rate};

use super::client::ClientUse;
use super::group::Member;
use super::prepare::Prepared;
use super::state::{Ledger, client_of};
use crate::admission::account::entry::Entry;
use crate::admission::account::rank::LAST_ORDER;
use crate::admission::holding::Holding;
use crate::admission::operation::Ladder;
use crate::admission::refusal::Refusal;
use crate::admission::request::{Grant, Request};
use crate::admission::response::RefusedRendition;

/// What became of the renditions of a request.
pub(crate) struct TriedRenditions {
    /// The grant, or the refusal of the best rendition.
    pub(crate) result: Result<Grant, Refusal>,
    /// Which rendition was admitted, where that is not the best one.
    pub(crate) rendition: Option<String>,
    /// Why each rendition was refused that was tried, best first; empty where there is only one rendition.
    pub(crate) refused: Vec<RefusedRendition>,
    /// Whether the best rendition was refused for what others hold alone, where the request would wait for that.
    pub(crate) may_wait: bool,
}

impl Ledger {
    /// Reserves both directions of a request, or neither.
    ///
    /// Equality fits. The order of the checks decides which refusal is given where several apply: the
    /// request itself first (flowspec, service, packet size, delay), then counts, the flow's own limits, the client, the
    /// group, then buffer, class and interface.
    ///
    /// - **Errors**: a refusal, and the ledger is as it was.
    pub fn admit(&mut self, request: &Request) -> Result<Grant, Refusal> {
        self.count_request(request.client.as_deref())?;
        self.admit_counted(request)
    }

    /// Admits the best rendition that fits. Renditions are tried until one fits, unless the refusal is the same for each.
    pub(crate) fn climb(&mut self, ladder: &Ladder) -> TriedRenditions {
        let Ladder { request, first, renditions } = ladder;
        let counted = self.count_request(request.client.as_deref());
        let tried = counted.and_then(|()| self.admit_counted(request));
        let may_wait = request.wait && matches!(&tried, Err(refusal) if self.may_fit_later(request, refusal));
        let best = match tried {
            Err(refusal) if !renditions.is_empty() && refusal.depends_on_rendition() => refusal,
            result => return TriedRenditions { result, rendition: None, refused: Vec::new(), may_wait },
        };
        let mut refused = vec![RefusedRendition { name: first.clone(), refusal: best.clone() }];
        for (name, qos) in renditions {
            match self.admit_counted(&Request { qos: *qos, ..request.clone() }) {
                Ok(grant) => {
                    return TriedRenditions {
                        result: Ok(grant),
                        rendition: Some(name.clone()),
                        refused,
                        may_wait,
                    };
                }
                Err(refusal) => refused.push(RefusedRendition { name: Some(name.clone()), refusal }),
            }
        }
        TriedRenditions { result: Err(best), rendition: None, refused, may_wait }
    }

    /// The same for a request that its client has been counted for.
    pub(crate) fn admit_counted(&mut self, request: &Request) -> Result<Grant, Refusal> {
        let Prepared { wanted, member, mut grant, setup } = self.prepare(request)?;
        if let Err(refusal) = self.check_wanted(&wanted) {
            let displaced = self.preempt_for(&wanted, setup, refusal);
            grant.preempted = displaced.map_err(|refusal| self.explained(refusal, &wanted, request))?;
        }
        self.admitted += 1;
        self.book_new(&request.id, wanted.entry, member);
        if self.admitted >= LAST_ORDER {
            self.renumber();
        }
        self.debug_check();
        Ok(grant)
    }

    /// Books a flow that was admitted before, whatever is free.
    ///
    /// - **Errors**: the policy has no place for such a flow.
    pub(crate) fn book_held(&mut self, request: &Request) -> Result<(), Refusal> {
        let Prepared { wanted, member, .. } = self.prepare(request)?;
        self.admitted += 1;
        self.book_new(&request.id, wanted.entry, member);
        self.debug_check();
        Ok(())
    }

    /// Books a new flow that is known to fit, and gives its slot.
    pub(crate) fn book_new(&mut self, id: &str, mut entry: Entry, member: Option<Box<Member>>) -> u32 {
        self.flows.insert(id, &mut entry, self.now);
        self.book(&entry, member);
        entry.footprint.slot
    }

    /// Books what a flow takes, which is known to fit; `member` is for its group, if it has one.
    pub(crate) fn book(&mut self, entry: &Entry, member: Option<Box<Member>>) {
        let (now, footprint) = (self.now, &entry.footprint);
        self.bookings += 1;
        self.each_account(footprint.interface, |account, _| account.book(footprint, now));
        if let Some((name, limits)) = client_of(&self.policy, entry.client.as_deref()) {
            let client = self.clients.entry(name.to_owned()).or_insert_with(|| ClientUse::new(limits, now));
            client.book(entry.rate(), footprint.window, now);
        }
        if let (Some(name), Some(member)) = (&entry.group, member) {
            self.change_group(name, |group| group.join(footprint.slot, *member, now));
        }
        if let Some(at) = entry.ending() {
            self.endings.insert((at, footprint.rank()));
        }
    }

    /// Books a flow if it fits without preemption, and gives its slot, to release it by. It does not count as a request
    /// of its client.
    ///
    /// - **Errors**: the refusal, and nothing is booked.
    pub(crate) fn try_out(&mut self, request: &Request) -> Result<u32, Refusal> {
        let Prepared { wanted, member, .. } = self.prepare(request)?;
        self.check_wanted(&wanted)?;
        Ok(self.book_new(&request.id, wanted.entry, member))
    }

    /// What [`admit`](Self::admit) would answer; changes nothing but the list of known interfaces.
    ///
    /// - **Errors**: the refusal.
    pub fn consider(&mut self, request: &Request) -> Result<Grant, Refusal> {
        let Prepared { wanted, mut grant, setup, .. } = self.prepare(request)?;
        if let Err(refusal) = self.check_wanted(&wanted) {
            let victims = self.victims(&wanted, setup, &refusal);
            let victims = victims.ok_or_else(|| self.explained(refusal, &wanted, request))?;
            grant.preempted = victims.into_iter().map(|slot| self.displaced(slot)).collect();
        }
        Ok(grant)
    }

    /// Releases what a flow holds, and gives its charge; `None` where no flow has this id.
    pub fn release(&mut self, id: &str) -> Option<Both<Rate>> {
        let entry = self.take(id)?;
        self.debug_check();
        Some(entry.rate())
    }

    /// Releases what a flow holds, and gives all of it.
    pub(crate) fn take(&mut self, id: &str) -> Option<Entry> {
        let (_, entry) = self.flows.remove(id)?;
        self.absent.remove(entry.footprint.slot);
        self.unbook(&entry);
        self.tidy(&entry.footprint);
        if let Some(name) = &entry.group {
            self.shrink_group(name);
            if self.groups.get(name).is_some_and(|group| group.closing && group.is_empty()) {
                self.end_group(name);
            }
        }
        Some(entry)
    }

    /// Releases the reservation of the flow in a slot.
    pub(crate) fn end(&mut self, slot: u32) -> Option<Holding> {
        let id = self.flows.id(slot).to_owned();
        let entry = self.take(&id)?;
        Some(self.holding(id, &entry))
    }
}
