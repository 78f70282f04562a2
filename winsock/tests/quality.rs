//! Promises of the provider that change while sockets stand, and groups that share one.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests wait for other threads"
)]

#[path = "../../tests/common/mod.rs"]
mod common;

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::policy;
use flowspec::{Bytes, Direction, Flowspec, Qos, Rate, ServiceType, Wsa};
use gqos::admission::Operation;
use gqos_winsock::{
    AcceptOptions, Callback, ConnectOutcome, ConnectRequest, Event, Events, Family, GroupSelection, LeafRole,
    OptionValue, ProviderSpecific, Socket, SocketOption, SocketType, startup_with, submit, wait_for_events,
};
use gqos_winsock::{MessageFlags, ShutdownHow};

const POLICY: &str = r#"
version = 1
[interface.lo]
egress = { capacity = "10 Mbit/s", reservable = "80%" }
on_capacity_drop = "shed"
enforcement = "user-space"
"#;

/// The link is everybody's: one test after the other has it.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    startup_with(policy(POLICY)).unwrap();
    capacity(10);
    until_reserved(0);
    guard
}

fn capacity(megabits: u64) {
    let capacity = Rate::from_mbit(megabits);
    let decision =
        submit(Operation::Capacity { interface: "lo".into(), direction: Direction::Sending, capacity });
    assert!(decision.unwrap().is_ok());
}

/// A closed socket's promise returns once its data has left.
#[track_caller]
fn until_reserved(kilobytes: u64) {
    let deadline = Instant::now() + Duration::from_secs(5);
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

fn sending(kilobytes: u64) -> Qos {
    let mut spec = Flowspec::new(ServiceType::Guaranteed);
    spec.token_rate = Some(Rate::new(kilobytes * 1000));
    spec.token_bucket_size = Some(Bytes::new(70_000));
    Qos::sending(spec)
}

/// Only the rate: of buckets the members may have what they like.
fn envelope(kilobytes: u64) -> Qos {
    let mut qos = sending(kilobytes);
    qos.sending.token_bucket_size = None;
    qos
}

fn with(kilobytes: u64) -> ConnectRequest<'static> {
    ConnectRequest { sqos: Some(sending(kilobytes)), ..ConnectRequest::default() }
}

fn tcp(group: GroupSelection) -> Socket {
    Socket::open_in_group(Family::Inet, SocketType::Stream, group).unwrap()
}

fn id(socket: &Socket) -> GroupSelection {
    match socket.option(SocketOption::GroupId).unwrap() {
        OptionValue::Number(id) => GroupSelection::from_number(id.cast_unsigned()),
        value => panic!("{value:?}"),
    }
}

