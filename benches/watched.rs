//! A daemon that holds 10,000 flows and is watched: what admission pays for `gqos top` and the page, and what a refresh costs.
//!
//! Rounds of reservations alone and of the same while the calls of `gqos top` are made each second and the page's stream is read
//! take turns, so that both see the same machine. User-space mode: the kernel's answers do not count.
//!
//! ```text
//! cargo bench --bench watched
//! ```

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark, which waits for another process"
)]

mod common;

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::Daemon;
use flowspec::{Bytes, Flowspec, Qos, Rate};
use gqos::connect::{Ask, Host, ReservationRequest};
use gqos::control::{Call, FlowOrder, FlowsCall, FrameReader, MethodCall, Reply, StatusCall, encode};
use gqos::policy::{Protocol, Subject};
use tokio::runtime::{Builder, Runtime};

const POLICY: &str = "version = 1\n[daemon]\nflows_per_user = 20000\n[interface.lo]\nenforcement = \"user-space\"\negress = { capacity = \"100 Gbit/s\", reservable = \"80%\" }\n";

const HELD: usize = 10_000;
const ROUNDS: usize = 10;
const SAMPLES: usize = 20_000;

fn main() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let (policy, socket, http) = (path("policy.toml"), path("gqos.sock"), path("http.sock"));
    std::fs::write(&policy, POLICY).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_gqos"));
    command.arg("daemon").arg("--policy").arg(&policy).arg("--socket").arg(&socket).arg("--http").arg(&http);
    // Its log is not what is measured.
    let daemon =
        Daemon(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let host = runtime.block_on(connect(&socket));
    let held: Vec<_> = (0..HELD).map(|_| runtime.block_on(host.reserve(request())).unwrap()).collect();

    let (mut alone, mut watched) = (Vec::new(), Vec::new());
    let (mut refreshes, mut frames) = (Vec::new(), 0);
    for _ in 0..ROUNDS {
        alone.extend(sample(&runtime, &host));
        let watchers = Watchers::start(&socket, &http);
        watched.extend(sample(&runtime, &host));
        let (took, seen) = watchers.end();
        refreshes.extend(took);
        frames += seen;
    }
    report("a reservation alone", &mut alone);
    report("the same, watched", &mut watched);
    let p99 = |times: &[Duration]| times[(times.len() - 1) * 990 / 1000].as_nanos();
    println!("p99 watched of alone: {} per mille", p99(&watched) * 1000 / p99(&alone).max(1));
    report("the calls of top", &mut refreshes);
    println!("{frames} frames of the page\n");
    idle(&daemon, &socket, &http);
    report("the page", &mut (0..50).map(|_| page(&http)).collect::<Vec<_>>());
    drop(held);
    runtime.block_on(host.stop());
}

/// What watching costs the daemon while nothing else happens.
fn idle(daemon: &Daemon, socket: &Path, http: &Path) {
    const SECONDS: u64 = 10;
    let cpu = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        // From the state on: user and kernel time in hundredths of a second.
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let measure = || {
        let before = cpu(daemon.0.id());
        std::thread::sleep(Duration::from_secs(SECONDS));
        (cpu(daemon.0.id()) - before) * 1000 / (SECONDS * 100)
    };
    println!("the daemon, not watched: {} per mille of a core", measure());
    let watchers = Watchers::start(socket, http);
    println!("the daemon, watched: {} per mille of a core", measure());
    let (mut refreshes, _) = watchers.end();
    report("the calls of top, idle", &mut refreshes);
}

/// A terminal and a page that watch.
struct Watchers {
    stop: Arc<AtomicBool>,
    top: JoinHandle<Vec<Duration>>,
    page: JoinHandle<usize>,
}

