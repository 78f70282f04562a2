//! The ledger: an account for each interface, who holds what of it, and until when.
//!
//! Every operation finds out first and writes last: a refusal leaves the ledger as it was. Time is
//! told, in microseconds, and never goes back.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use flowspec::{Both, Bytes, Direction, ErrorTerms, Flowspec, Micros, Rate, ServiceType, TSpec};

use super::client::ClientUse;
use super::group::{Group, Member};
use super::waiting::Waiting;
use crate::admission::account::charge::Charge;
use crate::admission::account::classes::Classes;
use crate::admission::account::flows::{Flows, LAST_ORDER};
use crate::admission::account::names::Names;
use crate::admission::account::profile::FOREVER;
use crate::admission::account::proof::{Prover, unproven};
use crate::admission::account::state::{Account, Footprint, Rank, capacity};
use crate::admission::refusal::Refusal;
use crate::admission::request::{Grant, Request};
use crate::admission::totals::Totals;
use crate::policy::{Client, GroupMode, Policy};

/// The most flows there may be at once. Everything that grows has a limit.
pub(crate) const MOST_FLOWS: usize = 1_000_000;

/// How many clients are remembered before those that have nothing are forgotten.
pub(crate) const CLIENTS_BEFORE_A_SWEEP: usize = 10_000;

/// What has been promised of every interface.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub(crate) policy: Arc<Policy>,
    pub(crate) now: u64,
    /// Every interface that was ever named.
    pub(crate) interfaces: Names,
    /// By the interface's number; nothing where the policy knows none.
    pub(crate) accounts: Vec<Option<Account>>,
    pub(crate) classes: Arc<Classes>,
    pub(crate) flows: Flows,
    pub(crate) groups: BTreeMap<Arc<str>, Group>,
    pub(crate) clients: HashMap<String, ClientUse>,
    /// When flows end by themselves.
    pub(crate) endings: BTreeSet<(u64, Rank)>,
    pub(crate) admitted: u64,
    pub(crate) waiting: Waiting,
    pub(crate) prover: Prover,
    /// A capacity has risen since somebody was told.
    pub(crate) risen: bool,
}

/// What a flow had before it was given something else.
pub(crate) struct Before {
    entry: Entry,
    member: Option<Member>,
}

/// What a flow holds; given back as it stands here, whatever the policy says by then.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Entry {
    pub(crate) footprint: Footprint,
    /// What it costs, where a group pays; else it is the footprint's.
    pub(crate) cost: Option<Box<Cost>>,
    pub(crate) group: Option<Arc<str>>,
    pub(crate) client: Option<Arc<str>>,
    /// When its soft state ends, if it has any.
    pub(crate) deadline: Option<u64>,
}

/// What a member of a group costs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Cost {
    rate: Both<Rate>,
    buffer: Both<Bytes>,
}

