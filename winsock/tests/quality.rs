//! Reservations that change while sockets are open, network events, and socket groups.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests wait for other threads"
)]

mod common;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::{
    address, closed_port, datagram, listener, listener_on, policy, sending, until_reserved, wait_for, with,
    with_qos,
};
use flowspec::{Direction, Flowspec, Qos, Rate, ServiceType, Wsa};
use gqos::admission::Operation;
use gqos_winsock::{
    AcceptOptions, Callback, ConnectOutcome, ConnectRequest, EventObject, EventSet, Family, GroupSelection,
    LeafRole, MessageFlags, OptionValue, ProviderSpecific, ShutdownHow, Socket, SocketOption, SocketType,
    startup_with, submit,
};

const POLICY: &str = r#"
version = 1
[interface.lo]
egress = { capacity = "10 Mbit/s", reservable = "80%" }
on_capacity_drop = "shed"
enforcement = "user-space"
"#;

/// All tests of this program reserve on loopback: each waits for the one before.
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

/// The rate of a group, without a limit for the buckets of its members.
fn envelope(kilobytes: u64) -> Qos {
    let mut qos = sending(kilobytes);
    qos.sending.token_bucket_size = None;
    qos
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

#[test]
fn fd_qos_reports_a_lost_reservation_once_and_sio_get_qos_its_status() {
    let _alone = alone();
    let (_listener, peer) = listener();
    let (socket, event) = (tcp(GroupSelection::None), EventObject::new().unwrap());
    assert_eq!(socket.connect(peer, &with(400)), Ok(ConnectOutcome::Connected));
    socket.select_events(Some(&event), EventSet::QOS).unwrap();
    capacity(2);
    assert_eq!(wait_for(&socket, &event, EventSet::QOS), Some(Wsa::QosAdmissionFailure));
    let (qos, status) = socket.qos().unwrap();
    assert_eq!((qos, status.unwrap().code), (Qos::BEST_EFFORT, Wsa::QosAdmissionFailure));
    assert_eq!(socket.qos(), Err(Wsa::Ewouldblock), "no further status");
    assert!(socket.qos().is_ok() && socket.decision().is_none());
    until_reserved(0);
    // The socket is no longer shaped: more than its bucket holds is sent at once.
    let sent = socket.send(&[0; 210_000], MessageFlags::default());
    assert!(sent.is_ok_and(|sent| sent > 100_000), "{sent:?}");
    // The socket may request a QOS again, and is notified again.
    socket.set_qos(&sending(100)).unwrap();
    capacity(1);
    until_reserved(100);
    capacity(0);
    assert_eq!(wait_for(&socket, &event, EventSet::QOS), Some(Wsa::QosAdmissionFailure));
    until_reserved(0);
}

#[test]
fn fd_qos_reports_to_a_refused_socket_that_capacity_is_available() {
    let _alone = alone();
    let (_listener, peer) = listener();
    let first = tcp(GroupSelection::None);
    assert_eq!(first.connect(peer, &with(900)), Ok(ConnectOutcome::Connected));
    let (socket, event) = (tcp(GroupSelection::None), EventObject::new().unwrap());
    socket.select_events(Some(&event), EventSet::QOS | EventSet::CONNECT).unwrap();
    assert_eq!(socket.connect(peer, &with(600)), Err(Wsa::Eopnotsupp));
    first.close().unwrap();
    assert_eq!(wait_for(&socket, &event, EventSet::QOS), Some(Wsa::QosReceivers));
    assert_eq!(socket.qos().unwrap().1.unwrap().code, Wsa::QosReceivers);
    let again = socket.connect(peer, &with(600));
    assert!(matches!(again, Ok(_) | Err(Wsa::Ewouldblock)), "{again:?}");
    assert_eq!(wait_for(&socket, &event, EventSet::CONNECT), None);
    until_reserved(600);
    // A flow that gives up waiting blocks no other flow.
    let other = tcp(GroupSelection::None);
    other.select_events(Some(&event), EventSet::QOS).unwrap();
    assert_eq!(other.connect(peer, &with(600)), Err(Wsa::Eopnotsupp));
    drop((other, socket));
    until_reserved(0);
}

#[test]
fn a_group_shares_the_qos_of_its_creator() {
    let _alone = alone();
    let (_listener, peer) = listener();
    let creator = tcp(GroupSelection::Unconstrained);
    let request = ConnectRequest { gqos: Some(envelope(500)), ..with(200) };
    assert_eq!(creator.connect(peer, &request), Ok(ConnectOutcome::Connected));
    until_reserved(500);
    assert_eq!(creator.group_qos(), Ok(Some(envelope(500))));
    // A member reserves within the group. Its QOS for the group is ignored, and it may not set one.
    let member = tcp(id(&creator));
    assert_eq!(id(&member), id(&creator));
    let ignored = ConnectRequest { gqos: Some(envelope(900)), ..with(300) };
    assert_eq!(member.connect(peer, &ignored), Ok(ConnectOutcome::Connected));
    until_reserved(500);
    assert_eq!(member.set_group_qos(&envelope(900)), Err(Wsa::Einval));
    let third = tcp(id(&creator));
    assert_eq!(third.connect(peer, &with(1)), Err(Wsa::Eopnotsupp));
    assert_eq!(third.qos().unwrap().1.unwrap().extended_status1, 56_103);
    // A larger QOS is reported to all members. One that is less than the members have is refused.
    let event = EventObject::new().unwrap();
    member.select_events(Some(&event), EventSet::GROUP_QOS).unwrap();
    creator.set_group_qos(&envelope(600)).unwrap();
    assert_eq!(wait_for(&member, &event, EventSet::GROUP_QOS), Some(Wsa::QosRequestConfirmed));
    until_reserved(600);
    assert_eq!(creator.set_group_qos(&envelope(400)), Err(Wsa::Eopnotsupp));
    assert_eq!(third.connect(peer, &with(100)), Ok(ConnectOutcome::Connected));
    // A group is not preempted. Its members are notified when its reservation exceeds the capacity, and when that ends.
    let _ = member.take_events(Some(&event)).unwrap();
    member.select_events(Some(&event), EventSet::GROUP_QOS).unwrap();
    capacity(1);
    assert_eq!(wait_for(&member, &event, EventSet::GROUP_QOS), Some(Wsa::QosAdmissionFailure));
    member.select_events(Some(&event), EventSet::GROUP_QOS).unwrap();
    capacity(10);
    assert_eq!(wait_for(&member, &event, EventSet::GROUP_QOS), Some(Wsa::QosRequestConfirmed));
    // Datagram sockets may be members too. Without a QOS of their own they reserve nothing.
    let datagrams = Socket::open_in_group(Family::Inet, SocketType::Datagram, id(&creator)).unwrap();
    assert_eq!(datagrams.connect(peer, &ConnectRequest::default()), Ok(ConnectOutcome::Connected));
    // The group ends with its last socket.
    let number = id(&creator);
    drop((creator, third, datagrams));
    until_reserved(600);
    drop(member);
    until_reserved(0);
    assert_eq!(Socket::open_in_group(Family::Inet, SocketType::Stream, number).map(drop), Err(Wsa::Einval));
}

#[test]
fn a_failed_connection_releases_the_qos_of_its_group() {
    let _alone = alone();
    let closed = closed_port();
    let creator = tcp(GroupSelection::Unconstrained);
    let request = ConnectRequest { gqos: Some(envelope(500)), ..with(200) };
    assert_eq!(creator.connect(closed, &request), Err(Wsa::Econnrefused));
    until_reserved(0);
    // More than the interface has, then more than the group has.
    let (_listener, peer) = listener();
    let too_much = ConnectRequest { gqos: Some(envelope(5000)), ..with(200) };
    assert_eq!(creator.connect(peer, &too_much), Err(Wsa::Eopnotsupp));
    assert_eq!(creator.qos().unwrap().1.unwrap().code, Wsa::QosAdmissionFailure);
    let beyond = ConnectRequest { gqos: Some(envelope(100)), ..with(200) };
    assert_eq!(creator.connect(peer, &beyond), Err(Wsa::Eopnotsupp));
    until_reserved(0);
    // A QOS that SIO_SET_GROUP_QOS has set is reserved with the connection.
    creator.set_group_qos(&envelope(300)).unwrap();
    assert_eq!(creator.group_qos(), Ok(Some(envelope(300))));
    assert_eq!(creator.connect(peer, &with(200)), Ok(ConnectOutcome::Connected));
    until_reserved(300);
    creator.set_group_qos(&Qos::BEST_EFFORT).unwrap();
    drop(creator);
    until_reserved(0);
}

#[test]
fn a_constrained_group_has_sockets_of_one_kind_to_one_host() {
    let _alone = alone();
    assert_eq!(
        Socket::open_in_group(Family::Inet, SocketType::Datagram, GroupSelection::Constrained).map(drop),
        Err(Wsa::Einval)
    );
    let (here, there) = (listener(), listener_on("127.0.0.2"));
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
fn an_event_may_be_awaited_on_a_runtime() {
    let _alone = alone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (_listener, peer) = listener();
        let (socket, event) = (tcp(GroupSelection::None), EventObject::new().unwrap());
        socket.select_events(Some(&event), EventSet::CONNECT | EventSet::WRITE).unwrap();
        let begun = socket.connect(peer, &with(100));
        assert!(matches!(begun, Ok(_) | Err(Wsa::Ewouldblock)), "{begun:?}");
        let signalled = tokio::time::timeout(Duration::from_secs(5), event.signalled()).await;
        assert_eq!(signalled.expect("in time"), Ok(()));
        let found = socket.take_events(Some(&event)).unwrap();
        assert!(found.events.contains(EventSet::CONNECT) && found.errors[4].is_none(), "{found:?}");
    });
}

