//! The time that the ledger needs for a decision: `cargo bench --bench admission`.
//!
//! Measures one admission and one release with a given number of flows in the ledger, with and without booking windows,
//! and a capacity that falls and rises again. The allocator counts the memory.

#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use flowspec::{Bytes, Direction, Flowspec, Moment, Qos, Rate};
use gqos::admission::{Ledger, Request};
use gqos::policy::{Policy, Source};

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
    Request { class: Some("viewer".into()), ..Request::new(format!("flow-{number}"), "eth0", qos) }
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
    let too_fast = Request { class: Some("viewer".into()), ..Request::new("x", "eth0", qos) };
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

criterion_group!(benches, admission, booking, capacity);
criterion_main!(benches);
