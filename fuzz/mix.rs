//! Any mix of operations, reloads and kernel answers: ledger and manager decide the same, no input stops either, every
//! invariant holds after each, and at the end nothing is left that a fresh start would not have.

use std::collections::VecDeque;
use std::sync::Arc;

use flowspec::{Both, Bytes, Direction, Errno, Flowspec, Micros, Moment, Qos, Rate, ServiceType};
use gqos::admission::{GroupRequest, Ladder, Ledger, NewFlow, Operation, PeerState, Request};
use gqos::failure::KernelCall;
use gqos::manager::{ChangeId, DryRun, Effect, Input, Manager, RequestId, Root, Seen, proven_error_terms};
use gqos::policy::{GroupMode, Policy, Source};

/// Policies that differ in everything a reload can change.
const POLICIES: [&str; 6] = [
    r#"
version = 1
preemption = true
[interface.eth0]
egress = { capacity = "800 kbit/s", reservable = "80%" }
ingress = { capacity = "400 kbit/s" }
on_capacity_drop = "shed"
max_flows = 30
buffer = "90 kB"
error_terms = { c = "300 B", d = "1 ms" }
[interface.eth1]
egress = { capacity = "auto" }
hysteresis = { time = "10 us", change = "10%" }
[class.gold]
share = "50%"
max_flows = 6
max_rate = "240 kbit/s"
setup_priority = 2
holding_priority = 1
class_type = 1
[class.silver]
admission = "measured"
overbooking = 2.0
setup_priority = 6
holding_priority = 6
[group.e]
interface = "eth0"
class = "gold"
sending = { service_type = "guaranteed", token_rate = "160 kbit/s" }
[group.s]
interface = "eth0"
mode = "shared"
sending = { service_type = "guaranteed", token_rate = "240 kbit/s" }
[group.far]
interface = "eth1"
sending = { service_type = "controlled_load", token_rate = "80 kbit/s" }
[client."c*"]
max_flows = 5
max_rate = "400 kbit/s"
requests_per_second = 1000000
horizon = "20 us"
best_setup_priority = 1
"#,
    // Another order of classes, a group of another size, another mode, and one that does not fit.
    r#"
version = 1
[interface.eth0]
egress = { capacity = "600 kbit/s" }
ingress = { capacity = "400 kbit/s" }
class_model = "rdm"
[class.bronze]
share = "30%"
max_flows = 3
class_type = 1
[class.gold]
share = "40%"
overbooking = 1.5
[class.silver]
[group.e]
interface = "eth0"
sending = { service_type = "guaranteed", token_rate = "80 kbit/s" }
[group.s]
interface = "eth0"
sending = { service_type = "guaranteed", token_rate = "80 kbit/s" }
[group.far]
interface = "eth0"
sending = { service_type = "guaranteed", token_rate = "560 kbit/s" }
"#,
    // Without the first interface, its classes and its groups.
    r#"
version = 1
preemption = true
[interface.eth1]
egress = { capacity = "400 kbit/s" }
mtu = "9000 B"
[class.aluminium]
max_flows = 2
[class.zinc]
max_flows = 2
share = "20%"
[group.s]
interface = "eth1"
mode = "shared"
sending = { service_type = "guaranteed", token_rate = "240 kbit/s" }
"#,
    // Every interface, and nothing else.
    r#"
version = 1
[interface."*"]
egress = { capacity = "auto", reservable = "100%" }
class_model = "mar"
"#,
    r#"
version = 1
preemption = true
[interface."*"]
egress = { capacity = "2 Mbit/s" }
enforcement = "user-space"
[interface.eth0]
egress = { capacity = "800 kbit/s" }
ingress = { capacity = "800 kbit/s" }
class_model = "mar"
on_capacity_drop = "shed"
[class.gold]
share = "10%"
admission = "measured"
[class.silver]
share = "20%"
allocate = "peak"
[group.e]
interface = "eth0"
mode = "shared"
sending = { service_type = "guaranteed", token_rate = "400 kbit/s" }
[group.s]
interface = "eth0"
mode = "shared"
class = "gold"
[client."*"]
max_flows = 20
"#,
    "version = 1\n",
];

