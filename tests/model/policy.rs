//! The policy of the test, as text for the ledger and as numbers for the recount.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use gqos::policy::{Policy, Source};

use crate::random::Random;

const TEXT: &str = r#"
version = 1
preemption = PREEMPTION
dead_after = "DEAD_AFTER"
stalled_after = "2 s"
[interface.eth0]
egress = { capacity = "800 kbit/s", reservable = "80%" }
ingress = { capacity = "400 kbit/s", reservable = "100%", min_best_effort = "10%" }
on_capacity_drop = "DROP"
class_model = "MODEL"
max_flows = MAX_FLOWS
buffer = "60 kB"
error_terms = { c = "300 B", d = "1 ms" }
PARENT
[interface.wire]
egress = { capacity = "560 kbit/s", reservable = "100%" }
ingress = { capacity = "320 kbit/s", reservable = "100%" }
class_model = "MODEL"
error_terms = { c = "100 B", d = "500 us" }
GOLD
[class.silver]
stalled_after = "1 s"
share = "SILVER"
overbooking = 1.5
setup_priority = 5
holding_priority = 5
class_type = 1
admission = "ADMISSION"
[class.bronze]
share = "30%"
setup_priority = 7
holding_priority = 7
allocate = "peak"
[client."c*"]
max_flows = 5
max_rate = "400 kbit/s"
horizon = "20 us"
best_setup_priority = 1
dead_after = "3 s"
REQUESTS
"#;

const GOLD: &str = r#"
[class.gold]
share = "50%"
max_flows = 6
max_rate = "240 kbit/s"
setup_priority = 2
holding_priority = 1
class_type = 2
"#;

/// The timeouts of peers, in microseconds: the policy's, those of class silver, those of clients.
const DEAD_AFTER: u64 = 1_000_000;
const STALLED_AFTER: u64 = 2_000_000;
const SILVER_STALLED_AFTER: u64 = 1_000_000;
const CLIENT_DEAD_AFTER: u64 = 3_000_000;

/// Requests of a client in a second, where they are limited.
pub(crate) const CLIENT_REQUESTS: u64 = 3;

/// Capacities of the two directions, sending first, in bytes per second.
pub(crate) const CAPACITY: [u64; 2] = [100_000, 50_000];

/// In percent of the capacity: what can be reserved, and what best effort keeps.
const RESERVABLE: [u64; 2] = [80, 100];
const BEST_EFFORT: [u64; 2] = [0, 10];

/// The buffer of the interface, in bytes.
pub(crate) const BUFFER: u64 = 60_000;

/// What can be reserved of the interface below.
const WIRE: [u64; 2] = [70_000, 40_000];

/// The error terms of the interface and of the one below it: bytes, and microseconds.
pub(crate) const ERROR_TERMS: [(u64, u64); 2] = [(300, 1_000), (100, 500)];

