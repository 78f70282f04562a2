//! The log: a line or an entry of the journal for each fact, with its fields by name, and hostile names as text.

use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::libc;
use serde_json::{Value, json};

use super::client::{Client, PATIENCE, until};
use super::common;

const POLICY: &str = r#"
version = 1
preemption = true
[interface.lo]
enforcement = "user-space"
egress = { capacity = "100 Mbit/s", reservable = "80%" }
[template.video]
sending = { service_type = "guaranteed", token_rate = "10 Mbit/s", token_bucket_size = "64 KiB" }
[class.viewer]
"#;

const HOSTILE: &str = "<img onerror=x>\u{202E}gpj\u{1B}[2J\nMESSAGE=forged";

/// Ends with the test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Daemon {
    /// Reads the policy again, makes an admission, a refusal, a preemption and a release, and ends in order.
    fn work_and_stop(mut self, directory: &Path) {
        let socket = directory.join("gqos.sock");
        until("the daemon listens", || socket.exists());
        let mut client = Client::connect(&socket);
        let asked = |id: &str, rate: u64, priority: u8| {
            let sending =
                json!({ "service_type": "guaranteed", "token_rate": rate, "token_bucket_size": 65536 });
            json!({ "id": id, "interface": "lo", "class": "viewer", "sending": sending,
                "setup_priority": priority, "holding_priority": priority })
        };
        assert_eq!(client.reserve(asked(HOSTILE, 1_250_000, 7))["ok"], true);
        assert_eq!(client.reserve(asked("big", 12_000_000, 7))["ok"], false);
        assert_eq!(client.reserve(asked("urgent", 9_500_000, 0))["ok"], true);
        client.call("Release", json!({ "id": "urgent" })).unwrap();
        std::fs::write(directory.join("policy.toml"), "version = 2\n").unwrap();
        assert!(client.call("Reload", json!({})).is_err());
        std::fs::write(directory.join("policy.toml"), POLICY).unwrap();
        client.call("Reload", json!({})).unwrap();
        // SAFETY: the call takes two numbers; the process is this test's child, which it has not waited for.
        assert_eq!(unsafe { libc::kill(self.0.id().cast_signed(), libc::SIGTERM) }, 0);
        assert!(self.0.wait().unwrap().success());
    }
}

fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("policy.toml"), POLICY).unwrap();
    directory
}

/// What a daemon has written on standard error in a format.
fn written(format: &str) -> String {
    let directory = directory();
    let log = directory.path().join("log");
    let mut command = Command::new(env!("CARGO_BIN_EXE_gqos"));
    command.current_dir(&directory).args(["daemon", "--policy", "policy.toml", "--log-format", format]);
    command.arg("--socket").arg(directory.path().join("gqos.sock"));
    command.stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap());
    Daemon(command.spawn().unwrap()).work_and_stop(directory.path());
    std::fs::read_to_string(&log).unwrap()
}