impl Watchers {
    fn start(socket: &Path, http: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let top = {
            let (stop, mut client) = (Arc::clone(&stop), Client::connect(socket));
            std::thread::spawn(move || {
                let mut took = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    client.refresh();
                    took.push(began.elapsed());
                    pause(&stop);
                }
                took
            })
        };
        let page = {
            let (stop, http) = (Arc::clone(&stop), http.to_owned());
            std::thread::spawn(move || follow_page(&stop, &http))
        };
        Self { stop, top, page }
    }

    fn end(self) -> (Vec<Duration>, usize) {
        self.stop.store(true, Ordering::Relaxed);
        (self.top.join().unwrap(), self.page.join().unwrap())
    }
}

/// A second, or until the end.
fn pause(stop: &AtomicBool) {
    for _ in 0..100 {
        if !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Reads the page's stream, and counts its frames.
fn follow_page(stop: &AtomicBool, http: &PathBuf) -> usize {
    let mut stream = UnixStream::connect(http).unwrap();
    stream.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    let (mut buffer, mut frames) = (vec![0; 1 << 16], 0);
    while !stop.load(Ordering::Relaxed) {
        if let Ok(read) = stream.read(&mut buffer) {
            frames += buffer[..read].windows(6).filter(|bytes| bytes == b"data: ").count();
        }
    }
    frames
}

/// The time until the whole page is there.
fn page(http: &Path) -> Duration {
    let mut stream = UnixStream::connect(http).unwrap();
    let began = Instant::now();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = Vec::new();
    stream.read_to_end(&mut page).unwrap();
    assert!(page.ends_with(b"</html>\n"));
    began.elapsed()
}

/// A connection as `gqos top` has one.
struct Client {
    stream: UnixStream,
    frames: FrameReader,
}

impl Client {
    fn connect(socket: &Path) -> Self {
        Self { stream: UnixStream::connect(socket).unwrap(), frames: FrameReader::new(16 << 20) }
    }

    fn refresh(&mut self) {
        self.call(&MethodCall::Status(StatusCall { classes: None, sums: Some(true) }));
        self.call(&MethodCall::Flows(FlowsCall {
            contains: Some(String::new()),
            sort: Some(FlowOrder::Rate),
            first: Some(0),
            most: Some(50),
            traffic: Some(true),
            ..FlowsCall::default()
        }));
    }

    fn call(&mut self, call: &MethodCall) {
        self.stream.write_all(&encode(&Call::new(call)).unwrap()).unwrap();
        let mut buffer = vec![0; 1 << 16];
        loop {
            if let Some(message) = self.frames.next_message().unwrap() {
                let reply = Reply::read(&message).unwrap();
                let continues = reply.continues;
                assert!(reply.parameters::<serde_json::Value>().is_ok());
                if !continues {
                    return;
                }
                continue;
            }
            let read = self.stream.read(&mut buffer).unwrap();
            assert!(read > 0, "the daemon has ended");
            self.frames.push(&buffer[..read]);
        }
    }
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

fn request() -> ReservationRequest {
    let flowspec = Flowspec::guaranteed(Rate::from_mbit(1), Bytes::new(16_384));
    let subject = Subject { protocol: Protocol::Tcp, local_port: 0, peer: Ipv4Addr::LOCALHOST.into() };
    ReservationRequest::new(Ask::qos(Qos::sending(flowspec)), subject)
}

/// The times of reservations with their releases.
fn sample(runtime: &Runtime, host: &Host) -> Vec<Duration> {
    runtime.block_on(async {
        let mut times = Vec::with_capacity(SAMPLES);
        for _ in 0..SAMPLES {
            let start = Instant::now();
            drop(host.reserve(request()).await.unwrap());
            times.push(start.elapsed());
        }
        times
    })
}

fn report(name: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |per_mille: usize| times[(times.len() - 1) * per_mille / 1000].as_micros();
    println!(
        "{name:<28} {} times: p50 {} us, p99 {} us, most {} us",
        times.len(),
        at(500),
        at(990),
        at(1000)
    );
}
