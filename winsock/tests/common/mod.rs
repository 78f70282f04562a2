//! What the provider's tests share: a policy for loopback, sockets, peers, flow specifications.

#![allow(
    dead_code,
    unused_imports,
    unsafe_code,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "each test file uses its part, and waits for other threads"
)]

#[path = "../../../tests/common/mod.rs"]
mod root;

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use flowspec::{Bytes, Flowspec, Qos, Rate, ServiceType, Wsa};
use gqos::admission::Operation;
use gqos_winsock::{
    ConnectRequest, Endpoint, EventObject, EventSet, Family, Socket, SocketType, submit, wait_for_events,
};
pub(crate) use root::{compiles, inside, installed, lab_with, policy, skip};

/// 8 Mbit/s of loopback can be reserved, enforced in user space alone: that needs no privilege.
pub(crate) const POLICY: &str = r#"
version = 1
[interface.lo]
egress = { capacity = "10 Mbit/s", reservable = "80%" }
enforcement = "user-space"
"#;

/// A TCP socket of a provider that is started.
pub(crate) fn stream() -> Socket {
    Socket::open(Family::Inet, SocketType::Stream).unwrap()
}

/// A UDP socket of a provider that is started.
pub(crate) fn datagram() -> Socket {
    Socket::open(Family::Inet, SocketType::Datagram).unwrap()
}

pub(crate) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// The standard library's listener on a free port of this address.
pub(crate) fn listener_on(host: &str) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((host, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

pub(crate) fn listener() -> (TcpListener, SocketAddr) {
    listener_on("127.0.0.1")
}

/// An address on which nothing listens, for the life of the process: a socket that never listens holds the port, which
/// the kernel would otherwise choose for a socket of another test.
pub(crate) fn closed_port() -> SocketAddr {
    let holder = tokio::net::TcpSocket::new_v4().unwrap();
    holder.bind(address("127.0.0.1:0")).unwrap();
    let port = holder.local_addr().unwrap();
    std::mem::forget(holder);
    port
}

/// An address that answers datagrams by ICMP, for the life of the process: the socket that holds the port is connected
/// to another peer.
pub(crate) fn closed_datagram_port() -> SocketAddr {
    let holder = UdpSocket::bind("127.0.0.1:0").unwrap();
    holder.connect("127.0.0.2:9").unwrap();
    let port = holder.local_addr().unwrap();
    std::mem::forget(holder);
    port
}

/// A call on a socket that waits in a thread of its own.
pub(crate) struct Blocked<T>(JoinHandle<T>);

impl<T: Send + 'static> Blocked<T> {
    /// Makes the call, and returns once its thread sleeps.
    pub(crate) fn start(socket: &Socket, call: impl FnOnce(&Arc<Endpoint>) -> T + Send + 'static) -> Self {
        let (send, started) = std::sync::mpsc::channel();
        let socket = Arc::clone(socket);
        let thread = std::thread::spawn(move || {
            send.send(gqos::linux::namespace::thread_id()).unwrap();
            call(&socket)
        });
        let file = format!("/proc/self/task/{}/stat", started.recv().unwrap());
        let mut asleep = 0;
        // A lock may hold it for a moment: asleep ten times in a row, a millisecond apart, it waits in the call.
        for _ in 0..10_000 {
            let Ok(stat) = std::fs::read_to_string(&file) else { break };
            let state = stat.rsplit(") ").next().unwrap();
            asleep = if state.starts_with('S') { asleep + 1 } else { 0 };
            if asleep == 10 {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Self(thread)
    }

    /// What the call has returned.
    pub(crate) fn join(self) -> T {
        self.0.join().unwrap()
    }
}

/// A listener that answers no further connection: its queue is full, and Linux drops the requests that arrive then.
pub(crate) struct Unresponsive {
    pub(crate) address: SocketAddr,
    _listener: Socket,
    _queued: Vec<Socket>,
}

pub(crate) fn unresponsive() -> Unresponsive {
    let listener = stream();
    listener.bind(address("127.0.0.1:0")).unwrap();
    listener.listen(1).unwrap();
    let address = listener.local_address().unwrap();
    let connecting = || {
        let socket = stream();
        socket.set_nonblocking(true).unwrap();
        let _ = socket.connect(address, &ConnectRequest::default());
        socket
    };
    let queued = (0..8).map(|_| connecting()).collect();
    until_queued(&listener, 2);
    Unresponsive { address, _listener: listener, _queued: queued }
}

/// Waits until this number of connections wait to be accepted: one more than the backlog is a full queue.
fn until_queued(listener: &Socket, count: u32) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while queued(listener.number()) < count {
        assert!(Instant::now() < deadline, "the queue does not fill");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// How many connections wait to be accepted. Source: tcp(7), TCP_INFO, `tcpi_unacked` of a listener.
fn queued(listener: i32) -> u32 {
    // SAFETY: all bytes zero are a value of this structure of numbers.
    let mut info: nix::libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = u32::try_from(size_of_val(&info)).unwrap();
    let to = (&raw mut info).cast();
    // SAFETY: the pointers are those of variables, of which the second holds the size of the first.
    let result = unsafe {
        nix::libc::getsockopt(listener, nix::libc::SOL_TCP, nix::libc::TCP_INFO, to, &raw mut length)
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    info.tcpi_unacked
}

/// Guaranteed service for sending, with a bucket of 70 000 bytes.
pub(crate) fn sending(kilobytes: u64) -> Qos {
    Qos::sending(Flowspec::guaranteed(Rate::new(kilobytes * 1000), Bytes::new(70_000)))
}

pub(crate) fn with_qos(qos: Qos) -> ConnectRequest<'static> {
    ConnectRequest { sqos: Some(qos), ..ConnectRequest::default() }
}

/// A request for [`sending`].
pub(crate) fn with(kilobytes: u64) -> ConnectRequest<'static> {
    with_qos(sending(kilobytes))
}

/// Guaranteed service for datagrams of at most 1000 bytes with their headers: the bucket holds two of them.
pub(crate) fn small_datagrams(rate: u64) -> Qos {
    let mut spec = Flowspec::guaranteed(Rate::new(rate), Bytes::new(2_100));
    spec.max_sdu_size = Some(Bytes::new(1_000));
    Qos::sending(spec)
}

/// Waits until so much of loopback is reserved: a closed socket's reservation ends once its data has left.
#[track_caller]
pub(crate) fn until_reserved(kilobytes: u64) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let free = submit(Operation::Query { interface: "lo".into(), request: None }).unwrap();
        let reserved = free.totals["lo"].sending.reserved.get();
        if reserved == kilobytes * 1000 {
            return;
        }
        assert!(Instant::now() < deadline, "{reserved} B/s are reserved, not {kilobytes} kB/s");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until a network event is recorded, and returns its error.
#[track_caller]
pub(crate) fn wait_for(socket: &Socket, event: &EventObject, wanted: EventSet) -> Option<Wsa> {
    for _ in 0..20 {
        let signalled = wait_for_events(std::slice::from_ref(event), false, Some(Duration::from_secs(5)));
        assert_eq!(signalled, Ok(Some(0)), "{wanted:?} is recorded in time");
        let found = socket.take_events(Some(event)).unwrap();
        if found.events.contains(wanted) {
            return found.errors[wanted.bits().trailing_zeros() as usize];
        }
    }
    panic!("{wanted:?} was not recorded");
}
