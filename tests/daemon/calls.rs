//! What each call answers.

use gqos::control::{Decided, INTERFACE};
use serde_json::{Value, json};

use super::client::{POLICY, TestDaemon, fails};

const MBIT_10: u64 = 1_250_000;

#[test]
fn a_flow_is_reserved_renegotiated_and_released() {
    let Some(daemon) = TestDaemon::start(POLICY) else { return };
    let mut client = daemon.client();
    let asked = json!({ "id": "v1", "peer": "10.71.2.2", "template": "video", "class": "viewer" });
    let reply = client.call("Reserve", asked).unwrap();
    let decision = &reply["decision"];
    assert_eq!(
        (&decision["op"], &decision["ok"], &decision["id"]),
        (&json!("reserve"), &json!(true), &json!("v1"))
    );
    assert_eq!(decision["charged"], json!({ "sending": MBIT_10, "receiving": 0 }));
    assert_eq!(decision["reserved"]["eth0"]["sending"], MBIT_10);
    let class = reply["admitted"]["class"].as_str().unwrap();
    assert_eq!(decision["enforced"]["class"], format!("{class} dev eth0"), "{reply}");
    assert_eq!(reply["admitted"]["dscp"], 34, "AF41");
    assert_eq!(reply.get("details"), None);
    assert_eq!(client.call("Commit", json!({ "id": "v1" })), Ok(json!({})));
    let free = client.call("Query", json!({ "interface": "eth0" })).unwrap();
    assert_eq!(free["decision"]["available"]["eth0"]["sending"], 7 * MBIT_10);
    let more = client.call("Renegotiate", json!({ "id": "v1", "template": "half" })).unwrap();
    assert_eq!(more["decision"]["charged"]["sending"], 4 * MBIT_10);
    let flows = {
        client.send("Flows", json!({}), true);
        client.answer().unwrap()["flows"].clone()
    };
    assert_eq!((&flows[0]["id"], &flows[0]["cookie"]), (&json!("v1"), &Value::Null), "{flows}");
    assert_eq!(client.call("Release", json!({ "id": "v1" })), Ok(json!({})));
    fails(client.call("Release", json!({ "id": "v1" })), "UnknownId");
    daemon.until_held(0, 0);
    let chosen = client.reserve(json!({ "interface": "eth0", "template": "video" }));
    assert_eq!(chosen["id"].as_str().unwrap().len(), 32, "an id of 128 bits: {chosen}");
    daemon.stop();
}

#[test]
fn a_refusal_is_an_answer_with_its_numbers() {
    let Some(daemon) = TestDaemon::start(POLICY) else { return };
    let mut client = daemon.client();
    for id in ["v1", "v2"] {
        client.admitted(id, "half");
    }
    let mut asked = json!({ "id": "v3", "interface": "eth0", "template": "video" });
    let decision = &client.reserve(asked.clone());
    assert_eq!((&decision["ok"], &decision["code"]), (&json!(false), &json!(10045)), "{decision}");
    assert_eq!(decision["reason"], "interface_budget");
    assert!(decision["message"].as_str().unwrap().contains("10 Mbit/s"), "{decision}");
    // The parts give the same decision at another time.
    asked["details"] = json!(true);
    let reply = client.call("Reserve", asked).unwrap();
    let Decided { decision: flat, details, .. } = serde_json::from_value(reply).unwrap();
    assert_eq!(flat, None);
    let mut parts = serde_json::to_value(&details.unwrap().0).unwrap();
    parts["at_us"] = decision["at_us"].clone();
    assert_eq!(parts, *decision);
    let twice = client.reserve(json!({ "id": "v1", "interface": "eth0", "template": "video" }));
    assert_eq!(twice["reason"], "duplicate_id");
    let unknown = client.reserve(json!({ "id": "v4", "interface": "eth0", "template": "none" }));
    assert_eq!(unknown["reason"], "unknown_template", "{unknown}");
    daemon.until_held(2, 8 * MBIT_10);
}

