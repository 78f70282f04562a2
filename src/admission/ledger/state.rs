//! The ledger's state: an account for each interface, the flows that hold it, and the time.
//!
//! Every operation checks first and books last: a refusal leaves the ledger as it was. The caller tells the time, which
//! never goes back.

use std::collections::HashMap;
use std::sync::Arc;

use flowspec::{Both, Bytes, ErrorTerms, Moment, Rate};

use super::absence::AbsentPeers;
use super::client::ClientUse;
use super::group::LedgerGroup;
use super::queue::WaitingQueue;
use crate::admission::account::classes::Classes;
use crate::admission::account::flows::Flows;
use crate::admission::account::names::NameTable;
use crate::admission::account::parents::{ChildLink, Parents};
use crate::admission::account::proof::{Prover, unproven};
use crate::admission::account::rank::Rank;
use crate::admission::account::state::{Account, SeenLink};
use crate::admission::ended::{EndCause, EndedFlow};
use crate::admission::group_difference::GroupDifference;
use crate::ordered::{OrderedMap, OrderedSet};
use crate::policy::{Client, Policy};

/// The most flows that may be admitted at once.
pub(crate) const MOST_FLOWS: usize = 1_000_000;

/// Above this number of clients, those that hold nothing are forgotten.
pub(crate) const CLIENTS_BEFORE_A_SWEEP: usize = 10_000;

/// What is reserved of every interface, and for which flows.
///
/// ```
/// use std::sync::Arc;
///
/// use gqos::admission::{Ledger, NewFlow, Operation, Request};
/// use gqos::flowspec::{Bytes, Flowspec, Moment, Qos, Rate};
/// use gqos::policy::Policy;
///
/// let policy: Policy = "version = 1\n[interface.eth0]\negress = { capacity = \"10 Mbit/s\" }\n".parse()?;
/// let mut ledger = Ledger::new(Arc::new(policy));
/// let qos = Qos::sending(Flowspec::guaranteed(Rate::from_mbit(5), Bytes::new(9000)));
/// let request = Request::new(NewFlow { id: "v1", interface: "eth0" }, qos);
/// let request = Operation::Reserve(Box::new(request.into()));
/// let outcome = ledger.decide(Moment::START, &request);
/// assert_eq!(outcome.decision.charged().sending, Rate::from_mbit(5));
/// # Ok::<(), gqos::files::InvalidPolicy>(())
/// ```
#[derive(Clone, Debug)]
pub struct Ledger {
    pub(crate) policy: Arc<Policy>,
    pub(crate) now: Moment,
    /// Every interface that was ever named.
    pub(crate) interfaces: NameTable,
    /// By the interface's number; `None` where the policy does not have it.
    pub(crate) accounts: Vec<Option<Account>>,
    /// The parents of the interfaces with accounts.
    pub(crate) parents: Parents,
    pub(crate) classes: Arc<Classes>,
    pub(crate) flows: Flows,
    pub(crate) groups: OrderedMap<Arc<str>, LedgerGroup>,
    /// The policy's groups that are not as it states them, with the reason.
    pub(crate) unmade: OrderedMap<Arc<str>, GroupDifference>,
    pub(crate) clients: HashMap<String, ClientUse>,
    /// When flows end by themselves.
    pub(crate) endings: OrderedSet<(Moment, Rank)>,
    pub(crate) absent: AbsentPeers,
    pub(crate) admitted: u64,
    pub(crate) waiting: WaitingQueue,
    pub(crate) prover: Prover,
    /// How often something was booked, unbooked or counted otherwise: a number that changes with the state.
    pub(crate) bookings: u64,
    /// Whether a capacity has risen since waiting flows were last notified.
    pub(crate) risen: bool,
    /// Whether what is requested was admitted before, and is not checked against what is free.
    pub(crate) is_keeping: bool,
}

