//! Clients of the daemon on the real kernel: `gqos connect`, the commands of the control socket, and the client in Python.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use gqos::lab::{CLIENT_V4, LabNetwork, Site};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::common::{inside, installed, lab_with};
use super::connect_command::POLICY;
use super::plan::policy_file;

/// A host with a daemon, and a directory with its policy and its socket.
struct ManagedHost {
    network: LabNetwork,
    directory: tempfile::TempDir,
    daemon: Child,
}

impl ManagedHost {
    #[track_caller]
    fn start() -> Option<Self> {
        let network = lab_with(100, &["tc"])?;
        let directory = tempfile::tempdir().unwrap();
        policy_file(directory.path(), POLICY);
        let daemon = daemon(&network.server, &directory);
        let host = Self { network, directory, daemon };
        host.until_it_answers();
        Some(host)
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("gqos.sock")
    }

    /// A command in the server's namespace that finds the daemon by its environment.
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = within(&self.network.server, program);
        command.args(arguments).env("GQOS_SOCKET", self.socket());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, program: &str, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = self.command(program, arguments).spawn().unwrap();
        // A command that is refused ends without reading its input.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    }

    fn gqos(&self, arguments: &[&str]) -> Output {
        self.run(env!("CARGO_BIN_EXE_gqos"), arguments, b"")
    }

    fn flows(&self) -> Vec<Value> {
        let output = self.gqos(&["flows", "--json"]);
        let lines = String::from_utf8(output.stdout).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[track_caller]
    fn until_it_answers(&self) {
        self.until("the daemon answers", || self.gqos(&["status"]).status.success());
    }

    /// Waits until something is so: the daemon is another process.
    #[track_caller]
    #[expect(clippy::disallowed_methods, reason = "waits for another process")]
    fn until(&self, what: &str, holds: impl Fn() -> bool) {
        for _ in 0..600 {
            if holds() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("after 30 s: {what}: {:?}", self.flows());
    }
}

impl Drop for ManagedHost {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn within(site: &Site, program: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", site.namespace_path())).arg(program);
    command
}

fn daemon(site: &Site, directory: &tempfile::TempDir) -> Child {
    let [policy, socket] = ["p.toml", "gqos.sock"].map(|name| directory.path().join(name));
    let mut command = within(site, env!("CARGO_BIN_EXE_gqos"));
    command.arg("daemon").arg("--policy").arg(policy).arg("--socket").arg(socket);
    command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Takes connections on the other host: reads each to its end, and answers with the number of bytes.
fn counting_peer(network: &LabNetwork) -> [String; 2] {
    let (listens, listening) = std::sync::mpsc::channel();
    network.client.runtime().spawn(async move {
        let listener = TcpListener::bind((CLIENT_V4, 0)).await.unwrap();
        listens.send(listener.local_addr().unwrap()).unwrap();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut received = Vec::new();
                stream.read_to_end(&mut received).await.unwrap();
                stream.write_all(format!("{} bytes", received.len()).as_bytes()).await.unwrap();
            });
        }
    });
    let peer = listening.recv().unwrap();
    [peer.ip().to_string(), peer.port().to_string()]
}

#[test]
fn commands_use_the_daemon_and_its_budget() {
    let Some(host) = ManagedHost::start() else { return };
    let [address, port] = counting_peer(&host.network);
    let connect = |arguments: &[&str], input: &[u8]| {
        host.run(env!("CARGO_BIN_EXE_gqos"), &[&["connect", "--json"], arguments].concat(), input)
    };
    let output = connect(&["--template", "video", &address, &port], &[0; 300_000]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, b"300000 bytes");
    let decision: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(decision["engine"], "daemon");
    assert_eq!(decision["charged"]["sending"], 750_000);
    host.until("the reservation ends with its socket", || host.flows().is_empty());
    let output = connect(&["--template", "film", &address, &port], b"");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    // Drained, it takes no new flows.
    assert_eq!(host.gqos(&["drain"]).status.code(), Some(0));
    assert_eq!(connect(&["--template", "video", &address, &port], b"").status.code(), Some(1));
    assert_eq!(host.gqos(&["drain", "--resume"]).status.code(), Some(0));
    assert_eq!(host.gqos(&["reload"]).status.code(), Some(0));
    // An invalid policy changes nothing.
    policy_file(host.directory.path(), "version = 2\n");
    assert_eq!(host.gqos(&["reload"]).status.code(), Some(78));
    let output = connect(&["--template", "video", &address, &port], b"x");
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"1 bytes"[..]));
}

