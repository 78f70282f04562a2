//! Foreign root qdiscs under `takeover = true`: replaced, and as they were once the host has ended.

use std::path::Path;
use std::process::{Child, Command};

use gqos::connect::{Ask, Host};
use gqos::lab::{CLIENT_V4, Site};

use super::common::{inside, lab_with, policy};
use super::plan::{gqos, policy_file, run_commands, texts};
use super::{POLICY, sink};

/// Trees of other programs, by the commands that make them.
const TREES: [&[&str]; 5] = [
    &["tc qdisc add dev eth0 root handle 1: pfifo limit 77"],
    &["tc qdisc add dev eth0 root handle 8: tbf rate 20mbit burst 20k latency 50ms"],
    &["tc qdisc add dev eth0 root handle 2: bfifo limit 123456"],
    &[
        "tc qdisc add dev eth0 root handle 1: htb default 20 r2q 7",
        "tc class add dev eth0 parent 1: classid 1:1 htb rate 90mbit ceil 90mbit",
        "tc class add dev eth0 parent 1:1 classid 1:10 htb rate 30mbit ceil 80mbit burst 30k prio 1 quantum 3000",
        "tc class add dev eth0 parent 1:1 classid 1:20 htb rate 5mbit ceil 90mbit overhead 24",
        "tc qdisc add dev eth0 parent 1:10 handle 10: bfifo limit 50000",
        "tc qdisc add dev eth0 parent 1:20 handle 20: tbf rate 4mbit burst 9k limit 30000",
        "tc qdisc add dev eth0 parent 20:1 handle 30: pfifo limit 9",
        "tc filter add dev eth0 parent 1: protocol ip prio 3 u32 match ip dport 443 0xffff flowid 1:10",
        "tc filter add dev eth0 parent 1: protocol ip prio 3 u32 match ip dst 10.1.0.0/16 match ip protocol 17 0xff flowid 1:20",
        "tc filter add dev eth0 parent 1: protocol ipv6 prio 4 u32 match u32 0 0 flowid 1:20",
    ],
    // A class whose name is that of gqos's root, and a hash table.
    &[
        "tc qdisc add dev eth0 root handle 6771: htb default 3",
        "tc class add dev eth0 parent 6771: classid 6771:3 htb rate 3mbit",
        "tc filter add dev eth0 parent 6771: prio 5 handle 5: protocol ip u32 divisor 4",
        "tc filter add dev eth0 parent 6771: prio 5 protocol ip u32 ht 5:1 match ip dport 80 0xffff flowid 6771:3",
        "tc filter add dev eth0 parent 6771: prio 5 protocol ip u32 ht 800: match u32 0 0 hashkey mask 0x00000003 at 16 link 5:",
    ],
];

fn run_all(site: &Site, commands: &[&str]) {
    for command in commands {
        inside(site, &command.split(' ').collect::<Vec<_>>());
    }
}

/// What `tc` shows of a tree.
fn shown(site: &Site) -> Vec<String> {
    let show = |command: &str| inside(site, &command.split(' ').collect::<Vec<_>>());
    let commands = ["tc qdisc show dev eth0", "tc class show dev eth0", "tc filter show dev eth0"];
    let lines =
        commands.iter().flat_map(|command| show(command).lines().map(str::to_owned).collect::<Vec<_>>());
    // Packets that went past every class are counted anew.
    let words = |line: String| match line.split_once("direct_packets_stat ") {
        Some((before, after)) => {
            format!("{before}{}", after.trim_start_matches(|digit: char| digit.is_ascii_digit()))
        }
        None => line,
    };
    let mut lines: Vec<_> = lines.map(words).collect();
    // The kernel numbers what it shows of a table by its hash.
    lines.sort_unstable();
    lines
}

fn taking_over() -> String {
    POLICY.replacen("egress", "takeover = true\n    enforcement = \"kernel\"\n    egress", 1)
}

#[test]
fn what_was_taken_over_is_restored_by_a_stop_and_by_the_end_of_the_runtime() {
    let Some(network) = lab_with(100, &["tc"]) else { return };
    let peer = sink(&network, (CLIENT_V4, 5000).into());
    for tree in TREES {
        run_all(&network.server, tree);
        let before = shown(&network.server);
        for stops in [true, false] {
            let work = async move {
                let host = Host::start(policy(&taking_over())).await.unwrap();
                let connection = host.connector().connect(peer, &Ask::template("video")).await.unwrap();
                let class = connection.decision().unwrap().enforced().cloned().unwrap().class;
                assert!(class.is_some_and(|class| class.handle.major() == 0x6771));
                drop(connection);
                if stops {
                    host.stop().await;
                }
            };
            // A host that is not stopped ends with its runtime. A thread is in the namespace of the one that starts it.
            let ended = async move {
                let thread = std::thread::spawn(move || {
                    tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .build()
                        .unwrap()
                        .block_on(work);
                });
                thread.join().unwrap();
            };
            network.server.run(ended).unwrap();
            assert_eq!(shown(&network.server), before, "{tree:?}");
        }
        run_all(&network.server, &["tc qdisc del dev eth0 root"]);
    }
}

