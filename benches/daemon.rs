//! An admission through the daemon, beside one in the client's process and beside a round trip of as many bytes between two
//! threads: user-space mode, so that the kernel's answers do not count. Then connections of UDP sockets, each by a request and
//! within a slice. Several clients release each flow before the next one. Then the first rows once more while a thread of the
//! lowest priority keeps each core from idling. In the end client and daemon share a core, so that none wakes up for the other.
//!
//! ```text
//! cargo bench --bench daemon
//! ```

#![allow(missing_docs, unsafe_code, clippy::unwrap_used, reason = "a benchmark, which chooses its core")]

mod common;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::Daemon;
use flowspec::{Bytes, Flowspec, Qos, Rate};
use gqos::connect::{Ask, Host, ReservationRequest, Slice, SliceRequest};
use gqos::policy::{Policy, Protocol, Subject};
use nix::libc;
use tokio::runtime::{Builder, Runtime};

const POLICY: &str = "version = 1\n[interface.lo]\nenforcement = \"user-space\"\negress = { capacity = \"10 Gbit/s\", reservable = \"80%\" }\n[daemon]\ncalls_per_second = 1000000\n";

const SAMPLES: usize = 20_000;
const CLIENTS: usize = 8;

/// Connections in all, and how many flows or connections there are at once.
const CONNECTIONS: usize = 4_000;
const AT_ONCE: usize = 200;

fn main() {
    let runtime = runtime();
    let policy: Policy = POLICY.parse().unwrap();
    let local = runtime.block_on(Host::start(policy)).unwrap();
    report("a round trip", &mut round_trips());
    report("in this process", &mut sample(&runtime, &local, SAMPLES));
    runtime.block_on(local.stop());

    let directory = tempfile::tempdir().unwrap();
    let (file, socket) = (directory.path().join("policy.toml"), directory.path().join("gqos.sock"));
    std::fs::write(&file, POLICY).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_gqos"));
    command.arg("daemon").arg("--policy").arg(&file).arg("--socket").arg(&socket);
    // Its log is not what is measured.
    command.stdin(Stdio::null()).stderr(Stdio::null());
    let daemon = Daemon(command.spawn().unwrap());
    let remote = runtime.block_on(connect(&socket));
    report("by the daemon, 1 client", &mut sample(&runtime, &remote, SAMPLES));
    report("connections by requests", &mut connections(&runtime, &remote, None));
    let slice = SliceRequest::new(&ask(), u32::try_from(AT_ONCE).unwrap(), IpAddr::from(Ipv4Addr::LOCALHOST));
    let slice = runtime.block_on(remote.slice(slice)).unwrap();
    report("connections within a slice", &mut connections(&runtime, &remote, Some(&slice)));
    drop(slice);
    runtime.block_on(remote.stop());
    several(&socket);
    let remote = runtime.block_on(connect(&socket));
    {
        let _busy = BusyCores::start();
        report("a round trip, busy cores", &mut round_trips());
        report("by the daemon, busy cores", &mut sample(&runtime, &remote, SAMPLES));
    }
    on_one_core(daemon.0.id());
    report("by the daemon, one core", &mut sample(&runtime, &remote, SAMPLES));
    runtime.block_on(remote.stop());
}

/// The times of a call's and a reply's bytes, over a socket as the daemon's, to a thread that does nothing else.
fn round_trips() -> Vec<Duration> {
    const CALL: usize = 500;
    const REPLY: usize = 1400;
    let (mut here, mut there) = UnixStream::pair().unwrap();
    let answers = std::thread::spawn(move || {
        while there.read_exact(&mut [0; CALL]).is_ok() {
            there.write_all(&[0; REPLY]).unwrap();
        }
    });
    let trip = |_| {
        let start = Instant::now();
        here.write_all(&[0; CALL]).unwrap();
        here.read_exact(&mut [0; REPLY]).unwrap();
        start.elapsed()
    };
    let times = (0..SAMPLES).map(trip).collect();
    drop(here);
    answers.join().unwrap();
    times
}

/// A thread of SCHED_IDLE for each core, which runs where nothing else does: what wakes up finds a core that is awake.
struct BusyCores {
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl BusyCores {
    fn start() -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let spin = |core: usize, is_over: Arc<AtomicBool>| {
            let parameter = libc::sched_param { sched_priority: 0 };
            // SAFETY: the call reads the parameter and keeps no pointer.
            let set = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameter) };
            assert_eq!(set, 0, "SCHED_IDLE");
            run_on(core, [0]);
            while !is_over.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        };
        let threads = cores().into_iter().map(|core| {
            let is_over = Arc::clone(&is_over);
            std::thread::spawn(move || spin(core, is_over))
        });
        let threads = threads.collect();
        Self { is_over, threads }
    }
}

