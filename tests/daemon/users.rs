//! What users may do with each other's reservations, and with the daemon.

use std::net::UdpSocket;

use flowspec::{Bytes, Flowspec, Qos, Rate};
use gqos::admission::{GroupRequest, Operation};
use gqos::connect::Host;
use gqos::policy::GroupMode;
use serde_json::{Value, json};

use super::client::{Client, OTHER, POLICY, TestDaemon, USER, fails};

const MBIT_10: u64 = 1_250_000;

#[test]
fn two_users_share_one_budget_and_cannot_touch_each_other() {
    let Some(daemon) = TestDaemon::start(POLICY) else { return };
    let (mut one, mut other) = (daemon.client_as(USER), daemon.client_as(OTHER));
    one.admitted("v1", "half");
    other.admitted("w1", "half");
    let refused = one.reserve(json!({ "id": "v2", "interface": "eth0", "template": "video" }));
    assert_eq!(refused["reason"], "interface_budget", "the budget is the host's");
    // Of the flows that hold the most, it names those of the user alone.
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("v1 (") && !message.contains("w1"), "{message}");
    let all = daemon.client().reserve(json!({ "id": "v2", "interface": "eth0", "template": "video" }));
    let message = all["message"].as_str().unwrap();
    assert!(message.contains("v1 (") && message.contains("w1 ("), "{message}");
    let id = json!({ "id": "v1" });
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for (method, parameters) in [
        ("Commit", id.clone()),
        ("Release", id.clone()),
        ("Renegotiate", json!({ "id": "v1", "template": "video" })),
        ("Refresh", json!({ "id": "v1", "ttl_us": 1 })),
        ("Adopt", json!({ "id": "v1", "pid": std::process::id(), "fd": 0 })),
    ] {
        fails(other.call(method, parameters), "UnknownId");
    }
    fails(other.call_with(("Attach", id.clone()), &socket), "UnknownId");
    let mut waits = daemon.client_as(OTHER);
    waits.send("Wait", id.clone(), true);
    fails(waits.answer(), "UnknownId");
    // An id that does not exist is answered alike.
    fails(other.call("Commit", json!({ "id": "none" })), "UnknownId");
    assert_eq!(ids(&mut other), ["w1"]);
    assert_eq!(ids(&mut daemon.client()), ["v1", "w1"], "root sees all");
    let status = other.call("Status", json!({ "classes": true })).unwrap();
    let classes = status["interfaces"][0]["classes"].as_array().unwrap();
    assert!(classes.iter().all(|class| class["flow"] != "v1"), "{classes:?}");
    daemon.until_held(2, 8 * MBIT_10);
    assert!(daemon.client().call("Release", id).is_ok(), "root may");
    daemon.until_held(1, 4 * MBIT_10);
}

