//! What the classification of packets costs: `cargo bench --bench classifiers`.
//!
//! Needs root, iproute2, and 10,200 open files. For 10, 1,000 and 10,000 flows it prints the CPU time of a packet for each
//! way to lead the packets of a flow to its class:
//!
//! - `none`: no classification, the packets go to the default class; the others are compared with it;
//! - `SO_PRIORITY`: the class of gqos's own sockets;
//! - `cgroup`: the program of `gqos::linux::classify_cgroup`, one class for all sockets of a control group;
//! - `u32`: the hash tables of `Netlink::classify_flow`;
//! - `flower`: one filter for each flow, by the five-tuple;
//! - `cls_bpf`: one classic program with a binary search by the local port, which has at most 4,096 instructions.
//!
//! A packet is a UDP datagram of 100 bytes. The time is that of the sending thread, in which the kernel also runs the
//! softirq that delivers the packet at the other end of a veth pair, and that of the CPU's ksoftirqd. The ways take turns
//! within each round; the table has the median of the rounds, the median of the differences from `none` in the same round,
//! and the quartiles of these.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    reason = "a bench"
)]

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use flowspec::{Bytes, Micros, Rate};
use gqos::lab::LabNetwork;
use gqos::linux::{CgroupClass, Netlink, classify_cgroup};
use gqos::tc::{
    DEFAULT_CLASS, Desired, Framed, Handle, Leaving, LinkRates, LinkShape, ObservedTree, diff, flow_class,
};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::socket::{setsockopt, sockopt};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

const SIZES: [usize; 3] = [10, 1_000, 10_000];

const ROUNDS: usize = 41;

/// Packets of one way in one round, at least one of each flow.
const PACKETS: usize = 10_000;

/// The most flow classes of a tree: further flows share them.
const LARGEST: usize = 1_000;

/// The flows' local ports begin here.
const FIRST_PORT: u16 = 20_000;
const PEER_PORT: u16 = 5_000;
const CPU: usize = 0;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    None,
    SoPriority,
    Cgroup,
    U32,
    Flower,
    ClsBpf,
}

impl Way {
    const ALL: [Self; 6] =
        [Self::None, Self::SoPriority, Self::Cgroup, Self::U32, Self::Flower, Self::ClsBpf];

    const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::SoPriority => "SO_PRIORITY",
            Self::Cgroup => "cgroup",
            Self::U32 => "u32",
            Self::Flower => "flower",
            Self::ClsBpf => "cls_bpf",
        }
    }

    /// Each way has a veth pair of its own.
    fn device(self) -> String {
        format!("w{}", self as u8)
    }

    fn peer(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 80 + self as u8, 0, 2)
    }

    fn source(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 80 + self as u8, 0, 1)
    }

    /// How many classes its tree has: a control group has one.
    const fn classes(self, flows: usize) -> usize {
        match self {
            Self::Cgroup => 1,
            _ if flows < LARGEST => flows,
            _ => LARGEST,
        }
    }
}

fn main() {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    println!("kernel {}; ns of CPU for each packet; {ROUNDS} rounds of {PACKETS} packets", release.trim());
    println!(
        "{:>7}  {:<12} {:>8} {:>10} {:>17} {:>9}",
        "flows", "way", "median", "over none", "quartiles", "in class"
    );
    let group = Cgroup::join();
    for flows in SIZES {
        match &group {
            Ok(group) => measure(flows, &Ok(group.path.as_path())),
            Err(why) => measure(flows, &Err(why.clone())),
        }
    }
    println!("load average {}", std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim());
}

/// One way as it is set up.
struct Prepared {
    way: Way,
    /// Nanoseconds of each round.
    rounds: Vec<f64>,
}