/// Limits of one client.
pub(crate) const CLIENT_FLOWS: u64 = 5;
pub(crate) const CLIENT_RATE: u64 = 50_000;
pub(crate) const CLIENT_HORIZON: u64 = 20;
pub(crate) const CLIENT_SETUP: u8 = 1;

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum ClassModel {
    Mam,
    Rdm,
    Mar,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Share {
    Percent(u64),
    Fixed(u64),
}

impl Share {
    pub(crate) fn of(self, budget: u64) -> u64 {
        match self {
            Self::Percent(percent) => budget * percent / 100,
            Self::Fixed(rate) => rate,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Class {
    pub(crate) share: Share,
    pub(crate) max_flows: Option<u64>,
    pub(crate) max_rate: Option<u64>,
    pub(crate) class_type: u64,
    /// The divisor of declared rates, as a fraction.
    pub(crate) overbooking: (u64, u64),
    /// Flows are charged their peak rate.
    pub(crate) by_peak: bool,
    pub(crate) setup: u8,
    pub(crate) holding: u8,
}

/// What varies from policy to policy.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Variant {
    pub(crate) class_model: ClassModel,
    pub(crate) preemption: bool,
    /// A smaller capacity sheds flows.
    pub(crate) shed: bool,
    /// The admission of class silver is measured.
    pub(crate) measured: bool,
    /// There is a class gold.
    pub(crate) has_gold: bool,
    /// The requests of clients are limited.
    pub(crate) limits_requests: bool,
    /// A silent peer ends a flow that has no client.
    pub(crate) ends_silent: bool,
    /// The interface sends on the wire of the other one.
    pub(crate) has_parent: bool,
}

impl Variant {
    pub(crate) fn random(random: &mut Random) -> Self {
        Self {
            class_model: random.pick(&[ClassModel::Mam, ClassModel::Rdm, ClassModel::Mar]),
            preemption: random.one_in(2),
            shed: random.one_in(2),
            measured: random.one_in(2),
            has_gold: !random.one_in(4),
            limits_requests: random.one_in(2),
            ends_silent: random.one_in(2),
            has_parent: random.one_in(2),
        }
    }

    pub(crate) fn max_flows(self) -> u64 {
        if self.measured { 24 } else { 14 }
    }

    /// The policy, which is parsed once.
    pub(crate) fn policy(self) -> Arc<Policy> {
        thread_local! {
            static PARSED: RefCell<HashMap<Variant, Arc<Policy>>> = RefCell::default();
        }
        PARSED.with_borrow_mut(|parsed| Arc::clone(parsed.entry(self).or_insert_with(|| self.parse())))
    }

    fn parse(self) -> Arc<Policy> {
        let model = match self.class_model {
            ClassModel::Mam => "mam",
            ClassModel::Rdm => "rdm",
            ClassModel::Mar => "mar",
        };
        let text = TEXT
            .replace("ADMISSION", if self.measured { "measured" } else { "declared" })
            .replace("SILVER", if self.measured { "480 kbit/s" } else { "240 kbit/s" })
            .replace("MAX_FLOWS", &self.max_flows().to_string())
            .replace("PREEMPTION", &self.preemption.to_string())
            .replace("PARENT", if self.has_parent { "parent = \"wire\"" } else { "" })
            .replace("GOLD", if self.has_gold { GOLD } else { "" })
            .replace("DEAD_AFTER", if self.ends_silent { "1 s" } else { "off" })
            .replace("REQUESTS", if self.limits_requests { "requests_per_second = 3" } else { "" })
            .replace("DROP", if self.shed { "shed" } else { "keep" })
            .replace("MODEL", model);
        let (policy, _) = Policy::parse(&[Source { name: "model", text: &text }]).unwrap();
        Arc::new(policy)
    }

    /// How long the peer of a flow may be silent, and accept nothing.
    pub(crate) fn timeouts(self, class: Option<&str>, client: Option<&str>) -> [Option<u64>; 2] {
        let dead = match client {
            Some(_) => Some(CLIENT_DEAD_AFTER),
            None => self.ends_silent.then_some(DEAD_AFTER),
        };
        let stalled = if class == Some("silver") { SILVER_STALLED_AFTER } else { STALLED_AFTER };
        [dead, Some(stalled)]
    }

    /// The classes, with class gold where the policy does not have it.
    pub(crate) fn classes(self) -> BTreeMap<&'static str, Class> {
        let class = |share, class_type, setup, holding| Class {
            share,
            max_flows: None,
            max_rate: None,
            class_type,
            overbooking: (1, 1),
            by_peak: false,
            setup,
            holding,
        };
        let gold = Class { max_flows: Some(6), max_rate: Some(30_000), ..class(Share::Percent(50), 2, 2, 1) };
        let silver_share = if self.measured { 60_000 } else { 30_000 };
        let silver = Class { overbooking: (3, 2), ..class(Share::Fixed(silver_share), 1, 5, 5) };
        let bronze = Class { by_peak: true, ..class(Share::Percent(30), 0, 7, 7) };
        BTreeMap::from([("gold", gold), ("silver", silver), ("bronze", bronze)])
    }
}

/// The names of the interfaces: the second is the one below the first.
pub(crate) const LINKS: [&str; 2] = ["eth0", "wire"];

/// The rate that can be reserved of the interface below.
pub(crate) const fn wire_budget(direction: usize) -> u64 {
    WIRE[direction]
}

/// The rate that can be reserved in a direction of this capacity.
pub(crate) fn budget(direction: usize, capacity: u64) -> u64 {
    let reservable = capacity * RESERVABLE[direction] / 100;
    reservable.min(capacity - capacity * BEST_EFFORT[direction] / 100)
}
