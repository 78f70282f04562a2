//! Links that flap and trees that other programs edit, under load: how soon each is repaired, and how long an admitted
//! flow gets nothing.
//!
//! `GQOS_FLAPS=1000 cargo test --test kernel flaps -- --nocapture` lets so many happen on a machine that does nothing else. 99 of
//! 100 are then to be repaired within a second, and an admitted flow is never to get nothing for longer.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use flowspec::{Bytes, Flowspec, Qos, Rate};
use gqos::connect::{Ask, DatagramConnection, Host};
use gqos::lab::{LabNetwork, Site};
use gqos::linux::{Netlink, Veth};
use gqos::tc::HtbClass;

use super::common::{inside, lab_with, policy};

const POLICY: &str = r#"
    version = 1
    [interface.d0]
    egress = { capacity = "100 Mbit/s", reservable = "80%" }
    [class.viewer]
    dead_after = "10 min"
"#;

const FLOW: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 99, 0, 2)), 7000);

/// How long a busy machine may take for what an idle one does within a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// Within this time an idle machine repairs 99 of 100 changes, and an admitted flow sends something.
const REPAIRED: Duration = Duration::from_secs(1);

/// What happens to the link or its tree.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Event {
    DownAndUp,
    MadeAgain,
    ClassDeleted,
    ClassChanged,
    RootDeleted,
}

const EVENTS: [Event; 5] =
    [Event::DownAndUp, Event::ClassDeleted, Event::RootDeleted, Event::ClassChanged, Event::MadeAgain];

type Connected = Arc<Mutex<Option<Arc<DatagramConnection>>>>;

struct Scene {
    network: LabNetwork,
    host: Host,
    kernel: Netlink,
    /// The flow's connection, on which a task sends without end.
    connection: Connected,
}

/// The threads beside the engine: greedy best effort at twice the capacity, and the receiver of the flow.
struct Load {
    stop: Arc<AtomicBool>,
    greedy: JoinHandle<()>,
    receiver: JoinHandle<Vec<Instant>>,
    /// How many datagrams of the flow have arrived.
    arrived: Arc<AtomicUsize>,
}

#[expect(clippy::disallowed_methods, reason = "the test's threads are not those of a runtime")]
fn pause(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}

fn words(command: &str) -> Vec<&str> {
    command.split(' ').collect()
}

/// A link d0 to the other host, with addresses at both ends.
pub(super) fn add_link(network: &LabNetwork) {
    let far = network.client.namespace().duplicate().unwrap();
    let add = async move {
        let veth = Veth { name: "d0", peer: "d1", namespace: &far };
        Netlink::open().unwrap().add_veth(veth).await.unwrap();
    };
    network.server.run(add).unwrap();
    for (site, name, address) in
        [(&network.client, "d1", "10.99.0.2/24"), (&network.server, "d0", "10.99.0.1/24")]
    {
        inside(site, &["ip", "addr", "add", address, "dev", name]);
        inside(site, &["ip", "link", "set", name, "up"]);
    }
}

impl Load {
    fn start(network: &LabNetwork) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let socket = |site: &Site, address: &'static str| {
            let namespace = site.namespace().duplicate().unwrap();
            let bound = std::thread::spawn(move || {
                namespace.enter().unwrap();
                UdpSocket::bind(address).unwrap()
            });
            bound.join().unwrap()
        };
        let (greedy, is_over) = (socket(&network.server, "0.0.0.0:0"), Arc::clone(&stop));
        let greedy = std::thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                // 200 Mbit/s. What does not leave is lost.
                (0..90).for_each(|_| drop(greedy.send_to(&[0; 1400], "10.99.0.2:7001")));
                pause(5);
            }
        });
        let (flow, is_over) = (socket(&network.client, "0.0.0.0:7000"), Arc::clone(&stop));
        flow.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let arrived = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&arrived);
        let receiver = std::thread::spawn(move || {
            let mut arrivals = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                if flow.recv(&mut [0; 2048]).is_ok() {
                    arrivals.push(Instant::now());
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
            arrivals
        });
        Self { stop, greedy, receiver, arrived }
    }

    /// When the datagrams of the flow arrived.
    fn stop(self) -> Vec<Instant> {
        self.stop.store(true, Ordering::Relaxed);
        self.greedy.join().unwrap();
        self.receiver.join().unwrap()
    }
}

