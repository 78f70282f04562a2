//! Measures the bucket depth and the rate of shaped flows from packets captured at the sending device and at the receiver.
//!
//! `cargo bench --bench depth`. Needs root (or CAP_SYS_ADMIN and CAP_NET_RAW) for two hosts in namespaces of their own.
//! Congestion control is cubic. All sizes are bytes of IP datagrams.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    reason = "a bench"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use flowspec::{Bytes, Flowspec, Peak, Qos, Rate};
use gqos::connect::{Ask, Host};
use gqos::lab::{CLIENT_V4, LabNetwork};
use gqos::linux::capture::{CaptureFilter, Packet, Tap, Transport, depth};
use gqos::linux::socket;
use gqos::policy::{Policy, Source};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

const POLICY: &str = r#"
    version = 1
    [interface.eth0]
    egress = { capacity = "900 Mbit/s", reservable = "80%" }
    enforcement = "ENFORCEMENT"
"#;
const PORT: u16 = 5000;
const SECONDS: u64 = 8;

fn main() {
    println!(
        "shaped flows, greedy, {SECONDS} s each; b = bucket, M = 1500 B; depth is at most b + M if all is well"
    );
    println!(
        "{:<10} {:<4} {:>12} {:>12} {:>8}  {:>9} {:>10} {:>10}",
        "", "", "rate", "peak", "b", "rate got", "depth tx", "depth rx"
    );
    for enforcement in ["kernel", "user-space"] {
        let cases = [
            (1, 16_384, None),
            (4, 65_536, None),
            (8, 16_384, None),
            (8, 3_000, None),
            (8, 65_536, Some(16)),
            (8, 65_536, Some(8)),
            (100, 125_000, None),
        ];
        for (megabits, bucket, peak) in cases {
            for tcp in [true, false] {
                measure(enforcement, tcp, Rate::from_mbit(megabits), bucket, peak.map(Rate::from_mbit));
            }
        }
    }
}

fn measure(enforcement: &'static str, tcp: bool, rate: Rate, bucket: u64, peak: Option<Rate>) {
    let network = LabNetwork::new(Rate::from_mbit(1000)).unwrap();
    let ready = network.client.run(async move {
        let listener = TcpListener::bind((CLIENT_V4, PORT)).await.unwrap();
        let datagrams = UdpSocket::bind((CLIENT_V4, PORT)).await.unwrap();
        tokio::spawn(async move { while datagrams.recv(&mut [0; 2048]).await.is_ok() {} });
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buf = vec![0; 1 << 18];
            while stream.read(&mut buf).await.is_ok_and(|came| came > 0) {}
        });
        Tap::open().unwrap()
    });
    let receiver = ready.unwrap();
    let sender = network.server.run(async { Tap::open().unwrap() }).unwrap();
    let text = POLICY.replace("ENFORCEMENT", enforcement);
    let (policy, _) = Policy::parse(&[Source { name: "bench", text: &text }]).unwrap();
    network.server.run(greedy(Arc::new(policy), tcp, rate, bucket, peak)).unwrap();
    let transport = if tcp { Transport::Tcp } else { Transport::Udp };
    let filter = CaptureFilter { transport, port: PORT, segment: Bytes::new(1448) };
    let [tx, rx] = [sender, receiver].map(|tap| tap.take(filter).unwrap());
    let outgoing = |packets: &[Packet]| -> Vec<Packet> {
        // Acknowledgements in the other direction are small; data packets are not.
        packets.iter().copied().filter(|packet| packet.size.get() > 100).collect()
    };
    let (tx, rx) = (outgoing(&tx), outgoing(&rx));
    let name = if tcp { "tcp" } else { "udp" };
    println!(
        "{enforcement:<10} {name:<4} {:>12} {:>12} {bucket:>8}  {:>8.4}x {:>10} {:>10}",
        rate.to_string(),
        peak.map_or_else(|| "infinite".into(), |peak| peak.to_string()),
        sustained(&tx, bucket) / rate.get() as f64,
        depth(&tx, rate).get(),
        depth(&rx, rate).get()
    );
}

async fn greedy(policy: Arc<Policy>, tcp: bool, rate: Rate, bucket: u64, peak: Option<Rate>) {
    let host = Host::start(policy).await.unwrap();
    let mut spec = Flowspec::guaranteed(rate, Bytes::new(bucket));
    spec.minimum_policed_size = Some(Bytes::new(1000));
    spec.peak_bandwidth = peak.map(Peak::Finite);
    let (peer, ask) = (SocketAddr::from((CLIENT_V4, PORT)), Ask::qos(Qos::sending(spec)));
    let time = Duration::from_secs(SECONDS);
    if tcp {
        let mut connection = host.connector().connect(peer, &ask).await.unwrap();
        socket::set_congestion_control(connection.socket(), "cubic").unwrap();
        let data = vec![0; 64 << 10];
        let _ =
            tokio::time::timeout(time, async { while connection.write_all(&data).await.is_ok() {} }).await;
    } else {
        let connection = host.connector().connect_udp(peer, &ask).await.unwrap();
        let _ =
            tokio::time::timeout(time, async { while connection.send(&[0; 1400]).await.is_ok() {} }).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    host.stop().await;
}

/// Bytes per second after the initially full bucket has been used up.
fn sustained(packets: &[Packet], bucket: u64) -> f64 {
    let mut skipped = 0;
    let rest = packets.iter().skip_while(|packet| {
        skipped += packet.size.get();
        skipped < 2 * bucket
    });
    let rest: Vec<&Packet> = rest.collect();
    let (Some(first), Some(last)) = (rest.first(), rest.last()) else { return 0.0 };
    let bytes: u64 = rest[1..].iter().map(|packet| packet.size.get()).sum();
    bytes as f64 / (last.at - first.at).as_secs_f64()
}