/// The facts of the work, and fields of each that have these values.
fn expected() -> [(&'static str, Value); 9] {
    [
        ("daemon_started", json!({ "version": env!("CARGO_PKG_VERSION") })),
        (
            "interface_found",
            json!({ "interface": "lo", "enforcement": "user_space", "budget_sending": 10_000_000 }),
        ),
        (
            "flow_admitted",
            json!({ "id": HOSTILE, "interface": "lo", "class": "viewer", "charged_sending": 1_250_000 }),
        ),
        (
            "flow_refused",
            json!({ "id": "big", "op": "reserve", "reason": "interface_budget", "error": "WSAEOPNOTSUPP" }),
        ),
        ("flow_preempted", json!({ "id": HOSTILE, "by": "urgent", "charged_sending": 1_250_000 })),
        ("flow_released", json!({ "id": "urgent", "charged_sending": 9_500_000 })),
        ("policy_invalid", json!({ "problems": 1 })),
        ("policy_reloaded", json!({ "changed": 0 })),
        ("daemon_ended", json!({ "is_failure": false })),
    ]
}

/// Nothing that a terminal would obey is in a text but the ends of its lines.
#[track_caller]
fn check_plain(text: &str) {
    let hostile =
        text.chars().find(|letter| (letter.is_control() && *letter != '\n') || *letter == '\u{202E}');
    assert_eq!(hostile, None, "{text:?}");
}

#[test]
fn each_fact_is_a_line_of_json_with_its_fields() {
    let log = written("json");
    check_plain(&log);
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (event, fields) in expected() {
        let line =
            lines.iter().find(|line| line["event"] == event).unwrap_or_else(|| panic!("{event}: {log}"));
        assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
        for (name, value) in fields.as_object().unwrap() {
            assert_eq!(line[name], *value, "{event} {name}: {line}");
        }
    }
    // A flow whose name has a line end begins no line.
    assert_eq!(log.matches("\"event\":\"flow_admitted\"").count(), 2);
}

#[test]
fn each_fact_is_a_line_of_text_with_its_fields() {
    let log = written("text");
    check_plain(&log);
    for (event, fields) in expected() {
        let line = log.lines().find(|line| line.contains(&format!("event={event:?}")));
        let line = line.unwrap_or_else(|| panic!("{event}: {log}"));
        for (name, value) in fields.as_object().unwrap() {
            let shown = match value {
                Value::String(text) => format!("{name}={text:?}"),
                value => format!("{name}={value}"),
            };
            assert!(line.contains(&shown), "{shown}: {line}");
        }
    }
    assert!(
        log.contains("WARN <img onerror=x>\\u{202e}gpj\\u{1b}[2J\\u{a}MESSAGE=forged: preempted by urgent"),
        "{log}"
    );
    assert!(!log.lines().any(|line| line.starts_with("MESSAGE")), "{log}");
}

#[test]
fn without_events_warnings_alone_are_written() {
    let log = written("none");
    assert!(log.contains("WARN lo: user space alone") && !log.contains("admitted"), "{log}");
}

/// The fields of an entry. Source: "Native Journal Protocol", systemd.io.
fn fields(mut entry: &[u8]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    while let Some(end) = entry.iter().position(|byte| *byte == b'\n') {
        let line = String::from_utf8(entry[..end].to_vec()).unwrap();
        entry = &entry[end + 1..];
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => {
                let (length, rest) = entry.split_at(8);
                let length = usize::try_from(u64::from_le_bytes(length.try_into().unwrap())).unwrap();
                entry = &rest[length + 1..];
                (line, String::from_utf8(rest[..length].to_vec()).unwrap())
            }
        };
        fields.insert(name, value);
    }
    fields
}

