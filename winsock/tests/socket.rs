//! The provider's safe face: WSPConnect's table of codes, and the states around it.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests wait for other threads"
)]

#[path = "../../tests/common/mod.rs"]
mod common;

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use flowspec::objects::ShapeDiscardMode;
use flowspec::{Bytes, Flowspec, Qos, Rate, ServiceType, Wsa};
use gqos::policy::{Policy, Source};
use gqos_winsock::{
    AcceptOptions, ConditionResult, ConnectOutcome, ConnectRequest, Event, Events, Family, OptionValue,
    PollEvents, ProviderSpecific, Socket, SocketOption, SocketType, select, startup_with, wait_for_events,
};
use gqos_winsock::{MessageFlags, ShutdownHow};

/// Loopback may promise 8 Mbit/s, in user space alone: no privilege is needed.
const POLICY: &str = r#"
version = 1
[interface.lo]
egress = { capacity = "10 Mbit/s", reservable = "80%" }
enforcement = "user-space"
"#;

fn started() {
    let (policy, _) = Policy::parse(&[Source { name: "test", text: POLICY }]).unwrap();
    startup_with(Arc::new(policy)).unwrap();
}

fn tcp() -> Socket {
    started();
    Socket::open(Family::Inet, SocketType::Stream).unwrap()
}

fn udp() -> Socket {
    started();
    Socket::open(Family::Inet, SocketType::Datagram).unwrap()
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A port of this host that nobody listens on.
fn nobody() -> SocketAddr {
    listener().1
}

fn plain() -> ConnectRequest<'static> {
    ConnectRequest::default()
}

fn sending(kilobytes: u64) -> Qos {
    let mut spec = Flowspec::new(ServiceType::Guaranteed);
    spec.token_rate = Some(Rate::new(kilobytes * 1000));
    spec.token_bucket_size = Some(Bytes::new(70_000));
    Qos::sending(spec)
}

fn with(qos: Qos) -> ConnectRequest<'static> {
    ConnectRequest { sqos: Some(qos), ..plain() }
}

#[track_caller]
fn check(name: &str, socket: &Socket, peer: SocketAddr, asked: &ConnectRequest<'_>, expected: Wsa) {
    assert_eq!(socket.connect(peer, asked), Err(expected), "{name}");
}

#[test]
fn a_stream_is_checked_in_the_pages_order() {
    let (_listener, peer) = listener();
    check("another family", &tcp(), address("[::1]:80"), &plain(), Wsa::Eafnosupport);
    check("no address", &tcp(), address("0.0.0.0:80"), &plain(), Wsa::Eaddrnotavail);
    check("no port", &tcp(), address("127.0.0.1:0"), &plain(), Wsa::Eaddrnotavail);
    check("nobody there", &tcp(), nobody(), &plain(), Wsa::Econnrefused);
    let data = ConnectRequest { caller_data: Some(b"x"), ..plain() };
    check("data with plain TCP", &tcp(), peer, &data, Wsa::Eprotonosupport);
    check("more than there is", &tcp(), peer, &with(sending(1001)), Wsa::Eopnotsupp);
    let both = ConnectRequest { caller_data: Some(b"x"), ..with(sending(1001)) };
    check("quality comes before data", &tcp(), peer, &both, Wsa::Eopnotsupp);
    let listening = tcp();
    listening.bind(address("127.0.0.1:0")).unwrap();
    listening.listen(1).unwrap();
    check("a listener", &listening, address("0.0.0.0:0"), &both, Wsa::Einval);
    let connected = tcp();
    connected.connect(peer, &plain()).unwrap();
    check("connected", &connected, address("0.0.0.0:0"), &both, Wsa::Eisconn);
    connected.shutdown(ShutdownHow::Both).unwrap();
    check("still, after both halves have ended", &connected, peer, &plain(), Wsa::Eisconn);
}

#[test]
fn a_refused_socket_may_try_again_at_once() {
    let (_listener, peer) = listener();
    let socket = tcp();
    for _ in 0..3 {
        check("nobody there", &socket, nobody(), &plain(), Wsa::Econnrefused);
        assert_eq!(
            socket.option(SocketOption::Error),
            Ok(OptionValue::Number(0)),
            "a blocking failure leaves none"
        );
    }
    // What it was bound to for the first attempt it keeps.
    let local = socket.local_address().unwrap();
    assert_ne!(local.port(), 0);
    assert_eq!(socket.connect(peer, &plain()), Ok(ConnectOutcome::Connected));
    assert_eq!(socket.peer_address(), Ok(peer));
    assert_eq!(socket.local_address().unwrap().port(), local.port());
}