#[test]
fn a_callback_receives_network_events() {
    let _alone = alone();
    let (listener, peer) = listener();
    let (sender, events) = std::sync::mpsc::channel();
    let socket = tcp(GroupSelection::None);
    let callback: Callback = Arc::new(move |number, event, error| {
        // A callback may not make blocking calls.
        let inside = tcp(GroupSelection::None).connect(peer, &ConnectRequest::default());
        sender.send((number, event, error, inside)).unwrap();
    });
    assert_eq!(socket.select_callback(None, EventSet::READ), Err(Wsa::Einval));
    socket.select_callback(Some(callback), EventSet::CONNECT | EventSet::READ | EventSet::CLOSE).unwrap();
    let _ = socket.connect(peer, &with(100));
    let next = || events.recv_timeout(Duration::from_secs(5)).unwrap();
    assert_eq!(next(), (socket.number(), EventSet::CONNECT, None, Err(Wsa::Einprogress)));
    let (mut other, _) = listener.accept().unwrap();
    other.write_all(b"hello").unwrap();
    assert_eq!(next().1, EventSet::READ);
    assert_eq!(socket.receive(&mut [0; 16], MessageFlags::default()), Ok(5));
    drop(other);
    assert_eq!(next().1, EventSet::CLOSE);
}

/// Guaranteed service for receiving.
fn receiving(kilobytes: u64) -> Qos {
    let Qos { sending, receiving } = sending(kilobytes);
    Qos { sending: receiving, receiving: sending }
}