fn ids(client: &mut Client) -> Vec<String> {
    client.send("Flows", json!({}), true);
    let flows = client.answer().unwrap()["flows"].clone();
    flows.as_array().unwrap().iter().map(|flow| flow["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn administrative_methods_are_for_root() {
    let Some(daemon) = TestDaemon::start(POLICY) else { return };
    let mut user = daemon.client_as(USER);
    for method in ["Reload", "Plan", "Drain"] {
        fails(user.call(method, json!({})), "NotPermitted");
    }
    assert_eq!(user.call("Status", json!({})).unwrap()["draining"], false);
    for method in ["Reload", "Plan"] {
        assert!(daemon.client().call(method, json!({})).is_ok());
    }
}

/// A program that uses the library gets the decisions about its groups.
#[test]
fn a_host_makes_and_ends_a_group() {
    let Some(daemon) = TestDaemon::start(POLICY) else { return };
    let socket = daemon.socket.clone();
    let client = async move {
        let host = Host::connect_daemon(socket).await.unwrap();
        let sending = Flowspec::guaranteed(Rate::from_mbit(10), Bytes::new(16_384));
        let group = GroupRequest {
            id: "g".into(),
            interface: "eth0".into(),
            class: None,
            mode: GroupMode::Envelope,
            qos: Qos::sending(sending),
        };
        let operations = [
            Operation::Group(Box::new(group)),
            Operation::Ungroup { id: "g".into() },
            Operation::Ungroup { id: "g".into() },
        ];
        let mut admitted = Vec::new();
        for operation in operations {
            admitted.push(host.submit(operation).await.map(|decision| decision.is_ok()).ok());
        }
        host.stop().await;
        admitted
    };
    let admitted = daemon.network.server.run(client).unwrap();
    // The group has ended by then.
    assert!(matches!(admitted[..], [Some(true), Some(true), None | Some(false)]), "{admitted:?}");
}

#[test]
fn groups_belong_to_the_user_that_made_them() {
    let Some(daemon) = TestDaemon::start(POLICY) else { return };
    let (mut one, mut other) = (daemon.client_as(USER), daemon.client_as(OTHER));
    let made = one.call("Group", json!({ "id": "g", "interface": "eth0", "template": "half" })).unwrap();
    assert_eq!(made["decision"]["ok"], true, "{made}");
    let member = |id: &str| json!({ "id": id, "interface": "eth0", "template": "video", "group": "g" });
    fails(other.call("Reserve", member("w1")), "UnknownId");
    fails(other.call("Ungroup", json!({ "id": "g" })), "UnknownId");
    assert_eq!(one.reserve(member("v1"))["ok"], true);
    drop(one);
    // The group and its member end with their connection.
    daemon.until_held(0, 0);
}

#[test]
fn classes_match_the_credentials_of_the_connection() {
    let policy = format!("{POLICY}[class.studio]\nmatch = {{ uid = {USER} }}\nmax_flows = 1\n");
    let Some(daemon) = TestDaemon::start(&policy) else { return };
    let asked = |id: &str| json!({ "id": id, "interface": "eth0", "template": "video", "class": "studio" });
    assert_eq!(daemon.client_as(OTHER).reserve(asked("w1"))["reason"], "class_owner");
    let mut one = daemon.client_as(USER);
    assert_eq!(one.reserve(asked("v1"))["ok"], true);
    assert_eq!(one.reserve(asked("v2"))["reason"], "class_flows");
}

#[test]
fn a_user_sees_the_events_of_its_own_flows_and_of_interfaces() {
    let Some(daemon) = TestDaemon::start(POLICY) else { return };
    let (mut one, mut other, mut events) =
        (daemon.client_as(USER), daemon.client_as(OTHER), daemon.client_as(OTHER));
    events.send("Events", json!({}), true);
    events.answer().unwrap();
    one.admitted("v1", "video");
    one.call("Release", json!({ "id": "v1" })).unwrap();
    other.admitted("w1", "video");
    other.call("Release", json!({ "id": "w1" })).unwrap();
    let mut seen: Vec<Value> = Vec::new();
    while !seen.iter().any(|event| event["event"] == "flow_released") {
        seen.extend(events.answer().unwrap()["events"].as_array().unwrap().iter().cloned());
    }
    assert!(seen.iter().all(|event| event["id"] != "v1"), "{seen:?}");
    assert!(seen.iter().any(|event| event["event"] == "flow_admitted" && event["id"] == "w1"), "{seen:?}");
}

#[test]
fn the_class_of_a_shared_group_is_the_groups() {
    let Some(daemon) = TestDaemon::start(POLICY) else { return };
    let (mut one, mut other) = (daemon.client_as(USER), daemon.client_as(OTHER));
    let group = json!({ "id": "team", "interface": "eth0", "mode": "shared", "template": "half" });
    assert_eq!(one.call("Group", group).unwrap()["decision"]["ok"], true);
    let member = |id: &str| json!({ "id": id, "interface": "eth0", "template": "video", "group": "team" });
    let shared = |client: &mut Client| {
        let status = client.call("Status", json!({ "classes": true })).unwrap();
        let classes = status["interfaces"][0]["classes"].as_array().unwrap();
        classes
            .iter()
            .filter(|class| class["is_group"] == true)
            .map(|class| class["flow"].clone())
            .collect::<Vec<_>>()
    };
    for id in ["m1", "m2"] {
        assert_eq!(one.reserve(member(id))["ok"], true);
        assert_eq!(shared(&mut one), [json!("team")], "with {id}");
        assert_eq!(shared(&mut other), [Value::Null; 0], "another user's");
    }
    one.call("Release", json!({ "id": "m2" })).unwrap();
    assert_eq!(shared(&mut daemon.client()), [json!("team")]);
    // Also while it has one member, its class is the group's.
    one.send("Flows", json!({ "traffic": true }), true);
    let flows = one.answer().unwrap()["flows"].clone();
    assert_eq!((&flows[0]["id"], &flows[0]["traffic"]), (&json!("m1"), &Value::Null), "{flows}");
}
