//! Another reservation for a flow, and its soft state.

use std::sync::Arc;

use flowspec::{Both, Direction, Flowspec, Micros, Qos, Rate, ServiceType};

use super::group::Member;
use super::prepare::Wanted;
use super::state::Ledger;
use crate::admission::account::charge::Charge;
use crate::admission::account::entry::Entry;
use crate::admission::refusal::Refusal;
use crate::admission::request::Grant;
use crate::policy::{Class, Policy};

/// A flow's reservation before it was exchanged for another.
pub(crate) struct PreviousReservation {
    pub(crate) entry: Entry,
    pub(crate) member: Option<Member>,
}

impl Ledger {
    /// Exchanges a flow's reservation for another. An absent direction, or one with SERVICETYPE_NOCHANGE, stays as it is
    /// and has no TSpec in the grant. It never preempts other flows, and counts as a request of the flow's client.
    ///
    /// - **Errors**: a refusal, and the flow keeps its reservation. A smaller reservation is never refused.
    pub fn renegotiate(
        &mut self,
        id: &str,
        sending: Option<Flowspec>,
        receiving: Option<Flowspec>,
    ) -> Result<Grant, Refusal> {
        let exchanged = self.replace_reservation_counted(id, Both { sending, receiving });
        self.debug_check();
        exchanged.map(|(grant, _)| grant)
    }

    /// As [`replace_reservation`](Self::replace_reservation), counted as a request of the flow's client. Where the client makes too many
    /// requests, only a smaller reservation is granted: what is not needed any more is not kept reserved.
    pub(crate) fn replace_reservation_counted(
        &mut self,
        id: &str,
        flowspecs: Both<Option<Flowspec>>,
    ) -> Result<(Grant, PreviousReservation), Refusal> {
        let client = self.flows.get(id).and_then(|entry| entry.client);
        let counted = self.count_request(client.as_deref());
        let exchanged = self.replace_reservation(id, flowspecs);
        let Err(too_many) = counted else { return exchanged };
        let (grant, before) = exchanged.map_err(|_| too_many.clone())?;
        let held = before.entry.rate();
        let grows = Direction::BOTH.iter().any(|&way| grant.charged.get(way) > held.get(way));
        if grows || grant.charged == held {
            self.restore(before);
            return Err(too_many);
        }
        Ok((grant, before))
    }

    /// As [`renegotiate`](Self::renegotiate), with the reservation before it, to be [restored](Self::restore).
    pub(crate) fn replace_reservation(
        &mut self,
        id: &str,
        flowspecs: Both<Option<Flowspec>>,
    ) -> Result<(Grant, PreviousReservation), Refusal> {
        let Some(old) = self.flows.get(id) else {
            return Err(Refusal::UnknownId { id: id.to_owned() });
        };
        let slot = old.footprint.slot;
        let given = |spec: Option<Flowspec>| spec.filter(|spec| spec.service_type != ServiceType::NoChange);
        let flowspecs = flowspecs.map(given);
        let policy = Arc::clone(&self.policy);
        let classes = Arc::clone(&self.classes);
        let class = old.footprint.class.map(|number| classes.settings(number));
        let interface = self.interfaces.text(old.footprint.interface).clone();
        let qos = flowspecs.map(|spec| spec.unwrap_or(Flowspec::BEST_EFFORT));
        let mut charge = self.charge_again(&policy, &interface, &qos, class)?;
        let before = old.group.as_ref().and_then(|name| self.groups.get(name));
        let (member_before, group_before) =
            before.map(|group| (group.member(slot).cloned(), group.footprint.clone())).unzip();
        let member_before = member_before.flatten();
        for direction in Direction::BOTH {
            if flowspecs.get(direction).is_none() {
                *charge.rate.get_mut(direction) = *old.rate().get(direction);
                *charge.buffer.get_mut(direction) = *old.buffer().get(direction);
                let kept = member_before.as_ref().and_then(|member| *member.charge.tspec.get(direction));
                *charge.tspec.get_mut(direction) = kept;
                let peak = old.footprint.peak.as_ref().map_or(Rate::ZERO, |peak| *peak.get(direction));
                *charge.peak.get_mut(direction) = peak;
            }
        }
        self.check_stated(&old, &mut charge)?;
        let mut entry = old.clone().costing(&charge);
        entry.footprint.window.start = old.footprint.window.start.max(self.now);
        let member = Member { charge, window: entry.footprint.window };
        // The old reservation is unbooked for the check; if the new one does not fit, it is booked again.
        self.unbook(&old);
        let mut wanted = self.wanted(entry, &member);
        wanted.old = Some(Box::new(old.clone()));
        if let (Some(group), Some(held)) = (&mut wanted.group, group_before) {
            group.held = held;
        }
        let result = self
            .check_member(&wanted.entry, &member, Some((&old, member_before.as_ref())))
            .and_then(|()| self.check_wanted(&wanted))
            .map_err(|refusal| self.with_alternative(refusal, &wanted));
        let Wanted { entry, .. } = wanted;
        match result {
            Ok(()) => {
                self.flows.update(&entry, self.now);
                self.book(&entry, Some(member));
                if let Some(name) = &entry.group {
                    self.shrink_group(name);
                }
                self.tidy(&entry.footprint);
                let dscp = class.and_then(|class| class.dscp);
                let timeouts = self.timeouts_of(slot);
                let grant = Grant {
                    charged: charge.rate,
                    tspec: charge.tspec,
                    dscp,
                    timeouts,
                    preempted: Vec::new(),
                };
                Ok((grant, PreviousReservation { entry: old, member: member_before }))
            }
            Err(refusal) => {
                self.book(&old, member_before);
                self.tidy(&old.footprint);
                Err(refusal)
            }
        }
    }

