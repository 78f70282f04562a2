//! Failures around the provider: a kernel that refuses calls, failed connections by the thousand, and two processes.

#![allow(
    missing_docs,
    unsafe_code,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests wait for other threads, and install a seccomp filter"
)]

mod common;

use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::Arc;

use common::{
    POLICY, Unresponsive, closed_port, datagram, inside, lab_with, listener, policy, stream, unresponsive,
    until_reserved, with,
};
use flowspec::Wsa;
use gqos_winsock::{ConnectOutcome, ConnectRequest, EventObject, EventSet, cleanup, startup_with};
use nix::libc;

/// Makes connect(2) fail with this error on the calling thread, until the thread ends.
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
fn errors_of_connect_2_become_winsock_codes() {
    startup_with(policy(POLICY)).unwrap();
    let (_listener, peer) = listener();
    for (error, code) in [
        (libc::ENETDOWN, Wsa::Enetdown),
        (libc::ENOBUFS, Wsa::Enobufs),
        (libc::ENOMEM, Wsa::Enobufs),
        (libc::EHOSTUNREACH, Wsa::Ehostunreach),
    ] {
        let connecting = std::thread::spawn(move || {
            fail_connect(error);
            stream().connect(peer, &with(10))
        });
        assert_eq!(connecting.join().unwrap(), Err(code));
    }
    until_reserved(0);
    cleanup().unwrap();
}

/// Resident memory of this process, in bytes.
fn memory() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The peers of the connections that are not made.
struct Peers {
    listener: TcpListener,
    listening: SocketAddr,
    closed: SocketAddr,
    unresponsive: Unresponsive,
    /// Signalled for each socket that selects FD_QOS.
    event: EventObject,
}

#[track_caller]
fn refused(peer: SocketAddr, request: &ConnectRequest<'_>, code: Wsa) {
    assert_eq!(stream().connect(peer, request), Err(code));
}

impl Peers {
    fn new() -> Self {
        let (listener, listening) = listener();
        let event = EventObject::new().unwrap();
        Self { listener, listening, closed: closed_port(), unresponsive: unresponsive(), event }
    }

    /// Makes the attempt with this number; the kinds of attempts take turns.
    fn attempt(&self, number: u32) {
        match number % 6 {
            // Rare, since it waits for the reservations of earlier attempts to end.
            _ if number % 500 == 5 => self.wait_for_capacity_and_give_up(),
            0 => refused(self.closed, &with(100), Wsa::Econnrefused),
            1 => refused(self.listening, &with(5000), Wsa::Eopnotsupp),
            2 => {
                let request = ConnectRequest { caller_data: Some(b"x"), ..with(100) };
                refused(self.listening, &request, Wsa::Eprotonosupport);
            }
            3 | 4 => self.close_while_connecting(),
            _ => self.connect_to_a_peer_that_closes(),
        }
        if matches!(number % 500, 4 | 5) {
            until_reserved(0);
        }
    }

    fn wait_for_capacity_and_give_up(&self) {
        let holder = stream();
        assert_eq!(holder.connect(self.listening, &with(990)), Ok(ConnectOutcome::Connected));
        let waiting = stream();
        waiting.select_events(Some(&self.event), EventSet::QOS).unwrap();
        assert_eq!(waiting.connect(self.listening, &with(990)), Err(Wsa::Eopnotsupp));
        drop(self.listener.accept().unwrap());
    }

    fn close_while_connecting(&self) {
        let socket = stream();
        socket.set_nonblocking(true).unwrap();
        assert_eq!(socket.connect(self.unresponsive.address, &with(10)), Err(Wsa::Ewouldblock));
    }

    fn connect_to_a_peer_that_closes(&self) {
        let socket = stream();
        match socket.connect(self.listening, &with(1)) {
            Ok(_) => drop(self.listener.accept().unwrap()),
            // Closed sockets may still hold the whole budget.
            Err(code) => assert_eq!(code, Wsa::Eopnotsupp),
        }
    }

    /// Connects, and cancels that by a close from this thread.
    fn cancel(&self, times: u32) {
        let peer = self.unresponsive.address;
        for _ in 0..times {
            let cancelled = stream();
            let waiting = Arc::clone(&cancelled);
            let thread = std::thread::spawn(move || waiting.connect(peer, &with(10)));
            while cancelled.peer_address().is_err() {
                std::thread::yield_now();
            }
            cancelled.close().unwrap();
            assert_eq!(thread.join().unwrap(), Err(Wsa::Eintr));
        }
    }

