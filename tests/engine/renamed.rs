//! A link that gets another name while it is looked at by the one before: the answer comes before the event.

use std::time::Duration;

use gqos::engine::{Engine, LocalEngine};
use gqos::manager::Loss;
use gqos::tc::Op;

use super::common::policy;
use super::kernel::TestKernel;
use super::{POLICY, granted, reserved, settle, start};

/// The interface is looked at, since its MTU is another one, and its name leads nowhere.
async fn look_in_vain(kernel: &TestKernel) {
    kernel.calls().renamed.insert(1);
    kernel.report(1, "eth1", 9000);
    for _ in 0..3 {
        settle().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn deletions(kernel: &TestKernel) -> usize {
    kernel.count(1, |op| matches!(op, Op::DeleteRoot(_)))
}

async fn trees(engine: &LocalEngine) -> Vec<String> {
    let reports = engine.report().await.unwrap().into_iter();
    reports.filter(|report| report.status.kernel.is_ok()).map(|report| report.interface).collect()
}

#[tokio::test(start_paused = true)]
async fn a_link_with_a_name_that_the_policy_does_not_have_loses_its_tree() {
    let text = POLICY.replacen("\"*\"", "eth1", 1);
    let (kernel, engine) = start(&text).await;
    let flow = granted(&engine, 1, "flow", 10).await;
    look_in_vain(&kernel).await;
    assert_eq!((deletions(&kernel), flow.reservation.state().lost()), (0, None), "it is not known yet");
    kernel.report(1, "w1", 9000);
    settle().await;
    assert_eq!((deletions(&kernel), trees(&engine).await), (1, Vec::new()));
    assert_eq!(flow.reservation.state().lost().map(|lost| lost.why), Some(Loss::LinkGone));
    assert_eq!(kernel.classes(1), []);
    engine.stop().await;
    assert_eq!(deletions(&kernel), 1);
}

#[tokio::test(start_paused = true)]
async fn a_link_of_which_the_policy_says_the_same_keeps_its_flows() {
    let (kernel, engine) = start(POLICY).await;
    let flow = granted(&engine, 1, "flow", 10).await;
    look_in_vain(&kernel).await;
    kernel.report(1, "w1", 9000);
    settle().await;
    assert_eq!((deletions(&kernel), flow.reservation.state().lost()), (0, None));
    assert_eq!(trees(&engine).await, ["eth1"]);
    assert_eq!(reserved(&engine, "eth1").await, flowspec::Rate::from_mbit(10));
    engine.stop().await;
    assert_eq!(deletions(&kernel), 1);
}

/// The policy that is in use counts, and a reload that drops the interface.
#[tokio::test(start_paused = true)]
async fn a_reload_that_drops_an_interface_deletes_its_tree_after_the_class_of_its_last_flow() {
    let (kernel, engine) = start(&POLICY.replacen("\"*\"", "eth1", 1)).await;
    let flow = granted(&engine, 1, "flow", 10).await;
    let other = POLICY.replacen("\"*\"", "eth5", 1);
    engine.reload(policy(&other)).unwrap();
    settle().await;
    assert_eq!((deletions(&kernel), trees(&engine).await), (0, vec!["eth1".to_owned()]));
    kernel.hang(1);
    drop(flow);
    settle().await;
    assert_eq!(deletions(&kernel), 0, "the kernel has not answered about the class");
    kernel.go_on(1);
    settle().await;
    assert_eq!((deletions(&kernel), trees(&engine).await), (1, Vec::new()));
    engine.stop().await;
    assert_eq!(deletions(&kernel), 1);
}
