//! WSPConnect on streams: its codes, its states, and what a failed connection leaves.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use flowspec::{Flowspec, Qos, ServiceType, Wsa};
use gqos_winsock::{
    ConnectOutcome, ConnectRequest, EventObject, EventSet, MessageFlags, OptionValue, PollEvents,
    ShutdownHow, Socket, SocketOption, select, wait_for_events,
};

use super::common::{
    Blocked, address, closed_port, listener, sending, skip, unresponsive, until_reserved, with,
};
use super::{check, plain, start, tcp, tcp_with_data};

#[test]
fn connect_makes_its_checks_in_the_documented_order() {
    let (_listener, peer) = listener();
    check("another family", &tcp(), address("[::1]:80"), &plain(), Wsa::Eafnosupport);
    check("no address", &tcp(), address("0.0.0.0:80"), &plain(), Wsa::Eaddrnotavail);
    check("no port", &tcp(), address("127.0.0.1:0"), &plain(), Wsa::Eaddrnotavail);
    check("nothing listens", &tcp(), closed_port(), &plain(), Wsa::Econnrefused);
    let data = ConnectRequest { caller_data: Some(b"x"), ..plain() };
    check("data with plain TCP", &tcp(), peer, &data, Wsa::Eprotonosupport);
    check("more than is available", &tcp(), peer, &with(1001), Wsa::Eopnotsupp);
    let both = ConnectRequest { caller_data: Some(b"x"), ..with(1001) };
    check("the QOS is checked before the data", &tcp(), peer, &both, Wsa::Eopnotsupp);
    let listening = tcp();
    listening.bind(address("127.0.0.1:0")).unwrap();
    listening.listen(1).unwrap();
    check("listening", &listening, address("0.0.0.0:0"), &both, Wsa::Einval);
    let connected = tcp();
    connected.connect(peer, &plain()).unwrap();
    check("connected", &connected, address("0.0.0.0:0"), &both, Wsa::Eisconn);
    connected.shutdown(ShutdownHow::Both).unwrap();
    check("connected, with both directions shut down", &connected, peer, &plain(), Wsa::Eisconn);
}

#[test]
fn a_refused_connection_may_be_retried_on_the_same_socket() {
    let (_listener, peer) = listener();
    let socket = tcp();
    for _ in 0..3 {
        check("nothing listens", &socket, closed_port(), &plain(), Wsa::Econnrefused);
        assert_eq!(
            socket.option(SocketOption::Error),
            Ok(OptionValue::Number(0)),
            "a blocking call leaves no SO_ERROR"
        );
    }
    // The socket keeps the local port of the first attempt.
    let local = socket.local_address().unwrap();
    assert_ne!(local.port(), 0);
    assert_eq!(socket.connect(peer, &plain()), Ok(ConnectOutcome::Connected));
    assert_eq!(socket.peer_address(), Ok(peer));
    assert_eq!(socket.local_address().unwrap().port(), local.port());
}

#[test]
fn fd_connect_reports_success_and_failure() {
    let (_listener, peer) = listener();
    for (peer, error) in [(peer, None), (closed_port(), Some(Wsa::Econnrefused))] {
        let (socket, event) = (tcp(), EventObject::new().unwrap());
        socket.select_events(Some(&event), EventSet::CONNECT | EventSet::WRITE).unwrap();
        let result = socket.connect(peer, &plain());
        // On loopback the connection may be complete when the call returns.
        assert!(matches!(result, Ok(_) | Err(Wsa::Ewouldblock | Wsa::Econnrefused)), "{result:?}");
        if result == Err(Wsa::Ewouldblock) || result.is_ok() {
            let found =
                wait_for_events(std::slice::from_ref(&event), false, Some(Duration::from_secs(5))).unwrap();
            assert_eq!(found, Some(0), "{peer}");
            let events = socket.take_events(Some(&event)).unwrap();
            assert!(events.events.contains(EventSet::CONNECT), "{events:?}");
            assert_eq!(events.errors[4], error);
        }
    }
}

