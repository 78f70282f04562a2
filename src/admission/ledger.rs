//! The ledger: an account for each interface, who holds what of it, and until when.
//!
//! Every operation finds out first and writes last: a refusal leaves the ledger as it was. Time is
//! told, in microseconds, and never goes back.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::quality::RandomState;

use flowspec::{Both, Bytes, Direction, ErrorTerms, Flowspec, Micros, Rate, ServiceType, TSpec};

use super::account::{Account, Footprint, capacity};
use super::charge::Charge;
use super::client::ClientUse;
use super::group::{Group, Member};
use super::profile::FOREVER;
use super::proof::{Prover, unproven};
use super::refusal::Refusal;
use super::request::{Grant, Request};
use super::waiting::Waiting;
use crate::policy::{Class, Client, InterfacePolicy, Policy};

/// The most flows there may be at once. Everything that grows has a limit.
pub(super) const MOST_FLOWS: usize = 1_000_000;

/// How many clients are remembered before those that have nothing are forgotten.
pub(super) const CLIENTS_BEFORE_A_SWEEP: usize = 10_000;

/// What has been promised of every interface.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub(super) policy: Arc<Policy>,
    pub(super) now: u64,
    pub(super) accounts: BTreeMap<Arc<str>, Account>,
    pub(super) flows: HashMap<Arc<str>, Entry, RandomState>,
    pub(super) groups: BTreeMap<Arc<str>, Group>,
    pub(super) clients: HashMap<String, ClientUse>,
    /// When flows end by themselves.
    pub(super) endings: BTreeSet<(u64, Arc<str>)>,
    pub(super) admitted: u64,
    pub(super) class_names: BTreeSet<Arc<str>>,
    pub(super) waiting: Waiting,
    pub(super) prover: Prover,
    /// A capacity has risen since somebody was told.
    pub(super) risen: bool,
}

/// What a flow had before it was given something else.
pub(super) struct Before {
    id: Arc<str>,
    entry: Entry,
    member: Option<Member>,
}

/// One direction of an interface: what may be promised and what is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Totals {
    /// What may be promised.
    pub budget: Rate,
    /// What is.
    pub reserved: Rate,
}

/// What a flow holds; given back as it stands here, whatever the policy says by then.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) interface: Arc<str>,
    pub(super) footprint: Footprint,
    /// What it costs, where a group pays; else it is the footprint's.
    pub(super) cost: Option<Box<Cost>>,
    pub(super) group: Option<Arc<str>>,
    pub(super) client: Option<Arc<str>>,
    /// When its soft state ends, if it has any.
    pub(super) deadline: Option<u64>,
}

/// What a member of a group costs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    rate: Both<Rate>,
    buffer: Both<Bytes>,
}

impl Totals {
    /// What is left.
    pub fn available(&self) -> Rate {
        self.budget.saturating_sub(self.reserved)
    }
}

impl Entry {
    /// What it costs, whoever pays.
    pub(super) fn rate(&self) -> Both<Rate> {
        self.cost.as_ref().map_or(self.footprint.charged, |cost| cost.rate)
    }

    fn buffer(&self) -> Both<Bytes> {
        self.cost.as_ref().map_or(self.footprint.buffer, |cost| cost.buffer)
    }

    /// What it costs, with what it is held to.
    fn charge(&self, tspec: Both<Option<TSpec>>) -> Charge {
        let peak = self.footprint.peak.as_deref().copied().unwrap_or_default();
        Charge { rate: self.rate(), buffer: self.buffer(), tspec, peak }
    }

    /// The same flow at another cost.
    pub(super) fn costing(mut self, charge: &Charge) -> Self {
        let (rate, buffer) = (charge.rate, charge.buffer);
        if self.group.is_some() {
            self.cost = Some(Box::new(Cost { rate, buffer }));
        } else {
            (self.footprint.charged, self.footprint.buffer) = (rate, buffer);
            self.footprint.peak = (charge.peak != Both::default()).then(|| Box::new(charge.peak));
        }
        self
    }

    /// When it ends by itself.
    fn ending(&self) -> Option<u64> {
        let end = Some(self.footprint.window.end).filter(|&end| end != FOREVER);
        self.deadline.into_iter().chain(end).min()
    }
}

