//! What goes wrong around the provider: a kernel that fails, a hundred thousand connections that are not made, and
//! two processes.

#![allow(
    missing_docs,
    unsafe_code,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests wait for other threads, and put a filter between themselves and the kernel"
)]

#[path = "../../tests/common/mod.rs"]
mod common;

use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{inside, lab_with, policy};
use flowspec::{Bytes, Flowspec, Qos, Rate, ServiceType, Wsa};
use gqos::admission::Operation;
use gqos_winsock::{
    ConnectOutcome, ConnectRequest, Event, Events, Family, Socket, SocketType, cleanup, startup_with, submit,
};
use nix::libc;

const POLICY: &str = r#"
version = 1
[interface.lo]
egress = { capacity = "10 Mbit/s", reservable = "80%" }
enforcement = "user-space"
"#;

fn tcp() -> Socket {
    Socket::open(Family::Inet, SocketType::Stream).unwrap()
}

fn sending(kilobytes: u64) -> Qos {
    let mut spec = Flowspec::new(ServiceType::Guaranteed);
    spec.token_rate = Some(Rate::new(kilobytes * 1000));
    spec.token_bucket_size = Some(Bytes::new(70_000));
    Qos::sending(spec)
}

fn with(kilobytes: u64) -> ConnectRequest<'static> {
    ConnectRequest { sqos: Some(sending(kilobytes)), ..ConnectRequest::default() }
}

