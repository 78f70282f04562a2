//! The command as an operator runs it: exit codes, reloads by SIGHUP, and reservations by the daemon.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use nix::libc;

use super::common::installed;

const POLICY: &str = r#"
version = 1
[interface.lo]
egress = { capacity = "100 Mbit/s", reservable = "80%" }
enforcement = "user-space"
[template.hd]
sending = { service_type = "guaranteed", token_rate = "9 Mbit/s", token_bucket_size = "1 MiB" }
"#;

fn gqos() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gqos"));
    command.env_remove("GQOS_SOCKET").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A policy file in a directory of its own.
struct Files(tempfile::TempDir);

impl Files {
    fn new(policy: &str) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.write(policy);
        files
    }

    fn write(&self, policy: &str) {
        std::fs::write(self.policy(), policy).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn policy(&self) -> String {
        self.path("policy.toml")
    }
}

/// A command that serves, and its messages.
struct Running {
    child: Child,
    messages: BufReader<ChildStderr>,
}

impl Running {
    fn start(words: &[&str]) -> Self {
        let mut child = gqos().args(words).spawn().unwrap();
        let messages = BufReader::new(child.stderr.take().unwrap());
        Self { child, messages }
    }

    /// The first message from now on that contains this.
    #[track_caller]
    fn says(&mut self, text: &str) -> String {
        let mut seen = String::new();
        loop {
            let start = seen.len();
            assert!(self.messages.read_line(&mut seen).unwrap() > 0, "ended without {text:?}: {seen}");
            if seen[start..].contains(text) {
                return seen[start..].trim_end().to_owned();
            }
        }
    }

    fn signal(&self, signal: libc::c_int) {
        // SAFETY: kill has no memory of this process; the child has not been waited for, so that its number is its own.
        assert_eq!(unsafe { libc::kill(self.child.id().cast_signed(), signal) }, 0);
    }

    /// Ends it as systemd does; its standard output.
    #[track_caller]
    fn terminate(mut self) -> String {
        self.signal(libc::SIGTERM);
        let mut lines = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut lines).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        lines
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn check(what: &str, output: &Output, code: i32, message: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{what}: {error}");
    assert!(error.contains(message), "{what}: {error}");
}

#[test]
fn each_failure_has_its_exit_code() {
    let files = Files::new(POLICY);
    let policy = files.policy();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let run = |words: &[&str]| {
        let words = [&["proxy", "--policy", &policy][..], words].concat();
        gqos().args(words).output().unwrap()
    };
    let listen = |address| ["--no-daemon", "--listen", address, "--to", "127.0.0.1:1"];
    check("a port in use", &run(&listen(&address)), 71, "Address already in use");
    check("a port in use", &run(&listen(&address)), 71, &address);
    check("no table", &run(&["--no-daemon"]), 2, "[proxy.NAME]");
    let words = [&listen("127.0.0.1:0")[..], &["--template", "4k"]].concat();
    check("no such template", &run(&words), 2, "the policy has no template \"4k\"; it has hd");
    for workers in ["0", "1025", "99999999", "x"] {
        check("workers", &run(&["--workers", workers]), 2, "not a number from 1 to 1024");
    }
    for to in ["localhost", "http://x/", "origin:0", ""] {
        let words = ["--no-daemon", "--listen", "127.0.0.1:0", "--to", to];
        check("no origin", &run(&words), 2, "not an origin; write 127.0.0.1:8081");
    }
    let words = ["--no-daemon", "--listen", "0.0.0.0:7000", "--to", "localhost:7000"];
    check("its own origin", &run(&words), 2, "is the proxy itself");
    let nowhere = files.path("nowhere");
    let words = ["--socket", &nowhere, "--listen", "127.0.0.1:0", "--to", "127.0.0.1:1"];
    check("no daemon", &run(&words), 69, &nowhere);
    files.write(&format!("{POLICY}[proxy.p]\nlisten = \"127.0.0.1:0\"\nto = \"nowhere\"\n"));
    check("an origin without a port", &run(&["--no-daemon"]), 78, "proxy.p.to");
    files.write(&format!(
        "{POLICY}[proxy.\"x\\n\\u001b[2J\"]\nlisten = \"{address}\"\nto = \"127.0.0.1:1\"\n"
    ));
    check("a name that a terminal would obey", &run(&["--no-daemon"]), 71, "x\\u{a}\\u{1b}[2J");
    files.write("version = 1\n[interface.lo]\negress = 3");
    check("an invalid policy", &run(&["--no-daemon"]), 78, "is not a valid policy");
    std::fs::remove_file(&policy).unwrap();
    check("no policy", &run(&["--no-daemon"]), 71, "No such file");
    let error = String::from_utf8(run(&["--no-daemon"]).stderr).unwrap();
    assert_eq!(error, format!("gqos: open ({policy}): No such file or directory (ENOENT)\n"));
}

#[test]
fn a_port_that_needs_a_privilege_is_77() {
    if !installed(&["setpriv"]) {
        return;
    }
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    if first.trim().parse::<u32>().unwrap() <= 80 {
        return super::common::skip("every port is free to all users here");
    }
    let files = Files::new(POLICY);
    let words = [
        "proxy",
        "--no-daemon",
        "--policy",
        &files.policy(),
        "--listen",
        "127.0.0.1:80",
        "--to",
        "127.0.0.1:1",
    ];
    let words = words.map(str::to_owned);
    // Another user may not reach the build's directory: a copy is run where it can.
    let program = files.path("gqos");
    std::fs::copy(env!("CARGO_BIN_EXE_gqos"), &program).unwrap();
    for path in [files.0.path(), Path::new(&program), Path::new(&files.policy())] {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    // SAFETY: geteuid cannot fail.
    let mut command = if unsafe { libc::geteuid() } == 0 {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", &program]);
        command
    } else {
        Command::new(&program)
    };
    let output = command.args(words).env_remove("GQOS_SOCKET").output().unwrap();
    check("a port below 1024", &output, 77, "127.0.0.1:80");
}

/// An origin that says its name to each client and then closes.
fn origin(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            // The client may have gone.
            let _ = client.and_then(|mut client| client.write_all(name.as_bytes()));
        }
    });
    address
}