const FLOWS: u8 = 24;
const INTERFACES: [&str; 3] = ["eth0", "eth1", "eth2"];
const CLASSES: [&str; 5] = ["gold", "silver", "bronze", "aluminium", "zinc"];
const GROUPS: [&str; 4] = ["e", "s", "far", "own"];
const LONG: u64 = 1_000_000_000;

/// A source of choices; zeroes once its bytes are used up.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, limit: u8) -> u8 {
        self.byte() % limit
    }

    /// True once in so many times.
    fn once_in(&mut self, times: u8) -> bool {
        self.below(times) == times - 1
    }

    fn of<'n>(&mut self, names: &[&'n str]) -> &'n str {
        names[usize::from(self.byte()) % names.len()]
    }

    fn flow(&mut self) -> String {
        format!("v{}", self.below(FLOWS))
    }

    fn name(&mut self, times: u8, names: &[&str]) -> Option<String> {
        self.once_in(times).then(|| self.of(names).to_owned())
    }

    fn flowspec(&mut self) -> Flowspec {
        let rate = match self.below(12) {
            0 => Rate::new(u64::MAX),
            1 => Rate::ZERO,
            many => Rate::new(u64::from(many) * 2500),
        };
        let bucket = if self.once_in(20) { Bytes::MAX } else { Bytes::new(3000) };
        let mut spec = Flowspec::guaranteed(rate, bucket);
        spec.service_type = match self.below(8) {
            0 => ServiceType::BestEffort,
            1 => ServiceType::NoTraffic,
            2 => ServiceType::NoChange,
            3 | 4 => ServiceType::ControlledLoad,
            _ => ServiceType::Guaranteed,
        };
        if self.once_in(12) {
            spec.latency = Some(Micros::new(u64::from(self.byte()) * 1000));
        }
        spec
    }

    fn qos(&mut self) -> Qos {
        let sending = self.flowspec();
        let receiving = if self.once_in(4) { self.flowspec() } else { Flowspec::BEST_EFFORT };
        Qos { sending, receiving }
    }

    fn request(&mut self, now: Moment) -> Request {
        let (id, interface) = (self.flow(), self.of(&INTERFACES));
        let mut request = Request::new(NewFlow { id: &id, interface }, self.qos());
        request.class = self.name(2, &CLASSES);
        request.group = self.name(3, &GROUPS);
        request.client = self.name(3, &["c1", "c2", "other"]);
        request.wait = self.once_in(3);
        if self.once_in(4) {
            request.start = Some(now.saturating_add(Micros::new(u64::from(self.below(40)))));
        }
        if self.once_in(3) {
            request.end = Some(now.saturating_add(Micros::new(u64::from(self.below(60)))));
        }
        request.time_to_live = self.once_in(6).then(|| Micros::new(u64::from(self.below(50))));
        request.setup_priority = self.once_in(5).then(|| self.below(10));
        request.holding_priority = self.once_in(5).then(|| self.below(10));
        request
    }

    fn operation(&mut self, now: Moment) -> Operation {
        match self.below(24) {
            0..=9 => {
                let request = self.request(now);
                let renditions = match self.once_in(5) {
                    true => vec![("lower".to_owned(), self.qos()), ("lowest".to_owned(), self.qos())],
                    false => Vec::new(),
                };
                Operation::Reserve(Box::new(Ladder { request, first: Some("best".to_owned()), renditions }))
            }
            10..=12 => {
                let sending = (!self.once_in(4)).then(|| self.flowspec());
                let receiving = self.once_in(4).then(|| self.flowspec());
                Operation::Renegotiate { id: self.flow(), flowspecs: Box::new(Both { sending, receiving }) }
            }
            13 => Operation::Refresh { id: self.flow(), time_to_live: Micros::new(u64::from(self.byte())) },
            14..=16 => Operation::Release { id: self.flow() },
            17 => {
                let mode = if self.once_in(2) { GroupMode::Shared } else { GroupMode::Envelope };
                let (id, interface) = (self.of(&GROUPS).to_owned(), self.of(&INTERFACES).to_owned());
                let (class, qos) = (self.name(3, &CLASSES), self.qos());
                Operation::Group(Box::new(GroupRequest { id, interface, class, mode, qos }))
            }
            18 => Operation::Ungroup { id: self.of(&GROUPS).to_owned() },
            19 => Operation::Capacity {
                interface: self.of(&INTERFACES).to_owned(),
                direction: Direction::BOTH[usize::from(self.below(2))],
                capacity: Rate::new(u64::from(self.byte()) * 1000),
            },
            20 => Operation::Measure {
                interface: self.of(&INTERFACES).to_owned(),
                class: self.of(&CLASSES).to_owned(),
                window: Micros::new(u64::from(self.byte())),
                rate: Both { sending: Rate::new(u64::from(self.byte()) * 100), receiving: Rate::ZERO },
            },
            21 => {
                let request = self.once_in(2).then(|| Box::new(self.request(now)));
                Operation::Query { interface: self.of(&INTERFACES).to_owned(), request }
            }
            22 => Operation::Peer {
                id: self.flow(),
                state: [PeerState::Active, PeerState::Silent, PeerState::Stalled, PeerState::Gone]
                    [usize::from(self.below(4))],
                since: self.once_in(2).then(|| now.saturating_sub(Micros::new(60_000_000))),
            },
            _ => Operation::Tick,
        }
    }
}

