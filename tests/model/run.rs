//! One run: random operations on the ledger and on the recount, whose answers are compared.

use flowspec::{Both, Direction, Micros, Moment, Rate};
use gqos::admission::{ClientLimit, Decision, GroupRequest, Ladder, Ledger, Operation, Refusal, Request};
use gqos::policy::GroupMode;

use crate::HORIZON;
use crate::counts::Counts;
use crate::peers::Ended;
use crate::policy::{LINKS, Variant};
use crate::random::Random;
use crate::recount::Recount;
use crate::request::Refused;

/// What the recount expects of a decision.
#[derive(Default)]
struct Expected {
    is_ok: bool,
    charged: [u64; 2],
    preempted: Vec<String>,
    shed: Vec<String>,
    ended: Ended,
    rendition: Option<String>,
    is_waiting: bool,
    notified: Vec<String>,
}

/// When a run begins, in microseconds: a peer may have been silent before.
const START: u64 = 10_000_000;

pub(crate) struct Run {
    seed: u64,
    /// The number of the operation.
    number: u64,
    now: u64,
    random: Random,
    ledger: Ledger,
    recount: Recount,
    counts: Counts,
}

impl Run {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let variant = Variant::random(&mut random);
        let ledger = Ledger::new(variant.policy());
        let recount = Recount::new(variant);
        Self { seed, number: 0, now: START, random, ledger, recount, counts: Counts::default() }
    }

    /// Performs this many operations, then ends everything. Returns how often each kind of outcome occurred.
    pub(crate) fn operations(mut self, operations: u64) -> Counts {
        while self.number < operations {
            self.operation();
            self.number += 1;
        }
        self.end();
        self.counts
    }

    fn operation(&mut self) {
        if self.random.one_in(50) {
            self.reload();
            // What the links carry is observed again, so that flows are shed where the policy wants that.
            for (direction, capacity) in self.recount.capacity.into_iter().enumerate() {
                self.perform(|run, expected| run.capacity(direction, capacity, expected));
            }
        }
        self.now += self.random.pick(&[0, 0, 1, 2, 5]);
        if self.random.one_in(150) {
            self.now += self.random.pick(&[100_000, 300_000, 600_000, 1_500_000, 5_100_000]);
        }
        self.perform(Self::choose);
        if self.random.one_in(160) {
            self.compare_earliest();
        }
        if self.number.is_multiple_of(16) {
            self.ledger.invariants();
        }
    }

    /// Performs an operation on both.
    fn perform(&mut self, choose: impl FnOnce(&mut Self, &mut Expected) -> Operation) {
        let ended = self.recount.advance(self.now);
        let mut expected = Expected { is_ok: true, ended, ..Expected::default() };
        let operation = choose(self, &mut expected);
        expected.notified = self.recount.notify();
        let decision = self.ledger.decide(Moment::from_micros(self.now), &operation).decision;
        self.compare(&operation, &decision, &expected);
        self.count(&operation, &decision);
    }

    /// A random operation, which the recount performs.
    fn choose(&mut self, expected: &mut Expected) -> Operation {
        match self.random.below(23) {
            0..=8 => self.reserve(expected),
            9..=11 => self.renegotiate(expected),
            12..=14 => {
                let id = self.random.flow_id();
                let (has_ended, has_left) = (self.recount.remove(&id), self.recount.leave(&id));
                expected.is_ok = has_ended || has_left;
                Operation::Release { id }
            }
            15 => self.refresh(expected),
            16 => self.group(expected),
            17 => {
                let id = self.random.group_id();
                expected.is_ok = self.recount.ungroup(&id);
                Operation::Ungroup { id }
            }
            18 => {
                let direction = self.random.below(2) as usize;
                let capacity = self.random.pick(&[20_000, 50_000, 70_000, 100_000, 100_000]);
                self.capacity(direction, capacity, expected)
            }
            19 => self.measure(expected),
            20..=21 => self.peer(expected),
            _ => Operation::Tick,
        }
    }

    fn reserve(&mut self, expected: &mut Expected) -> Operation {
        let is_small = self.recount.variant.measured && !self.random.one_in(4);
        let request = if is_small { self.random.small_request() } else { self.random.request(self.now) };
        let lower = if self.random.one_in(3) { self.random.below(3) } else { 0 };
        let renditions: Vec<_> = (0..lower).map(|number| (format!("r{number}"), self.random.qos())).collect();
        let known = with_known_client(&request);
        let is_counted = self.recount.count_request(known.client.as_deref());
        let is_read = is_counted && !self.recount.flows.iter().any(|flow| flow.id == known.id);
        let tried =
            if is_counted { self.recount.reserve(&known) } else { Err(Refused { may_fit_later: false }) };
        let may_wait = known.wait && matches!(&tried, Err(refused) if refused.may_fit_later);
        let mut admitted = tried.ok();
        expected.rendition = admitted.is_some().then(|| "best".to_owned());
        for (name, qos) in renditions.iter().filter(|_| is_counted) {
            if admitted.is_none() {
                admitted = self.recount.reserve(&Request { qos: *qos, ..known.clone() }).ok();
                expected.rendition = admitted.is_some().then(|| name.clone());
            }
        }
        if may_wait {
            self.recount.wait(&known);
        } else if is_read {
            self.recount.leave(&known.id);
        }
        expected.is_waiting = self.recount.is_waiting(&known.id);
        match admitted {
            Some(admitted) => {
                (expected.charged, expected.preempted) = (admitted.rate, admitted.preempted);
            }
            None => expected.is_ok = false,
        }
        Operation::Reserve(Box::new(Ladder { request, first: Some("best".into()), renditions }))
    }

    fn renegotiate(&mut self, expected: &mut Expected) -> Operation {
        let (id, flowspecs) = (self.random.flow_id(), Box::new(self.random.changes()));
        match self.recount.renegotiate(&id, &flowspecs) {
            Some(rate) => {
                expected.charged = rate;
                self.recount.leave(&id);
            }
            None => expected.is_ok = false,
        }
        Operation::Renegotiate { id, flowspecs }
    }

    fn refresh(&mut self, expected: &mut Expected) -> Operation {
        let (id, time_to_live) = (self.random.flow_id(), self.random.time_to_live());
        match self.recount.flows.iter_mut().find(|flow| flow.id == id) {
            Some(flow) => flow.deadline = Some(self.now + time_to_live.get()),
            None => expected.is_ok = false,
        }
        Operation::Refresh { id, time_to_live }
    }

    fn group(&mut self, expected: &mut Expected) -> Operation {
        let mode = self.random.pick(&[GroupMode::Envelope, GroupMode::Shared]);
        let (id, class, qos) = (self.random.group_id(), self.random.class(), self.random.qos());
        let request = GroupRequest { id, interface: "eth0".into(), class, mode, qos };
        expected.is_ok = self.recount.group(&request);
        Operation::Group(Box::new(request))
    }

    fn capacity(&mut self, direction: usize, capacity: u64, expected: &mut Expected) -> Operation {
        expected.shed = self.recount.set_capacity(direction, capacity);
        let (interface, capacity) = ("eth0".to_owned(), Rate::new(capacity));
        Operation::Capacity { interface, direction: Direction::BOTH[direction], capacity }
    }

    fn peer(&mut self, expected: &mut Expected) -> Operation {
        let (id, seen) = (self.random.flow_id(), self.random.peer(self.now));
        expected.is_ok = self.recount.peer(&id, seen, &mut expected.ended);
        Operation::Peer { id, state: seen.0, since: seen.1 }
    }

    fn measure(&mut self, expected: &mut Expected) -> Operation {
        let window = 1 + self.random.below(20);
        let rate = [0, 1].map(|_| self.random.below(6_000));
        expected.is_ok = self.recount.variant.measured;
        if expected.is_ok {
            self.recount.measure(window, rate);
            self.counts.measured += 1;
        }
        let (interface, class) = ("eth0".to_owned(), "silver".to_owned());
        let rate = Both { sending: Rate::new(rate[0]), receiving: Rate::new(rate[1]) };
        Operation::Measure { interface, class, window: Micros::new(window), rate }
    }

    /// Another policy from now on. Flows keep what they have.
    fn reload(&mut self) {
        let variant = Variant::random(&mut self.random);
        self.ledger.reload(variant.policy());
        self.recount.reload(variant);
        self.counts.reloads += 1;
    }

    fn compare_earliest(&mut self) {
        let request = self.random.request(self.now);
        let found = self.ledger.earliest(&request).map(Moment::as_micros);
        let expected = self.recount.earliest(&with_known_client(&request));
        assert_eq!(found, expected, "{}: {request:#?}\n{:#?}", self.place(), self.recount.flows);
    }

    fn place(&self) -> String {
        format!("seed {}, operation {}, {:?}", self.seed, self.number, self.recount.variant)
    }

    fn compare(&self, operation: &Operation, decision: &Decision, expected: &Expected) {
        let context =
            || format!("{}: {operation:#?}\n{decision:#?}\n{:#?}", self.place(), self.recount.flows);
        assert_eq!(decision.is_ok(), expected.is_ok, "{}", context());
        if has_charge(operation) {
            let charged = [decision.charged().sending.get(), decision.charged().receiving.get()];
            assert_eq!(charged, expected.charged, "{}", context());
        }
        assert_eq!(decision.rendition(), expected.rendition.as_deref(), "{}", context());
        assert_eq!(decision.preempted(), expected.preempted, "{}", context());
        assert_eq!(decision.shed(), expected.shed, "{}", context());
        let Ended { expired, dead, stalled } = &expected.ended;
        assert_eq!(decision.expired, *expired, "{}", context());
        assert_eq!((&decision.dead, &decision.stalled), (dead, stalled), "{}", context());
        assert_eq!(decision.is_waiting(), expected.is_waiting, "{}", context());
        assert_eq!(decision.notified, expected.notified, "{}\n{:#?}", context(), self.recount.waiting);
        assert_eq!(self.ledger.flows(), self.recount.flows.len(), "{}", context());
        for (link, name) in LINKS.into_iter().enumerate() {
            let (totals, recount) = (self.ledger.totals(name).unwrap(), self.recount.on(link));
            for (index, direction) in Direction::BOTH.into_iter().enumerate() {
                let totals = totals.get(direction);
                let declared = recount.rate(self.now, index, |_| true);
                assert_eq!(totals.budget.get(), recount.budget(index), "{name}: {}", context());
                let reserved = declared - recount.unused(index, |_| true);
                assert_eq!(totals.reserved.get(), reserved, "{name}: {}", context());
            }
        }
    }

    fn count(&mut self, operation: &Operation, decision: &Decision) {
        let (counts, flows) = (&mut self.counts, &self.recount.flows);
        if has_charge(operation) {
            *if decision.is_ok() { &mut counts.admitted } else { &mut counts.refused } += 1;
        }
        let is_lower = decision.rendition().is_some() && !decision.is_first_rendition();
        counts.lowered += usize::from(is_lower);
        counts.preempted += decision.preempted().len();
        counts.shed += decision.shed().len();
        counts.expired += decision.expired.len();
        counts.dead += decision.dead.len();
        counts.stalled += decision.stalled.len();
        counts.waiting += self.recount.waiting.len();
        counts.notified += decision.notified.len();
        let limit = decision.refusal();
        let is_too_many =
            |refusal: &Refusal| matches!(refusal, Refusal::Client { limit: ClientLimit::Requests(_), .. });
        counts.too_many += usize::from(limit.is_some_and(is_too_many));
        let is_by_parent = |refusal: &Refusal| match (operation, refusal) {
            (
                Operation::Reserve(ladder),
                Refusal::InterfaceBudget { interface, .. } | Refusal::ClassShare { interface, .. },
            ) => ladder.request.interface == LINKS[0] && interface == LINKS[1],
            _ => false,
        };
        counts.by_parent += usize::from(limit.is_some_and(is_by_parent));
        let has_gold = self.recount.variant.has_gold;
        counts.orphans +=
            flows.iter().filter(|flow| !has_gold && flow.class.as_deref() == Some("gold")).count();
        counts.members += flows.iter().filter(|flow| flow.group.is_some()).count();
        counts.booked += flows.iter().filter(|flow| flow.start > self.now).count();
        counts.unused += (0..2).filter(|&index| self.recount.unused(index, |_| true) > 0).count();
    }

    /// Releases everything, after which nothing is reserved.
    fn end(&mut self) {
        for flow in &self.recount.flows {
            self.ledger.release(&flow.id).unwrap();
        }
        for id in ["g0", "g1"] {
            // A refusal: there is no such group.
            let _ = self.ledger.ungroup(id);
        }
        self.ledger.advance(Moment::from_micros(self.now + 10 * HORIZON));
        for link in LINKS {
            let reserved = self.ledger.totals(link).unwrap().map(|totals| totals.reserved);
            assert_eq!((reserved, self.ledger.flows()), (Both::default(), 0), "{link}: {}", self.place());
        }
    }
}

fn has_charge(operation: &Operation) -> bool {
    matches!(operation, Operation::Reserve(_) | Operation::Renegotiate { .. })
}

/// The request without a client that the policy does not name.
fn with_known_client(request: &Request) -> Request {
    let client = request.client.clone().filter(|client| client.starts_with('c'));
    Request { client, ..request.clone() }
}
