//! `gqos connect`: data through standard streams, the decision beside it, and what the kernel has meanwhile.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};

use gqos::lab::{CLIENT_V4, LabNetwork, SERVER_V4, Site};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::common::{inside, lab_with};
use super::plan::policy_file;

pub(super) const POLICY: &str = r#"
version = 1
[interface.eth0]
egress = { capacity = "50 Mbit/s", reservable = "80%" }
[template.video]
sending = { service_type = "guaranteed", token_rate = "6 Mbit/s", token_bucket_size = "64 KiB" }
[template.film]
sending = { service_type = "guaranteed", token_rate = "60 Mbit/s", token_bucket_size = "64 KiB" }
[class.viewer]
dead_after = "10 min"
[[rule]]
match = { protocol = "udp" }
class = "viewer"
template = "video"
"#;

/// Starts `gqos connect` in a site's namespace.
fn start(site: &Site, directory: &Path, arguments: &[&str]) -> Child {
    let net = format!("--net={}", site.namespace_path());
    let policy = policy_file(directory, POLICY);
    let mut command = Command::new("nsenter");
    command.arg(net).arg(env!("CARGO_BIN_EXE_gqos")).args(["connect", "--policy", &policy]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Runs it with this input to its end.
fn run(site: &Site, arguments: &[&str], input: &[u8]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let mut child = start(site, directory.path(), arguments);
    // A command that is refused ends without reading its input.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// Checks the exit code, the data on standard output, and a part of standard error.
#[track_caller]
fn check(output: &Output, code: i32, stdout: &str, stderr: &str) {
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{err}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), stdout, "{err}");
    assert!(err.contains(stderr), "{stderr:?} is not in {err}");
}

/// Takes connections in the client's namespace: reads each to its end, answers with the number of bytes and what they
/// were, and reports each.
fn counting_peer(network: &LabNetwork) -> (SocketAddr, Receiver<usize>) {
    let ((listens, listening), (counts, counted)) = (channel(), channel());
    network.client.runtime().spawn(async move {
        let listener = TcpListener::bind((CLIENT_V4, 0)).await.unwrap();
        listens.send(listener.local_addr().unwrap()).unwrap();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut received = Vec::new();
            stream.read_to_end(&mut received).await.unwrap();
            let answer = format!("{} bytes, {}", received.len(), received.is_ascii());
            stream.write_all(answer.as_bytes()).await.unwrap();
            counts.send(received.len()).unwrap();
        }
    });
    (listening.recv().unwrap(), counted)
}

#[test]
fn the_data_of_a_connection_is_on_the_standard_streams_alone() {
    let Some(network) = lab_with(100, &["tc"]) else { return };
    let (peer, counted) = counting_peer(&network);
    let (host, port) = (peer.ip().to_string(), peer.port().to_string());
    let site = &network.server;
    let input = "segment".repeat(50_000);
    // The peer answers at the end of what it receives: the sending direction is closed then, and the other one is not.
    let output = run(site, &["--template", "video", &host, &port], input.as_bytes());
    check(&output, 0, "350000 bytes, true", "decided by an engine in this process");
    assert_eq!(counted.recv().unwrap(), 350_000);
    let spec = ["--send", "guaranteed, token_rate = 8 Mbit/s, token_bucket_size = 32 KiB"];
    let output = run(site, &[&spec[..], &["--json", "--id", "talk", &host, &port]].concat(), b"hello");
    check(&output, 0, "5 bytes, true", "");
    let decision: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!((&decision["ok"], &decision["id"]), (&true.into(), &"talk".into()), "{decision}");
    assert_eq!(decision["engine"], "process", "{decision}");
    assert_eq!(decision["charged"]["sending"], 1_000_000, "{decision}");
    // Of a ladder the first that fits.
    let ladder = ["--template", "film", "--template", "video", "--json"];
    let output = run(site, &[&ladder[..], &[&host, &port]].concat(), b"");
    let decision: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(decision["rendition"], "video", "{decision}");
    // By the rules, none of which is for TCP: best effort.
    let output = run(site, &["--json", &host, &port], b"");
    let decision: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!((&decision["ok"], &decision["charged"]["sending"]), (&true.into(), &0.into()), "{decision}");
    // Nothing is left in the kernel.
    let roots = inside(site, &["tc", "qdisc", "show", "dev", "eth0"]);
    assert!(!roots.contains("htb"), "{roots}");
}

#[test]
fn a_refusal_is_1_and_the_peer_sees_no_connection() {
    let Some(network) = lab_with(100, &["tc"]) else { return };
    let (peer, counted) = counting_peer(&network);
    let (host, port) = (peer.ip().to_string(), peer.port().to_string());
    let site = &network.server;
    check(&run(site, &["--template", "film", &host, &port], b"data"), 1, "", "60 Mbit/s asked");
    let output = run(site, &["--json", "--template", "film", &host, &port], b"data");
    check(&output, 1, "", "");
    let decision: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!((&decision["ok"], &decision["code"]), (&false.into(), &10045.into()), "{decision}");
    check(&run(site, &["--template", "4k", &host, &port], b""), 1, "", "4k");
    // The first connection that the peer sees is one that was admitted.
    check(&run(site, &["--template", "video", &host, &port], b"abc"), 0, "3 bytes, true", "admitted");
    assert_eq!(counted.recv().unwrap(), 3);
    // A port on which nothing listens: the reservation was possible, the connection is not.
    let output = run(site, &["--template", "video", &host, "9"], b"");
    check(&output, 71, "", "connect (10.71.2.2:9): Connection refused");
    check(&run(site, &["-6", &host, &port], b""), 71, "", "no address of IPv6");
}

