//! Datagram sockets: their peers, and how their flow specifications and objects shape them.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use flowspec::{Bytes, Qos, Wsa};
use gqos_winsock::{
    ConnectOutcome, ConnectRequest, Family, MessageFlags, OptionValue, ProviderSpecific, Socket,
    SocketOption, SocketType,
};

use super::common::{address, closed_datagram_port, sending, small_datagrams, with_qos};
use super::{check, plain, start, udp};

#[test]
fn connect_sets_and_removes_the_peer() {
    let (one, other) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let (first, second) = (one.local_addr().unwrap(), other.local_addr().unwrap());
    let socket = udp();
    let flags = MessageFlags::default();
    assert_eq!(socket.receive(&mut [0; 8], flags), Err(Wsa::Einval), "without a local address");
    assert_eq!(socket.send(b"x", flags), Err(Wsa::Enotconn));
    let data = ConnectRequest { caller_data: Some(b"ignored"), ..plain() };
    assert_eq!(socket.connect(first, &data), Ok(ConnectOutcome::Connected));
    let local = socket.local_address().unwrap();
    // Datagrams of other senders are not received, not even earlier ones.
    other.send_to(b"other", local).unwrap();
    one.send_to(b"peer", local).unwrap();
    let mut buffer = [0; 64];
    assert_eq!(socket.receive(&mut buffer, flags), Ok(4));
    one.send_to(b"late", local).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(socket.connect(second, &plain()), Ok(ConnectOutcome::Connected));
    socket.set_nonblocking(true).unwrap();
    assert_eq!(
        socket.receive(&mut buffer, flags),
        Err(Wsa::Ewouldblock),
        "it was queued for the earlier peer"
    );
    // The address of all zeroes removes the peer. The port stays.
    assert_eq!(socket.connect(address("0.0.0.0:0"), &plain()), Ok(ConnectOutcome::PeerRemoved));
    assert_eq!(socket.send(b"x", flags), Err(Wsa::Enotconn));
    assert_eq!(socket.receive(&mut buffer, flags), Err(Wsa::Enotconn));
    assert_eq!(socket.local_address().unwrap().port(), local.port());
    assert_eq!(socket.send_to(b"x", flags, first), Ok(1));
    assert_eq!(one.recv(&mut buffer).unwrap(), 1);
    check("broadcast", &udp(), address("255.255.255.255:9"), &plain(), Wsa::Eacces);
}

#[test]
fn a_datagram_longer_than_the_buffer_is_truncated() {
    let one = UdpSocket::bind("127.0.0.1:0").unwrap();
    let socket = udp();
    socket.connect(one.local_addr().unwrap(), &plain()).unwrap();
    one.send_to(b"too long", socket.local_address().unwrap()).unwrap();
    let mut buffer = [0; 3];
    assert_eq!(socket.receive(&mut buffer, MessageFlags::default()), Err(Wsa::Emsgsize));
    assert_eq!(&buffer, b"too");
}

#[test]
fn an_unreachable_port_is_reported_by_receive() {
    let gone = udp();
    gone.connect(closed_datagram_port(), &plain()).unwrap();
    assert_eq!(gone.send(b"x", MessageFlags::default()), Ok(1));
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(gone.send(b"x", MessageFlags::default()), Ok(1), "the ICMP error is kept for receive");
    assert_eq!(gone.receive(&mut [0; 3], MessageFlags::default()), Err(Wsa::Econnreset));
}

#[test]
fn datagrams_wait_for_credit() {
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    let socket = udp();
    socket.connect(other.local_addr().unwrap(), &with_qos(small_datagrams(20_000))).unwrap();
    assert_eq!(socket.send(&[0; 1_001], MessageFlags::default()), Err(Wsa::Emsgsize), "above max_sdu_size");
    let before = Instant::now();
    for _ in 0..6 {
        assert_eq!(socket.send(&[0; 972], MessageFlags::default()), Ok(972));
    }
    // Two from the bucket, four at 20 kB/s.
    assert!(before.elapsed() >= Duration::from_millis(190), "{:?}", before.elapsed());
    socket.set_nonblocking(true).unwrap();
    // Credit for one more returns in 50 ms, for which a busy machine may suspend this thread now and then.
    let is_refused = || socket.send(&[0; 972], MessageFlags::default()) == Err(Wsa::Ewouldblock);
    assert!((0..100).any(|_| is_refused()), "without credit");
}

