//! Connects with reservations of the daemon: first each by a request, then within a slice, for which nothing waits for the daemon.
//!
//! ```text
//! gqos daemon --policy examples/policies/streaming.toml --socket /tmp/gqos.sock &
//! nc -lku 9000 >/dev/null &
//! cargo run --release --example slice -- /tmp/gqos.sock 127.0.0.1:9000 --rate "1 Mbit/s" --flows 20
//! ```

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use flowspec::{Bytes, Flowspec, Qos, Rate};
use gqos::connect::{Ask, DatagramConnection, Host, SliceRequest};

#[derive(Parser)]
struct Arguments {
    /// The daemon's control socket.
    socket: PathBuf,
    /// The peer's address and port.
    peer: SocketAddr,
    /// The rate of each flow, IP headers included.
    #[arg(long, default_value = "1 Mbit/s")]
    rate: Rate,
    /// How many flows to connect.
    #[arg(long, default_value_t = 20)]
    flows: u32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let Arguments { socket, peer, rate, flows } = Arguments::parse();
    let host = Host::connect_daemon(socket).await?;
    let ask = Ask::qos(Qos::sending(Flowspec::guaranteed(rate, Bytes::new(16_384))));
    drop(connect(&host, peer, (&ask, flows)).await?);
    // Room for all of them, which the daemon reserves at once.
    let slice = host.slice(SliceRequest::new(&ask, flows, peer.ip())).await?;
    println!("a slice of {} flows on {}", slice.most(), slice.interface());
    let connections = connect(&host, peer, (&ask, flows)).await?;
    for decision in connections.iter().filter_map(DatagramConnection::decision).take(1) {
        println!("{}", serde_json::to_string(&decision)?);
    }
    Ok(())
}

/// Connects so many flows, and prints how long each has taken.
async fn connect(
    host: &Host,
    peer: SocketAddr,
    (ask, flows): (&Ask, u32),
) -> anyhow::Result<Vec<DatagramConnection>> {
    let started = Instant::now();
    let mut connections = Vec::new();
    for _ in 0..flows {
        connections.push(host.connector().connect_udp(peer, ask).await?);
    }
    println!("{flows} flows, each in {:?}", started.elapsed() / flows.max(1));
    Ok(connections)
}
