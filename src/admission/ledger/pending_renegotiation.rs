//! Another reservation for a flow, in two steps: the budgets follow the kernel.
//!
//! [`Ledger::decide`] exchanges one reservation for another at once. Where the kernel has to follow, a smaller
//! reservation must not free anything before the kernel agrees, or the rest would be promised twice if it refuses.
//! Between the two steps the flow is charged the larger of both reservations, field by field. That always fits: each
//! field of it is one that was reserved before or one that was just found to fit.

use flowspec::{Both, Flowspec, Moment};

use super::group::Member;
use super::renegotiation::PreviousReservation;
use super::state::Ledger;
use crate::admission::account::charge::Charge;
use crate::admission::decision::{Decision, Outcome};
use crate::admission::ended::{EndedFlow, EndedIds};
use crate::admission::refusal::Refusal;
use crate::admission::request::Grant;
use crate::admission::response::{Refused, RenegotiatedFlow, Response};

/// A flow's other reservation, which is granted and not yet in force.
#[derive(Clone, Debug)]
pub struct Renegotiation {
    id: String,
    before: Charge,
    after: Charge,
    grant: Grant,
    /// The flows that had ended when it was requested, for the decision.
    before_it: EndedIds,
}

/// The first step of a renegotiation: granted, and charged beside the old reservation.
#[derive(Debug)]
pub struct BegunRenegotiation {
    /// The other reservation.
    pub renegotiation: Renegotiation,
    /// The flows that had expired by then, with what they held.
    pub ended: Vec<EndedFlow>,
}

impl Renegotiation {
    /// What the flow has once the kernel agrees.
    pub const fn grant(&self) -> &Grant {
        &self.grant
    }
}

impl Ledger {
    /// Grants a flow another reservation, and charges the flow the larger of both until
    /// [`finish_renegotiation`](Self::finish_renegotiation) or
    /// [`abandon_renegotiation`](Self::abandon_renegotiation).
    ///
    /// - **Errors**: the refusal as a decision, and the flow keeps what it has.
    pub fn begin_renegotiation(
        &mut self,
        at: Moment,
        id: &str,
        flowspecs: &Both<Option<Flowspec>>,
    ) -> Result<BegunRenegotiation, Box<Outcome>> {
        let ended = self.advance(at);
        let ids = EndedIds::of(&ended);
        match self.replace_reservation_counted(id, *flowspecs) {
            Ok((grant, previous)) => {
                let [before, after] = self.charge_both(id, &grant, &previous);
                let renegotiation = Renegotiation { id: id.to_owned(), before, after, grant, before_it: ids };
                Ok(BegunRenegotiation { renegotiation, ended })
            }
            Err(refusal) => {
                let decision = self.refuse_renegotiation(id, refusal, ids);
                Err(Box::new(Outcome { decision, grant: None, ended }))
            }
        }
    }

    /// Charges a flow that has exchanged its reservation the larger of both. Gives both, the one before first.
    pub(crate) fn charge_both(
        &mut self,
        id: &str,
        grant: &Grant,
        previous: &PreviousReservation,
    ) -> [Charge; 2] {
        let tspec = previous.member.as_ref().map_or_else(Both::default, |member| member.charge.tspec);
        let before = previous.entry.charge(tspec);
        let after = self.flows.get(id).map_or(before, |entry| entry.charge(grant.tspec));
        self.recharge(id, &before.larger(&after));
        [before, after]
    }

    /// The kernel agrees: from now on the flow is charged what it was granted. Refused where the flow has ended.
    pub fn finish_renegotiation(&mut self, at: Moment, renegotiation: Renegotiation) -> Outcome {
        let ended = self.advance(at);
        let Renegotiation { id, after, grant, before_it: mut ids, .. } = renegotiation;
        ids.append(EndedIds::of(&ended));
        let Some((interface, _)) = self.flow(&id) else {
            let refusal = Refusal::UnknownId { id: id.clone() };
            let decision = self.refuse_renegotiation(&id, refusal, ids);
            return Outcome { decision, grant: None, ended };
        };
        let interface = interface.to_owned();
        self.recharge(&id, &after);
        self.waiting.leave(&id);
        let flow = RenegotiatedFlow { interface: interface.clone(), charged: after.rate, enforced: None };
        let response = Response::Renegotiate { id, result: Ok(Box::new(flow)) };
        self.retry_groups();
        let mut decision = self.decision(response, ids);
        self.add_totals(&mut decision, &interface);
        self.notify(&mut decision, true);
        Outcome { decision, grant: Some(grant), ended }
    }

    /// The kernel refuses: the flow, if it has not ended, is charged what it was before.
    pub fn abandon_renegotiation(
        &mut self,
        at: Moment,
        renegotiation: Renegotiation,
        refusal: Refusal,
    ) -> Outcome {
        let ended = self.advance(at);
        let Renegotiation { id, before, before_it: mut ids, .. } = renegotiation;
        ids.append(EndedIds::of(&ended));
        self.recharge(&id, &before);
        let decision = self.refuse_renegotiation(&id, refusal, ids);
        Outcome { decision, grant: None, ended }
    }

    fn refuse_renegotiation(&mut self, id: &str, refusal: Refusal, ids: EndedIds) -> Decision {
        let interface = self.flow(id).map(|(interface, _)| interface.to_owned());
        let result = Err(Refused::under(&self.policy, refusal));
        self.retry_groups();
        let mut decision = self.decision(Response::Renegotiate { id: id.to_owned(), result }, ids);
        if let Some(interface) = interface {
            self.add_totals(&mut decision, &interface);
        }
        self.notify(&mut decision, true);
        decision
    }

    /// Charges a flow something else, which is known to fit.
    fn recharge(&mut self, id: &str, charge: &Charge) {
        let Some(old) = self.flows.get(id) else { return };
        self.unbook(&old);
        let entry = old.costing(charge);
        let member = Member::of(&entry, charge);
        self.flows.update(&entry, self.now);
        self.book(&entry, member);
        if let Some(name) = &entry.group {
            self.shrink_group(name);
        }
        self.tidy(&entry.footprint);
    }
}
