//! The audit log of a daemon that is killed: what the next one adopts goes on, and is no request of anybody.

use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;

use nix::libc;
use serde_json::{Value, json};

use super::client::{Client, OTHER, POLICY, USER, fails, until};
use super::common;
use super::program::{Program, directory_with};

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The lines of a kind about a flow or a group.
fn about<'a>(lines: &'a [Value], op: &str, id: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["op"] == op && line["id"] == id).collect()
}

#[test]
fn flows_over_a_kill_are_requests_once() {
    let Some(network) = common::lab(100) else { return };
    let directory = directory_with("");
    let [policy, log] = ["policy.toml", "audit"].map(|name| directory.path().join(name));
    // One that is not there any more afterwards.
    let table = format!("[daemon]\naudit = \"{}\"\ngrace = \"10 min\"\n[class.gone]\n", log.display());
    std::fs::write(&policy, format!("{POLICY}{table}")).unwrap();
    let mut daemon = Program::start(&network, directory.path());
    let mut client = daemon.client();
    let group = json!({ "id": "g", "interface": "eth0", "mode": "shared", "template": "video" });
    assert_eq!(client.call("Group", group).unwrap()["decision"]["ok"], true);
    let member =
        json!({ "id": "m", "interface": "eth0", "template": "video", "group": "g", "class": "viewer" });
    assert_eq!(client.reserve(member)["ok"], true);
    client.admitted("v1", "video");
    let lost = json!({ "id": "lost", "interface": "eth0", "template": "video", "class": "gone" });
    assert_eq!(client.reserve(lost)["ok"], true);
    let socket = network.server.run(async { UdpSocket::bind("127.0.0.1:0").unwrap() }).unwrap();
    client.call_with(("Attach", json!({ "id": "v1" })), &socket).unwrap();
    let state = directory.path().join("gqos.sock.state");
    until("all of it is written", || {
        let state = std::fs::read_to_string(&state).unwrap_or_default();
        ["\"m\"", "\"lost\"", "\"cookie\""].iter().all(|text| state.contains(text))
            && about(&lines(&log), "reserve", "lost").len() == 1
    });
    daemon.kill();
    let before = lines(&log).len();
    std::fs::write(&policy, format!("{POLICY}{table}").replace("[class.gone]", "")).unwrap();
    daemon = Program::start(&network, directory.path());
    let mut client = daemon.client();
    client.admitted("v2", "video");
    client.call("Release", json!({ "id": "v1" })).unwrap();
    until("its end is written", || !about(&lines(&log)[before..], "release", "v1").is_empty());
    daemon.signal(libc::SIGTERM);
    assert!(daemon.child.wait().unwrap().success());
    let lines = lines(&log);
    let (first, second) = lines.split_at(before);
    assert!(first.iter().all(|line| line["held"] != true), "{first:?}");
    assert_eq!(second[0]["op"], "audit", "a run of its own");
    for (op, id) in [("group", "g"), ("reserve", "m"), ("reserve", "v1")] {
        let (was, now) = (about(first, op, id), about(second, op, id));
        assert_eq!((was.len(), now.len()), (1, 1), "{id}");
        assert_eq!((&was[0]["decision"]["ok"], &now[0]["held"]), (&json!(true), &json!(true)), "{id}");
        assert!(now[0].get("decision").is_none(), "{}", now[0]);
        assert_eq!(was[0]["pid"], now[0]["pid"], "{id}");
    }
    let refused = about(second, "reserve", "lost");
    assert_eq!((refused.len(), &refused[0]["held"]), (1, &json!(true)), "{refused:?}");
    assert_eq!(refused[0]["decision"]["reason"], "unknown_class", "{refused:?}");
    assert_eq!(about(second, "release", "v1").len(), 1);
    replayed(&policy, &log);
}