impl Entry {
    /// What it costs, whoever pays.
    pub(crate) fn rate(&self) -> Both<Rate> {
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
    pub(crate) fn costing(mut self, charge: &Charge) -> Self {
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
    pub(crate) fn ending(&self) -> Option<u64> {
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
        let classes = Arc::new(Classes::of(&policy));
        let mut ledger = Self {
            policy,
            now: 0,
            interfaces: Names::default(),
            accounts: Vec::new(),
            classes,
            flows: Flows::default(),
            groups: BTreeMap::new(),
            clients: HashMap::new(),
            endings: BTreeSet::new(),
            admitted: 0,
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
        self.account(interface)?.terms.sending
    }

    /// C and D again, after something has changed that they depend on.
    pub(crate) fn prove(&mut self, interface: &str) {
        let prover = self.prover;
        let policy = Arc::clone(&self.policy);
        if let (Some(policy), Some(account)) = (policy.interface(interface), self.account_of(interface)) {
            account.prove(policy, prover);
        }
    }

    /// Time passes: what has ended by then is given back. Says which flows ended by themselves, in the
    /// order of their endings.
    pub fn advance(&mut self, now: u64) -> Vec<String> {
        let mut ended = Vec::new();
        while let Some(&(at, rank)) = self.endings.first()
            && at <= now
        {
            self.pass(at);
            ended.extend(self.end(rank.slot()));
        }
        self.pass(now);
        ended
    }

    /// When something happens by itself next: a flow ends, or a capacity begins to count.
    pub fn due(&self) -> Option<u64> {
        let ends = self.endings.first().map(|(at, _)| *at);
        let rises = self.accounts.iter().flatten().flat_map(|account| {
            let Both { sending, receiving } = account.rising;
            [sending, receiving].into_iter().flatten().map(|(at, _)| at)
        });
        ends.into_iter().chain(rises).min()
    }

    fn pass(&mut self, now: u64) {
        if now <= self.now {
            return;
        }
        self.now = now;
        for (number, account) in (0..).zip(&mut self.accounts) {
            if let Some(account) = account
                && account.advance(now)
            {
                self.risen = true;
                if let Some(policy) = self.policy.interface(self.interfaces.text(number)) {
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
        let member = Member { charge: entry.charge(grant.tspec), window: entry.footprint.window };
        self.book_new(&request.id, entry, Some(member));
        if self.admitted >= LAST_ORDER {
            self.renumber();
        }
        Ok(grant)
    }

    /// Books a flow if it fits as it is, without a client's request being counted or anybody displaced: its
    /// slot, to end it by.
    ///
    /// - **Errors**: the refusal, and nothing is booked.
    pub(crate) fn try_out(&mut self, request: &Request) -> Result<u32, Refusal> {
        let (entry, grant, _) = self.prepare(request)?;
        self.check(&entry, None)?;
        let charge = entry.charge(grant.tspec);
        let member = Member { charge, window: entry.footprint.window };
        Ok(self.book_new(&request.id, entry, Some(member)))
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
        let account = self.account(&request.interface);
        let class = request.class.as_deref().and_then(|class| self.classes.names.number(class));
        let mut moments = account.map_or_else(Vec::new, |account| account.moments(class));
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
        self.take(id).map(|entry| entry.rate())
    }

    /// The same: what it held.
    pub(crate) fn take(&mut self, id: &str) -> Option<Entry> {
        let (_, entry) = self.flows.remove(id)?;
        self.unbook(&entry);
        self.tidy(&entry.footprint);
        if let Some(name) = &entry.group
            && self.groups.get(name).is_some_and(|group| group.closing && group.is_empty())
        {
            self.end_group(name);
        }
        Some(entry)
    }

    /// Gives back what the flow in a slot holds: what it was called.
    pub(crate) fn end(&mut self, slot: u32) -> Option<String> {
        let id = self.flows.id(slot).to_owned();
        self.release(&id).map(|_| id)
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
    pub(crate) fn exchange(
        &mut self,
        id: &str,
        asked: Both<Option<Flowspec>>,
    ) -> Result<(Grant, Before), Refusal> {
        let Some(old) = self.flows.get(id) else {
            return Err(Refusal::UnknownId { id: id.to_owned() });
        };
        let slot = old.footprint.slot;
        let given = |spec: Option<Flowspec>| spec.filter(|spec| spec.service_type != ServiceType::NoChange);
        let asked = asked.map(given);
        let policy = Arc::clone(&self.policy);
        let classes = Arc::clone(&self.classes);
        let class = match old.footprint.class {
            None => None,
            Some(number) => Some(classes.policy(number)?),
        };
        let interface = self.interfaces.text(old.footprint.interface).clone();
        let qos = asked.map(|spec| spec.unwrap_or(Flowspec::BEST_EFFORT));
        let mut charge = self.charge(&policy, &interface, &qos, class)?;
        let before = old.group.as_ref().and_then(|name| self.groups.get(name));
        let (member_before, group_before) =
            before.map(|group| (group.member(slot).cloned(), group.footprint.clone())).unzip();
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
        self.unbook(&old);
        let result = self
            .check_member(&entry, &member, Some(&old), group_before.as_ref())
            .and_then(|()| self.check(&entry, Some(&old)));
        match result {
            Ok(()) => {
                self.flows.update(&entry, self.now);
                self.book(&entry, Some(member));
                self.tidy(&entry.footprint);
                let dscp = class.and_then(|class| class.dscp);
                let grant = Grant { charged: charge.rate, tspec: charge.tspec, dscp, preempted: Vec::new() };
                Ok((grant, Before { entry: old, member: member_before }))
            }
            Err(refusal) => {
                self.book(&old, member_before);
                self.tidy(&old.footprint);
                Err(refusal)
            }
        }
    }

    /// Gives a flow back what it had.
    pub(crate) fn restore(&mut self, before: Before) {
        let Before { entry, member } = before;
        let now = self.flows.entry(entry.footprint.slot);
        self.unbook(&now);
        self.flows.update(&entry, self.now);
        self.book(&entry, member);
        self.tidy(&entry.footprint);
    }

    /// A flow's soft state lasts so long from now on.
    ///
    /// - **Errors**: no such flow.
    pub fn refresh(&mut self, id: &str, time_to_live: Micros) -> Result<(), Refusal> {
        let Some(mut entry) = self.flows.get(id) else {
            return Err(Refusal::UnknownId { id: id.to_owned() });
        };
        let rank = entry.footprint.rank();
        if let Some(at) = entry.ending() {
            self.endings.remove(&(at, rank));
        }
        entry.deadline = Some(self.now.saturating_add(time_to_live.get()));
        self.endings.extend(entry.ending().map(|at| (at, rank)));
        self.flows.update(&entry, self.now);
        Ok(())
    }

    /// Both directions of an interface now, if the policy knows it.
    pub fn totals(&self, interface: &str) -> Option<Both<Totals>> {
        let policy = self.policy.interface(interface)?;
        let account = self.account(interface);
        let total = |direction| {
            let known = match account {
                Some(account) => *account.capacity.get(direction),
                None => *capacity(policy, None).get(direction),
            };
            let budget =
                known.map_or(Rate::ZERO, |capacity| policy.budget(direction).reservable_of(capacity));
            let taken = |account: &Account| account.taken(direction, self.now);
            Totals { budget, reserved: account.map_or(Rate::ZERO, taken) }
        };
        Some(Both { sending: total(Direction::Sending), receiving: total(Direction::Receiving) })
    }

    /// What the link carries in a direction, if that is known.
    pub fn capacity(&self, interface: &str, direction: Direction) -> Option<Rate> {
        *self.account(interface)?.capacity.get(direction)
    }

    /// When a capacity counts that is more than before; nothing where it does already.
    pub(crate) fn rises(&self, interface: &str, direction: Direction) -> Option<u64> {
        self.account(interface)?.rising.get(direction).map(|(at, _)| at)
    }

    /// By how much less is taken of an interface than its flows have declared, as they are measured.
    pub(crate) fn relief(&self, interface: &str) -> Both<Rate> {
        let relief = |direction| {
            let account = self.account(interface);
            let relief = account.map(|account| account.relief(direction, self.now, |_, _| true));
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
        let entry = self.flows.get(id)?;
        Some((&**self.interfaces.text(entry.footprint.interface), entry.rate()))
    }

    /// How a group is charged, if there is one of that name.
    pub fn group_mode(&self, id: &str) -> Option<GroupMode> {
        self.groups.get(id).map(|group| group.mode)
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

    /// The account of an interface, if one is open.
    pub(crate) fn account(&self, interface: &str) -> Option<&Account> {
        self.accounts.get(self.interfaces.number(interface)? as usize)?.as_ref()
    }

    /// The account with a number.
    pub(crate) fn account_at(&mut self, interface: u32) -> Option<&mut Account> {
        self.accounts.get_mut(interface as usize)?.as_mut()
    }

    /// The account of an interface, opened if the policy knows it.
    pub(crate) fn account_of(&mut self, interface: &str) -> Option<&mut Account> {
        let number = self.interface_number(interface);
        self.account_at(number)
    }

    /// The number of an interface, whose account is opened if the policy knows it.
    pub(crate) fn interface_number(&mut self, interface: &str) -> u32 {
        let number = self.interfaces.intern(interface);
        if self.accounts.len() < self.interfaces.len() {
            self.accounts.resize_with(self.interfaces.len(), || None);
        }
        if let account @ None = &mut self.accounts[number as usize]
            && let Some(policy) = self.policy.interface(interface)
        {
            let mut opened = Account::new(policy, self.policy.preemption);
            opened.prove(policy, self.prover);
            *account = Some(opened);
        }
        number
    }
}

/// A client's name and what it may have, where the policy says so.
pub(crate) fn client_of<'a, 'c>(
    policy: &'a Policy,
    client: Option<&'c str>,
) -> Option<(&'c str, &'a Client)> {
    let name = client?;
    policy.client(name).map(|limits| (name, limits))
}