#[test]
fn the_plan_of_a_takeover_begins_with_the_removal() {
    let Some(network) = lab_with(100, &["tc"]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("p.toml");
    std::fs::write(&file, taking_over()).unwrap();
    let plan = |arguments: &[&str], code: i32| {
        let arguments = [&["plan", "--json", "--policy", file.to_str().unwrap()], arguments].concat();
        let output = gqos(&network.server, &arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        document["interfaces"][0].clone()
    };
    for foreign in ["pfifo limit 50", "htb default 3"] {
        run_all(&network.server, &[&format!("tc qdisc add dev eth0 root handle 1: {foreign}")]);
        let commands = texts(&plan(&[], 0)["commands"]);
        let compared = plan(&["--diff"], 1);
        let changes = compared["difference"]["changes"].as_array().unwrap();
        let steps: Vec<_> = changes.iter().map(|step| step["command"].as_str().unwrap().to_owned()).collect();
        let replaced = changes[0]["replaces"].as_str().unwrap();
        let kind = foreign.split(' ').next().unwrap();
        assert!(replaced.starts_with(&format!("{kind} 1:")), "{replaced}");
        assert_eq!((steps[0].as_str(), &steps), ("tc qdisc del dev eth0 root", &commands));
        run_commands(&network.server, &steps);
        assert!(shown(&network.server).iter().any(|line| line.starts_with("qdisc htb 6771: root")));
        plan(&["--diff"], 0);
        run_all(&network.server, &["tc qdisc del dev eth0 root"]);
    }
}

#[test]
fn what_cannot_be_restored_is_left_alone_and_named() {
    let Some(network) = lab_with(100, &["tc"]) else { return };
    let peer = sink(&network, (CLIENT_V4, 5000).into());
    run_all(
        &network.server,
        &[
            "tc qdisc add dev eth0 root handle 1: htb default 20",
            "tc filter add dev eth0 parent 1: protocol ip prio 3 u32 match u32 0 0 action mirred egress mirror dev lo",
        ],
    );
    let before = shown(&network.server);
    let work = async move {
        let host = Host::start(policy(&taking_over())).await.unwrap();
        let refused =
            host.connector().connect(peer, &Ask::template("video")).await.err().unwrap().to_string();
        assert!(
            refused.contains("htb 1:") && refused.contains("its u32 filter could not be restored"),
            "{refused}"
        );
        host.stop().await;
    };
    network.server.run(work).unwrap();
    assert_eq!(shown(&network.server), before);
}

/// The daemon under a policy that takes over, in a site's namespace.
struct Daemon {
    process: Child,
    log: std::path::PathBuf,
}

impl Daemon {
    #[track_caller]
    fn start(site: &Site, directory: &Path) -> Self {
        let file = policy_file(directory, &taking_over());
        let (socket, log) = (directory.join("gqos.sock"), directory.join("log"));
        let net = format!("--net={}", site.namespace_path());
        let mut command = Command::new("nsenter");
        command.arg(net).arg(env!("CARGO_BIN_EXE_gqos")).args(["daemon", "--policy", &file]);
        command.args(["--log-format", "json", "--socket"]).arg(socket);
        let process = command.stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
        let daemon = Self { process, log };
        daemon.until_logged("interface_found");
        daemon
    }

    fn lines(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits for a line of the log about an event.
    #[track_caller]
    #[expect(clippy::disallowed_methods, reason = "waits for another process")]
    fn until_logged(&self, event: &str) -> serde_json::Value {
        for _ in 0..600 {
            if let Some(line) = self.lines().into_iter().find(|line| line["event"] == event) {
                return line;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("after 30 s no {event} in {:#?}", self.lines());
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Ends the daemon by SIGTERM: the lines of its log.
    fn stop(mut self) -> Vec<serde_json::Value> {
        let killed = Command::new("kill").arg(self.process.id().to_string()).status().unwrap();
        assert!(killed.success());
        assert!(self.process.wait().unwrap().success(), "{:#?}", self.lines());
        self.lines()
    }
}

/// The file of what was taken over in a site's namespace.
fn kept(site: &Site) -> Option<std::path::PathBuf> {
    use std::os::unix::fs::MetadataExt;
    let namespace = std::fs::metadata(site.namespace_path()).unwrap().ino();
    let prefix = format!("root-{namespace}-");
    let files = std::fs::read_dir("/run/gqos").into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut files = files.filter(|file| file.file_name().unwrap().to_string_lossy().starts_with(&prefix));
    files.next()
}

#[test]
fn what_was_taken_over_outlives_a_daemon_that_is_killed() {
    let Some(network) = lab_with(100, &["tc", "kill"]) else { return };
    let (site, directory) = (&network.server, tempfile::tempdir().unwrap());
    for (number, tree) in TREES.into_iter().enumerate() {
        run_all(site, tree);
        let before = shown(site);
        let daemon = Daemon::start(site, directory.path());
        let taken = daemon.until_logged("root_taken_over");
        assert_eq!((&taken["interface"], &taken["earlier"]), (&"eth0".into(), &false.into()), "{taken}");
        assert!(kept(site).is_some(), "the file is there before the qdisc is gone");
        assert_ne!(shown(site), before);
        daemon.kill();
        assert!(kept(site).is_some());
        // The next daemon, or else the command that cleans up.
        if number % 2 == 0 {
            let daemon = Daemon::start(site, directory.path());
            let taken = daemon.until_logged("root_taken_over");
            assert_eq!(taken["earlier"], true, "{taken}");
            let lines = daemon.stop();
            let restored = lines.iter().find(|line| line["event"] == "root_restored");
            assert_eq!(restored.map(|line| &line["interface"]), Some(&"eth0".into()), "{lines:#?}");
        } else {
            let output = gqos(site, &["clean", "--interface", "eth0"]);
            let text = String::from_utf8(output.stdout).unwrap();
            assert_eq!(output.status.code(), Some(0), "{text}");
            assert!(text.contains("eth0: restored ") && text.contains("which had been taken over"), "{text}");
        }
        assert_eq!(shown(site), before, "{tree:?}");
        assert_eq!(kept(site), None);
        run_all(site, &["tc qdisc del dev eth0 root"]);
    }
}

#[test]
fn a_file_that_is_not_to_be_trusted_is_reported_and_not_used() {
    let Some(network) = lab_with(100, &["tc", "kill", "chmod"]) else { return };
    let (site, directory) = (&network.server, tempfile::tempdir().unwrap());
    let whole = {
        run_all(site, &["tc qdisc add dev eth0 root handle 1: pfifo limit 77"]);
        Daemon::start(site, directory.path()).kill();
        std::fs::read_to_string(kept(site).unwrap()).unwrap()
    };
    let file = kept(site).unwrap();
    let mut first = true;
    for (text, mode, problem) in [
        (whole[..whole.len() / 2].to_owned(), 0o600, "EOF while parsing"),
        (whole.replacen("pfifo", "red", 2), 0o600, "never saved"),
        (whole.replacen("\"index\":", "\"index\":9", 1), 0o600, "another interface"),
        (whole.replacen("\"options\":\"", "\"options\":\"zz", 1), 0o600, "not hexadecimal"),
        (whole.clone(), 0o666, "the daemon's user alone"),
        ("x".repeat(5 << 20), 0o600, "more than 4194304 bytes"),
    ] {
        if !std::mem::take(&mut first) {
            // What the daemon before has left.
            assert_eq!(kept(site), None, "it was removed, so that it is reported once");
        }
        std::fs::write(&file, text).unwrap();
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let daemon = Daemon::start(site, directory.path());
        let failed = daemon.until_logged("root_file_failed");
        assert!(failed["failure"].as_str().unwrap().contains(problem), "{problem}: {failed}");
        assert!(!daemon.lines().iter().any(|line| line["event"] == "root_taken_over"));
        daemon.kill();
    }
    // A whole file is used.
    std::fs::write(&file, &whole).unwrap();
    let output = gqos(site, &["clean", "--json", "--interface", "eth0"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let cleaned = &document["interfaces"][0];
    assert_eq!(
        (&cleaned["outcome"], &cleaned["restored"]),
        (&"removed".into(), &"pfifo 1:".into()),
        "{document}"
    );
    assert!(
        shown(site).iter().any(|line| line.starts_with("qdisc pfifo 1: root") && line.contains("limit 77p"))
    );
}
