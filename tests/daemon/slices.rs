//! Slices: flows that a client of the library admits by itself, and tells the daemon of.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gqos::admission::Lack;
use gqos::connect::{Ask, ConnectError, DatagramConnection, Host, Slice, SliceRequest};
use gqos::lab::{CLIENT_V4, LabNetwork};
use nix::libc;
use serde_json::json;

use super::client::{Client, POLICY, TestDaemon, until};
use super::killed_host::{KilledHost, MBIT_10, SHORT, flows, reserved};
use super::lifetimes::Holder;

const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(CLIENT_V4), 9);

fn ask() -> Ask {
    Ask::template("video").class("viewer")
}

/// Runs a client of the library in the daemon's network namespace.
fn run<T: Send + 'static>(network: &LabNetwork, client: impl Future<Output = T> + Send + 'static) -> T {
    network.server.run(client).unwrap()
}

/// A client with a slice for so many flows.
fn with_slice(network: &LabNetwork, socket: &std::path::Path, count: u32) -> (Host, Slice) {
    let socket = socket.to_owned();
    run(network, async move {
        let host = Host::connect_daemon(socket).await.unwrap();
        let slice = host.slice(SliceRequest::new(&ask(), count, PEER.ip())).await.unwrap();
        (host, slice)
    })
}

/// Connects at once, or not at all.
fn connect(network: &LabNetwork, host: &Host) -> Option<Result<DatagramConnection, ConnectError>> {
    let host = host.clone();
    run(network, async move {
        let ask = ask();
        let connector = host.connector();
        let connecting = connector.connect_udp(PEER, &ask);
        tokio::time::timeout(Duration::from_secs(2), connecting).await.ok()
    })
}

#[track_caller]
fn admitted(network: &LabNetwork, host: &Host) -> DatagramConnection {
    connect(network, host).expect("at once").expect("admitted")
}

/// The slice that the decision of a flow names, and whether the daemon has confirmed it.
fn state(connection: &DatagramConnection) -> (Option<String>, bool) {
    let decision = connection.decision().expect("not lost");
    let enforced = decision.enforced().expect("what enforces it").clone();
    (enforced.slice, !enforced.lacking.contains(&Lack::Confirmation))
}

/// Drops what belongs to the runtime of a client there.
fn end<T: Send + 'static>(network: &LabNetwork, held: T) {
    run(network, async move { drop(held) });
}

#[test]
fn a_flow_within_a_slice_waits_for_no_answer() {
    let Some(daemon) = KilledHost::start(SHORT) else { return };
    let network = &daemon.network;
    let (host, slice) = with_slice(network, &daemon.daemon.socket, 4);
    let mut observer = daemon.daemon.client();
    assert_eq!((slice.most(), slice.interface(), reserved(&mut observer)), (4, "eth0", 4 * MBIT_10));
    assert_eq!(slice.flows(), 0, "the first flow, which has shown what one costs, is released");
    daemon.daemon.signal(libc::SIGSTOP);
    let connections: Vec<_> = (0..4).map(|_| admitted(network, &host)).collect();
    for connection in &connections {
        assert_eq!(state(connection), (Some(slice.id().to_owned()), false));
        let json = serde_json::to_value(connection.decision().unwrap()).unwrap();
        assert_eq!(
            (&json["enforced"]["slice"], &json["enforced"]["lacking"]),
            (&json!(slice.id()), &json!("the daemon has not confirmed it yet"))
        );
    }
    assert!(connect(network, &host).is_none(), "the slice is full: the daemon is asked");
    daemon.daemon.signal(libc::SIGCONT);
    until("the daemon has all of them, with their classes", || {
        let held = flows(&mut observer);
        held.len() == 4 && held.iter().all(|flow| flow["class"].is_string() && flow["cookie"].is_u64())
    });
    until("the slice was reserved before", || reserved(&mut observer) == 4 * MBIT_10);
    for connection in &connections {
        until("the decision is the daemon's", || state(connection).1);
        assert_eq!(state(connection).0.as_deref(), Some(slice.id()));
        let enforced = connection.decision().unwrap().enforced().unwrap().clone();
        assert!(enforced.class.is_some() && enforced.lacking.is_empty(), "{enforced:?}");
    }
    end(network, connections);
    until("their room is free", || slice.flows() == 0);
    assert_eq!(reserved(&mut observer), 4 * MBIT_10);
    end(network, slice);
    until("the slice is released", || reserved(&mut observer) == 0);
}

