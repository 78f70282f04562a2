//! Refused requests: each is in the audit log with all that is known of it, and in its user's events.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::client::{Client, OTHER, POLICY, TestDaemon, USER, until};

/// A request that is refused for a reason, which is also its id.
fn request(reason: &str, fields: Value) -> Value {
    let mut request = json!({ "id": reason, "interface": "eth0", "client": "origin" });
    request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    request
}

/// What a policy refuses, in each of its ways.
fn requests() -> Vec<Value> {
    let spec = |service: &str, rate: u64, unit: u64| json!({ "sending": { "service_type": service, "token_rate": rate, "token_bucket_size": 9000, "max_sdu_size": unit } });
    let mut backwards = spec("guaranteed", 1000, 1500);
    backwards["sending"]["peak_bandwidth"] = json!(1);
    vec![
        request("unknown_template", json!({ "template": "tomorrow" })),
        request("unknown_class", json!({ "template": "video", "class": "none" })),
        request("unknown_group", json!({ "template": "video", "group": "none" })),
        request("unknown_interface", json!({ "template": "video", "interface": "lo" })),
        request("class_owner", json!({ "template": "video", "class": "studio" })),
        request("invalid_window", json!({ "template": "video", "starts_in_us": 9_000_000, "ends_in_us": 1 })),
        request(
            "invalid_priority",
            json!({ "template": "video", "setup_priority": 1, "holding_priority": 5 }),
        ),
        request("invalid_flowspec", backwards),
        request("service_not_offered", spec("network_control", 1000, 1500)),
        request("mtu", spec("guaranteed", 1000, 60_000)),
        request("interface_budget", spec("guaranteed", 100_000_000, 1500)),
        request("flow_rate", json!({ "template": "half", "class": "small" })),
    ]
}

/// The events of a stream about refusals, by id, until one about `last`.
fn refusals(client: &mut Client, last: &str) -> BTreeMap<String, Value> {
    let mut seen = BTreeMap::new();
    while !seen.contains_key(last) {
        for event in client.answer().unwrap()["events"].as_array().unwrap() {
            if event["event"] == "flow_refused" {
                seen.insert(event["id"].as_str().unwrap().to_owned(), event["reason"].clone());
            }
        }
    }
    seen
}

#[test]
fn what_a_policy_refuses_is_logged_whole_and_its_user_sees_it() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("audit.jsonl");
    let classes = "[class.studio]\nmatch = { uid = 0 }\n[class.small]\nmax_rate = \"1 Mbit/s\"\n";
    let policy = format!("{POLICY}{classes}[daemon]\naudit = \"{}\"\n", log.display());
    let Some(daemon) = TestDaemon::start(&policy) else { return };
    let (mut own, mut others) = (daemon.client_as(USER), daemon.client_as(OTHER));
    for stream in [&mut own, &mut others] {
        stream.send("Events", json!({}), true);
        stream.answer().unwrap();
    }
    let (mut user, requests) = (daemon.client_as(USER), requests());
    for request in &requests {
        let decision = user.reserve(request.clone());
        assert_eq!(decision["reason"], request["id"], "{request}: {decision}");
    }
    let ladder = json!({ "id": "ladder", "interface": "eth0", "templates": ["video", "tomorrow"] });
    assert_eq!(user.reserve(ladder)["reason"], "unknown_template");
    let seen = refusals(&mut own, "ladder");
    for request in &requests {
        assert_eq!(seen.get(request["id"].as_str().unwrap()), Some(&request["id"]), "{seen:?}");
    }
    let other = json!({ "id": "other", "interface": "eth0", "template": "none" });
    assert_eq!(daemon.client_as(OTHER).reserve(other)["ok"], false);
    let seen = refusals(&mut others, "other");
    assert_eq!(seen.len(), 1, "nothing of another user: {seen:?}");
    until("the last one is written", || audit(&log, &["--id", "other"]).len() == 1);
    logged(&log, &requests);
    replayed(&policy, &log);
}

/// Every request is found by its user and its client, with its class, its templates and its reason.
#[track_caller]
fn logged(log: &Path, requests: &[Value]) {
    let lines = audit(log, &["--uid", "1000", "--client", "origin", "--refused"]);
    assert_eq!(lines.len(), requests.len(), "{lines:#?}");
    for (line, request) in lines.iter().zip(requests) {
        assert_eq!((&line["op"], &line["decision"]["reason"]), (&json!("reserve"), &request["id"]), "{line}");
        for field in ["id", "interface", "class", "group", "template", "setup_priority"] {
            assert_eq!(line.get(field), request.get(field), "{field}: {line}");
        }
        for field in ["uid", "gid"] {
            assert_eq!(line[field], USER, "{field}: {line}");
        }
        assert!(line["pid"].is_u64() && line["cgroup"].is_string(), "{line}");
        let named = ["template", "sending"].iter().filter(|field| line.get(**field).is_some()).count();
        assert_eq!(named, 1, "what it asks for: {line}");
    }
    let ladder = audit(log, &["--id", "ladder"]);
    assert_eq!(ladder[0]["templates"], json!(["video", "tomorrow"]), "{ladder:?}");
}

/// The same policy decides each as it did, and one with the template otherwise.
#[track_caller]
fn replayed(policy: &str, log: &Path) {
    let report = replay(policy, log);
    let counts =
        ["same", "refused_now", "admitted_now", "not_by_policy"].map(|count| &report["summary"][count]);
    assert_eq!(counts, [&json!(14), &json!(0), &json!(0), &json!(0)], "{report:#}");
    let template = "sending = { service_type = \"guaranteed\", token_rate = \"1 Mbit/s\", token_bucket_size = \"9 kB\" }\n";
    let report = replay(&format!("{policy}[template.tomorrow]\n{template}"), log);
    assert_eq!(report["summary"]["admitted_now"], 2, "unknown_template and ladder: {report:#}");
}

fn replay(policy: &str, log: &Path) -> Value {
    let file = log.with_file_name("policy.toml");
    std::fs::write(&file, policy).unwrap();
    let output = gqos(&["replay", "--json", "--policy", file.to_str().unwrap(), "--audit"], log);
    serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}"))
}

/// The lines that `gqos audit` prints.
fn audit(log: &Path, filter: &[&str]) -> Vec<Value> {
    let output = gqos(&[&["audit", "--json"], filter].concat(), log);
    output.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn gqos(arguments: &[&str], log: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gqos"));
    let output = command.args(arguments).arg(log).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}
