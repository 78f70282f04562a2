//! What the classes of flows cost: `cargo bench --bench kernel`.
//!
//! Needs root (or CAP_SYS_ADMIN) for two hosts in namespaces of their own. For each number of flows it prints the median and
//! the 99th percentile of the requests that add, change and delete one class, of a reservation and its release, of a
//! connected datagram socket, and of a reservation while reports are read. System time is that of the whole process.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    reason = "a bench"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use flowspec::{Bytes, Flowspec, Micros, Qos, Rate};
use gqos::connect::{Ask, Host};
use gqos::engine::{Engine, LocalEngine, ReservationRequest};
use gqos::lab::{CLIENT_V4, LabNetwork, Site};
use gqos::linux::Netlink;
use gqos::policy::{Policy, Protocol, Source, Subject};
use gqos::tc::{Change, Desired, Framed, Handle, LinkRates, LinkShape, ObservedTree, diff, flow_class};

const POLICY: &str = r#"
    version = 1
    [interface.eth0]
    egress = { capacity = "40 Gbit/s", reservable = "80%" }
"#;

const SIZES: [usize; 4] = [10, 100, 1_000, 2_000];

/// How often each operation is measured.
const ROUNDS: usize = 300;

/// The most classes that a tree has for single flows.
const LARGEST: usize = 1_000;

const SHAPE: LinkShape = LinkShape {
    rates: LinkRates { capacity: Rate::from_mbit(40_000), budget: Rate::from_mbit(32_000) },
    mtu: Bytes::new(1500),
    wait: Micros::new(0),
};

fn main() {
    println!("microseconds: median / 99th percentile; system time of the process for each in brackets");
    let network = LabNetwork::new(Rate::from_mbit(1_000)).unwrap();
    for size in SIZES {
        classes(&network.server, size.min(LARGEST));
    }
    trees(&network.server);
    for size in SIZES {
        reservations(&network.server, size);
        connections(&network.server, size);
    }
}

/// Times of one operation, and the system time of the process meanwhile.
struct Times {
    each: Vec<Duration>,
    system: Duration,
}

impl Times {
    fn print(mut self, name: &str, size: usize) {
        self.each.sort_unstable();
        let micros = |time: Duration| time.as_nanos() as f64 / 1000.0;
        let at = |percent: usize| micros(self.each[(self.each.len() - 1) * percent / 100]);
        let system = micros(self.system) / self.each.len() as f64;
        println!("{size:>6}  {name:<34} {:>9.1} / {:>9.1}  [{system:>8.1}]", at(50), at(99));
    }
}

/// System time that the process has used, all threads together.
fn system_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // The 15th field, in hundredths of a second; the second one may have spaces.
    let after = stat.rsplit_once(") ").unwrap().1;
    let ticks: u64 = after.split(' ').nth(12).unwrap().parse().unwrap();
    Duration::from_millis(ticks * 10)
}

fn timed<T>(times: &mut Vec<Duration>, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let result = work();
    times.push(begun.elapsed());
    result
}

/// Numbers that differ from flow to flow.
fn framed(number: usize) -> Framed {
    let rate = Rate::new(100_000 + number as u64 * 17);
    Framed { rate, charged: rate, peak: None, bucket: Bytes::new(65_536), packet: Bytes::new(1514) }
}

fn class(number: usize) -> Handle {
    flow_class(u16::try_from(number).unwrap())
}

fn tree(leaves: usize) -> Desired {
    let mut tree = Desired::new(SHAPE);
    for number in 0..leaves {
        drop(tree.set_leaf(class(number), Some(framed(number))));
    }
    tree
}

/// Requests of one class, sent by a call that blocks: little else than the kernel's work.
fn classes(site: &Site, size: usize) {
    let work = async move {
        let kernel = Netlink::open().unwrap();
        let index = kernel.link_by_name("eth0").await.unwrap().index;
        let mut tree = tree(size - 1);
        kernel.apply(index, &diff(&tree, &ObservedTree::default())).await.unwrap();
        let [mut adds, mut changes, mut deletions] = [const { Vec::new() }; 3];
        let apply = |times: &mut Vec<_>, change: Change| {
            timed(times, || kernel.apply_blocking(index, &change)).unwrap();
        };
        for _ in 0..ROUNDS {
            apply(&mut adds, tree.set_leaf(class(size - 1), Some(framed(size))));
            apply(&mut changes, tree.set_leaf(class(size - 1), Some(framed(size + 1))));
            apply(&mut deletions, tree.set_leaf(class(size - 1), None));
        }
        for (name, each) in [("add", adds), ("change", changes), ("delete", deletions)] {
            Times { each, system: Duration::ZERO }.print(&format!("{name} a class"), size);
        }
        let mut dumps = Vec::new();
        for _ in 0..20 {
            let begun = Instant::now();
            kernel.classes(index).await.unwrap();
            dumps.push(begun.elapsed());
        }
        Times { each: dumps, system: Duration::ZERO }.print("dump the classes", size);
        kernel.apply(index, &tree.tear_down()).await.unwrap();
    };
    site.run(work).unwrap();
}

