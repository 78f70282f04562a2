//! A bucket is not filled by releasing it: what flows have taken is owed until it would have been refilled, by the
//! socket and by the next flows of their class.
//!
//! In virtual time over any sequence of reservations and releases; and in three seconds over real sockets, shaped in
//! user space and by the kernel's classes.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "credit/sockets.rs"]
mod sockets;

use std::collections::BTreeMap;
use std::time::Duration;

use common::policy;
use flowspec::{Both, Bytes, Direction, Flowspec, Micros, Moment, Qos, Rate, Timestamp};
use gqos::admission::{NewFlow, Operation, Request};
use gqos::manager::{Admitted, Effect, Input, Lost, Manager, Notice, RequestId, Root, Seen};
use proptest::prelude::*;
use shaper::{Bucket, Framing, Limiter, Plan};

/// What may be reserved, in bytes per second.
const RESERVABLE: u64 = 10_000_000;

const CLASSES: [&str; 2] = ["a", "b"];

/// A manager with flows that send what their buckets hold, in virtual time.
struct World {
    manager: Manager,
    now: u64,
    /// When the manager's clock began.
    epoch: u64,
    next: u64,
    flows: Vec<Flow>,
    /// When how much was sent.
    sent: Vec<(u64, u64)>,
    /// For each class, the largest sum of the buckets that were reserved at once.
    buckets: BTreeMap<&'static str, u64>,
}

