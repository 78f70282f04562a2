//! The provider's safe interface under a policy for loopback.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests wait for other threads"
)]

#[path = "../common/mod.rs"]
mod common;
mod connect;
mod connect_data;
mod datagrams;
mod listen;

use std::net::SocketAddr;

use common::{POLICY, policy};
use flowspec::Wsa;
use gqos_winsock::{ConnectRequest, Family, Socket, startup_with};

/// Counts one start of the provider; the tests of this program share it.
fn start() {
    startup_with(policy(POLICY)).unwrap();
}

fn tcp() -> Socket {
    start();
    common::stream()
}

fn udp() -> Socket {
    start();
    common::datagram()
}

/// A TCP socket whose connect call carries data.
fn tcp_with_data() -> Socket {
    start();
    Socket::open_with_connect_data(Family::Inet).unwrap()
}

/// A request without data and QOS.
fn plain() -> ConnectRequest<'static> {
    ConnectRequest::default()
}

#[track_caller]
fn check(name: &str, socket: &Socket, peer: SocketAddr, request: &ConnectRequest<'_>, expected: Wsa) {
    assert_eq!(socket.connect(peer, request), Err(expected), "{name}");
}