#[test]
fn a_slice_and_other_flows_never_exceed_the_link() {
    let Some(daemon) = KilledHost::start(SHORT) else { return };
    let network = &daemon.network;
    let (host, slice) = with_slice(network, &daemon.daemon.socket, 5);
    let mut other = daemon.daemon.client();
    (0..3).for_each(|number| other.admitted(&format!("other-{number}"), "video"));
    let more = json!({ "interface": "eth0", "template": "video", "class": "viewer" });
    assert_eq!(other.reserve(more.clone())["ok"], false, "80 Mbit/s are reserved");
    let mut held: std::collections::VecDeque<_> = (0..5).map(|_| admitted(network, &host)).collect();
    assert!(matches!(connect(network, &host), Some(Err(ConnectError::Refused(_)))), "the slice is full");
    for _ in 0..100 {
        end(network, held.pop_front());
        until("there is room", || slice.flows() < 5);
        let next = admitted(network, &host);
        assert!(state(&next).0.is_some(), "within the slice");
        held.push_back(next);
        assert_eq!(other.reserve(more.clone())["ok"], false, "what has ended in the slice is the slice's");
        assert_eq!(reserved(&mut other), 8 * MBIT_10);
    }
    assert!(held.iter().all(|connection| connection.lost().is_none()) && !slice.has_ended());
    until("the daemon has all of them", || flows(&mut other).len() == 8);
    end(network, (held, slice));
    until("only the others are left", || reserved(&mut other) == 3 * MBIT_10);
}

#[test]
fn a_killed_client_leaves_nothing_of_its_slice() {
    let Some(daemon) = TestDaemon::start(POLICY) else { return };
    let mut child = Holder::start(&daemon, "slice");
    assert_eq!(child.line(), "held");
    daemon.until_held(2, 4 * MBIT_10);
    child.kill();
    daemon.until_held(0, 0);
}

/// What the process with the slice does.
pub(crate) fn hold_slice(socket: std::path::PathBuf) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let host = Host::connect_daemon(socket).await.unwrap();
        let slice = host.slice(SliceRequest::new(&ask(), 4, PEER.ip())).await.unwrap();
        let first = host.connector().connect_udp(PEER, &ask()).await.unwrap();
        let second = host.connector().connect_udp(PEER, &ask()).await.unwrap();
        println!("says held");
        std::future::pending::<()>().await;
        drop((slice, first, second));
    });
}

#[test]
fn a_slice_lasts_over_a_restart_of_the_daemon() {
    let Some(mut daemon) = KilledHost::start(SHORT) else { return };
    let (host, slice) = with_slice(&daemon.network, &daemon.daemon.socket, 4);
    let connections: Vec<_> = (0..2).map(|_| admitted(&daemon.network, &host)).collect();
    let mut observer = daemon.daemon.client();
    let classes = |client: &mut Client| -> Vec<_> {
        flows(client).into_iter().map(|flow| (flow["id"].clone(), flow["class"].clone())).collect()
    };
    until("the daemon has them", || {
        flows(&mut observer).iter().filter(|flow| flow["cookie"].is_u64()).count() == 2
    });
    let before = classes(&mut observer);
    let written = |flow: &serde_json::Value| {
        let text = std::fs::read_to_string(daemon.state()).unwrap();
        let id = flow["id"].as_str().unwrap();
        text.lines().any(|line| line.contains(id) && line.contains("\"cookie\""))
    };
    until("both are written down", || flows(&mut observer).iter().all(written));
    daemon.restart();
    let mut observer = daemon.daemon.client();
    // The calls, the notices and this one.
    until("the client is back", || observer.call("Status", json!({})).unwrap()["connections"] == 3);
    // What nobody claims ends within a second.
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(classes(&mut observer), before, "with their classes");
    let more: Vec<_> = (0..2).map(|_| admitted(&daemon.network, &host)).collect();
    for connection in connections.iter().chain(&more) {
        until("the daemon has granted it", || state(connection).1);
        assert_eq!(state(connection).0.as_deref(), Some(slice.id()));
    }
    assert_eq!((reserved(&mut observer), slice.has_ended()), (4 * MBIT_10, false));
    end(&daemon.network, (connections, more, slice));
    until("nothing is left", || reserved(&mut observer) == 0 && flows(&mut observer).is_empty());
}