#[test]
fn select_reports_success_as_write_and_failure_as_except() {
    let socket = tcp();
    let unresponsive = unresponsive();
    let peer = unresponsive.address;
    socket.set_nonblocking(true).unwrap();
    check("under way", &socket, peer, &plain(), Wsa::Ewouldblock);
    check("connecting already", &socket, peer, &plain(), Wsa::Ealready);
    assert_eq!(socket.peer_address(), Ok(peer));
    assert_eq!(socket.send(b"x", MessageFlags::default()), Err(Wsa::Enotconn));
    assert_eq!(socket.option(SocketOption::ConnectTime), Ok(OptionValue::Number(-1)));
    let mut set = [(Arc::clone(&socket), PollEvents { write: true, except: true, ..PollEvents::default() })];
    assert_eq!(select(&mut set, Some(Duration::from_millis(20))), Ok(0));
    // A failure is reported by except alone.
    let failing = tcp();
    failing.set_nonblocking(true).unwrap();
    if failing.connect(closed_port(), &plain()) == Err(Wsa::Ewouldblock) {
        let mut set =
            [(Arc::clone(&failing), PollEvents { write: true, except: true, ..PollEvents::default() })];
        assert_eq!(select(&mut set, Some(Duration::from_secs(5))), Ok(1));
        assert!(set[0].1.except && !set[0].1.write, "{:?}", set[0].1);
        let refused = i32::try_from(Wsa::Econnrefused.code()).unwrap();
        assert_eq!(failing.option(SocketOption::Error), Ok(OptionValue::Number(refused)));
        assert_eq!(
            failing.option(SocketOption::Error),
            Ok(OptionValue::Number(refused)),
            "reading SO_ERROR does not clear it"
        );
    }
    let fresh = tcp();
    let mut set = [(Arc::clone(&fresh), PollEvents { write: true, read: true, ..PollEvents::default() })];
    assert_eq!(select(&mut set, Some(Duration::ZERO)), Ok(0), "a stream without a peer is not ready");
    assert_eq!(select(&mut [], None), Err(Wsa::Einval));
}

/// Reserved before the connection is made, renegotiated, and released.
#[test]
fn a_reservation_is_made_renegotiated_and_released() {
    let (listener, peer) = listener();
    // The tests of this program share loopback. This one reserves at most a half.
    let socket = tcp();
    assert_eq!(socket.connect(peer, &with(400)), Ok(ConnectOutcome::Connected));
    assert_eq!(socket.decision().unwrap().charged().sending.get(), 400_000);
    assert_eq!(socket.qos().unwrap().1.unwrap().code, Wsa::QosRequestConfirmed);
    let less = tcp();
    check("more than the rest", &less, peer, &with(700), Wsa::Eopnotsupp);
    let status = less.qos().unwrap().1.unwrap();
    assert_eq!((status.code, status.extended_status1), (Wsa::QosAdmissionFailure, 56_103));
    assert_eq!(socket.set_qos(&sending(1200)), Err(Wsa::Eopnotsupp));
    assert_eq!(
        socket.qos().unwrap().0.sending.token_rate.unwrap().get(),
        400_000,
        "the earlier reservation is kept"
    );
    socket.set_qos(&sending(300)).unwrap();
    let keep = Qos { sending: Flowspec::new(ServiceType::NoChange), receiving: Flowspec::BEST_EFFORT };
    socket.set_qos(&keep).unwrap();
    assert_eq!(socket.qos().unwrap().0.sending.token_rate.unwrap().get(), 300_000);
    let accepted = listener.accept().unwrap().0;
    socket.close().unwrap();
    drop(accepted);
    // A failed connection releases at once, a closed one once its data has left.
    for _ in 0..3 {
        check("nothing listens", &tcp(), closed_port(), &with(300), Wsa::Econnrefused);
    }
    let mut admitted = Err(Wsa::Eopnotsupp);
    for _ in 0..100 {
        let socket = tcp();
        admitted = socket.connect(peer, &with(650));
        if admitted.is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(admitted, Ok(ConnectOutcome::Connected));
}

/// Ten thousand failed connections, and a thousand that are closed while they connect.
#[test]
fn failed_connections_leave_no_descriptors() {
    // In a process of its own, whose descriptors and budget no other test uses.
    if std::env::var_os("GQOS_DESCRIPTORS").is_none() {
        let mut alone = Command::new(std::env::current_exe().unwrap());
        alone.args(["--exact", "connect::failed_connections_leave_no_descriptors", "--nocapture"]);
        let output = alone.env("GQOS_DESCRIPTORS", "1").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{text}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        return;
    }
    let (_listener, peer) = listener();
    let gone = closed_port();
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let socket = tcp();
    for number in 0..10_000 {
        let (peer, asked, expected) = match number % 3 {
            0 => (gone, with(100), Wsa::Econnrefused),
            1 => (peer, with(5000), Wsa::Eopnotsupp),
            _ => (peer, ConnectRequest { caller_data: Some(b"x"), ..with(100) }, Wsa::Eprotonosupport),
        };
        assert_eq!(socket.connect(peer, &asked), Err(expected), "{number}");
    }
    let before = descriptors();
    for _ in 0..1000 {
        let closing = tcp();
        closing.set_nonblocking(true).unwrap();
        let _ = closing.connect(gone, &with(10));
    }
    until_reserved(0);
    // The reactor's tasks free the last ones a moment later.
    let is_back = || descriptors() <= before + 4;
    let freed = (0..1000).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        is_back()
    });
    assert!(freed, "{} descriptors, {before} before", descriptors());
}

