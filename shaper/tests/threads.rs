//! One control, used by several threads at once.

#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods, reason = "tests in real time")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flowspec::{Bytes, Direction, Flowspec, Rate, TSpec};
use shaper::{Control, Credit, Framing, Plan, Stream};
use tokio::io::AsyncWriteExt;

fn plan(rate: u64) -> Plan {
    let spec = Flowspec::guaranteed(Rate::new(rate), Bytes::new(65_536));
    let tspec = TSpec::new(&spec, Direction::Sending, Bytes::new(1500)).unwrap().unwrap();
    Plan::new(&tspec, Framing::Stream { header: 52, segment: 1448 }).unwrap()
}

#[test]
fn threads_that_share_a_control_share_its_bucket() {
    const RATE: u64 = 10_000_000;
    let (control, passed) = (Control::default(), AtomicU64::new(0));
    control.set(Direction::Sending, Some(plan(RATE)));
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while start.elapsed() < Duration::from_millis(200) {
                    match control.acquire(Direction::Sending, 100_000) {
                        Credit::Granted(payload) => {
                            // Half of the payload passes; the tokens of the rest return to the bucket.
                            control.complete(Direction::Sending, payload, Some(payload / 2));
                            passed.fetch_add(payload as u64 / 2, Ordering::Relaxed);
                        }
                        Credit::Wait(time) => std::thread::sleep(time.min(Duration::from_millis(1))),
                    }
                    control.invariants();
                }
            });
        }
        // The plan is changed to itself, which keeps the tokens.
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(5));
            control.set(Direction::Sending, Some(plan(RATE)));
        }
    });
    let stats = control.stats(Direction::Sending);
    assert_eq!(stats.bytes, passed.load(Ordering::Relaxed));
    let elapsed = start.elapsed();
    let allowed = 65_536 + u64::try_from(elapsed.as_micros()).unwrap() * (RATE / 1_000_000) + 1;
    assert!(stats.charged <= allowed, "{} B in {elapsed:?}, {allowed} B are allowed", stats.charged);
    assert!(stats.charged > 65_536, "{} B in {elapsed:?}: the bucket was not refilled", stats.charged);
}

#[test]
fn a_change_of_plan_from_another_thread_wakes_a_waiting_writer() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let control = Control::default();
    control.set(Direction::Sending, Some(plan(1500)));
    let (client, mut server) = tokio::io::duplex(1 << 20);
    let mut stream = Stream::new(client, control.clone());
    let start = Instant::now();
    let writer = runtime.spawn(async move { stream.write_all(&[0; 200_000]).await });
    let reader = runtime.spawn(async move { tokio::io::copy(&mut server, &mut tokio::io::sink()).await });
    while control.stats(Direction::Sending).waits == 0 {
        std::thread::yield_now();
    }
    control.set(Direction::Sending, None);
    runtime.block_on(async { (writer.await.unwrap().unwrap(), reader.await.unwrap().unwrap()) });
    // At 1500 B/s the rest of the data would take a minute and a half.
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}
