//! `gqos demo --daemon`: two servers under one daemon, which is killed in the middle.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::PoisonError;
use std::time::Duration;

use serde_json::Value;

use super::{ALONE, common, demo, phases, run_quietly, viewers};

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn a_killed_daemon_stalls_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let report = directory.path().join("report.html");
    let arguments = ["--daemon", "--seconds", "10", "--viewers", "40", "--report", report.to_str().unwrap()];
    let Some(outcome) = run_quietly(&arguments) else { return };
    let [without, with] = phases(&outcome);
    assert!(without.get("daemon").is_none());
    assert!(viewers(without).iter().any(|viewer| number(&viewer["stalls"]) > 0));
    let daemon = &with["daemon"];
    assert_ne!(daemon["killed_pid"], daemon["next_pid"]);
    let (killed, served) = (number(&daemon["killed_at_ms"]), number(&daemon["served_after_ms"]));
    assert!((5000..10_000).contains(&killed) && served >= 1000, "{daemon}");
    let servers = daemon["servers"].as_array().unwrap();
    assert_eq!(servers.iter().map(|server| number(&server["pid"])).collect::<BTreeSet<_>>().len(), 2);

    let admitted: Vec<_> = viewers(with).iter().filter(|viewer| viewer["admitted"] == true).collect();
    for count in ["reservations_before", "reservations_after"] {
        assert_eq!(daemon[count], admitted.len(), "{count}: {daemon}");
    }
    // One budget for both: 80 Mbit/s. Each server has viewers of both transports.
    let reserved: u64 = admitted.iter().map(|viewer| number(&viewer["charged"])).sum();
    assert!(reserved <= 10_000_000 && reserved + 600_000 > 10_000_000, "{reserved}");
    for server in [1, 2] {
        for transport in ["tcp", "udp"] {
            let is_one = |viewer: &&&Value| viewer["server"] == server && viewer["transport"] == transport;
            assert!(admitted.iter().any(|viewer| is_one(&viewer)), "server {server} by {transport}");
        }
    }
    // Each flow had one class from its first byte to its last, through the kill.
    let classes = with["kernel"]["classes"].as_array().unwrap();
    for viewer in admitted {
        assert_eq!(viewer["stalls"], 0, "{viewer}");
        let class = classes.iter().find(|class| class["flow"] == viewer["id"]).unwrap();
        let received: u64 = viewer["achieved"]["by_second"].as_array().unwrap().iter().map(number).sum();
        assert!(number(&class["sent_bytes"]) > received, "{class}: {viewer}");
    }
    assert_eq!(with["kernel"]["direct_packets"], 0);
    let page = std::fs::read_to_string(report).unwrap();
    let sentence =
        format!("reserved by one daemon (process {}), which was killed by SIGKILL", daemon["killed_pid"]);
    assert!(page.contains(&sentence) && page.contains("No promised viewer stalled."), "{page}");
    assert!(page.contains(", server 1<") && page.contains(", server 2<"));
}

/// A demo with a daemon in the background, and the directory of its sockets.
pub(crate) struct Background {
    child: Child,
    pub(crate) sockets: PathBuf,
    _directory: tempfile::TempDir,
}

