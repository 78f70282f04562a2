//! What the daemon has given up: the kernel's word for it, and that everything goes on to work.

use std::collections::BTreeSet;
use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use gqos::policy::HttpAddress;
use nix::libc;
use serde_json::{Value, json};

use super::client::{OTHER, POLICY, TestDaemon, USER, fails, until};
use super::common;
use super::program::{Program, classes, command, directory_with};

/// The value of a line of `/proc/PID/task/TID/status`, of each thread with its name.
fn threads(process: u32, line: &str) -> Vec<(String, String)> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let read = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        let value = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap().trim().to_owned()
        };
        Some((value("Name"), value(line)))
    };
    tasks.filter_map(|task| read(task.unwrap())).collect()
}

/// A process that continues after a stop has its signals handled by any thread that does not block them.
#[test]
fn signals_are_handled_whichever_thread_gets_them() {
    let Some(network) = common::lab(100) else { return };
    let directory = directory_with(POLICY);
    let daemon = Program::start(&network, directory.path());
    let blocked = threads(daemon.child.id(), "SigBlk");
    for (name, value) in &blocked {
        let mask = u64::from_str_radix(value, 16).unwrap();
        let blocks = [libc::SIGHUP, libc::SIGINT, libc::SIGTERM].map(|signal| mask >> (signal - 1) & 1 == 1);
        assert_eq!(blocks, [name == "gqos-adopt"; 3], "{blocked:?}");
    }
    let mut client = daemon.client();
    for megabits in 1..20_u64 {
        let policy = POLICY.replace("10 Mbit/s", &format!("{megabits} Mbit/s"));
        fs::write(directory.path().join("policy.toml"), policy).unwrap();
        [libc::SIGSTOP, libc::SIGHUP, libc::SIGCONT].into_iter().for_each(|signal| daemon.signal(signal));
        until("the policy is reloaded", || {
            let decision = client.reserve(json!({ "interface": "eth0", "template": "video" }));
            client.call("Release", json!({ "id": decision["id"] })).unwrap();
            decision["charged"]["sending"] == megabits * 125_000
        });
    }
}

#[test]
fn every_thread_has_few_capabilities_and_a_filter() {
    let policy = format!("{POLICY}[daemon]\naudit = \"AUDIT\"\n");
    let audit = tempfile::tempdir().unwrap();
    let policy = policy.replace("AUDIT", audit.path().join("log").to_str().unwrap());
    let http = |_: &std::path::Path| Some(HttpAddress::Port("127.0.0.1:0".parse().unwrap()));
    let Some(daemon) = TestDaemon::start_with(&policy, http) else { return };
    daemon.client_as(USER).admitted("v1", "video");
    let names: BTreeSet<_> = threads(daemon.process(), "Tgid").into_iter().map(|(name, _)| name).collect();
    for expected in ["gqos", "gqos-adopt", "gqos-state", "gqos-http", "audit"] {
        assert!(names.contains(expected), "{names:?}");
    }
    let (net_admin, ptrace) = (format!("{:016x}", 1 << 12), format!("{:016x}", 1 << 19));
    for set in ["CapEff", "CapPrm"] {
        for (name, value) in threads(daemon.process(), set) {
            let expected = if name == "gqos-adopt" { &ptrace } else { &net_admin };
            assert_eq!(value, *expected, "{set} of {name}");
        }
    }
    for (line, expected) in [
        ("CapInh", "0000000000000000"),
        ("CapAmb", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ] {
        for (name, value) in threads(daemon.process(), line) {
            assert_eq!(value, expected, "{line} of {name}");
        }
    }
    let status = daemon.client().call("Status", json!({})).unwrap();
    let confinement = &status["confinement"];
    assert_eq!(confinement["capabilities"], json!(["CAP_NET_ADMIN"]), "{confinement}");
    assert_eq!((&confinement["missing"], &confinement["no_new_privileges"]), (&json!([]), &json!(true)));
    assert!(confinement["landlock"].is_number() && confinement["system_calls"].is_number(), "{confinement}");
}

#[test]
fn a_policy_that_is_replaced_or_linked_is_read_again() {
    let Some(daemon) = TestDaemon::start(POLICY) else { return };
    let path = daemon.directory.path().join("policy.toml");
    let new = daemon.directory.path().join("policy.new");
    let mut client = daemon.client();
    let charged = |client: &mut super::client::Client| {
        let decision = client.reserve(json!({ "interface": "eth0", "template": "video" }));
        client.call("Release", json!({ "id": decision["id"] })).unwrap();
        decision["charged"]["sending"].clone()
    };
    for megabits in [20, 30] {
        fs::write(&new, POLICY.replace("10 Mbit/s", &format!("{megabits} Mbit/s"))).unwrap();
        if megabits == 20 {
            fs::rename(&new, &path).unwrap();
        } else {
            fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink("policy.new", &path).unwrap();
        }
        client.call("Reload", json!({})).unwrap();
        assert_eq!(charged(&mut client), megabits * 125_000);
    }
    // A group is looked up as before.
    fs::write(&new, format!("{POLICY}[daemon]\ngroup = \"root\"\n")).unwrap();
    client.call("Reload", json!({})).unwrap();
    fs::write(&new, format!("{POLICY}[daemon]\ngroup = \"no-such-group\"\n")).unwrap();
    let (error, parameters) = client.call("Reload", json!({})).unwrap_err();
    assert!(error == "UnsupportedPolicy" && parameters.to_string().contains("no-such-group"), "{parameters}");
    // What is elsewhere is not read, though the user of the daemon may.
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("policy.toml"), POLICY).unwrap();
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(elsewhere.path().join("policy.toml"), &path).unwrap();
    let (error, parameters) = client.call("Reload", json!({})).unwrap_err();
    assert!(error == "InvalidPolicy" && parameters.to_string().contains("EACCES"), "{error} {parameters}");
}