fn measure(flows: usize, group: &Result<&Path, String>) {
    let network = LabNetwork::new(Rate::from_mbit(1_000)).unwrap();
    let site = &network.server;
    let (mut ways, mut lacking) = (Vec::new(), Vec::new());
    for way in Way::ALL {
        let prepared = site.run(async move { prepare(way, flows).await }).unwrap();
        let prepared = match (way, group) {
            (Way::Cgroup, Err(why)) => Err(why.clone()),
            _ => prepared,
        };
        match prepared {
            Ok(()) => ways.push(Prepared { way, rounds: Vec::new() }),
            Err(why) => lacking.push((way, why)),
        }
    }
    let namespace = site.namespace().duplicate().unwrap();
    let group = group.as_ref().ok().map(|path| path.to_path_buf());
    let sender = std::thread::spawn(move || {
        namespace.enter().unwrap();
        let mut cpus = CpuSet::new();
        cpus.set(CPU).unwrap();
        sched_setaffinity(Pid::from_raw(0), &cpus).unwrap();
        let sockets = sockets(flows);
        // The first round is not counted.
        for round in 0..=ROUNDS {
            for at in 0..ways.len() {
                // Each round begins with another way.
                let number = (at + round) % ways.len();
                let time = ways[number].way.send(&sockets, group.as_deref());
                if round > 0 {
                    ways[number].rounds.push(time);
                }
            }
        }
        ways
    });
    let ways = sender.join().unwrap();
    let none = ways[0].rounds.clone();
    for prepared in &ways {
        let way = prepared.way;
        let in_class = site.run(async move { in_class(way).await }).unwrap();
        prepared.print(flows, &none, in_class);
    }
    for (way, why) in lacking {
        println!("{flows:>7}  {:<12} missing: {why}", way.name());
    }
}

impl Prepared {
    fn print(&self, flows: usize, none: &[f64], in_class: f64) {
        let over: Vec<_> = self.rounds.iter().zip(none).map(|(with, without)| with - without).collect();
        let name = self.way.name();
        let median = at(&self.rounds, 50);
        match self.way {
            Way::None => println!("{flows:>7}  {name:<12} {median:>8.0}"),
            _ => println!(
                "{flows:>7}  {name:<12} {median:>8.0} {:>+10.0} {:>+8.0} {:>+8.0} {:>8.1}%",
                at(&over, 50),
                at(&over, 25),
                at(&over, 75),
                in_class * 100.0
            ),
        }
    }
}

/// The value below which this part of the values is, in percent.
fn at(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() - 1) * percent / 100]
}

impl Way {
    /// Sends the packets of a round by all sockets in turn: nanoseconds of CPU for each.
    fn send(self, sockets: &[UdpSocket], group: Option<&Path>) -> f64 {
        let priority = |class: Handle| class.to_u32().cast_signed();
        let classes = self.classes(sockets.len());
        for (number, socket) in sockets.iter().enumerate() {
            let class = if self == Self::SoPriority { priority(class(number % classes)) } else { 0 };
            setsockopt(socket, sockopt::Priority, &class).unwrap();
        }
        let attached: Option<CgroupClass> = match (self, group) {
            (Self::Cgroup, Some(group)) => Some(classify_cgroup(group, class(0)).unwrap()),
            _ => None,
        };
        let to = SocketAddr::from((self.peer(), PEER_PORT));
        let (mut sent, payload) = (0_u32, [0; 100 - 28]);
        let before = cpu_time();
        while sent < u32::try_from(PACKETS).unwrap() {
            for socket in sockets {
                socket.send_to(&payload, to).unwrap();
            }
            sent += u32::try_from(sockets.len()).unwrap();
        }
        let time = cpu_time() - before;
        drop(attached);
        time.as_nanos() as f64 / f64::from(sent)
    }
}

/// The CPU time of this thread and of the ksoftirqd of its CPU.
fn cpu_time() -> Duration {
    static KSOFTIRQD: std::sync::OnceLock<Option<PathBuf>> = std::sync::OnceLock::new();
    let name = format!("ksoftirqd/{CPU}");
    let stat = KSOFTIRQD.get_or_init(|| {
        let processes = std::fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.path());
        let is_it = |process: &PathBuf| {
            std::fs::read_to_string(process.join("comm")).is_ok_and(|comm| comm.trim() == name)
        };
        processes.into_iter().find(is_it).map(|process| process.join("schedstat"))
    });
    let softirqs = stat.as_ref().and_then(|stat| std::fs::read_to_string(stat).ok());
    let softirqs = softirqs.and_then(|stat| stat.split(' ').next()?.parse().ok()).unwrap_or(0);
    Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap()) + Duration::from_nanos(softirqs)
}

