//! A reservation does not outlive its viewer, on the real kernel: links that go down, clients that never read, datagram
//! flows that send nothing.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod common;

use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use common::{inside, lab, lab_with, policy};
use gqos::admission::PeerLoss;
use gqos::connect::{Ask, ConnectError, Connection, Events, Host};
use gqos::lab::{CLIENT_V4, LabNetwork, SERVER_V4};
use gqos::linux::peer::peer_options;
use gqos::manager::Loss;
use gqos::telemetry::Event;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

/// One viewer fits, and not two.
const POLICY: &str = r#"
version = 1
dead_after = "2 s"
stalled_after = "4 s"
[interface.eth0]
egress = { capacity = "10 Mbit/s", reservable = "80%" }
[template.hd]
sending = { service_type = "guaranteed", token_rate = "6 Mbit/s", token_bucket_size = "64 KiB" }
[class.viewer]
[class.patient]
dead_after = "off"
stalled_after = "off"
"#;

/// Long enough for every wait of these tests.
const PATIENCE: Duration = Duration::from_secs(60);

fn viewer() -> Ask {
    Ask::template("hd").class("viewer").id("viewer")
}

/// A server in the client's namespace that reads what comes.
fn sink(network: &LabNetwork) -> SocketAddr {
    let (send, receive) = mpsc::channel();
    network.client.runtime().spawn(async move {
        let listener = TcpListener::bind((CLIENT_V4, 5000)).await.unwrap();
        send.send(listener.local_addr().unwrap()).unwrap();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(
                async move { while stream.read(&mut [0; 65536]).await.is_ok_and(|came| came > 0) {} },
            );
        }
    });
    receive.recv().unwrap()
}

/// The next viewer is refused and waits.
async fn next_waits(host: &Host, peer: SocketAddr) {
    let refused =
        host.connector().connect(peer, &Ask::template("hd").waiting_as("next")).await.err().unwrap();
    let ConnectError::Refused(decision) = refused else { panic!("{refused}") };
    assert!(decision.is_waiting(), "{}", decision.message());
}

/// The viewer was released for this reason, and the next one is notified and gets its reservation.
#[track_caller]
fn released(events: &mut Events, expected: PeerLoss) {
    let mut reasons = Vec::new();
    while let Some(recorded) = events.try_next() {
        if let Event::FlowTimedOut(timed_out) = recorded.event {
            assert_eq!(timed_out.flow.id, "viewer");
            reasons.push(timed_out.reason);
        }
    }
    assert_eq!(reasons, [expected]);
}

/// A server's connection to a viewer that reads what comes.
struct Watched {
    host: Host,
    connection: Connection,
    peer: SocketAddr,
    link: ClientLink,
}

/// The client's link, as the server's task uses it.
struct ClientLink {
    ready: mpsc::Sender<()>,
    is_down: oneshot::Receiver<()>,
}

impl ClientLink {
    async fn take_down(self) {
        self.ready.send(()).unwrap();
        self.is_down.await.unwrap();
    }
}

/// Runs `server` with a viewer's connection, whose link it takes down; the viewer's reservation is lost by then.
fn over_a_link_that_goes_down<F>(server: impl FnOnce(Watched) -> F + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    let Some(network) = lab_with(100, &["ip"]) else { return };
    let peer = sink(&network);
    let (ready, is_ready) = mpsc::channel();
    let (down, is_down) = oneshot::channel();
    let task = network.server.runtime().spawn(async move {
        let host = Host::start(policy(POLICY)).await.unwrap();
        let mut events = host.events();
        let connection = host.connector().connect(peer, &viewer()).await.unwrap();
        let link = ClientLink { ready, is_down };
        server(Watched { host: host.clone(), connection, peer, link }).await;
        released(&mut events, PeerLoss::Dead);
        host.stop().await;
    });
    is_ready.recv().unwrap();
    inside(&network.client, &["ip", "link", "set", "eth0", "down"]);
    down.send(()).unwrap();
    network.server.run(async { task.await.unwrap() }).unwrap();
}

#[test]
fn a_connection_that_sends_over_a_link_that_is_down_is_dead() {
    over_a_link_that_goes_down(|Watched { host, mut connection, peer, link }| async move {
        connection.write_all(&[0; 100_000]).await.unwrap();
        next_waits(&host, peer).await;
        link.take_down().await;
        let since = Instant::now();
        let failed = async {
            loop {
                if let Err(error) = connection.write_all(&[0; 10_000]).await {
                    break error;
                }
            }
        };
        let error = timeout(PATIENCE, failed).await.unwrap();
        timeout(PATIENCE, host.wait_for_capacity("next")).await.unwrap().unwrap();
        assert!(since.elapsed() >= Duration::from_millis(1_500), "{:?}: {error}", since.elapsed());
    });
}