    /// Connects while the kernel reports that the peer does not answer.
    fn time_out(&self, times: u32) {
        let peer = self.listening;
        let timing_out = std::thread::spawn(move || {
            fail_connect(libc::ETIMEDOUT);
            (0..times).for_each(|_| refused(peer, &with(900), Wsa::Etimedout));
        });
        timing_out.join().unwrap();
    }
}

/// Attempts that the peer or the ledger refuses, that are cancelled, closed or time out leave the ledger, the
/// descriptors and the memory as they were: a hundred thousand of them under `CI=true`, else a tenth of that.
#[test]
fn failed_connections_leave_nothing() {
    // In a process of its own, whose descriptors and memory no other test changes.
    if std::env::var_os("GQOS_LEAKS").is_none() {
        let mut alone = Command::new(std::env::current_exe().unwrap());
        alone.args(["--exact", "failed_connections_leave_nothing", "--nocapture"]);
        let output = alone.env("GQOS_LEAKS", "1").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    let tenths = if std::env::var_os("CI").is_some() { 10 } else { 1 };
    startup_with(policy(POLICY)).unwrap();
    let peers = Peers::new();
    // By then every list has its final size.
    (0..7_000).for_each(|number| peers.attempt(number));
    peers.cancel(50);
    peers.time_out(50);
    until_reserved(0);
    let (before, open) = (memory(), descriptors());
    (7_000..7_000 + 8_000 * tenths).for_each(|number| peers.attempt(number));
    peers.cancel(200 * tenths);
    peers.time_out(2_000 * tenths);
    until_reserved(0);
    let (after, now_open) = (memory(), descriptors());
    assert!(now_open <= open + 4, "{now_open} descriptors, {open} before");
    assert!(after < before + (8 << 20), "{after} bytes, {before} before");
    drop(peers);
    cleanup().unwrap();
    println!("memory {before} to {after}, descriptors {open} to {now_open}");
}

const KERNEL_POLICY: &str = r#"
version = 1
[interface.gqos-a]
egress = { capacity = "100 Mbit/s", reservable = "80%" }
"#;

/// The second process finds that another one manages the interface, and changes nothing: its reservations are refused,
/// or enforced in user space where the policy shares the interface. Each process has a ledger of its own.
#[test]
fn a_second_process_leaves_the_tree_of_the_first() {
    if let Some(role) = std::env::var_os("GQOS_SECOND") {
        reserve_as(&role.into_string().unwrap());
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
        process.args(["--exact", "a_second_process_leaves_the_tree_of_the_first", "--nocapture"]);
        process.env("GQOS_SECOND", role).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    };
    let tree = || inside(&network.server, &["tc", "class", "show", "dev", "gqos-a"]);
    let mut first = spawn("first");
    let mut out = std::io::BufReader::new(first.stdout.take().unwrap());
    read_until(&mut out, "has 6771:100");
    let before = tree();
    assert!(before.contains("6771:100"), "{before}");
    for (role, expected) in
        [("second", "second is refused"), ("sharing", "another gqos manages the interface")]
    {
        let output = spawn(role).wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains(expected), "{text}");
    }
    assert_eq!(tree(), before, "the tree of the first process is unchanged");
    drop(first.stdin.take());
    assert!(first.wait().unwrap().success());
    assert_eq!(tree(), "", "the first process removes its tree");
}

fn read_until(out: &mut impl std::io::BufRead, wanted: &str) {
    let mut line = String::new();
    while !line.contains(wanted) {
        line.clear();
        assert!(out.read_line(&mut line).unwrap() > 0, "the output ended without {wanted:?}");
    }
}

/// One of the processes: reserves on the interface, and prints what is enforced.
fn reserve_as(role: &str) {
    let shared = if role == "sharing" { "shared = \"user-space\"\n" } else { "" };
    startup_with(policy(&format!("{KERNEL_POLICY}{shared}"))).unwrap();
    let socket = datagram();
    let connected = socket.connect("10.99.0.2:9".parse().unwrap(), &with(1000));
    if role == "second" {
        assert_eq!(connected, Err(Wsa::Eopnotsupp));
        println!("second is refused");
        cleanup().unwrap();
        return;
    }
    assert_eq!(connected, Ok(ConnectOutcome::Connected));
    let enforced = socket.decision().unwrap().enforced().cloned().unwrap();
    let lacking = enforced.lacking_text().unwrap_or_default();
    println!("{role} has {} {lacking}", enforced.class.map_or_else(String::new, |class| class.to_string()));
    if role == "first" {
        // The test closes its end of the pipe to end this process.
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).unwrap();
    }
    cleanup().unwrap();
}