/// One socket for each flow.
fn sockets(flows: usize) -> Vec<UdpSocket> {
    let bound = |number: usize| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port(number))).unwrap();
    (0..flows).map(bound).collect()
}

fn port(flow: usize) -> u16 {
    FIRST_PORT + u16::try_from(flow).unwrap()
}

fn class(number: usize) -> Handle {
    flow_class(u16::try_from(number).unwrap())
}

/// Makes the device of a way with its tree and its filters. The reason where the kernel cannot have them.
async fn prepare(way: Way, flows: usize) -> Result<(), String> {
    let (device, classes) = (way.device(), way.classes(flows));
    for command in [
        format!("ip link add {device} type veth peer name {device}x"),
        format!("ip addr add {}/24 dev {device}", way.source()),
        format!("ip link set {device} up"),
        format!("ip link set {device}x up"),
        format!("ip neigh add {} lladdr 02:00:00:00:00:01 dev {device}", way.peer()),
    ] {
        let words: Vec<_> = command.split(' ').collect();
        run(&words, "")?;
    }
    let kernel = Netlink::open().unwrap();
    let index = kernel.link_by_name(&device).await.unwrap().index;
    let rates = LinkRates { capacity: Rate::from_mbit(40_000), budget: Rate::from_mbit(32_000) };
    let mut tree = Desired::new(LinkShape { rates, mtu: Bytes::new(1500), wait: Micros::new(0) });
    // No class is to run out of tokens.
    let rate = Rate::new(Rate::from_mbit(30_000).get() / classes as u64);
    let (bucket, packet) = (Bytes::new(1 << 20), Bytes::new(1514));
    let traffic = Framed { rate, charged: rate, peak: None, bucket, packet };
    for number in 0..classes {
        drop(tree.set_leaf(class(number), Some(traffic)));
    }
    kernel.apply(index, &diff(&tree, &ObservedTree::default())).await.unwrap();
    match way {
        Way::None | Way::SoPriority | Way::Cgroup => Ok(()),
        Way::U32 => {
            kernel.prepare_flow_filters(index).await.map_err(|failure| failure.to_string())?;
            for flow in 0..flows {
                let peer = SocketAddr::from((way.peer(), PEER_PORT));
                let leaving = Leaving { protocol: 17, local_port: port(flow), peer };
                kernel.classify_flow(index, leaving, class(flow % classes)).await.unwrap();
            }
            Ok(())
        }
        Way::Flower => {
            let mut commands = String::new();
            for flow in 0..flows {
                let (source, peer, port, class) =
                    (way.source(), way.peer(), port(flow), class(flow % classes));
                writeln!(
                    commands,
                    "filter add dev {device} parent 6771: protocol ip pref 1 flower ip_proto udp src_ip {source} src_port {port} dst_ip {peer} dst_port {PEER_PORT} classid {class}"
                )
                .unwrap();
            }
            run(&["tc", "-batch", "-"], &commands)
        }
        Way::ClsBpf => {
            let program = program(way.peer(), flows, classes);
            // BPF_MAXINSNS.
            if program.len() > 4096 {
                return Err(format!(
                    "{} instructions, and a classic program has at most 4096",
                    program.len()
                ));
            }
            let mut text = program.len().to_string();
            for [code, jump, otherwise, value] in program {
                write!(text, ",{code} {jump} {otherwise} {value}").unwrap();
            }
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            let path = file.path().to_str().unwrap();
            let filter =
                format!("tc filter add dev {device} parent 6771: protocol ip pref 1 bpf bytecode-file");
            let words: Vec<_> = filter.split(' ').chain([path]).collect();
            run(&words, "")
        }
    }
}

/// Runs a command of iproute2 in the namespace of this thread. Its first line of errors where it fails.
fn run(words: &[&str], input: &str) -> Result<(), String> {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{}: {error}", words[0]))?;
    // It may end before it has read all.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let first = errors.lines().next().unwrap_or("it fails without a message").to_owned();
    if output.status.success() { Ok(()) } else { Err(first) }
}