impl Ledger {
    /// A ledger under this policy, at the start of the clock, with the policy's groups and no proven error terms.
    pub fn new(policy: Arc<Policy>) -> Self {
        Self::proving(policy, unproven)
    }

    /// The same, with a function that proves the error terms of its data path.
    pub fn proving(policy: Arc<Policy>, prover: Prover) -> Self {
        let classes = Arc::new(Classes::of(&policy));
        let mut ledger = Self {
            policy,
            now: Moment::START,
            interfaces: NameTable::default(),
            accounts: Vec::new(),
            parents: Parents::default(),
            classes,
            flows: Flows::default(),
            groups: OrderedMap::new(),
            unmade: OrderedMap::new(),
            clients: HashMap::new(),
            endings: OrderedSet::new(),
            absent: AbsentPeers::default(),
            admitted: 0,
            waiting: WaitingQueue::default(),
            prover,
            bookings: 0,
            risen: false,
            is_keeping: false,
        };
        ledger.state_groups();
        ledger
    }

    /// The policy in force: that of [`Self::new`], or of the last [`Self::reload`].
    pub const fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// A number that changes whenever a reservation, a group, a capacity, a measurement or the policy does.
    #[cfg(feature = "host")]
    pub(crate) const fn bookings(&self) -> u64 {
        self.bookings
    }

    /// The ledger's time.
    pub const fn now(&self) -> Moment {
        self.now
    }

    /// Records the kernel's parameters of an interface: its MTU, and its speed where it reports one.
    pub fn observe_link(&mut self, interface: &str, mtu: Bytes, speed: Option<Rate>) {
        let policy = Arc::clone(&self.policy);
        let Some(interface_policy) = policy.interface(interface) else { return };
        self.bookings += 1;
        let Some(account) = self.account_of(interface) else { return };
        account.observe_link(interface_policy, SeenLink { mtu, speed });
        self.update_error_terms(interface);
        self.restate_groups_on(interface);
        self.debug_check();
    }

    /// Records other parameters of an interface that has been seen. What it carries now counts on.
    pub fn see_again(&mut self, interface: &str, mtu: Bytes, speed: Option<Rate>) {
        let policy = Arc::clone(&self.policy);
        let Some(interface_policy) = policy.interface(interface) else { return };
        self.bookings += 1;
        let Some(account) = self.account_of(interface) else { return };
        account.see_again(interface_policy, SeenLink { mtu, speed });
        self.update_error_terms(interface);
        self.debug_check();
    }

    /// Records whether the kernel has a tree for an interface. Without one, only the error terms that the policy states
    /// hold.
    pub fn set_programmed(&mut self, interface: &str, is_programmed: bool) {
        if let Some(account) = self.account_of(interface)
            && account.unprogrammed == is_programmed
        {
            account.unprogrammed = !is_programmed;
            self.update_error_terms(interface);
        }
    }

    /// C and D of what is sent, stated or proven.
    pub fn error_terms(&self, interface: &str) -> Option<ErrorTerms> {
        self.account(interface)?.terms.sending
    }

    /// Computes C and D again, after something has changed that they depend on.
    pub(crate) fn update_error_terms(&mut self, interface: &str) {
        let prover = self.prover;
        let policy = Arc::clone(&self.policy);
        if let (Some(policy), Some(account)) = (policy.interface(interface), self.account_of(interface)) {
            account.update_error_terms(policy, prover);
        }
    }

    /// Time passes: the reservations of flows whose time is over, and of flows that were without their peers for too
    /// long, are released. Gives those flows, in the order in which they ended.
    pub fn advance(&mut self, now: Moment) -> Vec<EndedFlow> {
        let mut ended = Vec::new();
        loop {
            let expires = self.endings.first().map(|(at, rank)| (*at, rank.slot(), true));
            let absent = self.absent.next().map(|(at, slot)| (at, slot, false));
            let first = expires.into_iter().chain(absent).min_by_key(|(at, ..)| *at);
            let Some((at, slot, expires)) = first.filter(|(at, ..)| *at <= now) else { break };
            self.pass(at);
            ended.extend(if expires { self.expire(slot) } else { self.end_absent(slot) });
        }
        self.pass(now);
        // What a flow was notified of, and did not take in time, is free for the flows after it.
        self.risen |= self.waiting.pass(self.now);
        self.debug_check();
        ended
    }

