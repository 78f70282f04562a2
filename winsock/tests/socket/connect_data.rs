//! Sockets whose connect calls carry data and flow specifications.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use flowspec::{Qos, Wsa};
use gqos_winsock::{
    AcceptOptions, ConditionResult, ConnectOutcome, ConnectRequest, EventObject, EventSet, MessageFlags,
    PollEvents, Socket, select, wait_for_events,
};

use super::common::{Blocked, address, listener, sending, wait_for, with_qos};
use super::{check, plain, tcp, tcp_with_data};

fn listening() -> (Socket, SocketAddr) {
    let listener = tcp_with_data();
    listener.bind(address("127.0.0.1:0")).unwrap();
    listener.listen(5).unwrap();
    let peer = listener.local_address().unwrap();
    (listener, peer)
}

#[test]
fn data_and_flowspecs_reach_the_acceptor_and_its_data_the_caller() {
    let (listener, peer) = listening();
    let acceptor = Arc::clone(&listener);
    let thread = std::thread::spawn(move || {
        let accepted = acceptor.accept_if(|caller| {
            assert_eq!(caller.caller_data, b"caller");
            // What the caller sends, the acceptor receives.
            assert_eq!(caller.sqos.unwrap().receiving.token_rate.unwrap().get(), 20_000);
            AcceptOptions { callee_data: b"callee".to_vec(), ..AcceptOptions::default() }.into()
        });
        let (socket, _) = accepted.unwrap();
        let mut buffer = [0; 8];
        assert_eq!(socket.receive(&mut buffer, MessageFlags::default()), Ok(5));
        socket.qos().unwrap().0.receiving.token_rate.unwrap().get()
    });
    let caller = tcp_with_data();
    let asked = ConnectRequest::with(b"caller", Some(sending(20)), 16);
    assert_eq!(caller.connect(peer, &asked), Ok(ConnectOutcome::Connected));
    assert_eq!(caller.callee_data(), b"callee");
    assert_eq!(
        caller.send(b"hello", MessageFlags::default()),
        Ok(5),
        "the handshake leaves no bytes in the stream"
    );
    assert_eq!(thread.join().unwrap(), 20_000);
}

/// Accepts a caller that requests a QOS, and returns the statuses of FD_QOS at both ends: the caller's, then the
/// acceptor's.
fn statuses_of_both_ends(accept: ConditionResult, requested: Qos) -> [Vec<Wsa>; 2] {
    let (listener, peer) = listening();
    let acceptor = Arc::clone(&listener);
    let thread = std::thread::spawn(move || acceptor.accept_if(|_| accept.clone()).unwrap().0);
    let (caller, event) = (tcp_with_data(), EventObject::new().unwrap());
    caller.select_events(Some(&event), EventSet::QOS | EventSet::CONNECT).unwrap();
    let connected = caller.connect(peer, &with_qos(requested));
    assert!(matches!(connected, Ok(_) | Err(Wsa::Ewouldblock)), "{connected:?}");
    let callee = thread.join().unwrap();
    wait_for(&caller, &event, EventSet::CONNECT);
    // The acceptor selects FD_QOS after the connection; the event is recorded nevertheless.
    callee.select_events(Some(&event), EventSet::QOS).unwrap();
    [&caller, &callee].map(|socket| {
        let statuses = std::iter::from_fn(|| socket.qos().ok()?.1.map(|status| status.code));
        // What remains is the latest status, which no event has announced.
        statuses.take_while(|code| *code != Wsa::QosRequestConfirmed).collect()
    })
}

#[test]
fn fd_qos_reports_receivers_and_senders_where_both_ends_have_qos() {
    let sends = statuses_of_both_ends(ConditionResult::accept(), sending(10));
    assert_eq!(sends, [vec![Wsa::QosReceivers], vec![Wsa::QosSenders]], "the caller sends");
    let mut receiving = sending(10);
    std::mem::swap(&mut receiving.sending, &mut receiving.receiving);
    let receives = statuses_of_both_ends(ConditionResult::accept(), receiving);
    assert_eq!(receives, [vec![Wsa::QosSenders], vec![Wsa::QosReceivers]], "the caller receives");
    let without = AcceptOptions { sqos: Some(Qos::BEST_EFFORT), ..AcceptOptions::default() };
    let alone = statuses_of_both_ends(without.into(), sending(10));
    assert_eq!(alone, [vec![], vec![]], "the acceptor requests no QoS");
}