/// The address that a command prints which listens, and the rest of its standard error.
fn listening(child: &mut Child) -> (SocketAddr, BufReader<ChildStderr>) {
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    let address = line.trim_end().rsplit(' ').next().unwrap();
    (address.parse().unwrap_or_else(|_| panic!("{line}")), lines)
}

#[test]
fn an_accepted_connection_has_its_class_until_it_ends() {
    let Some(network) = lab_with(100, &["tc"]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let site = &network.server;
    let mut child = start(site, directory.path(), &["--listen", "--template", "video", "0"]);
    let (local, mut rest) = listening(&mut child);
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let connect = TcpStream::connect((SERVER_V4, local.port()));
    let mut viewer = network.client.run(connect).unwrap().unwrap();
    let mut decision = String::new();
    rest.read_line(&mut decision).unwrap();
    assert!(decision.contains("admitted"), "{decision}");
    stdin.write_all(b"frame").unwrap();
    let viewer = network.client.run(async move {
        let mut frame = [0; 5];
        viewer.read_exact(&mut frame).await.unwrap();
        assert_eq!(&frame, b"frame");
        viewer.write_all(b"more").await.unwrap();
        viewer
    });
    let mut viewer = viewer.unwrap();
    let mut more = [0; 4];
    stdout.read_exact(&mut more).unwrap();
    assert_eq!(&more, b"more");
    let classes = inside(site, &["tc", "class", "show", "dev", "eth0"]);
    assert!(classes.contains("htb 6771:100 parent"), "{classes}");
    // The end of standard input closes the sending direction; the peer then closes the connection.
    drop(stdin);
    let ended = network.client.run(async move { viewer.read(&mut [0; 8]).await.unwrap() });
    assert_eq!(ended.unwrap(), 0);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let roots = inside(site, &["tc", "qdisc", "show", "dev", "eth0"]);
    assert!(!roots.contains("htb"), "{roots}");
}

#[test]
fn a_signal_ends_the_command_and_its_tree() {
    let Some(network) = lab_with(100, &["tc", "kill"]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let site = &network.server;
    let mut child = start(site, directory.path(), &["--listen", "0"]);
    let (_, _rest) = listening(&mut child);
    let roots = || inside(site, &["tc", "qdisc", "show", "dev", "eth0"]);
    assert!(roots().contains("htb"), "{}", roots());
    // nsenter has become gqos: it has its number.
    inside(site, &["kill", "-TERM", &child.id().to_string()]);
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(!roots().contains("htb"), "{}", roots());
}

#[test]
fn each_read_of_standard_input_is_a_datagram() {
    let Some(network) = lab_with(100, &[]) else { return };
    let (listens, listening_at) = channel();
    network.client.runtime().spawn(async move {
        let socket = UdpSocket::bind((CLIENT_V4, 0)).await.unwrap();
        listens.send(socket.local_addr().unwrap()).unwrap();
        let mut datagram = [0; 2048];
        loop {
            let (came, from) = socket.recv_from(&mut datagram).await.unwrap();
            let answer = format!("<{}>", String::from_utf8_lossy(&datagram[..came]));
            socket.send_to(answer.as_bytes(), from).await.unwrap();
        }
    });
    let peer = listening_at.recv().unwrap();
    let (host, port) = (peer.ip().to_string(), peer.port().to_string());
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["--udp", "--json", &host, &port];
    let mut child = start(&network.server, directory.path(), &arguments);
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    for datagram in ["one", "two"] {
        stdin.write_all(datagram.as_bytes()).unwrap();
        let mut answer = [0; 5];
        stdout.read_exact(&mut answer).unwrap();
        assert_eq!(std::str::from_utf8(&answer).unwrap(), format!("<{datagram}>"));
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    check(&output, 0, "", "");
    let decision: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!((&decision["rendition"], &decision["ok"]), (&"video".into(), &true.into()), "{decision}");
}

#[test]
fn the_first_datagram_decides_the_peer_of_a_listener() {
    let Some(network) = lab_with(100, &[]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["--udp", "--listen", &SERVER_V4.to_string(), "0"];
    let mut child = start(&network.server, directory.path(), &arguments);
    let (local, _rest) = listening(&mut child);
    let mut stdout = child.stdout.take().unwrap();
    let socket = network.client.run(async move {
        let socket = UdpSocket::bind((CLIENT_V4, 0)).await.unwrap();
        socket.send_to(b"first", local).await.unwrap();
        socket
    });
    let mut first = [0; 5];
    stdout.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"first");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"answer").unwrap();
    let socket = socket.unwrap();
    let answer = network.client.run(async move {
        let mut answer = [0; 16];
        let (came, from) = socket.recv_from(&mut answer).await.unwrap();
        (answer[..came].to_vec(), from)
    });
    assert_eq!(answer.unwrap(), (b"answer".to_vec(), local));
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
