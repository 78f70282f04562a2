//! What the provider's tests share: a policy for loopback, sockets, peers, flow specifications.

#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "each test file uses its part, and waits for other threads"
)]

#[path = "../../../tests/common/mod.rs"]
mod root;

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use flowspec::{Bytes, Flowspec, Qos, Rate, ServiceType, Wsa};
use gqos::admission::Operation;
use gqos_winsock::{
    ConnectRequest, EventObject, EventSet, Family, Socket, SocketType, submit, wait_for_events,
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

/// An address on which nothing listens.
pub(crate) fn closed_port() -> SocketAddr {
    listener().1
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
    std::thread::sleep(Duration::from_millis(50));
    Unresponsive { address, _listener: listener, _queued: queued }
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