#[test]
fn a_connection_keeps_its_reservation_over_the_daemons_death() {
    let Some(mut host) = ManagedHost::start() else { return };
    let [address, port] = counting_peer(&host.network);
    let arguments = ["connect", "--id", "held", "--template", "video", &address, &port];
    let mut held = host.command(env!("CARGO_BIN_EXE_gqos"), &arguments).spawn().unwrap();
    let mut stdin = held.stdin.take().unwrap();
    stdin.write_all(b"before").unwrap();
    let is_held =
        |host: &ManagedHost| host.flows().iter().any(|flow| flow["id"] == "held" && flow["cookie"].is_u64());
    host.until("the flow is held by its socket", || is_held(&host));
    host.daemon.kill().unwrap();
    host.daemon.wait().unwrap();
    assert_eq!(host.gqos(&["status"]).status.code(), Some(69));
    stdin.write_all(b" meanwhile").unwrap();
    host.daemon = daemon(&host.network.server, &host.directory);
    host.until_it_answers();
    host.until("the next daemon holds the flow", || is_held(&host));
    let classes = inside(&host.network.server, &["tc", "class", "show", "dev", "eth0"]);
    assert!(classes.lines().count() > 2, "{classes}");
    stdin.write_all(b" after").unwrap();
    drop(stdin);
    let mut answer = String::new();
    held.stdout.take().unwrap().read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "22 bytes");
    assert_eq!(held.wait().unwrap().code(), Some(0));
    host.until("nothing is held", || host.flows().is_empty());
}

#[test]
fn a_client_in_python_reserves_and_attaches_its_socket() {
    if !installed(&["python3"]) {
        return;
    }
    let Some(host) = ManagedHost::start() else { return };
    let [address, port] = counting_peer(&host.network);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/daemon_client.py");
    assert!(std::fs::read_to_string(script).unwrap().lines().count() <= 100);
    let send = |template: &str, input: &[u8]| {
        host.run("python3", &[script, "send", "--template", template, &address, &port], input)
    };
    let output = send("video", &[0; 100_000]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"100000 bytes"[..]), "{stderr}");
    assert!(stderr.contains("admitted, sending 6 Mbit/s"), "{stderr}");
    let output = send("film", b"");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let output = host.run("python3", &[script, "status"], b"");
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["interfaces"][0]["interface"], "eth0", "{status}");
    let output = host.run("python3", &[script, "--socket", "absent.sock", "status"], b"");
    assert_eq!(output.status.code(), Some(69));
}