/// A manager with a kernel that answers late, and refuses some changes.
struct Host {
    manager: Manager,
    changes: VecDeque<ChangeId>,
    requests: u64,
}

impl Host {
    fn new(policy: &Arc<Policy>) -> Self {
        Self { manager: Manager::new(Arc::clone(policy)), changes: VecDeque::new(), requests: 0 }
    }

    fn feed(&mut self, input: Input, now: Moment) {
        let output = self.manager.handle(input, now);
        self.manager.invariants();
        self.manager.ledger().invariants();
        for effect in output.effects {
            if let Effect::Apply { id, .. } = effect {
                self.changes.push_back(id);
            }
        }
    }

    fn appear(&mut self, number: u8, now: Moment) {
        let interface = INTERFACES[usize::from(number) % INTERFACES.len()].to_owned();
        let (index, mtu, speed) = (u32::from(number), Bytes::new(1500), Some(Rate::from_mbit(1)));
        let root = Root::Default;
        self.feed(Input::Seen(Seen { interface, index, mtu, speed, shares_wire_with: None, root }), now);
    }

    fn request(&mut self, operation: Operation, now: Moment) {
        self.requests += 1;
        let (id, operation) = (RequestId(self.requests), Box::new(operation));
        self.feed(Input::Request { id, operation }, now);
    }

    fn answer(&mut self, refuses: bool, now: Moment) {
        let Some(id) = self.changes.pop_front() else { return };
        let failure = || KernelCall("RTM_NEWTCLASS").failed("6771:1", Errno::EBUSY);
        self.feed(Input::Applied { id, result: if refuses { Err(failure()) } else { Ok(()) } }, now);
    }
}

