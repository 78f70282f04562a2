//! From a request to what it would book: what it names, what it is charged, and whether it fits.

use std::sync::Arc;

use flowspec::{Both, Direction, Qos};

use super::client::ClientUse;
use super::group::Member;
use super::state::{CLIENTS_BEFORE_A_SWEEP, Ledger, MOST_FLOWS, client_of};
use crate::admission::account::charge::{Charge, reserves_nothing};
use crate::admission::account::entry::Entry;
use crate::admission::account::fit::{FitContext, FlowRates};
use crate::admission::account::footprint::{ClassCounts, Footprint};
use crate::admission::account::state::Account;
use crate::admission::account::window::Window;
use crate::admission::limits::ClientLimit;
use crate::admission::refusal::Refusal;
use crate::admission::request::{Grant, Request};
use crate::policy::{Class, GroupMode, Policy};

impl Ledger {
    /// Counts a request of a client, whatever the answer.
    ///
    /// - **Errors**: the client has made too many.
    pub(crate) fn count_request(&mut self, client: Option<&str>) -> Result<(), Refusal> {
        if client.is_none() {
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

    /// What a valid request would book, with its grant and its setup priority.
    pub(crate) fn prepare(&mut self, request: &Request) -> Result<(Entry, Grant, u8), Refusal> {
        let Request { id, interface, client, owner, qos, .. } = request;
        if self.flows.slot(id).is_some() {
            return Err(Refusal::DuplicateId { id: id.clone() });
        }
        if self.flows.len() >= MOST_FLOWS {
            return Err(Refusal::TooManyFlows { flows: self.flows.len() });
        }
        let policy = Arc::clone(&self.policy);
        let window = request.window(self.now);
        if let Window { start, end: Some(end) } = window
            && end <= start
        {
            return Err(Refusal::Window { start, end });
        }
        let in_group = self.group_of(request)?;
        let class_number = self.class_of(request)?;
        let classes = Arc::clone(&self.classes);
        let class = class_number.map(|number| classes.policy(number)).transpose()?;
        if let (Some(number), Some(class)) = (class_number, class)
            && class.matches.as_ref().is_some_and(|matches| !matches.is_met_by(owner))
        {
            let class = classes.names.text(number).to_string();
            return Err(Refusal::ClassOwner { class, owner: owner.clone() });
        }
        let (setup, holding) = self.priorities_of(request, class)?;
        let charge = self.charge(&policy, interface, qos, class)?;
        let on_link = in_group.is_none();
        let footprint = Footprint {
            slot: 0,
            order: self.admitted + 1,
            interface: self.interface_number(interface),
            class: class_number,
            class_type: class.map_or(0, |class| class.class_type),
            class_counts: ClassCounts::of(class),
            charged: Both::default(),
            buffer: Both::default(),
            window,
            flows: 1,
            holding_priority: on_link.then_some(holding),
            peak: None,
        };
        let entry = Entry {
            footprint,
            cost: None,
            group: in_group,
            client: client.as_deref().map(Arc::from),
            deadline: request.time_to_live.map(|time| self.now.saturating_add(time)),
        };
        let entry = entry.costing(&charge);
        self.check_member(&entry, &Member { charge, window }, None, None)?;
        let dscp = class.and_then(|class| class.dscp);
        let timeouts = self.timeouts(&entry);
        let grant =
            Grant { charged: charge.rate, tspec: charge.tspec, dscp, timeouts, preempted: Vec::new() };
        Ok((entry, grant, setup))
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
        let found = self.groups.get_key_value(name.as_str()).filter(|(_, group)| !group.closing);
        let Some((key, group)) = found else { return Err(Refusal::UnknownGroup { group: name.clone() }) };
        if group.interface != request.interface {
            let (group_interface, interface) = (group.interface.clone(), request.interface.clone());
            return Err(Refusal::GroupElsewhere { group: name.clone(), group_interface, interface });
        }
        Ok(Some(Arc::clone(key)))
    }

    /// The setup and holding priority of a request, which its client must be allowed to request.
    fn priorities_of(&self, request: &Request, class: Option<&Class>) -> Result<(u8, u8), Refusal> {
        let (setup, holding) = request.priorities(class);
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

    /// What a request is charged on its interface.
    pub(crate) fn charge(
        &mut self,
        policy: &Policy,
        interface: &str,
        qos: &Qos,
        class: Option<&Class>,
    ) -> Result<Charge, Refusal> {
        let unknown = || Refusal::UnknownInterface { interface: interface.to_owned() };
        let Some(interface_policy) = policy.interface(interface) else {
            // Best effort reserves nothing and needs no budget.
            let asks_nothing = Direction::BOTH.iter().all(|&direction| reserves_nothing(qos.get(direction)));
            return if asks_nothing { Ok(Charge::default()) } else { Err(unknown()) };
        };
        let account = self.account_of(interface).ok_or_else(unknown)?;
        account.link(interface, interface_policy).charge(qos, class)
    }

    /// Checks the client's limits and the group's. `old` is the reservation that this one replaces, which is not booked,
    /// and `group_before` what the group took while it was.
    pub(crate) fn check_member(
        &self,
        entry: &Entry,
        member: &Member,
        old: Option<&Entry>,
        group_before: Option<&Footprint>,
    ) -> Result<(), Refusal> {
        let Member { charge, window } = *member;
        if let Some((name, limits)) = client_of(&self.policy, entry.client.as_deref()) {
            let old = old.map(Entry::rate);
            let fresh;
            let client = match self.clients.get(name) {
                Some(client) => client,
                None => {
                    fresh = ClientUse::new(limits, self.now);
                    &fresh
                }
            };
            client.check(name, limits, charge.rate, old, window, self.now)?;
        }
        if let Some(name) = &entry.group
            && let Some(group) = self.groups.get(name)
        {
            group.check(name, member, self.now)?;
            if group.mode == GroupMode::Shared {
                let (charged, buffer) = group.due(Some(member));
                let grown = Footprint { charged, buffer, ..group.footprint.clone() };
                let held = group_before.unwrap_or(&group.footprint);
                self.check_replaced(&group.footprint, &grown, held)?;
            }
        }
        Ok(())
    }

    /// Checks the limits of the interface and of the class.
    pub(crate) fn check(&self, entry: &Entry, old: Option<&Entry>) -> Result<(), Refusal> {
        let asked = &entry.footprint;
        let Some(Some(account)) = self.accounts.get(asked.interface as usize) else { return Ok(()) };
        let flow = FlowRates { asked: entry.rate(), held: old.map(Entry::rate).unwrap_or_default() };
        let Some(context) = self.fit_context(account, asked, Some(flow)) else { return Ok(()) };
        account.check(&context, asked, old.map(|old| &old.footprint))
    }

    /// Checks the limits of the interface and of the class for a group.
    pub(crate) fn check_footprint(&self, asked: &Footprint, old: Option<&Footprint>) -> Result<(), Refusal> {
        let Some(Some(account)) = self.accounts.get(asked.interface as usize) else { return Ok(()) };
        self.check_on(account, asked, old)
    }

    /// The same on an account that may be a copy.
    pub(crate) fn check_on(
        &self,
        account: &Account,
        asked: &Footprint,
        old: Option<&Footprint>,
    ) -> Result<(), Refusal> {
        match self.fit_context(account, asked, None) {
            Some(context) => account.check(&context, asked, old),
            None => Ok(()),
        }
    }

    /// What the check of a footprint depends on; `None` where the policy does not have its interface.
    pub(crate) fn fit_context<'a>(
        &'a self,
        account: &'a Account,
        asked: &Footprint,
        flow: Option<FlowRates>,
    ) -> Option<FitContext<'a>> {
        let name = self.interfaces.text(asked.interface);
        let interface = self.policy.interface(name)?;
        let class = asked.class.and_then(|number| {
            let class = self.classes.policy(number).ok()?;
            Some((number, &**self.classes.names.text(number), class))
        });
        let (policy, flows, usage) = (&self.policy, &self.flows, &account.usage);
        Some(FitContext { name, interface, policy, class, flows, usage, now: self.now, flow })
    }

    pub(crate) fn with_least_latency(&self, mut refusal: Refusal, request: &Request) -> Refusal {
        if let Refusal::InterfaceBudget { direction, shortfall, .. }
        | Refusal::ClassShare { direction, shortfall, .. } = &mut refusal
        {
            let spec = request.qos.get(*direction);
            if (spec.latency.is_some() || spec.delay_variation.is_some())
                && let Some(account) = self.account(&request.interface)
                && let Some(terms) = *account.terms.get(*direction)
                && let Ok(Some(tspec)) = flowspec::TSpec::new(spec, *direction, account.mtu)
            {
                shortfall.least_latency = tspec.delay_bound(shortfall.would_fit, terms);
            }
        }
        refusal
    }
}
