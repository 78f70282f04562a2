//! Slow streams with buckets of less than three segments get their rates beside greedy traffic, both where a wire cuts what
//! arrives into segments and where it arrives in aggregates of up to 64 KiB.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use flowspec::{Bytes, Flowspec, Qos, Rate};
use gqos::connect::{Ask, Connection, Host};
use gqos::lab::{CLIENT_V4, LabNetwork};
use nix::sys::socket::{setsockopt, sockopt::TcpCongestion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::common::{inside, lab_with, policy};
use super::flaps::add_link;
use super::receiving::source;

const POLICY: &str = r#"
    version = 1
    [interface."*"]
    egress = { capacity = "100 Mbit/s", reservable = "80%" }
    ingress = { capacity = "100 Mbit/s", reservable = "80%" }
    [class.viewer]
    dead_after = "10 min"
"#;

/// By the wire of the lab, and by a link of the two hosts alone.
const PEERS: [[u8; 4]; 2] = [CLIENT_V4.octets(), [10, 99, 0, 2]];

/// In bytes per second: 64, 128 and 256 kbit/s.
const RATES: [u64; 3] = [8_000, 16_000, 32_000];

/// A sender needs some seconds to find its rate.
const WARM_UP: Duration = Duration::from_secs(4);
const MEASURED: Duration = Duration::from_secs(10);

/// A busy machine delays segments, and at 64 kbit/s there are 54 of them.
const LEAST_PERCENT: u64 = 80;

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Sending,
    Receiving,
}

/// Payload with the moment at which it was read.
type Arrivals = Vec<(Instant, usize)>;

/// Connects with a reservation of this rate, with cubic.
async fn connected(host: &Host, peer: SocketAddr, rate: u64, way: Way) -> Connection {
    let spec = Flowspec {
        minimum_policed_size: Some(Bytes::new(1500)),
        ..Flowspec::guaranteed(Rate::new(rate), Bytes::new(4096))
    };
    let qos = match way {
        Way::Sending => Qos::sending(spec),
        Way::Receiving => Qos { sending: Flowspec::BEST_EFFORT, receiving: spec },
    };
    let connection = host.connector().connect(peer, &Ask::qos(qos).class("viewer")).await.unwrap();
    setsockopt(connection.socket(), TcpCongestion, &"cubic".into()).unwrap();
    let enforced = connection.decision().unwrap().enforced().cloned().unwrap();
    assert!(enforced.lacking.is_empty(), "{enforced:?}");
    connection
}

/// Reads until the measured time is over.
async fn read(mut stream: impl tokio::io::AsyncRead + Unpin) -> Arrivals {
    let (mut buf, mut arrivals) = (vec![0; 65536], Vec::new());
    let end = tokio::time::Instant::now() + WARM_UP + MEASURED;
    while let Ok(Ok(count)) = tokio::time::timeout_at(end, stream.read(&mut buf)).await
        && count > 0
    {
        arrivals.push((Instant::now(), count));
    }
    arrivals
}