fn listener(host: &str) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((host, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Waits for a network event and gives its error.
#[track_caller]
fn told(socket: &Socket, event: &Event, wanted: Events) -> Option<Wsa> {
    for _ in 0..20 {
        wait_for_events(std::slice::from_ref(event), false, Some(Duration::from_secs(5)))
            .unwrap()
            .expect("in time");
        let found = socket.take_events(Some(event)).unwrap();
        if found.events.contains(wanted) {
            return found.errors[wanted.bits().trailing_zeros() as usize];
        }
    }
    panic!("{wanted:?} did not come");
}

#[test]
fn a_promise_that_is_taken_back_is_told_once_and_fetched() {
    let _alone = alone();
    let (_listener, peer) = listener("127.0.0.1");
    let (socket, event) = (tcp(GroupSelection::None), Event::new().unwrap());
    assert_eq!(socket.connect(peer, &with(400)), Ok(ConnectOutcome::Connected));
    socket.select_events(Some(&event), Events::QOS).unwrap();
    capacity(2);
    assert_eq!(told(&socket, &event, Events::QOS), Some(Wsa::QosAdmissionFailure));
    let (qos, status) = socket.qos().unwrap();
    assert_eq!((qos, status.unwrap().code), (Qos::BEST_EFFORT, Wsa::QosAdmissionFailure));
    assert_eq!(socket.qos(), Err(Wsa::Ewouldblock), "there is no more of it");
    assert!(socket.qos().is_ok() && socket.decision().is_none());
    until_reserved(0);
    // It is held to nothing any more: more than its bucket leaves at once.
    let sent = socket.send(&[0; 210_000], MessageFlags::default());
    assert!(sent.is_ok_and(|sent| sent > 100_000), "{sent:?}");
    // It may ask again, and is told again.
    socket.set_qos(&sending(100)).unwrap();
    capacity(1);
    until_reserved(100);
    capacity(0);
    assert_eq!(told(&socket, &event, Events::QOS), Some(Wsa::QosAdmissionFailure));
    until_reserved(0);
}

#[test]
fn one_who_wants_to_hear_of_his_quality_is_told_of_room() {
    let _alone = alone();
    let (_listener, peer) = listener("127.0.0.1");
    let first = tcp(GroupSelection::None);
    assert_eq!(first.connect(peer, &with(900)), Ok(ConnectOutcome::Connected));
    let (socket, event) = (tcp(GroupSelection::None), Event::new().unwrap());
    socket.select_events(Some(&event), Events::QOS | Events::CONNECT).unwrap();
    assert_eq!(socket.connect(peer, &with(600)), Err(Wsa::Eopnotsupp));
    first.close().unwrap();
    assert_eq!(told(&socket, &event, Events::QOS), Some(Wsa::QosReceivers));
    assert_eq!(socket.qos().unwrap().1.unwrap().code, Wsa::QosReceivers);
    let again = socket.connect(peer, &with(600));
    assert!(matches!(again, Ok(_) | Err(Wsa::Ewouldblock)), "{again:?}");
    assert_eq!(told(&socket, &event, Events::CONNECT), None);
    until_reserved(600);
    // A flow that gives up waiting blocks no other flow.
    let other = tcp(GroupSelection::None);
    other.select_events(Some(&event), Events::QOS).unwrap();
    assert_eq!(other.connect(peer, &with(600)), Err(Wsa::Eopnotsupp));
    drop((other, socket));
    until_reserved(0);
}

#[test]
fn a_group_shares_what_its_creator_asked_for() {
    let _alone = alone();
    let (_listener, peer) = listener("127.0.0.1");
    let creator = tcp(GroupSelection::Unconstrained);
    let asked = ConnectRequest { gqos: Some(envelope(500)), ..with(200) };
    assert_eq!(creator.connect(peer, &asked), Ok(ConnectOutcome::Connected));
    until_reserved(500);
    assert_eq!(creator.group_qos(), Ok(Some(envelope(500))));
    // A member spends of it. Its word for the group is ignored, and it may not give one.
    let member = tcp(id(&creator));
    assert_eq!(id(&member), id(&creator));
    let ignored = ConnectRequest { gqos: Some(envelope(900)), ..with(300) };
    assert_eq!(member.connect(peer, &ignored), Ok(ConnectOutcome::Connected));
    until_reserved(500);
    assert_eq!(member.set_group_qos(&envelope(900)), Err(Wsa::Einval));
    let third = tcp(id(&creator));
    assert_eq!(third.connect(peer, &with(1)), Err(Wsa::Eopnotsupp));
    assert_eq!(third.qos().unwrap().1.unwrap().extended_status1, 56_103);
    // More for all, and everybody is told; less than they have is refused.
    let event = Event::new().unwrap();
    member.select_events(Some(&event), Events::GROUP_QOS).unwrap();
    creator.set_group_qos(&envelope(600)).unwrap();
    assert_eq!(told(&member, &event, Events::GROUP_QOS), Some(Wsa::QosRequestConfirmed));
    until_reserved(600);
    assert_eq!(creator.set_group_qos(&envelope(400)), Err(Wsa::Eopnotsupp));
    assert_eq!(third.connect(peer, &with(100)), Ok(ConnectOutcome::Connected));
    // A group is never made to go; its members are told when the link cannot carry it, and when it can again.
    let _ = member.take_events(Some(&event)).unwrap();
    member.select_events(Some(&event), Events::GROUP_QOS).unwrap();
    capacity(1);
    assert_eq!(told(&member, &event, Events::GROUP_QOS), Some(Wsa::QosAdmissionFailure));
    member.select_events(Some(&event), Events::GROUP_QOS).unwrap();
    capacity(10);
    assert_eq!(told(&member, &event, Events::GROUP_QOS), Some(Wsa::QosRequestConfirmed));
    // Datagrams may be in it as well; without a promise of their own nothing is spent.
    let datagrams = Socket::open_in_group(Family::Inet, SocketType::Datagram, id(&creator)).unwrap();
    assert_eq!(datagrams.connect(peer, &ConnectRequest::default()), Ok(ConnectOutcome::Connected));
    // It lasts as long as its last socket.
    let number = id(&creator);
    drop((creator, third, datagrams));
    until_reserved(600);
    drop(member);
    until_reserved(0);
    assert_eq!(Socket::open_in_group(Family::Inet, SocketType::Stream, number).map(drop), Err(Wsa::Einval));
}

#[test]
fn what_a_group_gets_is_given_back_with_a_connection_that_is_not_made() {
    let _alone = alone();
    let nobody = listener("127.0.0.1").1;
    let creator = tcp(GroupSelection::Unconstrained);
    let asked = ConnectRequest { gqos: Some(envelope(500)), ..with(200) };
    assert_eq!(creator.connect(nobody, &asked), Err(Wsa::Econnrefused));
    until_reserved(0);
    // More than the link has; more than the group has.
    let (_listener, peer) = listener("127.0.0.1");
    let too_much = ConnectRequest { gqos: Some(envelope(5000)), ..with(200) };
    assert_eq!(creator.connect(peer, &too_much), Err(Wsa::Eopnotsupp));
    assert_eq!(creator.qos().unwrap().1.unwrap().code, Wsa::QosAdmissionFailure);
    let beyond = ConnectRequest { gqos: Some(envelope(100)), ..with(200) };
    assert_eq!(creator.connect(peer, &beyond), Err(Wsa::Eopnotsupp));
    until_reserved(0);
    // What SIO_SET_GROUP_QOS has said before counts with the connection.
    creator.set_group_qos(&envelope(300)).unwrap();
    assert_eq!(creator.group_qos(), Ok(Some(envelope(300))));
    assert_eq!(creator.connect(peer, &with(200)), Ok(ConnectOutcome::Connected));
    until_reserved(300);
    creator.set_group_qos(&Qos::BEST_EFFORT).unwrap();
    drop(creator);
    until_reserved(0);
}

#[test]
fn a_constrained_group_is_of_one_kind_and_goes_to_one_host() {
    let _alone = alone();
    assert_eq!(
        Socket::open_in_group(Family::Inet, SocketType::Datagram, GroupSelection::Constrained).map(drop),
        Err(Wsa::Einval)
    );
    let (here, there) = (listener("127.0.0.1"), listener("127.0.0.2"));
    let creator = tcp(GroupSelection::Constrained);
    let group = id(&creator);
    assert_eq!(Socket::open_in_group(Family::Inet, SocketType::Datagram, group).map(drop), Err(Wsa::Einval));
    assert_eq!(Socket::open_in_group(Family::Inet6, SocketType::Stream, group).map(drop), Err(Wsa::Einval));
    let member = tcp(group);
    assert_eq!(member.connect(here.1, &ConnectRequest::default()), Ok(ConnectOutcome::Connected));
    assert_eq!(creator.connect(there.1, &ConnectRequest::default()), Err(Wsa::Einval));
    assert_eq!(creator.connect(here.1, &ConnectRequest::default()), Ok(ConnectOutcome::Connected));
    assert_eq!(
        Socket::open_in_group(Family::Inet, SocketType::Stream, GroupSelection::Join(77)).map(drop),
        Err(Wsa::Einval)
    );
    assert_eq!(id(&tcp(GroupSelection::None)), GroupSelection::None);
}

#[test]
fn a_condition_function_may_put_the_new_socket_into_a_group() {
    let _alone = alone();
    let listening = tcp(GroupSelection::None);
    listening.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    listening.listen(5).unwrap();
    let peer = listening.local_address().unwrap();
    let accept = |group| {
        let caller = std::thread::spawn(move || {
            let socket = tcp(GroupSelection::None);
            socket.connect(peer, &ConnectRequest::default()).map(|_| socket)
        });
        let accepted = listening.accept_if(|_| AcceptOptions { group, ..AcceptOptions::default() }.into());
        drop(caller.join().unwrap());
        accepted.map(|(socket, _)| socket)
    };
    let first = accept(GroupSelection::Unconstrained).unwrap();
    let second = accept(id(&first)).unwrap();
    assert!(id(&first) != GroupSelection::None && id(&first) == id(&second));
    assert_eq!(id(&accept(GroupSelection::None).unwrap()), GroupSelection::None);
    assert_eq!(accept(GroupSelection::Join(99)).map(drop), Err(Wsa::Einval));
}

#[test]
fn events_may_be_awaited() {
    let _alone = alone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (_listener, peer) = listener("127.0.0.1");
        let (socket, event) = (tcp(GroupSelection::None), Event::new().unwrap());
        socket.select_events(Some(&event), Events::CONNECT | Events::WRITE).unwrap();
        let begun = socket.connect(peer, &with(100));
        assert!(matches!(begun, Ok(_) | Err(Wsa::Ewouldblock)), "{begun:?}");
        let signalled = tokio::time::timeout(Duration::from_secs(5), event.signalled()).await;
        assert_eq!(signalled.expect("in time"), Ok(()));
        let found = socket.take_events(Some(&event)).unwrap();
        assert!(found.events.contains(Events::CONNECT) && found.errors[4].is_none(), "{found:?}");
    });
}