/// What a client of this address gets.
fn said(address: &str) -> std::io::Result<String> {
    let mut text = String::new();
    TcpStream::connect(address)?.read_to_string(&mut text)?;
    Ok(text)
}

fn table(name: &str, listen: &str, to: SocketAddr) -> String {
    format!("[proxy.{name}]\nlisten = \"{listen}\"\nto = \"{to}\"\ntemplate = \"hd\"\n")
}

#[test]
fn a_hangup_reloads_the_tables_and_an_invalid_policy_changes_nothing() {
    let (one, two) = (origin("one"), origin("two"));
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (first, second, third) = (free(), free(), free());
    let files = Files::new(&format!("{POLICY}{}{}", table("p", &first, one), table("q", &second, one)));
    let mut proxy = Running::start(&["proxy", "--no-daemon", "--policy", &files.policy(), "--workers", "2"]);
    assert_eq!(proxy.says("reserves"), "an engine in this process reserves");
    proxy.says(&first);
    proxy.says(&second);
    assert_eq!((said(&first).unwrap(), said(&second).unwrap()), ("one".into(), "one".into()));

    files.write("version = 1\n[proxy.p]\nlisten = 4");
    proxy.signal(libc::SIGHUP);
    proxy.says("the policy was not reloaded, and the one before stays");
    assert_eq!((said(&first).unwrap(), said(&second).unwrap()), ("one".into(), "one".into()));

    files.write(&format!("{POLICY}{}{}", table("p", &first, two), table("r", &third, two)));
    proxy.signal(libc::SIGHUP);
    proxy.says("proxy.r listens on");
    proxy.says("proxy.q listens on");
    assert_eq!(proxy.says("reloaded"), "the policy was reloaded: 1 listeners opened, 1 closed, 1 kept");
    assert_eq!((said(&first).unwrap(), said(&third).unwrap()), ("two".into(), "two".into()));

    // Another capacity counts at once: the template does not fit any more.
    let small = POLICY.replace("100 Mbit/s", "10 Mbit/s");
    files.write(&format!("{small}{}", table("p", &first, two)));
    proxy.signal(libc::SIGHUP);
    proxy.says("reloaded");
    assert_eq!(said(&first).unwrap_or_default(), "");
    let lines = proxy.terminate();
    assert!(lines.lines().any(|line| line.contains("refused: WSAEOPNOTSUPP")), "{lines}");
}

#[test]
fn with_a_daemon_the_budget_is_that_of_the_host() {
    let files = Files::new(&POLICY.replace("9 Mbit/s", "50 Mbit/s"));
    let socket = files.path("gqos.sock");
    let mut daemon = Running::start(&["daemon", "--policy", &files.policy(), "--socket", &socket]);
    let mut line = String::new();
    BufReader::new(daemon.child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, format!("listening on {socket}\n"));
    // The proxy's own policy has its table and nothing that decides.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = files.path("proxy.toml");
    let table = table("p", "127.0.0.1:0", listener.local_addr().unwrap());
    std::fs::write(
        &own,
        format!("version = 1\n[template.hd]\nsending = {{ service_type = \"best_effort\" }}\n{table}"),
    )
    .unwrap();
    let mut proxy = Running::start(&["proxy", "--policy", &own, "--socket", &socket]);
    assert_eq!(proxy.says("reserves"), format!("the daemon at {socket} reserves"));
    let address = proxy.says("listens on").rsplit(' ').next().unwrap().to_owned();
    let client = TcpStream::connect(&address).unwrap();
    let (mut origin, _) = listener.accept().unwrap();
    origin.write_all(b"shaped").unwrap();
    let flows = gqos().args(["flows", "--socket", &socket, "--json"]).output().unwrap();
    let flows = String::from_utf8_lossy(&flows.stdout).into_owned();
    assert!(flows.contains("\"sending\":6250000") && flows.lines().count() == 1, "{flows}");
    // A second one of 50 of 80 Mbit/s does not fit.
    assert_eq!(said(&address).unwrap(), "");
    drop((client, origin));
    let lines = proxy.terminate();
    assert!(lines.contains("[hd] 6 B sent"), "{lines}");
    assert!(lines.contains("refused: WSAEOPNOTSUPP"), "{lines}");
    daemon.terminate();
}

