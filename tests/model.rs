//! The ledger against a model of another make: a list of what is booked, counted anew for every question,
//! slot by slot. Random operations, every feature mixed; decisions and totals have to be the same.
//!
//! `GQOS_MODEL_OPERATIONS` says how many operations; the seed of a difference is printed.

#![allow(missing_docs, clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;

use flowspec::{Both, Bytes, Direction, Flowspec, Micros, Moment, Qos, Rate, ServiceType};
use gqos::admission::{GroupRequest, Ladder, Ledger, Operation, Request};
use gqos::policy::{GroupMode, Policy, Source};

/// The end of what has none.
const FOREVER: u64 = u64::MAX;

/// Moments are single microseconds, so that a recount by moment is a recount by slot.
const HORIZON: u64 = 48;

const POLICY: &str = r#"
version = 1
preemption = PREEMPTION
[interface.eth0]
egress = { capacity = "800 kbit/s", reservable = "80%" }
ingress = { capacity = "400 kbit/s", reservable = "100%", min_best_effort = "10%" }
on_capacity_drop = "DROP"
class_model = "MODEL"
max_flows = MOST
buffer = "60 kB"
error_terms = { c = "300 B", d = "1 ms" }
[class.gold]
share = "50%"
max_flows = 6
max_rate = "240 kbit/s"
setup_priority = 2
holding_priority = 1
class_type = 2
[class.silver]
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
"#;

/// As the policy says, in bytes a second.
struct Limits {
    reservable: [(u64, u64); 2],
    kept_percent: [u64; 2],
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Model {
    Mam,
    Rdm,
    Mar,
}

#[derive(Clone, Debug)]
struct Class {
    share: Box<dyn Share>,
    max_flows: Option<u64>,
    max_rate: Option<u64>,
    kind: u64,
    overbooking: (u64, u64),
    peak: bool,
    setup: u8,
    holding: u8,
}

trait Share: std::fmt::Debug {
    fn of(&self, budget: u64) -> u64;
    fn copy(&self) -> Box<dyn Share>;
}

#[derive(Debug)]
struct Percent(u64);
#[derive(Debug)]
struct Fixed(u64);

impl Share for Percent {
    fn of(&self, budget: u64) -> u64 {
        budget * self.0 / 100
    }
    fn copy(&self) -> Box<dyn Share> {
        Box::new(Self(self.0))
    }
}

impl Share for Fixed {
    fn of(&self, _: u64) -> u64 {
        self.0
    }
    fn copy(&self) -> Box<dyn Share> {
        Box::new(Self(self.0))
    }
}

impl Clone for Box<dyn Share> {
    fn clone(&self) -> Self {
        self.copy()
    }
}

/// A flow as the model has it.
#[derive(Clone, Debug)]
struct Flow {
    id: String,
    order: u64,
    class: Option<String>,
    client: Option<String>,
    group: Option<String>,
    rate: [u64; 2],
    buffer: [u64; 2],
    bucket: [u64; 2],
    token_rate: [u64; 2],
    start: u64,
    end: u64,
    deadline: Option<u64>,
    holding: u8,
    qos: Qos,
    /// How fast it may send where it is measured; zero where it is not.
    peak: [u64; 2],
}

#[derive(Clone, Debug)]
struct Group {
    mode: GroupMode,
    class: Option<String>,
    rate: [u64; 2],
    buffer: [u64; 2],
    bucket: [Option<u64>; 2],
    token_rate: [Option<u64>; 2],
    free: [bool; 2],
    made: u64,
    closing: bool,
}

struct Naive {
    now: u64,
    order: u64,
    model: Model,
    preemption: bool,
    shed: bool,
    capacity: [u64; 2],
    limits: Limits,
    classes: BTreeMap<&'static str, Class>,
    flows: Vec<Flow>,
    groups: BTreeMap<String, Group>,
    /// Whether silver's admission is measured.
    measured: bool,
    /// The latest means, and what is known by them.
    samples: Vec<[u64; 2]>,
    measured_since: Option<u64>,
    good_until: u64,
}

const DIRECTIONS: [Direction; 2] = Direction::BOTH;

/// A rate and a buffer, in each direction.
type Taken = [(u64, u64); 2];

impl Flow {
    fn at(&self, moment: u64) -> bool {
        self.start <= moment && moment < self.end
    }
}

impl Naive {
    fn new(model: Model, preemption: bool, shed: bool, measured: bool) -> Self {
        let class = |share: Box<dyn Share>, kind, setup, holding| Class {
            share,
            max_flows: None,
            max_rate: None,
            kind,
            overbooking: (1, 1),
            peak: false,
            setup,
            holding,
        };
        let mut gold = class(Box::new(Percent(50)), 2, 2, 1);
        (gold.max_flows, gold.max_rate) = (Some(6), Some(30_000));
        let silver_share = if measured { 60_000 } else { 30_000 };
        let mut silver = class(Box::new(Fixed(silver_share)), 1, 5, 5);
        silver.overbooking = (3, 2);
        let mut bronze = class(Box::new(Percent(30)), 0, 7, 7);
        bronze.peak = true;
        Self {
            now: 0,
            order: 0,
            model,
            preemption,
            shed,
            capacity: [100_000, 50_000],
            limits: Limits { reservable: [(80, 100), (100, 100)], kept_percent: [0, 10] },
            classes: BTreeMap::from([("gold", gold), ("silver", silver), ("bronze", bronze)]),
            flows: Vec::new(),
            groups: BTreeMap::new(),
            measured,
            samples: Vec::new(),
            measured_since: None,
            good_until: 0,
        }
    }