#[test]
fn the_service_describes_itself() {
    let Some(daemon) = TestDaemon::start(POLICY) else { return };
    let mut client = daemon.client();
    let info = client.call("org.varlink.service.GetInfo", json!({})).unwrap();
    assert_eq!(info["interfaces"], json!(["org.varlink.service", "org.gqos"]));
    let describe = "org.varlink.service.GetInterfaceDescription";
    let text = client.call(describe, json!({ "interface": "org.gqos" })).unwrap();
    assert_eq!(text["description"], INTERFACE);
    fails(client.call(describe, json!({ "interface": "org.other" })), "InterfaceNotFound");
    fails(client.call("Retire", json!({})), "MethodNotFound");
    fails(client.call("Commit", json!({ "name": "v1" })), "InvalidParameter");
    fails(client.call("Events", json!({})), "ExpectedMore");
    fails(client.call("Reserve", json!({ "template": "video" })), "InvalidParameter");
    fails(client.call("Reserve", json!({ "interface": "eth9", "template": "video" })), "InvalidParameter");
    let both = json!({ "interface": "eth0", "template": "video", "templates": ["video"] });
    fails(client.call("Reserve", both), "InvalidParameter");
    let long = "x".repeat(257);
    fails(client.call("Reserve", json!({ "id": long, "interface": "eth0" })), "LongName");
    assert_eq!(client.call("Egress", json!({ "peer": "10.71.2.2" })).unwrap()["interface"], "eth0");
    let ladder = json!({ "peer": "10.71.2.2", "templates": ["half", "video"] });
    let renditions = client.call("Renditions", ladder).unwrap()["renditions"].clone();
    assert_eq!((&renditions[0]["template"], &renditions[1]["template"]), (&json!("half"), &json!("video")));
}

#[test]
fn calls_are_answered_in_their_order_and_oneway_calls_are_not() {
    let Some(daemon) = TestDaemon::start(POLICY) else { return };
    let mut client = daemon.client();
    for number in 0..100 {
        client.send("Release", json!({ "id": format!("v{number}") }), false);
    }
    for number in 0..100 {
        let Err((error, parameters)) = client.answer() else { panic!("an error") };
        assert_eq!((error.as_str(), &parameters["id"]), ("UnknownId", &json!(format!("v{number}"))));
    }
    client
        .send_bytes(b"{\"method\":\"org.gqos.Release\",\"parameters\":{\"id\":\"a\"},\"oneway\":true}\0")
        .unwrap();
    fails(client.call("Release", json!({ "id": "b" })), "UnknownId");
}

#[test]
fn a_reload_takes_a_valid_policy_and_leaves_an_invalid_one() {
    let Some(daemon) = TestDaemon::start(POLICY) else { return };
    let mut client = daemon.client();
    client.admitted("v1", "video");
    let file = daemon.directory.path().join("policy.toml");
    std::fs::write(&file, POLICY.replace("10 Mbit/s", "20 Mbit/s")).unwrap();
    let planned = client.call("Plan", json!({})).unwrap();
    assert_eq!(planned["changes"]["changed"][0]["item"], "template.video", "{planned}");
    let decision = client.reserve(json!({ "id": "v2", "interface": "eth0", "template": "video" }));
    assert_eq!(decision["charged"]["sending"], MBIT_10, "a plan changes nothing");
    let reloaded = client.call("Reload", json!({})).unwrap();
    assert_eq!(reloaded, planned);
    let decision = client.reserve(json!({ "id": "v3", "interface": "eth0", "template": "video" }));
    assert_eq!(decision["charged"]["sending"], 2 * MBIT_10);
    std::fs::write(&file, "version = 1\n[class.viewer]\nmax_flow = 1\n").unwrap();
    let Err((error, parameters)) = client.call("Reload", json!({})) else { panic!("an invalid policy") };
    assert_eq!(error, "InvalidPolicy");
    let problem = &parameters["problems"][0];
    assert_eq!((&problem["line"], &problem["column"]), (&json!(3), &json!(1)), "{problem}");
    let decision = client.reserve(json!({ "id": "v4", "interface": "eth0", "template": "video" }));
    assert_eq!(decision["charged"]["sending"], 2 * MBIT_10, "the policy before stays");
    daemon.until_held(4, 6 * MBIT_10);
}

