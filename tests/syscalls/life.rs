//! The process that is killed and whose calls fail: a host from its start to its stop, or one whose policy is reloaded.

use std::net::SocketAddr;
use std::os::fd::AsFd;

use flowspec::{Bytes, Direction, Flowspec, Qos, Rate};
use gqos::admission::Operation;
use gqos::connect::{Ask, DatagramConnection, Host};
use gqos::engine::LocalEngine;
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

/// What a reload changes: classes and groups that the other policy does not have, a class and a group that it states in
/// another way, and the capacity and what is reservable of it, which change every class in the kernel. The first one also drops
/// an interface; a reload that states it again would prepare it at some later time. What it begins with is beyond [`POLICY`].
const BEFORE: &str = r#"
    [class.old]
    dead_after = "10 min"
    [group.team]
    interface = "eth0"
    class = "viewer"
    sending = { service_type = "guaranteed", token_rate = "20 Mbit/s", token_bucket_size = "64 KiB" }
    receiving = { service_type = "guaranteed", token_rate = "20 Mbit/s", token_bucket_size = "64 KiB" }
"#;
const DROPPED: &str = r#"
    [interface.lo]
    egress = { capacity = "10 Mbit/s", reservable = "80%" }
"#;
const AFTER: &str = r#"
    version = 1
    [interface.eth0]
    egress = { capacity = "60 Mbit/s", reservable = "95%" }
    ingress = { capacity = "60 Mbit/s", reservable = "95%" }
    [class.viewer]
    share = "90%"
    dead_after = "10 min"
    [class.new]
    dead_after = "10 min"
    [group.team]
    interface = "eth0"
    class = "viewer"
    mode = "shared"
    [group.crew]
    interface = "eth0"
    class = "new"
    sending = { service_type = "guaranteed", token_rate = "5 Mbit/s", token_bucket_size = "64 KiB" }
"#;

/// What a process lives through.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// From its start to its stop.
    Whole,
    /// Two flows, of which one is in a group, and two reloads of the policy: calls count between the states before and
    /// after them.
    Reload,
}

impl Kind {
    /// The policies under which the next process starts, in turn. A life begins with the first.
    pub(crate) fn policies(self) -> Vec<String> {
        match self {
            Self::Whole => {
                vec![POLICY.into(), POLICY.replacen("egress", "enforcement = \"user-space\"\n    egress", 1)]
            }
            Self::Reload => vec![format!("{POLICY}{BEFORE}{DROPPED}"), AFTER.into()],
        }
    }

    /// After how many lines of the process its calls count, and up to which.
    pub(crate) const fn lines(self) -> std::ops::Range<usize> {
        match self {
            Self::Whole => 1..usize::MAX,
            Self::Reload => 2..4,
        }
    }

    /// As it is handed to the process.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Reload => "reload",
        }
    }
}

/// The exit code where the host could not be started.
pub(crate) const NOT_STARTED: i32 = 3;

/// The peers, one for each flow.
fn peers<'a>(peers: impl Iterator<Item = &'a str>) -> [SocketAddr; 2] {
    let peers: Vec<_> = peers.map(|peer| peer.parse().unwrap()).collect();
    peers.try_into().unwrap()
}

/// Lives on the main thread: no call of another thread counts.
pub(crate) fn run(given: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!("begin");
    let mut words = given.split(' ');
    let is_reloaded = words.next() == Some(Kind::Reload.name());
    let peers = peers(words);
    let lived = if is_reloaded { runtime.block_on(reloaded(peers)) } else { runtime.block_on(live(peers)) };
    if let Err(error) = lived {
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

fn answers() -> Receiver {
    let stdin = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    Receiver::from_owned_fd(stdin).unwrap()
}

async fn reloaded(peers: [SocketAddr; 2]) -> Result<(), String> {
    let mut answers = answers();
    let begun = policy(&Kind::Reload.policies()[0]);
    let engine = LocalEngine::start(begun).await.map_err(|error| error.to_string())?;
    let host = Host::on(engine.clone());
    let one = connect_as(&host, peers[0], ask("one", 20).class("old")).await;
    let two = connect_as(&host, peers[1], ask("two", 20).group("team")).await;
    state(&[&one, &two], &mut answers).await;
    for text in [AFTER.to_owned(), format!("{POLICY}{BEFORE}")] {
        engine.reload(policy(&text)).map_err(|error| error.to_string())?;
        // The engine's task carries the changes out; a report waits for those before it.
        host.report().await.map_or_else(|error| println!("failed: {error}"), drop);
        state(&[&one, &two], &mut answers).await;
    }
    drop((one, two));
    state(&[], &mut answers).await;
    drop(engine);
    host.stop().await;
    Ok(())
}

async fn live(peers: [SocketAddr; 2]) -> Result<(), String> {
    let mut answers = answers();
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
    connect_as(host, peer, ask(id, 20)).await
}

async fn connect_as(host: &Host, peer: SocketAddr, ask: Ask) -> Option<DatagramConnection> {
    match host.connector().connect_udp(peer, &ask).await {
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
