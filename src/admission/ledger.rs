//! The ledger: an account for each interface, and who holds what of it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use flowspec::{Both, Bytes, Direction, Flowspec, FlowspecError, Qos, Rate, ServiceType, TSpec};

use super::refusal::{Holder, Refusal, Sum};
use crate::policy::{Capacity, Class, InterfacePolicy, Policy};

/// The MTU of an interface that has not been seen yet: Ethernet's.
pub const UNKNOWN_MTU: Bytes = Bytes::new(1500);

/// The most flows there may be at once. Everything that grows has a limit.
const MOST_FLOWS: usize = 1_000_000;

/// How many holders a refusal names.
const NAMED_HOLDERS: usize = 3;

/// What has been promised of every interface.
#[derive(Clone, Debug)]
pub struct Ledger {
    policy: Arc<Policy>,
    accounts: BTreeMap<String, Account>,
    flows: HashMap<String, Entry>,
    admitted: u64,
}

/// A reservation that is asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// What the flow is called; unique among the admitted.
    pub id: String,
    /// The interface it leaves and enters by.
    pub interface: String,
    /// Its class, if any.
    pub class: Option<String>,
    /// What it asks for.
    pub qos: Qos,
}

/// What was granted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Grant {
    /// What it takes from the budgets.
    pub charged: Both<Rate>,
    /// What it is held to; nothing in a direction without a reservation.
    pub tspec: Both<Option<TSpec>>,
    /// The code point for its packets, from the class.
    pub dscp: Option<u8>,
}

/// One direction of an interface: what may be promised and what is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Totals {
    /// What may be promised.
    pub budget: Rate,
    /// What is.
    pub reserved: Rate,
}

#[derive(Clone, Debug)]
struct Account {
    /// Nothing where the capacity is to be read from the kernel and has not been.
    capacity: Both<Option<Rate>>,
    mtu: Bytes,
    reserved: Both<Rate>,
    classes: BTreeMap<String, ClassUse>,
    /// Most charged first, then oldest.
    holders: Both<BTreeSet<Held>>,
}

/// A flow's part of a budget, ordered as a refusal names them.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Held {
    charged: Reverse<Rate>,
    order: u64,
    id: String,
    class: Option<String>,
}

#[derive(Clone, Debug, Default)]
struct ClassUse {
    reserved: Both<Rate>,
    flows: u64,
}

/// What a flow holds; given back as it stands here, whatever the policy says by then.
#[derive(Clone, Debug)]
struct Entry {
    interface: String,
    class: Option<String>,
    charged: Both<Rate>,
    order: u64,
}

impl Totals {
    /// What is left.
    pub fn available(&self) -> Rate {
        self.budget.saturating_sub(self.reserved)
    }
}

impl Ledger {
    /// An empty ledger under this policy.
    pub fn new(policy: Arc<Policy>) -> Self {
        Self { policy, accounts: BTreeMap::new(), flows: HashMap::new(), admitted: 0 }
    }

    /// The policy.
    pub const fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// What the kernel says of an interface: its MTU, and its speed where it reports one.
    pub fn see(&mut self, interface: &str, mtu: Bytes, speed: Option<Rate>) {
        let Some(account) = self.account(interface) else { return };
        account.mtu = mtu;
        let policy = Arc::clone(&self.policy);
        let (Some(policy), Some(account)) = (policy.interface(interface), self.accounts.get_mut(interface))
        else {
            return;
        };
        account.capacity = capacity(policy, speed);
    }

    /// Reserves both directions of a request, or neither.
    ///
    /// Equality fits. The order of the checks decides which refusal is given where several apply:
    /// what is asked first (flowspec, service, packet size, delay), then the flow's own limits, then
    /// the class, then the interface.
    ///
    /// - **Errors**: a refusal, and the ledger is as it was.
    pub fn admit(&mut self, request: &Request) -> Result<Grant, Refusal> {
        let grant = self.consider(request)?;
        // Nothing below can fail: the next state is known to be valid before any of it is written.
        self.admitted += 1;
        let order = self.admitted;
        let Request { id, interface, class, .. } = request;
        if let Some(account) = self.account(interface) {
            account.book(id, class.as_deref(), order, grant.charged);
        }
        let entry =
            Entry { interface: interface.clone(), class: class.clone(), charged: grant.charged, order };
        self.flows.insert(id.clone(), entry);
        Ok(grant)
    }

