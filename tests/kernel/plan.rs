//! `gqos plan`: its commands, run by the system's tc, make the tree that gqos makes; its difference is the kernel's.

use std::path::Path;
use std::process::{Command, Output};

use flowspec::Moment;
use gqos::connect::{Ask, Host};
use gqos::lab::{CLIENT_V4, LabNetwork, Site};
use gqos::linux::{Netlink, ReceivingLinks};
use gqos::manager::{Input, Manager, Root, Seen};
use gqos::tc::{Desired, ReceivingState};
use serde_json::Value;

use super::common::{inside, lab_with, policy};
use super::sink;

/// A rate that is no multiple of a tick, so that roundings show.
const POLICY: &str = r#"
    version = 1
    [interface.eth0]
    egress = { capacity = "87.654 Mbit/s", reservable = "61%" }
    [template.video]
    sending = { service_type = "guaranteed", token_rate = "6 Mbit/s", token_bucket_size = "64 KiB" }
"#;

/// Runs gqos in a site's namespace.
pub(super) fn gqos(site: &Site, arguments: &[&str]) -> Output {
    let net = format!("--net={}", site.namespace_path());
    let mut command = Command::new("nsenter");
    command.arg(net).arg(env!("CARGO_BIN_EXE_gqos")).args(arguments);
    command.output().unwrap()
}

