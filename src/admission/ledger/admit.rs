//! Flows are admitted without a decision, tried, and released.

use flowspec::{Both, Rate};

use super::prepare::Prepared;
use super::state::Ledger;
use crate::admission::account::entry::Entry;
use crate::admission::holding::Holding;
use crate::admission::refusal::Refusal;
use crate::admission::request::{Grant, Request};

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

    /// Books a flow that was admitted before, whatever is free.
    ///
    /// - **Errors**: the policy has no place for such a flow.
    pub(crate) fn book_held(&mut self, request: &Request) -> Result<(), Refusal> {
        let Prepared { mut wanted, member, .. } = self.prepare(request)?;
        self.admitted += 1;
        self.book_new(&request.id, &mut wanted.entry, member);
        self.debug_check();
        Ok(())
    }

    /// Books a flow if it fits without preemption, and gives its slot, to release it by. It does not count as a request
    /// of its client.
    ///
    /// - **Errors**: the refusal, and nothing is booked.
    pub(crate) fn try_out(&mut self, request: &Request) -> Result<u32, Refusal> {
        let Prepared { mut wanted, member, .. } = self.prepare(request)?;
        self.check_wanted(&wanted)?;
        Ok(self.book_new(&request.id, &mut wanted.entry, member))
    }

    /// Whether a flow fits now without preemption; changes nothing but the list of known interfaces.
    ///
    /// - **Errors**: the refusal.
    #[cfg(feature = "cli")]
    pub(crate) fn consider_alone(&mut self, request: &Request) -> Result<(), Refusal> {
        let Prepared { wanted, .. } = self.prepare(request)?;
        match self.check_wanted(&wanted) {
            Ok(()) => Ok(()),
            Err(refusal) => Err(self.explained(refusal, &wanted, request)),
        }
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
    #[inline]
    pub(crate) fn take(&mut self, id: &str) -> Option<Entry> {
        let (_, entry) = self.flows.remove(id)?;
        self.unbook_removed(&entry);
        Some(entry)
    }

    /// Unbooks what a flow held that has been removed.
    fn unbook_removed(&mut self, entry: &Entry) {
        self.absent.remove(entry.footprint.slot);
        self.unbook(entry);
        self.tidy(&entry.footprint);
        if let Some(name) = &entry.group {
            self.shrink_group(name);
            if self.groups.get(name).is_some_and(|group| group.closing && group.is_empty()) {
                self.end_group(name);
            }
        }
    }

    /// Releases the reservation of the flow in a slot.
    pub(crate) fn end(&mut self, slot: u32) -> Option<Holding> {
        let (id, entry) = self.flows.remove_from(slot)?;
        self.unbook_removed(&entry);
        Some(self.holding(id.into_string(), &entry))
    }
}