impl Drop for BusyCores {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

/// From now on the daemon and this thread run on the first core that both may use.
fn on_one_core(daemon: u32) {
    let tasks = std::fs::read_dir(format!("/proc/{daemon}/task")).unwrap();
    let threads = tasks.map(|task| task.unwrap().file_name().into_string().unwrap().parse().unwrap());
    run_on(cores()[0], threads.chain([0]));
}

/// The cores that this thread may use.
fn cores() -> Vec<usize> {
    // SAFETY: a set of cores is made of integers, for which all zeroes is a value.
    let mut may = unsafe { std::mem::zeroed::<libc::cpu_set_t>() };
    // SAFETY: the set has this size, and the call keeps no pointer.
    let asked = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut may) };
    assert_eq!(asked, 0);
    let all = 0..libc::CPU_SETSIZE.unsigned_abs() as usize;
    // SAFETY: the number is within the set.
    all.filter(|core| unsafe { libc::CPU_ISSET(*core, &may) }).collect()
}

/// From now on these threads run on the core; 0 is this one.
fn run_on(core: usize, threads: impl IntoIterator<Item = i32>) {
    // SAFETY: a set of cores is made of integers, for which all zeroes is a value.
    let mut one = unsafe { std::mem::zeroed::<libc::cpu_set_t>() };
    // SAFETY: the number is within the set.
    unsafe { libc::CPU_SET(core, &mut one) };
    for thread in threads {
        // SAFETY: the set has this size, and the call keeps no pointer.
        let set = unsafe { libc::sched_setaffinity(thread, size_of::<libc::cpu_set_t>(), &raw const one) };
        assert_eq!(set, 0);
    }
}

/// The times to connect a UDP socket with a reservation.
fn connections(runtime: &Runtime, host: &Host, slice: Option<&Slice>) -> Vec<Duration> {
    let (peer, ask) = (SocketAddr::from((Ipv4Addr::LOCALHOST, 9)), ask());
    runtime.block_on(async {
        let mut times = Vec::with_capacity(CONNECTIONS);
        while times.len() < CONNECTIONS {
            let mut held = Vec::with_capacity(AT_ONCE);
            for _ in 0..AT_ONCE {
                let start = Instant::now();
                held.push(host.connector().connect_udp(peer, &ask).await.unwrap());
                times.push(start.elapsed());
            }
            let is_within = held.iter().all(|connection| {
                let decision = connection.decision().unwrap();
                decision.enforced().unwrap().slice.is_some()
            });
            assert_eq!(is_within, slice.is_some());
            drop(held);
            while slice.is_some_and(|slice| slice.flows() > 0) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        times
    })
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Connects once the daemon listens.
async fn connect(socket: &Path) -> Host {
    for _ in 0..1000 {
        if let Ok(host) = Host::connect_daemon(socket).await {
            return host;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no daemon at {} after 10 s", socket.display());
}

fn ask() -> Ask {
    Ask::qos(Qos::sending(Flowspec::guaranteed(Rate::from_mbit(1), Bytes::new(16_384))))
}

fn request() -> ReservationRequest {
    let subject = Subject { protocol: Protocol::Tcp, local_port: 0, peer: Ipv4Addr::LOCALHOST.into() };
    ReservationRequest::new(ask(), subject)
}

/// The times of admissions. The releases between them do not count: they are carried out before one more admission, which
/// does not count either.
fn sample(runtime: &Runtime, host: &Host, count: usize) -> Vec<Duration> {
    runtime.block_on(async {
        let mut times = Vec::with_capacity(count);
        while times.len() < count {
            let mut held = vec![host.reserve(request()).await.unwrap()];
            for _ in 0..AT_ONCE.min(count - times.len()) {
                let start = Instant::now();
                held.push(host.reserve(request()).await.unwrap());
                times.push(start.elapsed());
            }
        }
        times
    })
}

/// The same, each flow released before the next one.
fn sample_each(runtime: &Runtime, host: &Host, count: usize) -> Vec<Duration> {
    runtime.block_on(async {
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let start = Instant::now();
            let granted = host.reserve(request()).await.unwrap();
            times.push(start.elapsed());
            drop(granted);
        }
        times
    })
}

/// Several clients at once, each with a thread and a connection.
fn several(socket: &Path) {
    let begin = Arc::new(Barrier::new(CLIENTS + 1));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (begin, socket) = (Arc::clone(&begin), socket.to_owned());
            std::thread::spawn(move || {
                let runtime = runtime();
                let host = runtime.block_on(connect(&socket));
                begin.wait();
                sample_each(&runtime, &host, SAMPLES / CLIENTS)
            })
        })
        .collect();
    begin.wait();
    let start = Instant::now();
    let mut times: Vec<_> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    let micros = start.elapsed().as_micros().max(1);
    report(&format!("by the daemon, {CLIENTS} clients"), &mut times);
    // Rounded down.
    println!("{:<28} {} a second", "", u128::try_from(times.len()).unwrap() * 1_000_000 / micros);
}

fn report(name: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |per_mille: usize| times[(times.len() - 1) * per_mille / 1000].as_nanos();
    println!("{name:<28} p50 {} ns, p99 {} ns", at(500), at(990));
}