impl Scene {
    fn start(network: LabNetwork) -> Self {
        add_link(&network);
        let connection = Connected::default();
        let sends = Arc::clone(&connection);
        let work = async move {
            tokio::spawn(async move {
                loop {
                    let current = sends.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    let sent = match current {
                        Some(connection) => connection.send(&[0; 1000]).await.is_ok(),
                        None => false,
                    };
                    if !sent {
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                }
            });
            (Host::start(policy(POLICY)).await.unwrap(), Netlink::open().unwrap())
        };
        let (host, kernel) = network.server.run(work).unwrap();
        let scene = Self { network, host, kernel, connection };
        scene.connect();
        scene
    }

    /// Reserves 2 Mbit/s, once there is a link with a budget.
    fn connect(&self) {
        let (host, begun) = (self.host.clone(), Instant::now());
        let connect = async move {
            let qos = Qos::sending(Flowspec::guaranteed(Rate::from_mbit(2), Bytes::new(16_384)));
            loop {
                let connected = host.connector().connect_udp(FLOW, &Ask::qos(qos).class("viewer")).await;
                let lacking = |connection: &DatagramConnection| {
                    let decision = connection.decision();
                    decision.is_none_or(|decision| decision.enforced().is_none_or(|it| it.class.is_none()))
                };
                match connected {
                    Ok(connection) if !lacking(&connection) => return connection,
                    Ok(_) | Err(_) => assert!(begun.elapsed() < PATIENCE, "no flow is admitted"),
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let connection = self.network.server.run(connect).unwrap();
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(connection));
    }

    /// The classes of d0; empty where there is no such link, or no tree.
    fn classes(&self) -> Vec<HtbClass> {
        let kernel = self.kernel.clone();
        let read = async move {
            let Ok(link) = kernel.link_by_name("d0").await else { return Vec::new() };
            kernel.classes(link.index).await.unwrap_or_default()
        };
        let mut classes: Vec<_> =
            self.network.server.run(read).unwrap().into_iter().map(|state| state.class).collect();
        classes.sort_by_key(|class| class.handle.to_u32());
        classes
    }

    /// Whether the kernel has these classes, the budget is whole, and the flow is reserved.
    fn is_whole(&self, wanted: Option<&[HtbClass]>) -> bool {
        let host = self.host.clone();
        let report = self.network.server.run(async move { host.report().await.unwrap() }).unwrap();
        let report = report.iter().find(|report| report.interface == "d0").unwrap();
        let totals = &report.status.totals.sending;
        let is_reserved = totals.reserved == Rate::from_mbit(2) && totals.budget == Rate::from_mbit(80);
        let classes = self.classes();
        report.status.kernel.is_ok()
            && is_reserved
            && wanted.map_or(classes.len() == 3, |wanted| wanted == classes)
    }

    fn do_it(&self, command: &str) {
        inside(&self.network.server, &words(command));
    }

    /// Lets an event happen. Returns when it had begun and ended, and when it was repaired.
    fn suffer(&self, event: Event) -> [Instant; 3] {
        let before = self.classes();
        let flow = before[2].handle;
        let begun = Instant::now();
        match event {
            Event::DownAndUp => {
                self.do_it("ip link set d0 down");
                self.do_it("ip link set d0 up");
            }
            Event::MadeAgain => {
                *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = None;
                self.do_it("ip link del d0");
                add_link(&self.network);
            }
            Event::ClassDeleted => self.do_it(&format!("tc class del dev d0 classid {flow}")),
            Event::ClassChanged => {
                self.do_it(&format!("tc class change dev d0 parent 6771:1 classid {flow} htb rate 64kbit"));
            }
            Event::RootDeleted => self.do_it("tc qdisc del dev d0 root"),
        }
        let ended = Instant::now();
        if event == Event::MadeAgain {
            self.connect();
        }
        let wanted = (event != Event::MadeAgain).then_some(&before[..]);
        while !self.is_whole(wanted) {
            assert!(ended.elapsed() < PATIENCE, "{event:?}: {:#?} of {before:#?}", self.classes());
            pause(2);
        }
        [begun, ended, Instant::now()]
    }
}

/// The value below which this part of a hundred of the times is.
fn percentile(times: &mut [Duration], part: usize) -> Duration {
    times.sort();
    times[(times.len() * part / 100).min(times.len() - 1)]
}

#[test]
fn flaps_and_foreign_edits_under_load_are_repaired() {
    let Some(network) = lab_with(100, &["tc", "ip"]) else { return };
    let wanted: Option<usize> = std::env::var("GQOS_FLAPS").ok().map(|count| count.parse().unwrap());
    let count = wanted.unwrap_or(20);
    let scene = Scene::start(network);
    let load = Load::start(&scene.network);
    let mut happened = Vec::new();
    for number in 0..count {
        let event = EVENTS[number % EVENTS.len()];
        happened.push((event, scene.suffer(event)));
    }
    // The events may be over after a few datagrams.
    let repaired = Instant::now();
    while load.arrived.load(Ordering::Relaxed) <= count {
        assert!(repaired.elapsed() < PATIENCE, "the flow does not send");
        pause(2);
    }
    let arrivals = load.stop();
    println!("{:>14} {:>6} {:>12} {:>12} {:>12}", "repaired after", "events", "p50", "p99", "most");
    let mut slow = Vec::new();
    for event in EVENTS {
        let mine = happened.iter().filter(|(happened, _)| *happened == event);
        let mut times: Vec<_> = mine.map(|(_, [_, ended, repaired])| *repaired - *ended).collect();
        let [p50, p99, most] = [50, 99, 100].map(|part| percentile(&mut times, part));
        println!("{:>14} {:>6} {p50:>12.1?} {p99:>12.1?} {most:>12.1?}", format!("{event:?}"), times.len());
        slow.extend((p99 >= REPAIRED).then_some((event, p99)));
    }
    // While the link is down, or there is no flow, nothing can arrive.
    let without_link = |event: &Event| matches!(event, Event::DownAndUp | Event::MadeAgain);
    let mut gaps: Vec<_> = arrivals
        .windows(2)
        .map(|pair| {
            let down = happened.iter().filter(|(event, _)| without_link(event)).map(|(event, times)| {
                let until = if *event == Event::MadeAgain { times[2] } else { times[1] };
                until.min(pair[1]).saturating_duration_since(times[0].max(pair[0]))
            });
            (pair[1] - pair[0]).saturating_sub(down.sum())
        })
        .collect();
    let [p99, most] = [99, 100].map(|part| percentile(&mut gaps, part));
    println!("nothing of the flow arrives for {p99:.1?} (p99 of {}), {most:.1?} at most", gaps.len());
    if wanted.is_some() {
        assert_eq!(slow, [], "repaired late");
        assert!(most < REPAIRED, "nothing of an admitted flow arrives for {most:?}");
    }
    let host = scene.host.clone();
    assert_eq!(scene.classes().len(), 3, "link, default and the flow");
    scene.network.server.run(async move { host.stop().await }).unwrap();
    assert_eq!(scene.classes(), [], "the tree is removed");
}
