//! From a request to what it would book: what it names, what it is charged, and whether it fits.

use std::sync::Arc;

use flowspec::{Both, Direction, Micros, Qos, Rate};

use super::alternative::{Tried, with_alternative};
use super::client::ClientUse;
use super::group::Member;
use super::state::{CLIENTS_BEFORE_A_SWEEP, Ledger, client_of};
use crate::admission::account::charge::{Charge, LinkParameters, reserves_nothing};
use crate::admission::account::entry::Entry;
use crate::admission::account::fit::{FitContext, FlowRates};
use crate::admission::account::footprint::{ClassCounts, Footprint};
use crate::admission::account::state::Account;
use crate::admission::account::window::Window;
use crate::admission::group_difference::GroupDifference;
use crate::admission::limits::ClientLimit;
use crate::admission::refusal::Refusal;
use crate::admission::request::{Grant, Request};
use crate::policy::{Class, GroupMode};

/// The scale of priorities is from 0, the best, to 7.
const WORST_PRIORITY: u8 = 7;

/// A valid request: what it would book, and what it would be granted.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) wanted: Wanted,
    /// For its group, if it has one.
    pub(crate) member: Option<Box<Member>>,
    pub(crate) grant: Grant,
    /// 0 (best) to 7.
    pub(crate) setup: u8,
}

/// What a request names, as an entry, and what it is charged.
#[derive(Debug)]
pub(crate) struct Described {
    pub(crate) entry: Entry,
    pub(crate) charge: Charge,
    /// 0 (best) to 7.
    pub(crate) setup: u8,
    pub(crate) dscp: Option<u8>,
}

/// What a request names, as far as it does so rightly.
struct NamedParts {
    window: Window,
    group: Option<Arc<str>>,
    /// The class's number.
    class: Option<u32>,
    /// 0 (best) to 7.
    setup: u8,
    holding: u8,
}

/// What a flow would book. The parts that most flows do not have are boxed: it is moved several times for each decision.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) entry: Entry,
    /// The flow's reservation that this one replaces, which is not booked.
    pub(crate) old: Option<Box<Entry>>,
    /// Its group, where the members share one reservation.
    pub(crate) group: Option<Box<GrownGroup>>,
}

/// A shared group that a flow joins, or in which it asks for something else.
#[derive(Debug)]
pub(crate) struct GrownGroup {
    /// What is booked for the group, without the flow.
    pub(crate) booked: Footprint,
    /// What would be booked.
    pub(crate) grown: Footprint,
    /// What the group has held with the flow's reservation that is replaced.
    pub(crate) held: Footprint,
}

/// Something that has to fit an interface, during one window.
#[derive(Debug)]
pub(crate) struct Constraint {
    pub(crate) footprint: Footprint,
    /// What it replaces: a demand of at most that is never refused.
    pub(crate) old: Option<Footprint>,
    /// `None` for a group.
    pub(crate) flow: Option<FlowRates>,
}

impl Wanted {
    /// What the flow is charged, and what it was charged before.
    fn rates(&self) -> FlowRates {
        let held = self.old.as_ref().map(|old| old.rate()).unwrap_or_default();
        FlowRates { charged: self.entry.rate(), held }
    }
}

impl Ledger {
    /// Counts a request of a client, whatever the answer.
    ///
    /// - **Errors**: the client has made too many.
    pub(crate) fn count_request(&mut self, client: Option<&str>) -> Result<(), Refusal> {
        if client.is_none() || self.is_keeping {
            return Ok(());
        }
        let policy = Arc::clone(&self.policy);
        let Some((name, limits)) = client_of(&policy, client) else { return Ok(()) };
        let now = self.now;
        if self.clients.len() >= CLIENTS_BEFORE_A_SWEEP && !self.clients.contains_key(name) {
            self.clients.retain(|_, client| !client.is_idle(now));
        }
        let client = self.clients.entry(name.to_owned()).or_insert_with(|| ClientUse::new(limits, now));
        client.count_request(name, limits, now)
    }

    /// What a request names, and what it is charged, whatever is reserved.
    #[inline]
    pub(crate) fn describe(&mut self, request: &Request) -> Result<Described, Refusal> {
        let NamedParts { window, group, class: class_number, setup, holding } = self.named_by(request)?;
        let interface = self.interface_for(request)?;
        let class = class_number.and_then(|number| self.classes.stated(number));
        let charge = self.charge_on(interface, &request.qos, class)?;
        let on_link = group.is_none();
        let footprint = Footprint {
            slot: 0,
            order: self.admitted + 1,
            interface,
            class: class_number,
            class_type: class.map_or(0, |class| class.class_type),
            class_counts: ClassCounts::of(class),
            charged: Both::default(),
            buffer: Both::default(),
            window,
            flows: 1,
            holding_priority: on_link.then_some(holding),
            peak: None,
            steps: None,
        };
        let mut entry = Entry {
            footprint,
            cost: None,
            group,
            client: request.client.as_deref().map(Arc::from),
            // A time that would end after the last moment does not end.
            deadline: request.time_to_live.and_then(|time| self.now.checked_add(time)),
            declared: None,
        };
        entry.set_charge(&charge);
        let dscp = class.and_then(|class| class.dscp);
        Ok(Described { entry, charge, setup, dscp })
    }