#[test]
fn fd_qos_reports_receivers_and_senders_where_both_ends_are_in_one_process() {
    let _alone = alone();
    // The listener's SIO_SET_QOS applies to the sockets that it accepts.
    let (listener, event) = (tcp(GroupSelection::None), EventObject::new().unwrap());
    listener.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    listener.set_qos(&receiving(100)).unwrap();
    listener.listen(5).unwrap();
    let client = tcp(GroupSelection::None);
    client.select_events(Some(&event), EventSet::QOS).unwrap();
    let _ = client.connect(listener.local_address().unwrap(), &with(100));
    let (server, _) = listener.accept().unwrap();
    assert_eq!(wait_for(&client, &event, EventSet::QOS), Some(Wsa::QosReceivers));
    server.select_events(Some(&event), EventSet::QOS).unwrap();
    assert_eq!(wait_for(&server, &event, EventSet::QOS), Some(Wsa::QosSenders));
    drop((client, server, listener));
    // A datagram socket without a peer receives from every sender.
    let [sender, receiver] = [datagram(), datagram()];
    receiver.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    receiver.select_events(Some(&event), EventSet::QOS).unwrap();
    sender.connect(receiver.local_address().unwrap(), &with(100)).unwrap();
    assert_eq!(receiver.qos().unwrap().1, None, "only one end has QoS");
    receiver.set_qos(&receiving(100)).unwrap();
    assert_eq!(wait_for(&receiver, &event, EventSet::QOS), Some(Wsa::QosSenders));
    assert_eq!(receiver.qos().unwrap().1.unwrap().code, Wsa::QosSenders);
    assert_eq!(
        sender.qos().unwrap().1.unwrap().code,
        Wsa::QosRequestConfirmed,
        "announced once FD_QOS is selected"
    );
    sender.select_events(Some(&event), EventSet::QOS).unwrap();
    assert_eq!(sender.qos().unwrap().1.unwrap().code, Wsa::QosReceivers);
}

