//! Another reservation for a flow, and its soft state.

use std::sync::Arc;

use flowspec::{Both, Direction, Flowspec, Micros, Qos, Rate, ServiceType};

use super::group::Member;
use super::prepare::Wanted;
use super::state::Ledger;
use crate::admission::account::charge::Charge;
use crate::admission::account::entry::Entry;
use crate::admission::account::footprint::Footprint;
use crate::admission::refusal::Refusal;
use crate::admission::request::Grant;
use crate::policy::{Class, Policy};

/// A flow's reservation before it was exchanged for another.
pub(crate) struct PreviousReservation {
    pub(crate) entry: Entry,
    pub(crate) member: Option<Member>,
}

/// A flow with what it has, and what it is to have in its place.
struct AnotherReservation {
    old: Entry,
    /// What it takes of its group.
    member: Option<Member>,
    /// What its group takes.
    group: Option<Footprint>,
    /// What it asks for; an absent direction stays as it is.
    flowspecs: Both<Option<Flowspec>>,
    /// What the policy charges for that.
    charge: Charge,
    dscp: Option<u8>,
}

impl AnotherReservation {
    /// What the flow is charged now.
    fn held(&self) -> Charge {
        let tspec = self.member.as_ref().map_or_else(Both::default, |member| member.charge.tspec);
        self.old.charge(tspec)
    }

    /// A direction that it does not ask for is charged as before, whatever the policy is now.
    fn keep_absent_directions(&mut self) {
        let held = self.held();
        for direction in Direction::BOTH {
            if self.flowspecs.get(direction).is_none() {
                *self.charge.rate.get_mut(direction) = *held.rate.get(direction);
                *self.charge.buffer.get_mut(direction) = *held.buffer.get(direction);
                *self.charge.tspec.get_mut(direction) = *held.tspec.get(direction);
                *self.charge.peak.get_mut(direction) = *held.peak.get(direction);
                *self.charge.declared.get_mut(direction) = *held.declared.get(direction);
            }
        }
    }

    /// The charge where the flow asks for no more than it has, and the policy charges more for that than before: what it
    /// is charged now. `None` where that is not so in any direction.
    ///
    /// It is for controlled load alone: a guarantee rests on what the policy charges.
    fn capped(&self) -> Option<Charge> {
        let mut capped = self.charge;
        for direction in Direction::BOTH {
            let is_load = |spec: &Flowspec| spec.service_type == ServiceType::ControlledLoad;
            if !self.flowspecs.get(direction).as_ref().is_some_and(is_load) {
                continue;
            }
            let asked = self.charge.tspec.get(direction).map_or(Rate::ZERO, |tspec| tspec.token_rate());
            let held = *self.old.rate().get(direction);
            if asked <= self.old.asked(direction) && *capped.rate.get(direction) > held {
                *capped.rate.get_mut(direction) = held;
                *capped.declared.get_mut(direction) = if asked > held { asked } else { Rate::ZERO };
            }
        }
        (capped != self.charge).then_some(capped)
    }
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

    /// As [`replace_reservation`](Self::replace_reservation), counted as a request of the flow's client. Where the client
    /// makes too many requests, only a reservation that takes no more of anything is granted: what is not needed any more
    /// is not kept reserved.
    pub(crate) fn replace_reservation_counted(
        &mut self,
        id: &str,
        flowspecs: Both<Option<Flowspec>>,
    ) -> Result<(Grant, PreviousReservation), Refusal> {
        let client = self.flows.get(id).and_then(|entry| entry.client);
        let Err(too_many) = self.count_request(client.as_deref()) else {
            return self.replace_reservation(id, flowspecs);
        };
        let wanted = self.another_reservation(id, flowspecs).map_err(|_| too_many.clone())?;
        let charge = wanted.capped().unwrap_or(wanted.charge);
        // What the flow would hold of it: a group's member is not measured, and holds no peak.
        let held = wanted.old.clone().costing(&charge).charge(charge.tspec);
        if held.exceeds(&wanted.held()) {
            return Err(too_many);
        }
        self.exchange(&wanted, charge).map_err(|_| too_many)
    }

