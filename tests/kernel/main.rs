//! The whole path on the real kernel: two hosts and a wire, real sockets, real classes.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod cgroup;
#[cfg(feature = "cli")]
mod clean;
#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "cli")]
mod connect_command;
mod connections;
#[cfg(feature = "cli")]
mod daemon_clients;
mod differential;
mod differential_filters;
#[cfg(feature = "cli")]
mod doctor;
mod faults;
mod flaps;
mod hosts;
mod idle;
mod netlink;
#[cfg(feature = "cli")]
mod plan;
mod receiving;
mod receiving_upkeep;
mod receiving_windows;
#[cfg(feature = "cli")]
mod reference_cases;
mod released;
mod route_changes;
mod routes;
mod slow_streams;
mod sockets;
mod stacked;
#[cfg(feature = "cli")]
mod takeover;
mod transaction;
mod upkeep;
mod vrf;

use std::net::SocketAddr;
use std::time::Duration;

use flowspec::{Bytes, Flowspec, Qos, Rate};
use gqos::connect::Host;
use gqos::lab::LabNetwork;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, UdpSocket};

const POLICY: &str = r#"
    version = 1
    [interface.eth0]
    egress = { capacity = "100 Mbit/s", reservable = "80%" }
    [template.video]
    sending = { service_type = "guaranteed", token_rate = "6 Mbit/s", token_bucket_size = "64 KiB" }
    [template.voice]
    sending = { service_type = "guaranteed", token_rate = "1 Mbit/s", token_bucket_size = "4 KiB", max_sdu_size = "400 B", minimum_policed_size = "200 B" }
    [class.viewer]
    dscp = "AF41"
    # A slow machine takes longer than the default for the flows of a test that send nothing.
    dead_after = "10 min"
"#;

fn mbit(megabits: u64) -> Qos {
    Qos::sending(Flowspec::guaranteed(Rate::from_mbit(megabits), Bytes::new(65_536)))
}

/// Accepts connections in the client's namespace and reads them to their end, and reads datagrams.
fn sink(network: &LabNetwork, address: SocketAddr) -> SocketAddr {
    let (send, receive) = std::sync::mpsc::channel();
    network.client.runtime().spawn(async move {
        let listener = TcpListener::bind(address).await.unwrap();
        let datagrams = UdpSocket::bind(address).await.unwrap();
        tokio::spawn(async move { while datagrams.recv(&mut [0; 2048]).await.is_ok() {} });
        send.send(listener.local_addr().unwrap()).unwrap();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut buf = vec![0; 65536];
                while stream.read(&mut buf).await.is_ok_and(|came| came > 0) {}
            });
        }
    });
    receive.recv().unwrap()
}

/// Waits until this rate is reserved and there are this many classes: the manager works in a task of its own.
async fn until(host: &Host, rate: Rate, count: usize) {
    for _ in 0..3000 {
        if reserved(host).await == rate && classes(host).await == count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("after 30 s: {:#?}", host.report().await.unwrap());
}

async fn reserved(host: &Host) -> Rate {
    host.report().await.unwrap()[0].status.totals.sending.reserved
}

async fn classes(host: &Host) -> usize {
    host.report().await.unwrap()[0].classes.len()
}
