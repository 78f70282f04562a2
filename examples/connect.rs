//! Connects with a reservation, sends for some seconds and prints the rate that was achieved.
//!
//! ```text
//! nc -lk 9000 >/dev/null &
//! sudo cargo run --release --example connect -- 127.0.0.1:9000 --rate "4 Mbit/s" --link "100 Mbit/s"
//! ```
//!
//! Without CAP_NET_ADMIN no kernel class is programmed for the flow. The token bucket in user space still limits it to
//! its rate, and the decision says what is missing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use flowspec::{Bytes, Direction, Flowspec, Qos, Rate, Share};
use gqos::connect::{Ask, Host};
use gqos::policy::{Budget, Capacity, InterfacePolicy, Policy};
use tokio::io::AsyncWriteExt;

#[derive(Parser)]
struct Arguments {
    /// The peer's address and port.
    peer: SocketAddr,
    /// The rate to reserve, IP headers included.
    #[arg(long, default_value = "4 Mbit/s")]
    rate: Rate,
    /// The token bucket size: the largest burst.
    #[arg(long, default_value = "64 KiB")]
    bucket: Bytes,
    /// The capacity of the link; 80 % of it can be reserved.
    #[arg(long, default_value = "100 Mbit/s")]
    link: Rate,
    /// How long to send, in seconds.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let Arguments { peer, rate, bucket, link, seconds } = Arguments::parse();

    // A policy usually comes from a file; this one is built in code.
    let budget = Budget::new(Capacity::Rate(link), Share::Part(800_000_000));
    let any_interface = InterfacePolicy::new(flowspec::Both { sending: budget, receiving: budget });
    let policy = Policy { any_interface: Some(any_interface), ..Policy::default() };
    let host = Host::start(Arc::new(policy)).await?;

    let qos = Qos::sending(Flowspec::guaranteed(rate, bucket));
    let mut connection = match host.connector().connect(peer, &Ask::qos(qos)).await {
        Ok(connection) => connection,
        Err(error) => {
            host.stop().await;
            return Err(error.into());
        }
    };
    println!("{}", serde_json::to_string_pretty(&connection.decision())?);

    let started = Instant::now();
    let data = vec![0; 64 << 10];
    while started.elapsed() < Duration::from_secs(seconds) {
        connection.write_all(&data).await?;
    }
    let stats = connection.flow().control().stats(Direction::Sending);
    let micros = started.elapsed().as_micros().max(1);
    let achieved = u64::try_from(u128::from(stats.charged) * 1_000_000 / micros)?;
    println!(
        "{} B of payload, {} B with headers, in {seconds} s: {} B/s of {} B/s",
        stats.bytes,
        stats.charged,
        achieved,
        rate.get()
    );

    drop(connection);
    host.stop().await;
    Ok(())
}