#[test]
fn clients_are_told_what_to_do_without_the_daemon_and_again_after_each_reload() {
    let degrading = format!("{POLICY}[daemon]\ndegrade = \"local-bucket\"\n");
    let Some(daemon) = TestDaemon::start(&degrading) else { return };
    let (mut notices, mut client) = (daemon.client(), daemon.client());
    notices.send("Wait", json!({}), true);
    assert_eq!(notices.answer().unwrap(), json!({ "notice": "listening" }));
    let check = |notice: Value, degrade: &str| {
        assert_eq!(notice["notice"], "degrade", "{notice}");
        let text = notice["policy"].as_str().unwrap();
        assert!(text.contains(degrade) && text.contains("[template.video]"), "{text}");
        assert!(!text.contains("eth0") && !text.contains("viewer"), "{text}");
    };
    check(notices.answer().unwrap(), "degrade = \"local-bucket\"");
    let file = daemon.directory.path().join("policy.toml");
    std::fs::write(&file, degrading.replace("local-bucket", "best_effort")).unwrap();
    client.call("Reload", json!({})).unwrap();
    check(notices.answer().unwrap(), "degrade = \"best_effort\"");
    std::fs::write(&file, POLICY).unwrap();
    client.call("Reload", json!({})).unwrap();
    let refusing = notices.answer().unwrap();
    assert_eq!((&refusing["notice"], &refusing["policy"]), (&json!("degrade"), &Value::Null), "{refusing}");
    // With such a policy the stream begins without it.
    let mut later = daemon.client();
    later.send("Wait", json!({}), true);
    assert_eq!(later.answer().unwrap(), json!({ "notice": "listening" }));
    client.call("Reload", json!({})).unwrap();
    assert_eq!(later.answer().unwrap()["notice"], "degrade", "the first after the reload");
}

#[test]
fn a_daemon_that_drains_takes_no_new_flows_and_keeps_the_others() {
    let Some(daemon) = TestDaemon::start(POLICY) else { return };
    let mut client = daemon.client();
    client.admitted("v1", "video");
    assert_eq!(client.call("Drain", json!({})).unwrap(), json!({ "draining": true, "flows": 1 }));
    fails(
        client.call("Reserve", json!({ "id": "v2", "interface": "eth0", "template": "video" })),
        "Draining",
    );
    assert_eq!(client.call("Status", json!({})).unwrap()["draining"], true);
    assert!(client.call("Renegotiate", json!({ "id": "v1", "template": "half" })).is_ok());
    assert_eq!(client.call("Drain", json!({ "resume": true })).unwrap()["draining"], false);
    client.admitted("v2", "video");
}

#[test]
fn a_client_is_notified_of_losses_and_of_free_capacity() {
    let Some(daemon) = TestDaemon::start(POLICY) else { return };
    let (mut client, mut notices, mut events) = (daemon.client(), daemon.client(), daemon.client());
    notices.send("Wait", json!({}), true);
    assert_eq!(notices.answer().unwrap(), json!({ "notice": "listening" }));
    events.send("Events", json!({}), true);
    let first = events.answer().unwrap();
    assert_eq!((&first["events"], &first["dropped"]), (&json!([]), &json!(0)));
    assert!(first["began_us"].as_u64() > Some(0), "when the clock of the events began: {first}");
    client.admitted("v1", "half");
    client.admitted("v2", "half");
    let asked = json!({ "id": "v3", "interface": "eth0", "template": "half", "wait": true });
    assert_eq!(client.reserve(asked)["waiting"], true);
    client.call("Release", json!({ "id": "v2" })).unwrap();
    assert_eq!(notices.answer().unwrap(), json!({ "notice": "capacity", "id": "v3" }));
    client.admitted("v3", "half");
    let first = json!({ "id": "v4", "interface": "eth0", "template": "half", "setup_priority": 1, "holding_priority": 1 });
    assert_eq!(client.reserve(first)["preempted"], json!(["v3"]));
    let lost = notices.answer().unwrap();
    assert_eq!((&lost["notice"], &lost["lost"]["id"]), (&json!("lost"), &json!("v3")), "{lost}");
    assert_eq!(lost["lost"]["why"], json!({ "preempted": { "by": "v4" } }));
    fails(client.call("Commit", json!({ "id": "v3" })), "UnknownId");
    let mut seen = Vec::new();
    while !seen.contains(&("flow_preempted".to_owned(), "v3".to_owned())) {
        for event in events.answer().unwrap()["events"].as_array().unwrap() {
            let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
            seen.push((text("event"), text("id")));
        }
    }
    assert!(seen.contains(&("flow_admitted".into(), "v1".into())), "{seen:?}");
    daemon.until_held(2, 8 * MBIT_10);
}
