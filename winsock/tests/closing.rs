//! Closing: what a program closes is closed when the call returns, and no other file is touched.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests wait for other threads"
)]

mod common;

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::Blocked;
use flowspec::Wsa;
use gqos::policy::Policy;
use gqos_winsock::{
    ConnectRequest, Endpoint, EventObject, EventSet, Family, MessageFlags, PollEvents, Socket, SocketType,
    poll, select, startup_with,
};

/// These tests look at descriptor numbers, which other threads would take.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    let guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    startup_with(Arc::new(Policy::default())).unwrap();
    guard
}

fn open(socket_type: SocketType) -> Socket {
    Socket::open(Family::Inet, socket_type).unwrap()
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A socket on a port that the kernel has chosen.
fn bound(socket_type: SocketType) -> (Socket, u16) {
    let socket = open(socket_type);
    socket.bind(address(0)).unwrap();
    let port = socket.local_address().unwrap().port();
    (socket, port)
}

/// Prepares a socket, closes it, and binds another one to the port, many times.
#[track_caller]
fn check_port_is_free(name: &str, socket_type: SocketType, prepare: impl Fn(&Socket)) {
    for round in 0..100 {
        let (socket, port) = bound(socket_type);
        prepare(&socket);
        socket.close().unwrap();
        assert_eq!(open(socket_type).bind(address(port)), Ok(()), "{name}, round {round}");
    }
}

#[test]
fn a_port_is_free_once_its_socket_is_closed() {
    let _alone = alone();
    let event = EventObject::new().unwrap();
    let all = |socket: &Socket| socket.select_events(Some(&event), EventSet::ALL).unwrap();
    check_port_is_free("plain", SocketType::Datagram, |_| {});
    check_port_is_free("with an event", SocketType::Datagram, all);
    check_port_is_free("with a function", SocketType::Datagram, |socket| {
        socket.select_callback(Some(Arc::new(|_, _, _| {})), EventSet::ALL).unwrap();
    });
    check_port_is_free("with an ended selection", SocketType::Datagram, |socket| {
        all(socket);
        socket.select_events(None, EventSet::NONE).unwrap();
    });
    check_port_is_free("a stream with an event", SocketType::Stream, all);
    check_port_is_free("a listener", SocketType::Stream, |socket| {
        socket.listen(5).unwrap();
        all(socket);
    });
    check_port_is_free("a connecting stream", SocketType::Stream, |socket| {
        socket.set_nonblocking(true).unwrap();
        // Nothing answers there.
        let _ = socket.connect("127.0.0.2:9".parse().unwrap(), &ConnectRequest::default());
    });
}

#[test]
fn a_listener_for_connect_data_frees_its_port() {
    let _alone = alone();
    for _ in 0..50 {
        let listener = Socket::open_with_connect_data(Family::Inet).unwrap();
        listener.bind(address(0)).unwrap();
        listener.listen(5).unwrap();
        let port = listener.local_address().unwrap().port();
        listener.close().unwrap();
        let next = open(SocketType::Stream);
        assert_eq!(next.bind(address(port)), Ok(()));
        assert_eq!(next.listen(1), Ok(()));
    }
}

/// Whether another connection has the port as well, such as one of another program that is in TIME_WAIT: the kernel gives
/// a port to connections to different peers.
fn is_shared(port: u16) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let local = format!(":{port:04X}");
    table.lines().filter(|line| line.split_whitespace().nth(1).is_some_and(|it| it.ends_with(&local))).count()
        > 1
}

#[test]
fn a_connections_port_is_free_once_it_is_closed() {
    let _alone = alone();
    let listener = TcpListener::bind(address(0)).unwrap();
    let mut tried = 0;
    for _ in 0..200 {
        let socket = open(SocketType::Stream);
        socket.connect(listener.local_addr().unwrap(), &ConnectRequest::default()).unwrap();
        let port = socket.local_address().unwrap().port();
        if is_shared(port) {
            continue;
        }
        socket.close().unwrap();
        assert_eq!(open(SocketType::Stream).bind(address(port)), Ok(()));
        tried += 1;
        if tried == 20 {
            return;
        }
    }
    panic!("of 200 ports, {tried} were not shared");
}

/// Waits in another thread while the socket is closed, and gives what the thread has got.
fn while_closed<T: Send + 'static>(
    socket: Socket,
    wait: impl FnOnce(&Arc<Endpoint>) -> T + Send + 'static,
) -> T {
    let waiting = Blocked::start(&socket, wait);
    socket.close().unwrap();
    waiting.join()
}