#[test]
fn join_leaf_reserves_for_a_multicast_session() {
    let _alone = alone();
    let sender = datagram();
    let session: SocketAddr = "239.1.2.3:5000".parse().unwrap();
    assert_eq!(
        tcp(GroupSelection::None).join_leaf(session, &with(100), LeafRole::Sender),
        Err(Wsa::Eopnotsupp)
    );
    let plain = "127.0.0.1:5000".parse().unwrap();
    assert_eq!(sender.join_leaf(plain, &with(100), LeafRole::Sender), Err(Wsa::Eaddrnotavail));
    let other = Socket::open(Family::Inet6, SocketType::Datagram).unwrap();
    assert_eq!(other.join_leaf(session, &with(100), LeafRole::Both), Err(Wsa::Eafnosupport));
    // The machine's routes choose the interface: the policy may not have it.
    match sender.join_leaf(session, &with(100), LeafRole::Sender) {
        Ok(()) => assert_eq!(sender.decision().unwrap().charged().sending, Rate::new(100_000)),
        Err(code) => assert!(matches!(code, Wsa::Eopnotsupp | Wsa::Enetunreach), "{code:?}"),
    }
}

#[test]
fn servicetype_nochange_keeps_the_flowspec_that_was_set() {
    let _alone = alone();
    let (_listener, peer) = listener();
    let socket = tcp(GroupSelection::None);
    socket.set_qos(&sending(300)).unwrap();
    let request =
        with_qos(Qos { sending: Flowspec::new(ServiceType::NoChange), receiving: Flowspec::BEST_EFFORT });
    socket.connect(peer, &request).unwrap();
    until_reserved(300);
    assert_eq!(socket.qos().unwrap().0.sending.token_rate, Some(Rate::new(300_000)));
}

#[test]
fn another_peer_takes_over_the_reservation() {
    let _alone = alone();
    let (one, other) = (address("127.0.0.1:9"), address("127.0.0.2:9"));
    let socket = datagram();
    socket.connect(one, &with(600)).unwrap();
    until_reserved(600);
    assert_eq!(
        socket.connect(other, &with(700)),
        Ok(ConnectOutcome::Connected),
        "the earlier reservation is replaced"
    );
    until_reserved(700);
    // A refusal changes neither the reservation nor the peer.
    assert_eq!(socket.connect(one, &with(1_100)), Err(Wsa::Eopnotsupp));
    assert_eq!(socket.peer_address(), Ok(other));
    until_reserved(700);
    // Without a QOS the reservation is kept.
    socket.connect(one, &ConnectRequest::default()).unwrap();
    until_reserved(700);
    let nothing = with_qos(Qos::BEST_EFFORT);
    socket.connect(one, &nothing).unwrap();
    until_reserved(0);
    socket.set_nonblocking(true).unwrap();
    for _ in 0..1_000 {
        // No longer shaped.
        assert_eq!(socket.send(&[0; 1000], MessageFlags::default()), Ok(1000));
    }
}