    /// When time alone changes something next: a flow ends, or loses its place among those that wait, or a capacity begins
    /// to count.
    pub fn due(&self) -> Option<Moment> {
        let ends = self.endings.first().map(|(at, _)| *at);
        let absent = self.absent.next().map(|(at, _)| at);
        let rises = self.accounts.iter().flatten().flat_map(|account| {
            let Both { sending, receiving } = account.rising;
            [sending, receiving].into_iter().flatten().map(|(at, _)| at)
        });
        ends.into_iter().chain(absent).chain(self.waiting.due()).chain(rises).min()
    }

    fn expire(&mut self, slot: u32) -> Option<EndedFlow> {
        let held = self.end(slot)?;
        // A flow that has ended does not wait for more.
        self.waiting.leave(&held.id);
        Some(EndedFlow { held, cause: EndCause::Expired })
    }

    fn pass(&mut self, now: Moment) {
        if now <= self.now {
            return;
        }
        let before = std::mem::replace(&mut self.now, now);
        if self.waiting.notified() > 0 {
            // A notified flow may not fit any more, and what else it needs is free for others.
            let mut accounts = self.accounts.iter().flatten();
            self.risen |= accounts.any(|account| account.relief_ends_between(before, now));
        }
        for (number, account) in (0..).zip(&mut self.accounts) {
            if let Some(account) = account
                && account.advance(now)
            {
                self.risen = true;
                if let Some(policy) = self.policy.interface(self.interfaces.text(number)) {
                    account.update_error_terms(policy, self.prover);
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

    /// The account of an interface, if one is open.
    pub(crate) fn account(&self, interface: &str) -> Option<&Account> {
        self.accounts.get(self.interfaces.number(interface)? as usize)?.as_ref()
    }

    pub(crate) fn account_at(&mut self, interface: u32) -> Option<&mut Account> {
        self.accounts.get_mut(interface as usize)?.as_mut()
    }

    /// The account of an interface, opened if the policy knows it.
    pub(crate) fn account_of(&mut self, interface: &str) -> Option<&mut Account> {
        let number = self.interface_number(interface);
        self.account_at(number)
    }

    /// The number of an interface, whose account is opened, with those of its parents, if the policy knows it.
    pub(crate) fn interface_number(&mut self, interface: &str) -> u32 {
        let number = self.interfaces.intern(interface);
        if self.accounts.len() < self.interfaces.len() {
            self.accounts.resize_with(self.interfaces.len(), || None);
        }
        if let account @ None = &mut self.accounts[number as usize]
            && let Some(policy) = self.policy.interface(interface)
        {
            let mut opened = Account::new(number, policy, self.policy.preemption);
            opened.may_exceed = Both { sending: self.is_keeping, receiving: self.is_keeping };
            opened.update_error_terms(policy, self.prover);
            *account = Some(opened);
            let parent = policy.parent.clone();
            self.set_parent(number, parent.as_deref());
        }
        number
    }

    /// Sets the interface on whose wire another one sends, and opens its account.
    pub(crate) fn set_parent(&mut self, interface: u32, parent: Option<&str>) {
        let parent = parent.map(|parent| self.interface_number(parent));
        if parent.is_some() {
            self.parents.set(ChildLink { interface, parent });
        }
    }
}

/// A client's name and limits, where the policy has some for it.
pub(crate) fn client_of<'a, 'c>(
    policy: &'a Policy,
    client: Option<&'c str>,
) -> Option<(&'c str, &'a Client)> {
    let name = client?;
    policy.client(name).map(|limits| (name, limits))
}
