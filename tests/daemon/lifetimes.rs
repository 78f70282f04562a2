//! How long a reservation lasts: with its client's connection, and with its socket once one is attached.

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sys::socket::{getsockopt, sockopt};
use serde_json::json;

use super::client::{Client, POLICY, TestDaemon, until};
use super::recovery::kills;

const MBIT_10: u64 = 1_250_000;

#[test]
fn a_reservation_without_a_socket_ends_with_its_connection() {
    let Some(daemon) = TestDaemon::start(POLICY) else { return };
    let (mut one, mut other) = (daemon.client(), daemon.client());
    one.admitted("v1", "video");
    other.admitted("v2", "video");
    let asked = json!({ "id": "v3", "interface": "eth0", "sending": { "service_type": "guaranteed", "token_rate": 9_000_000 }, "wait": true });
    assert_eq!(one.reserve(asked)["waiting"], true);
    drop(one);
    daemon.until_held(1, MBIT_10);
    assert_eq!(other.call("Commit", json!({ "id": "v2" })), Ok(json!({})));
    // The end of what a client sends is not the end of its connection.
    other.stream().shutdown(std::net::Shutdown::Write).unwrap();
    daemon.until_held(0, 0);
}

#[test]
fn a_reservation_with_a_socket_lives_as_long_as_that() {
    let Some(daemon) = TestDaemon::start(POLICY) else { return };
    let (listener, tcp, udp) = daemon.inside(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        udp.connect(SocketAddr::from(([127, 0, 0, 1], 9))).unwrap();
        (listener, tcp, udp)
    });
    let (accepted, _) = listener.accept().unwrap();
    let mut client = daemon.client();
    let reply = client
        .call("Reserve", json!({ "id": "t", "interface": "eth0", "template": "video", "class": "viewer" }));
    let class = reply.unwrap()["admitted"]["class"].clone();
    client.admitted("u", "video");
    let attached = client.call_with(("Attach", json!({ "id": "t" })), &tcp).unwrap();
    assert_eq!((&attached["class"], &attached["dscp"]), (&class, &json!(34)), "{attached}");
    let priority = getsockopt(&tcp.as_fd(), sockopt::Priority).unwrap();
    let handle: gqos::tc::Handle = class.as_str().unwrap().parse().unwrap();
    assert_eq!(priority.cast_unsigned(), handle.to_u32(), "its packets are sent to the class");
    client.call_with(("Attach", json!({ "id": "u" })), &udp).unwrap();
    drop(client);
    let copy = tcp.try_clone().unwrap();
    drop(tcp);
    // The connection and one descriptor of each are gone, and the sockets are not.
    let mut observer = daemon.client();
    let flows = |observer: &mut Client| {
        observer.send("Flows", json!({}), true);
        observer.answer().unwrap()["flows"].as_array().unwrap().len()
    };
    until("one connection is left", || observer.call("Status", json!({})).unwrap()["connections"] == 1);
    assert_eq!(flows(&mut observer), 2);
    drop(udp);
    daemon.until_held(1, MBIT_10);
    // Both ends, so that no state of the connection keeps the socket.
    drop((copy, accepted));
    daemon.until_held(0, 0);
}

#[test]
fn a_socket_that_is_not_connected_yet_can_be_attached() {
    let Some(daemon) = TestDaemon::start(POLICY) else { return };
    let socket = daemon.inside(|| {
        let kind = nix::sys::socket::SockType::Stream;
        let flags = nix::sys::socket::SockFlag::SOCK_CLOEXEC;
        nix::sys::socket::socket(nix::sys::socket::AddressFamily::Inet, kind, flags, None).unwrap()
    });
    let mut client = daemon.client();
    client.admitted("v1", "video");
    client.call_with(("Attach", json!({ "id": "v1" })), &socket).unwrap();
    drop(client);
    daemon.until_held(1, MBIT_10);
    drop(socket);
    daemon.until_held(0, 0);
}

#[test]
fn another_process_s_socket_is_adopted() {
    let Some(daemon) = TestDaemon::start(POLICY) else { return };
    let mut child = Holder::start(&daemon, "adopted");
    let mut client = daemon.client();
    client.admitted("v1", "video");
    let fd = child.line().parse::<u32>().unwrap();
    client.call("Adopt", json!({ "id": "v1", "pid": child.child.id(), "fd": fd })).unwrap();
    drop(client);
    daemon.until_held(1, MBIT_10);
    child.kill();
    daemon.until_held(0, 0);
}

/// Clients that are killed with everything that they hold, in the middle of more requests.
///
/// `GQOS_KILLS=1000 cargo test --test daemon killed_clients -- --nocapture`
#[test]
fn killed_clients_leave_nothing() {
    let Some(daemon) = TestDaemon::start(&POLICY.replace("10 Mbit/s", "100 kbit/s")) else { return };
    let (rounds, begun) = (kills(24).div_ceil(8), std::time::Instant::now());
    for _ in 0..rounds {
        let mut children: Vec<_> =
            (0..8).map(|number| Holder::start(&daemon, &format!("c{number}"))).collect();
        for child in &mut children {
            assert_eq!(child.line(), "held");
        }
        for child in &mut children {
            child.kill();
        }
        daemon.until_held(0, 0);
    }
    println!("{} clients killed in {} s", rounds * 8, begun.elapsed().as_secs());
    let mut client = daemon.client();
    client.admitted("after", "half");
    daemon.until_held(1, 4 * MBIT_10);
    daemon.stop();
}

/// This test program as another process in the daemon's network namespace.
pub(crate) struct Holder {
    pub(crate) child: Child,
    output: std::io::BufReader<std::process::ChildStdout>,
}

const SOCKET: &str = "GQOS_TEST_SOCKET";
const NAME: &str = "GQOS_TEST_NAME";

impl Holder {
    pub(crate) fn start(daemon: &TestDaemon, name: &str) -> Self {
        let (socket, name) = (daemon.socket.clone(), name.to_owned());
        let mut child = daemon.inside(move || {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "lifetimes::holder", "--nocapture", "--quiet"]).stdin(Stdio::piped());
            command.env(SOCKET, socket).env(NAME, name).stdout(Stdio::piped()).spawn().unwrap()
        });
        let output = std::io::BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    /// The next line that the process itself has printed.
    pub(crate) fn line(&mut self) -> String {
        use std::io::BufRead;
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "the process has ended");
            if let Some(said) = line.trim().split("says ").nth(1) {
                return said.to_owned();
            }
        }
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Not a test of its own: what a [`Holder`] does.
#[test]
fn holder() {
    use std::os::fd::AsRawFd;
    let Some(socket) = std::env::var_os(SOCKET).map(PathBuf::from) else { return };
    let name = std::env::var(NAME).unwrap();
    if name == "adopted" {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        println!("says {}", udp.as_raw_fd());
        std::io::stdin().read_line(&mut String::new()).unwrap();
        return;
    }
    if name == "slice" {
        return super::slices::hold_slice(socket);
    }
    let mut client = Client::connect(&socket);
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    for number in 0..8 {
        client.admitted(&format!("{name}-{number}"), "video");
    }
    client.call_with(("Attach", json!({ "id": format!("{name}-0") })), &udp).unwrap();
    println!("says held");
    for number in 8.. {
        let id = format!("{name}-{number}");
        client.reserve(json!({ "id": id, "interface": "eth0", "template": "video" }));
        client.call("Release", json!({ "id": id })).ok();
    }
}