#[test]
fn a_reload_that_makes_the_link_smaller_is_told_and_stops_the_slice() {
    let Some(daemon) = KilledHost::start(SHORT) else { return };
    let network = &daemon.network;
    let (host, slice) = with_slice(network, &daemon.daemon.socket, 4);
    let told = Arc::new(Mutex::new(Vec::new()));
    let notices = Arc::clone(&told);
    host.on_overcommitment(move |interface, over| notices.lock().unwrap().push((interface.to_owned(), over)));
    let first = admitted(network, &host);
    until("the daemon has it", || state(&first).1);
    let mut admin = daemon.daemon.client();
    let file = daemon.directory.path().join("policy.toml");
    let reload = |admin: &mut Client, capacity: &str| {
        let policy = format!("{POLICY}{SHORT}").replace("100 Mbit/s", capacity);
        std::fs::write(&file, policy).unwrap();
        admin.call("Reload", json!({})).unwrap()
    };
    reload(&mut admin, "30 Mbit/s");
    until("the client is told", || told.lock().unwrap().as_slice() == [("eth0".to_owned(), true)]);
    let refused = connect(network, &host);
    assert!(matches!(refused, Some(Err(ConnectError::Refused(_)))), "the daemon is asked: {refused:?}");
    assert!(first.lost().is_none(), "what is admitted stays");
    reload(&mut admin, "100 Mbit/s");
    until("that is over", || told.lock().unwrap().last() == Some(&("eth0".to_owned(), false)));
    let second = admitted(network, &host);
    assert!(state(&second).0.is_some() && !slice.has_ended());
    end(network, (first, second, slice));
    until("nothing is left", || reserved(&mut admin) == 0);
}

#[test]
fn a_slice_without_flows_ends_and_one_that_does_not_fit_is_refused() {
    let Some(daemon) = KilledHost::start(SHORT) else { return };
    let (socket, network) = (daemon.daemon.socket.clone(), &daemon.network);
    let (host, slice) = run(network, async move {
        let host = Host::connect_daemon(socket).await.unwrap();
        let nine = host.slice(SliceRequest::new(&ask(), 9, PEER.ip())).await;
        assert!(matches!(nine, Err(ConnectError::Refused(_))), "90 of 80 Mbit/s: {nine:?}");
        let unknown = host.slice(SliceRequest::new(&ask().class("absent"), 2, PEER.ip())).await;
        assert!(matches!(unknown, Err(ConnectError::Refused(_))), "{unknown:?}");
        let none = host.slice(SliceRequest::new(&Ask::default(), 2, PEER.ip())).await;
        assert!(matches!(none, Err(ConnectError::Daemon(_))), "by rule: {none:?}");
        let brief =
            SliceRequest { idle: Duration::from_millis(300), ..SliceRequest::new(&ask(), 2, PEER.ip()) };
        let slice = host.slice(brief).await.unwrap();
        (host, slice)
    });
    let mut observer = daemon.daemon.client();
    assert_eq!(reserved(&mut observer), 2 * MBIT_10, "of the slices that were refused nothing is left");
    let held = admitted(network, &host);
    std::thread::sleep(Duration::from_millis(600));
    assert!(!slice.has_ended(), "it has a flow");
    end(network, held);
    until("it ends without flows", || slice.has_ended() && reserved(&mut observer) == 0);
    // From then on the daemon is asked.
    let ordinary = admitted(network, &host);
    assert_eq!(state(&ordinary), (None, true));
    end(network, (ordinary, slice));
}

#[test]
fn a_renegotiated_flow_stops_its_slice_until_it_ends() {
    let Some(daemon) = KilledHost::start(SHORT) else { return };
    let network = &daemon.network;
    let (host, slice) = with_slice(network, &daemon.daemon.socket, 4);
    let first = admitted(network, &host);
    let first = run(network, async move {
        let twice =
            flowspec::Flowspec::guaranteed(flowspec::Rate::from_mbit(20), flowspec::Bytes::new(131_072));
        first.flow().renegotiate(&Ask::qos(flowspec::Qos::sending(twice))).await.unwrap();
        first
    });
    let second = admitted(network, &host);
    assert_eq!(state(&second), (None, true), "the daemon was asked");
    end(network, first);
    until("it has ended", || slice.flows() == 0);
    let third = admitted(network, &host);
    assert!(state(&third).0.is_some());
    end(network, (second, third, slice));
}