    fn measure(&mut self, window: u64, rate: [u64; 2]) {
        if self.now >= self.good_until {
            self.samples.clear();
        }
        self.samples.push(rate);
        if self.samples.len() > 10 {
            self.samples.remove(0);
        }
        let since = self.now.saturating_sub(window);
        self.measured_since = self.measured_since.max(Some(since));
        self.good_until = self.now + 3 * (self.now - since);
    }

    /// How much less silver takes than it has declared, if that is for this class.
    fn relief(&self, way: usize, counts: impl Fn(Option<&str>) -> bool) -> u64 {
        if self.now >= self.good_until || !counts(Some("silver")) {
            return 0;
        }
        let known: Vec<_> = self
            .flows
            .iter()
            .filter(|flow| flow.group.is_none() && flow.end == FOREVER && flow.peak[way] > 0)
            .filter(|flow| Some(flow.start) <= self.measured_since)
            .collect();
        let declared: u64 = known.iter().map(|flow| flow.rate[way]).sum();
        let squares: u128 = known.iter().map(|flow| u128::from(flow.peak[way]).pow(2)).sum();
        let area = (squares * 6_907_756).div_ceil(1_000_000);
        // By halving: the least number whose square is at least that.
        let (mut low, mut high) = (0u128, 1 << 60);
        while low < high {
            let middle = (low + high) / 2;
            if middle * middle >= area {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        let mean = self.samples.iter().map(|sample| sample[way]).max().unwrap();
        let taken = (mean + low as u64).max((declared * 2).div_ceil(3)).min(declared);
        declared - taken
    }

    fn budget(&self, way: usize) -> u64 {
        let (part, whole) = self.limits.reservable[way];
        let capacity = self.capacity[way];
        (capacity * part / whole).min(capacity - capacity * self.limits.kept_percent[way] / 100)
    }

    /// What a group takes of the link at a moment: its own, or its largest member's.
    fn group_takes(&self, name: &str, moment: u64, what: impl Fn(&Flow) -> u64, own: u64) -> u64 {
        match self.groups[name].mode {
            GroupMode::Envelope => own,
            GroupMode::Shared => {
                let members = self.flows.iter().filter(|flow| flow.group.as_deref() == Some(name));
                members.filter(|flow| flow.at(moment)).map(what).max().unwrap_or(0)
            }
        }
    }

    /// The sum at a moment of what every flow and group for which `counts` holds takes.
    fn taken(&self, moment: u64, way: usize, counts: impl Fn(Option<&str>) -> bool) -> u64 {
        let flows = self.flows.iter().filter(|flow| flow.group.is_none() && flow.at(moment));
        let flows: u64 = flows.filter(|flow| counts(flow.class.as_deref())).map(|flow| flow.rate[way]).sum();
        let groups =
            self.groups.iter().filter(|(_, group)| counts(group.class.as_deref()) && group.made <= moment);
        flows
            + groups
                .map(|(name, group)| self.group_takes(name, moment, |flow| flow.rate[way], group.rate[way]))
                .sum::<u64>()
    }

    fn buffers(&self, moment: u64, way: usize) -> u64 {
        let flows = self.flows.iter().filter(|flow| flow.group.is_none() && flow.at(moment));
        let groups = self.groups.iter().filter(|(_, group)| group.made <= moment);
        flows.map(|flow| flow.buffer[way]).sum::<u64>()
            + groups
                .map(|(name, group)| {
                    self.group_takes(name, moment, |flow| flow.buffer[way], group.buffer[way])
                })
                .sum::<u64>()
    }

    /// The largest value inside a window, moment by moment.
    fn most(&self, start: u64, end: u64, value: impl Fn(u64) -> u64) -> u64 {
        let last = end.min(self.now + 3 * HORIZON);
        (start..last.max(start + 1)).map(value).max().unwrap_or(0)
    }

    fn kind(&self, class: Option<&str>) -> u64 {
        class.map_or(0, |class| self.classes[class].kind)
    }

    /// What is left for a flow of a class by the link and by the class model.
    fn fits(&self, flow: &Flow, way: usize) -> bool {
        let (class, start, end, rate) = (flow.class.as_deref(), flow.start, flow.end, flow.rate[way]);
        let measured = flow.group.is_none() && flow.peak[way] > 0 && start <= self.now;
        let relief =
            |counts: &dyn Fn(Option<&str>) -> bool| if measured { self.relief(way, counts) } else { 0 };
        let budget = self.budget(way);
        let link = self.most(start, end, |at| self.taken(at, way, |_| true)) - relief(&|_| true);
        if link + rate > budget {
            return false;
        }
        let Some(name) = class else { return true };
        let used = self.most(start, end, |at| self.taken(at, way, |class| class == Some(name)));
        let used = used - relief(&|class| class == Some(name));
        let share = self.classes[name].share.of(budget);
        match self.model {
            Model::Mam => used + rate <= share,
            Model::Rdm => (1..=self.classes[name].kind).all(|doll| {
                let inside =
                    self.most(start, end, |at| self.taken(at, way, |class| self.kind(class) >= doll));
                let inside = inside - relief(&|class| self.kind(class) >= doll);
                let shares = self.classes.values().filter(|class| class.kind == doll);
                inside + rate <= shares.map(|class| class.share.of(budget)).sum::<u64>()
            }),
            // Moment by moment: only while the class is above its share does the threshold bind it.
            Model::Mar => (start..end.min(self.now + 3 * HORIZON).max(start + 1)).all(|at| {
                let used = self.taken(at, way, |class| class == Some(name));
                let link =
                    self.taken(at, way, |_| true) - relief(&|_| true).min(self.taken(at, way, |_| true));
                used.saturating_sub(relief(&|class| class == Some(name))) <= share
                    || link + rate <= budget - budget / 100
            }),
        }
    }

    /// The link's and the class's constraints; `held` is what the flow had before.
    fn room(&self, flow: &Flow, held: Option<&Flow>) -> bool {
        let (start, end) = (flow.start, flow.end);
        let class = flow.class.as_deref();
        if held.is_none() {
            let count = |counts: &dyn Fn(&Flow) -> bool| {
                self.most(start, end, |at| {
                    self.flows.iter().filter(|flow| flow.at(at) && counts(flow)).count() as u64
                })
            };
            let in_class = |other: &Flow| other.class.as_deref() == class;
            if let Some(most) = class.and_then(|class| self.classes[class].max_flows)
                && count(&in_class) >= most
            {
                return false;
            }
            if count(&|_| true) >= if self.measured { 24 } else { 14 } {
                return false;
            }
        }
        if let Some(group) = &flow.group {
            return self.group_room(group, flow, held);
        }
        (0..2).all(|way| {
            let before = held.map_or((0, 0), |held| (held.rate[way], held.buffer[way]));
            let (rate, buffer) = (flow.rate[way], flow.buffer[way]);
            let buffer_fits =
                buffer <= before.1 || self.most(start, end, |at| self.buffers(at, way)) + buffer <= 60_000;
            buffer_fits && (rate <= before.0 || self.fits(flow, way))
        })
    }

    /// What no room would help against.
    fn allowed(&self, flow: &Flow, setup: u8, held: Option<&Flow>) -> bool {
        let most = flow.class.as_deref().and_then(|class| self.classes[class].max_rate);
        let too_fast = (0..2).any(|way| {
            most.is_some_and(|most| flow.rate[way] > most)
                && held.is_none_or(|held| flow.rate[way] > held.rate[way])
        });
        if too_fast {
            return false;
        }
        let mine = |other: &&Flow| flow.client.is_some() && other.client == flow.client;
        if flow.client.is_some() {
            let (start, end) = (flow.start, flow.end);
            if held.is_none() {
                let count = |at| self.flows.iter().filter(mine).filter(|flow| flow.at(at)).count() as u64;
                if self.most(start, end, count) >= 5 || start - self.now > 20 || setup < 1 {
                    return false;
                }
            }
            for way in 0..2 {
                let sum = |at| {
                    self.flows.iter().filter(mine).filter(|flow| flow.at(at)).map(|flow| flow.rate[way]).sum()
                };
                let worse = flow.rate[way] > held.map_or(0, |held| held.rate[way]);
                if worse && self.most(start, end, sum) + flow.rate[way] > 50_000 {
                    return false;
                }
            }
        }
        flow.group.as_deref().is_none_or(|name| self.joins(name, flow))
    }

    fn joins(&self, name: &str, flow: &Flow) -> bool {
        let group = &self.groups[name];
        let members = || self.flows.iter().filter(|other| other.group.as_deref() == Some(name));
        for way in 0..2 {
            if flow.token_rate[way] == 0 {
                continue;
            }
            let sum = |what: &dyn Fn(&Flow) -> u64| {
                self.most(flow.start, flow.end, |at| members().filter(|flow| flow.at(at)).map(what).sum())
            };
            match group.mode {
                GroupMode::Envelope => {
                    if sum(&|member| member.rate[way]) + flow.rate[way] > group.rate[way]
                        || group.token_rate[way].is_some_and(|most| {
                            sum(&|member| member.token_rate[way]) + flow.token_rate[way] > most
                        })
                        || group.bucket[way]
                            .is_some_and(|most| sum(&|member| member.bucket[way]) + flow.bucket[way] > most)
                    {
                        return false;
                    }
                }
                GroupMode::Shared if group.free[way] => {}
                GroupMode::Shared => {
                    if flow.rate[way] > group.rate[way]
                        || group.token_rate[way].is_some_and(|most| flow.token_rate[way] > most)
                        || group.bucket[way].is_some_and(|most| flow.bucket[way] > most)
                    {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Whether the link and the group's class have room for a shared group with one more member: at each moment the
    /// largest member counts.
    fn group_room(&self, name: &str, flow: &Flow, held: Option<&Flow>) -> bool {
        if self.groups[name].mode == GroupMode::Envelope {
            return true;
        }
        let mut without = self.bare();
        without.groups.remove(name);
        without.flows.retain(|other| other.group.as_deref() != Some(name));
        let at = |moment: u64, with: Option<&Flow>| {
            let members = self.flows.iter().filter(|other| other.group.as_deref() == Some(name));
            let members: Vec<_> = members.chain(with).filter(|member| member.at(moment)).collect();
            let largest =
                |what: &dyn Fn(&Flow) -> u64| members.iter().map(|flow| what(flow)).max().unwrap_or(0);
            [0, 1].map(|way| (largest(&|flow| flow.rate[way]), largest(&|flow| flow.buffer[way])))
        };
        let class = self.groups[name].class.clone();
        // The flow may begin later than anything that is booked.
        let last = flow.start.max(self.now) + 3 * HORIZON;
        without.steps_fit(class, last, |moment| (at(moment, Some(flow)), at(moment, held)))
    }

    /// Whether there is room for a group that takes at each moment the first, where it has held the second; from the
    /// last moment on, both stay as they are.
    fn steps_fit(&self, class: Option<String>, last: u64, at: impl Fn(u64) -> (Taken, Taken)) -> bool {
        let mut start = self.now;
        while start < last {
            let step = at(start);
            let end = (start + 1..last).find(|&moment| at(moment) != step).unwrap_or(last);
            let footprint = |taken: Taken| Flow {
                id: String::new(),
                order: 0,
                class: class.clone(),
                client: None,
                group: None,
                rate: taken.map(|(rate, _)| rate),
                buffer: taken.map(|(_, buffer)| buffer),
                bucket: [0; 2],
                token_rate: [0; 2],
                start,
                end: if end == last { FOREVER } else { end },
                deadline: None,
                holding: 0,
                qos: Qos::BEST_EFFORT,
                // A group is not measured.
                peak: [0; 2],
            };
            let (new, old) = (footprint(step.0), footprint(step.1));
            if !self.room(&new, Some(&old)) {
                return false;
            }
            start = end;
        }
        true
    }

    /// A copy to try something on.
    fn bare(&self) -> Self {
        Self {
            now: self.now,
            order: self.order,
            model: self.model,
            preemption: self.preemption,
            shed: self.shed,
            capacity: self.capacity,
            limits: Limits { reservable: self.limits.reservable, kept_percent: self.limits.kept_percent },
            classes: self.classes.clone(),
            flows: self.flows.clone(),
            groups: self.groups.clone(),
            measured: self.measured,
            samples: self.samples.clone(),
            measured_since: self.measured_since,
            good_until: self.good_until,
        }
    }

    /// The first of the least important flows without which the rest holds, less those with which it still holds.
    fn choose(&self, candidates: Vec<String>, holds: impl Fn(&Self) -> bool) -> Option<Vec<String>> {
        let without = |gone: &[String]| {
            let mut tried = self.bare();
            tried.flows.retain(|flow| !gone.contains(&flow.id));
            holds(&tried)
        };
        let needed = (1..=candidates.len()).find(|&count| without(&candidates[..count]))?;
        let mut gone = candidates[..needed].to_vec();
        for index in (0..needed - 1).rev() {
            let mut fewer = gone.clone();
            fewer.remove(index);
            if without(&fewer) {
                gone = fewer;
            }
        }
        Some(gone)
    }

    fn candidates(&self, wanted: impl Fn(&Flow) -> bool) -> Vec<String> {
        let mut candidates: Vec<_> =
            self.flows.iter().filter(|flow| flow.group.is_none() && wanted(flow)).collect();
        candidates.sort_by_key(|flow| (std::cmp::Reverse(flow.holding), std::cmp::Reverse(flow.order)));
        candidates.iter().map(|flow| flow.id.clone()).collect()
    }

    fn advance(&mut self, now: u64) -> Vec<String> {
        let mut ended = Vec::new();
        self.now = now;
        let ending = |flow: &Flow| flow.end.min(flow.deadline.unwrap_or(FOREVER));
        let mut over: Vec<_> = self
            .flows
            .iter()
            .map(|flow| (ending(flow), flow.order, flow.id.clone()))
            .filter(|(at, ..)| *at <= now)
            .collect();
        over.sort();
        for (.., id) in over {
            self.remove(&id);
            ended.push(id);
        }
        ended
    }

    fn remove(&mut self, id: &str) -> bool {
        let Some(at) = self.flows.iter().position(|flow| flow.id == id) else { return false };
        let group = self.flows.remove(at).group;
        self.close(group.as_deref());
        true
    }

    fn close(&mut self, group: Option<&str>) {
        if let Some(name) = group {
            let empty = !self.flows.iter().any(|flow| flow.group.as_deref() == Some(name));
            if empty && self.groups.get(name).is_some_and(|group| group.closing) {
                self.groups.remove(name);
            }
        }
    }

    /// Charges by the formulas, written once more: guaranteed with an infinite peak, else by r or p.
    fn charge(&self, qos: &Qos, class: Option<&str>) -> Option<[(u64, u64, u64, u64); 2]> {
        let mut charges = [(0, 0, 0, 0); 2];
        for (way, direction) in DIRECTIONS.into_iter().enumerate() {
            let spec = qos.get(direction);
            if !spec.service_type.reserves() {
                continue;
            }
            let r = spec.token_rate?.get();
            let b = spec.token_bucket_size?.get();
            let class = class.map(|class| &self.classes[class]);
            // Every peak here is infinite: by peak nothing can be charged.
            if class.is_some_and(|class| class.peak) {
                return None;
            }
            if spec.service_type == ServiceType::ControlledLoad {
                let declared = self.measured || class.is_none();
                let (times, over) = class.filter(|_| !declared).map_or((1, 1), |class| class.overbooking);
                charges[way] = ((r * over).div_ceil(times), b, b, r);
                continue;
            }
            let mut rate = r.max(spec.reserved_rate.map_or(0, Rate::get));
            if let Some(latency) = spec.latency {
                // (b + C)/R + D <= latency.
                let time = latency.get().checked_sub(1000).filter(|&time| time > 0)?;
                rate = rate.max(((b + 300) * 1_000_000).div_ceil(time));
            }
            // b + C + D·R.
            let buffer = b + 300 + (1000 * rate).div_ceil(1_000_000);
            charges[way] = (rate, buffer, b, r);
        }
        Some(charges)
    }

    /// What is measured may send `r + b / 100 ms`: every peak here is infinite.
    fn peaks(&self, qos: &Qos, class: Option<&str>) -> [u64; 2] {
        DIRECTIONS.map(|direction| {
            let spec = qos.get(direction);
            if self.measured && class == Some("silver") && spec.service_type == ServiceType::ControlledLoad {
                spec.token_rate.unwrap().get() + 10 * spec.token_bucket_size.unwrap().get()
            } else {
                0
            }
        })
    }

    /// From when until when a request is for.
    fn window(&self, request: &Request) -> (u64, u64) {
        let start = request.start.map_or(self.now, Moment::as_micros).max(self.now);
        (start, request.end.map_or(FOREVER, Moment::as_micros))
    }

    fn reserve(&mut self, request: &Request) -> Option<([u64; 2], Vec<String>)> {
        let group = request.group.as_ref().map(|name| self.groups.get(name).filter(|group| !group.closing));
        let (start, end) = self.window(request);
        if self.flows.iter().any(|flow| flow.id == request.id) || end <= start || matches!(group, Some(None))
        {
            return None;
        }
        let class = request.class.clone().or_else(|| group.flatten()?.class.clone());
        let by_class =
            class.as_deref().map_or((4, 4), |class| (self.classes[class].setup, self.classes[class].holding));
        let (setup, holding) = match (request.setup_priority, request.holding_priority) {
            (Some(setup), Some(holding)) => (setup, holding),
            (Some(setup), None) => (setup, by_class.1.min(setup)),
            (None, Some(holding)) => (by_class.0.max(holding), holding),
            (None, None) => by_class,
        };
        if setup < holding {
            return None;
        }
        let charges = self.charge(&request.qos, class.as_deref())?;
        let flow = Flow {
            id: request.id.clone(),
            order: self.order + 1,
            peak: self.peaks(&request.qos, class.as_deref()),
            class,
            client: request.client.clone(),
            group: request.group.clone(),
            rate: charges.map(|charge| charge.0),
            buffer: charges.map(|charge| charge.1),
            bucket: charges.map(|charge| charge.2),
            token_rate: charges.map(|charge| charge.3),
            start,
            end,
            deadline: request.time_to_live.map(|time| self.now + time.get()),
            holding,
            qos: request.qos,
        };
        if !self.allowed(&flow, setup, None) {
            return None;
        }
        let mut gone = Vec::new();
        if !self.room(&flow, None) {
            if !self.preemption {
                return None;
            }
            let worse = |other: &Flow| other.holding > setup && other.start < end && start < other.end;
            gone = self.choose(self.candidates(worse), |tried| tried.room(&flow, None))?;
            for id in &gone {
                self.remove(id);
            }
        }
        self.order += 1;
        let rate = flow.rate;
        self.flows.push(flow);
        Some((rate, gone))
    }

    /// The first moment at which it would fit, of all there are.
    fn earliest(&self, request: &Request) -> Option<u64> {
        let (start, end) = self.window(request);
        let duration = request.end.map(|_| end.saturating_sub(start));
        (start..start + 3 * HORIZON).find(|&moment| {
            let end = duration.map(|duration| Moment::from_micros(moment + duration));
            let mut tried = self.bare();
            tried.preemption = false;
            tried
                .reserve(&Request { start: Some(Moment::from_micros(moment)), end, ..request.clone() })
                .is_some()
        })
    }

    fn renegotiate(&mut self, id: &str, asked: &Both<Option<Flowspec>>) -> Option<[u64; 2]> {
        let at = self.flows.iter().position(|flow| flow.id == id)?;
        let old = self.flows[at].clone();
        let keep = |new: Option<Flowspec>, old| {
            new.filter(|new| new.service_type != ServiceType::NoChange).unwrap_or(old)
        };
        let qos = Qos {
            sending: keep(asked.sending, old.qos.sending),
            receiving: keep(asked.receiving, old.qos.receiving),
        };
        let charges = self.charge(&qos, old.class.as_deref())?;
        let mut new = old.clone();
        (new.qos, new.start) = (qos, old.start.max(self.now));
        new.peak = self.peaks(&qos, old.class.as_deref());
        (new.rate, new.buffer) = (charges.map(|charge| charge.0), charges.map(|charge| charge.1));
        (new.bucket, new.token_rate) = (charges.map(|charge| charge.2), charges.map(|charge| charge.3));
        let mut without = self.bare();
        without.flows.remove(at);
        if !without.allowed(&new, 7, Some(&old)) || !without.room(&new, Some(&old)) {
            return None;
        }
        let rate = new.rate;
        self.flows[at] = new;
        Some(rate)
    }

    fn group(&mut self, request: &GroupRequest) -> bool {
        let Some(charges) = self.charge(&request.qos, request.class.as_deref()) else { return false };
        if self.groups.get(&request.id).is_some_and(|group| group.mode != request.mode) {
            return false;
        }
        let specs = [&request.qos.sending, &request.qos.receiving];
        let group = Group {
            mode: request.mode,
            class: request.class.clone(),
            rate: charges.map(|charge| charge.0),
            buffer: charges.map(|charge| charge.1),
            bucket: specs.map(|spec| spec.token_bucket_size.map(Bytes::get)),
            token_rate: specs.map(|spec| spec.token_rate.map(Rate::get)),
            free: specs.map(|spec| !spec.service_type.reserves()),
            made: self.now,
            closing: false,
        };
        let mut tried = self.bare();
        let before = tried.groups.insert(request.id.clone(), group.clone());
        let members: Vec<_> =
            tried.flows.iter().filter(|flow| flow.group.as_deref() == Some(&request.id)).cloned().collect();
        tried.flows.retain(|flow| flow.group.as_deref() != Some(&request.id));
        // One after the other, each within what the group says; the link is looked at below.
        let mut joined = tried.bare();
        for member in members {
            let alone = Naive { capacity: [u64::MAX / 1000; 2], ..joined.bare() };
            let anywhere = Group { class: None, ..group.clone() };
            let mut alone = alone;
            alone.groups = BTreeMap::from([(request.id.clone(), anywhere)]);
            alone.flows.retain(|flow| flow.group.as_deref() == Some(&request.id));
            if !alone.joins(&request.id, &Flow { buffer: [0; 2], ..member.clone() }) {
                return false;
            }
            joined.flows.push(member);
        }
        let takes = |naive: &Self, moment: u64| {
            [0, 1].map(|way| {
                let group = &naive.groups[&request.id];
                let rate = naive.group_takes(&request.id, moment, |flow| flow.rate[way], group.rate[way]);
                (rate, naive.group_takes(&request.id, moment, |flow| flow.buffer[way], group.buffer[way]))
            })
        };
        let mut without = joined.bare();
        without.groups.remove(&request.id);
        without.flows.retain(|flow| flow.group.as_deref() != Some(&request.id));
        let fits = without.steps_fit(request.class.clone(), self.now + 3 * HORIZON, |moment| {
            let held = before.as_ref().map_or([(0, 0); 2], |_| takes(self, moment));
            (takes(&joined, moment), held)
        });
        if !fits {
            return false;
        }
        if before.is_none() {
            self.order += 1;
        }
        self.groups.insert(request.id.clone(), group);
        true
    }

    fn set_capacity(&mut self, way: usize, capacity: u64) -> Vec<String> {
        self.capacity[way] = capacity;
        let fits = |naive: &Self| {
            let declared = naive.most(naive.now, FOREVER, |at| naive.taken(at, way, |_| true));
            declared - naive.relief(way, |_| true) <= naive.budget(way)
        };
        if !self.shed || fits(self) {
            return Vec::new();
        }
        let candidates = self.candidates(|flow| flow.rate[way] > 0);
        let gone = self.choose(candidates.clone(), fits).unwrap_or(candidates);
        for id in &gone {
            self.remove(id);
        }
        gone
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ x >> 31
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    fn spec(&mut self) -> Flowspec {
        let service = self.pick(&[
            ServiceType::Guaranteed,
            ServiceType::Guaranteed,
            ServiceType::ControlledLoad,
            ServiceType::BestEffort,
        ]);
        let mut spec = Flowspec::new(service);
        spec.token_rate = Some(Rate::new(500 * self.pick(&[1, 4, 10, 20, 40, 61])));
        spec.token_bucket_size = Some(Bytes::new(self.pick(&[1500, 3000, 9000])));
        if service == ServiceType::Guaranteed {
            spec.latency = self.one_in(3).then(|| Micros::new(self.pick(&[900, 1001, 200_000, 500_000])));
            spec.reserved_rate = self.one_in(5).then(|| Rate::new(500 * self.pick(&[3, 30])));
        }
        spec
    }

    fn qos(&mut self) -> Qos {
        let receiving = if self.one_in(2) { self.spec() } else { Flowspec::BEST_EFFORT };
        Qos { sending: self.spec(), receiving }
    }

    fn id(&mut self) -> String {
        format!("f{}", self.below(24))
    }

    fn class(&mut self) -> Option<String> {
        self.pick(&[None, Some("gold"), Some("silver"), Some("silver"), Some("bronze")]).map(str::to_owned)
    }
}

fn random_request(random: &mut Random, now: u64) -> Request {
    let mut request = Request::new(random.id(), "eth0", random.qos());
    request.class = random.class();
    request.group = random.one_in(4).then(|| format!("g{}", random.below(2)));
    request.client = random.one_in(3).then(|| random.pick(&["c1", "c2", "other"]).to_owned());
    if random.one_in(3) {
        request.start = Some(Moment::from_micros(now + random.below(HORIZON / 2)));
    }
    if random.one_in(2) {
        let start = request.start.unwrap_or(Moment::from_micros(now));
        request.end = Some(start.saturating_add(Micros::new(random.below(HORIZON / 2))));
    }
    request.time_to_live = random.one_in(5).then(|| Micros::new(1 + random.below(12)));
    request.setup_priority = random.one_in(3).then(|| random.below(8) as u8);
    request.holding_priority = random.one_in(3).then(|| random.below(8) as u8);
    request
}

/// Another client's name is no client of the policy's.
fn known_client(request: &Request) -> Request {
    let client = request.client.clone().filter(|client| client.starts_with('c'));
    Request { client, ..request.clone() }
}

fn run(seed: u64, operations: u64) -> Counts {
    let mut random = Random(seed);
    let model = random.pick(&[Model::Mam, Model::Rdm, Model::Mar]);
    let (preemption, shed) = (random.one_in(2), random.one_in(2));
    let measured = random.one_in(2);
    let text = POLICY
        .replace("ADMISSION", if measured { "measured" } else { "declared" })
        .replace("SILVER", if measured { "480 kbit/s" } else { "240 kbit/s" })
        .replace("MOST", if measured { "24" } else { "14" })
        .replace("PREEMPTION", if preemption { "true" } else { "false" })
        .replace("DROP", if shed { "shed" } else { "keep" })
        .replace(
            "MODEL",
            match model {
                Model::Mam => "mam",
                Model::Rdm => "rdm",
                Model::Mar => "mar",
            },
        );
    let (policy, _) = Policy::parse(&[Source { name: "model", text: &text }]).unwrap();
    let policy = Arc::new(policy);
    let mut ledger = Ledger::new(Arc::clone(&policy));
    let mut naive = Naive::new(model, preemption, shed, measured);
    let mut now = 0;
    let mut counts = Counts::default();
    for number in 0..operations {
        now += random.pick(&[0, 0, 1, 2, 5]);
        let (operation, wanted) = {
            let expired = naive.advance(now);
            let mut wanted = Wanted { ok: true, expired, ..Wanted::default() };
            let operation = match random.below(21) {
                0..=8 => {
                    let mut request = random_request(&mut random, now);
                    if measured && !random.one_in(4) {
                        // Many small ones that stay, without which nothing is gained by measuring.
                        let mut spec = Flowspec::new(ServiceType::ControlledLoad);
                        spec.token_rate = Some(Rate::new(random.pick(&[3000, 4000])));
                        spec.token_bucket_size = Some(Bytes::new(64));
                        request = Request {
                            class: Some("silver".into()),
                            ..Request::new(request.id, "eth0", Qos::sending(spec))
                        };
                    }
                    let lower = if random.one_in(3) { random.below(3) } else { 0 };
                    let renditions: Vec<_> =
                        (0..lower).map(|number| (format!("r{number}"), random.qos())).collect();
                    let asked = known_client(&request);
                    let mut got = naive.reserve(&asked);
                    for (name, qos) in &renditions {
                        if got.is_none() {
                            got = naive.reserve(&Request { qos: *qos, ..asked.clone() });
                            wanted.rendition = got.is_some().then(|| name.clone());
                        }
                    }
                    match got {
                        Some((rate, preempted)) => (wanted.charged, wanted.preempted) = (rate, preempted),
                        None => wanted.ok = false,
                    }
                    counts.lowered += usize::from(wanted.rendition.is_some());
                    Operation::Reserve(Box::new(Ladder { request, first: "best".into(), renditions }))
                }
                9..=11 => {
                    let id = random.id();
                    let asked = Box::new(Both {
                        sending: random.one_in(2).then(|| random.spec()),
                        receiving: random.one_in(3).then(|| random.spec()),
                    });
                    match naive.renegotiate(&id, &asked) {
                        Some(rate) => wanted.charged = rate,
                        None => wanted.ok = false,
                    }
                    Operation::Renegotiate { id, asked }
                }
                12..=14 => {
                    let id = random.id();
                    wanted.ok = naive.remove(&id);
                    Operation::Release { id }
                }
                15 => {
                    let (id, time) = (random.id(), Micros::new(1 + random.below(12)));
                    match naive.flows.iter_mut().find(|flow| flow.id == id) {
                        Some(flow) => flow.deadline = Some(now + time.get()),
                        None => wanted.ok = false,
                    }
                    Operation::Refresh { id, time_to_live: time }
                }
                16 => {
                    let mode = random.pick(&[GroupMode::Envelope, GroupMode::Shared]);
                    let (id, class, qos) = (format!("g{}", random.below(2)), random.class(), random.qos());
                    let request = GroupRequest { id, interface: "eth0".into(), class, mode, qos };
                    wanted.ok = naive.group(&request);
                    Operation::Group(Box::new(request))
                }
                17 => {
                    let id = format!("g{}", random.below(2));
                    wanted.ok = naive.groups.contains_key(&id);
                    if let Some(group) = naive.groups.get_mut(&id) {
                        group.closing = true;
                    }
                    naive.close(Some(&id));
                    Operation::Ungroup { id }
                }
                18 => {
                    let way = random.below(2) as usize;
                    let capacity = random.pick(&[20_000, 50_000, 70_000, 100_000, 100_000]);
                    wanted.shed = naive.set_capacity(way, capacity);
                    let interface = "eth0".to_owned();
                    Operation::Capacity {
                        interface,
                        direction: DIRECTIONS[way],
                        capacity: Rate::new(capacity),
                    }
                }
                19 => {
                    let window = 1 + random.below(20);
                    let rate = [0, 1].map(|_| random.below(6_000));
                    wanted.ok = measured;
                    if measured {
                        naive.measure(window, rate);
                        counts.measured += 1;
                    }
                    let (interface, class) = ("eth0".to_owned(), "silver".to_owned());
                    let rate = Both { sending: Rate::new(rate[0]), receiving: Rate::new(rate[1]) };
                    Operation::Measure { interface, class, window: Micros::new(window), rate }
                }
                _ => Operation::Tick,
            };
            (operation, wanted)
        };
        let decision = ledger.decide(Moment::from_micros(now), &operation).decision;
        if random.one_in(50) {
            // What is counted is booked anew, and is the same.
            ledger.reload(Arc::clone(&policy));
            (naive.good_until, naive.measured_since) = (0, None);
            for (way, direction) in DIRECTIONS.into_iter().enumerate() {
                // What was measured is forgotten, and somebody may have to go for that.
                let gone = ledger.set_capacity("eth0", direction, Rate::new(naive.capacity[way]));
                let gone: Vec<_> = gone.into_iter().map(|held| held.id).collect();
                assert_eq!(
                    gone,
                    naive.set_capacity(way, naive.capacity[way]),
                    "seed {seed}, operation {number}"
                );
            }
        }
        if random.one_in(80) {
            let request = random_request(&mut random, now);
            let (found, wanted) = (ledger.earliest(&request), naive.earliest(&known_client(&request)));
            assert_eq!(
                found.map(Moment::as_micros),
                wanted,
                "seed {seed}, operation {number}: {request:#?}\n{:#?}",
                naive.flows
            );
        }
        if number % 16 == 0 {
            ledger.invariants();
        }
        let totals = ledger.totals("eth0").unwrap();
        let context = || {
            format!(
                "seed {seed}, operation {number}, {model:?}: {operation:#?}\n{decision:#?}\n{:#?}",
                naive.flows
            )
        };
        assert_eq!(decision.is_ok(), wanted.ok, "{}", context());
        if matches!(operation, Operation::Reserve(_) | Operation::Renegotiate { .. }) {
            assert_eq!(
                [decision.charged().sending.get(), decision.charged().receiving.get()],
                wanted.charged,
                "{}",
                context()
            );
            *if decision.is_ok() { &mut counts.admitted } else { &mut counts.refused } += 1;
        }
        assert_eq!(decision.rendition(), wanted.rendition.as_deref(), "{}", context());
        assert_eq!(decision.preempted(), wanted.preempted, "{}", context());
        assert_eq!(decision.shed(), wanted.shed, "{}", context());
        assert_eq!(decision.expired, wanted.expired, "{}", context());
        assert_eq!(ledger.flows(), naive.flows.len(), "{}", context());
        counts.preempted += decision.preempted().len();
        counts.shed += decision.shed().len();
        counts.expired += decision.expired.len();
        counts.members += naive.flows.iter().filter(|flow| flow.group.is_some()).count();
        counts.booked += naive.flows.iter().filter(|flow| flow.start > now).count();
        for (way, direction) in DIRECTIONS.into_iter().enumerate() {
            let totals = totals.get(direction);
            assert_eq!(totals.budget.get(), naive.budget(way), "{}", context());
            let relief = naive.relief(way, |_| true);
            counts.relieved += usize::from(relief > 0);
            assert_eq!(totals.reserved.get(), naive.taken(now, way, |_| true) - relief, "{}", context());
        }
    }
    // No leak after all have gone.
    for flow in naive.flows.clone() {
        ledger.release(&flow.id).unwrap();
    }
    for id in ["g0", "g1"] {
        let _ = ledger.ungroup(id);
    }
    ledger.advance(Moment::from_micros(now + 10 * HORIZON));
    let totals = ledger.totals("eth0").unwrap().map(|totals| totals.reserved);
    assert_eq!((totals, ledger.flows()), (Both::default(), 0), "seed {seed}: something was left");
    counts
}

/// How often what is to be tried has been.
#[derive(Debug, Default)]
struct Counts {
    admitted: usize,
    refused: usize,
    preempted: usize,
    shed: usize,
    expired: usize,
    members: usize,
    booked: usize,
    measured: usize,
    relieved: usize,
    lowered: usize,
}

#[derive(Default)]
struct Wanted {
    ok: bool,
    charged: [u64; 2],
    preempted: Vec<String>,
    shed: Vec<String>,
    expired: Vec<String>,
    rendition: Option<String>,
}

#[test]
fn the_ledger_agrees_with_a_full_recount() {
    let operations: u64 = std::env::var("GQOS_MODEL_OPERATIONS").map_or(60_000, |text| text.parse().unwrap());
    let seed: u64 = std::env::var("GQOS_MODEL_SEED").map_or(1, |text| text.parse().unwrap());
    let mut all = Counts::default();
    for number in 0..operations.div_ceil(2000) {
        let counts = run(seed + number, 2000);
        all.admitted += counts.admitted;
        all.refused += counts.refused;
        all.preempted += counts.preempted;
        all.shed += counts.shed;
        all.expired += counts.expired;
        all.members += counts.members;
        all.booked += counts.booked;
        all.measured += counts.measured;
        all.relieved += counts.relieved;
        all.lowered += counts.lowered;
    }
    println!("{operations} operations from seed {seed}: {all:?}");
    let Counts { admitted, refused, preempted, shed, expired, members, booked, measured, relieved, lowered } =
        all;
    for often in
        [admitted, refused, preempted, shed, expired, members, booked, measured, 20 * relieved, lowered]
    {
        assert!(often as u64 > operations / 1000, "{all:?}");
    }
}
