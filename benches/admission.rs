//! The time that the ledger needs for a decision: `cargo bench --bench admission`.
//!
//! Measures one admission and one release with a given number of flows in the ledger, with and without booking windows,
//! a capacity that falls and rises again, requests that preempt flows, one more member of a shared group, and requests
//! that wait. The allocator counts the memory.

#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use flowspec::{Bytes, Direction, Flowspec, Moment, Qos, Rate, ServiceType};
use gqos::admission::{Decision, GroupRequest, Ladder, Ledger, NewFlow, Operation, Request};
use gqos::policy::{GroupMode, Policy, Source};

/// Counts the bytes that are allocated and not freed.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `GlobalAlloc`, which is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const POLICY: &str = r#"
version = 1
[interface.eth0]
egress = { capacity = "40000 Gbit/s", reservable = "80%" }
on_capacity_drop = "shed"
[class.viewer]
share = "90%"
max_flows = 2000000
max_rate = "20 Mbit/s"
"#;

fn ledger() -> Ledger {
    let (policy, _) = Policy::parse(&[Source { name: "bench", text: POLICY }]).unwrap();
    Ledger::new(Arc::new(policy))
}

fn request(number: u64) -> Request {
    // Rates differ, so that no data structure benefits from equal ones.
    let rate = Rate::new(500_000 + number * 7919 % 1_000_000);
    let qos = Qos::sending(Flowspec::guaranteed(rate, Bytes::new(65_536)));
    Request {
        class: Some("viewer".into()),
        ..Request::new(NewFlow { id: &format!("flow-{number}"), interface: "eth0" }, qos)
    }
}

fn at(micros: u64) -> Option<Moment> {
    Some(Moment::from_micros(micros))
}

fn filled(flows: u64) -> Ledger {
    let mut ledger = ledger();
    for number in 0..flows {
        ledger.admit(&request(number)).unwrap();
    }
    ledger
}

fn admission(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("admit and release");
    for flows in [100, 10_000, 100_000, 990_000] {
        let before = HELD.load(Ordering::Relaxed);
        let mut ledger = filled(flows);
        let held = HELD.load(Ordering::Relaxed) - before;
        println!("{flows} flows: {} bytes a flow", held as u64 / flows);
        let requests: Vec<_> = (0..4096).map(|number| request(2_000_000 + number)).collect();
        let mut next = 0;
        group.bench_function(format!("{flows} flows"), |bencher| {
            bencher.iter(|| {
                next = (next + 1) % requests.len();
                let request = &requests[next];
                black_box(ledger.admit(request).unwrap());
                ledger.release(&request.id).unwrap()
            });
        });
    }
    let mut full = filled(10_000);
    full.set_capacity("eth0", Direction::Receiving, Rate::new(1));
    let qos = Qos::sending(Flowspec::guaranteed(Rate::from_mbit(21), Bytes::new(65_536)));
    let too_fast =
        Request { class: Some("viewer".into()), ..Request::new(NewFlow { id: "x", interface: "eth0" }, qos) };
    group.bench_function("a refusal, 10000 flows", |bencher| {
        bencher.iter(|| full.admit(black_box(&too_fast)))
    });
    group.finish();
}

fn booking(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("book ahead and release");
    // With the interface's budget alone, and with a class's share and count as well: three profiles, not one.
    for (slots, class) in
        [(4_096_u64, None), (131_072, None), (4_096, Some("viewer")), (131_072, Some("viewer"))]
    {
        let mut ledger = ledger();
        let request = |number| Request { class: class.map(str::to_owned), ..request(number) };
        // Each booking starts and ends at its own moments.
        for number in 0..slots / 2 {
            let start = 1_000_000 + number * 7919 % slots * 1000;
            let window = Request { start: at(start), end: at(start + 3_600_000 + number), ..request(number) };
            ledger.admit(&window).unwrap();
        }
        let requests: Vec<_> = (0..4096_u64)
            .map(|number| {
                let start = 1_000_000 + number * 104_729 % slots * 1000 + 17;
                Request { start: at(start), end: at(start + 1_800_000), ..request(2_000_000 + number) }
            })
            .collect();
        let mut next = 0;
        group.bench_function(
            format!("{slots} slots, {}", class.map_or("no class", |_| "a class with limits")),
            |bencher| {
                bencher.iter(|| {
                    next = (next + 1) % requests.len();
                    let request = &requests[next];
                    black_box(ledger.admit(request).unwrap());
                    ledger.release(&request.id).unwrap()
                });
            },
        );
    }
    group.finish();
}