    /// As [`renegotiate`](Self::renegotiate), with the reservation before it, to be [restored](Self::restore).
    pub(crate) fn replace_reservation(
        &mut self,
        id: &str,
        flowspecs: Both<Option<Flowspec>>,
    ) -> Result<(Grant, PreviousReservation), Refusal> {
        let wanted = self.another_reservation(id, flowspecs)?;
        let exchanged = self.exchange(&wanted, wanted.charge);
        match (&exchanged, wanted.capped()) {
            (Err(_), Some(capped)) => self.exchange(&wanted, capped).or(exchanged),
            _ => exchanged,
        }
    }

    /// What a flow has, and what it is to be charged in place of that by the policy.
    fn another_reservation(
        &mut self,
        id: &str,
        flowspecs: Both<Option<Flowspec>>,
    ) -> Result<AnotherReservation, Refusal> {
        let Some(old) = self.flows.get(id) else {
            return Err(Refusal::UnknownId { id: id.to_owned() });
        };
        let given = |spec: Option<Flowspec>| spec.filter(|spec| spec.service_type != ServiceType::NoChange);
        let flowspecs = flowspecs.map(given);
        let policy = Arc::clone(&self.policy);
        let classes = Arc::clone(&self.classes);
        let class = old.footprint.class.map(|number| classes.settings(number));
        let interface = self.interfaces.text(old.footprint.interface).clone();
        let qos = flowspecs.map(|spec| spec.unwrap_or(Flowspec::BEST_EFFORT));
        let charge = self.charge_again(&policy, &interface, &qos, class)?;
        let group = old.group.as_ref().and_then(|name| self.groups.get(name));
        let (member, group) =
            group.map(|group| (group.member(old.footprint.slot).cloned(), group.footprint.clone())).unzip();
        let dscp = class.and_then(|class| class.dscp);
        let mut wanted = AnotherReservation { old, member: member.flatten(), group, flowspecs, charge, dscp };
        wanted.keep_absent_directions();
        let mut charge = wanted.charge;
        self.check_stated(&wanted.old, &mut charge)?;
        Ok(AnotherReservation { charge, ..wanted })
    }

    /// Exchanges a flow's reservation for a charge, if that fits.
    fn exchange(
        &mut self,
        wanted: &AnotherReservation,
        charge: Charge,
    ) -> Result<(Grant, PreviousReservation), Refusal> {
        let AnotherReservation { old, member: member_before, group: group_before, dscp, .. } = wanted;
        let mut entry = old.clone().costing(&charge);
        entry.footprint.window.start = old.footprint.window.start.max(self.now);
        let member = Member::of(&entry, &charge);
        // The old reservation is unbooked for the check; if the new one does not fit, it is booked again.
        self.unbook(old);
        let mut wanted = self.wanted(entry, member.as_deref());
        wanted.old = Some(Box::new(old.clone()));
        if let (Some(group), Some(held)) = (&mut wanted.group, group_before) {
            group.held = held.clone();
        }
        let result = self
            .check_member(&wanted.entry, member.as_deref(), Some((old, member_before.as_ref())))
            .and_then(|()| self.check_wanted(&wanted))
            .map_err(|refusal| self.with_alternative(refusal, &wanted));
        let Wanted { entry, .. } = wanted;
        let before = PreviousReservation { entry: old.clone(), member: member_before.clone() };
        if let Err(refusal) = result {
            self.book(&before.entry, before.member.map(Box::new));
            self.tidy(&before.entry.footprint);
            return Err(refusal);
        }
        self.flows.update(&entry, self.now);
        self.book(&entry, member);
        if let Some(name) = &entry.group {
            self.shrink_group(name);
        }
        self.tidy(&entry.footprint);
        let timeouts = self.timeouts_of(entry.footprint.slot);
        let (charged, tspec) = (charge.rate, charge.tspec);
        Ok((Grant { charged, tspec, dscp: *dscp, timeouts, preempted: Vec::new() }, before))
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
        self.charge(interface, qos, class)
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
        self.book(&entry, member.map(Box::new));
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