    /// What a request names: its window, its group, its class and its priorities.
    fn named_by(&self, request: &Request) -> Result<NamedParts, Refusal> {
        let owner = &request.owner;
        let window = request.window(self.now);
        if let Window { start, end: Some(end) } = window
            && end <= start
        {
            return Err(Refusal::Window { start, end });
        }
        let group = self.group_of(request)?;
        let number = self.class_of(request)?;
        let class = number.map(|number| self.classes.policy(number)).transpose()?;
        if let (Some(number), Some(class)) = (number, class)
            && class.matches.as_ref().is_some_and(|matches| !matches.is_met_by(owner))
        {
            let class = self.classes.names.text(number).to_string();
            return Err(Refusal::ClassOwner { class, owner: owner.clone() });
        }
        let (setup, holding) = self.priorities_of(request, class)?;
        Ok(NamedParts { window, group, class: number, setup, holding })
    }

    /// The number of a request's interface, whose account is opened if the policy knows it.
    ///
    /// - **Errors**: the policy does not have it, and something is to be reserved there.
    fn interface_for(&mut self, request: &Request) -> Result<u32, Refusal> {
        let Request { interface, qos, .. } = request;
        if let Some(number) = self.interfaces.number(interface)
            && let Some(Some(_)) = self.accounts.get(number as usize)
        {
            return Ok(number);
        }
        if self.policy.interface(interface).is_none() {
            charge_without_policy(interface, qos)?;
        }
        Ok(self.interface_number(interface))
    }

    /// What a flow would book, with what that makes of its group where the group shares one reservation.
    #[inline]
    pub(crate) fn wanted(&self, entry: Entry, member: Option<&Member>) -> Wanted {
        let group = match &entry.group {
            None => None,
            Some(name) => self.grown_group(name, member),
        };
        Wanted { entry, old: None, group }
    }

    /// A group with one more member; `None` where it does not share one reservation.
    fn grown_group(&self, name: &Arc<str>, member: Option<&Member>) -> Option<Box<GrownGroup>> {
        let group = self.groups.get(name).filter(|group| group.mode == GroupMode::Shared)?;
        let (booked, grown) = (group.footprint.clone(), group.due(member, self.now));
        Some(Box::new(GrownGroup { held: booked.clone(), booked, grown }))
    }

    /// The number of a request's class: its own, its group's, or the one for its owner.
    pub(crate) fn class_of(&self, request: &Request) -> Result<Option<u32>, Refusal> {
        let name = match (&request.class, &request.group) {
            (Some(class), _) => class.as_str(),
            (None, Some(group)) => {
                let group = self.groups.get(group.as_str());
                return Ok(group.and_then(|group| group.footprint.class));
            }
            (None, None) => match self.policy.class_for(&request.owner) {
                Some(class) => class,
                None => return Ok(None),
            },
        };
        self.classes.find(name).map(|(number, _)| Some(number))
    }

    /// The group that a request names, which must accept members on the request's interface.
    fn group_of(&self, request: &Request) -> Result<Option<Arc<str>>, Refusal> {
        let Some(name) = &request.group else { return Ok(None) };
        let found = self.groups.get_key_value(name.as_str());
        let Some((key, group)) = found else { return Err(self.no_group(name)) };
        if group.closing {
            return Err(Refusal::GroupEnding { group: name.clone() });
        }
        if group.interface != request.interface {
            let (group_interface, interface) = (group.interface.clone(), request.interface.clone());
            return Err(Refusal::GroupElsewhere { group: name.clone(), group_interface, interface });
        }
        Ok(Some(Arc::clone(key)))
    }

    /// There is no group of this name: the policy has none, or it has not been made.
    fn no_group(&self, name: &str) -> Refusal {
        let group = name.to_owned();
        match self.unmade.get(name) {
            Some(GroupDifference::Refused(why)) => {
                Refusal::GroupNotMade { group, why: Box::new(why.clone()) }
            }
            _ => Refusal::UnknownGroup { group },
        }
    }