    /// What [`admit`](Self::admit) would answer; changes nothing but the list of known interfaces.
    ///
    /// - **Errors**: the refusal.
    pub fn consider(&mut self, request: &Request) -> Result<Grant, Refusal> {
        let Request { id, interface, class, qos } = request;
        if self.flows.contains_key(id) {
            return Err(Refusal::DuplicateId { id: id.clone() });
        }
        if self.flows.len() >= MOST_FLOWS {
            return Err(Refusal::TooManyFlows { flows: self.flows.len() });
        }
        let policy = Arc::clone(&self.policy);
        let limits = match class {
            None => None,
            Some(name) => match policy.classes.get_key_value(name) {
                Some(limits) => Some(limits),
                None => return Err(Refusal::UnknownClass { class: name.clone() }),
            },
        };
        let Some(interface_policy) = policy.interface(interface) else {
            // Best effort asks for nothing and needs no budget.
            if Direction::BOTH.iter().all(|&direction| free(qos.get(direction))) {
                return Ok(Grant { charged: Both::default(), tspec: Both::default(), dscp: None });
            }
            return Err(Refusal::UnknownInterface { interface: interface.clone() });
        };
        let Some(account) = self.account(interface) else {
            return Err(Refusal::UnknownInterface { interface: interface.clone() });
        };
        account.consider(interface, interface_policy, limits, qos)
    }

    /// Gives back what a flow holds: what that was, or nothing where it holds nothing any more.
    pub fn release(&mut self, id: &str) -> Option<Both<Rate>> {
        let Entry { interface, class, charged, order } = self.flows.remove(id)?;
        if let Some(account) = self.accounts.get_mut(&interface) {
            account.unbook(id, class.as_deref(), order, charged);
        }
        Some(charged)
    }

    /// Both directions of an interface, if the policy knows it.
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
            Totals {
                budget,
                reserved: account.map_or(Rate::ZERO, |account| *account.reserved.get(direction)),
            }
        };
        Some(Both { sending: total(Direction::Sending), receiving: total(Direction::Receiving) })
    }

    /// What the link carries in a direction, if that is known.
    pub fn capacity(&self, interface: &str, direction: Direction) -> Option<Rate> {
        *self.accounts.get(interface)?.capacity.get(direction)
    }

    /// How many flows are admitted.
    pub fn flows(&self) -> usize {
        self.flows.len()
    }

    /// The account of an interface, opened if the policy knows it.
    fn account(&mut self, interface: &str) -> Option<&mut Account> {
        if !self.accounts.contains_key(interface) {
            let policy = self.policy.interface(interface)?;
            let account = Account {
                capacity: capacity(policy, None),
                mtu: UNKNOWN_MTU,
                reserved: Both::default(),
                classes: BTreeMap::new(),
                holders: Both::default(),
            };
            self.accounts.insert(interface.to_owned(), account);
        }
        self.accounts.get_mut(interface)
    }
}

impl Account {
    fn consider(
        &self,
        interface: &str,
        policy: &InterfacePolicy,
        class: Option<(&String, &Class)>,
        qos: &Qos,
    ) -> Result<Grant, Refusal> {
        let mut charged = Both::default();
        let mut tspec = Both::default();
        for direction in Direction::BOTH {
            let spec = qos.get(direction);
            *tspec.get_mut(direction) = self.tspec(interface, direction, spec)?;
            let charge = match (tspec.get(direction), class) {
                (None, _) => Rate::ZERO,
                (Some(_), Some((_, class))) => class.charge(spec),
                (Some(tspec), None) => tspec.token_rate(),
            };
            *charged.get_mut(direction) = charge;
        }
        if let Some((name, class)) = class {
            self.check_limits(interface, name, class, charged)?;
        }
        for direction in Direction::BOTH {
            let asked = *charged.get(direction);
            if asked > Rate::ZERO {
                self.check_budgets(interface, policy, class, direction, asked)?;
            }
        }
        Ok(Grant { charged, tspec, dscp: class.and_then(|(_, class)| class.dscp) })
    }