fn capacity(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a capacity falls by half");
    group.sample_size(10);
    let ledger = filled(100_000);
    let half = Rate::new(ledger.totals("eth0").unwrap().sending.reserved.get() * 5 / 8);
    group.bench_function("100000 flows, shed", |bencher| {
        bencher.iter_batched(
            || ledger.clone(),
            |mut ledger| black_box(ledger.set_capacity("eth0", Direction::Sending, half).len()),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

const PREEMPTION: &str = r#"
version = 1
preemption = true
[interface.eth0]
egress = { capacity = "100 Gbit/s", reservable = "80%" }
[class.a]
share = "60 Gbit/s"
[class.b]
share = "20 Gbit/s"
[class.measured]
admission = "measured"
"#;

/// Numbers of flows.
const SIZES: [u64; 3] = [500, 5_000, 50_000];

/// What the interface of [`PREEMPTION`] may reserve.
const BUDGET: u64 = 10_000_000_000;

fn priority(id: &str, priority: u8, rate: u64) -> Request {
    let mut spec = Flowspec::new(ServiceType::ControlledLoad);
    spec.token_rate = Some(Rate::new(rate));
    let request = Request::new(NewFlow { id, interface: "eth0" }, Qos::sending(spec));
    Request { setup_priority: Some(priority), holding_priority: Some(priority), ..request }
}

/// What a flow that may be preempted is besides its rate and its priority.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// It lasts until it is released.
    Lasting,
    /// It ends by itself.
    Windowed,
    /// Another class of the interface is measured.
    BesideMeasured,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Lasting, Self::Windowed, Self::BesideMeasured];

    const fn name(self) -> &'static str {
        match self {
            Self::Lasting => "flows",
            Self::Windowed => "flows with windows",
            Self::BesideMeasured => "flows beside a measured one",
        }
    }

    fn of(self, request: Request, number: u64) -> Request {
        match self {
            Self::Lasting | Self::BesideMeasured => request,
            Self::Windowed => Request { end: at(1_000_000_000 + number), ..request },
        }
    }

    /// An empty ledger; with a measured flow where that is the kind.
    fn ledger(self, policy: &Arc<Policy>) -> Ledger {
        let mut ledger = Ledger::new(Arc::clone(policy));
        if matches!(self, Self::BesideMeasured) {
            ledger.admit(&in_class("measured", priority("m", 0, 10))).unwrap();
        }
        ledger
    }
}

fn in_class(class: &str, request: Request) -> Request {
    Request { class: Some(class.into()), ..request }
}

/// Each row costs about the same whatever the number of flows is.
fn preemption(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("preemption");
    let (policy, _) = Policy::parse(&[Source { name: "bench", text: PREEMPTION }]).unwrap();
    let policy = Arc::new(policy);
    for (kind, flows) in Kind::ALL.into_iter().flat_map(|kind| SIZES.map(|flows| (kind, flows))) {
        let among = format!("{flows} {}", kind.name());
        let rate = (BUDGET - 10) / flows;
        let mut ledger = kind.ledger(&policy);
        for number in 0..flows {
            ledger.admit(&kind.of(priority(&format!("v{number}"), 7, rate), number)).unwrap();
        }
        let too_large = priority("x", 0, 2 * BUDGET);
        group.bench_function(format!("never fits, {among}"), |bencher| {
            bencher.iter(|| ledger.admit(black_box(&too_large)).unwrap_err());
        });
        let one = priority("w", 0, rate);
        group.bench_function(format!("one is preempted and admitted again, {among}"), |bencher| {
            bencher.iter(|| {
                let preempted = ledger.admit(&one).unwrap().preempted;
                ledger.release("w").unwrap();
                ledger.admit(&kind.of(priority(&preempted[0].id, 7, rate), flows)).unwrap()
            });
        });
        // The only flow of the newcomer's class is the most important of those that may be preempted.
        let mut ledger = kind.ledger(&policy);
        for number in 0..flows {
            let flow = in_class("a", priority(&format!("v{number}"), 7, 10));
            ledger.admit(&kind.of(flow, number)).unwrap();
        }
        let other = in_class("b", priority("w", 0, BUDGET / 5));
        let last = kind.of(in_class("b", priority("last", 6, BUDGET / 4)), 0);
        ledger.admit(&last).unwrap();
        group.bench_function(format!("the last is preempted and admitted again, {among}"), |bencher| {
            bencher.iter(|| {
                assert_eq!(ledger.admit(&other).unwrap().preempted.len(), 1);
                ledger.release("w").unwrap();
                ledger.admit(&last).unwrap()
            });
        });
    }
    group.finish();
}

/// Each row costs about the same whatever the number of members is.
fn shared_group(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("shared group");
    let (policy, _) = Policy::parse(&[Source { name: "bench", text: PREEMPTION }]).unwrap();
    let policy = Arc::new(policy);
    for members in SIZES {
        let mut ledger = Ledger::new(Arc::clone(&policy));
        let request = GroupRequest {
            id: "g".into(),
            interface: "eth0".into(),
            class: None,
            mode: GroupMode::Shared,
            qos: Qos::BEST_EFFORT,
        };
        ledger.group(&request).unwrap();
        let member = |id: String, rate| Request { group: Some("g".into()), ..priority(&id, 4, rate) };
        for number in 0..members {
            ledger.admit(&member(format!("v{number}"), 100 + number)).unwrap();
        }
        for (which, rate) in [("a member as others", 100), ("the largest member", 100 + members)] {
            let one_more = member("x".into(), rate);
            group.bench_function(format!("{which} joins {members} and leaves"), |bencher| {
                bencher.iter(|| {
                    ledger.admit(black_box(&one_more)).unwrap();
                    ledger.release("x").unwrap()
                });
            });
        }
    }
    group.finish();
}

/// Numbers of flows that wait; at most 10,000 do.
const WAITING: [u64; 3] = [10, 1_000, 9_999];

fn decide(ledger: &mut Ledger, operation: &Operation) -> Decision {
    ledger.decide(Moment::START, operation).decision
}

/// A request that waits if it is refused.
fn reserve(number: u64) -> Operation {
    let id = format!("w{number}");
    let request = Request { wait: true, client: Some("c".into()), ..priority(&id, 4, BUDGET / 100_000) };
    Operation::Reserve(Box::new(Ladder::from(request)))
}

fn release(id: &str) -> Operation {
    Operation::Release { id: id.to_owned() }
}

/// A full interface and flows that wait for it.
fn with_waiting(policy: &Arc<Policy>, waiting: u64) -> Ledger {
    let mut ledger = Ledger::new(Arc::clone(policy));
    ledger.admit(&priority("rest", 4, BUDGET - BUDGET / 100_000)).unwrap();
    assert!(decide(&mut ledger, &reserve(0)).is_ok());
    for number in 1..=waiting {
        assert!(decide(&mut ledger, &reserve(number)).is_waiting());
    }
    ledger
}

/// A full interface and flows that wait for it, each for another window.
fn with_waiting_later(policy: &Arc<Policy>, waiting: u64) -> Ledger {
    let mut ledger = Ledger::new(Arc::clone(policy));
    ledger.admit(&priority("rest", 4, BUDGET - 1)).unwrap();
    for number in 1..=waiting {
        let moment = |number: u64| Some(Moment::from_micros(1_000 * number));
        let id = format!("w{number}");
        let request =
            Request { wait: true, start: moment(number), end: moment(number + 1), ..priority(&id, 4, 2) };
        let operation = Operation::Reserve(Box::new(Ladder::from(request)));
        assert!(decide(&mut ledger, &operation).is_waiting());
    }
    ledger
}

/// Each row costs about the same whatever the number of waiting flows is, once there are sixteen: so many are notified at
/// once, and each of them is looked at again. Of those that wait for windows of their own, 64 are looked at.
fn waiting(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("waiting");
    let (policy, _) = Policy::parse(&[Source { name: "bench", text: PREEMPTION }]).unwrap();
    let policy = Arc::new(policy);
    for waiting in WAITING {
        let mut ledger = with_waiting(&policy, waiting);
        let one_more = reserve(waiting + 1);
        group.bench_function(format!("one more waits and withdraws, {waiting} wait"), |bencher| {
            bencher.iter(|| {
                assert!(decide(&mut ledger, black_box(&one_more)).is_waiting());
                decide(&mut ledger, &release(&format!("w{}", waiting + 1)))
            });
        });
        let (mut oldest, mut newest) = (0, waiting);
        group.bench_function(
            format!("a release notifies the first, which reserves, {waiting} wait"),
            |bencher| {
                bencher.iter(|| {
                    assert_eq!(decide(&mut ledger, &release(&format!("w{oldest}"))).notified.len(), 1);
                    (oldest, newest) = (oldest + 1, newest + 1);
                    assert!(decide(&mut ledger, &reserve(oldest)).is_ok());
                    decide(&mut ledger, &reserve(newest))
                });
            },
        );
        let mut ledger = with_waiting(&policy, waiting);
        decide(&mut ledger, &release("rest"));
        let another = Operation::Reserve(Box::new(Ladder::from(priority("x", 4, 1))));
        group.bench_function(format!("one is reserved and released, {waiting} may be notified"), |bencher| {
            bencher.iter(|| {
                assert!(decide(&mut ledger, black_box(&another)).is_ok());
                decide(&mut ledger, &release("x"))
            });
        });
        let mut ledger = with_waiting_later(&policy, waiting);
        group.bench_function(
            format!("one is reserved and released, {waiting} wait for windows of their own"),
            |bencher| {
                bencher.iter(|| {
                    assert!(decide(&mut ledger, black_box(&another)).is_ok());
                    decide(&mut ledger, &release("x"))
                });
            },
        );
    }
    group.finish();
}

criterion_group!(benches, admission, booking, capacity, preemption, shared_group, waiting);
criterion_main!(benches);