impl Ledger {
    /// A ledger under this policy, at time 0, with the policy's groups, of whose data path nothing is proven.
    pub fn new(policy: Arc<Policy>) -> Self {
        Self::proving(policy, unproven)
    }

    /// The same, with what proves the delays of its data path.
    pub fn proving(policy: Arc<Policy>, prover: Prover) -> Self {
        let class_names = class_names(&policy);
        let mut ledger = Self {
            policy,
            now: 0,
            accounts: BTreeMap::new(),
            flows: HashMap::default(),
            groups: BTreeMap::new(),
            clients: HashMap::new(),
            endings: BTreeSet::new(),
            admitted: 0,
            class_names,
            waiting: Waiting::default(),
            prover,
            risen: false,
        };
        ledger.make_groups();
        ledger
    }

    /// The policy.
    pub const fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// The ledger's time, in microseconds.
    pub const fn now(&self) -> u64 {
        self.now
    }

    /// What the kernel says of an interface: its MTU, and its speed where it reports one.
    pub fn see(&mut self, interface: &str, mtu: Bytes, speed: Option<Rate>) {
        let policy = Arc::clone(&self.policy);
        let Some(interface_policy) = policy.interface(interface) else { return };
        let Some(account) = self.account_of(interface) else { return };
        account.mtu = interface_policy.mtu.unwrap_or(mtu);
        account.capacity = capacity(interface_policy, speed);
        account.settled = account.capacity;
        self.prove(interface);
        self.make_groups();
    }

    /// The kernel would not have an interface's tree: nothing is proven of it, whatever the policy does not
    /// state itself.
    pub fn unprogrammed(&mut self, interface: &str) {
        if let Some(account) = self.account_of(interface) {
            account.unprogrammed = true;
            self.prove(interface);
        }
    }

    /// C and D of what is sent, stated or proven.
    pub fn proven(&self, interface: &str) -> Option<ErrorTerms> {
        self.accounts.get(interface)?.terms.sending
    }

    /// C and D again, after something has changed that they depend on.
    pub(super) fn prove(&mut self, interface: &str) {
        let prover = self.prover;
        if let (Some(policy), Some(account)) =
            (self.policy.interface(interface), self.accounts.get_mut(interface))
        {
            account.prove(policy, prover);
        }
    }

    /// Time passes: what has ended by then is given back. Says which flows ended by themselves, in the
    /// order of their endings.
    pub fn advance(&mut self, now: u64) -> Vec<String> {
        let mut ended = Vec::new();
        while let Some((at, id)) = self.endings.first().cloned()
            && at <= now
        {
            self.pass(at);
            self.release(&id);
            ended.push(id.to_string());
        }
        self.pass(now);
        ended
    }

    fn pass(&mut self, now: u64) {
        if now <= self.now {
            return;
        }
        self.now = now;
        for (name, account) in &mut self.accounts {
            if account.advance(now) {
                self.risen = true;
                if let Some(policy) = self.policy.interface(name) {
                    account.prove(policy, self.prover);
                }
            }
        }
        for group in self.groups.values_mut() {
            group.advance(now);
        }
        for client in self.clients.values_mut() {
            client.advance(now);
        }
    }

    /// Reserves both directions of a request, or neither.
    ///
    /// Equality fits. The order of the checks decides which refusal is given where several apply: what
    /// is asked first (flowspec, service, packet size, delay), then counts, the flow's own limits, the
    /// client, the group, then buffer, class and interface.
    ///
    /// - **Errors**: a refusal, and the ledger is as it was.
    pub fn admit(&mut self, request: &Request) -> Result<Grant, Refusal> {
        self.count_request(request)?;
        let (entry, mut grant, setup) = self.prepare(request)?;
        if let Err(refusal) = self.check(&entry, None) {
            let displaced = self.make_room(&entry, setup, refusal);
            grant.preempted = displaced.map_err(|refusal| self.with_least_latency(refusal, request))?;
        }
        self.admitted += 1;
        let id = entry.footprint.id.clone();
        let member = Member { charge: entry.charge(grant.tspec), window: entry.footprint.window };
        self.book(id, entry, Some(member));
        Ok(grant)
    }