impl Background {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let sockets = directory.path().join("sockets");
        let mut command = demo(&["--daemon", "--json", "--sockets", sockets.to_str().unwrap()]);
        let child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Self { child, sockets, _directory: directory }
    }

    /// What `gqos` prints about the demo's daemon, once it serves.
    pub(crate) fn ask(&mut self, arguments: &[&str]) -> String {
        for _ in 0..600 {
            if let Some(printed) = self.try_ask(arguments) {
                return printed;
            }
            assert_eq!(self.child.try_wait().unwrap(), None, "the demo goes on");
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("after 30 s: gqos {arguments:?} finds no daemon");
    }

    pub(crate) fn try_ask(&self, arguments: &[&str]) -> Option<String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gqos"));
        command.args(arguments).arg("--socket").arg(self.sockets.join("gqos.sock"));
        let output = command.output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    pub(crate) fn finish(mut self) -> Value {
        let output = std::mem::replace(&mut self.child, ended()).wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// A process that ends at once, in place of one that was waited for.
fn ended() -> Child {
    Command::new("/bin/sh").args(["-c", ":"]).spawn().unwrap()
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The processes whose command lines name a directory.
fn processes_of(directory: &Path) -> Vec<String> {
    let name = directory.to_str().unwrap();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(name)).collect()
}

#[test]
fn the_processes_end_with_the_demo_and_leave_no_file() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    if common::lab(1).is_none() {
        return;
    }
    for (signal, code) in [("-KILL", None), ("-INT", Some(130))] {
        let mut running = Background::start(&["--seconds", "5", "--viewers", "4"]);
        running.ask(&["status"]);
        // The daemon, two servers, and the demo itself; the servers start once the daemon serves.
        for _ in 0..600 {
            if processes_of(&running.sockets).len() == 4 {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(processes_of(&running.sockets).len(), 4, "{:?}", processes_of(&running.sockets));
        // Each has said that it ends with the demo.
        std::thread::sleep(Duration::from_millis(500));
        let kill = format!("kill {signal} {}", running.child.id());
        assert!(Command::new("/bin/sh").args(["-c", &kill]).status().unwrap().success());
        let status = running.child.wait().unwrap();
        assert_eq!((status.code(), status.signal()), (code, code.is_none().then_some(9)), "{signal}");
        for _ in 0..1500 {
            if processes_of(&running.sockets).is_empty() && !running.sockets.exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(processes_of(&running.sockets), Vec::<String>::new(), "{signal}");
        assert!(!running.sockets.exists(), "{signal}: the directory is removed");
    }
}

#[track_caller]
fn refused(arguments: &[&str], code: i32, message: &str) {
    let output = demo(arguments).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
    assert!(stderr.contains(message), "{arguments:?}: {stderr}");
}

#[test]
fn directories_that_cannot_be_used_are_refused_before_the_run() {
    let directory = tempfile::tempdir().unwrap();
    let inside = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    refused(&["--sockets", &inside("d")], 2, "--daemon");
    std::fs::write(inside("file"), "kept").unwrap();
    refused(&["--daemon", "--sockets", directory.path().to_str().unwrap()], 2, "has to be empty");
    refused(&["--daemon", "--sockets", &inside("file")], 71, "Not a directory");
    refused(&["--daemon", "--sockets", &inside("absent/d")], 71, "No such file");
    assert_eq!(std::fs::read_to_string(inside("file")).unwrap(), "kept");
    std::fs::create_dir(inside("empty")).unwrap();
    refused(&["--daemon", "--sockets", &inside("empty"), "--media", "/dev/null"], 2, "");
    assert_eq!(std::fs::read_dir(inside("empty")).unwrap().count(), 0, "nothing stays in it");
}

/// The directories that demos have made below this one.
fn made_below(directory: &Path) -> BTreeSet<PathBuf> {
    std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn the_next_demo_removes_what_a_killed_one_has_left_and_nothing_else() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    if common::lab(1).is_none() {
        return;
    }
    let temporary = tempfile::tempdir().unwrap();
    let other = temporary.path().join("gqos-demo-of-mine");
    std::fs::create_dir(&other).unwrap();
    // A demo in its first phase, where it has no other process yet, and its directory.
    let start = || {
        let before = made_below(temporary.path());
        let mut command = demo(&["--daemon", "--json", "--seconds", "5", "--viewers", "4"]);
        command.env("TMPDIR", temporary.path()).stdout(Stdio::null()).stderr(Stdio::null());
        let demo = Demo(command.spawn().unwrap());
        for _ in 0..600 {
            if let Some(made) = made_below(temporary.path()).difference(&before).next() {
                return (demo, made.clone());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the demo has made no directory after 30 s");
    };
    let (first, left) = start();
    drop(first);
    assert!(left.exists(), "a process that is killed removes nothing");
    let (_second, of_the_second) = start();
    assert!(!left.exists(), "the next demo removes it");
    let (_third, of_the_third) = start();
    let expected = BTreeSet::from([other, of_the_second, of_the_third]);
    assert_eq!(made_below(temporary.path()), expected, "a demo that runs keeps its own");
}

/// A demo that is killed when it is dropped.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
