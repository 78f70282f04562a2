//! The same in three seconds over real sockets, shaped in user space and by the kernel.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use flowspec::{Bytes, Flowspec, Qos, Rate};
use gqos::connect::{Ask, ConnectError, Connection, Host};
use gqos::lab::{CLIENT_V4, LabNetwork};
use gqos::linux::socket;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::{Instant, sleep};

use crate::common::{lab, policy};

/// 800 kbit/s, in bytes per second, and its bucket.
const RATE: u64 = 100_000;
const DEPTH: u64 = 65_536;

/// How long a source sends.
const TIME: Duration = Duration::from_secs(3);

/// What a source may have sent in a time, with its headers: the bucket and the rate.
fn most_in(time: Duration) -> u64 {
    DEPTH + RATE * u64::try_from(time.as_millis()).unwrap() / 1000
}

fn text(enforcement: &str) -> String {
    format!(
        "version = 1\n[interface.eth0]\nenforcement = \"{enforcement}\"\negress = {{ capacity = \"100 Mbit/s\", reservable = \"80%\" }}\n"
    )
}

fn ask() -> Ask {
    Ask::qos(Qos::sending(Flowspec::guaranteed(Rate::new(RATE), Bytes::new(DEPTH))))
}

/// Counts what connections to the client bring.
fn counter(network: &LabNetwork) -> (SocketAddr, Arc<AtomicU64>) {
    let (send, receive) = std::sync::mpsc::channel();
    let count: Arc<AtomicU64> = Arc::default();
    let counted = Arc::clone(&count);
    network.client.runtime().spawn(async move {
        let listener = TcpListener::bind((CLIENT_V4, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (datagrams, came) = (UdpSocket::bind(address).await.unwrap(), Arc::clone(&counted));
        tokio::spawn(async move {
            while let Ok(size) = datagrams.recv(&mut [0; 2048]).await {
                came.fetch_add(size as u64, Ordering::Relaxed);
            }
        });
        send.send(address).unwrap();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                let mut buf = vec![0; 65_536];
                while let Ok(came @ 1..) = stream.read(&mut buf).await {
                    counted.fetch_add(came as u64, Ordering::Relaxed);
                }
            });
        }
    });
    (receive.recv().unwrap(), count)
}

/// Writes what the connection takes without waiting.
async fn write_what_passes(connection: &mut Connection) {
    let data = [0; 16_384];
    poll_fn(|cx| {
        while let Poll::Ready(written) = Pin::new(&mut *connection).poll_write(cx, &data) {
            written.unwrap();
        }
        Poll::Ready(())
    })
    .await;
}

/// How a program gives its reservation back and asks for the same again.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// On one connection.
    Release,
    /// Each time with another connection.
    Connect,
    /// Each time with another datagram socket, past the bucket in user space, as write(2) on the descriptor does.
    Write,
}

/// What arrives of a source that gives its reservation back each time that its bucket is empty, and in which time: a
/// machine that is late sends for longer.
fn received(network: &LabNetwork, enforcement: &str, way: Way) -> (u64, Duration) {
    let (peer, count) = counter(network);
    let policy = policy(&text(enforcement));
    let (done, wait) = std::sync::mpsc::channel();
    network.server.runtime().spawn(async move {
        let host = Host::start(policy).await.unwrap();
        let begin = Instant::now();
        let end = begin + TIME;
        let mut connection = None;
        match way {
            Way::Release => connection = Some(reserve_again(&host, peer, end).await),
            Way::Connect => connect_again(&host, peer, end).await,
            Way::Write => write_again(&host, peer, end).await,
        }
        sleep(Duration::from_millis(100)).await;
        done.send((count.load(Ordering::Relaxed), begin.elapsed())).unwrap();
        drop(connection);
        host.stop().await;
    });
    wait.recv_timeout(Duration::from_secs(30)).unwrap()
}

async fn connect_again(host: &Host, peer: SocketAddr, end: Instant) {
    while Instant::now() < end {
        match host.connector().connect(peer, &ask()).await {
            Ok(mut connection) => {
                socket::set_congestion_control(connection.socket(), "cubic").unwrap();
                // Waits for the tokens of the first write, as a program does that has something to send.
                connection.write_all(&[0; 1448]).await.unwrap();
                write_what_passes(&mut connection).await;
                connection.shutdown().await.unwrap();
            }
            // Flows whose data has not left yet still have their reservations.
            Err(ConnectError::Refused(_)) => sleep(Duration::from_millis(5)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

async fn reserve_again(host: &Host, peer: SocketAddr, end: Instant) -> Connection {
    let mut connection = host.connector().connect(peer, &ask()).await.unwrap();
    socket::set_congestion_control(connection.socket(), "cubic").unwrap();
    let flow = Arc::clone(connection.flow());
    while Instant::now() < end {
        write_what_passes(&mut connection).await;
        // What is in the socket leaves while it is reserved.
        while Instant::now() < end && socket::unacknowledged(connection.socket()).unwrap() > 0 {
            sleep(Duration::from_micros(200)).await;
        }
        if Instant::now() >= end {
            break;
        }
        flow.release().unwrap();
        while let Err(error) = flow.reserve(&ask()).await {
            assert!(matches!(error, ConnectError::Refused(_)), "{error}");
            sleep(Duration::from_millis(5)).await;
        }
    }
    connection
}

/// The next socket reserves once the datagrams of the one before have left its class.
async fn write_again(host: &Host, peer: SocketAddr, end: Instant) {
    while Instant::now() < end {
        let connection = host.connector().connect_udp(peer, &ask()).await.unwrap();
        for _ in 0..DEPTH / 1428 {
            connection.socket().writable().await.unwrap();
            // A full queue drops it.
            let _ = connection.socket().try_send(&[0; 1400]);
        }
        drop(connection);
        while host.report().await.unwrap()[0].status.totals.sending.reserved > Rate::ZERO {
            sleep(Duration::from_millis(2)).await;
        }
    }
}

/// What is charged for what arrives, as a fraction.
const EXACT: (u64, u64) = (1, 1);

#[track_caller]
fn check(enforcement: &str, way: Way, (charged, of): (u64, u64)) {
    let Some(network) = lab(100) else { return };
    let (received, time) = received(&network, enforcement, way);
    let most = most_in(time) * charged / of;
    println!("{enforcement}, {way:?}: {received} B received, {most} B may be");
    assert!(received <= most, "{enforcement}, {way:?}: {received} B received, {most} B may be");
    assert!(received >= DEPTH / 2, "{enforcement}, {way:?}: {received} B received, not even the bucket");
}

#[test]
fn a_released_flow_has_no_second_bucket_in_user_space() {
    check("user-space", Way::Release, EXACT);
}

#[test]
fn a_released_flow_has_no_second_bucket_in_the_kernel() {
    check("kernel", Way::Release, EXACT);
}

#[test]
fn short_connections_have_one_bucket_in_user_space() {
    check("user-space", Way::Connect, EXACT);
}

#[test]
fn short_connections_have_one_bucket_in_the_kernel() {
    check("kernel", Way::Connect, EXACT);
}

/// The class of a flow carries its rate and bucket with the headers of the smallest packets, 78 bytes for 64.
#[test]
fn a_class_of_the_kernel_has_no_second_bucket_either() {
    check("kernel", Way::Write, (78, 64));
}