#[test]
fn a_function_may_be_told_instead() {
    let _alone = alone();
    let (listener, peer) = listener("127.0.0.1");
    let (tell, told) = std::sync::mpsc::channel();
    let socket = tcp(GroupSelection::None);
    let callback: Callback = Arc::new(move |number, event, error| {
        // From inside nothing may wait.
        let inside = tcp(GroupSelection::None).connect(peer, &ConnectRequest::default());
        tell.send((number, event, error, inside)).unwrap();
    });
    assert_eq!(socket.select_callback(None, Events::READ), Err(Wsa::Einval));
    socket.select_callback(Some(callback), Events::CONNECT | Events::READ | Events::CLOSE).unwrap();
    let _ = socket.connect(peer, &with(100));
    let next = || told.recv_timeout(Duration::from_secs(5)).unwrap();
    assert_eq!(next(), (socket.number(), Events::CONNECT, None, Err(Wsa::Einprogress)));
    let (mut other, _) = listener.accept().unwrap();
    other.write_all(b"hello").unwrap();
    assert_eq!(next().1, Events::READ);
    assert_eq!(socket.receive(&mut [0; 16], MessageFlags::default()), Ok(5));
    drop(other);
    assert_eq!(next().1, Events::CLOSE);
}

#[test]
fn a_leaf_is_held_to_what_its_session_was_promised() {
    let _alone = alone();
    let sender = Socket::open(Family::Inet, SocketType::Datagram).unwrap();
    let session: SocketAddr = "239.1.2.3:5000".parse().unwrap();
    assert_eq!(
        tcp(GroupSelection::None).join_leaf(session, &with(100), LeafRole::Sender),
        Err(Wsa::Eopnotsupp)
    );
    let plain = "127.0.0.1:5000".parse().unwrap();
    assert_eq!(sender.join_leaf(plain, &with(100), LeafRole::Sender), Err(Wsa::Eaddrnotavail));
    let other = Socket::open(Family::Inet6, SocketType::Datagram).unwrap();
    assert_eq!(other.join_leaf(session, &with(100), LeafRole::Both), Err(Wsa::Eafnosupport));
    // By which link sessions leave is the machine's to say: only where it is one that the policy knows.
    match sender.join_leaf(session, &with(100), LeafRole::Sender) {
        Ok(()) => assert_eq!(sender.decision().unwrap().charged().sending, Rate::new(100_000)),
        Err(code) => assert!(matches!(code, Wsa::Eopnotsupp | Wsa::Enetunreach), "{code:?}"),
    }
}

