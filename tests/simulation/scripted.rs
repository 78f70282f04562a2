//! What seeds have found, step by step.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::client::{Asked, call};
use crate::sockets::Kind;
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

/// A client that holds a reservation with a socket that is not connected.
async fn attached() -> (World, u64) {
    let mut world = World::new(1);
    while world.running.is_none() {
        world.start().await;
    }
    world.connect(0);
    let sending = json!({ "service_type": "guaranteed", "token_rate": 125_000, "token_bucket_size": 16_384 });
    let asked = json!({ "id": "v1", "interface": "eth1", "sending": sending });
    world.call(0, Asked::Reserve { id: "v1".into() }, "Reserve", asked);
    settle(&mut world).await;
    let cookie = world.sockets.open(Kind::Socket { is_bound: false });
    let descriptor = world.sockets.descriptor(cookie);
    let asked = Asked::Attach { id: "v1".into(), cookie };
    let connection = world.clients[0].connection.as_mut().unwrap();
    connection.call(&mut world.random, (asked, &call("Attach", json!({ "id": "v1" }))), descriptor);
    settle(&mut world).await;
    assert_eq!(held(&world), ["v1"]);
    (world, cookie)
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