    /// The setup and holding priority of a request, which its client must be allowed to request.
    fn priorities_of(&self, request: &Request, class: Option<&Class>) -> Result<(u8, u8), Refusal> {
        let (setup, holding) = request.priorities(class);
        if let Some(priority) = [setup, holding].into_iter().find(|priority| *priority > WORST_PRIORITY) {
            return Err(Refusal::PriorityRange { priority });
        }
        if setup < holding {
            return Err(Refusal::Priorities { setup, holding });
        }
        if let Some((name, limits)) = client_of(&self.policy, request.client.as_deref())
            && let Some(best) = limits.best_setup_priority
            && setup < best
        {
            let limit = ClientLimit::Priority { setup, best };
            return Err(Refusal::Client { client: name.to_owned(), limit });
        }
        Ok((setup, holding))
    }

    /// What a request is charged on an interface, whose account is opened if the policy knows it.
    pub(crate) fn charge(
        &mut self,
        interface: &str,
        qos: &Qos,
        class: Option<&Class>,
    ) -> Result<Charge, Refusal> {
        if self.policy.interface(interface).is_none() {
            return charge_without_policy(interface, qos);
        }
        let number = self.interface_number(interface);
        self.charge_on(number, qos, class)
    }

    /// The same on the interface with a number.
    fn charge_on(&self, number: u32, qos: &Qos, class: Option<&Class>) -> Result<Charge, Refusal> {
        let name = self.interfaces.text(number);
        let account = self.accounts.get(number as usize).and_then(Option::as_ref);
        let (Some(policy), Some(account)) = (self.policy.interface(name), account) else {
            return charge_without_policy(name, qos);
        };
        let terms = |direction| self.wire_terms(number, direction);
        let terms = Both { sending: terms(Direction::Sending), receiving: terms(Direction::Receiving) };
        LinkParameters { terms, ..account.link(name, policy) }.charge(qos, class)
    }

    /// Checks the client's limits and the group's. `old` is the reservation that this one replaces, with what its group
    /// counted for it; it is not booked.
    pub(crate) fn check_member(
        &self,
        entry: &Entry,
        member: Option<&Member>,
        old: Option<(&Entry, Option<&Member>)>,
    ) -> Result<(), Refusal> {
        if let Some((name, limits)) = client_of(&self.policy, entry.client.as_deref()) {
            let old = old.map(|(entry, _)| entry.rate());
            let fresh;
            let client = match self.clients.get(name) {
                Some(client) => client,
                None => {
                    fresh = ClientUse::new(limits, self.now);
                    &fresh
                }
            };
            client.check((name, limits), entry, old, self.now)?;
        }
        if let (Some(name), Some(member)) = (&entry.group, member)
            && let Some(group) = self.groups.get(name)
        {
            let before = old.and_then(|(_, member)| member);
            group.check(name, member, before, self.now)?;
        }
        Ok(())
    }

    /// Calls `check` while the group that would grow is unbooked, so that it can be checked at its new size.
    pub(crate) fn without_group<T>(&mut self, wanted: &Wanted, check: impl FnOnce(&mut Self) -> T) -> T {
        let Some(GrownGroup { booked, .. }) = wanted.group.as_deref() else { return check(self) };
        let now = self.now;
        self.each_account(booked.interface, |account, _| account.unbook(booked, now));
        let result = check(self);
        self.each_account(booked.interface, |account, _| account.book(booked, now));
        result
    }

    /// As [`check_wanted`](Self::check_wanted), called [without the group](Self::without_group).
    pub(crate) fn fits(&self, wanted: &Wanted) -> Result<(), Refusal> {
        if wanted.group.is_some() {
            for (footprint, old) in self.growth(wanted) {
                self.check_one(&footprint, Some(&old), None)?;
            }
        }
        let Wanted { entry, old, .. } = wanted;
        self.check_one(&entry.footprint, old.as_ref().map(|old| &old.footprint), Some(wanted.rates()))
    }

    /// What has to fit for a flow: first its group, where that shares one reservation, in each window in which it would
    /// grow, then the flow.
    pub(crate) fn constraints(&self, wanted: &Wanted) -> Vec<Constraint> {
        let growth = self.growth(wanted).into_iter();
        let grown = growth.map(|(footprint, old)| Constraint { footprint, old: Some(old), flow: None });
        let flow = Constraint {
            footprint: wanted.entry.footprint.clone(),
            old: wanted.old.as_ref().map(|old| old.footprint.clone()),
            flow: Some(wanted.rates()),
        };
        grown.chain([flow]).collect()
    }

    /// The windows in which a flow's group would grow, with what it would take there and what it has held.
    fn growth(&self, wanted: &Wanted) -> Vec<(Footprint, Footprint)> {
        let Some(GrownGroup { grown, held, .. }) = wanted.group.as_deref() else { return Vec::new() };
        grown.above(held, self.now)
    }