/// A classic program that returns the class of a flow by its local port, and 0 for other packets: `struct sock_filter` as
/// numbers. A packet begins with its Ethernet header.
fn program(peer: Ipv4Addr, flows: usize, classes: usize) -> Vec<[u32; 4]> {
    const LOAD_WORD: u32 = 0x20;
    const LOAD_HALF: u32 = 0x28;
    const LOAD_BYTE: u32 = 0x30;
    const EQUAL: u32 = 0x15;
    const AT_LEAST: u32 = 0x35;
    let tests = [
        ([LOAD_BYTE, 0, 0, 23], [EQUAL, 17]),
        ([LOAD_WORD, 0, 0, 30], [EQUAL, u32::from(peer)]),
        ([LOAD_HALF, 0, 0, 36], [EQUAL, u32::from(PEER_PORT)]),
        ([LOAD_HALF, 0, 0, 34], [AT_LEAST, u32::from(port(0))]),
    ];
    let mut program = Vec::new();
    for (number, (load, [test, value])) in tests.into_iter().enumerate() {
        program.push(load);
        // To the return of 0, which is behind these tests and the last one.
        let otherwise = u32::try_from(2 * (tests.len() - 1 - number) + 1).unwrap();
        program.push([test, 0, otherwise, value]);
    }
    // From the port after the last one on.
    program.push([AT_LEAST, 0, 1, u32::from(port(flows - 1)) + 1]);
    program.push([RETURN, 0, 0, 0]);
    program.extend(search(0, flows, classes));
    program
}

const RETURN: u32 = 0x06;

/// A binary search among the flows from `first` on, `count` of them.
fn search(first: usize, count: usize, classes: usize) -> Vec<[u32; 4]> {
    const AT_LEAST: u32 = 0x35;
    const JUMP: u32 = 0x05;
    if count == 1 {
        return vec![[RETURN, 0, 0, class(first % classes).to_u32()]];
    }
    let half = count / 2;
    let (lower, upper) = (search(first, half, classes), search(first + half, count - half, classes));
    let past = u32::try_from(lower.len()).unwrap();
    let mut found = vec![[AT_LEAST, 0, 1, u32::from(port(first + half))], [JUMP, 0, 0, past]];
    found.extend(lower);
    found.extend(upper);
    found
}

/// Which part of the packets of a way's device were in the classes of flows.
async fn in_class(way: Way) -> f64 {
    let kernel = Netlink::open().unwrap();
    let index = kernel.link_by_name(&way.device()).await.unwrap().index;
    let (mut all, mut classified) = (0_u64, 0);
    for state in kernel.classes(index).await.unwrap() {
        let (handle, packets) = (state.class.handle, u64::from(state.sent_packets));
        // The link's class counts what the others do.
        if handle == Handle::qdisc(0x6771).class(1) {
            continue;
        }
        all += packets;
        classified += if handle == DEFAULT_CLASS { 0 } else { packets };
    }
    classified as f64 / all.max(1) as f64
}

/// A control group with this process in it, which leaves it at the end.
struct Cgroup {
    path: PathBuf,
    before: PathBuf,
}

impl Cgroup {
    fn join() -> Result<Self, String> {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let words = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let mount =
            words.into_iter().find(|words| words[2] == "cgroup2").map(|words| PathBuf::from(words[1]));
        let mount = mount.ok_or("no cgroup2 file system is mounted")?;
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default().to_owned();
        let path = mount.join(format!("gqos-bench-{}", std::process::id()));
        std::fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let group = Self { path, before: mount.join(own) };
        group.enter(&group.path)?;
        Ok(group)
    }

    fn enter(&self, path: &Path) -> Result<(), String> {
        let procs = path.join("cgroup.procs");
        std::fs::write(&procs, std::process::id().to_string())
            .map_err(|error| format!("{} beside {}: {error}", procs.display(), self.path.display()))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let left = self.enter(&self.before.clone());
        if left.is_err() || std::fs::remove_dir(&self.path).is_err() {
            eprintln!("{} is left", self.path.display());
        }
    }
}
