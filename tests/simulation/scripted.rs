//! What seeds have found, step by step.

use std::time::Duration;

use gqos::tc::Handle;
use serde_json::json;
use tokio::time::sleep;

use crate::client::{Asked, call};
use crate::kernel::{Fault, INTERFACES};
use crate::sockets::Kind;
use crate::tree::Tree;
use crate::world::World;

/// Clients send, the daemon answers, and clients receive.
async fn settle(world: &mut World) {
    for _ in 0..20 {
        world.exchange();
        sleep(Duration::from_millis(1)).await;
    }
}

fn held(world: &World) -> Vec<String> {
    let daemon = &world.running.as_ref().unwrap().daemon;
    daemon.held().into_iter().map(|flow| flow.id).collect()
}

async fn started(world: &mut World) {
    while world.running.is_none() {
        world.start().await;
    }
    for number in 0..2 {
        world.connect(number);
    }
    settle(world).await;
}

/// The daemon is killed after it has written down all that it holds.
fn killed(world: &mut World) {
    world.write_state();
    world.end_of_daemon();
    world.checks.killed(true);
}

async fn reserved(world: &mut World, number: usize, id: &str) {
    asked(world, number, (id, "viewer", 1)).await;
}

/// A client asks for so many Mbit/s in a class of the policy.
async fn asked(world: &mut World, number: usize, (id, class, rate): (&str, &str, u64)) {
    let rate = rate * 125_000;
    let sending = json!({ "service_type": "guaranteed", "token_rate": rate, "token_bucket_size": 16_384 });
    let asked = json!({ "id": id, "interface": "eth1", "class": class, "sending": sending });
    world.call(number, Asked::Reserve { id: id.into() }, "Reserve", asked);
    settle(world).await;
}

/// A client passes a socket for its reservation.
async fn attach(world: &mut World, number: usize, id: &str, is_bound: bool) -> u64 {
    let cookie = world.sockets.open(Kind::Socket { is_bound });
    let descriptor = world.sockets.descriptor(cookie);
    let asked = Asked::Attach { id: id.into(), cookie };
    let connection = world.clients[number].connection.as_mut().unwrap();
    connection.call(&mut world.random, (asked, &call("Attach", json!({ "id": id }))), descriptor);
    settle(world).await;
    cookie
}

/// A client that holds a reservation with a socket that is not connected.
async fn attached() -> (World, u64) {
    let mut world = World::new(1);
    started(&mut world).await;
    reserved(&mut world, 0, "v1").await;
    let cookie = attach(&mut world, 0, "v1", false).await;
    assert_eq!(held(&world), ["v1"]);
    (world, cookie)
}

