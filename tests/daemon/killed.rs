//! A daemon that is killed at each of its system calls: of its start, of requests, a release, a reload and its stop, and of a
//! start that adopts what a killed daemon has left. strace kills it, before the kernel carries out the call.
//!
//! `cargo test --test daemon killed` tries some of them, and each of them with `GQOS_SYSCALLS=all`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use gqos::lab::{CLIENT_V4, LabNetwork};
use nix::libc;
use nix::sys::socket::{getsockopt, sockopt};
use serde_json::{Value, json};

use super::client::{Client, POLICY, until};
use super::common;
use super::killed_host::{asked, flow_leaves, flows, reserved};
use super::program::{Program, classes, command, directory_with};
use super::tracer::{self, Injected, Injection, Point};

/// Half a second is enough for the clients of this test, which are back at once.
const SETTINGS: &str = "[daemon]\ngrace = \"500 ms\"\n";

/// How many points of each life are tried unless all are.
const SAMPLE: usize = 12;

const WORKERS: usize = 2;

/// What a client was told of a flow.
struct Told {
    id: &'static str,
    /// The whole answer to its request.
    answer: Value,
    socket: Option<UdpSocket>,
    /// Whether the state file has all of it: then the next daemon has it with its class.
    is_written: bool,
}

/// A life of a daemon, which may end at any moment.
#[derive(Clone, Copy, Debug)]
enum Life {
    /// From a start with nothing to an end in order.
    Whole,
    /// A start that adopts the flows of a killed daemon.
    Adoption,
}

/// A network and a directory in which daemons live one after another.
struct Place {
    network: LabNetwork,
    directory: tempfile::TempDir,
    /// What the kernel has without a daemon.
    empty: String,
}

/// A daemon under strace.
struct Traced {
    strace: Child,
    socket: PathBuf,
}

/// The daemon has ended in the middle of something.
struct Ended;

impl Place {
    fn new() -> Option<Self> {
        let network = common::lab_with(1000, &["tc", "strace"])?;
        let directory = directory_with(&format!("{POLICY}{SETTINGS}"));
        let empty = kernel(&network);
        Some(Self { network, directory, empty })
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("gqos.sock.state")
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("calls")
    }

    fn start(&self) -> Program {
        Program::start(&self.network, self.directory.path())
    }