#[test]
fn a_close_wakes_threads_that_wait_for_several_sockets() {
    let _alone = alone();
    let wanted = PollEvents { read: true, ..PollEvents::default() };
    for socket_type in [SocketType::Datagram, SocketType::Stream] {
        for style in [select, poll] {
            let (socket, port) = bound(socket_type);
            if socket_type == SocketType::Stream {
                socket.listen(1).unwrap();
            }
            let found = while_closed(socket, move |socket| {
                let mut set = [(Arc::clone(socket), wanted)];
                (style(&mut set, Some(Duration::from_secs(5))), set[0].1.closed)
            });
            assert_eq!(found, (Ok(1), true), "{socket_type:?}");
            assert_eq!(open(socket_type).bind(address(port)), Ok(()));
        }
    }
}

#[test]
fn a_select_that_waits_for_no_data_fails_when_its_socket_is_closed() {
    let _alone = alone();
    let (socket, _) = bound(SocketType::Datagram);
    let result = while_closed(socket, |socket| {
        let mut set = [(Arc::clone(socket), PollEvents { except: true, ..PollEvents::default() })];
        select(&mut set, Some(Duration::from_secs(5)))
    });
    assert_eq!(result, Err(Wsa::Enotsock));
}

#[test]
fn a_close_waits_for_a_thread_that_receives() {
    let _alone = alone();
    for _ in 0..5 {
        let (socket, port) = bound(SocketType::Datagram);
        let result = while_closed(socket, |socket| {
            socket.receive_from(&mut [0; 8], MessageFlags::default()).map(drop)
        });
        assert_eq!(result, Err(Wsa::Eintr));
        assert_eq!(open(SocketType::Datagram).bind(address(port)), Ok(()));
    }
}

/// Closes a descriptor as close(2) does.
fn close_number(number: RawFd) {
    // SAFETY: the tests below close a SOCKET by its number, as a C program may.
    drop(unsafe { OwnedFd::from_raw_fd(number) });
}

/// Closes a number and gives it to another file, as close(2) and open(2) do when it is the lowest free one.
fn replaced<T: AsFd + From<OwnedFd>>(number: RawFd, file: T) -> T {
    // SAFETY: as in `close_number`; the number is that of `file` from here on.
    let mut other = unsafe { OwnedFd::from_raw_fd(number) };
    nix::unistd::dup2(file, &mut other).unwrap();
    other.into()
}

#[test]
fn a_number_that_another_file_has_is_no_socket() {
    let _alone = alone();
    let number = bound(SocketType::Datagram).0.into_raw();
    let file = replaced(number, std::fs::File::open("/proc/self/status").unwrap());
    assert!(matches!(Socket::from_raw(number), Err(Wsa::Enotsock)));
    assert!(std::io::Read::read(&mut &file, &mut [0; 8]).is_ok(), "the file is open");
}

#[test]
fn a_number_that_another_socket_has_is_left_alone() {
    let _alone = alone();
    let event = EventObject::new().unwrap();
    let (socket, port) = bound(SocketType::Datagram);
    socket.select_events(Some(&event), EventSet::ALL).unwrap();
    let number = socket.into_raw();
    let other = replaced(number, std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
    assert!(matches!(Socket::from_raw(number), Err(Wsa::Enotsock)));
    assert!(other.local_addr().is_ok());
    assert_eq!(open(SocketType::Datagram).bind(address(port)), Ok(()), "the call has dropped its duplicate");
}

#[test]
fn a_new_socket_may_have_the_number_of_one_that_the_program_closed() {
    let _alone = alone();
    for _ in 0..3 {
        let number = bound(SocketType::Datagram).0.into_raw();
        close_number(number);
        // The kernel gives the lowest number that is free; what an earlier test has closed may be freed just now.
        let mut others = Vec::new();
        let next = loop {
            let (next, _) = bound(SocketType::Datagram);
            if next.number() == number {
                break next;
            }
            others.push(next);
            assert!(others.len() < 100, "{number} is not given again");
        };
        let (receiver, port) = bound(SocketType::Datagram);
        assert_eq!(next.send_to(b"hello", MessageFlags::default(), address(port)), Ok(5));
        assert_eq!(
            receiver.receive_from(&mut [0; 8], MessageFlags::default()).map(|(length, _)| length),
            Ok(5)
        );
        let held = Socket::from_raw(next.into_raw()).unwrap();
        assert_eq!(held.close(), Ok(()));
    }
}

#[test]
fn closed_sockets_leave_no_descriptors() {
    let _alone = alone();
    let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let event = EventObject::new().unwrap();
    let before = count();
    for _ in 0..50 {
        let (socket, _) = bound(SocketType::Datagram);
        socket.select_events(Some(&event), EventSet::ALL).unwrap();
        socket.close().unwrap();
    }
    // The reactor's tasks free the last numbers a moment later.
    let is_back = || count() <= before;
    assert!((0..200).any(|_| is_back() || {
        std::thread::sleep(Duration::from_millis(5));
        false
    }));
}