#[test]
fn a_connection_that_does_not_block_tells_how_it_ended() {
    let (_listener, peer) = listener();
    for (peer, error) in [(peer, None), (nobody(), Some(Wsa::Econnrefused))] {
        let (socket, event) = (tcp(), Event::new().unwrap());
        socket.select_events(Some(&event), Events::CONNECT | Events::WRITE).unwrap();
        let result = socket.connect(peer, &plain());
        // Loopback may answer at once.
        assert!(matches!(result, Ok(_) | Err(Wsa::Ewouldblock | Wsa::Econnrefused)), "{result:?}");
        if result == Err(Wsa::Ewouldblock) || result.is_ok() {
            let found =
                wait_for_events(std::slice::from_ref(&event), false, Some(Duration::from_secs(5))).unwrap();
            assert_eq!(found, Some(0), "{peer}");
            let events = socket.take_events(Some(&event)).unwrap();
            assert!(events.events.contains(Events::CONNECT), "{events:?}");
            assert_eq!(events.errors[4], error);
        }
    }
}

/// A peer that answers nobody: its queue is full, and Linux drops what comes then.
fn silent() -> (Socket, Vec<Socket>, SocketAddr) {
    let listener = tcp();
    listener.bind(address("127.0.0.1:0")).unwrap();
    listener.listen(1).unwrap();
    let peer = listener.local_address().unwrap();
    let mut queued = Vec::new();
    for _ in 0..8 {
        let socket = tcp();
        socket.set_nonblocking(true).unwrap();
        let _ = socket.connect(peer, &plain());
        queued.push(socket);
    }
    std::thread::sleep(Duration::from_millis(50));
    (listener, queued, peer)
}

#[test]
fn select_tells_success_and_failure_apart() {
    let (_listener, _queued, peer) = silent();
    let socket = tcp();
    socket.set_nonblocking(true).unwrap();
    check("not at once", &socket, peer, &plain(), Wsa::Ewouldblock);
    check("being connected", &socket, peer, &plain(), Wsa::Ealready);
    assert_eq!(socket.peer_address(), Ok(peer));
    assert_eq!(socket.send(b"x", MessageFlags::default()), Err(Wsa::Enotconn));
    assert_eq!(socket.option(SocketOption::ConnectTime), Ok(OptionValue::Number(-1)));
    let mut set = [(Arc::clone(&socket), PollEvents { write: true, except: true, ..PollEvents::default() })];
    assert_eq!(select(&mut set, Some(Duration::from_millis(20))), Ok(0));
    // One that fails is told by except alone.
    let failing = tcp();
    failing.set_nonblocking(true).unwrap();
    if failing.connect(nobody(), &plain()) == Err(Wsa::Ewouldblock) {
        let mut set =
            [(Arc::clone(&failing), PollEvents { write: true, except: true, ..PollEvents::default() })];
        assert_eq!(select(&mut set, Some(Duration::from_secs(5))), Ok(1));
        assert!(set[0].1.except && !set[0].1.write, "{:?}", set[0].1);
        let refused = i32::try_from(Wsa::Econnrefused.code()).unwrap();
        assert_eq!(failing.option(SocketOption::Error), Ok(OptionValue::Number(refused)));
        assert_eq!(
            failing.option(SocketOption::Error),
            Ok(OptionValue::Number(refused)),
            "reading does not clear it"
        );
    }
    let fresh = tcp();
    let mut set = [(Arc::clone(&fresh), PollEvents { write: true, read: true, ..PollEvents::default() })];
    assert_eq!(select(&mut set, Some(Duration::ZERO)), Ok(0), "a stream without a peer is ready for nothing");
    assert_eq!(select(&mut [], None), Err(Wsa::Einval));
}