/// In a mount namespace whose /run is the test's directory, so that the journal's socket is the test's.
#[test]
fn where_standard_error_is_the_journal_facts_are_entries_with_fields() {
    if !common::installed(&["unshare", "mount"]) {
        return;
    }
    let directory = directory();
    std::fs::create_dir_all(directory.path().join("systemd/journal")).unwrap();
    let journal = UnixDatagram::bind(directory.path().join("systemd/journal/socket")).unwrap();
    journal.set_read_timeout(Some(PATIENCE)).unwrap();
    let may = ["--map-root-user", "--mount", "mount", "--bind"];
    let tried = Command::new("unshare").args(may).arg(directory.path()).arg("/run").output().unwrap();
    if !tried.status.success() {
        return common::skip("no mount namespaces here");
    }
    let log = directory.path().join("log");
    let script = r#"mount --bind "$0" /run && JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec "$@""#;
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", script]).arg(directory.path());
    command.arg(env!("CARGO_BIN_EXE_gqos")).args(["daemon", "--policy", "policy.toml", "--socket"]);
    command.arg(directory.path().join("gqos.sock")).current_dir(&directory);
    command.stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap());
    let daemon = Daemon(command.spawn().unwrap());
    // The entries are read while the daemon works: the socket's queue is short.
    let reader = std::thread::spawn(move || {
        let mut entries = Vec::new();
        let mut buffer = vec![0; 1 << 18];
        loop {
            let length = common::uninterrupted(|| journal.recv(&mut buffer)).unwrap();
            let entry = fields(&buffer[..length]);
            let is_last = entry.get("GQOS_EVENT").is_some_and(|event| event == "daemon_ended");
            entries.push(entry);
            if is_last {
                return entries;
            }
        }
    });
    daemon.work_and_stop(directory.path());
    let entries = reader.join().unwrap();
    let shown = "<img onerror=x>\\u{202e}gpj\\u{1b}[2J\\u{a}MESSAGE=forged";
    for (event, fields) in expected() {
        let entry = entries.iter().find(|entry| entry.get("GQOS_EVENT").is_some_and(|name| name == event));
        let entry = entry.unwrap_or_else(|| panic!("{event}: {entries:#?}"));
        assert_eq!(entry["SYSLOG_IDENTIFIER"], "gqos");
        let priority = match event {
            "policy_invalid" => "3",
            "interface_found" | "flow_preempted" => "4",
            _ => "5",
        };
        assert_eq!(entry["PRIORITY"], priority, "{event}");
        for (name, value) in fields.as_object().unwrap() {
            let value =
                value.as_str().map_or_else(|| value.to_string(), str::to_owned).replace(HOSTILE, shown);
            let name = format!("GQOS_{}", name.to_uppercase());
            assert_eq!(entry.get(&name), Some(&value), "{event}: {entry:#?}");
        }
    }
    assert!(
        entries.iter().any(|entry| entry.get("MESSAGE") == Some(&format!("{shown}: preempted by urgent")))
    );
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "", "nothing is written twice");
}

#[test]
fn a_group_that_is_not_made_is_logged_at_the_start_and_listed_with_its_reason() {
    let directory = directory();
    let policy = "[group.g]\ninterface = \"lo\"\nsending = { service_type = \"guaranteed\", token_rate = \"1 Gbit/s\" }\n";
    std::fs::write(directory.path().join("policy.toml"), format!("{POLICY}{policy}")).unwrap();
    let (log, socket) = (directory.path().join("log"), directory.path().join("gqos.sock"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_gqos"));
    command.current_dir(&directory).args(["daemon", "--policy", "policy.toml", "--log-format", "json"]);
    command.arg("--socket").arg(&socket);
    command.stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap());
    let mut daemon = Daemon(command.spawn().unwrap());
    until("the daemon listens", || socket.exists());
    let written = || std::fs::read_to_string(&log).unwrap();
    until("the group is logged", || written().contains("\"group_not_made\""));
    let text = written();
    let line = text.lines().find(|line| line.contains("\"group_not_made\"")).unwrap();
    assert!(line.contains("\"group\":\"g\"") && line.contains("lo sending: 1 Gbit/s asked"), "{line}");
    let status = |json: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gqos"));
        let output = command.arg("status").args(json).arg("--socket").arg(&socket).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let text = status(&[]);
    assert!(text.contains("\ngroup g: does not fit yet: lo sending: 1 Gbit/s asked"), "{text}");
    let document: Value = serde_json::from_str(&status(&["--json"])).unwrap();
    let [difference] = &document["group_differences"].as_array().unwrap()[..] else { panic!("{document:#}") };
    assert_eq!(difference["group"], "g");
    assert!(difference["difference"]["refused"].is_object(), "{difference}");
    // SAFETY: the call takes two numbers; the process is this test's child, which it has not waited for.
    assert_eq!(unsafe { libc::kill(daemon.0.id().cast_signed(), libc::SIGTERM) }, 0);
    assert!(daemon.0.wait().unwrap().success());
}
