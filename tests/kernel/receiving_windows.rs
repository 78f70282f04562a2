//! What a peer that sends without end gets through to a flow that reserves for receiving, in the worst second: a measurement,
//! printed. `cargo test --test kernel receiving_windows -- --ignored --nocapture`.

use std::net::SocketAddr;
use std::time::Duration;

use flowspec::{Bytes, Flowspec, Qos, Rate};
use gqos::connect::{Ask, Host};
use gqos::lab::{CLIENT_V4, LabNetwork};
use gqos::linux::capture::{CaptureFilter, Packet, Tap, Transport};
use tokio::io::AsyncReadExt;
use tokio::net::UdpSocket;

use super::common::{lab, policy};
use super::receiving::source;

const POLICY: &str = r#"
    version = 1
    [interface.eth0]
    enforcement = "ENFORCEMENT"
    egress = { capacity = "100 Mbit/s", reservable = "80%" }
    ingress = { capacity = "100 Mbit/s", reservable = "80%" }
"#;

const SECONDS: u64 = 6;

/// The most bytes in a second, and the mean over the last three seconds, in kbit/s.
fn worst_second(packets: &[Packet]) -> (u64, u64) {
    let (mut from, mut sum, mut worst) = (0, 0, 0);
    for packet in packets {
        sum += packet.size.get();
        while packet.at - packets[from].at >= Duration::from_secs(1) {
            sum -= packets[from].size.get();
            from += 1;
        }
        worst = worst.max(sum);
    }
    let end = packets.last().map_or(Duration::ZERO, |packet| packet.at);
    let late = packets.iter().filter(|packet| end - packet.at < Duration::from_secs(3));
    (worst * 8 / 1000, late.map(|packet| packet.size.get()).sum::<u64>() * 8 / 3000)
}

/// The packets that leave the client for a flow that receives, and the payload that the flow has read.
fn measure(
    network: &LabNetwork,
    peer: SocketAddr,
    transport: Transport,
    text: &str,
    rate: u64,
) -> (Vec<Packet>, u64) {
    let spec = Flowspec::guaranteed(Rate::from_mbit(rate), Bytes::new(64 * 1024));
    let ask = Ask::qos(Qos { sending: Flowspec::BEST_EFFORT, receiving: spec });
    let tap = network.client.run(async { Tap::open().unwrap() }).unwrap();
    let text = text.to_owned();
    let work = async move {
        let host = Host::start(policy(&text)).await.unwrap();
        let (mut read, mut buf) = (0, vec![0; 65536]);
        let end = tokio::time::Instant::now() + Duration::from_secs(SECONDS);
        match transport {
            Transport::Tcp => {
                let mut flow = host.connector().connect(peer, &ask).await.unwrap();
                while let Ok(Ok(size)) = tokio::time::timeout_at(end, flow.read(&mut buf)).await {
                    read += size as u64;
                }
            }
            Transport::Udp => {
                let flow = host.connector().connect_udp(peer, &ask).await.unwrap();
                flow.send(b"start").await.unwrap();
                while let Ok(Ok(size)) = tokio::time::timeout_at(end, flow.recv(&mut buf)).await {
                    read += size as u64;
                }
            }
        }
        host.stop().await;
        read
    };
    let read = network.server.run(work).unwrap();
    let filter = CaptureFilter { transport, port: peer.port(), segment: Bytes::new(1448) };
    let work = async move { tap.take(filter).unwrap() };
    (network.client.run(work).unwrap(), read)
}

#[test]
#[ignore = "a measurement"]
fn what_arrives_in_the_worst_second() {
    let Some(network) = lab(100) else { return };
    let tcp = source(&network, SocketAddr::from((CLIENT_V4, 5000)));
    let udp = SocketAddr::from((CLIENT_V4, 5001));
    network.client.runtime().spawn(async move {
        let socket = UdpSocket::bind(udp).await.unwrap();
        loop {
            let (_, to) = socket.recv_from(&mut [0; 64]).await.unwrap();
            // 20 Mbit/s for as long as a measurement takes.
            for _ in 0..SECONDS * 400 {
                for _ in 0..4 {
                    let _ = socket.send_to(&[0; 1400], to).await;
                }
                tokio::time::sleep(Duration::from_micros(2240)).await;
            }
        }
    });
    for enforcement in ["auto", "user-space"] {
        let text = POLICY.replace("ENFORCEMENT", enforcement);
        for (transport, peer) in [(Transport::Tcp, tcp), (Transport::Udp, udp)] {
            for rate in [1, 8] {
                let (packets, read) = measure(&network, peer, transport, &text, rate);
                let (worst, late) = worst_second(&packets);
                println!(
                    "{enforcement:10} {transport} {rate} Mbit/s: sent in the worst second {worst} kbit, at the end {late} kbit/s; read {} kbit/s",
                    read * 8 / 1000 / SECONDS
                );
            }
        }
    }
}
