//! A kernel that does not answer about an interface: requests for it are answered in bounded time, and its tree is
//! read and repaired once the kernel answers again.

use std::time::Duration;

use flowspec::{Bytes, Flowspec, Qos, Rate};
use gqos::admission::{NotProgrammed, Reason};
use gqos::engine::{Ask, Engine, InterfaceReport, LocalEngine};
use gqos::failure::Cause;

use super::{POLICY, granted, reason, request, reserved, settle, start};

/// Longer than a call may take, by the clock of the test.
const BOUND: Duration = Duration::from_secs(4);

async fn report(engine: &LocalEngine, interface: &str) -> InterfaceReport {
    let reports = engine.report().await.unwrap();
    reports.into_iter().find(|report| report.interface == interface).unwrap()
}

/// Waits until the kernel has the interface's tree, as far as the engine says.
async fn repaired(engine: &LocalEngine, interface: &str) {
    for _ in 0..200 {
        if report(engine, interface).await.status.kernel.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("after 10 s: {:?}", report(engine, interface).await);
}

fn did_not_answer(why: &NotProgrammed) -> bool {
    matches!(why, NotProgrammed::Kernel(failure) if matches!(failure.cause, Cause::Timeout { .. }))
}

#[tokio::test(start_paused = true)]
async fn flows_of_an_interface_that_hangs_are_enforced_in_user_space_and_get_their_classes_later() {
    for loses_answers in [false, true] {
        let (kernel, engine) = start(POLICY).await;
        kernel.calls().loses_answers = loses_answers;
        let before = granted(&engine, 1, "before", 10).await;
        let ending = granted(&engine, 1, "ending", 10).await;
        kernel.hang(1);
        let first = tokio::time::timeout(BOUND, granted(&engine, 1, "first", 10)).await.unwrap();
        let lacking = first.decision.enforced().unwrap().lacking_text().unwrap();
        assert!(lacking.contains("no answer"), "{lacking}");
        // What follows does not wait at all.
        let at = tokio::time::Instant::now();
        let second = granted(&engine, 1, "second", 10).await;
        drop(ending);
        settle().await;
        assert_eq!(reserved(&engine, "eth1").await, Rate::from_mbit(30));
        assert!(did_not_answer(&report(&engine, "eth1").await.status.kernel.unwrap_err()));
        assert_eq!(at.elapsed(), Duration::ZERO);
        tokio::time::sleep(Duration::from_secs(60)).await;
        kernel.go_on(1);
        repaired(&engine, "eth1").await;
        assert_eq!(kernel.classes(1).len(), 2 + 3, "link, default, and a class for each flow");
        let classes: Vec<_> = [&before, &first, &second].map(|granted| granted.admitted.class).into();
        assert!(classes.iter().all(|class| kernel.classes(1).contains(&class.unwrap())), "{classes:?}");
        let third = granted(&engine, 1, "third", 10).await;
        assert_eq!(third.decision.enforced().unwrap().lacking_text(), None);
        engine.stop().await;
        assert!(kernel.classes(1).is_empty(), "the tree is removed");
    }
}

#[tokio::test(start_paused = true)]
async fn flows_of_an_interface_that_hangs_are_refused_where_the_kernel_is_to_enforce() {
    let text = POLICY.replacen("[interface.\"*\"]", "[interface.\"*\"]\nenforcement = \"kernel\"", 1);
    let (kernel, engine) = start(&text).await;
    let held = granted(&engine, 1, "held", 10).await;
    kernel.hang(1);
    for id in ["first", "second"] {
        let refused = tokio::time::timeout(BOUND, engine.reserve(request(1, id, 10))).await.unwrap();
        assert_eq!(reason(&refused), Some(Reason::TrafficControl), "{id}");
    }
    assert_eq!(reserved(&engine, "eth1").await, Rate::from_mbit(10), "what is held stays");
    kernel.go_on(1);
    repaired(&engine, "eth1").await;
    assert_eq!(kernel.classes(1).len(), 2 + 1);
    assert!(granted(&engine, 1, "third", 10).await.admitted.class.is_some());
    drop(held);
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_interface_that_hangs_before_it_was_read_gets_its_tree_later() {
    let (kernel, engine) = start(POLICY).await;
    kernel.hang(1);
    let first = tokio::time::timeout(BOUND, granted(&engine, 1, "first", 10)).await.unwrap();
    assert_eq!(first.admitted.class, None);
    assert!(did_not_answer(&report(&engine, "eth1").await.status.kernel.unwrap_err()));
    kernel.go_on(1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(granted(&engine, 1, "second", 10).await.admitted.class.is_some());
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_report_of_an_interface_that_hangs_says_so_in_bounded_time() {
    let (kernel, engine) = start(POLICY).await;
    let _held = granted(&engine, 1, "held", 10).await;
    kernel.hang(1);
    let why = tokio::time::timeout(BOUND, report(&engine, "eth1")).await.unwrap().status.kernel.unwrap_err();
    assert!(did_not_answer(&why), "{why}");
    kernel.go_on(1);
    repaired(&engine, "eth1").await;
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_ifb_is_given_more_time_where_the_kernel_was_too_slow_to_set_it_up() {
    let text = POLICY.replacen("egress", "ingress = { capacity = \"100 Mbit/s\" }\negress", 1);
    let (kernel, engine) = start(&text).await;
    let spec = Flowspec::guaranteed(Rate::from_mbit(1), Bytes::new(16_384));
    let mut both = request(1, "both", 1);
    both.ask = Ask::qos(Qos { sending: spec, receiving: spec }).id("both");
    let _held = engine.reserve(both).await.unwrap();
    assert_eq!(report(&engine, "eth1").await.receiving, Some(Ok("gqi1".into())));
    kernel.calls().set_up_takes = Duration::from_secs(10);
    kernel.report_gone(101);
    settle().await;
    assert!(matches!(report(&engine, "eth1").await.receiving, Some(Err(_))));
    for _ in 0..600 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if report(&engine, "eth1").await.receiving == Some(Ok("gqi1".into())) {
            return engine.stop().await;
        }
    }
    panic!("after a minute: {:?}", report(&engine, "eth1").await);
}