/// Runs the mix that these bytes choose.
pub(crate) fn mix(input: &[u8]) {
    let policies = POLICIES.map(|text| {
        let (policy, _) = Policy::parse(&[Source { name: "mix", text }]).expect("it is valid");
        Arc::new(policy)
    });
    let mut choices = Choices(input);
    let mut current = usize::from(choices.byte()) % policies.len();
    let mut ledger = Ledger::proving(Arc::clone(&policies[current]), proven_error_terms);
    let mut twin = DryRun::new(Arc::clone(&policies[current]));
    let mut host = Host::new(&policies[current]);
    let mut now = 1;
    host.appear(0, Moment::from_micros(now));
    while !choices.0.is_empty() {
        now += u64::from(choices.below(4));
        let at = Moment::from_micros(now);
        match choices.below(32) {
            0 => {
                current = usize::from(choices.byte()) % policies.len();
                let policy = &policies[current];
                let listed = ledger.compare(policy);
                assert_eq!(ledger.reload(Arc::clone(policy)), listed, "what was announced");
                let told = ledger.decide(at, &Operation::Tick).decision.notified;
                assert_eq!(
                    twin.reload(Arc::clone(policy), at).notified,
                    told,
                    "flows that are notified of capacity"
                );
                host.feed(Input::Policy(Arc::clone(policy)), at);
            }
            1 => host.appear(choices.byte(), at),
            2..=5 => host.answer(choices.once_in(4), at),
            6 => host.feed(Input::Connected { id: choices.flow() }, at),
            7 => host.feed(Input::Closed { id: choices.flow() }, at),
            _ => {
                let operation = choices.operation(at);
                host.request(operation.clone(), at);
                let decided = ledger.decide(at, &operation).decision;
                assert_eq!(twin.decide(operation, at), decided, "the manager's decision");
            }
        }
        ledger.invariants();
        twin.invariants();
    }
    end(&mut host, now);
    compare_with_a_fresh_start(ledger, &policies[current], now);
}

/// Whatever is under way, every flow can be ended.
fn end(host: &mut Host, now: u64) {
    let now = Moment::from_micros(now + LONG);
    for number in 0..FLOWS {
        host.feed(Input::Closed { id: format!("v{number}") }, now);
    }
    while !host.changes.is_empty() {
        host.answer(false, now);
    }
    for number in 0..FLOWS {
        host.feed(Input::Closed { id: format!("v{number}") }, now);
    }
    while !host.changes.is_empty() {
        host.answer(false, now);
    }
    assert_eq!(host.manager.ledger().flows(), 0, "every flow has ended");
}

/// Once every flow has ended and the policy was read again, the ledger is as one that has just started under it.
fn compare_with_a_fresh_start(mut used: Ledger, policy: &Arc<Policy>, now: u64) {
    let at = Moment::from_micros(now + LONG);
    for number in 0..FLOWS {
        used.decide(at, &Operation::Release { id: format!("v{number}") });
    }
    // A group that the policy does not have is its client's, which ends it.
    for group in GROUPS.into_iter().filter(|group| !policy.groups.contains_key(*group)) {
        used.decide(at, &Operation::Ungroup { id: group.to_owned() });
    }
    let listed = used.reload(Arc::clone(policy));
    used.decide(at, &Operation::Tick);
    let mut fresh = Ledger::proving(Arc::clone(policy), proven_error_terms);
    fresh.decide(at, &Operation::Tick);
    // What links were observed to carry is listed where the policy states something else.
    for interface in INTERFACES {
        for direction in Direction::BOTH {
            let (kept, stated) = (used.capacity(interface, direction), fresh.capacity(interface, direction));
            let is_listed = |observed: &gqos::admission::ObservedCapacity| {
                observed.interface == interface && observed.direction == direction
            };
            if let Some(stated) = stated {
                let kept = kept.expect("what a policy states is known");
                assert_eq!(
                    listed.capacities.iter().any(is_listed),
                    kept != stated,
                    "{interface}: {listed:?}"
                );
            }
            // A group that fits what is stated may not fit what was observed: both get a link that carries all.
            let capacity = Rate::from_mbit(100);
            for ledger in [&mut used, &mut fresh] {
                let interface = interface.to_owned();
                ledger.decide(at, &Operation::Capacity { interface, direction, capacity });
            }
        }
    }
    let at = Moment::from_micros(now + 2 * LONG);
    fresh.decide(at, &Operation::Tick);
    used.decide(at, &Operation::Tick);
    assert_eq!((used.flows(), fresh.flows()), (0, 0));
    for interface in INTERFACES {
        let totals = |ledger: &Ledger| ledger.totals(interface);
        assert_eq!(totals(&used), totals(&fresh), "{interface} under\n{:?}", policy.interface(interface));
    }
    assert_eq!(used.group_differences(), fresh.group_differences());
    for group in GROUPS {
        assert_eq!(used.group_totals(group), fresh.group_totals(group), "group {group}");
        assert_eq!(used.group_mode(group), fresh.group_mode(group), "group {group}");
    }
}