/// Linux reports EADDRNOTAVAIL for it, Windows WSAEADDRINUSE.
#[test]
fn a_second_connection_between_the_same_addresses_is_in_use() {
    let (_listener, peer) = listener();
    let reusing = || {
        let socket = tcp();
        socket.set_option(SocketOption::ReuseAddress, OptionValue::Number(1)).unwrap();
        socket
    };
    let first = reusing();
    first.bind(address("127.0.0.1:0")).unwrap();
    let second = reusing();
    second.bind(first.local_address().unwrap()).unwrap();
    assert_eq!(first.connect(peer, &plain()), Ok(ConnectOutcome::Connected));
    check("the same addresses", &second, peer, &plain(), Wsa::Eaddrinuse);
}

/// Two threads connect one socket, and a third one closes it.
#[test]
fn a_close_from_another_thread_ends_a_connect() {
    start();
    let unresponsive = unresponsive();
    let peer = unresponsive.address;
    for socket in [tcp(), tcp_with_data()] {
        let connecting = Blocked::start(&socket, move |socket| socket.connect(peer, &with(10)));
        let second = Arc::clone(&socket);
        let number = socket.into_raw();
        assert_eq!(second.connect(peer, &plain()), Err(Wsa::Ealready));
        Socket::from_raw(number).unwrap().close().unwrap();
        assert_eq!(connecting.join(), Err(Wsa::Eintr));
    }
}

/// In a network namespace without any route, then with a peer that never answers.
#[test]
fn an_unreachable_network_and_an_unresponsive_peer() {
    let site = match gqos::lab::Site::new("winsock") {
        Ok(site) => site,
        Err(error) => {
            return skip(&format!("a network namespace needs root or CAP_SYS_ADMIN: {error}"));
        }
    };
    // The provider that the tests share belongs to the namespace of the tests.
    start();
    let codes = site.run(async {
        let unreachable = tcp().connect(address("10.1.2.3:9"), &plain());
        gqos::linux::Netlink::open().unwrap().set_up(1).await.unwrap();
        std::fs::write("/proc/sys/net/ipv4/tcp_syn_retries", "1").unwrap();
        let unresponsive = unresponsive();
        (unreachable, tcp().connect(unresponsive.address, &plain()))
    });
    assert_eq!(codes.unwrap(), (Err(Wsa::Enetunreach), Err(Wsa::Etimedout)));
}
