//! Connections that send files and bytes by the host's threads: their reservations, counters and errors are those of a write.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests in real time")]

use std::io::IoSlice;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use flowspec::{Direction, Rate};
use gqos::connect::{Ask, Connection, Host};
use gqos::policy::Policy;
use shaper::transfer::{Limits, Payload, TransferProblem};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(30);

async fn host() -> Host {
    let policy: Policy = r#"
        version = 1
        [interface.lo]
        egress = { capacity = "1 Gbit/s", reservable = "80%" }
        enforcement = "user-space"
        [template.slow]
        sending = { service_type = "guaranteed", token_rate = "80 kbit/s", token_bucket_size = "64 KiB" }
        [template.fast]
        sending = { service_type = "guaranteed", token_rate = "600 Mbit/s" }
    "#
    .parse()
    .unwrap();
    Host::start(policy).await.unwrap()
}

/// A connection that has reserved a template, and its peer.
async fn connected(host: &Host, template: &str) -> (Connection, TcpStream) {
    let listener = host.listen("127.0.0.1:0".parse().unwrap(), Ask::template(template)).await.unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (listener.accept().await.unwrap(), peer)
}

async fn reserved(host: &Host) -> Rate {
    let reports = host.report().await.unwrap();
    let report = reports.iter().find(|report| report.interface == "lo").unwrap();
    report.status.totals.sending.reserved
}

async fn received(mut peer: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    timeout(LONG, peer.read_to_end(&mut bytes)).await.unwrap().unwrap();
    bytes
}

fn file(length: u64) -> std::fs::File {
    let file = tempfile::tempfile().unwrap();
    file.set_len(length).unwrap();
    file
}

#[tokio::test]
async fn what_is_sent_is_counted_and_comes_before_what_follows() {
    let host = host().await;
    host.start_transfers(Limits { workers: NonZeroUsize::MIN, ..Limits::default() }).unwrap();
    let again = host.start_transfers(Limits::default()).unwrap_err();
    assert_eq!(again.kind(), std::io::ErrorKind::AlreadyExists);
    let (mut connection, peer) = connected(&host, "fast").await;
    let reader = tokio::spawn(received(peer));
    connection.write_all(b"head").await.unwrap();
    assert_eq!(connection.send_file(file(1_000_000), 200_000..1_000_000).await.unwrap(), 800_000);
    assert_eq!(connection.send_bytes("and bytes").await.unwrap(), 9);
    assert_eq!(connection.send(Payload::repeated("ab", 5)).await.unwrap(), 5);
    assert!(connection.is_write_vectored());
    let tail = [IoSlice::new(b"ta"), IoSlice::new(b"il")];
    assert_eq!(connection.write_vectored(&tail).await.unwrap(), 4);
    connection.shutdown().await.unwrap();
    let stats = connection.flow().control().stats(Direction::Sending);
    assert_eq!(stats.bytes, 4 + 800_000 + 9 + 5 + 4);
    assert!(stats.charged > stats.bytes, "{stats:?}: headers cost tokens too");
    let bytes = reader.await.unwrap();
    assert_eq!(bytes.len() as u64, stats.bytes);
    assert!(bytes.starts_with(b"head\0") && bytes.ends_with(b"\0and bytesababatail"));
    drop(connection);
    host.stop().await;
}

#[tokio::test]
async fn a_renegotiation_and_a_release_count_for_a_transfer_under_way() {
    let host = host().await;
    for is_renegotiated in [true, false] {
        let (mut connection, peer) = connected(&host, "slow").await;
        let reader = tokio::spawn(received(peer));
        let flow = Arc::clone(connection.flow());
        let sending = async { connection.send_file(file(3_000_000), 0..3_000_000).await };
        let changing = async {
            while flow.control().stats(Direction::Sending).bytes < 50_000 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let before = flow.control().stats(Direction::Sending).bytes;
            assert!(before <= 65_536, "{before}");
            match is_renegotiated {
                true => drop(flow.renegotiate(&Ask::template("fast")).await.unwrap()),
                false => flow.release().unwrap(),
            }
        };
        // At 80 kbit/s it would take five minutes.
        let (sent, ()) = timeout(LONG, async { tokio::join!(sending, changing) }).await.unwrap();
        assert_eq!(sent.unwrap(), 3_000_000);
        // The flow holds the socket too.
        connection.shutdown().await.unwrap();
        assert_eq!(reader.await.unwrap().len(), 3_000_000);
    }
    host.stop().await;
}

#[tokio::test]
async fn a_peer_that_resets_the_connection_ends_the_transfer_and_the_reservation() {
    let host = host().await;
    let (mut connection, peer) = connected(&host, "slow").await;
    let flow = Arc::clone(connection.flow());
    assert_eq!(reserved(&host).await, Rate::new(10_000));
    let sending = connection.send_file(file(3_000_000), 0..3_000_000);
    let resetting = async {
        while flow.control().stats(Direction::Sending).bytes < 50_000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        peer.set_zero_linger().unwrap();
        drop(peer);
    };
    let (sent, ()) = timeout(LONG, async { tokio::join!(sending, resetting) }).await.unwrap();
    let error = sent.unwrap_err();
    assert!(matches!(error.problem, TransferProblem::Socket(_)) && error.sent >= 50_000, "{error}");
    assert_eq!(reserved(&host).await, Rate::ZERO, "the connection is not dropped yet");
    drop(connection);
    host.stop().await;
}

#[tokio::test]
async fn a_source_that_fails_and_a_dropped_future_leave_the_connection_and_its_reservation() {
    let host = host().await;
    let (mut connection, peer) = connected(&host, "fast").await;
    let reader = tokio::spawn(received(peer));
    let error = connection.send_file(file(1000), 0..2000).await.unwrap_err();
    assert!(matches!(error.problem, TransferProblem::SourceEnded { end: 2000 }), "{error}");
    assert_eq!(error.sent, 1000);
    // It takes seconds, and the future is dropped after some milliseconds.
    let endless = connection.send(Payload::repeated("x", 1 << 40));
    assert!(timeout(Duration::from_millis(20), endless).await.is_err());
    assert_eq!(reserved(&host).await, Rate::from_mbit(600));
    connection.write_all(b"goes on").await.unwrap();
    let sent = connection.flow().control().stats(Direction::Sending).bytes;
    drop(connection);
    let bytes = reader.await.unwrap();
    assert!(bytes[1000..bytes.len() - 7].iter().all(|&byte| byte == b'x') && bytes.ends_with(b"goes on"));
    assert_eq!(bytes.len() as u64, sent);
    host.stop().await;
}