/// A tree from nothing, as after another program has deleted it.
fn trees(site: &Site) {
    let work = async {
        let kernel = Netlink::open().unwrap();
        let index = kernel.link_by_name("eth0").await.unwrap().index;
        let tree = tree(500);
        let change = diff(&tree, &ObservedTree::default());
        let (mut each, before) = (Vec::new(), system_time());
        for _ in 0..10 {
            let begun = Instant::now();
            kernel.apply(index, &change).await.unwrap();
            each.push(begun.elapsed());
            kernel.apply(index, &tree.tear_down()).await.unwrap();
        }
        Times { each, system: system_time() - before }.print("a tree from nothing", 500);
    };
    site.run(work).unwrap();
}

fn policy() -> Arc<Policy> {
    Arc::new(Policy::parse(&[Source { name: "bench", text: POLICY }]).unwrap().0)
}

fn request(id: &str) -> ReservationRequest {
    let qos = Qos::sending(Flowspec::guaranteed(Rate::new(100_000), Bytes::new(65_536)));
    let subject = Subject { protocol: Protocol::Udp, local_port: 0, peer: CLIENT_V4.into() };
    ReservationRequest::new(Ask::qos(qos).id(id), subject)
}

/// Reservations on an engine with so many flows, alone and while reports are read.
fn reservations(site: &Site, size: usize) {
    let work = async move {
        let engine = LocalEngine::start(policy()).await.unwrap();
        let mut held = Vec::new();
        for number in 1..size {
            held.push(engine.reserve(request(&format!("f{number}"))).await.unwrap());
        }
        let pairs = async |name: &str| {
            let [mut reserved, mut released] = [const { Vec::new() }; 2];
            let (mut events, before) = (engine.events(), system_time());
            for round in 0..ROUNDS {
                let id = format!("r{round}");
                let begun = Instant::now();
                let granted = engine.reserve(request(&id)).await.unwrap();
                reserved.push(begun.elapsed());
                let begun = Instant::now();
                drop(granted);
                while !serde_json::to_string(&events.next().await).unwrap().contains("flow_released") {}
                released.push(begun.elapsed());
            }
            let system = system_time() - before;
            Times { each: reserved, system }.print(&format!("reserve{name}"), size);
            Times { each: released, system }.print(&format!("release{name}"), size);
        };
        pairs("").await;
        let stop = Arc::new(AtomicBool::new(false));
        let reports = {
            let (engine, stop) = (Arc::clone(&engine), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut each = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    engine.report().await.unwrap();
                    each.push(begun.elapsed());
                }
                each
            })
        };
        pairs(" beside reports").await;
        stop.store(true, Ordering::Relaxed);
        Times { each: reports.await.unwrap(), system: Duration::ZERO }.print("report", size);
        drop(held);
        engine.stop().await;
    };
    site.run(work).unwrap();
}

/// Connected datagram sockets on a host with so many flows.
fn connections(site: &Site, size: usize) {
    let work = async move {
        let host = Host::start(policy()).await.unwrap();
        let ask = |id: String| {
            Ask::qos(Qos::sending(Flowspec::guaranteed(Rate::new(100_000), Bytes::new(65_536)))).id(id)
        };
        let peer = (CLIENT_V4, 5000).into();
        let mut held = Vec::new();
        for number in 1..size {
            held.push(host.connector().connect_udp(peer, &ask(format!("f{number}"))).await.unwrap());
        }
        let (mut each, before) = (Vec::new(), system_time());
        for round in 0..ROUNDS {
            let begun = Instant::now();
            let connection = host.connector().connect_udp(peer, &ask(format!("r{round}"))).await.unwrap();
            each.push(begun.elapsed());
            drop(connection);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Times { each, system: system_time() - before }.print("connect, UDP", size);
        drop(held);
        host.stop().await;
    };
    site.run(work).unwrap();
}