    /// What a flow is charged for what it asks for now: where the policy no longer has its interface, by the last policy
    /// that had it.
    fn charge_again(
        &mut self,
        policy: &Policy,
        interface: &str,
        qos: &Qos,
        class: Option<&Class>,
    ) -> Result<Charge, Refusal> {
        if policy.interface(interface).is_none()
            && let Some(account) = self.account(interface)
            && let Some(former) = &account.former
        {
            return account.link(interface, former).charge(qos, class);
        }
        self.charge(policy, interface, qos, class)
    }

    /// A flow whose interface or class the policy no longer has may ask for less than it has, and for no more.
    fn check_stated(&self, old: &Entry, charge: &mut Charge) -> Result<(), Refusal> {
        let held = old.rate();
        let grows = Direction::BOTH.iter().any(|&way| charge.rate.get(way) > held.get(way));
        if let Some(Err(unknown)) = old.footprint.class.map(|number| self.classes.policy(number)) {
            // Nothing is measured for a class that the policy does not have.
            charge.peak = Both::default();
            if grows {
                return Err(unknown);
            }
        }
        let interface = self.interfaces.text(old.footprint.interface);
        if grows && self.policy.interface(interface).is_none() {
            return Err(Refusal::UnknownInterface { interface: interface.to_string() });
        }
        Ok(())
    }

    /// Restores the reservation that a flow had.
    pub(crate) fn restore(&mut self, before: PreviousReservation) {
        let PreviousReservation { entry, member } = before;
        let now = self.flows.entry(entry.footprint.slot);
        self.unbook(&now);
        self.flows.update(&entry, self.now);
        self.book(&entry, member);
        self.tidy(&entry.footprint);
    }

    /// Prolongs a flow's soft state.
    ///
    /// - **Errors**: no such flow.
    pub fn refresh(&mut self, id: &str, time_to_live: Micros) -> Result<(), Refusal> {
        let Some(mut entry) = self.flows.get(id) else {
            return Err(Refusal::UnknownId { id: id.to_owned() });
        };
        let rank = entry.footprint.rank();
        self.bookings += 1;
        if let Some(at) = entry.ending() {
            self.endings.remove(&(at, rank));
        }
        entry.deadline = self.now.checked_add(time_to_live);
        self.endings.extend(entry.ending().map(|at| (at, rank)));
        self.flows.update(&entry, self.now);
        self.debug_check();
        Ok(())
    }
}
