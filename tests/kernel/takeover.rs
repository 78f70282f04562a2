//! Foreign root qdiscs under `takeover = true`: replaced, and as they were once the host has ended.

use gqos::connect::{Ask, Host};
use gqos::lab::{CLIENT_V4, Site};

use super::common::{inside, lab_with, policy};
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
    run_all(&network.server, &["tc qdisc add dev eth0 root handle 1: pfifo"]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("p.toml");
    std::fs::write(&file, taking_over()).unwrap();
    let gqos = [env!("CARGO_BIN_EXE_gqos"), "plan", "--json", "--policy", file.to_str().unwrap()];
    let plan: serde_json::Value = serde_json::from_str(&inside(&network.server, &gqos)).unwrap();
    let commands = plan["interfaces"][0]["commands"].as_array().unwrap();
    assert_eq!(commands[0], "tc qdisc del dev eth0 root");
    for command in commands {
        inside(&network.server, &["sh", "-c", command.as_str().unwrap()]);
    }
    assert!(shown(&network.server).iter().any(|line| line.starts_with("qdisc htb 6771: root")));
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