struct Flow {
    id: String,
    class: &'static str,
    depth: u64,
    bucket: Bucket,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            manager: Self::manager(),
            now: 0,
            epoch: 0,
            next: 0,
            flows: vec![],
            sent: vec![],
            buckets: BTreeMap::new(),
        };
        world.see();
        world
    }

    fn manager() -> Manager {
        let text = "version = 1\npreemption = true\n[interface.eth0]\nenforcement = \"user-space\"\non_capacity_drop = \"shed\"\negress = { capacity = \"100 Mbit/s\", reservable = \"80%\" }\n[class.a]\n[class.b]\n";
        Manager::new(policy(text))
    }

    /// All flows end, and so many microseconds later the debts are those of another manager, whose clock runs for a part of
    /// that time by then.
    fn restart(&mut self, elapsed: u64) {
        while !self.flows.is_empty() {
            self.close(0, true);
        }
        let debts = self.manager.debts(self.moment());
        self.now += elapsed;
        (self.manager, self.epoch) = (Self::manager(), self.now - elapsed / 2);
        self.manager.begin_with(debts, Duration::from_micros(elapsed), self.moment());
        self.see();
    }

    fn moment(&self) -> Moment {
        Moment::from_micros(self.now - self.epoch)
    }

    fn see(&mut self) {
        let (interface, mtu) = ("eth0".to_owned(), Bytes::new(1500));
        self.feed(Input::Seen(Seen {
            interface,
            index: 7,
            mtu,
            speed: None,
            shares_wire_with: None,
            root: Root::Default,
        }));
    }

    /// Time passes, with a tick whenever time alone changes something.
    fn pass(&mut self, micros: u64) {
        let end = self.now + micros;
        let due = |world: &Self| world.manager.due().map(|due| world.epoch.saturating_add(due.as_micros()));
        while let Some(due) = due(self).filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.next += 1;
            let operation = Box::new(Operation::Tick);
            self.feed(Input::Request { id: RequestId(self.next), operation });
        }
        self.now = end;
    }

    /// As the engine does: what a flow that has lost its reservation has taken is told before the answer is used.
    fn feed(&mut self, input: Input) -> Option<Admitted> {
        let effects = self.manager.handle(input, self.moment()).effects;
        let mut admitted = None;
        for effect in effects {
            match effect {
                Effect::Answer { answer, .. } => {
                    let owed = self.manager.missing(answer.decision.id().unwrap_or_default());
                    admitted = answer.admitted.map(|admitted| Admitted { owed, ..admitted });
                }
                Effect::Notify(Notice::Lost(Lost { id, .. })) => self.lost(&id),
                Effect::Apply { .. } | Effect::Notify(_) => {}
                other => panic!("an effect that this test does not know: {other:?}"),
            }
        }
        admitted
    }

    fn lost(&mut self, id: &str) {
        let Some(place) = self.flows.iter().position(|flow| flow.id == id) else { return };
        let Flow { id, bucket, .. } = self.flows.remove(place);
        self.spent(id, bucket);
    }

    fn spent(&mut self, id: String, mut bucket: Bucket) {
        let missing = Both { sending: Some(bucket.deficit(self.clock()).sustained), receiving: None };
        self.feed(Input::Spent { id, missing });
    }

    /// The link carries this part of what it did at first, in hundredths.
    fn carries(&mut self, part: u64) {
        let (interface, direction) = ("eth0".to_owned(), Direction::Sending);
        let capacity = Rate::new(RESERVABLE * 100 / 80 * part / 100);
        let operation = Box::new(Operation::Capacity { interface, direction, capacity });
        self.next += 1;
        self.feed(Input::Request { id: RequestId(self.next), operation });
    }

    fn clock(&self) -> Timestamp {
        Timestamp::from_micros(self.now)
    }

    fn reserve(&mut self, class: &'static str, rate: u64, depth: u64) -> Option<Admitted> {
        self.reserve_with(class, (rate, depth), |_| {})
    }

    /// Reserves, and gives the flow's bucket the tokens that it is to have; `None` where the request is refused.
    fn reserve_with(
        &mut self,
        class: &'static str,
        (rate, depth): (u64, u64),
        with: impl FnOnce(&mut Request),
    ) -> Option<Admitted> {
        self.next += 1;
        let id = format!("v{}", self.next);
        let spec = Flowspec::guaranteed(Rate::new(rate), Bytes::new(depth));
        let mut request = Request {
            class: Some(class.into()),
            ..Request::new(NewFlow { id: &id, interface: "eth0" }, Qos::sending(spec))
        };
        with(&mut request);
        let operation = Box::new(Operation::Reserve(Box::new(request.into())));
        let admitted = self.feed(Input::Request { id: RequestId(self.next), operation })?;
        let plan = Plan::new(&admitted.tspec.sending.unwrap(), Framing::Datagram { header: 28 }).unwrap();
        let mut bucket = Bucket::new(&plan, self.clock());
        let missing = shaper::Deficit { sustained: admitted.owed.sending, peak: Bytes::ZERO };
        bucket.withdraw(self.clock(), missing);
        self.flows.push(Flow { id, class, depth, bucket });
        let sum: u64 = self.flows.iter().filter(|flow| flow.class == class).map(|flow| flow.depth).sum();
        let most = self.buckets.entry(class).or_default();
        *most = sum.max(*most);
        Some(admitted)
    }

    /// The newest flow, or one before it, sends a part of what its bucket holds, in hundredths.
    fn send(&mut self, before: usize, part: u64) {
        let clock = self.clock();
        let Some(place) = self.flows.len().checked_sub(1 + before % self.flows.len().max(1)) else { return };
        let bucket = &mut self.flows[place].bucket;
        let size = Bytes::new(bucket.available(clock).get() * part / 100);
        assert!(bucket.take(clock, size));
        self.sent.push((self.now, size.get()));
    }

    /// A flow ends; `tells` where it says what it has taken, which one that was never connected does not.
    fn close(&mut self, place: usize, tells: bool) {
        if self.flows.is_empty() {
            return;
        }
        let place = place % self.flows.len();
        let Flow { id, bucket, .. } = self.flows.remove(place);
        if tells {
            self.spent(id.clone(), bucket);
        }
        self.feed(Input::Closed { id });
    }

    /// No interval saw more than what may be reserved and the buckets of each class at once.
    #[track_caller]
    fn check(&self) {
        let buckets: u64 = self.buckets.values().sum();
        for (first, (from, _)) in self.sent.iter().enumerate() {
            let mut sum = 0;
            for (to, size) in &self.sent[first..] {
                sum += size;
                let most = buckets + (to - from) * RESERVABLE / 1_000_000;
                assert!(sum <= most, "{sum} B from {from} to {to} us, {most} B may be: {:?}", self.sent);
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Reserve {
        class: usize,
        rate: u64,
        depth: u64,
    },
    Send {
        before: usize,
        part: u64,
    },
    Close(usize),
    /// A connection that is refused: nothing was sent, and nothing is told.
    Refused {
        class: usize,
        depth: u64,
    },
    Wait(u64),
    /// A flow that displaces others.
    Preempt {
        class: usize,
        rate: u64,
        depth: u64,
    },
    /// A flow that expires so many microseconds later.
    Expiring {
        class: usize,
        depth: u64,
        after: u64,
    },
    /// The link carries this part of what it did, in hundredths.
    Carries(u64),
    /// The link is gone, and comes back.
    Gone,
    /// Another manager follows.
    Restart(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let depth = prop_oneof![Just(1500u64), 1500u64..20_000, 20_000u64..2_000_000];
    prop_oneof![
        4 => (0usize..2, 1000u64..RESERVABLE, depth.clone())
            .prop_map(|(class, rate, depth)| Step::Reserve { class, rate, depth }),
        6 => (0usize..3, prop_oneof![Just(100u64), 0u64..=100]).prop_map(|(before, part)| Step::Send { before, part }),
        4 => (0usize..4).prop_map(Step::Close),
        1 => (0usize..2, depth.clone()).prop_map(|(class, depth)| Step::Refused { class, depth }),
        3 => (0u64..100_000).prop_map(Step::Wait),
        2 => (0usize..2, 1000u64..RESERVABLE, depth.clone())
            .prop_map(|(class, rate, depth)| Step::Preempt { class, rate, depth }),
        1 => (0usize..2, depth, 1u64..50_000).prop_map(|(class, depth, after)| Step::Expiring { class, depth, after }),
        1 => prop_oneof![Just(100u64), 0u64..=100].prop_map(Step::Carries),
        1 => Just(Step::Gone),
        1 => prop_oneof![Just(0u64), 0u64..100_000].prop_map(Step::Restart),
    ]
}

proptest! {
    #[test]
    fn no_sequence_of_releases_sends_more_than_the_reservable_rate_and_the_buckets(
        steps in prop::collection::vec(step(), 0..120)
    ) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Reserve { class, rate, depth } => {
                    world.reserve(CLASSES[class], rate, depth);
                }
                Step::Send { before, part } => world.send(before, part),
                Step::Close(place) => world.close(place, true),
                Step::Refused { class, depth } => {
                    if world.reserve(CLASSES[class], 1000, depth).is_some() {
                        world.close(world.flows.len() - 1, false);
                    }
                }
                Step::Wait(micros) => world.pass(micros),
                Step::Preempt { class, rate, depth } => {
                    world.reserve_with(CLASSES[class], (rate, depth), |request| request.setup_priority = Some(0));
                }
                Step::Expiring { class, depth, after } => {
                    world.reserve_with(CLASSES[class], (1000, depth), |request| {
                        request.time_to_live = Some(Micros::new(after));
                    });
                }
                Step::Carries(part) => world.carries(part),
                Step::Gone => {
                    world.feed(Input::Gone { interface: "eth0".into() });
                    world.see();
                }
                Step::Restart(elapsed) => world.restart(elapsed),
            }
        }
        world.check();
    }
}