    /// Starts a daemon under strace.
    ///
    /// - **Errors**: it ended before it listened.
    fn start_traced(&self, injection: Option<&Injection>) -> (Traced, Result<(), Ended>) {
        let program = command(self.directory.path());
        let namespace = self.network.server.namespace_path();
        let mut command = tracer::command(&namespace, &self.log(), injection);
        command.arg(program.get_program()).args(program.get_args()).current_dir(self.directory.path());
        let mut strace = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(strace.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let started = if line.starts_with("listening on ") { Ok(()) } else { Err(Ended) };
        (Traced { strace, socket: self.directory.path().join("gqos.sock") }, started)
    }

    fn socket(&self) -> UdpSocket {
        let make = async {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.connect((CLIENT_V4, 9)).unwrap();
            socket
        };
        self.network.server.run(make).unwrap()
    }

    /// Waits until the state file has a line with all these words.
    ///
    /// - **Errors**: the daemon has ended before.
    fn until_written(&self, words: &[&str], client: &mut Client) -> Result<(), Ended> {
        let has_line = |text: String| text.lines().any(|line| words.iter().all(|word| line.contains(word)));
        let (mut is_written, mut has_ended) = (false, false);
        until("it is written down or the daemon has ended", || {
            is_written = std::fs::read_to_string(self.state()).is_ok_and(has_line);
            has_ended = client.try_call("Status", json!({})).is_none();
            is_written || has_ended
        });
        if is_written { Ok(()) } else { Err(Ended) }
    }

    /// Requests a flow, and attaches a socket to it.
    fn reserve(&self, client: &mut Client, id: &'static str, told: &mut Vec<Told>) -> Result<(), Ended> {
        let answer = client.try_call("Reserve", asked(id)).ok_or(Ended)?;
        assert_eq!(answer["decision"]["ok"], true, "{answer}");
        let socket = self.socket();
        told.push(Told { id, answer, socket: None, is_written: false });
        let attached = client.try_call_with(("Attach", json!({ "id": id })), &socket);
        let flow = told.last_mut().unwrap();
        flow.socket = Some(socket);
        assert!(attached.ok_or(Ended)?["class"].is_string(), "{id} has its class");
        self.until_written(&[&format!("\"{id}\""), "\"cookie\""], client)?;
        flow.is_written = true;
        Ok(())
    }

    /// A daemon from its start to its end. `told` has what clients were told and have not ended.
    fn live(&self, traced: &mut Traced, told: &mut Vec<Told>) -> Result<(), Ended> {
        let stream = std::os::unix::net::UnixStream::connect(&traced.socket).map_err(|_| Ended)?;
        let daemon = getsockopt(&stream, sockopt::PeerCredentials).unwrap().pid();
        let client = &mut Client::over(stream);
        self.reserve(client, "v1", told)?;
        client.try_call("Commit", json!({ "id": "v1" })).ok_or(Ended)?;
        self.reserve(client, "v2", told)?;
        let group = json!({ "id": "g", "interface": "eth0", "mode": "shared", "template": "video" });
        client.try_call("Group", group).ok_or(Ended)?;
        let mut renegotiated = json!({ "id": "v2" });
        renegotiated["sending"] =
            json!({ "service_type": "guaranteed", "token_rate": 1_250_000, "token_bucket_size": 32_768 });
        client.try_call("Renegotiate", renegotiated).ok_or(Ended)?;
        // It ends, or not, where the daemon is killed meanwhile.
        let mut ending = told.pop().unwrap();
        ending.is_written = false;
        let released = client.try_call("Release", json!({ "id": "v2" }));
        if released.is_none() {
            told.push(ending);
            return Err(Ended);
        }
        drop(ending);
        let policy = self.directory.path().join("policy.toml");
        let text = std::fs::read_to_string(&policy).unwrap();
        let [more, less] = ["80%", "70%"];
        let other = if text.contains(more) { text.replace(more, less) } else { text.replace(less, more) };
        std::fs::write(&policy, other).unwrap();
        client.try_call("Reload", json!({})).ok_or(Ended)?;
        self.reserve(client, "v3", told)?;
        // It ends with its socket.
        drop(told.remove(0));
        let mut held = Some(Vec::new());
        until("a flow ends with its socket", || {
            held = try_flows(client);
            held.as_ref().is_none_or(|held| held.iter().all(|flow| flow["id"] != "v1"))
        });
        held.ok_or(Ended)?;
        // What it has removed or not is all right, once it is told to end.
        told.iter_mut().for_each(|flow| flow.is_written = false);
        // SAFETY: the call takes two numbers; the process is a child of this test's strace, which waits for it.
        assert_eq!(unsafe { libc::kill(daemon, libc::SIGTERM) }, 0);
        let mut status = None;
        until("the daemon ends", || {
            status = traced.strace.try_wait().unwrap();
            status.is_some()
        });
        if status.is_some_and(|status| status.success()) { Ok(()) } else { Err(Ended) }
    }

    /// What a life of this kind begins with.
    fn prepare(&self, life: Life) -> Vec<Told> {
        let mut told = Vec::new();
        if let Life::Adoption = life {
            let mut daemon = self.start();
            let mut client = daemon.client();
            for id in ["v1", "v2"] {
                let reserved = self.reserve(&mut client, id, &mut told);
                assert!(reserved.is_ok(), "nothing kills it");
            }
            client.admitted("loose", "video");
            assert!(self.until_written(&["\"loose\""], &mut client).is_ok(), "nothing kills it");
            daemon.kill();
        }
        told
    }

    /// Lives, with a fault or without one. Whether the daemon was killed, and what clients were told.
    fn attempt(&self, life: Life, injection: Option<&Injection>) -> (bool, Vec<Told>) {
        let mut told = self.prepare(life);
        let (mut traced, started) = self.start_traced(injection);
        let lived = started.and_then(|()| match life {
            Life::Whole => self.live(&mut traced, &mut told),
            Life::Adoption => {
                let stream = std::os::unix::net::UnixStream::connect(&traced.socket).map_err(|_| Ended)?;
                let mut client = Client::over(stream);
                let held = try_flows(&mut client).ok_or(Ended)?;
                self.check_written(&told, &held);
                client.try_call("Status", json!({})).ok_or(Ended).map(drop)
            }
        });
        traced.end();
        (lived.is_err(), told)
    }

    /// Each flow that was written down is there with its class.
    #[track_caller]
    fn check_written(&self, told: &[Told], held: &[Value]) {
        for flow in told.iter().filter(|flow| flow.is_written) {
            let class = &flow.answer["admitted"]["class"];
            let is_flow = |held: &&Value| held["id"] == flow.id && held["class"] == *class;
            assert!(held.iter().any(|held| is_flow(&held)), "{} with {class}: {held:?}", flow.id);
        }
        let text = classes(&self.network);
        let classes: BTreeSet<_> = held.iter().map(|flow| flow["class"].to_string()).collect();
        assert_eq!(classes.len(), held.len(), "no two have one class: {held:?}");
        for class in held.iter().filter_map(|flow| flow["class"].as_str()) {
            let class = format!("htb {} ", class.split(' ').next().unwrap());
            assert!(text.contains(&class), "{class} is not in the kernel: {text}");
        }
    }

    /// The next daemon, after one that has ended in any way: it has what it has to have, and nothing is left in the end.
    fn check_next(&self, mut told: Vec<Told>) {
        let mut daemon = self.start();
        let mut client = daemon.client();
        self.check_written(&told, &flows(&mut client));
        // Clients are back: each flow is admitted, whether it was written down or not.
        for flow in &mut told {
            let mut claim = asked(flow.id);
            claim["epoch"] = flow.answer["epoch"].clone();
            let answer = client.call("Reserve", claim).unwrap();
            assert_eq!(answer["decision"]["ok"], true, "{}: {answer}", flow.id);
            if flow.is_written {
                assert_eq!(answer["admitted"]["class"], flow.answer["admitted"]["class"], "{}", flow.id);
            }
            let socket = flow.socket.get_or_insert_with(|| self.socket());
            client.call_with(("Attach", json!({ "id": flow.id })), socket).unwrap();
        }
        until("what nobody claims has ended, in the ledger and in the kernel", || {
            flows(&mut client).len() == told.len()
                && flow_leaves(&classes(&self.network)) == told.len()
                && reserved(&mut client) == 1_250_000 * u64::try_from(told.len()).unwrap()
        });
        self.check_written(&[], &flows(&mut client));
        drop(told);
        until("nothing is left in the ledger", || {
            flows(&mut client).is_empty() && reserved(&mut client) == 0
        });
        until("nor in the kernel", || flow_leaves(&classes(&self.network)) == 0);
        daemon.signal(libc::SIGTERM);
        assert!(daemon.child.wait().unwrap().success());
        assert_eq!(kernel(&self.network), self.empty, "everything of the daemon is removed");
        assert!(!self.state().exists() && !daemon.socket.exists(), "its files are removed");
    }
}

impl Traced {
    /// Ends strace, and the daemon with it.
    fn end(&mut self) {
        let children = format!("/proc/{0}/task/{0}/children", self.strace.id());
        for process in std::fs::read_to_string(children).unwrap_or_default().split_whitespace() {
            // SAFETY: the call takes two numbers; the process is a child of strace, which has not been waited for.
            unsafe { libc::kill(process.parse().unwrap(), libc::SIGKILL) };
        }
        self.strace.wait().unwrap();
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        self.end();
    }
}

/// The qdiscs, classes, filters and claims in the daemon's namespace, without the numbers of qdiscs that the kernel chooses.
fn kernel(network: &LabNetwork) -> String {
    let shown = "tc qdisc show; tc class show dev eth0; tc filter show dev eth0; ip -o link | wc -l; \
        grep -o '@gqos/interface/[0-9]*' /proc/net/unix; true";
    common::inside(&network.server, &["sh", "-c", shown])
}

/// The reservations; `None` where the connection has ended.
fn try_flows(client: &mut Client) -> Option<Vec<Value>> {
    let call = gqos::control::Call {
        method: "org.gqos.Flows".to_owned(),
        parameters: Some(json!({}).into()),
        more: true,
        ..gqos::control::Call::default()
    };
    client.send_bytes(&gqos::control::encode(&call).unwrap()).ok()?;
    let mut flows = Vec::new();
    loop {
        let reply = client.reply()?;
        flows.extend(reply.parameters?.value()["flows"].as_array()?.clone());
        if !reply.continues {
            return Some(flows);
        }
    }
}

fn is_full() -> bool {
    std::env::var("GQOS_SYSCALLS").as_deref() == Ok("all")
}

/// The points at which a life is killed.
fn kills(place: &Place, life: Life) -> Vec<Injection> {
    let (was_killed, told) = place.attempt(life, None);
    assert!(!was_killed, "nothing kills it");
    let files = ["gqos.sock.state", "gqos.sock.state.new"].map(|name| place.directory.path().join(name));
    let points = points_of_threads(&place.log(), "policy.toml", &files);
    place.check_next(told);
    let kill = |point: Point| Injection { point, what: Injected::Kill };
    let all: Vec<_> = points.into_iter().map(kill).collect();
    println!("{life:?}: {} points", all.len());
    let step = if is_full() { 1 } else { all.len().div_ceil(SAMPLE) };
    all.into_iter().step_by(step).collect()
}

/// The calls of all threads in a log, from the first one that names this text on. A fault comes at the thread that first gets
/// to its number. The calls on the given files, by all threads, are points of their own besides.
fn points_of_threads(log: &Path, from: &str, files: &[PathBuf]) -> Vec<Point> {
    let log = std::fs::read_to_string(log).unwrap();
    let mut counts = BTreeMap::<(&str, &str, bool), usize>::new();
    let (mut points, mut has_begun) = (BTreeSet::new(), false);
    let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
    for (thread, name, call) in log.lines().filter_map(tracer::call) {
        has_begun |= call.contains(from);
        let is_of_file = names.iter().any(|file| call.contains(file));
        for of_file in [false, true].into_iter().filter(|of_file| is_of_file || !of_file) {
            let number = counts.entry((thread, name, of_file)).or_default();
            *number += 1;
            if has_begun && !name.starts_with("exit") {
                points.insert((name, *number, of_file));
            }
        }
    }
    let point = |(name, number, of_file): (&str, usize, bool)| {
        let files = if of_file { files.to_vec() } else { Vec::new() };
        Point { name: name.to_owned(), number, is_netlink: false, returned: 0, files }
    };
    points.into_iter().map(point).collect()
}

/// The message of a panic.
fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// Kills a life at each point, and prints what has gone wrong.
#[track_caller]
fn check(life: Life) {
    let Some(place) = Place::new() else { return };
    let injections = kills(&place, life);
    drop(place);
    let (begun, next) = (Instant::now(), AtomicUsize::new(0));
    let ended = Mutex::new(BTreeMap::<&str, usize>::new());
    std::thread::scope(|threads| {
        for _ in 0..WORKERS {
            threads.spawn(|| {
                let mut place = Place::new().unwrap();
                while let Some(injection) = injections.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // The files that are counted are those of this place.
                    let mut injection = injection.clone();
                    for file in &mut injection.point.files {
                        *file = place.directory.path().join(file.file_name().unwrap());
                    }
                    let attempt = std::panic::AssertUnwindSafe(|| {
                        let (was_killed, told) = place.attempt(life, Some(&injection));
                        place.check_next(told);
                        was_killed
                    });
                    let how = match std::panic::catch_unwind(attempt) {
                        Ok(true) => "killed",
                        Ok(false) => "not reached: fewer calls than without a fault",
                        Err(panic) => {
                            println!("FAULT: {injection}: {}", message(&*panic));
                            place = Place::new().unwrap();
                            "FAULT"
                        }
                    };
                    *ended.lock().unwrap().entry(how).or_default() += 1;
                }
            });
        }
    });
    let ended = ended.into_inner().unwrap();
    println!("{life:?}: {} points in {} s: {ended:?}", injections.len(), begun.elapsed().as_secs());
    assert!(!ended.contains_key("FAULT"), "see above");
    assert!(ended.contains_key("killed"), "no point was reached");
}

#[test]
fn killed_at_a_system_call_of_a_life() {
    check(Life::Whole);
}

#[test]
fn killed_at_a_system_call_of_a_start_that_adopts() {
    check(Life::Adoption);
}