    /// Books a flow if it fits as it is, without a client's request being counted or anybody displaced: its
    /// name, to release it by.
    ///
    /// - **Errors**: the refusal, and nothing is booked.
    pub(super) fn try_out(&mut self, request: &Request) -> Result<Arc<str>, Refusal> {
        let (entry, grant, _) = self.prepare(request)?;
        self.check(&entry, None)?;
        let charge = entry.charge(grant.tspec);
        let member = Member { charge, window: entry.footprint.window };
        let id = entry.footprint.id.clone();
        self.book(id.clone(), entry, Some(member));
        Ok(id)
    }

    /// What [`admit`](Self::admit) would answer; changes nothing but the list of known interfaces.
    ///
    /// - **Errors**: the refusal.
    pub fn consider(&mut self, request: &Request) -> Result<Grant, Refusal> {
        let (entry, mut grant, setup) = self.prepare(request)?;
        if let Err(refusal) = self.check(&entry, None) {
            let displaced = self.clone().make_room(&entry, setup, refusal);
            grant.preempted = displaced.map_err(|refusal| self.with_least_latency(refusal, request))?;
        }
        Ok(grant)
    }

    /// The first moment from the request's start on at which it would fit for as long as it is to last, by
    /// what is booked now and without displacing anybody. Nothing where it never would.
    ///
    /// What is taken changes only where something begins or ends, so that only those moments are tried.
    pub fn earliest(&mut self, request: &Request) -> Option<u64> {
        let start = request.start.unwrap_or(self.now).max(self.now);
        let duration = request.end.map(|end| end.saturating_sub(start));
        let account = self.accounts.get(request.interface.as_str());
        let mut moments = account.map_or_else(Vec::new, |account| account.moments(request.class.as_deref()));
        let client = client_of(&self.policy, request.client.as_deref());
        let client = client.and_then(|(name, _)| self.clients.get(name));
        moments.extend(client.into_iter().flat_map(ClientUse::moments));
        let group = request.group.as_deref().and_then(|name| self.groups.get(name));
        moments.extend(group.into_iter().flat_map(Group::moments));
        moments.sort_unstable();
        moments.dedup();
        let later = moments.into_iter().filter(|&moment| moment > start);
        std::iter::once(start).chain(later).find(|&moment| {
            let end = duration.map(|duration| moment.saturating_add(duration));
            let moved = Request { start: Some(moment), end, ..request.clone() };
            self.prepare(&moved).and_then(|(entry, ..)| self.check(&entry, None)).is_ok()
        })
    }

    /// Gives back what a flow holds: what that was, or nothing where it holds nothing any more.
    pub fn release(&mut self, id: &str) -> Option<Both<Rate>> {
        let (id, entry) = self.flows.remove_entry(id)?;
        self.unbook(&id, &entry);
        if let Some(name) = &entry.group
            && self.groups.get(name).is_some_and(|group| group.closing && group.is_empty())
        {
            self.end_group(name);
        }
        Some(entry.rate())
    }

    /// Asks for another reservation in place of the one a flow has; an absent direction, or one that says
    /// NOCHANGE, stays as it is, and has no TSpec in the grant. Never displaces others.
    ///
    /// - **Errors**: a refusal, and the flow keeps what it has. What takes less is never refused.
    pub fn renegotiate(
        &mut self,
        id: &str,
        sending: Option<Flowspec>,
        receiving: Option<Flowspec>,
    ) -> Result<Grant, Refusal> {
        self.exchange(id, Both { sending, receiving }).map(|(grant, _)| grant)
    }