/// The tokens that a flow starts without.
#[track_caller]
fn owed(world: &mut World, class: &'static str, rate: u64, depth: u64) -> u64 {
    world.reserve(class, rate, depth).unwrap().owed.sending.get()
}

#[test]
fn flows_one_after_another_have_one_bucket() {
    let mut world = World::new();
    while world.now < 3_000_000 {
        world.reserve("a", 100_000, 65_536).unwrap();
        world.send(0, 100);
        world.close(0, true);
        world.now += 1000;
    }
    let sum: u64 = world.sent.iter().map(|(_, size)| size).sum();
    // Each release rounds by a byte, and what was sent first was the bucket.
    assert!((300_000..=65_536 + 300_000).contains(&sum), "{sum}");
}

#[test]
fn a_debt_is_its_classes_and_ends_when_it_would_have_been_refilled() {
    let mut world = World::new();
    assert_eq!(owed(&mut world, "a", 100_000, 50_000), 0);
    world.send(0, 100);
    world.close(0, true);
    assert_eq!(owed(&mut world, "b", 100_000, 50_000), 0, "another class");
    world.now += 250_000;
    assert_eq!(owed(&mut world, "a", 100_000, 10_000), 10_000, "no more than the bucket");
    assert_eq!(owed(&mut world, "a", 100_000, 50_000), 15_000, "the rest");
    assert_eq!(owed(&mut world, "a", 100_000, 50_000), 0, "nothing twice");
    world.now += 1_000_000;
    while !world.flows.is_empty() {
        world.close(0, true);
    }
    assert_eq!(owed(&mut world, "a", 100_000, 50_000), 0, "full buckets owe nothing");
}

