//! ProviderSpecific objects and what they change. In a program of its own: a flow starts without the tokens that flows
//! which have just ended owe.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests wait for other threads"
)]

mod common;

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use common::{POLICY, datagram, policy, small_datagrams, with_qos};
use flowspec::Rate;
use flowspec::objects::ShapeDiscardMode;
use gqos_winsock::{ConnectRequest, MessageFlags, OptionValue, ProviderSpecific, SocketOption, startup_with};

/// Discarding, another shaping rate, a DSCP, and borrowing.
#[test]
fn provider_specific_objects_take_effect() {
    startup_with(policy(POLICY)).unwrap();
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    other.set_nonblocking(true).unwrap();
    let peer = other.local_addr().unwrap();
    // At 100 B/s a send that waits takes ten seconds: a busy machine does not look like one.
    let sent_at = |rate: u64, expected: usize, provider_specific: ProviderSpecific| {
        let socket = datagram();
        socket
            .connect(peer, &ConnectRequest { provider_specific, ..with_qos(small_datagrams(rate)) })
            .unwrap();
        let before = Instant::now();
        for _ in 0..4 {
            assert_eq!(socket.send(&[0; 972], MessageFlags::default()), Ok(972));
        }
        let took = before.elapsed();
        // What was sent comes a moment later, and no more.
        let mut came = 0;
        for round in 0.. {
            std::thread::sleep(Duration::from_millis(20));
            while other.recv(&mut [0; 2000]).is_ok() {
                came += 1;
            }
            if came >= expected || round == 500 {
                break;
            }
        }
        (took, came, socket.option(SocketOption::TypeOfService).unwrap())
    };
    let sent = |provider_specific| sent_at(20_000, 4, provider_specific);
    let quick = Duration::from_secs(5);
    let mode = |excess| ProviderSpecific { shape_discard_mode: Some(excess), ..ProviderSpecific::default() };
    let (took, came, _) = sent_at(100, 2, mode(ShapeDiscardMode::Discard));
    assert!(took < quick && came == 2, "dropped: {took:?}, {came} came");
    let (took, came, _) = sent_at(100, 4, mode(ShapeDiscardMode::Borrow));
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