#[test]
fn every_line_about_a_user_s_flow_has_its_user_and_failed_calls_are_lines() {
    let Some(network) = common::lab(100) else { return };
    let directory = directory_with("");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory.path(), mode).unwrap();
    let [policy, log] = ["policy.toml", "audit"].map(|name| directory.path().join(name));
    std::fs::write(&policy, format!("{POLICY}[daemon]\naudit = \"{}\"\n", log.display())).unwrap();
    let mut daemon = Program::start(&network, directory.path());
    let mut client = Client::connect_as(&daemon.socket, USER);
    let group = json!({ "id": "g", "interface": "eth0", "template": "half" });
    assert_eq!(client.call("Group", group).unwrap()["decision"]["ok"], true);
    let member =
        json!({ "id": "m", "interface": "eth0", "template": "video", "group": "g", "ttl_us": 60_000_000 });
    assert_eq!(client.reserve(member)["ok"], true);
    client.call("Refresh", json!({ "id": "m", "ttl_us": 50_000_000 })).unwrap();
    let less = json!({ "service_type": "guaranteed", "token_rate": 500_000, "token_bucket_size": 65_536 });
    client.call("Renegotiate", json!({ "id": "m", "sending": less })).unwrap();
    let mut other = Client::connect_as(&daemon.socket, OTHER);
    fails(other.call("Release", json!({ "id": "m" })), "UnknownId");
    fails(other.call("Reload", json!({})), "NotPermitted");
    fails(other.call("Reserve", json!({ "id": "x".repeat(1000), "interface": "eth0" })), "LongName");
    client.call("Release", json!({ "id": "m" })).unwrap();
    client.call("Ungroup", json!({ "id": "g" })).unwrap();
    until("all of it is written", || {
        let lines = lines(&log);
        [("ungroup", "g"), ("release", "m")].iter().all(|(op, id)| about(&lines, op, id).len() == 1)
    });
    daemon.signal(libc::SIGTERM);
    assert!(daemon.child.wait().unwrap().success());
    let lines = lines(&log);
    for (op, id, count) in [
        ("group", "g", 1),
        ("reserve", "m", 1),
        ("refresh", "m", 1),
        ("release", "m", 1),
        ("ungroup", "g", 1),
    ] {
        let found = about(&lines, op, id);
        assert_eq!(found.len(), count, "{op}: {lines:#?}");
        assert!(found.iter().all(|line| line["uid"] == USER), "{found:?}");
    }
    let renegotiated = about(&lines, "renegotiate", "m");
    assert!(
        !renegotiated.is_empty() && renegotiated.iter().all(|line| line["uid"] == USER),
        "{renegotiated:?}"
    );
    let failed: Vec<_> = lines.iter().filter(|line| line["op"] == "failed").collect();
    let names: Vec<_> = failed.iter().map(|line| (&line["method"], &line["error"])).collect();
    let expected = [("Release", "UnknownId"), ("Reload", "NotPermitted"), ("Reserve", "LongName")];
    let expected = expected.map(|(method, error)| (json!(format!("org.gqos.{method}")), json!(error)));
    assert_eq!(names, expected.iter().map(|(method, error)| (method, error)).collect::<Vec<_>>());
    assert!(failed.iter().all(|line| line["uid"] == OTHER && line["pid"].is_u64()), "{failed:?}");
    assert_eq!((&failed[0]["id"], failed[2]["id"].as_str().unwrap().len()), (&json!("m"), 256));
    assert_eq!(failed[0]["problem"], "no reservation \"m\"");
    filtered(&policy, &log);
}

/// The lines are found by their users, and are a trace all the same.
#[track_caller]
fn filtered(policy: &Path, log: &Path) {
    for (arguments, shown) in [
        (vec!["--uid", "1001"], 3),
        (vec!["--op", "failed"], 3),
        (vec!["--uid", "1000", "--op", "release"], 1),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gqos"));
        let output = command.arg("audit").arg(log).args(&arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(text.lines().count(), shown, "{arguments:?}: {text}");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_gqos"));
    let output =
        command.args(["replay", "--json", "--policy"]).arg(policy).arg("--audit").arg(log).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let summary = &report["summary"];
    assert_eq!((&summary["refused_now"], &summary["admitted_now"]), (&json!(0), &json!(0)), "{report:#}");
}

/// Under the policy that admitted them every request gets its verdict again, and each counts once.
#[track_caller]
fn replayed(policy: &Path, log: &Path) {
    let text = std::fs::read_to_string(policy).unwrap() + "[class.gone]\n";
    std::fs::write(policy, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_gqos"));
    command.args(["replay", "--json", "--policy"]).arg(policy).arg("--audit").arg(log);
    let output = command.output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let report: Value = serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let reserved = lines(log).iter().filter(|line| line["op"] == "reserve" && line["held"] != true).count();
    assert_eq!(reserved, 4, "m, v1, lost, v2");
    println!("{report:#}");
    let summary = &report["summary"];
    assert_eq!(summary["held"], 2, "m and v1: {report:#}");
    assert_eq!((&summary["refused_now"], &summary["admitted_now"]), (&json!(0), &json!(0)), "{report:#}");
}
