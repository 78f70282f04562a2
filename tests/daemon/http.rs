//! The HTTP endpoint: metrics that say what the status says, readiness, and clients that mean harm.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use gqos::policy::HttpAddress;
use serde_json::{Value, json};

use super::client::{Client, PATIENCE, TestDaemon, until};
use super::common;

/// A class with half of the budget, one without a share, and a group whose name is meant to end a label.
pub(crate) const POLICY: &str = r#"
version = 1
[interface.eth0]
egress = { capacity = "100 Mbit/s", reservable = "80%" }
[template.video]
sending = { service_type = "guaranteed", token_rate = "10 Mbit/s", token_bucket_size = "64 KiB" }
[class.viewer]
share = "50%"
[class.studio]
[group."\"},\n evil{\\"]
interface = "eth0"
class = "studio"
sending = { service_type = "guaranteed", token_rate = "8 Mbit/s", token_bucket_size = "64 KiB" }
"#;

/// A daemon whose endpoint is a socket in its directory.
pub(crate) fn daemon() -> Option<TestDaemon> {
    TestDaemon::start_with(POLICY, |directory| {
        Some(HttpAddress::Socket(directory.join("http.sock").display().to_string()))
    })
}

pub(crate) fn socket(daemon: &TestDaemon) -> PathBuf {
    daemon.directory.path().join("http.sock")
}

