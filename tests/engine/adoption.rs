//! The start of an engine after one that was killed, on a kernel that does not answer or refuses: what flows have stays.

use std::sync::Arc;
use std::time::Duration;

use gqos::engine::{Adoptions, Engine, EngineError, KeptReservations, LocalEngine};
use gqos::tc::{Handle, Op};

use super::common::policy;
use super::kernel::{Shared, TestKernel};
use super::{POLICY, granted};

/// The same with classes that are required.
fn required() -> String {
    POLICY.replacen("[interface.\"*\"]", "[interface.\"*\"]\nenforcement = \"kernel\"", 1)
}

/// What an engine leaves that is killed while flows on eth1 and eth2 hold reservations, and their classes.
fn killed(kernel: &Arc<TestKernel>, text: &str) -> (KeptReservations, [Handle; 2]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let runtime = runtime.unwrap();
    let left = runtime.block_on(async {
        let engine = LocalEngine::start_on(policy(text), Arc::new(Shared(Arc::clone(kernel)))).await.unwrap();
        let first = granted(&engine, 1, "first", 10).await;
        let second = granted(&engine, 2, "second", 10).await;
        let classes = [&first, &second].map(|granted| granted.admitted.class.unwrap());
        let flows = ["first", "second"].map(|id| engine.kept(id).unwrap()).into();
        // Nothing is released.
        std::mem::forget((first, second));
        (KeptReservations { flows, ..KeptReservations::default() }, classes)
    });
    // What it does at its exit is counted, and not done.
    drop(runtime);
    left
}

async fn start(
    kernel: &Arc<TestKernel>,
    text: &str,
    kept: &KeptReservations,
) -> Result<(Arc<LocalEngine>, Adoptions), EngineError> {
    LocalEngine::start_keeping(policy(text), Arc::new(Shared(Arc::clone(kernel))), kept).await
}

/// How many classes were deleted, with their trees or alone.
fn deleted(kernel: &TestKernel, index: u32) -> usize {
    let deletes = |op: &Op| matches!(op, Op::DeleteClass(_) | Op::DeleteRoot(_));
    kernel.count(index, deletes)
}

#[test]
fn a_kernel_that_does_not_answer_at_the_start_costs_no_reservation_and_no_class() {
    for text in [POLICY.to_owned(), required()] {
        let kernel = TestKernel::new();
        let (kept, classes) = killed(&kernel, &text);
        let before = [1, 2].map(|index| deleted(&kernel, index));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.unwrap().block_on(async {
            kernel.hang(1);
            let (engine, adopted) = start(&kernel, &text, &kept).await.unwrap();
            let adopted: Vec<_> = adopted.into_iter().map(Result::unwrap).collect();
            let now: Vec<_> = adopted.iter().map(|granted| granted.admitted.class.unwrap()).collect();
            assert_eq!(now, classes);
            kernel.go_on(1);
            tokio::time::sleep(Duration::from_secs(60)).await;
            let reports = engine.report().await.unwrap();
            assert!(reports.iter().all(|report| report.status.kernel.is_ok() || report.interface == "eth3"));
            assert_eq!([1, 2].map(|index| deleted(&kernel, index)), before, "what flows have stays");
            assert!(kernel.classes(1).contains(&classes[0]));
            drop(adopted);
            engine.stop().await;
        });
    }
}

#[test]
fn a_start_that_fails_deletes_no_class_of_a_flow() {
    let kernel = TestKernel::new();
    let (kept, classes) = killed(&kernel, POLICY);
    let before = deleted(&kernel, 1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.unwrap().block_on(async {
        // The second interface that is looked at.
        kernel.calls().broken.insert(2);
        assert!(start(&kernel, POLICY, &kept).await.is_err());
        assert_eq!(deleted(&kernel, 1), before);
        kernel.calls().broken.clear();
        let (engine, adopted) = start(&kernel, POLICY, &kept).await.unwrap();
        let now: Vec<_> =
            adopted.iter().map(|granted| granted.as_ref().unwrap().admitted.class.unwrap()).collect();
        assert_eq!(now, classes);
        assert_eq!(deleted(&kernel, 1), before);
        drop(adopted);
        engine.stop().await;
    });
}