#[test]
fn shutting_down_a_direction_releases_its_reservation() {
    let _alone = alone();
    let (listener, peer) = listener();
    let socket = tcp(GroupSelection::None);
    let mut both = sending(300);
    both.receiving = sending(200).sending;
    socket.connect(peer, &with_qos(both)).unwrap();
    until_reserved(300);
    let (mut other, _) = listener.accept().unwrap();
    assert_eq!(socket.send(b"the last", MessageFlags::default()), Ok(8));
    socket.shutdown(ShutdownHow::Send).unwrap();
    until_reserved(0);
    let left = socket.qos().unwrap().0;
    assert_eq!(left.sending.service_type, ServiceType::NoTraffic);
    assert_eq!(left.receiving, both.receiving, "the other direction is kept");
    assert!(socket.decision().is_some());
    other.write_all(b"an answer").unwrap();
    assert_eq!(socket.receive(&mut [0; 16], MessageFlags::default()), Ok(9));
    // A direction that has ended is not reserved again.
    socket.set_qos(&both).unwrap();
    until_reserved(0);
    socket.shutdown(ShutdownHow::Receive).unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while socket.decision().is_some() {
        assert!(Instant::now() < deadline, "the reservation is released in time");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A non-blocking socket is notified by FD_READ once it may receive again, and not before.
#[test]
fn fd_read_is_recorded_when_receive_credit_returns() {
    let _alone = alone();
    let (listener, peer) = listener();
    let (socket, event) = (tcp(GroupSelection::None), EventObject::new().unwrap());
    let mut qos = Qos::BEST_EFFORT;
    qos.receiving = sending(400).sending;
    socket.connect(peer, &with_qos(qos)).unwrap();
    let (mut other, _) = listener.accept().unwrap();
    let writing = std::thread::spawn(move || other.write_all(&[0; 200_000]));
    socket.select_events(Some(&event), EventSet::READ | EventSet::CLOSE).unwrap();
    let (mut received, mut buffer) = (0, vec![0; 65_536]);
    while received < 200_000 {
        match socket.receive(&mut buffer, MessageFlags::default()) {
            Ok(more) => received += more,
            Err(Wsa::Ewouldblock) => assert_eq!(wait_for(&socket, &event, EventSet::READ), None),
            Err(wsa) => panic!("{wsa:?} after {received} bytes"),
        }
    }
    writing.join().unwrap().unwrap();
}

/// A flow's mark ends with its reservation, and the program's own mark is restored.
#[test]
fn the_programs_own_mark_is_restored() {
    let _alone = alone();
    let (_listener, peer) = listener();
    let socket = tcp(GroupSelection::None);
    let mark = |field| socket.set_option(SocketOption::TypeOfService, OptionValue::Number(field)).unwrap();
    let marked = || socket.option(SocketOption::TypeOfService).unwrap();
    mark(0x28);
    let provider_specific = ProviderSpecific { ds_field: Some(46), ..ProviderSpecific::default() };
    // A failed connection leaves the mark as it was.
    let gone = closed_port();
    assert_eq!(
        socket.connect(gone, &ConnectRequest { provider_specific, ..with(100) }),
        Err(Wsa::Econnrefused)
    );
    assert_eq!(marked(), OptionValue::Number(0x28));
    let plain = tcp(GroupSelection::None);
    plain.connect(peer, &ConnectRequest::default()).unwrap();
    assert_eq!(plain.option(SocketOption::NoDelay), Ok(OptionValue::Number(0)), "the default");
    socket.connect(peer, &ConnectRequest { provider_specific, ..with(100) }).unwrap();
    assert_eq!(marked(), OptionValue::Number(46 << 2));
    assert_eq!(
        socket.option(SocketOption::NoDelay),
        Ok(OptionValue::Number(1)),
        "set, since the shaper paces the data"
    );
    socket.set_qos(&Qos::BEST_EFFORT).unwrap();
    assert_eq!(marked(), OptionValue::Number(0x28));
    // A flow without a mark leaves the mark alone.
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