fn class(world: &World, id: &str) -> Option<Handle> {
    let engine = world.running.as_ref().unwrap().daemon.engine();
    engine.flow_snapshots(&[id.to_owned()]).pop().and_then(|flow| flow.kernel_class)
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_ends_unseen_ends_its_reservation_with_the_connection() {
    let (mut world, cookie) = attached().await;
    world.sockets.end_unseen(cookie);
    settle(&mut world).await;
    assert_eq!(held(&world), ["v1"], "the kernel does not list a socket before it is connected");
    world.disconnect(0);
    settle(&mut world).await;
    assert!(held(&world).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_lives_keeps_its_reservation_though_reports_were_lost() {
    let (mut world, cookie) = attached().await;
    let other = world.sockets.open(Kind::Socket { is_bound: true });
    world.sockets.bind(cookie);
    world.sockets.end_unseen(other);
    settle(&mut world).await;
    world.disconnect(0);
    settle(&mut world).await;
    assert_eq!(held(&world), ["v1"]);
    world.sockets.end_unseen(cookie);
    settle(&mut world).await;
    assert!(held(&world).is_empty(), "it was listed meanwhile");
}

/// Restarts of the daemon after which a flow has a class to which its socket sends, or none: other flows have others.
/// Each start finds another program's qdisc, or the tree that the daemon before has left.
#[tokio::test(start_paused = true)]
async fn no_flow_gets_the_class_to_which_another_one_s_socket_sends() {
    /// At each start: whether another program has the root, and whether it gives it up afterwards.
    type Start = (bool, bool);
    let check = async |name: &str, starts: &[Start], has_class_again: bool| {
        let mut world = World::new(1);
        started(&mut world).await;
        reserved(&mut world, 0, "v1").await;
        let cookie = attach(&mut world, 0, "v1", true).await;
        let mark = world.sockets.mark_of(cookie);
        assert_eq!((mark.is_some(), mark), (true, class(&world, "v1")), "{name}");
        let mut others = Vec::new();
        for (number, (is_foreign, is_left)) in starts.iter().enumerate() {
            killed(&mut world);
            // The client of the first flow is gone, and a child has its socket.
            world.clients[0].flows.clear();
            if *is_foreign {
                *world.kernel.state().tree(INTERFACES[0]) = Tree::foreign();
                world.kernel.state().disturbed.insert(INTERFACES[0]);
            }
            started(&mut world).await;
            world.check();
            if *is_left {
                world.kernel.clear_faults();
                sleep(Duration::from_secs(30)).await;
            }
            let id = format!("w{number}");
            reserved(&mut world, 1, &id).await;
            attach(&mut world, 1, &id, true).await;
            others.push(id);
            world.check();
            assert_eq!(world.log.violated(), None, "{name}: {}", world.log.last());
            for other in &others {
                let other = class(&world, other);
                assert!(other.is_none() || other != mark, "{name}: another flow has {other:?}");
            }
        }
        let expected = mark.filter(|_| has_class_again);
        assert_eq!(class(&world, "v1"), expected, "{name}");
    };
    check("the tree is there", &[(false, false), (false, false)], true).await;
    check("the root is another program's", &[(true, false)], false).await;
    check("it was another program's at the start", &[(true, true)], false).await;
    check("it was another program's before", &[(true, false), (false, true)], false).await;
    check("the class is free at the next start", &[(true, true), (false, false)], true).await;
    check("and at the one after it", &[(true, true), (true, true), (false, false)], true).await;
}

/// A flow is preempted and released while the kernel does not answer; another flow with its id, which is admitted then, stays.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_flow_does_not_end_the_next_one_of_its_id() {
    let mut world = World::new(1);
    started(&mut world).await;
    asked(&mut world, 0, ("v1", "viewer", 60)).await;
    world.kernel.set_fault(INTERFACES[0], Fault::Silent);
    asked(&mut world, 1, ("w1", "studio", 40)).await;
    world.disconnect(0);
    world.clients[0].flows.clear();
    settle(&mut world).await;
    world.connect(0);
    asked(&mut world, 0, ("v1", "viewer", 10)).await;
    sleep(Duration::from_secs(20)).await;
    settle(&mut world).await;
    world.check();
    world.quiet().await;
    assert_eq!(world.log.violated(), None, "{}", world.log.last());
    assert_eq!(held(&world), ["v1", "w1"]);
}

/// A daemon is killed while the kernel has not answered about a flow that preempts another: that one keeps what it has.
#[tokio::test(start_paused = true)]
async fn a_kill_in_the_middle_of_a_preemption_costs_no_reservation() {
    let mut world = World::new(1);
    started(&mut world).await;
    asked(&mut world, 0, ("v1", "viewer", 60)).await;
    let before = class(&world, "v1");
    world.kernel.set_fault(INTERFACES[0], Fault::Silent);
    asked(&mut world, 1, ("w1", "studio", 40)).await;
    killed(&mut world);
    world.kernel.set_fault(INTERFACES[0], Fault::Quick);
    started(&mut world).await;
    world.check();
    assert_eq!(world.log.violated(), None, "{}", world.log.last());
    assert_eq!((held(&world), class(&world, "v1")), (vec!["v1".to_owned()], before));
}