#[test]
fn a_condition_function_defers_and_rejects() {
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
    assert_eq!(
        asked,
        [b"one".to_vec(), b"one".to_vec(), b"one".to_vec()],
        "a deferred connection stays the first"
    );
    assert_eq!(codes, [Some(Wsa::TryAgain), Some(Wsa::TryAgain), Some(Wsa::Econnrefused)]);
}

/// Too much data of the callee is WSAEFAULT. A peer that does not speak the handshake counts as refusing.
#[test]
fn callee_data_beyond_the_callers_buffer_and_a_peer_of_plain_tcp() {
    let (listener, peer) = listening();
    let acceptor = Arc::clone(&listener);
    let thread = std::thread::spawn(move || {
        acceptor
            .accept_if(|_| AcceptOptions { callee_data: vec![7; 100], ..AcceptOptions::default() }.into())
            .map(|(socket, _)| socket)
    });
    assert_eq!(tcp_with_data().connect(peer, &ConnectRequest::with(b"", None, 99)), Err(Wsa::Efault));
    drop(thread.join().unwrap());
    let (plain, peer) = super::common::listener();
    let thread = std::thread::spawn(move || drop(plain.accept().unwrap()));
    assert_eq!(tcp_with_data().connect(peer, &ConnectRequest::with(b"", None, 0)), Err(Wsa::Econnrefused));
    thread.join().unwrap();
}

/// Peers that send nothing, something else, or an endless message.
#[test]
fn peers_without_the_handshake_delay_no_other_caller() {
    let (listener, peer) = listening();
    let _silent = TcpStream::connect(peer).unwrap();
    let mut other = TcpStream::connect(peer).unwrap();
    other.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut endless = TcpStream::connect(peer).unwrap();
    endless.write_all(b"GQOS\x01\x01\0\0\xff\xff\xff\xff").unwrap();
    let acceptor = Arc::clone(&listener);
    let thread = std::thread::spawn(move || acceptor.accept().map(|(socket, _)| socket));
    assert_eq!(
        tcp_with_data().connect(peer, &ConnectRequest::with(b"x", None, 0)),
        Ok(ConnectOutcome::Connected)
    );
    thread.join().unwrap().unwrap();
    let mut set = [(Arc::clone(&listener), PollEvents { read: true, ..PollEvents::default() })];
    assert_eq!(
        select(&mut set, Some(Duration::from_millis(50))),
        Ok(0),
        "connections without an offer are not reported"
    );
    // A connection that sends something else is closed at once.
    let mut buffer = [0; 8];
    assert!(matches!(other.read(&mut buffer), Ok(0) | Err(_)));
}

#[test]
fn fd_accept_and_fd_connect_follow_the_handshake() {
    let (listener, peer) = listening();
    let (called, answered) = (EventObject::new().unwrap(), EventObject::new().unwrap());
    listener.select_events(Some(&called), EventSet::ACCEPT).unwrap();
    assert!(matches!(listener.accept(), Err(Wsa::Ewouldblock)));
    let caller = tcp_with_data();
    caller.select_events(Some(&answered), EventSet::CONNECT).unwrap();
    assert_eq!(caller.connect(peer, &ConnectRequest::with(b"x", None, 8)), Err(Wsa::Ewouldblock));
    assert_eq!(
        wait_for_events(std::slice::from_ref(&called), false, Some(Duration::from_secs(5))),
        Ok(Some(0))
    );
    assert!(listener.take_events(Some(&called)).unwrap().events.contains(EventSet::ACCEPT));
    let verdict: ConditionResult =
        AcceptOptions { callee_data: b"yes".to_vec(), ..AcceptOptions::default() }.into();
    let (_server, _) = listener.accept_if(|_| verdict.clone()).unwrap();
    assert_eq!(
        wait_for_events(std::slice::from_ref(&answered), false, Some(Duration::from_secs(5))),
        Ok(Some(0))
    );
    let events = caller.take_events(Some(&answered)).unwrap();
    assert_eq!((events.events, events.errors[4]), (EventSet::CONNECT, None));
    assert_eq!(caller.callee_data(), b"yes");
}

#[test]
fn a_condition_function_may_not_block() {
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

/// An acceptor that sends nothing.
#[test]
fn a_close_ends_a_handshake_that_stalls() {
    let (plain_listener, peer) = listener();
    let socket = tcp_with_data();
    let calling =
        Blocked::start(&socket, move |socket| socket.connect(peer, &ConnectRequest::with(b"x", None, 8)));
    let number = socket.into_raw();
    let (_accepted, _) = plain_listener.accept().unwrap();
    Socket::from_raw(number).unwrap().close().unwrap();
    let ended = calling.join();
    assert!(matches!(ended, Err(Wsa::Eintr | Wsa::Econnrefused)), "{ended:?}");
}
