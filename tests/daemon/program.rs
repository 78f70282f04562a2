//! `gqos daemon` as a process: signals, a second daemon, and what a killed one leaves.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use gqos::lab::LabNetwork;
use nix::libc;
use serde_json::json;

use super::client::{Client, POLICY, until};
use super::common;

const MBIT_10: u64 = 1_250_000;

/// A daemon's process in the server's network namespace.
pub(crate) struct Program {
    pub(crate) child: Child,
    pub(crate) socket: PathBuf,
}

pub(crate) fn command(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gqos"));
    command.current_dir(directory).args([
        "daemon",
        "--policy",
        "policy.toml",
        "--log-format",
        "none",
        "--socket",
    ]);
    command.arg(directory.join("gqos.sock"));
    command
}

impl Program {
    pub(crate) fn start(network: &LabNetwork, directory: &Path) -> Self {
        Self::start_command(network, directory, command(directory))
    }

    /// Starts a command that [`command`] has made.
    pub(crate) fn start_command(network: &LabNetwork, directory: &Path, mut command: Command) -> Self {
        let socket = directory.join("gqos.sock");
        let mut child =
            network.server.run(async move { command.stdout(Stdio::piped()).spawn().unwrap() }).unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), format!("listening on {}", socket.display()));
        Self { child, socket }
    }

    /// Ends it without any notice.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.socket)
    }

    pub(crate) fn signal(&self, signal: libc::c_int) {
        // SAFETY: the call takes two numbers; the process is this test's child, which it has not waited for.
        assert_eq!(unsafe { libc::kill(self.child.id().cast_signed(), signal) }, 0);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn directory() -> tempfile::TempDir {
    directory_with(POLICY)
}

pub(crate) fn directory_with(policy: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("policy.toml"), policy).unwrap();
    directory
}

pub(crate) fn classes(network: &LabNetwork) -> String {
    common::inside(&network.server, &["tc", "class", "show", "dev", "eth0"])
}

#[test]
fn signals_reload_and_end_the_daemon() {
    let Some(network) = common::lab_with(100, &["tc"]) else { return };
    let directory = directory();
    let mut daemon = Program::start(&network, directory.path());
    let mut client = daemon.client();
    client.admitted("v1", "video");
    assert!(classes(&network).contains("htb"), "a tree is programmed");
    let file = directory.path().join("policy.toml");
    std::fs::write(&file, POLICY.replace("10 Mbit/s", "20 Mbit/s")).unwrap();
    daemon.signal(libc::SIGHUP);
    until("the policy is reloaded", || {
        let asked = json!({ "interface": "eth0", "template": "video" });
        let decision = client.reserve(asked);
        client.call("Release", json!({ "id": decision["id"] })).unwrap();
        decision["charged"]["sending"] == 2 * MBIT_10
    });
    // A second daemon for the same socket does not start, and breaks nothing.
    let mut second = command(directory.path());
    let output = network.server.run(async move { second.output().unwrap() }).unwrap();
    assert_eq!(output.status.code(), Some(71));
    assert!(String::from_utf8_lossy(&output.stderr).contains("another daemon serves this socket"));
    assert_eq!(client.call("Commit", json!({ "id": "v1" })), Ok(json!({})));
    daemon.signal(libc::SIGTERM);
    assert!(daemon.child.wait().unwrap().success());
    assert!(!daemon.socket.exists(), "the socket is removed");
    assert!(!classes(&network).contains("htb"), "and the tree");
}

#[test]
fn a_policy_that_is_invalid_starts_no_daemon() {
    let directory = directory();
    std::fs::write(directory.path().join("policy.toml"), "version = 2\n").unwrap();
    let output = command(directory.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(!directory.path().join("gqos.sock").exists());
}