#[test]
#[expect(clippy::disallowed_methods, reason = "another process is waited for, outside of a runtime")]
fn without_the_daemon_clients_are_served_as_the_policy_says() {
    let files = Files::new(POLICY);
    let socket = files.path("gqos.sock");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = files.path("proxy.toml");
    let table = table("p", "127.0.0.1:0", listener.local_addr().unwrap());
    std::fs::write(&own, format!("{POLICY}[daemon]\ndegrade = \"local-bucket\"\n{table}")).unwrap();
    let mut proxy = Running::start(&["proxy", "--policy", &own, "--socket", &socket]);
    let meanwhile =
        "is not there: until it is, nothing is reserved and connections are paced in this process";
    proxy.says(meanwhile);
    let address = proxy.says("listens on").rsplit(' ').next().unwrap().to_owned();
    let mut client = TcpStream::connect(&address).unwrap();
    let (mut origin, _) = listener.accept().unwrap();
    origin.write_all(b"shaped").unwrap();
    client.read_exact(&mut [0; 6]).unwrap();
    // Once the daemon is there, the flow that goes on is reserved.
    let mut daemon = Running::start(&["daemon", "--policy", &files.policy(), "--socket", &socket]);
    let mut line = String::new();
    BufReader::new(daemon.child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let start = std::time::Instant::now();
    loop {
        let flows = gqos().args(["flows", "--socket", &socket, "--json"]).output().unwrap();
        let flows = String::from_utf8_lossy(&flows.stdout).into_owned();
        if flows.contains("\"sending\":1125000") {
            break;
        }
        assert!(start.elapsed().as_secs() < 60, "the flow has no reservation: {flows}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    drop((client, origin));
    let lines = proxy.terminate();
    assert!(lines.contains(" 6 B sent, 0 B received: closed"), "{lines}");
    daemon.terminate();
}

#[test]
fn a_page_is_found_beside_the_policy_and_a_failure_names_no_path_to_clients() {
    let files = Files::new(POLICY);
    std::fs::write(files.path("busy.html"), "<h1>busy</h1>").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = listener.local_addr().unwrap();
    let head = |name: &str| {
        format!("[proxy.{name}]\nlisten = \"127.0.0.1:0\"\nto = \"{origin}\"\nprotocol = \"http\"\n")
    };
    let tables = format!("{}page = \"busy.html\"\n{}", head("p"), head("q"));
    let socket = files.path("absent.sock");
    // The daemon ends before the first client.
    let daemon_policy = files.policy();
    let mut daemon = Running::start(&["daemon", "--policy", &daemon_policy, "--socket", &socket]);
    let mut line = String::new();
    BufReader::new(daemon.child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let own = files.path("proxy.toml");
    std::fs::write(&own, format!("{POLICY}{tables}")).unwrap();
    let mut proxy = gqos();
    proxy.current_dir("/").args(["proxy", "--policy", &own, "--socket", &socket]);
    let mut child = proxy.spawn().unwrap();
    let messages = BufReader::new(child.stderr.take().unwrap());
    let mut proxy = Running { child, messages };
    let address = |said: String| said.rsplit(' ').next().unwrap().to_owned();
    let [p, q] = ["proxy.p listens on", "proxy.q listens on"].map(|text| address(proxy.says(text)));
    daemon.terminate();
    let answer = |address: &str| {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(answer(&p).ends_with("\r\n\r\n<h1>busy</h1>"));
    let json = answer(&q);
    assert!(json.contains("WSAENETDOWN") && !json.contains("absent.sock"), "{json}");
    let lines = proxy.terminate();
    assert!(lines.contains("absent.sock"), "the log says what has failed: {lines}");
}

#[test]
fn a_reload_names_the_interfaces_that_are_over() {
    let files = Files::new(POLICY);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let policy = |capacity: &str| {
        let policy = POLICY.replace("100 Mbit/s", capacity);
        format!("{policy}{}", table("p", "127.0.0.1:0", listener.local_addr().unwrap()))
    };
    files.write(&policy("100 Mbit/s"));
    let mut proxy = Running::start(&["proxy", "--policy", &files.policy(), "--no-daemon"]);
    let address = proxy.says("listens on").rsplit(' ').next().unwrap().to_owned();
    let mut client = TcpStream::connect(&address).unwrap();
    let (mut origin, _) = listener.accept().unwrap();
    origin.write_all(b"shaped").unwrap();
    client.read_exact(&mut [0; 6]).unwrap();
    files.write(&policy("10 Mbit/s"));
    proxy.signal(libc::SIGHUP);
    let said = proxy.says("the policy was reloaded");
    assert!(said.contains("; lo sending: 9 Mbit/s reserved, more than the budget of 8 Mbit/s"), "{said}");
    drop((client, origin));
    proxy.terminate();
}