fn udp() -> Socket {
    Socket::open(Family::Inet, SocketType::Datagram).unwrap()
}

#[test]
fn a_direction_that_is_not_changed_is_what_was_set_before() {
    let _alone = alone();
    let (_listener, peer) = listener("127.0.0.1");
    let socket = tcp(GroupSelection::None);
    socket.set_qos(&sending(300)).unwrap();
    let mut asked = with(0);
    asked.sqos =
        Some(Qos { sending: Flowspec::new(ServiceType::NoChange), receiving: Flowspec::BEST_EFFORT });
    socket.connect(peer, &asked).unwrap();
    until_reserved(300);
    assert_eq!(socket.qos().unwrap().0.sending.token_rate, Some(Rate::new(300_000)));
}

#[test]
fn another_peer_takes_over_what_was_promised() {
    let _alone = alone();
    let (one, other) = (address("127.0.0.1:9"), address("127.0.0.2:9"));
    let socket = udp();
    socket.connect(one, &with(600)).unwrap();
    until_reserved(600);
    assert_eq!(
        socket.connect(other, &with(700)),
        Ok(ConnectOutcome::Connected),
        "it takes the place of the first"
    );
    until_reserved(700);
    // What is refused changes nothing: neither the promise nor the peer.
    assert_eq!(socket.connect(one, &with(1_100)), Err(Wsa::Eopnotsupp));
    assert_eq!(socket.peer_address(), Ok(other));
    until_reserved(700);
    // Nothing said: what it has goes along.
    socket.connect(one, &ConnectRequest::default()).unwrap();
    until_reserved(700);
    let nothing = ConnectRequest { sqos: Some(Qos::BEST_EFFORT), ..ConnectRequest::default() };
    socket.connect(one, &nothing).unwrap();
    until_reserved(0);
    socket.set_nonblocking(true).unwrap();
    for _ in 0..1_000 {
        // Held to nothing any more.
        assert_eq!(socket.send(&[0; 1000], MessageFlags::default()), Ok(1000));
    }
}