/// Has connect(2) answer this error on the calling thread, for as long as that lives.
fn fail_connect(error: i32) {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let mut filter = [
        // The number of the call is the first word.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        libc::sock_filter {
            code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
            jt: 0,
            jf: 1,
            k: libc::SYS_connect as u32,
        },
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | error as u32),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program and its filter live until the call has copied them.
    let result = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            | libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn what_the_kernel_answers_is_told() {
    startup_with(policy(POLICY)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = listener.local_addr().unwrap();
    for (error, code) in [
        (libc::ENETDOWN, Wsa::Enetdown),
        (libc::ENOBUFS, Wsa::Enobufs),
        (libc::ENOMEM, Wsa::Enobufs),
        (libc::EHOSTUNREACH, Wsa::Ehostunreach),
    ] {
        let connecting = std::thread::spawn(move || {
            fail_connect(error);
            tcp().connect(peer, &with(10))
        });
        assert_eq!(connecting.join().unwrap(), Err(code));
    }
    until_free();
    cleanup().unwrap();
}

/// Nothing is reserved of the loopback any more.
#[track_caller]
fn until_free() {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let free = submit(Operation::Query { interface: "lo".into(), request: None }).unwrap();
        if free.totals["lo"].sending.reserved == Rate::ZERO {
            return;
        }
        assert!(Instant::now() < deadline, "{free:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Pages of memory that are this process's own.
fn memory() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// A hundred thousand connections that are refused by the peer, refused by the ledger, cancelled, closed half-way,
/// put off or forgotten leave the ledger, the descriptors and the memory as they were.
#[test]
fn a_hundred_thousand_connections_that_are_not_made_leave_nothing() {
    // In a process of its own, whose descriptors and memory nobody else has.
    if std::env::var_os("GQOS_LEAKS").is_none() {
        let mut alone = Command::new(std::env::current_exe().unwrap());
        alone.args([
            "--exact",
            "a_hundred_thousand_connections_that_are_not_made_leave_nothing",
            "--nocapture",
        ]);
        let output = alone.env("GQOS_LEAKS", "1").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    startup_with(policy(POLICY)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = listener.local_addr().unwrap();
    let gone = {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap();
        closed.local_addr().unwrap()
    };
    // A listener whose queue is full: a client that connects waits.
    let silent = tcp();
    silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    silent.listen(1).unwrap();
    let full = silent.local_address().unwrap();
    let queued: Vec<_> = (0..8)
        .map(|_| {
            let socket = tcp();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(full, &ConnectRequest::default());
            socket
        })
        .collect();
    let events = Event::new().unwrap();
    let one = |number: u32| {
        let refused = |peer: SocketAddr, asked: &ConnectRequest<'_>, code| {
            assert_eq!(tcp().connect(peer, asked), Err(code), "{number}");
        };
        match number % 6 {
            // Now and then, since it waits for what others have left.
            _ if number % 500 == 5 => {
                let socket = tcp();
                assert_eq!(socket.connect(peer, &with(990)), Ok(ConnectOutcome::Connected));
                let other = tcp();
                other.select_events(Some(&events), Events::QOS).unwrap();
                assert_eq!(
                    other.connect(peer, &with(990)),
                    Err(Wsa::Eopnotsupp),
                    "waits for room, and gives up"
                );
                drop(listener.accept().unwrap());
            }
            0 => refused(gone, &with(100), Wsa::Econnrefused),
            1 => refused(peer, &with(5000), Wsa::Eopnotsupp),
            2 => {
                refused(peer, &ConnectRequest { caller_data: Some(b"x"), ..with(100) }, Wsa::Eprotonosupport)
            }
            // Closed while it is being made.
            3 | 4 => {
                let socket = tcp();
                socket.set_nonblocking(true).unwrap();
                assert_eq!(socket.connect(full, &with(10)), Err(Wsa::Ewouldblock));
            }
            // Made, and closed by the peer before anything was said.
            _ => {
                let socket = tcp();
                let connected = socket.connect(peer, &with(1));
                assert!(
                    connected == Ok(ConnectOutcome::Connected) || connected == Err(Wsa::Eopnotsupp),
                    "{connected:?}"
                );
                if connected.is_ok() {
                    drop(listener.accept().unwrap());
                }
            }
        }
        if matches!(number % 500, 4 | 5) {
            until_free();
        }
    };
    (0..7_000).for_each(one);
    // Those that wait and are cancelled by another thread's close.
    let cancel = |times| {
        for _ in 0..times {
            let cancelled = tcp();
            let waiting = Arc::clone(&cancelled);
            let thread = std::thread::spawn(move || waiting.connect(full, &with(10)));
            let begun = || cancelled.peer_address().is_ok();
            while !begun() {
                std::thread::yield_now();
            }
            cancelled.close().unwrap();
            assert_eq!(thread.join().unwrap(), Err(Wsa::Eintr));
        }
    };
    // Those that nobody answers, by the kernel's word.
    let time_out = |times| {
        let timing_out = std::thread::spawn(move || {
            fail_connect(libc::ETIMEDOUT);
            for _ in 0..times {
                assert_eq!(tcp().connect(peer, &with(900)), Err(Wsa::Etimedout));
            }
        });
        timing_out.join().unwrap();
    };
    cancel(50);
    time_out(50);
    until_free();
    let (before, open) = (memory(), descriptors());
    (7_000..87_000).for_each(one);
    cancel(2_000);
    time_out(20_000);
    until_free();
    let (after, now_open) = (memory(), descriptors());
    assert!(now_open <= open + 4, "{now_open} descriptors, {open} before");
    assert!(after < before + (8 << 20), "{after} bytes, {before} before");
    drop((queued, silent));
    cleanup().unwrap();
    println!("memory {before} to {after}, descriptors {open} to {now_open}");
}

const KERNEL_POLICY: &str = r#"
version = 1
[interface.gqos-a]
egress = { capacity = "100 Mbit/s", reservable = "80%" }
"#;

/// The second process finds the link taken, says so, and takes nothing from the first; each has its own ledger.
#[test]
fn two_processes_do_not_take_each_others_tree() {
    if let Some(role) = std::env::var_os("GQOS_SECOND") {
        second(&role.into_string().unwrap());
        return;
    }
    let Some(network) = lab_with(100, &["ip", "tc"]) else { return };
    for command in [
        "ip link add gqos-a type veth peer name gqos-b",
        "ip addr add 10.99.0.1/24 dev gqos-a",
        "ip link set gqos-a up",
        "ip link set gqos-b up",
    ] {
        inside(&network.server, &command.split(' ').collect::<Vec<_>>());
    }
    let net = format!("--net={}", network.server.namespace_path());
    let spawn = |role: &str| {
        let mut process = Command::new("nsenter");
        process.arg(&net).arg(std::env::current_exe().unwrap());
        process.args(["--exact", "two_processes_do_not_take_each_others_tree", "--nocapture"]);
        process.env("GQOS_SECOND", role).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    };
    let tree = || inside(&network.server, &["tc", "class", "show", "dev", "gqos-a"]);
    let mut first = spawn("first");
    let mut out = std::io::BufReader::new(first.stdout.take().unwrap());
    until_said(&mut out, "has 6771:100");
    let before = tree();
    assert!(before.contains("6771:100"), "{before}");
    let second = spawn("second").wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&second.stdout);
    assert!(second.status.success() && text.contains("another gqos manages the interface"), "{text}");
    assert_eq!(tree(), before, "the first has what it had");
    drop(first.stdin.take());
    assert!(first.wait().unwrap().success());
    assert_eq!(tree(), "", "and takes it back");
}

fn until_said(out: &mut impl std::io::BufRead, wanted: &str) {
    let mut line = String::new();
    while !line.contains(wanted) {
        line.clear();
        assert!(out.read_line(&mut line).unwrap() > 0, "it ended without a word of {wanted:?}");
    }
}

fn second(role: &str) {
    startup_with(policy(KERNEL_POLICY)).unwrap();
    let socket = Socket::open(Family::Inet, SocketType::Datagram).unwrap();
    assert_eq!(socket.connect("10.99.0.2:9".parse().unwrap(), &with(1000)), Ok(ConnectOutcome::Connected));
    let enforced = socket.decision().unwrap().enforced().cloned().unwrap();
    let lacking = enforced.lacking_text().unwrap_or_default();
    println!("{role} has {} {lacking}", enforced.class.unwrap_or_default());
    if role == "first" {
        // The test closes its end once it has seen enough.
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).unwrap();
    }
    cleanup().unwrap();
}