    /// As [`renegotiate`](Self::renegotiate), with what was there before, to be [restored](Self::restore).
    pub(super) fn exchange(
        &mut self,
        id: &str,
        asked: Both<Option<Flowspec>>,
    ) -> Result<(Grant, Before), Refusal> {
        let Some((key, old)) = self.flows.get_key_value(id) else {
            return Err(Refusal::UnknownId { id: id.to_owned() });
        };
        let (key, old) = (key.clone(), old.clone());
        let given = |spec: Option<Flowspec>| spec.filter(|spec| spec.service_type != ServiceType::NoChange);
        let asked = asked.map(given);
        let policy = Arc::clone(&self.policy);
        let class = class_of(&policy, old.footprint.class.as_deref())?;
        let qos = asked.map(|spec| spec.unwrap_or(Flowspec::BEST_EFFORT));
        let mut charge = self.charge(&policy, &old.interface, &qos, class)?;
        let before = old.group.as_ref().and_then(|name| self.groups.get(name));
        let (member_before, group_before) =
            before.map(|group| (group.member(&key).cloned(), group.footprint.clone())).unzip();
        let member_before = member_before.flatten();
        for direction in Direction::BOTH {
            if asked.get(direction).is_none() {
                *charge.rate.get_mut(direction) = *old.rate().get(direction);
                *charge.buffer.get_mut(direction) = *old.buffer().get(direction);
                let kept = member_before.as_ref().and_then(|member| *member.charge.tspec.get(direction));
                *charge.tspec.get_mut(direction) = kept;
                let peak = old.footprint.peak.as_ref().map_or(Rate::ZERO, |peak| *peak.get(direction));
                *charge.peak.get_mut(direction) = peak;
            }
        }
        let mut entry = old.clone().costing(&charge);
        entry.footprint.window.start = old.footprint.window.start.max(self.now);
        let member = Member { charge, window: entry.footprint.window };
        // The old one makes room for the new one; if that does not fit it takes its place again.
        self.unbook(&key, &old);
        let result = self
            .check_member(&entry, &member, Some(&old), group_before.as_ref())
            .and_then(|()| self.check(&entry, Some(&old)));
        self.flows.remove(&key);
        match result {
            Ok(()) => {
                self.book(key.clone(), entry, Some(member));
                let dscp = class.and_then(|class| class.dscp);
                let grant = Grant { charged: charge.rate, tspec: charge.tspec, dscp, preempted: Vec::new() };
                Ok((grant, Before { id: key, entry: old, member: member_before }))
            }
            Err(refusal) => {
                self.book(key, old, member_before);
                Err(refusal)
            }
        }
    }

    /// Gives a flow back what it had.
    pub(super) fn restore(&mut self, before: Before) {
        let Before { id, entry, member } = before;
        if let Some(now) = self.flows.remove(&id) {
            self.unbook(&id, &now);
            self.book(id, entry, member);
        }
    }

    /// A flow's soft state lasts so long from now on.
    ///
    /// - **Errors**: no such flow.
    pub fn refresh(&mut self, id: &str, time_to_live: Micros) -> Result<(), Refusal> {
        let Some((key, entry)) = self.flows.get_key_value(id) else {
            return Err(Refusal::UnknownId { id: id.to_owned() });
        };
        let (key, before) = (key.clone(), entry.ending());
        if let Some(entry) = self.flows.get_mut(&key) {
            entry.deadline = Some(self.now.saturating_add(time_to_live.get()));
            let after = entry.ending();
            self.end_at(&key, before, after);
        }
        Ok(())
    }

    /// Both directions of an interface now, if the policy knows it.
    pub fn totals(&self, interface: &str) -> Option<Both<Totals>> {
        let policy = self.policy.interface(interface)?;
        let account = self.accounts.get(interface);
        let total = |direction| {
            let known = match account {
                Some(account) => *account.capacity.get(direction),
                None => *capacity(policy, None).get(direction),
            };
            let budget =
                known.map_or(Rate::ZERO, |capacity| policy.budget(direction).reservable_of(capacity));
            let taken = |account: &Account| account.taken(&self.policy, direction, self.now);
            Totals { budget, reserved: account.map_or(Rate::ZERO, taken) }
        };
        Some(Both { sending: total(Direction::Sending), receiving: total(Direction::Receiving) })
    }

    /// What the link carries in a direction, if that is known.
    pub fn capacity(&self, interface: &str, direction: Direction) -> Option<Rate> {
        *self.accounts.get(interface)?.capacity.get(direction)
    }

    /// When a capacity counts that is more than before; nothing where it does already.
    pub(super) fn rises(&self, interface: &str, direction: Direction) -> Option<u64> {
        self.accounts.get(interface)?.rising.get(direction).map(|(at, _)| at)
    }

    /// By how much less is taken of an interface than its flows have declared, as they are measured.
    pub(super) fn relief(&self, interface: &str) -> Both<Rate> {
        let relief = |direction| {
            let account = self.accounts.get(interface);
            let relief =
                account.map(|account| account.relief(&self.policy, direction, self.now, |_, _| true));
            Rate::new(relief.unwrap_or(0))
        };
        Both { sending: relief(Direction::Sending), receiving: relief(Direction::Receiving) }
    }

