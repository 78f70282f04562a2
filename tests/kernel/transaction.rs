//! The classes of a flow in both directions: the kernel has both, or neither.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flowspec::{Bytes, Errno, Flowspec, Qos, Rate};
use gqos::engine::{Ask, Engine, LocalEngine, ReservationRequest};
use gqos::lab::CLIENT_V4;
use gqos::linux::{Faults, Ingress, Netlink, ReceiveFault};
use gqos::policy::{Protocol, Subject};
use gqos::tc::flow_number;

use super::common::{lab, policy};

const POLICY: &str = r#"
    version = 1
    [interface.eth0]
    enforcement = "kernel"
    egress = { capacity = "100 Mbit/s", reservable = "80%" }
    ingress = { capacity = "100 Mbit/s", reservable = "80%" }
"#;

/// The kernel refuses one request with ENOMEM: each attempt at it.
#[derive(Debug)]
struct OneRefused {
    sent: AtomicUsize,
    /// The number of the first attempt that fails.
    from: AtomicUsize,
}

/// How often a request is sent that the kernel refuses like this.
const ATTEMPTS: usize = 8;

impl Faults for OneRefused {
    fn send(&self) -> Option<Errno> {
        let (number, from) = (self.sent.fetch_add(1, Ordering::Relaxed), self.from.load(Ordering::Relaxed));
        (from <= number && number - from < ATTEMPTS).then_some(Errno::ENOMEM)
    }

    fn receive(&self) -> Option<ReceiveFault> {
        None
    }
}

fn both_directions(id: &str) -> ReservationRequest {
    let spec = Flowspec::guaranteed(Rate::from_mbit(6), Bytes::new(65_536));
    let qos = Qos { sending: spec, receiving: spec };
    let subject = Subject { protocol: Protocol::Udp, local_port: 0, peer: IpAddr::V4(CLIENT_V4) };
    ReservationRequest::new(Ask::qos(qos).id(id), subject)
}

/// How many classes of flows there are for what is sent and for what is received; `None` where there is no ifb.
async fn classes(kernel: &Netlink) -> (usize, Option<usize>) {
    let count = async |index| {
        let observed = kernel.observe(index).await.unwrap().expect("no other program has a root here");
        observed.classes().filter(|class| flow_number(class.handle).is_some()).count()
    };
    let index = kernel.link_by_name("eth0").await.unwrap().index;
    let receiving = match kernel.receivers().await.unwrap().get(&index) {
        None => None,
        Some(ifb) => Some(count(*ifb).await),
    };
    (count(index).await, receiving)
}

/// Waits until the kernel has the tree that the engine wants.
async fn settled(engine: &LocalEngine) {
    for _ in 0..3000 {
        if engine.report().await.unwrap()[0].status.kernel.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("after 30 s: {:?}", engine.report().await);
}

#[test]
fn a_request_that_the_kernel_refuses_leaves_neither_class() {
    let Some(network) = lab(100) else { return };
    let work = async {
        let kernel = Netlink::open().unwrap();
        let index = kernel.link_by_name("eth0").await.unwrap().index;
        let faults = Arc::new(OneRefused { sent: AtomicUsize::new(0), from: AtomicUsize::new(usize::MAX) });
        let netlink = Netlink::open_failing(Arc::clone(&faults) as Arc<dyn Faults>).unwrap();
        let engine = LocalEngine::start_on(policy(POLICY), Arc::new(netlink)).await.unwrap();
        let mut points = 0;
        // The first flow makes the ifb, the second one finds it.
        let held = loop {
            settled(&engine).await;
            let before = classes(&kernel).await;
            faults.from.store(faults.sent.load(Ordering::Relaxed) + points, Ordering::Relaxed);
            let answered = engine.reserve(both_directions("v1")).await;
            // Some requests follow the answer.
            settled(&engine).await;
            let is_reached = faults.sent.load(Ordering::Relaxed) > faults.from.load(Ordering::Relaxed);
            faults.from.store(usize::MAX, Ordering::Relaxed);
            match answered {
                Ok(granted) if !is_reached => break granted,
                // A dump that is read again has its answer.
                Ok(granted) => drop(granted),
                Err(error) => {
                    assert!(error.to_string().contains("ENOMEM"), "request {points}: {error}");
                    assert_eq!(classes(&kernel).await, before, "request {points}: {error}");
                }
            }
            settled(&engine).await;
            for _ in 0..3000 {
                if matches!(classes(&kernel).await, (0, None | Some(0))) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let report = &engine.report().await.unwrap()[0];
            let reserved = [&report.status.totals.sending, &report.status.totals.receiving];
            assert!(reserved.iter().all(|total| total.reserved == Rate::ZERO), "{report:?}");
            points += 1;
        };
        assert!(points >= 6, "{points} requests");
        assert_eq!(classes(&kernel).await, (1, Some(1)), "both classes are there with the admission");
        drop(held);
        engine.stop().await;
        assert_eq!(classes(&kernel).await, (0, None));
        assert_eq!(kernel.ingress(index).await.unwrap(), Ingress::Absent);
    };
    network.server.run(work).unwrap();
}