#[test]
fn the_debts_of_a_manager_are_those_of_the_one_that_follows_it() {
    for elapsed in [0, 100_000, 250_000] {
        let mut world = World::new();
        world.now = 7_000_000;
        world.reserve("a", 100_000, 50_000).unwrap();
        world.send(0, 100);
        world.restart(elapsed);
        assert_eq!(owed(&mut world, "b", 100_000, 50_000), 0, "another class");
        world.now += 100_000;
        let left = 50_000 - elapsed / 10 - 10_000;
        assert_eq!(owed(&mut world, "a", 100_000, 50_000), left, "after {elapsed} us");
        world.restart(500_000);
        assert_eq!(owed(&mut world, "a", 100_000, 50_000), 0, "and it ends");
    }
}

#[test]
fn a_flow_that_has_ended_and_whose_class_still_holds_packets_owes_once() {
    let mut world = World::new();
    world.reserve("a", 100_000, 50_000).unwrap();
    world.send(0, 60);
    let Flow { id, bucket, .. } = world.flows.remove(0);
    world.spent(id, bucket);
    world.restart(0);
    assert_eq!(owed(&mut world, "a", 100_000, 50_000), 30_000);
}

#[test]
fn a_flow_that_never_connects_returns_the_debt_that_it_took_over() {
    let mut world = World::new();
    world.reserve("a", 100_000, 50_000).unwrap();
    world.send(0, 100);
    world.close(0, true);
    for _ in 0..3 {
        assert_eq!(owed(&mut world, "a", 100_000, 50_000), 50_000);
        world.close(0, false);
    }
}

/// A flow of 50,000 bytes' bucket is empty when `ends` ends it: the next flow of its class starts without them.
#[track_caller]
fn check_lost(how: &str, ends: impl FnOnce(&mut World)) {
    let mut world = World::new();
    world.reserve_with("a", (100_000, 50_000), |request| request.time_to_live = Some(Micros::new(1_000_000)));
    world.pass(999_999);
    world.send(0, 100);
    ends(&mut world);
    assert!(world.flows.is_empty(), "{how}");
    assert_eq!(owed(&mut world, "b", 1000, 50_000), 0, "{how}: another class");
    assert_eq!(owed(&mut world, "a", 1000, 10_000), 10_000, "{how}");
    assert!(owed(&mut world, "a", 1000, 50_000) > 39_000, "{how}: the rest");
}

#[test]
fn a_flow_that_has_lost_its_reservation_owes_as_one_that_has_released_it() {
    check_lost("expired", |world| world.pass(1));
    check_lost("shed", |world| {
        world.carries(0);
        world.carries(100);
    });
    check_lost("link gone", |world| {
        world.feed(Input::Gone { interface: "eth0".into() });
        world.see();
    });
    check_lost("preempted", |world| {
        let preempts = |request: &mut Request| request.setup_priority = Some(0);
        world.reserve_with("b", (RESERVABLE, 1500), preempts).unwrap();
        world.close(0, true);
    });
}

#[test]
fn a_flow_starts_without_what_the_flows_that_it_preempts_have_taken() {
    let mut world = World::new();
    world.reserve("a", 100_000, 50_000).unwrap();
    world.send(0, 100);
    let preempts = |request: &mut Request| request.setup_priority = Some(0);
    let admitted = world.reserve_with("a", (RESERVABLE, 80_000), preempts).unwrap();
    assert_eq!(admitted.owed.sending, Bytes::new(50_000));
    world.close(0, true);
    assert_eq!(owed(&mut world, "a", 1000, 80_000), 50_000, "it returns what it has taken over");
}

#[test]
fn rate_that_is_reserved_refills_no_debt() {
    let mut world = World::new();
    world.reserve("a", 100_000, 50_000).unwrap();
    world.send(0, 100);
    world.close(0, true);
    world.reserve("b", RESERVABLE, 1500).unwrap();
    world.now += 10_000_000;
    world.close(0, true);
    assert_eq!(owed(&mut world, "a", 100_000, 50_000), 50_000);
}