#[test]
fn an_idle_connection_over_a_link_that_is_down_is_dead_and_an_idle_one_that_is_up_is_not() {
    over_a_link_that_goes_down(|Watched { host, mut connection, peer, link }| async move {
        next_waits(&host, peer).await;
        sleep(Duration::from_secs(6)).await;
        assert_eq!(connection.flow().lost(), None, "its peer answers the probes");
        link.take_down().await;
        let lost = timeout(PATIENCE, connection.flow().until_lost()).await.unwrap();
        assert_eq!(lost.why, Loss::Dead, "{lost}");
        timeout(PATIENCE, host.wait_for_capacity("next")).await.unwrap().unwrap();
        let error = timeout(PATIENCE, connection.read(&mut [0; 10])).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{error}");
    });
}

#[test]
fn a_client_that_never_reads_loses_its_reservation_and_stays_connected() {
    let Some(network) = lab(100) else { return };
    let address = SocketAddr::from((SERVER_V4, 8000));
    let (listening, is_listening) = mpsc::channel::<()>();
    let (resume, resumed) = oneshot::channel::<()>();
    let (read, all_read) = oneshot::channel::<usize>();
    let task = network.server.runtime().spawn(async move {
        let host = Host::start(policy(POLICY)).await.unwrap();
        let mut events = host.events();
        let listener = host.listen(address, Ask::default()).await.unwrap();
        listening.send(()).unwrap();
        let mut connection = listener.accept_free().await.unwrap();
        let own = peer_options(connection.socket()).unwrap();
        connection.flow().reserve(&viewer()).await.unwrap();
        assert_ne!(peer_options(connection.socket()).unwrap(), own);
        let client = listener.accept_free().await.unwrap();
        let refused = client.flow().reserve(&Ask::template("hd").waiting_as("next")).await.unwrap_err();
        assert!(matches!(refused, ConnectError::Refused(_)), "{refused}");
        let flow = std::sync::Arc::clone(connection.flow());
        let write = tokio::spawn(async move {
            connection.write_all(&vec![0; 5_000_000]).await.unwrap();
            connection.shutdown().await.unwrap();
            connection
        });
        let since = Instant::now();
        let lost = timeout(PATIENCE, flow.until_lost()).await.unwrap();
        assert_eq!(lost.why, Loss::Stalled, "{lost}");
        assert!(since.elapsed() >= Duration::from_secs(4), "{:?}", since.elapsed());
        timeout(PATIENCE, host.wait_for_capacity("next")).await.unwrap().unwrap();
        client.flow().reserve(&Ask::template("hd").id("next")).await.unwrap();
        released(&mut events, PeerLoss::Stalled);
        // Longer than `dead_after`, for which the kernel would have ended it: the client's host answers.
        sleep(Duration::from_secs(4)).await;
        resume.send(()).unwrap();
        let connection = timeout(PATIENCE, write).await.unwrap().unwrap();
        assert_eq!(
            timeout(PATIENCE, all_read).await.unwrap().unwrap(),
            5_000_000,
            "it went on as best effort"
        );
        assert_eq!(peer_options(connection.socket()).unwrap(), own, "its own options are back");
        host.stop().await;
    });
    is_listening.recv().unwrap();
    network.client.runtime().spawn(async move {
        let mut stuck = TcpStream::connect(address).await.unwrap();
        let _viewer = TcpStream::connect(address).await.unwrap();
        resumed.await.unwrap();
        let mut all = Vec::new();
        stuck.read_to_end(&mut all).await.unwrap();
        read.send(all.len()).unwrap();
        std::future::pending::<()>().await;
    });
    network.server.run(async { task.await.unwrap() }).unwrap();
}

#[test]
fn a_datagram_flow_is_dead_when_it_sends_nothing() {
    let Some(network) = lab(100) else { return };
    let work = async move {
        let host = Host::start(policy(POLICY)).await.unwrap();
        let mut events = host.events();
        let peer = SocketAddr::from((CLIENT_V4, 5000));
        let flow = host.connector().connect_udp(peer, &viewer()).await.unwrap();
        let mut last = Instant::now();
        for _ in 0..20 {
            sleep(Duration::from_millis(300)).await;
            let now = Instant::now();
            // Nothing listens there: a send may return the answer to the one before instead of sending.
            if flow.send(&[0; 100]).await.is_ok() {
                last = now;
            }
            assert_eq!(flow.lost(), None, "it sends");
        }
        next_waits(&host, peer).await;
        timeout(PATIENCE, host.wait_for_capacity("next")).await.unwrap().unwrap();
        assert!(last.elapsed() >= Duration::from_secs(2), "{:?}", last.elapsed());
        assert_eq!(timeout(PATIENCE, flow.until_lost()).await.unwrap().why, Loss::Dead);
        released(&mut events, PeerLoss::Dead);
        // Where the timeouts are off, it may be silent for as long as it wants.
        let patient =
            host.connector().connect_udp(peer, &Ask::template("hd").class("patient")).await.unwrap();
        sleep(Duration::from_secs(4)).await;
        assert_eq!(patient.lost(), None);
        host.stop().await;
    };
    network.server.run(work).unwrap();
}