pub(super) fn policy_file(directory: &Path, text: &str) -> String {
    let path = directory.join("p.toml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

pub(super) fn run_commands(site: &Site, commands: &[String]) {
    for command in commands {
        inside(site, &["sh", "-c", command]);
    }
}

/// The document of `gqos plan --json` for eth0.
#[track_caller]
fn plan(site: &Site, arguments: &[&str], code: i32) -> Value {
    let output = gqos(site, &[&["plan", "--json"], arguments].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{arguments:?}: {stderr}{}",
        String::from_utf8_lossy(&output.stdout)
    );
    let mut document: Value = serde_json::from_slice(&output.stdout).unwrap();
    document["interfaces"][0].take()
}

pub(super) fn texts(array: &Value) -> Vec<String> {
    array.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// A line of tc about a qdisc, `qdisc KIND HANDLE: …`, without the handle where the kernel chose it: from 8001: on.
fn without_chosen_handle(line: &str) -> String {
    let chosen = |word: &&str| word.strip_suffix(':').is_some_and(is_chosen);
    line.split_whitespace().filter(|word| !chosen(word)).collect::<Vec<_>>().join(" ")
}

fn is_chosen(major: &str) -> bool {
    u16::from_str_radix(major, 16).is_ok_and(|major| major >= 0x8000)
}

/// A line of tc without the buckets, which may differ by a microsecond, and the handle that the kernel chose.
fn without_buckets(line: &str) -> String {
    let mut words = line.split_whitespace();
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        kept.push(word);
        if word.ends_with("burst") || word == "leaf" {
            words.next();
        }
    }
    kept.join(" ")
}

/// What a site's interface has, as the system's tc shows it, and as gqos reads it.
fn dumps(network: &LabNetwork) -> [String; 2] {
    [&network.server, &network.client].map(|site| {
        let qdiscs = inside(site, &["tc", "-d", "qdisc", "show", "dev", "eth0"]);
        let qdiscs: Vec<_> = qdiscs.lines().map(without_chosen_handle).collect();
        let shown = inside(site, &["tc", "-d", "class", "show", "dev", "eth0"]);
        let mut classes: Vec<_> = shown.lines().map(without_buckets).collect();
        classes.sort();
        let read = site.run(async {
            let netlink = Netlink::open().unwrap();
            let index = netlink.link_by_name("eth0").await.unwrap().index;
            let mut states = netlink.classes(index).await.unwrap();
            states.sort_by_key(|state| state.class.handle);
            let shown: Vec<_> = states
                .iter()
                .map(|state| state.class)
                .map(|class| {
                    format!(
                        "{} {} {} {} {} {}",
                        class.handle, class.parent, class.rate, class.ceil, class.quantum, class.prio
                    )
                })
                .collect();
            shown.join("\n")
        });
        format!("{}\n{}\n{}", qdiscs.join("\n"), classes.join("\n"), read.unwrap())
    })
}

#[test]
fn the_commands_of_a_plan_make_the_tree_that_gqos_makes() {
    let Some(network) = lab_with(100, &["tc"]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let file = policy_file(directory.path(), POLICY);
    let before = dumps(&network);
    let planned = plan(&network.server, &["--policy", &file], 0);
    assert_eq!(dumps(&network), before, "a plan changes nothing");
    run_commands(&network.server, &texts(&planned["commands"]));
    let host = network.client.run(async { Host::start(policy(POLICY)).await.unwrap() }).unwrap();
    let [by_tc, by_gqos] = dumps(&network);
    assert_eq!(by_tc, by_gqos);
    assert!(by_gqos.contains("6771:2"), "{by_gqos}");
    // gqos takes the tree of tc for its own, and reads its own back.
    for site in [&network.server, &network.client] {
        let compared = plan(site, &["--diff", "--policy", &file], 0);
        assert_eq!(compared["difference"]["changes"], Value::Array(vec![]));
    }
    let compared = plan(&network.client, &["--diff", "--policy", &file], 0);
    let holder = compared["managed_by"].as_str().unwrap();
    assert!(holder.starts_with(&format!("process {}", std::process::id())), "{holder}");
    network.client.run(async move { host.stop().await }).unwrap();
}

#[test]
fn a_difference_is_ordered_and_repairs_the_tree() {
    let Some(network) = lab_with(100, &["tc"]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let file = policy_file(directory.path(), POLICY);
    let site = &network.server;
    let absent = plan(site, &["--diff", "--policy", &file], 1);
    let commands = |compared: &Value| -> Vec<String> {
        let changes = compared["difference"]["changes"].as_array().unwrap();
        changes.iter().map(|step| step["command"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(commands(&absent), texts(&absent["commands"]), "without a tree the difference is the whole");
    run_commands(site, &commands(&absent));
    for command in [
        "tc class change dev eth0 parent 6771:1 classid 6771:2 htb rate 5mbit ceil 7mbit",
        "tc class add dev eth0 parent 6771:1 classid 6771:100 htb rate 1mbit",
    ] {
        inside(site, &command.split(' ').collect::<Vec<_>>());
    }
    let edited = plan(site, &["--diff", "--policy", &file], 1);
    let steps = commands(&edited);
    assert!(
        steps[0].starts_with("tc class change dev eth0 parent 6771:1 classid 6771:2 htb rate"),
        "{steps:?}"
    );
    assert_eq!(
        steps[1..],
        ["tc class del dev eth0 classid 6771:100"],
        "the class of no manager is left over"
    );
    assert!(
        edited["difference"]["changes"][0]["replaces"]
            .as_str()
            .unwrap()
            .contains("rate 5000000bit ceil 7000000bit")
    );
    run_commands(site, &steps);
    plan(site, &["--diff", "--policy", &file], 0);
    for command in [
        "tc class add dev eth0 parent 6771:1 classid 6771:8000 htb rate 90mbit",
        "tc filter add dev eth0 parent 6771: protocol ip prio 1 u32 match u32 0 0 flowid 6771:8000",
        "tc filter add dev eth0 parent 6771: protocol ip prio 26481 handle 5: u32 divisor 4",
        "tc filter add dev eth0 parent 6771: protocol ip prio 26481 u32 ht 5:1 match ip dport 80 0xffff flowid 6771:2",
        "tc filter add dev eth0 parent 6771:2 chain 4 protocol all prio 7 u32 match u32 0 0 flowid 6771:8000",
        "tc qdisc replace dev eth0 parent 6771:2 pfifo limit 1",
        "tc qdisc replace dev eth0 parent 6771:8000 pfifo limit 1",
    ] {
        inside(site, &command.split(' ').collect::<Vec<_>>());
    }
    let steps = commands(&plan(site, &["--diff", "--policy", &file], 1));
    let deleted: Vec<_> = steps.iter().filter(|step| step.contains(" del ")).map(String::as_str).collect();
    assert_eq!(
        deleted,
        [
            "tc filter del dev eth0 parent 6771: prio 1",
            "tc filter del dev eth0 parent 6771: prio 26481 handle 5:1:800 u32",
            "tc filter del dev eth0 parent 6771:2 chain 4 prio 7",
            "tc qdisc del dev eth0 parent 6771:2",
            "tc class del dev eth0 classid 6771:8000",
        ]
    );
    run_commands(site, &steps);
    plan(site, &["--diff", "--policy", &file], 0);
    // Under a policy without trees, one that is left over is a difference.
    let user_space = POLICY.replacen("egress", "enforcement = \"user-space\"\n    egress", 1);
    let leftover = plan(site, &["--diff", "--policy", &policy_file(directory.path(), &user_space)], 1);
    assert_eq!(commands(&leftover), ["tc qdisc del dev eth0 root handle 6771:"]);
    inside(site, &["tc", "qdisc", "del", "dev", "eth0", "root"]);
    inside(site, &["tc", "qdisc", "add", "dev", "eth0", "root", "handle", "1:", "htb"]);
    let foreign = plan(site, &["--diff", "--policy", &policy_file(directory.path(), POLICY)], 1);
    assert!(foreign["not_programmed"].as_str().unwrap().contains("htb 1:"), "{foreign}");
    assert_eq!(commands(&foreign), [""; 0], "it is left alone");
}

#[test]
fn the_flows_of_a_running_manager_are_no_difference() {
    let Some(network) = lab_with(100, &["tc"]) else { return };
    let peer = sink(&network, (CLIENT_V4, 5000).into());
    let directory = tempfile::tempdir().unwrap();
    let file = policy_file(directory.path(), POLICY);
    let work = async move {
        let host = Host::start(policy(POLICY)).await.unwrap();
        let connection = host.connector().connect(peer, &Ask::template("video")).await.unwrap();
        (host, connection)
    };
    let (host, connection) = network.server.run(work).unwrap();
    let compared = plan(&network.server, &["--diff", "--policy", &file], 0);
    assert_eq!(compared["difference"]["flow_classes"], 1, "{compared}");
    // A host whose runtime is blocked repairs nothing.
    let (unblock, blocked) = std::sync::mpsc::channel::<()>();
    network.server.runtime().spawn(async move {
        let _ = blocked.recv();
    });
    for command in [
        "tc class add dev eth0 parent 6771:1 classid 6771:8000 htb rate 90mbit",
        "tc filter add dev eth0 parent 6771: protocol ip prio 1 u32 match u32 0 0 flowid 6771:8000",
        "tc qdisc replace dev eth0 parent 6771:100 pfifo limit 1",
    ] {
        inside(&network.server, &command.split(' ').collect::<Vec<_>>());
    }
    let compared = plan(&network.server, &["--diff", "--policy", &file], 1);
    let steps = compared["difference"]["changes"].as_array().unwrap();
    let steps: Vec<_> = steps.iter().map(|step| step["command"].as_str().unwrap()).collect();
    assert_eq!(
        (steps, &compared["difference"]["flow_classes"]),
        (
            vec![
                "tc filter del dev eth0 parent 6771: prio 1",
                "tc qdisc del dev eth0 parent 6771:100",
                "tc class del dev eth0 classid 6771:8000",
            ],
            &Value::from(1)
        )
    );
    drop(unblock);
    network
        .server
        .run(async move {
            drop(connection);
            host.stop().await;
        })
        .unwrap();
}

#[test]
fn the_commands_for_what_is_received_make_what_gqos_makes() {
    let Some(network) = lab_with(100, &["tc", "ip"]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let ingress = "ingress = { capacity = \"87.654 Mbit/s\", reservable = \"61%\" }\n    [template.video]";
    let text = POLICY.replacen("[template.video]", ingress, 1);
    let file = policy_file(directory.path(), &text);
    let site = &network.server;
    let planned = plan(site, &["--policy", &file], 0);
    let other = tempfile::tempdir().unwrap();
    let without = plan(site, &["--policy", &policy_file(other.path(), POLICY)], 0);
    assert_eq!(
        without["receiving"], planned["receiving"],
        "without ingress, the values of egress serve for both"
    );
    run_commands(site, &texts(&planned["receiving"]["commands"]));
    let state = site.run(async move {
        let netlink = Netlink::open().unwrap();
        let link = netlink.link_by_name("eth0").await.unwrap();
        let ifb = netlink.receivers().await.unwrap()[&link.index];
        let mut manager = Manager::new(policy(&text));
        let (interface, index, mtu) = ("eth0".to_owned(), link.index, link.mtu);
        let seen = Seen { interface, index, mtu, speed: None, shares_wire_with: None, root: Root::Default };
        manager.handle(Input::Seen(seen), Moment::START);
        let tree = Desired::new(manager.receiving_shape("eth0").unwrap());
        netlink.receiving_state(ReceivingLinks { interface: index, ifb }, &tree, &[]).await.unwrap()
    });
    assert_eq!(state.unwrap(), ReceivingState::Intact);
    // Nothing manages it: it is left over, and the difference removes it.
    let compared = plan(site, &["--diff", "--policy", &file], 1);
    let changes = compared["receiving"]["difference"]["changes"].as_array().unwrap();
    let commands: Vec<_> = changes.iter().map(|step| step["command"].as_str().unwrap().to_owned()).collect();
    run_commands(site, &commands);
    let compared = plan(site, &["--diff", "--policy", &file], 1);
    assert_eq!(compared["receiving"]["difference"]["differs"], false, "{compared}");
    inside(site, &["tc", "qdisc", "add", "dev", "eth0", "clsact"]);
    let compared = plan(site, &["--diff", "--policy", &file], 1);
    let why = compared["receiving"]["not_programmed"].as_str().unwrap();
    assert!(why.contains("clsact") && compared["receiving"]["difference"]["differs"] == true, "{compared}");
}
