//! The process that is killed and whose calls fail: a host from its start to its stop.

use std::net::SocketAddr;
use std::os::fd::AsFd;

use flowspec::{Bytes, Direction, Flowspec, Qos, Rate};
use gqos::admission::Operation;
use gqos::connect::{Ask, DatagramConnection, Host};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

use super::common::policy;

pub(crate) const POLICY: &str = r#"
    version = 1
    [interface.eth0]
    egress = { capacity = "100 Mbit/s", reservable = "80%" }
    ingress = { capacity = "100 Mbit/s", reservable = "80%" }
    [class.viewer]
    dead_after = "10 min"
"#;

/// The exit code where the host could not be started.
pub(crate) const NOT_STARTED: i32 = 3;

/// The peers, one for each flow.
pub(crate) fn peers(peers: &str) -> [SocketAddr; 2] {
    let peers: Vec<_> = peers.split(' ').map(|peer| peer.parse().unwrap()).collect();
    peers.try_into().unwrap()
}

/// Lives on the main thread: no call of another thread counts.
pub(crate) fn run(given: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!("begin");
    if let Err(error) = runtime.block_on(live(peers(given))) {
        println!("not started: {error}");
        std::process::exit(NOT_STARTED);
    }
}

/// A flow that sends and receives this many megabits.
pub(crate) fn ask(id: &str, megabits: u64) -> Ask {
    Ask::qos(both(megabits)).class("viewer").id(id)
}

fn both(megabits: u64) -> Qos {
    let spec = Flowspec::guaranteed(Rate::from_mbit(megabits), Bytes::new(65_536));
    Qos { sending: spec, receiving: spec }
}

async fn live(peers: [SocketAddr; 2]) -> Result<(), String> {
    let stdin = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    let mut answers = Receiver::from_owned_fd(stdin).unwrap();
    let host = Host::start(policy(POLICY)).await.map_err(|error| error.to_string())?;
    state(&[], &mut answers).await;
    let one = connect(&host, peers[0], "one").await;
    state(&[&one], &mut answers).await;
    let two = connect(&host, peers[1], "two").await;
    state(&[&one, &two], &mut answers).await;
    drop(one);
    state(&[&two], &mut answers).await;
    // What a reload of the policy changes in the kernel: the link, the default class and the flow's own.
    for direction in Direction::BOTH {
        let capacity = Rate::from_mbit(60);
        let operation = Operation::Capacity { interface: "eth0".into(), direction, capacity };
        host.submit(operation).await.map_or_else(|error| println!("failed: {error}"), drop);
    }
    if two.is_some() {
        let answer = host.renegotiate("two".into(), both(10)).await;
        answer.map_or_else(|error| println!("failed: {error}"), drop);
    }
    state(&[&two], &mut answers).await;
    drop(two);
    state(&[], &mut answers).await;
    host.stop().await;
    Ok(())
}

async fn connect(host: &Host, peer: SocketAddr, id: &str) -> Option<DatagramConnection> {
    match host.connector().connect_udp(peer, &ask(id, 20)).await {
        Ok(connection) => {
            if let Some(lacking) =
                connection.decision().and_then(|decision| decision.enforced()?.lacking_text())
            {
                println!("lacking: {lacking}");
            }
            Some(connection)
        }
        Err(error) => {
            println!("failed: {error}");
            None
        }
    }
}

/// Says which classes the flows have, and waits until the kernel was compared with it.
async fn state(flows: &[&Option<DatagramConnection>], answers: &mut Receiver) {
    let mut classes = Vec::new();
    for flow in flows.iter().copied().flatten() {
        let Some(decision) = flow.decision() else { continue };
        let Some(enforced) = decision.enforced() else { continue };
        classes.extend(enforced.class.iter().map(ToString::to_string));
        classes.extend(enforced.receiving_class.iter().map(ToString::to_string));
    }
    println!("classes: {}", classes.join(", "));
    answers.read_u8().await.unwrap();
}