    /// How many flows are admitted.
    pub fn flows(&self) -> usize {
        self.flows.len()
    }

    /// What a flow costs and where, if it is admitted.
    pub fn flow(&self, id: &str) -> Option<(&str, Both<Rate>)> {
        self.flows.get(id).map(|entry| (&*entry.interface, entry.rate()))
    }

    /// The interface of a group, and what its members are charged together.
    pub fn group_totals(&self, id: &str) -> Option<(&str, Both<Totals>)> {
        let group = self.groups.get(id)?;
        let totals = |direction| Totals {
            budget: *group.footprint.charged.get(direction),
            reserved: group.spent(direction),
        };
        Some((
            &group.interface,
            Both { sending: totals(Direction::Sending), receiving: totals(Direction::Receiving) },
        ))
    }

    /// Writes down a flow that is known to fit; `member` is for its group, if it has one.
    fn book(&mut self, id: Arc<str>, entry: Entry, member: Option<Member>) {
        let now = self.now;
        if let Some(account) = self.accounts.get_mut(&*entry.interface) {
            account.book(&entry.footprint, now);
        }
        if let Some((name, limits)) = client_of(&self.policy, entry.client.as_deref()) {
            let client = self.clients.entry(name.to_owned()).or_insert_with(|| ClientUse::new(limits, now));
            client.book(entry.rate(), entry.footprint.window, now);
        }
        if let (Some(name), Some(member)) = (&entry.group, member) {
            self.change_group(&name.clone(), |group| group.join(&id, member, now));
        }
        if let Some(at) = entry.ending() {
            self.endings.insert((at, id.clone()));
        }
        self.flows.insert(id, entry);
    }

    /// Takes back everything a flow has booked; it is not in the list any more, or is put there again.
    pub(super) fn unbook(&mut self, id: &Arc<str>, entry: &Entry) {
        let now = self.now;
        if let Some(account) = self.accounts.get_mut(&*entry.interface) {
            account.unbook(&entry.footprint, now);
        }
        if let Some((name, _)) = client_of(&self.policy, entry.client.as_deref())
            && let Some(client) = self.clients.get_mut(name)
        {
            client.unbook(entry.rate(), entry.footprint.window, now);
        }
        if let Some(name) = &entry.group {
            self.change_group(&name.clone(), |group| {
                group.leave(id, now);
            });
        }
        if let Some(at) = entry.ending() {
            self.endings.remove(&(at, id.clone()));
        }
    }

    fn end_at(&mut self, id: &Arc<str>, before: Option<u64>, after: Option<u64>) {
        if let Some(at) = before {
            self.endings.remove(&(at, id.clone()));
        }
        if let Some(at) = after {
            self.endings.insert((at, id.clone()));
        }
    }

    /// The account of an interface, opened if the policy knows it.
    pub(super) fn account_of(&mut self, interface: &str) -> Option<&mut Account> {
        if !self.accounts.contains_key(interface) {
            let policy: &InterfacePolicy = self.policy.interface(interface)?;
            let mut account = Account::new(policy, self.policy.preemption);
            account.prove(policy, self.prover);
            self.accounts.insert(Arc::from(interface), account);
        }
        self.accounts.get_mut(interface)
    }
}

/// A client's name and what it may have, where the policy says so.
pub(super) fn client_of<'a, 'c>(
    policy: &'a Policy,
    client: Option<&'c str>,
) -> Option<(&'c str, &'a Client)> {
    let name = client?;
    policy.client(name).map(|limits| (name, limits))
}

pub(super) fn class_of<'a>(policy: &'a Policy, name: Option<&str>) -> Result<Option<&'a Class>, Refusal> {
    let Some(name) = name else { return Ok(None) };
    let class = policy.classes.get(name);
    class.map(Some).ok_or_else(|| Refusal::UnknownClass { class: name.to_owned() })
}

/// One name for all flows of a class.
pub(super) fn class_names(policy: &Policy) -> BTreeSet<Arc<str>> {
    policy.classes.keys().map(|name| Arc::from(name.as_str())).collect()
}