#[test]
fn datagrams_have_a_peer_or_none() {
    let (one, other) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let (first, second) = (one.local_addr().unwrap(), other.local_addr().unwrap());
    let socket = udp();
    let flags = MessageFlags::default();
    assert_eq!(socket.receive(&mut [0; 8], flags), Err(Wsa::Einval), "without a local address");
    assert_eq!(socket.send(b"x", flags), Err(Wsa::Enotconn));
    let data = ConnectRequest { caller_data: Some(b"ignored"), ..plain() };
    assert_eq!(socket.connect(first, &data), Ok(ConnectOutcome::Connected));
    let local = socket.local_address().unwrap();
    // Others' datagrams do not come, not even those from before.
    other.send_to(b"stranger", local).unwrap();
    one.send_to(b"friend", local).unwrap();
    let mut buffer = [0; 64];
    assert_eq!(socket.receive(&mut buffer, flags), Ok(6));
    one.send_to(b"late", local).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(socket.connect(second, &plain()), Ok(ConnectOutcome::Connected));
    socket.set_nonblocking(true).unwrap();
    assert_eq!(socket.receive(&mut buffer, flags), Err(Wsa::Ewouldblock), "queued for another peer");
    // The address of all zeroes takes the peer away; the port stays.
    assert_eq!(socket.connect(address("0.0.0.0:0"), &plain()), Ok(ConnectOutcome::PeerRemoved));
    assert_eq!(socket.send(b"x", flags), Err(Wsa::Enotconn));
    assert_eq!(socket.receive(&mut buffer, flags), Err(Wsa::Enotconn));
    assert_eq!(socket.local_address().unwrap().port(), local.port());
    assert_eq!(socket.send_to(b"x", flags, first), Ok(1));
    assert_eq!(one.recv(&mut buffer).unwrap(), 1);
    check("broadcast", &udp(), address("255.255.255.255:9"), &plain(), Wsa::Eacces);
}

#[test]
fn datagrams_that_are_cut_and_ports_that_nobody_has() {
    let one = UdpSocket::bind("127.0.0.1:0").unwrap();
    let socket = udp();
    socket.connect(one.local_addr().unwrap(), &plain()).unwrap();
    one.send_to(b"too long", socket.local_address().unwrap()).unwrap();
    let mut buffer = [0; 3];
    assert_eq!(socket.receive(&mut buffer, MessageFlags::default()), Err(Wsa::Emsgsize));
    assert_eq!(&buffer, b"too");
    let gone = udp();
    gone.connect(nobody(), &plain()).unwrap();
    assert_eq!(gone.send(b"x", MessageFlags::default()), Ok(1));
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(gone.send(b"x", MessageFlags::default()), Ok(1), "what came back surfaces on receive");
    assert_eq!(gone.receive(&mut buffer, MessageFlags::default()), Err(Wsa::Econnreset));
}

