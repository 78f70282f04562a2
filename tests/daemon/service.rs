//! `gqos daemon` as a service: what it tells the service manager, and a socket that it is passed.

use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::libc;
use serde_json::json;

use super::client::Client;
use super::common::uninterrupted;

const POLICY: &str =
    "version = 1\n[interface.lo]\negress = { capacity = \"100 Mbit/s\" }\nenforcement = \"user-space\"\n";

/// Ends with the test.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Service {
    fn signal(&self, signal: libc::c_int) {
        // SAFETY: the call takes two numbers; the process is this test's child, which it has not waited for.
        assert_eq!(unsafe { libc::kill(self.0.id().cast_signed(), signal) }, 0);
    }
}

fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("policy.toml"), POLICY).unwrap();
    directory
}

fn daemon(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gqos"));
    command.current_dir(directory).args(["daemon", "--policy", "policy.toml", "--log-format", "none"]);
    command.arg("--socket").arg(directory.join("gqos.sock")).stdout(Stdio::null());
    command
}

/// Waits for a datagram that begins with this line, and gives it.
fn told(manager: &UnixDatagram, line: &str) -> String {
    let mut buffer = [0; 4096];
    loop {
        let length =
            uninterrupted(|| manager.recv(&mut buffer)).unwrap_or_else(|error| panic!("{line}: {error}"));
        let state = String::from_utf8(buffer[..length].to_vec()).unwrap();
        if state.lines().next() == Some(line) {
            return state;
        }
    }
}

fn manager(path: &Path) -> UnixDatagram {
    let manager = UnixDatagram::bind(path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    manager
}

#[test]
fn the_service_manager_is_told_of_the_start_of_reloads_and_of_the_end() {
    let directory = directory();
    let path = directory.path().join("notify");
    let manager = manager(&path);
    let mut command = daemon(directory.path());
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000").env_remove("WATCHDOG_PID");
    let mut service = Service(command.spawn().unwrap());
    let ready = told(&manager, "READY=1");
    assert!(ready.contains("STATUS=0 reservations, 0 connections"), "{ready}");
    let mut client = Client::connect(&directory.path().join("gqos.sock"));
    assert!(client.call("Status", json!({})).is_ok(), "it answers once it is ready");
    told(&manager, "WATCHDOG=1");
    told(&manager, "WATCHDOG=1");
    service.signal(libc::SIGHUP);
    let reloading = told(&manager, "RELOADING=1");
    let since = reloading.lines().nth(1).unwrap().strip_prefix("MONOTONIC_USEC=").unwrap();
    assert!(since.parse::<u64>().unwrap() > 0);
    told(&manager, "READY=1");
    // A process that is stopped feeds no watchdog.
    service.signal(libc::SIGSTOP);
    manager.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut buffer = [0; 4096];
    let mut late = 0;
    while uninterrupted(|| manager.recv(&mut buffer)).is_ok() {
        late += 1;
        assert!(late < 20, "a process that is stopped goes on");
    }
    service.signal(libc::SIGCONT);
    manager.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    told(&manager, "WATCHDOG=1");
    service.signal(libc::SIGTERM);
    told(&manager, "STOPPING=1");
    assert!(service.0.wait().unwrap().success());
}

/// Starts the daemon as systemd does: descriptor 3 is the socket, and the environment says so.
const PASS: &str = "
import os, sys
os.dup2(int(sys.argv[1]), 3, inheritable=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')
os.environ.setdefault('LISTEN_FDNAMES', 'gqos')
os.execv(sys.argv[2], sys.argv[2:])
";

fn passed(directory: &Path, descriptor: &impl std::os::fd::AsRawFd) -> Command {
    let number = descriptor.as_raw_fd();
    // SAFETY: the call takes two numbers, and the descriptor is open.
    assert_eq!(unsafe { libc::fcntl(number, libc::F_SETFD, 0) }, 0);
    let mut command = Command::new("python3");
    command.current_dir(directory).args(["-c", PASS, &number.to_string(), env!("CARGO_BIN_EXE_gqos")]);
    command.args(["daemon", "--policy", "policy.toml", "--log-format", "none"]);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

#[test]
fn a_passed_socket_is_served_and_left() {
    if !super::common::installed(&["python3"]) {
        return;
    }
    let directory = directory();
    let path = directory.path().join("passed.sock");
    let listener = UnixListener::bind(&path).unwrap();
    for _ in 0..2 {
        let mut service = Service(passed(directory.path(), &listener).spawn().unwrap());
        // The connection waits in the socket until the daemon accepts it.
        let mut client = Client::connect(&path);
        assert!(client.call("Status", json!({})).is_ok());
        service.signal(libc::SIGTERM);
        assert!(service.0.wait().unwrap().success());
        assert!(path.exists(), "the service manager keeps its socket");
    }
}

#[test]
fn a_passed_descriptor_of_another_kind_is_refused() {
    if !super::common::installed(&["python3"]) {
        return;
    }
    let directory = directory();
    let datagrams = UnixDatagram::bind(directory.path().join("datagrams")).unwrap();
    let file = std::fs::File::open(directory.path().join("policy.toml")).unwrap();
    let outputs = [passed(directory.path(), &datagrams).output(), passed(directory.path(), &file).output()];
    for output in outputs {
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(71));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("no AF_UNIX stream socket that listens"), "{text}");
    }
}

#[test]
fn a_descriptor_that_is_passed_for_the_http_endpoint_is_refused() {
    if !super::common::installed(&["python3"]) {
        return;
    }
    let directory = directory();
    let listener = UnixListener::bind(directory.path().join("passed.sock")).unwrap();
    let output = passed(directory.path(), &listener).env("LISTEN_FDNAMES", "http").output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(71), "{text}");
    assert!(text.contains("descriptor 3 by the name \"http\"") && text.contains("--http"), "{text}");
}

#[test]
fn the_http_endpoint_has_another_path_than_the_control_socket() {
    let directory = directory();
    let daemon = |http: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gqos"));
        command.current_dir(directory.path()).args([
            "daemon",
            "--policy",
            "policy.toml",
            "--log-format",
            "none",
        ]);
        let output = command.args(["--socket", "c.sock", "--http", http]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let other = directory.path().join(".").join("c.sock");
    for path in [&other, &directory.path().join("c.sock")] {
        let (code, text) = daemon(path.to_str().unwrap());
        assert_eq!(code, Some(78), "{text}");
        assert!(
            text.contains("c.sock: the control socket has this path") && text.contains("--http"),
            "{text}"
        );
        assert!(!directory.path().join("c.sock").exists(), "what it had made is removed");
    }
    let served = directory.path().join("http.sock");
    let _listener = UnixListener::bind(&served).unwrap();
    let (code, text) = daemon(served.to_str().unwrap());
    assert_eq!(code, Some(71), "{text}");
    assert!(text.contains("serves this socket") && text.contains("another with --http"), "{text}");
}