    fn check_one(
        &self,
        footprint: &Footprint,
        old: Option<&Footprint>,
        flow: Option<FlowRates>,
    ) -> Result<(), Refusal> {
        if self.is_keeping {
            return Ok(());
        }
        for (_, account) in self.wire(footprint.interface) {
            let Some(context) = self.fit_context(account, footprint, flow) else { continue };
            account.check(&context, footprint, old)?;
        }
        Ok(())
    }

    /// Checks the limits of the interface and of the class for a group, which is not booked. A demand of at most `old` is
    /// never refused.
    pub(crate) fn check_group_footprint(
        &self,
        footprint: &Footprint,
        old: Option<&Footprint>,
    ) -> Result<(), Refusal> {
        if footprint.steps.is_none() {
            return self.check_one(footprint, old, None);
        }
        let (charged, buffer) = Default::default();
        let nothing = Footprint { charged, buffer, steps: None, ..footprint.clone() };
        let above = footprint.above(old.unwrap_or(&nothing), self.now);
        above.iter().try_for_each(|(footprint, old)| self.check_one(footprint, Some(old), None))
    }

    /// What the check of a footprint on an account depends on; `None` where the policy does not have its interface.
    pub(crate) fn fit_context<'a>(
        &'a self,
        account: &'a Account,
        footprint: &Footprint,
        flow: Option<FlowRates>,
    ) -> Option<FitContext<'a>> {
        let name = self.interfaces.text(account.number);
        let interface = self.policy.interface(name)?;
        let class = footprint.class.and_then(|number| {
            let class = self.classes.stated(number)?;
            Some((number, &**self.classes.names.text(number), class))
        });
        let (policy, flows, usage) = (&self.policy, &self.flows, &account.usage);
        let (counted, now) = (self.counted(account.number), self.now);
        Some(FitContext { name, interface, policy, class, flows, usage, counted, now, flow })
    }

    /// A refusal with the largest charge that would fit, with another limit that refuses even that, and with the least
    /// latency that it would meet where the flow requested one.
    pub(crate) fn explained(&mut self, refusal: Refusal, wanted: &Wanted, request: &Request) -> Refusal {
        let mut refusal = self.with_alternative(refusal, wanted);
        let alternative = match &mut refusal {
            Refusal::InterfaceBudget { direction, shortfall, .. }
            | Refusal::ClassShare { direction, shortfall, .. } => {
                Some((*direction, shortfall.would_fit, &mut shortfall.least_latency))
            }
            Refusal::FlowRate { direction, would_fit, least_latency, .. } => {
                Some((*direction, *would_fit, least_latency))
            }
            _ => None,
        };
        if let Some((direction, would_fit, least_latency)) = alternative {
            let spec = request.qos.get(direction);
            if (spec.latency.is_some() || spec.delay_variation.is_some())
                && let Some(account) = self.account(&request.interface)
                && let Some(terms) = self.wire_terms(account.number, direction)
                && let Ok(Some(tspec)) = flowspec::TSpec::new(spec, direction, account.mtu)
            {
                let interface = self.policy.interface(&request.interface);
                // What is asked of `latency` is that of the whole path.
                let path = spec.latency.and(interface).map_or(0, |interface| interface.path_latency.get());
                let whole = |bound: Micros| Micros::new(bound.get().saturating_add(path));
                *least_latency = tspec.delay_bound(would_fit, terms).map(whole);
            }
        }
        refusal
    }

    /// A refusal of a flow with the largest charge that would fit, and with another limit that refuses even that.
    pub(crate) fn with_alternative(&mut self, refusal: Refusal, wanted: &Wanted) -> Refusal {
        let Wanted { entry, old, group } = wanted;
        let charged = entry.rate();
        let is_both = charged.sending > Rate::ZERO && charged.receiving > Rate::ZERO;
        with_alternative(refusal, is_both, |Tried { direction, rate, is_alone }| {
            let mut charge = entry.charge(Both::default());
            if is_alone {
                charge.rate = Both::default();
            }
            *charge.rate.get_mut(direction) = rate;
            let mut entry = entry.clone();
            entry.set_charge(&charge);
            let member = Member::of(&entry, &charge);
            let mut less = self.wanted(entry, member.as_deref());
            less.old.clone_from(old);
            if let (Some(less), Some(group)) = (&mut less.group, group) {
                less.held = group.held.clone();
            }
            self.check_wanted(&less)
        })
    }
}

/// What a request is charged on an interface that the policy does not have: best effort reserves nothing and needs no
/// budget.
fn charge_without_policy(interface: &str, qos: &Qos) -> Result<Charge, Refusal> {
    if Direction::BOTH.iter().all(|&direction| reserves_nothing(qos.get(direction))) {
        return Ok(Charge::default());
    }
    Err(Refusal::UnknownInterface { interface: interface.to_owned() })
}