/// Admitted before the connection is made, held, renegotiated, and given back.
#[test]
fn quality_is_promised_and_given_back() {
    let (listener, peer) = listener();
    // Tests of this process share the link: its half is enough for this one.
    let socket = tcp();
    assert_eq!(socket.connect(peer, &with(sending(400))), Ok(ConnectOutcome::Connected));
    assert_eq!(socket.decision().unwrap().charged().sending.get(), 400_000);
    assert_eq!(socket.qos().unwrap().1.unwrap().code, Wsa::QosRequestConfirmed);
    let less = tcp();
    check("the rest is less", &less, peer, &with(sending(700)), Wsa::Eopnotsupp);
    let status = less.qos().unwrap().1.unwrap();
    assert_eq!((status.code, status.extended_status1), (Wsa::QosAdmissionFailure, 56_103));
    assert_eq!(socket.set_qos(&sending(1200)), Err(Wsa::Eopnotsupp));
    assert_eq!(socket.qos().unwrap().0.sending.token_rate.unwrap().get(), 400_000, "the old promise stands");
    socket.set_qos(&sending(300)).unwrap();
    let keep = Qos { sending: Flowspec::new(ServiceType::NoChange), receiving: Flowspec::BEST_EFFORT };
    socket.set_qos(&keep).unwrap();
    assert_eq!(socket.qos().unwrap().0.sending.token_rate.unwrap().get(), 300_000);
    let accepted = listener.accept().unwrap().0;
    socket.close().unwrap();
    drop(accepted);
    // What a failed connection had is given back at once, what a closed one had once its data has left.
    for _ in 0..3 {
        check("nobody there", &tcp(), nobody(), &with(sending(300)), Wsa::Econnrefused);
    }
    let mut admitted = Err(Wsa::Eopnotsupp);
    for _ in 0..100 {
        let again = tcp();
        admitted = again.connect(peer, &with(sending(650)));
        if admitted.is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(admitted, Ok(ConnectOutcome::Connected));
}

/// A close from another thread ends a blocking call.
#[test]
fn a_close_wakes_who_waits() {
    let socket = tcp();
    socket.bind(address("127.0.0.1:0")).unwrap();
    socket.listen(1).unwrap();
    let number = socket.number();
    let waiting = Arc::clone(&socket);
    let thread = std::thread::spawn(move || waiting.accept().map(|_| ()));
    std::thread::sleep(Duration::from_millis(50));
    socket.close().unwrap();
    assert_eq!(thread.join().unwrap(), Err(Wsa::Eintr));
    assert!(matches!(Socket::from_raw(number), Err(Wsa::Enotsock)));
}

/// So it does where the kernel waits for data.
#[test]
fn a_close_wakes_who_receives() {
    let (listener, peer) = listener();
    let socket = tcp();
    socket.connect(peer, &plain()).unwrap();
    let (mut other, _) = listener.accept().unwrap();
    let waiting = Arc::clone(&socket);
    let thread = std::thread::spawn(move || {
        let first = waiting.receive(&mut [0; 8], MessageFlags::default());
        (first, waiting.receive(&mut [0; 8], MessageFlags::default()))
    });
    std::thread::sleep(Duration::from_millis(50));
    std::io::Write::write_all(&mut other, b"hello").unwrap();
    std::thread::sleep(Duration::from_millis(50));
    socket.close().unwrap();
    assert_eq!(thread.join().unwrap(), (Ok(5), Err(Wsa::Eintr)));
}

#[test]
fn accepted_sockets_have_the_listeners_properties() {
    let listener = tcp();
    listener.bind(address("127.0.0.1:0")).unwrap();
    assert_eq!(listener.bind(address("127.0.0.1:0")), Err(Wsa::Einval), "once is enough");
    assert_eq!(udp().listen(1), Err(Wsa::Eopnotsupp));
    assert_eq!(tcp().listen(1), Err(Wsa::Einval), "without a local address");
    listener.listen(5).unwrap();
    let client = tcp();
    client.connect(listener.local_address().unwrap(), &plain()).unwrap();
    let (server, peer) = listener.accept().unwrap();
    assert_eq!(Ok(peer), client.local_address());
    assert_eq!(client.send(b"hello", MessageFlags::default()), Ok(5));
    let mut buffer = [0; 8];
    assert_eq!(server.receive(&mut buffer, MessageFlags { peek: true, ..MessageFlags::default() }), Ok(5));
    assert_eq!(server.receive(&mut buffer, MessageFlags::default()), Ok(5));
    server.close().unwrap();
    assert_eq!(
        client.receive(&mut buffer, MessageFlags::default()),
        Ok(0),
        "the end of a stream is no error"
    );
}

fn tcp_with_data() -> Socket {
    started();
    Socket::open_with_connect_data(Family::Inet).unwrap()
}

fn listening() -> (Socket, SocketAddr) {
    let listener = tcp_with_data();
    listener.bind(address("127.0.0.1:0")).unwrap();
    listener.listen(5).unwrap();
    let peer = listener.local_address().unwrap();
    (listener, peer)
}

/// Data and flow specifications come with the connect call, and are answered.
#[test]
fn connect_data_goes_both_ways() {
    let (listener, peer) = listening();
    let acceptor = Arc::clone(&listener);
    let thread = std::thread::spawn(move || {
        let accepted = acceptor.accept_if(|caller| {
            assert_eq!(caller.caller_data, b"who");
            // What the caller sends, the acceptor receives.
            assert_eq!(caller.sqos.unwrap().receiving.token_rate.unwrap().get(), 20_000);
            AcceptOptions { callee_data: b"me".to_vec(), ..AcceptOptions::default() }.into()
        });
        let (socket, _) = accepted.unwrap();
        let mut buffer = [0; 8];
        assert_eq!(socket.receive(&mut buffer, MessageFlags::default()), Ok(5));
        socket.qos().unwrap().0.receiving.token_rate.unwrap().get()
    });
    let caller = tcp_with_data();
    let asked = ConnectRequest::with(b"who", Some(sending(20)), 16);
    assert_eq!(caller.connect(peer, &asked), Ok(ConnectOutcome::Connected));
    assert_eq!(caller.callee_data(), b"me");
    assert_eq!(
        caller.send(b"hello", MessageFlags::default()),
        Ok(5),
        "and nothing of the exchange is left over"
    );
    assert_eq!(thread.join().unwrap(), 20_000);
}

#[test]
fn acceptors_reject_and_defer() {
    let (listener, peer) = listening();
    let acceptor = Arc::clone(&listener);
    let thread = std::thread::spawn(move || {
        let mut asked = Vec::new();
        let mut codes = Vec::new();
        for verdict in [ConditionResult::Defer, ConditionResult::Defer, ConditionResult::Reject] {
            let result = acceptor.accept_if(|caller| {
                asked.push(caller.caller_data.to_vec());
                verdict.clone()
            });
            codes.push(result.err());
        }
        (asked, codes)
    });
    let refused = tcp_with_data().connect(peer, &ConnectRequest::with(b"one", None, 0));
    assert_eq!(refused, Err(Wsa::Econnrefused));
    let (asked, codes) = thread.join().unwrap();
    assert_eq!(asked, [b"one".to_vec(), b"one".to_vec(), b"one".to_vec()], "a deferred one stays the first");
    assert_eq!(codes, [Some(Wsa::TryAgain), Some(Wsa::TryAgain), Some(Wsa::Econnrefused)]);
}

/// Too much data of the callee's is WSAEFAULT; a peer that does not speak the exchange refuses.
#[test]
fn exchanges_that_do_not_fit() {
    let (listener, peer) = listening();
    let acceptor = Arc::clone(&listener);
    let thread = std::thread::spawn(move || {
        acceptor
            .accept_if(|_| AcceptOptions { callee_data: vec![7; 100], ..AcceptOptions::default() }.into())
            .map(|(socket, _)| socket)
    });
    assert_eq!(tcp_with_data().connect(peer, &ConnectRequest::with(b"", None, 99)), Err(Wsa::Efault));
    drop(thread.join().unwrap());
    let (plain, peer) = self::listener();
    let thread = std::thread::spawn(move || drop(plain.accept().unwrap()));
    assert_eq!(tcp_with_data().connect(peer, &ConnectRequest::with(b"", None, 0)), Err(Wsa::Econnrefused));
    thread.join().unwrap();
}

/// Who connects and says nothing, or rubbish, is in nobody's way.
#[test]
fn strangers_harm_nobody() {
    let (listener, peer) = listening();
    let _silent = std::net::TcpStream::connect(peer).unwrap();
    let mut rubbish = std::net::TcpStream::connect(peer).unwrap();
    std::io::Write::write_all(&mut rubbish, b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut endless = std::net::TcpStream::connect(peer).unwrap();
    std::io::Write::write_all(&mut endless, b"GQOS\x01\x01\0\0\xff\xff\xff\xff").unwrap();
    let acceptor = Arc::clone(&listener);
    let thread = std::thread::spawn(move || acceptor.accept().map(|(socket, _)| socket));
    assert_eq!(
        tcp_with_data().connect(peer, &ConnectRequest::with(b"x", None, 0)),
        Ok(ConnectOutcome::Connected)
    );
    thread.join().unwrap().unwrap();
    let mut set = [(Arc::clone(&listener), PollEvents { read: true, ..PollEvents::default() })];
    assert_eq!(select(&mut set, Some(Duration::from_millis(50))), Ok(0), "strangers are not told of");
    // Rubbish is closed at once.
    let mut buffer = [0; 8];
    assert!(matches!(std::io::Read::read(&mut rubbish, &mut buffer), Ok(0) | Err(_)));
}

/// Without waiting: FD_ACCEPT on one side, FD_CONNECT with the data on the other.
#[test]
fn exchanges_are_told_by_events() {
    let (listener, peer) = listening();
    let (called, answered) = (Event::new().unwrap(), Event::new().unwrap());
    listener.select_events(Some(&called), Events::ACCEPT).unwrap();
    assert!(matches!(listener.accept(), Err(Wsa::Ewouldblock)));
    let caller = tcp_with_data();
    caller.select_events(Some(&answered), Events::CONNECT).unwrap();
    assert_eq!(caller.connect(peer, &ConnectRequest::with(b"x", None, 8)), Err(Wsa::Ewouldblock));
    assert_eq!(
        wait_for_events(std::slice::from_ref(&called), false, Some(Duration::from_secs(5))),
        Ok(Some(0))
    );
    assert!(listener.take_events(Some(&called)).unwrap().events.contains(Events::ACCEPT));
    let verdict: ConditionResult =
        AcceptOptions { callee_data: b"yes".to_vec(), ..AcceptOptions::default() }.into();
    let (_server, _) = listener.accept_if(|_| verdict.clone()).unwrap();
    assert_eq!(
        wait_for_events(std::slice::from_ref(&answered), false, Some(Duration::from_secs(5))),
        Ok(Some(0))
    );
    let events = caller.take_events(Some(&answered)).unwrap();
    assert_eq!((events.events, events.errors[4]), (Events::CONNECT, None));
    assert_eq!(caller.callee_data(), b"yes");
}

/// Windows' table of who may bind where somebody is already, for both protocols and both families.
#[test]
fn binding_is_as_windows_has_it() {
    let kinds = [
        ("default wildcard", None, true),
        ("default specific", None, false),
        ("reuse wildcard", Some(SocketOption::ReuseAddress), true),
        ("reuse specific", Some(SocketOption::ReuseAddress), false),
        ("exclusive wildcard", Some(SocketOption::ExclusiveAddressUse), true),
        ("exclusive specific", Some(SocketOption::ExclusiveAddressUse), false),
    ];
    // A line for each first socket, a column for each second one: in use, access denied, fine.
    let table = ["I.A.I.", ".I.AII", "I...I.", ".I..II", "IAAAIA", ".I.AII"];
    started();
    for (family, wildcard, specific) in
        [(Family::Inet, "0.0.0.0:0", "127.0.0.1:0"), (Family::Inet6, "[::]:0", "[::1]:0")]
    {
        for kind in [SocketType::Stream, SocketType::Datagram] {
            let socket = |choice: Option<SocketOption>| {
                let socket = Socket::open(family, kind).unwrap();
                if let Some(choice) = choice {
                    socket.set_option(choice, OptionValue::Number(1)).unwrap();
                }
                socket
            };
            for ((first_name, first, first_wild), line) in kinds.into_iter().zip(table) {
                for ((second_name, second, second_wild), expected) in kinds.into_iter().zip(line.chars()) {
                    let at = |wild: bool| address(if wild { wildcard } else { specific });
                    let one = socket(first);
                    one.bind(at(first_wild)).unwrap();
                    let mut there = at(second_wild);
                    there.set_port(one.local_address().unwrap().port());
                    let expected = match expected {
                        'I' => Err(Wsa::Eaddrinuse),
                        'A' => Err(Wsa::Eacces),
                        _ => Ok(()),
                    };
                    assert_eq!(
                        socket(second).bind(there),
                        expected,
                        "{kind:?} {family:?}: {first_name}, then {second_name}"
                    );
                }
            }
        }
    }
    let both = Socket::open(Family::Inet, SocketType::Stream).unwrap();
    both.set_option(SocketOption::ReuseAddress, OptionValue::Number(1)).unwrap();
    assert_eq!(both.set_option(SocketOption::ExclusiveAddressUse, OptionValue::Number(1)), Err(Wsa::Einval));
}

/// Ten thousand connections that are not made leave nothing behind.
#[test]
fn what_is_not_made_leaves_nothing() {
    let (_listener, peer) = listener();
    let gone = nobody();
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let socket = tcp();
    for number in 0..10_000 {
        let (peer, asked, expected) = match number % 3 {
            0 => (gone, with(sending(100)), Wsa::Econnrefused),
            1 => (peer, with(sending(5000)), Wsa::Eopnotsupp),
            _ => {
                (peer, ConnectRequest { caller_data: Some(b"x"), ..with(sending(100)) }, Wsa::Eprotonosupport)
            }
        };
        assert_eq!(socket.connect(peer, &asked), Err(expected), "{number}");
    }
    let before = descriptors();
    for _ in 0..1000 {
        let closing = tcp();
        closing.set_nonblocking(true).unwrap();
        let _ = closing.connect(gone, &with(sending(10)));
    }
    std::thread::sleep(Duration::from_millis(200));
    assert!(descriptors() < before + 50, "{} descriptors, {before} before", descriptors());
}

/// A datagram socket's quality is held as well: its packets wait for credit.
#[test]
fn datagrams_are_held_to_their_flowspec() {
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    let socket = udp();
    let mut spec = Flowspec::new(ServiceType::Guaranteed);
    spec.token_rate = Some(Rate::new(20_000));
    spec.token_bucket_size = Some(Bytes::new(2_100));
    spec.max_sdu_size = Some(Bytes::new(1_000));
    socket.connect(other.local_addr().unwrap(), &with(Qos::sending(spec))).unwrap();
    assert_eq!(socket.send(&[0; 1_001], MessageFlags::default()), Err(Wsa::Emsgsize), "above max_sdu_size");
    let before = std::time::Instant::now();
    for _ in 0..6 {
        assert_eq!(socket.send(&[0; 972], MessageFlags::default()), Ok(972));
    }
    // Two from the bucket, four at 20 kB/s.
    assert!(before.elapsed() >= Duration::from_millis(190), "{:?}", before.elapsed());
    socket.set_nonblocking(true).unwrap();
    assert_eq!(socket.send(&[0; 972], MessageFlags::default()), Err(Wsa::Ewouldblock), "without credit");
}

/// The same two ends twice: Linux says that the address cannot be had, Windows that it is in use.
#[test]
fn a_four_tuple_is_taken_once() {
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
    check("the same again", &second, peer, &plain(), Wsa::Eaddrinuse);
}

/// From inside a condition function nothing may block.
#[test]
fn a_callback_may_not_block() {
    let (listener, peer) = listening();
    let acceptor = Arc::clone(&listener);
    let thread = std::thread::spawn(move || {
        let mut inside = None;
        let accepted = acceptor.accept_if(|caller| {
            inside = tcp().connect(caller.local, &plain()).err();
            ConditionResult::Reject
        });
        (inside, accepted.err())
    });
    check("rejected", &tcp_with_data(), peer, &plain(), Wsa::Econnrefused);
    assert_eq!(thread.join().unwrap(), (Some(Wsa::Einprogress), Some(Wsa::Econnrefused)));
}

/// In a network of its own, without any route; then with a peer that never answers.
#[test]
fn networks_that_are_not_there_and_peers_that_are_silent() {
    let site = match gqos::lab::Site::new("winsock") {
        Ok(site) => site,
        Err(error) => {
            return common::skip(&format!("a network namespace needs root or CAP_SYS_ADMIN: {error}"));
        }
    };
    let codes = site.run(async {
        let unreachable = tcp().connect(address("10.1.2.3:9"), &plain());
        gqos::linux::Netlink::open().unwrap().set_up(1).await.unwrap();
        std::fs::write("/proc/sys/net/ipv4/tcp_syn_retries", "1").unwrap();
        let (_listener, _queued, peer) = silent();
        (unreachable, tcp().connect(peer, &plain()))
    });
    assert_eq!(codes.unwrap(), (Err(Wsa::Enetunreach), Err(Wsa::Etimedout)));
}

/// What the objects ask for besides: dropping, another rate, a code point, or not to be held.
#[test]
fn objects_are_honoured() {
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    other.set_nonblocking(true).unwrap();
    let peer = other.local_addr().unwrap();
    let mut spec = Flowspec::new(ServiceType::Guaranteed);
    spec.token_rate = Some(Rate::new(20_000));
    spec.token_bucket_size = Some(Bytes::new(2_100));
    spec.max_sdu_size = Some(Bytes::new(1_000));
    let sent = |provider_specific: ProviderSpecific| {
        let socket = udp();
        socket.connect(peer, &ConnectRequest { provider_specific, ..with(Qos::sending(spec)) }).unwrap();
        let before = std::time::Instant::now();
        for _ in 0..4 {
            assert_eq!(socket.send(&[0; 972], MessageFlags::default()), Ok(972));
        }
        let took = before.elapsed();
        std::thread::sleep(Duration::from_millis(20));
        let mut came = 0;
        while other.recv(&mut [0; 2000]).is_ok() {
            came += 1;
        }
        (took, came, socket.option(SocketOption::TypeOfService).unwrap())
    };
    let quick = Duration::from_millis(40);
    let mode = |excess| ProviderSpecific { shape_discard_mode: Some(excess), ..ProviderSpecific::default() };
    let (took, came, _) = sent(mode(ShapeDiscardMode::Discard));
    assert!(took < quick && came == 2, "dropped: {took:?}, {came} came");
    let (took, came, _) = sent(mode(ShapeDiscardMode::Borrow));
    assert!(took < quick && came == 4, "borrowed: {took:?}, {came} came");
    let (took, came, _) = sent(mode(ShapeDiscardMode::Shape));
    assert!(took >= Duration::from_millis(90) && came == 4, "shaped: {took:?}, {came} came");
    let slow = ProviderSpecific {
        shaping_rate: Some(Rate::new(10_000)),
        ds_field: Some(46),
        ..ProviderSpecific::default()
    };
    let (took, came, tos) = sent(slow);
    assert!(took >= Duration::from_millis(180) && came == 4, "shaped to half: {took:?}, {came} came");
    assert_eq!(tos, OptionValue::Number(46 << 2));
    let (.., tos) = sent(ProviderSpecific { traffic_class: Some(5), ..mode(ShapeDiscardMode::Borrow) });
    assert_eq!(tos, OptionValue::Number(40 << 2), "802.1p as its class selector");
}

/// That nobody took a datagram is told, or not.
#[test]
fn resets_of_datagrams_may_be_left_untold() {
    let gone = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for told in [true, false] {
        let socket = udp();
        socket.set_reports_resets(told).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.connect(gone, &plain()).unwrap();
        assert_eq!(socket.send(b"x", MessageFlags::default()), Ok(1));
        std::thread::sleep(Duration::from_millis(50));
        let expected = if told { Wsa::Econnreset } else { Wsa::Ewouldblock };
        assert_eq!(socket.receive(&mut [0; 4], MessageFlags::default()), Err(expected), "told: {told}");
    }
}

/// A socket that names the destination in each call is shaped to its flowspec without a connected peer.
#[test]
fn a_sender_may_name_its_destination() {
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    let peer = other.local_addr().unwrap();
    let mut spec = Flowspec::new(ServiceType::Guaranteed);
    spec.token_rate = Some(Rate::new(20_000));
    spec.token_bucket_size = Some(Bytes::new(2_100));
    spec.max_sdu_size = Some(Bytes::new(1_000));
    let socket = udp();
    let provider_specific = ProviderSpecific { destination: Some(peer), ..ProviderSpecific::default() };
    socket.set_qos_with(&Qos::sending(spec), provider_specific).unwrap();
    assert_eq!(socket.decision().unwrap().charged().sending.get(), 20_000);
    let before = std::time::Instant::now();
    for _ in 0..4 {
        assert_eq!(socket.send_to(&[0; 972], MessageFlags::default(), peer), Ok(972));
    }
    assert!(before.elapsed() >= Duration::from_millis(90), "{:?}", before.elapsed());
    assert_eq!(socket.set_qos_with(&sending(5000), provider_specific), Err(Wsa::Eopnotsupp));
    assert_eq!(socket.set_qos_with(&Qos::BEST_EFFORT, provider_specific), Ok(()));
    assert!(socket.decision().is_none());
}

/// Two threads in one connection, and a third that closes it.
#[test]
fn a_connection_that_is_being_made_may_be_closed() {
    let (_listener, _queued, peer) = silent();
    for socket in [tcp(), tcp_with_data()] {
        let (first, number) = (Arc::clone(&socket), socket.into_raw());
        let second = Arc::clone(&first);
        let one = std::thread::spawn(move || first.connect(peer, &with(sending(10))));
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(second.connect(peer, &plain()), Err(Wsa::Ealready));
        Socket::from_raw(number).unwrap().close().unwrap();
        assert_eq!(one.join().unwrap(), Err(Wsa::Eintr));
    }
}

/// An acceptor that says nothing, and a caller that gives up on it.
#[test]
fn an_exchange_that_stalls_may_be_closed() {
    let (plain_listener, peer) = listener();
    let socket = tcp_with_data();
    let (calling, number) = (Arc::clone(&socket), socket.into_raw());
    let thread = std::thread::spawn(move || calling.connect(peer, &ConnectRequest::with(b"x", None, 8)));
    let (_silent, _) = plain_listener.accept().unwrap();
    std::thread::sleep(Duration::from_millis(50));
    Socket::from_raw(number).unwrap().close().unwrap();
    let ended = thread.join().unwrap();
    assert!(matches!(ended, Err(Wsa::Eintr | Wsa::Econnrefused)), "{ended:?}");
}

#[test]
fn waiting_has_its_time() {
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    let socket = udp();
    socket.connect(other.local_addr().unwrap(), &plain()).unwrap();
    socket.set_option(SocketOption::ReceiveTimeout, OptionValue::Number(30)).unwrap();
    assert_eq!(socket.option(SocketOption::ReceiveTimeout), Ok(OptionValue::Number(30)));
    let before = std::time::Instant::now();
    assert_eq!(socket.receive(&mut [0; 8], MessageFlags::default()), Err(Wsa::Etimedout));
    assert!(before.elapsed() >= Duration::from_millis(30));
    // Without credit for longer than the time that sending has.
    let held = udp();
    let mut spec = Flowspec::new(ServiceType::Guaranteed);
    spec.token_rate = Some(Rate::new(1_000));
    spec.token_bucket_size = Some(Bytes::new(1_000));
    spec.max_sdu_size = Some(Bytes::new(1_000));
    held.connect(other.local_addr().unwrap(), &with(Qos::sending(spec))).unwrap();
    held.set_option(SocketOption::SendTimeout, OptionValue::Number(30)).unwrap();
    assert_eq!(held.send(&[0; 972], MessageFlags::default()), Ok(972));
    assert_eq!(held.send(&[0; 972], MessageFlags::default()), Err(Wsa::Etimedout));
}