/// What the client reads of the one connection to this address.
fn sink(network: &LabNetwork, address: SocketAddr) -> (SocketAddr, std::sync::mpsc::Receiver<Arrivals>) {
    let (bound, is_bound) = std::sync::mpsc::channel();
    let (send, receive) = std::sync::mpsc::channel();
    network.client.runtime().spawn(async move {
        let listener = TcpListener::bind(address).await.unwrap();
        bound.send(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        send.send(read(stream).await)
    });
    (is_bound.recv().unwrap(), receive)
}

/// Two connections without a reservation by each link, which carry what they can.
fn start_greedy(network: &LabNetwork, way: Way) {
    for peer in PEERS {
        let peer = match way {
            Way::Receiving => source(network, SocketAddr::from((peer, 0))),
            Way::Sending => super::sink(network, SocketAddr::from((peer, 5001))),
        };
        for _ in 0..2 {
            network.server.runtime().spawn(async move {
                let mut stream = TcpStream::connect(peer).await.unwrap();
                setsockopt(&stream, TcpCongestion, &"cubic".into()).unwrap();
                let mut buf = vec![0; 65536];
                match way {
                    Way::Receiving => while stream.read(&mut buf).await.is_ok_and(|count| count > 0) {},
                    Way::Sending => while stream.write_all(&buf).await.is_ok() {},
                }
            });
        }
    }
}

/// How much of the promised payload has arrived after the warm-up, in percent.
fn percent(arrivals: &Arrivals, rate: u64) -> u64 {
    let (begun, _) = arrivals.first().expect("something arrives");
    let mut measured = arrivals.iter().skip_while(|(at, _)| *at - *begun < WARM_UP);
    let Some((first, _)) = measured.next() else { return 0 };
    let (mut count, mut last) = (0, *first);
    for (at, bytes) in measured {
        (count, last) = (count + *bytes as u64, *at);
    }
    // Segments of 1500 bytes have 1448 of payload. The last one may be late.
    let micros = u64::try_from((last - *first).as_micros()).unwrap();
    let promised = u128::from(rate * 1448 / 1500) * u128::from(micros) / 1_000_000;
    u64::try_from(u128::from(count) * 100 / promised.max(1)).unwrap()
}

/// Measures again where a stream did not get its rate: what a busy machine delays once it need not delay once more.
fn check(way: Way) {
    const ATTEMPTS: usize = 3;
    let mut wrong = Vec::new();
    for _ in 0..ATTEMPTS {
        let Some(network) = lab_with(100, &["tc", "ip"]) else { return };
        match measured(&network, way) {
            Ok(()) => return,
            Err(shares) => wrong.push(shares),
        }
    }
    panic!("{}", wrong.join("\n"));
}

/// - **Errors**: what the streams got, where one did not get its rate.
fn measured(network: &LabNetwork, way: Way) -> Result<(), String> {
    add_link(network);
    start_greedy(network, way);
    let host = network.server.run(async { Host::start(policy(POLICY)).await.unwrap() }).unwrap();
    let mut flows = Vec::new();
    for peer in PEERS {
        for rate in RATES {
            let any = SocketAddr::from((peer, 0));
            let (peer, sink) = match way {
                Way::Receiving => (source(network, any), None),
                Way::Sending => {
                    let (peer, arrivals) = sink(network, any);
                    (peer, Some(arrivals))
                }
            };
            flows.push((peer, rate, sink));
        }
    }
    let (send, receive) = std::sync::mpsc::channel();
    for (number, (peer, rate, _)) in flows.iter().enumerate() {
        let (host, peer, rate, send) = (host.clone(), *peer, *rate, send.clone());
        network.server.runtime().spawn(async move {
            let mut connection = connected(&host, peer, rate, way).await;
            match way {
                Way::Receiving => drop(send.send((number, read(connection).await))),
                Way::Sending => while connection.write_all(&[0; 65536]).await.is_ok() {},
            }
        });
    }
    drop(send);
    let mut shares = Vec::new();
    let arrivals: Vec<_> = match way {
        Way::Receiving => receive.iter().collect(),
        Way::Sending => {
            flows.iter().map(|(.., sink)| sink.as_ref().unwrap().recv().unwrap()).enumerate().collect()
        }
    };
    for (number, arrivals) in arrivals {
        let (peer, rate, _) = &flows[number];
        shares.push((peer.ip(), rate * 8 / 1000, percent(&arrivals, *rate)));
    }
    let links = inside(
        &network.server,
        &[
            "sh",
            "-c",
            "for d in eth0 d0 $(ip -o link | grep -o 'gqi[0-9]*'); do tc -s class show dev $d; done",
        ],
    );
    let is_kept = shares.iter().all(|(.., percent)| (LEAST_PERCENT..=120).contains(percent));
    assert_eq!(shares.len(), flows.len(), "{shares:?}");
    network.server.run(async move { host.stop().await }).unwrap();
    if is_kept { Ok(()) } else { Err(format!("address, kbit/s, percent: {shares:?}\n{links}")) }
}

#[test]
fn slow_streams_receive_their_rates_beside_greedy_traffic() {
    check(Way::Receiving);
}

#[test]
fn slow_streams_send_at_their_rates_beside_greedy_traffic() {
    check(Way::Sending);
}
