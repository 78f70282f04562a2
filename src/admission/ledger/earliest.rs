//! When a flow would fit first.

use flowspec::{Micros, Moment};

use super::client::ClientUse;
use super::group::LedgerGroup;
use super::prepare::{Constraint, Prepared, Wanted};
use super::state::{Ledger, client_of};
use crate::admission::account::state::Account;
use crate::admission::request::Request;

impl Ledger {
    /// The first moment from the request's start on at which it would fit for its whole duration, by what is booked now
    /// and without preemption; `None` where it never would.
    ///
    /// What is reserved changes only where a reservation begins or ends, so that only those moments are tried. Those at
    /// which a sum is known to be too large until later are passed over.
    pub fn earliest(&mut self, request: &Request) -> Option<Moment> {
        let start = request.start.unwrap_or(self.now).max(self.now);
        let duration = request.end.map(|end| end.saturating_since(start));
        let mut moment = start;
        loop {
            moment = match self.fits_from(request, moment, duration) {
                Ok(()) => return Some(moment),
                Err(Some(later)) => later,
                Err(None) => self.next_change(request, moment)?,
            };
        }
    }

    /// Whether a request that begins at a moment fits; if not, a later moment before which it does not fit either.
    fn fits_from(
        &mut self,
        request: &Request,
        start: Moment,
        duration: Option<Micros>,
    ) -> Result<(), Option<Moment>> {
        let end = duration.map(|duration| start.checked_add(duration));
        // A window that would end after the last moment does not exist.
        let Some(end) = end.map_or(Some(None), |end| end.map(Some)) else { return Err(None) };
        let moved = Request { start: Some(start), end, ..request.clone() };
        let Ok(Prepared { wanted, .. }) = self.prepare(&moved) else { return Err(None) };
        match self.check_wanted(&wanted) {
            Ok(()) => Ok(()),
            Err(_) => Err(self.next_try(&wanted).filter(|later| *later > start)),
        }
    }

    /// A moment before which a flow does not fit, by the limits that depend on nothing but sums.
    fn next_try(&self, wanted: &Wanted) -> Option<Moment> {
        let constraint = self.constraints(wanted).pop()?;
        let Constraint { footprint, old, flow } = &constraint;
        let on_account = |(_, account): (u32, &Account)| {
            let context = self.fit_context(account, footprint, *flow)?;
            let limits = account.limits(&context, footprint, old.as_ref())?;
            limits.iter().filter_map(|limit| account.usage.next_try(limit, self.now)).max()
        };
        self.wire(footprint.interface).filter_map(on_account).max()
    }

    /// The first moment after another at which something begins or ends that a request depends on.
    fn next_change(&self, request: &Request, moment: Moment) -> Option<Moment> {
        let number = self.interfaces.number(&request.interface);
        let accounts = number.into_iter().flat_map(|number| self.wire(number));
        let on_link = accounts.filter_map(|(_, account)| account.usage.next_change(moment)).min();
        let client = client_of(&self.policy, request.client.as_deref());
        let client: Option<&ClientUse> = client.and_then(|(name, _)| self.clients.get(name));
        let group: Option<&LedgerGroup> = request.group.as_deref().and_then(|name| self.groups.get(name));
        let of_client = client.and_then(|client| client.next_change(moment));
        let of_group = group.and_then(|group| group.next_change(moment));
        [on_link, of_client, of_group].into_iter().flatten().min()
    }
}