/// A response, its header names in small letters.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    /// Sends a request's bytes and reads until the end of the connection.
    pub(crate) fn to(mut stream: impl Read + Write, request: &str) -> Self {
        stream.write_all(request.as_bytes()).unwrap();
        Self::from(stream)
    }

    fn from(mut stream: impl Read) -> Self {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_lowercase(), value.to_owned())
        };
        Self { status, headers: lines.map(header).collect(), body: body.to_owned() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

pub(crate) fn connect(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Requests a target, with further header lines.
pub(crate) fn get(socket: &Path, target: &str, headers: &str) -> Answer {
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
    Answer::to(connect(socket), &request)
}

/// The samples of an exposition: their values by what is before the value.
fn samples(text: &str) -> BTreeMap<String, String> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let samples: Vec<_> = samples.filter_map(|line| line.rsplit_once(' ')).collect();
    let by_name: BTreeMap<_, _> =
        samples.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    assert_eq!(by_name.len(), samples.len(), "no series is there twice");
    by_name
}

fn metrics(daemon: &TestDaemon) -> BTreeMap<String, String> {
    samples(&get(&socket(daemon), "/metrics", "").body)
}

#[track_caller]
fn check(metrics: &BTreeMap<String, String>, series: &str, expected: impl ToString) {
    let found = metrics.get(series).unwrap_or_else(|| panic!("no {series} in {metrics:#?}"));
    assert_eq!(*found, expected.to_string(), "{series}");
}

/// Three flows of the class with a share, one that is refused, and one without a class.
fn reserve_some(client: &mut Client) {
    for id in ["v1", "v2", "v3", "v4", "v5"] {
        let asked = json!({ "id": id, "interface": "eth0", "template": "video", "class": "viewer" });
        let expected = id < "v5";
        assert_eq!(client.reserve(asked)["ok"], expected, "{id}");
    }
    client.call("Release", json!({ "id": "v4" })).unwrap();
    client.reserve(json!({ "id": "plain", "interface": "eth0", "template": "video" }));
}

#[test]
fn metrics_are_those_of_the_status() {
    let Some(daemon) = daemon() else { return };
    let mut client = daemon.client();
    reserve_some(&mut client);
    daemon.until_held(4, 48 * 125_000);
    // The client that has waited has left, and the counters follow the events.
    until("one client is left", || client.call("Status", json!({})).unwrap()["connections"] == 1);
    until("the release is counted", || metrics(&daemon)["gqos_flows_ended_total{cause=\"released\"}"] == "1");
    let (metrics, status) = (metrics(&daemon), client.call("Status", json!({})).unwrap());
    let interface = &status["interfaces"][0];
    for direction in ["sending", "receiving"] {
        let totals = &interface["totals"][direction];
        let (budget, reserved) = (totals["budget"].as_u64().unwrap(), totals["reserved"].as_u64().unwrap());
        for (what, value) in [("budget", budget), ("reserved", reserved), ("available", budget - reserved)] {
            let labels = format!("{{interface=\"eth0\",direction=\"{direction}\"}}");
            check(&metrics, &format!("gqos_interface_{what}_bytes_per_second{labels}"), value);
        }
    }
    check(&metrics, "gqos_interface_flows{interface=\"eth0\"}", &interface["flows"]);
    for (name, labels) in [("interface", ""), ("class", ",class=\"viewer\"")] {
        for family in [
            "used_bytes_per_second",
            "delays_total",
            "dropped_packets_total",
            "below_promise_seconds_total",
            "promises_not_kept",
        ] {
            let series = format!("gqos_{name}_{family}{{interface=\"eth0\"{labels}}}");
            let value = metrics.get(&series).unwrap_or_else(|| panic!("no {series} in {metrics:#?}"));
            assert_eq!(value.parse::<f64>(), Ok(0.0), "nothing was sent: {series}");
        }
    }
    let programmed = u8::from(interface["not_programmed"].is_null());
    check(&metrics, "gqos_interface_programmed{interface=\"eth0\"}", programmed);
    check(&metrics, "gqos_flows", &status["flows"]);
    check(&metrics, "gqos_client_connections", &status["connections"]);
    check(&metrics, "gqos_draining", 0);
    check(&metrics, "gqos_build_info{version=\"0.1.0\"}", 1);
    let class = |what: &str, class: &str| {
        format!("gqos_class_{what}{{interface=\"eth0\",class=\"{class}\",direction=\"sending\"}}")
    };
    check(&metrics, &class("budget_bytes_per_second", "viewer"), 40 * 125_000);
    check(&metrics, &class("reserved_bytes_per_second", "viewer"), 30 * 125_000);
    check(&metrics, &class("available_bytes_per_second", "viewer"), 10 * 125_000);
    check(&metrics, &class("reserved_bytes_per_second", "studio"), 8 * 125_000);
    check(&metrics, "gqos_class_flows{interface=\"eth0\",class=\"viewer\"}", 3);
    let group = "{interface=\"eth0\",group=\"\\\"},\\n evil{\\\\\",direction=\"sending\"}";
    check(&metrics, &format!("gqos_group_budget_bytes_per_second{group}"), 8 * 125_000);
    check(&metrics, "gqos_flows_admitted_total", 5);
    check(&metrics, "gqos_flows_refused_total{reason=\"class_share\"}", 1);
    check(&metrics, "gqos_flows_refused_total{reason=\"interface_budget\"}", 0);
    check(&metrics, "gqos_admission_duration_seconds_count", 6);
    check(&metrics, "gqos_events_dropped_total", 0);
    assert!(metrics["process_resident_memory_bytes"].parse::<u64>().unwrap() > 1 << 20);
    daemon.stop();
}

#[test]
fn counters_never_fall_and_reloads_are_counted() {
    let Some(daemon) = daemon() else { return };
    let mut client = daemon.client();
    let before = metrics(&daemon);
    reserve_some(&mut client);
    let file = daemon.directory.path().join("policy.toml");
    std::fs::write(&file, "version = 2").unwrap();
    assert!(client.call("Reload", json!({})).is_err());
    check(&metrics(&daemon), "gqos_policy_last_reload_successful", 0);
    std::fs::write(&file, POLICY).unwrap();
    client.call("Reload", json!({})).unwrap();
    client.call("Drain", json!({})).unwrap();
    until("the events are counted", || metrics(&daemon)["gqos_flows_admitted_total"] == "5");
    let after = metrics(&daemon);
    let is_counter = |name: &str| {
        ["_total", "_bucket", "_count", "_sum"]
            .iter()
            .any(|suffix| name.split('{').next().unwrap().ends_with(suffix))
    };
    let counters = before.iter().filter(|(name, _)| is_counter(name));
    for (name, value) in counters.clone() {
        let later: f64 = after[name].parse().unwrap();
        assert!(later >= value.parse().unwrap(), "{name}: {value} and then {later}");
    }
    assert!(counters.count() > 50);
    check(&after, "gqos_policy_reloads_total{result=\"success\"}", 1);
    check(&after, "gqos_policy_reloads_total{result=\"failure\"}", 1);
    check(&after, "gqos_policy_last_reload_successful", 1);
    check(&after, "gqos_draining", 1);
}

/// Runs a program on a text. Says whether it succeeds, with what it prints.
fn fed(command: &mut Command, text: &str) -> Result<String, String> {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    if output.status.success() { Ok(printed) } else { Err(printed) }
}

const PARSER: &str = "
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
families = list(text_string_to_metric_families(sys.stdin.read()))
print(sum(len(family.samples) for family in families))
print([s.labels['group'] for f in families if f.name == 'gqos_group_budget_bytes_per_second' for s in f.samples][0])
";

#[test]
fn a_strict_parser_reads_the_metrics() {
    // The system's Python has the system's packages.
    let pythons = ["/usr/bin/python3", "python3"];
    let has_parser = |python: &&str| {
        let import = ["-c", "import prometheus_client.openmetrics.parser"];
        Command::new(python).args(import).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let Some(python) = pythons.iter().find(|python| has_parser(python)) else {
        return common::skip("no Python with prometheus_client; Debian: python3-prometheus-client");
    };
    let Some(daemon) = daemon() else { return };
    reserve_some(&mut daemon.client());
    let answer = get(&socket(&daemon), "/metrics", "Accept: application/openmetrics-text; version=1.0.0\r\n");
    let media = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!((answer.status, answer.headers["content-type"].as_str()), (200, media));
    let parsed = fed(Command::new(python).args(["-c", PARSER]), &answer.body).unwrap();
    let expected = format!("{}\n\"}},\n evil{{\\\n", samples(&answer.body).len());
    assert_eq!(parsed, expected, "every sample is read, and a hostile name is a name");
    let broken = answer.body.replace("# EOF\n", "");
    assert!(fed(Command::new(python).args(["-c", PARSER]), &broken).is_err(), "the parser is strict");
}

#[test]
fn promtool_reads_the_older_format() {
    if !common::installed(&["promtool"]) {
        return;
    }
    let Some(daemon) = daemon() else { return };
    reserve_some(&mut daemon.client());
    let answer = get(&socket(&daemon), "/metrics", "Accept: text/plain;version=0.0.4\r\n");
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let mut promtool = Command::new("promtool");
    let printed = fed(promtool.args(["check", "metrics"]), &answer.body).unwrap();
    assert_eq!(printed, "");
}

#[track_caller]
fn readiness(daemon: &TestDaemon, query: &str, expected: (u16, &str)) {
    let answer = get(&socket(daemon), &format!("/ready{query}"), "");
    let body = answer.json();
    let reason = body["reason"].as_str().unwrap_or("");
    assert_eq!((answer.status, reason), expected, "{query}: {body}");
    assert_eq!(body["ready"], answer.status == 200, "{query}: {body}");
    assert_eq!(answer.headers.contains_key("retry-after"), answer.status == 503, "{query}: {answer:?}");
}

#[test]
fn readiness_follows_the_free_capacity_for_a_template() {
    let Some(daemon) = daemon() else { return };
    let mut client = daemon.client();
    readiness(&daemon, "", (200, ""));
    readiness(&daemon, "?template=video", (200, ""));
    readiness(&daemon, "?template=video&interface=eth0&class=viewer", (200, ""));
    for number in 0..4 {
        let id = format!("v{number}");
        client.reserve(json!({ "id": id, "interface": "eth0", "template": "video", "class": "viewer" }));
    }
    readiness(&daemon, "?template=video&class=viewer", (503, "no_capacity"));
    readiness(&daemon, "?template=video", (200, ""));
    client.call("Release", json!({ "id": "v0" })).unwrap();
    until("there is free capacity again", || {
        get(&socket(&daemon), "/ready?template=video&class=viewer", "").status == 200
    });
    readiness(&daemon, "?template=nothing", (404, "unknown_template"));
    readiness(&daemon, "?template=video&class=nothing", (404, "unknown_class"));
    readiness(&daemon, "?template=video&interface=eth9", (404, "unknown_interface"));
    readiness(&daemon, "?interface=eth0", (400, "parameter"));
    readiness(&daemon, "?template=%ff", (400, "parameter"));
    client.call("Drain", json!({})).unwrap();
    readiness(&daemon, "", (503, "draining"));
    readiness(&daemon, "?template=video", (503, "draining"));
    assert_eq!(
        get(&socket(&daemon), "/health", "").json(),
        json!({ "status": "ok" }),
        "it lives all the same"
    );
    client.call("Drain", json!({ "resume": true })).unwrap();
    readiness(&daemon, "", (200, ""));
    // A reservation that is booked ahead says when there will be capacity.
    let asked = json!({ "id": "ahead", "interface": "eth0", "template": "video", "class": "viewer", "ends_in_us": 30_000_000 });
    client.reserve(asked);
    let answer = get(&socket(&daemon), "/ready?template=video&class=viewer", "");
    let seconds: u64 = answer.headers["retry-after"].parse().unwrap();
    assert!((1..=30).contains(&seconds) && answer.status == 503, "{answer:?}");
}

/// One template that is too large for the packets of `eth0`, a class for some users alone, and one for two flows.
const ANY: &str = r#"
version = 1
[interface."*"]
egress = { capacity = "100 Mbit/s", reservable = "80%" }
[template.video]
sending = { service_type = "guaranteed", token_rate = "10 Mbit/s", token_bucket_size = "64 KiB" }
[template.jumbo]
sending = { service_type = "guaranteed", token_rate = "10 Mbit/s", token_bucket_size = "64 KiB", max_sdu_size = "9000 B" }
[class.some]
match = { uid = [4000000000] }
[class.two]
max_flows = 2
"#;

#[test]
fn readiness_without_a_flow_and_for_what_a_reservation_would_be_answered() {
    let Some(daemon) = TestDaemon::start_with(ANY, |directory| {
        Some(HttpAddress::Socket(directory.join("http.sock").display().to_string()))
    }) else {
        return;
    };
    let ready = |query: &str| {
        let answer = get(&socket(&daemon), &format!("/ready{query}"), "");
        (answer.json(), answer.headers.get("retry-after").cloned())
    };
    // Nothing has been reserved on any interface.
    let (body, _) = ready("?template=video");
    assert_eq!((&body["ready"], &body["interface"]), (&json!(true), &json!("eth0")), "{body}");
    readiness(&daemon, "?template=video&interface=eth0", (200, ""));
    readiness(&daemon, "?template=video&interface=eth9", (404, "unknown_interface"));
    readiness(&daemon, "?template=video&class=some", (200, ""));
    readiness(&daemon, "?template=jumbo&interface=eth0", (503, "mtu"));
    let mut client = daemon.client();
    for number in 0..2 {
        client.reserve(
            json!({ "id": number.to_string(), "interface": "eth0", "template": "video", "class": "two" }),
        );
    }
    readiness(&daemon, "?template=video&class=some", (200, ""));
    readiness(&daemon, "?template=jumbo", (503, "mtu"));
    let (body, retry) = ready("?template=video&class=two");
    let message = body["message"].as_str().unwrap();
    assert!(message.contains("two") && body["reason"] == "no_capacity" && retry.unwrap() == "5", "{body}");
    // Nothing leaves by loopback, which takes the large packets.
    client.reserve(json!({ "id": "l", "interface": "lo", "template": "jumbo" }));
    readiness(&daemon, "?template=jumbo", (503, "mtu"));
    readiness(&daemon, "?template=jumbo&interface=lo", (200, ""));
    let (body, _) = ready(&format!("?template=video&interface={}", "n".repeat(23)));
    assert_eq!(body["reason"], "unknown_interface", "{body}");
}

#[test]
fn readiness_is_that_of_the_interface_with_capacity_first() {
    let policy =
        format!("{ANY}[interface.lo]\negress = {{ capacity = \"100 Mbit/s\", reservable = \"80%\" }}\n");
    let Some(daemon) = TestDaemon::start_with(&policy, |directory| {
        Some(HttpAddress::Socket(directory.join("http.sock").display().to_string()))
    }) else {
        return;
    };
    let mut client = daemon.client();
    // It takes the large packets, and is full for a while; `eth0` never takes them.
    for number in 0..8 {
        let id = format!("l{number}");
        client
            .reserve(json!({ "id": id, "interface": "lo", "template": "jumbo", "ends_in_us": 600_000_000 }));
    }
    let answer = get(&socket(&daemon), "/ready?template=jumbo", "");
    let (body, retry) = (answer.json(), answer.headers.get("retry-after").cloned());
    let (seconds, message): (u64, _) = (retry.unwrap().parse().unwrap(), body["message"].as_str().unwrap());
    assert_eq!((&body["interface"], &body["reason"]), (&json!("lo"), &json!("no_capacity")), "{body}");
    assert!((500..=600).contains(&seconds) && message.contains(&format!("in {seconds} s")), "{body}");
}

/// HAProxy's state of the server `origin`.
fn haproxy_state(stats: &Path) -> String {
    let Ok(mut stream) = UnixStream::connect(stats) else { return String::new() };
    stream.write_all(b"show stat\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let server = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let server = server.into_iter().find(|fields| fields.get(1) == Some(&"origin"));
    server.map_or_else(String::new, |fields| fields[17].to_owned())
}

#[test]
fn haproxy_takes_a_full_host_out_and_back() {
    struct Ended(Child);
    impl Drop for Ended {
        fn drop(&mut self) {
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }
    if !common::installed(&["nsenter"]) {
        return;
    }
    if Command::new("haproxy").arg("-v").output().is_err() {
        return common::skip("no haproxy; Debian: haproxy");
    }
    let port = |_: &Path| Some("127.0.0.1:0".parse().unwrap());
    let Some(daemon) = TestDaemon::start_with(POLICY, port) else { return };
    let Some(HttpAddress::Port(address)) = daemon.http else { panic!("{:?}", daemon.http) };
    let [stats, config] = ["haproxy.sock", "haproxy.cfg"].map(|name| daemon.directory.path().join(name));
    let text = format!(
        "global\n  stats socket {}\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n\
         backend origins\n  option httpchk GET /ready?template=video&class=viewer\n\
         \x20 server origin 127.0.0.1:1 check inter 100ms fall 1 rise 1 addr {} port {}\n",
        stats.display(),
        address.ip(),
        address.port()
    );
    std::fs::write(&config, text).unwrap();
    let net = format!("--net={}", daemon.site().namespace_path());
    let mut haproxy = Command::new("nsenter");
    haproxy.arg(net).args(["haproxy", "-q", "-db", "-f"]).arg(&config);
    let _haproxy = Ended(haproxy.spawn().unwrap());
    until("there is free capacity", || haproxy_state(&stats) == "UP");
    let mut client = daemon.client();
    for number in 0..4 {
        client.admitted(&format!("v{number}"), "video");
    }
    until("the class is full", || haproxy_state(&stats) == "DOWN");
    client.call("Release", json!({ "id": "v0" })).unwrap();
    until("there is free capacity again", || haproxy_state(&stats) == "UP");
}

#[test]
fn the_socket_is_for_the_daemons_user_and_group() {
    let Some(daemon) = daemon() else { return };
    let file = std::fs::metadata(socket(&daemon)).unwrap();
    assert!(file.file_type().is_socket());
    assert_eq!(file.permissions().mode() & 0o777, 0o660);
    let path = socket(&daemon);
    // A client that keeps its connection does not keep the daemon.
    let _open = connect(&path);
    daemon.stop();
    assert!(!path.exists());
}

#[test]
fn a_port_answers_no_page_of_another_site() {
    let port = |_: &Path| Some("127.0.0.1:0".parse().unwrap());
    let Some(daemon) = TestDaemon::start_with(POLICY, port) else { return };
    let Some(HttpAddress::Port(address)) = daemon.http else { panic!("{:?}", daemon.http) };
    assert_ne!(address.port(), 0);
    let ask = |head: &str| {
        let request = format!("{head}\r\nConnection: close\r\n\r\n");
        // Not on the daemon's own thread, which answers.
        let ask = move || Answer::to(TcpStream::connect(address).unwrap(), &request);
        daemon.site().run(async move { tokio::task::spawn_blocking(ask).await.unwrap() }).unwrap()
    };
    assert_eq!(ask(&format!("GET /health HTTP/1.1\r\nHost: {address}")).status, 200);
    assert_eq!(ask("GET /health HTTP/1.0").status, 200, "a load balancer's probe");
    let rebound = ask("GET /metrics HTTP/1.1\r\nHost: evil.example:9464");
    assert_eq!(rebound.status, 421);
    assert!(!rebound.body.contains("gqos_"), "{rebound:?}");
    let posted = ask("POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0");
    assert_eq!((posted.status, posted.headers["allow"].as_str()), (405, "GET, HEAD"));
    let head = ask("HEAD /metrics HTTP/1.1\r\nHost: localhost");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    let answer = ask("GET / HTTP/1.1\r\nHost: localhost");
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    assert!(answer.headers["content-security-policy"].contains("default-src 'none'"));
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
}

#[test]
fn stalled_and_greedy_clients_hold_nothing_up() {
    const MOST: usize = 64;
    let Some(daemon) = daemon() else { return };
    let path = socket(&daemon);
    // Half a request, and a response of which nothing is read.
    let mut stalled: Vec<_> = (0..MOST - 1).map(|_| connect(&path)).collect();
    for (number, stream) in stalled.iter_mut().enumerate() {
        let request: &[u8] = match number % 2 {
            0 => b"GET /metrics HTTP/1.1\r\nHost: local",
            _ => b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
        };
        stream.write_all(request).unwrap();
    }
    assert_eq!(get(&path, "/health", "").status, 200);
    daemon.client().admitted_without_class("v1", "video");
    stalled.push(connect(&path));
    until("one connection too many is refused", || {
        let answer = Answer::from(connect(&path));
        assert_eq!((answer.status, answer.headers["retry-after"].as_str()), (503, "5"));
        true
    });
    daemon.client().admitted_without_class("v2", "video");
    // Each ends by itself after its time.
    let mut rest = String::new();
    stalled[0].read_to_string(&mut rest).unwrap();
    until("there is a place again", || {
        let mut stream = connect(&path);
        let _ = stream.write_all(b"GET /health HTTP/1.0\r\n\r\n");
        let mut text = String::new();
        stream.read_to_string(&mut text).is_ok() && text.starts_with("HTTP/1.0 200")
    });
    drop(stalled);
    let long = format!("X-Long: {}\r\n", "a".repeat(64 << 10));
    let request = format!("GET /health HTTP/1.1\r\nHost: localhost\r\n{long}\r\n");
    let mut stream = connect(&path);
    // It is answered before it is read as a whole.
    let _ = stream.write_all(request.as_bytes());
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 431"), "{text}");
    let many: String = (0..100).map(|number| format!("X-{number}: 1\r\n")).collect();
    assert_eq!(get(&path, "/health", &many).status, 431);
}

#[test]
fn an_address_that_others_reach_starts_no_daemon() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("policy.toml");
    let start = |policy: &str, arguments: &[&str]| {
        std::fs::write(&file, policy).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_gqos"));
        command
            .args(["daemon", "--socket"])
            .arg(directory.path().join("gqos.sock"))
            .arg("--policy")
            .arg(&file);
        let output = command.args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text) = start("version = 1\n[daemon]\nhttp = \"0.0.0.0:9464\"\n", &[]);
    assert_eq!(code, Some(78), "{text}");
    assert!(text.contains("is not a loopback address, and the endpoint has no authentication"), "{text}");
    assert!(text.contains("policy.toml:3:8"), "{text}");
    let (code, text) = start("version = 1\n", &["--http", "[::]:9464"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("is not a loopback address"), "{text}");
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap().to_string();
    let (code, text) = start("version = 1\n", &["--http", &address]);
    assert_eq!(code, Some(71), "{text}");
    assert!(text.contains(&format!("bind ({address})")) && text.contains("EADDRINUSE"), "{text}");
}
