//! Several clocks in one process: each runtime whose clock a test has stopped shows a time of its own.

#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods, reason = "tests in real time")]

use std::time::Duration;

use shaper::clock;

/// Alone in its file: the first reading of the clock in a process fixes the origin.
#[test]
fn a_clock_behind_the_one_that_fixed_the_origin_does_not_stand_still() {
    let behind =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    std::thread::sleep(Duration::from_millis(20));
    clock::now();
    let elapsed = behind.block_on(async {
        let before = clock::now();
        tokio::time::sleep(Duration::from_millis(5)).await;
        clock::now().as_nanos() - before.as_nanos()
    });
    assert_eq!(elapsed, 5_000_000);
}