#[test]
fn sio_udp_connreset_turns_off_the_report_of_unreachable_ports() {
    let gone = closed_datagram_port();
    for reported in [true, false] {
        let socket = udp();
        socket.set_reports_resets(reported).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.connect(gone, &plain()).unwrap();
        assert_eq!(socket.send(b"x", MessageFlags::default()), Ok(1));
        // The answer of the other end may come late.
        let is_reset = || {
            std::thread::sleep(Duration::from_millis(5));
            let result = socket.receive(&mut [0; 4], MessageFlags::default());
            assert!(matches!(result, Err(Wsa::Econnreset | Wsa::Ewouldblock)), "{result:?}");
            result == Err(Wsa::Econnreset)
        };
        let rounds = if reported { 2000 } else { 20 };
        assert_eq!((0..rounds).any(|_| is_reset()), reported);
    }
}

#[test]
fn qos_destaddr_reserves_for_a_socket_without_a_peer() {
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    let peer = other.local_addr().unwrap();
    let socket = udp();
    let provider_specific = ProviderSpecific { destination: Some(peer), ..ProviderSpecific::default() };
    socket.set_qos_with(&small_datagrams(20_000), provider_specific).unwrap();
    assert_eq!(socket.decision().unwrap().charged().sending.get(), 20_000);
    let before = Instant::now();
    for _ in 0..4 {
        assert_eq!(socket.send_to(&[0; 972], MessageFlags::default(), peer), Ok(972));
    }
    assert!(before.elapsed() >= Duration::from_millis(90), "{:?}", before.elapsed());
    assert_eq!(socket.set_qos_with(&sending(5000), provider_specific), Err(Wsa::Eopnotsupp));
    assert_eq!(socket.set_qos_with(&Qos::BEST_EFFORT, provider_specific), Ok(()));
    assert!(socket.decision().is_none());
}

/// The packets to an IPv4-mapped peer carry the mark of IPv4.
#[test]
fn the_programs_own_mark_returns_with_the_end_of_a_reservation() {
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mapped =
        SocketAddr::new(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(), other.local_addr().unwrap().port());
    let provider_specific = ProviderSpecific { ds_field: Some(46), ..ProviderSpecific::default() };
    for (family, peer) in [(Family::Inet, other.local_addr().unwrap()), (Family::Inet6, mapped)] {
        start();
        let socket = Socket::open(family, SocketType::Datagram).unwrap();
        if family == Family::Inet6 {
            socket.set_option(SocketOption::Ipv6Only, OptionValue::Number(0)).unwrap();
        }
        let mark = || socket.option(SocketOption::TypeOfService).unwrap();
        socket.set_option(SocketOption::TypeOfService, OptionValue::Number(8 << 2)).unwrap();
        let request = ConnectRequest { provider_specific, ..with_qos(small_datagrams(20_000)) };
        socket.connect(peer, &request).unwrap();
        assert_eq!(mark(), OptionValue::Number(46 << 2), "{family:?}");
        socket.set_qos(&Qos::BEST_EFFORT).unwrap();
        assert_eq!(mark(), OptionValue::Number(8 << 2), "{family:?}");
    }
}

#[test]
fn sends_and_receives_time_out() {
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    let socket = udp();
    socket.connect(other.local_addr().unwrap(), &plain()).unwrap();
    socket.set_option(SocketOption::ReceiveTimeout, OptionValue::Number(30)).unwrap();
    assert_eq!(socket.option(SocketOption::ReceiveTimeout), Ok(OptionValue::Number(30)));
    let before = Instant::now();
    assert_eq!(socket.receive(&mut [0; 8], MessageFlags::default()), Err(Wsa::Etimedout));
    assert!(before.elapsed() >= Duration::from_millis(30));
    // The flow has no credit for longer than SO_SNDTIMEO.
    let held = udp();
    let mut qos = small_datagrams(1_000);
    qos.sending.token_bucket_size = Some(Bytes::new(1_000));
    held.connect(other.local_addr().unwrap(), &with_qos(qos)).unwrap();
    // Without the timeout: the flows of other tests that have ended may owe what this one starts without.
    assert_eq!(held.send(&[0; 972], MessageFlags::default()), Ok(972));
    held.set_option(SocketOption::SendTimeout, OptionValue::Number(30)).unwrap();
    assert_eq!(held.send(&[0; 972], MessageFlags::default()), Err(Wsa::Etimedout));
}