    /// What a direction is held to, once it is known to make sense here.
    fn tspec(
        &self,
        interface: &str,
        direction: Direction,
        spec: &Flowspec,
    ) -> Result<Option<TSpec>, Refusal> {
        match spec.service_type {
            ServiceType::NoTraffic | ServiceType::BestEffort | ServiceType::Qualitative => return Ok(None),
            ServiceType::Guaranteed | ServiceType::ControlledLoad => {}
            ServiceType::NoChange => {
                let error = FlowspecError::ServiceType { value: spec.service_type.value() };
                return Err(Refusal::InvalidFlowspec { direction, error });
            }
            service @ (ServiceType::NetworkUnavailable
            | ServiceType::GeneralInformation
            | ServiceType::Nonconforming
            | ServiceType::NetworkControl) => return Err(Refusal::ServiceNotOffered { direction, service }),
        }
        let tspec = TSpec::new(spec, direction, self.mtu).map_err(|error| match error {
            FlowspecError::PacketAboveMtu { maximum, mtu } => {
                Refusal::Mtu { interface: interface.to_owned(), direction, max_sdu_size: maximum, mtu }
            }
            FlowspecError::NoDelay { .. } => Refusal::Delay { interface: interface.to_owned(), direction },
            error => Refusal::InvalidFlowspec { direction, error },
        })?;
        let bounded = spec.latency.is_some() || spec.delay_variation.is_some();
        if spec.service_type == ServiceType::Guaranteed && bounded && tspec.is_some() {
            return Err(Refusal::Delay { interface: interface.to_owned(), direction });
        }
        Ok(tspec)
    }

    /// What a class allows of any of its flows, whatever else is reserved.
    fn check_limits(
        &self,
        interface: &str,
        name: &str,
        class: &Class,
        charged: Both<Rate>,
    ) -> Result<(), Refusal> {
        let flows = self.classes.get(name).map_or(0, |used| used.flows);
        if let Some(max_flows) = class.max_flows
            && flows >= max_flows
        {
            let (interface, class) = (interface.to_owned(), name.to_owned());
            return Err(Refusal::ClassFlows { interface, class, flows, max_flows });
        }
        for direction in Direction::BOTH {
            let asked = *charged.get(direction);
            if let Some(max_rate) = class.max_rate
                && asked > max_rate
            {
                return Err(Refusal::FlowRate { class: name.to_owned(), direction, asked, max_rate });
            }
        }
        Ok(())
    }

    /// The interface's budget and the class's share of it. Where both are too small, the one with less
    /// room is what binds, and the interface where they are equal.
    fn check_budgets(
        &self,
        interface: &str,
        policy: &InterfacePolicy,
        class: Option<(&String, &Class)>,
        direction: Direction,
        asked: Rate,
    ) -> Result<(), Refusal> {
        let Some(capacity) = *self.capacity.get(direction) else {
            return Err(Refusal::UnknownCapacity { interface: interface.to_owned(), direction });
        };
        let budget = policy.budget(direction).reservable_of(capacity);
        let reserved = *self.reserved.get(direction);
        let share = class.and_then(|(name, class)| {
            let share = class.share?.of(budget);
            let used = self.classes.get(name).map_or(Rate::ZERO, |used| *used.reserved.get(direction));
            Some((name, share, used))
        });
        let room = budget.saturating_sub(reserved);
        let share_room = share.map_or(room, |(_, share, used)| share.saturating_sub(used));
        let max_rate = class.and_then(|(_, class)| class.max_rate).unwrap_or(room);
        let would_fit = room.min(share_room).min(max_rate);
        let interface = interface.to_owned();
        match share {
            Some((class, share, used)) if !fits(used, asked, share) && share_room < room => {
                let sum = self.sum(direction, asked, used, share, would_fit, Some(class));
                Err(Refusal::ClassShare { interface, direction, class: class.clone(), sum })
            }
            _ if !fits(reserved, asked, budget) => {
                let sum = self.sum(direction, asked, reserved, budget, would_fit, None);
                Err(Refusal::InterfaceBudget { interface, direction, sum })
            }
            _ => Ok(()),
        }
    }