#[test]
fn a_flow_without_the_daemon_is_paced_until_the_daemon_is_back() {
    let Some(mut host) = ManagedHost::start() else { return };
    let [address, port] = counting_peer(&host.network);
    let policy = host.directory.path().join("client.toml");
    let template = "[template.video]\nsending = { service_type = \"guaranteed\", token_rate = \"6 Mbit/s\", token_bucket_size = \"64 KiB\" }\n";
    std::fs::write(&policy, format!("version = 1\n[daemon]\ndegrade = \"local-bucket\"\n{template}"))
        .unwrap();
    host.daemon.kill().unwrap();
    host.daemon.wait().unwrap();
    let socket = host.socket();
    let arguments = ["--policy", policy.to_str().unwrap(), "--socket", socket.to_str().unwrap()];
    let arguments = [&["connect", "--json", "--template", "video", "--id", "v1"], &arguments[..]].concat();
    let arguments = [&arguments[..], &[&address, &port]].concat();
    let mut connecting = host.command(env!("CARGO_BIN_EXE_gqos"), &arguments).spawn().unwrap();
    let mut input = connecting.stdin.take().unwrap();
    input.write_all(&[0; 300_000]).unwrap();
    let mut decision = String::new();
    let mut said = BufReader::new(connecting.stderr.take().unwrap());
    said.read_line(&mut decision).unwrap();
    let decision: Value = serde_json::from_str(&decision).unwrap();
    assert_eq!((&decision["ok"], &decision["engine"]), (&true.into(), &"daemon".into()), "{decision}");
    let lacking = decision["enforced"]["lacking"].as_str().unwrap();
    assert!(lacking.contains("nothing is reserved: the daemon cannot be reached"), "{decision}");
    // Without the policy of its own, a client that begins now is told that there is no daemon.
    let output = host.gqos(&["connect", "--template", "video", &address, &port]);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    host.daemon = daemon(&host.network.server, &host.directory);
    host.until("the flow has a reservation with its socket", || {
        let flows = host.flows();
        flows.iter().any(|flow| flow["id"] == "v1" && flow["cookie"].is_u64() && flow["class"].is_string())
    });
    input.write_all(&[0; 300_000]).unwrap();
    drop(input);
    let output = connecting.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"600000 bytes"[..]));
    host.until("it ends with its socket", || host.flows().is_empty());
}

/// Reserves for a socket, has it attached, and releases the reservation; then keeps the socket, with its mark, until its input
/// ends. Prints the class.
const KEEPS_ITS_MARK: &str = r#"
import os, socket, sys
sys.path.insert(0, sys.argv[1])
from daemon_client import Client
held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
held.connect((sys.argv[2], int(sys.argv[3])))
client = Client(os.environ["GQOS_SOCKET"])
decision = client.call("Reserve", peer=sys.argv[2], protocol="udp", template="video")["decision"]
attached = client.call("Attach", descriptors=[held.fileno()], id=decision["id"])
client.call("Release", id=decision["id"])
print(attached["class"], flush=True)
sys.stdin.read()
"#;

#[test]
fn a_class_is_no_other_flow_s_while_a_released_socket_has_its_mark() {
    if !installed(&["python3"]) {
        return;
    }
    let Some(mut host) = ManagedHost::start() else { return };
    let [address, port] = counting_peer(&host.network);
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let arguments = ["-c", KEEPS_ITS_MARK, examples, &address, &port];
    let mut keeper = host.command("python3", &arguments).spawn().unwrap();
    let mut class = String::new();
    BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut class).unwrap();
    let class = class.trim().to_owned();
    assert!(class.starts_with("6771:"), "{class:?}");
    host.until("nothing is held", || host.flows().is_empty());
    let next_class = |host: &ManagedHost| {
        let arguments = ["connect", "--id", "next", "--template", "video", &address, &port];
        let mut next = host.command(env!("CARGO_BIN_EXE_gqos"), &arguments).spawn().unwrap();
        let has_class = |flow: &Value| flow["id"] == "next" && flow["class"].is_string();
        host.until("the next flow has a class", || host.flows().iter().any(has_class));
        let flows = host.flows();
        drop(next.stdin.take());
        assert!(next.wait().unwrap().success());
        host.until("nothing is held", || host.flows().is_empty());
        flows[0]["class"].as_str().unwrap().split(' ').next().unwrap().to_owned()
    };
    // The daemon ends in order: the numbers of its classes begin again.
    let restart = |host: &mut ManagedHost| {
        let pid = host.daemon.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(host.daemon.wait().unwrap().success());
        host.daemon = daemon(&host.network.server, &host.directory);
        host.until_it_answers();
    };
    restart(&mut host);
    assert_ne!(next_class(&host), class, "the socket sends to it");
    drop(keeper.stdin.take());
    assert!(keeper.wait().unwrap().success());
    restart(&mut host);
    assert_eq!(next_class(&host), class, "no socket sends to it any more");
}
