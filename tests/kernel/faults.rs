//! Netlink calls that fail: each of them once, over a whole life of an engine.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use flowspec::{Errno, Rate};
use gqos::engine::{Ask, Engine, LocalEngine, ReservationRequest};
use gqos::lab::CLIENT_V4;
use gqos::linux::{Faults, Netlink, ReceiveFault};
use gqos::policy::{Protocol, Subject};
use gqos::tc::flow_number;

use super::POLICY;
use super::common::{lab, policy};

/// Which attempts fail, and how.
#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    /// Each send once that is switched on.
    Denied,
    Send {
        at: usize,
        errno: Errno,
    },
    Receive {
        at: usize,
        fault: ReceiveFault,
    },
}

#[derive(Debug)]
struct Injected {
    fault: Fault,
    is_denied: AtomicBool,
    sent: AtomicUsize,
    received: AtomicUsize,
}

impl Injected {
    fn new(fault: Fault) -> Arc<Self> {
        let is_denied = AtomicBool::new(false);
        Arc::new(Self { fault, is_denied, sent: AtomicUsize::new(0), received: AtomicUsize::new(0) })
    }
}

impl Faults for Injected {
    fn send(&self) -> Option<Errno> {
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        match self.fault {
            Fault::Send { at, errno } if at == number => Some(errno),
            Fault::Denied if self.is_denied.load(Ordering::Relaxed) => Some(Errno::EPERM),
            _ => None,
        }
    }

    fn receive(&self) -> Option<ReceiveFault> {
        let number = self.received.fetch_add(1, Ordering::Relaxed);
        match self.fault {
            Fault::Receive { at, fault } if at == number => Some(fault),
            _ => None,
        }
    }
}

fn request(id: &str) -> ReservationRequest {
    let subject = Subject { protocol: Protocol::Udp, local_port: 0, peer: IpAddr::V4(CLIENT_V4) };
    ReservationRequest::new(Ask::template("video").id(id), subject)
}

/// How many classes of flows the kernel has on eth0; `None` where it has no tree of gqos.
async fn leaves(kernel: &Netlink) -> Option<usize> {
    let index = kernel.link_by_name("eth0").await.unwrap().index;
    let observed = kernel.observe(index).await.unwrap().expect("no other program has a root here");
    observed.root().map(|_| observed.classes().filter(|class| flow_number(class.handle).is_some()).count())
}

/// Waits until the kernel has this many classes of flows, and as many flows' rates are reserved.
async fn until(engine: &LocalEngine, kernel: &Netlink, flows: u64, shown: &str) {
    let mut found = (None, Rate::ZERO);
    for _ in 0..3000 {
        let report = engine.report().await.unwrap_or_else(|error| panic!("{shown}: {error}"));
        let status = &report[0].status;
        found = (leaves(kernel).await, status.totals.sending.reserved);
        if found == (usize::try_from(flows).ok(), Rate::from_mbit(6 * flows)) && status.kernel.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{shown}: {flows} flows, but the kernel and the ledger have {found:?}");
}

/// An engine's life with a fault: a start, two admissions, a release in between, and a stop. Ledger and kernel agree
/// after each, and every flow has a class.
async fn live(fault: Fault) -> Arc<Injected> {
    let (faults, kernel) = (Injected::new(fault), Netlink::open().unwrap());
    let netlink = Netlink::open_failing(Arc::clone(&faults) as Arc<dyn Faults>).unwrap();
    let shown = format!("{fault:?}");
    let engine = match LocalEngine::start_on(policy(POLICY), Arc::new(netlink)).await {
        Ok(engine) => engine,
        Err(error) => panic!("{shown}: {error}"),
    };
    until(&engine, &kernel, 0, &shown).await;
    for id in ["first", "second"] {
        let granted = engine.reserve(request(id)).await.unwrap_or_else(|error| panic!("{shown}: {error}"));
        assert!(granted.admitted.class.is_some(), "{shown}: {:?}", granted.decision);
        until(&engine, &kernel, 1, &shown).await;
        drop(granted);
        until(&engine, &kernel, 0, &shown).await;
    }
    engine.stop().await;
    assert_eq!(leaves(&kernel).await, None, "{shown}: the tree is removed");
    faults
}

#[test]
fn one_netlink_call_that_fails_harms_nothing() {
    let Some(network) = lab(100) else { return };
    let work = async {
        let faultless = live(Fault::None).await;
        let (sent, received) =
            (faultless.sent.load(Ordering::Relaxed), faultless.received.load(Ordering::Relaxed));
        assert!(sent > 20 && received > 20, "{faultless:?}");
        for at in 0..sent {
            for errno in [Errno::ENOBUFS, Errno::EINTR, Errno::EPERM, Errno::EBADF] {
                live(Fault::Send { at, errno }).await;
            }
        }
        for at in 0..received {
            for errno in [Errno::EINTR, Errno::ENOMEM, Errno::ENOBUFS] {
                live(Fault::Receive { at, fault: ReceiveFault { errno, is_lost: false } }).await;
            }
            live(Fault::Receive { at, fault: ReceiveFault { errno: Errno::ENOBUFS, is_lost: true } }).await;
        }
    };
    network.server.run(work).unwrap();
}

#[test]
fn a_process_that_may_not_program_any_more_enforces_in_user_space() {
    let Some(network) = lab(100) else { return };
    for enforcement in ["auto", "kernel"] {
        let text = POLICY.replacen("egress", &format!("enforcement = \"{enforcement}\"\n    egress"), 1);
        let work = async move {
            let (faults, kernel) = (Injected::new(Fault::Denied), Netlink::open().unwrap());
            let netlink = Netlink::open_failing(Arc::clone(&faults) as Arc<dyn Faults>).unwrap();
            let engine = LocalEngine::start_on(policy(&text), Arc::new(netlink)).await.unwrap();
            // The route to the peer is known from here on.
            let before = engine.reserve(request("before")).await.unwrap();
            until(&engine, &kernel, 1, "before").await;
            faults.is_denied.store(true, Ordering::Relaxed);
            match (enforcement, engine.reserve(request("denied")).await) {
                ("auto", Ok(granted)) => {
                    assert_eq!(granted.admitted.class, None);
                    let lacking = granted.decision.enforced().unwrap().lacking_text().unwrap();
                    assert!(lacking.contains("EPERM"), "{lacking}");
                }
                ("kernel", Err(error)) => assert!(error.to_string().contains("EPERM"), "{error}"),
                (_, answered) => panic!("{enforcement}: {:?}", answered.map(|granted| granted.decision)),
            }
            faults.is_denied.store(false, Ordering::Relaxed);
            drop(before);
            engine.stop().await;
        };
        network.server.run(work).unwrap();
    }
}