#[test]
fn an_audit_log_goes_on_over_its_files() {
    let audit = tempfile::tempdir().unwrap();
    let path = audit.path().join("log");
    let setting =
        format!("[daemon]\naudit = {{ path = \"{}\", max_size = \"64 KiB\", keep = 2 }}\n", path.display());
    let Some(daemon) = TestDaemon::start(&format!("{POLICY}{setting}")) else { return };
    let mut client = daemon.client();
    until("there are as many files as are kept", || {
        client.admitted("v1", "video");
        client.call("Release", json!({ "id": "v1" })).unwrap();
        path.with_file_name("log.2").exists()
    });
}

/// A debugger of its own user is another thing than a client.
#[test]
fn without_confinement_everything_stays_and_is_said() {
    let Some(network) = common::lab(100) else { return };
    let directory = directory_with(POLICY);
    let mut command = command(directory.path());
    command.arg("--no-confine");
    let daemon = Program::start_command(&network, directory.path(), command);
    assert!(threads(daemon.child.id(), "Seccomp").iter().all(|(_, value)| value == "0"));
    assert_eq!(daemon.client().call("Status", json!({})).unwrap()["confinement"], Value::Null);
    let mut status = Command::new(env!("CARGO_BIN_EXE_gqos"));
    status.arg("status").arg("--socket").arg(&daemon.socket);
    let printed = String::from_utf8(status.output().unwrap().stdout).unwrap();
    assert!(printed.contains("not confined"), "{printed}");
}

/// A directory that is another user's is used by privilege, and then that is kept.
#[test]
fn root_goes_on_to_use_a_directory_of_another_user() {
    let Some(network) = common::lab(100) else { return };
    let directory = directory_with(POLICY);
    std::os::unix::fs::chown(directory.path(), Some(USER), Some(USER)).unwrap();
    let daemon = Program::start(&network, directory.path());
    let status = daemon.client().call("Status", json!({})).unwrap();
    let kept = json!(["CAP_DAC_OVERRIDE", "CAP_NET_ADMIN"]);
    assert_eq!(status["confinement"]["capabilities"], kept, "{status}");
    until("the state file is there", || directory.path().join("gqos.sock.state").exists());
}

/// A daemon that was killed leaves what it had taken over to the next one, whose policy takes over nothing.
#[test]
fn a_confined_daemon_restores_what_a_killed_one_has_taken_over() {
    let Some(network) = common::lab_with(100, &["tc"]) else { return };
    let foreign = "tc qdisc add dev eth0 root handle 1: pfifo limit 77";
    common::inside(&network.server, &foreign.split(' ').collect::<Vec<_>>());
    let shown = || common::inside(&network.server, &["tc", "qdisc", "show", "dev", "eth0", "root"]);
    let before = shown();
    let directory = directory_with(&POLICY.replace("egress =", "takeover = true\negress ="));
    let mut killed = Program::start(&network, directory.path());
    until("the root is taken over", || shown().contains("htb 6771:"));
    killed.kill();
    fs::write(directory.path().join("policy.toml"), POLICY).unwrap();
    let mut next = Program::start(&network, directory.path());
    until("the tree is there", || classes(&network).contains("6771:2"));
    next.signal(libc::SIGTERM);
    next.child.wait().unwrap();
    assert_eq!(shown(), before);
}

/// A user without privileges has a daemon for user space, and it is confined alike.
#[test]
fn a_daemon_without_privileges_is_confined_too() {
    let Some(network) = common::lab(100) else { return };
    let directory = directory_with(POLICY);
    std::os::unix::fs::chown(directory.path(), Some(USER), Some(USER)).unwrap();
    let mut command = command(directory.path());
    std::os::unix::process::CommandExt::uid(&mut command, USER);
    std::os::unix::process::CommandExt::gid(&mut command, USER);
    let daemon = Program::start_command(&network, directory.path(), command);
    let mut client = super::client::Client::connect_as(&daemon.socket, OTHER);
    client.admitted_without_class("v1", "video");
    assert!(threads(daemon.child.id(), "Seccomp").iter().all(|(_, value)| value == "2"));
    assert!(threads(daemon.child.id(), "CapPrm").iter().all(|(_, value)| value == "0000000000000000"));
    // Its files are root's: no other process of its user reads its memory.
    assert_eq!(fs::metadata(format!("/proc/{}/mem", daemon.child.id())).unwrap().uid(), 0);
    let missing = client.call("Status", json!({})).unwrap()["confinement"]["missing"].clone();
    assert_eq!(missing, json!([]));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    fails(client.call_with(("Attach", json!({ "id": "v1" })), &socket), "Descriptor");
}