    /// The sum behind a refusal, with those who hold most: of the class where the class is full.
    fn sum(
        &self,
        direction: Direction,
        asked: Rate,
        reserved: Rate,
        budget: Rate,
        would_fit: Rate,
        class: Option<&str>,
    ) -> Box<Sum> {
        let holders = self.holders.get(direction).iter();
        let holders = holders.filter(|holder| class.is_none() || holder.class.as_deref() == class);
        let holders = holders
            .take(NAMED_HOLDERS)
            .map(|holder| Holder { id: holder.id.clone(), charged: holder.charged.0 });
        Box::new(Sum { asked, reserved, budget, holders: holders.collect(), would_fit })
    }

    fn book(&mut self, id: &str, class: Option<&str>, order: u64, charged: Both<Rate>) {
        for direction in Direction::BOTH {
            let amount = *charged.get(direction);
            add(self.reserved.get_mut(direction), amount);
            if amount > Rate::ZERO {
                self.holders.get_mut(direction).insert(held(id, class, order, amount));
            }
        }
        if let Some(class) = class {
            let used = self.classes.entry(class.to_owned()).or_default();
            used.flows += 1;
            for direction in Direction::BOTH {
                add(used.reserved.get_mut(direction), *charged.get(direction));
            }
        }
    }

    fn unbook(&mut self, id: &str, class: Option<&str>, order: u64, charged: Both<Rate>) {
        for direction in Direction::BOTH {
            let amount = *charged.get(direction);
            subtract(self.reserved.get_mut(direction), amount);
            self.holders.get_mut(direction).remove(&held(id, class, order, amount));
        }
        if let Some(class) = class
            && let Some(used) = self.classes.get_mut(class)
        {
            used.flows -= 1;
            for direction in Direction::BOTH {
                subtract(used.reserved.get_mut(direction), *charged.get(direction));
            }
        }
    }
}

fn held(id: &str, class: Option<&str>, order: u64, charged: Rate) -> Held {
    Held { charged: Reverse(charged), order, id: id.to_owned(), class: class.map(str::to_owned) }
}

const fn free(spec: &Flowspec) -> bool {
    matches!(spec.service_type, ServiceType::NoTraffic | ServiceType::BestEffort | ServiceType::Qualitative)
}

fn capacity(policy: &InterfacePolicy, speed: Option<Rate>) -> Both<Option<Rate>> {
    policy.budgets.map(|budget| match budget.capacity {
        Capacity::Rate(rate) => Some(rate),
        Capacity::Auto => speed,
    })
}

/// Whether a budget holds both; equality fits, and a sum that overflows does not.
fn fits(reserved: Rate, asked: Rate, budget: Rate) -> bool {
    reserved.checked_add(asked).is_some_and(|sum| sum <= budget)
}

fn add(total: &mut Rate, amount: Rate) {
    let sum = total.checked_add(amount);
    debug_assert!(sum.is_some(), "{total} + {amount} was admitted and does not fit 64 bits");
    *total = sum.unwrap_or(*total);
}

fn subtract(total: &mut Rate, amount: Rate) {
    assert!(*total >= amount, "{amount} is given back of {total} reserved");
    *total = total.saturating_sub(amount);
}