#[test]
fn a_half_that_has_ended_gives_back_what_it_had() {
    let _alone = alone();
    let (listener, peer) = listener("127.0.0.1");
    let socket = tcp(GroupSelection::None);
    let mut both = sending(300);
    both.receiving = sending(200).sending;
    socket.connect(peer, &ConnectRequest { sqos: Some(both), ..ConnectRequest::default() }).unwrap();
    until_reserved(300);
    let (mut other, _) = listener.accept().unwrap();
    assert_eq!(socket.send(b"the last", MessageFlags::default()), Ok(8));
    socket.shutdown(ShutdownHow::Send).unwrap();
    until_reserved(0);
    let left = socket.qos().unwrap().0;
    assert_eq!(left.sending.service_type, ServiceType::NoTraffic);
    assert_eq!(left.receiving, both.receiving, "the other half goes on");
    assert!(socket.decision().is_some());
    other.write_all(b"an answer").unwrap();
    assert_eq!(socket.receive(&mut [0; 16], MessageFlags::default()), Ok(9));
    // A half that has ended is not asked for again.
    socket.set_qos(&both).unwrap();
    until_reserved(0);
    socket.shutdown(ShutdownHow::Receive).unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while socket.decision().is_some() {
        assert!(Instant::now() < deadline, "nothing is left of it");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A non-blocking socket is notified by FD_READ once it may receive again, and not before.
#[test]
fn a_receiver_that_does_not_wait_is_told_of_credit() {
    let _alone = alone();
    let (listener, peer) = listener("127.0.0.1");
    let (socket, event) = (tcp(GroupSelection::None), Event::new().unwrap());
    let mut qos = Qos::BEST_EFFORT;
    qos.receiving = sending(400).sending;
    socket.connect(peer, &ConnectRequest { sqos: Some(qos), ..ConnectRequest::default() }).unwrap();
    let (mut other, _) = listener.accept().unwrap();
    let writing = std::thread::spawn(move || other.write_all(&[0; 200_000]));
    socket.select_events(Some(&event), Events::READ | Events::CLOSE).unwrap();
    let (mut came, mut buffer) = (0, vec![0; 65_536]);
    while came < 200_000 {
        match socket.receive(&mut buffer, MessageFlags::default()) {
            Ok(more) => came += more,
            Err(Wsa::Ewouldblock) => assert_eq!(told(&socket, &event, Events::READ), None),
            Err(wsa) => panic!("{wsa:?} after {came}"),
        }
    }
    writing.join().unwrap().unwrap();
}

/// What marks a flow's packets goes with its promise, and what the program had set itself comes back.
#[test]
fn a_programs_own_mark_comes_back() {
    let _alone = alone();
    let (_listener, peer) = listener("127.0.0.1");
    let socket = tcp(GroupSelection::None);
    let mark = |field| socket.set_option(SocketOption::TypeOfService, OptionValue::Number(field)).unwrap();
    let marked = || socket.option(SocketOption::TypeOfService).unwrap();
    mark(0x28);
    let provider_specific = ProviderSpecific { ds_field: Some(46), ..ProviderSpecific::default() };
    // A connection that is not made marks nothing that comes after it.
    let gone = listener("127.0.0.1").1;
    assert_eq!(
        socket.connect(gone, &ConnectRequest { provider_specific, ..with(100) }),
        Err(Wsa::Econnrefused)
    );
    assert_eq!(marked(), OptionValue::Number(0x28));
    let plain = tcp(GroupSelection::None);
    plain.connect(peer, &ConnectRequest::default()).unwrap();
    assert_eq!(plain.option(SocketOption::NoDelay), Ok(OptionValue::Number(0)), "Nagle's, as everywhere");
    socket.connect(peer, &ConnectRequest { provider_specific, ..with(100) }).unwrap();
    assert_eq!(marked(), OptionValue::Number(46 << 2));
    assert_eq!(socket.option(SocketOption::NoDelay), Ok(OptionValue::Number(1)), "it has its own pauses");
    socket.set_qos(&Qos::BEST_EFFORT).unwrap();
    assert_eq!(marked(), OptionValue::Number(0x28));
    // One that was never marked is left alone.
    socket.set_qos_with(&sending(100), ProviderSpecific::default()).unwrap();
    mark(0x48);
    capacity(0);
    until_reserved(0);
    let deadline = Instant::now() + Duration::from_secs(5);
    while socket.decision().is_some() {
        assert!(Instant::now() < deadline);
    }
    assert_eq!(marked(), OptionValue::Number(0x48));
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}
