//! A daemon under churn for a long time: its memory, its descriptors, its classes and its reservations do not grow.
//!
//! `GQOS_SOAK=600 cargo test --test daemon soak -- --nocapture` takes ten minutes, and prints a line a minute.

use std::collections::VecDeque;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gqos::lab::LabNetwork;
use serde_json::json;

use super::client::{Client, POLICY, until};
use super::killed_host::{KilledHost, flow_leaves};
use super::program::classes;

const CLIENTS: u64 = 4;

/// Admissions a second, of all clients together.
const RATE: u64 = 1000;

/// How many flows a client holds at once.
const HELD: usize = 64;

/// Of so many flows of a client one has a socket, and ends with it.
const WITH_SOCKET: usize = 8;

/// Memory that a daemon may take more in the course of time: queues have a limit, and a moment in which the machine is busy
/// fills one for the first time, as that of the log with 4,096 facts. Eight bytes of each of 600,000 admissions would be more.
const MOST_GROWTH_KIB: u64 = 4096;

/// What is counted.
#[derive(Clone, Copy, Debug)]
struct Sample {
    memory_kib: u64,
    descriptors: usize,
    classes: usize,
    reservations: usize,
}

impl Sample {
    fn take(host: &KilledHost, client: &mut Client) -> Self {
        let process = format!("/proc/{}", host.daemon.child.id());
        let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let flows = client.call("Status", json!({})).unwrap()["flows"].as_u64().unwrap();
        Self {
            memory_kib: memory.trim().trim_end_matches(" kB").parse().unwrap(),
            descriptors: std::fs::read_dir(format!("{process}/fd")).unwrap().count(),
            classes: flow_leaves(&classes(&host.network)),
            reservations: usize::try_from(flows).unwrap(),
        }
    }
}

/// A client that makes reservations at its share of the rate, each after the one before and the end of the oldest.
struct Churn<'a> {
    name: u64,
    network: &'a LabNetwork,
    client: Client,
    held: VecDeque<(String, Option<UdpSocket>)>,
    admitted: usize,
}

impl Churn<'_> {
    fn run(mut self, (begun, stop, admitted): (Instant, &AtomicBool, &AtomicU64)) {
        let pause = Duration::from_secs(CLIENTS) / u32::try_from(RATE).unwrap();
        let mut due = begun;
        while !stop.load(Ordering::Relaxed) {
            self.admit();
            admitted.fetch_add(1, Ordering::Relaxed);
            if self.held.len() > HELD {
                self.end_oldest();
            }
            due += pause;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        while !self.held.is_empty() {
            self.end_oldest();
        }
    }

    fn admit(&mut self) {
        let id = format!("{}-{}", self.name, self.admitted);
        self.client.admitted(&id, "video");
        let socket = self.admitted.is_multiple_of(WITH_SOCKET).then(|| {
            let bound = async { UdpSocket::bind("127.0.0.1:0").unwrap() };
            let socket = self.network.server.run(bound).unwrap();
            self.client.call_with(("Attach", json!({ "id": id })), &socket).unwrap();
            socket
        });
        self.admitted += 1;
        self.held.push_back((id, socket));
    }

    fn end_oldest(&mut self) {
        match self.held.pop_front() {
            Some((_, Some(socket))) => drop(socket),
            Some((id, None)) => {
                assert_eq!(self.client.call("Release", json!({ "id": id })), Ok(json!({})))
            }
            None => {}
        }
    }
}

/// So many seconds; ten for one of the samples, or a minute.
fn seconds() -> u64 {
    std::env::var("GQOS_SOAK").map_or(6, |seconds| seconds.parse().unwrap())
}

/// Samples while clients run, from when they hold all that they hold at once.
fn sample(host: &KilledHost, admitted: &AtomicU64) -> Vec<Sample> {
    let whole = Duration::from_secs(seconds());
    let each = (whole / 6).min(Duration::from_secs(60));
    let mut client = host.daemon.client();
    let held = HELD * usize::try_from(CLIENTS).unwrap();
    until("the clients hold their flows", || Sample::take(host, &mut client).reservations >= held);
    let begun = Instant::now();
    let mut samples = Vec::new();
    let mut next = begun + each;
    while begun.elapsed() + each / 2 < whole {
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        next += each;
        let sample = Sample::take(host, &mut client);
        let (after, all) = (begun.elapsed().as_secs(), admitted.load(Ordering::Relaxed));
        println!("{after} s, {all} admissions: {sample:?}");
        samples.push(sample);
    }
    samples
}

/// The samples that a daemon under an even load has: from the first one on nothing grows.
#[track_caller]
fn check_flat(samples: &[Sample]) {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { panic!("no samples") };
    assert!(last.memory_kib <= first.memory_kib + MOST_GROWTH_KIB, "memory grows: {samples:#?}");
    // The connections are the same; each has at most one descriptor on its way, of a flow that begins.
    let passed = usize::try_from(CLIENTS).unwrap();
    assert!(last.descriptors <= first.descriptors + passed, "descriptors grow: {samples:#?}");
    // An end that the kernel reports or a class that is removed may be under way.
    let clients = usize::try_from(CLIENTS).unwrap();
    let most = (HELD + HELD / 2) * clients;
    let is_flat = |sample: &Sample| sample.classes.max(sample.reservations) <= most;
    assert!(samples.iter().all(is_flat), "more than {most} classes or reservations: {samples:#?}");
}

#[test]
fn soak_with_churn_grows_nothing() {
    let policy = POLICY.replace("10 Mbit/s", "64 kbit/s").replace("64 KiB", "4 KiB");
    let Some(host) = KilledHost::start_under(&policy) else { return };
    let (stop, admitted, begun) = (AtomicBool::new(false), AtomicU64::new(0), Instant::now());
    let samples = std::thread::scope(|scope| {
        for name in 0..CLIENTS {
            let client = host.daemon.client();
            let (held, network) = (VecDeque::new(), &host.network);
            let churn = Churn { name, network, client, held, admitted: 0 };
            let shared = (begun, &stop, &admitted);
            scope.spawn(move || churn.run(shared));
        }
        let samples = sample(&host, &admitted);
        stop.store(true, Ordering::Relaxed);
        samples
    });
    let (rate, seconds) = (admitted.load(Ordering::Relaxed) / begun.elapsed().as_secs().max(1), seconds());
    println!("{rate} admissions a second over {seconds} s");
    check_flat(&samples);
    let mut client = host.daemon.client();
    until("nothing is left", || {
        let left = Sample::take(&host, &mut client);
        left.classes == 0 && left.reservations == 0
    });
}
