//! `gqos clean`: the tree of a killed process goes, those of living managers and of other programs stay.

use std::path::Path;

use gqos::connect::Host;
use gqos::lab::Site;

use super::common::{inside, lab_with, policy};
use super::plan::{gqos, policy_file, run_commands, texts};

const TREE: &str =
    "version = 1\n[interface.eth0]\negress = { capacity = \"100 Mbit/s\", reservable = \"80%\" }\n";

/// Cleans, and checks the exit code and a part of the output.
#[track_caller]
fn check(site: &Site, arguments: &[&str], code: i32, words: &str) {
    let output = gqos(site, &[&["clean"], arguments].concat());
    let all =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {all}");
    assert!(all.contains(words), "{words:?} is not in {all}");
}

/// What a killed process leaves: its tree, with the class of a flow.
fn leave_a_tree(site: &Site, directory: &Path) {
    let file = policy_file(directory, TREE);
    let output = gqos(site, &["plan", "--json", "--policy", &file]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    run_commands(site, &texts(&document["interfaces"][0]["commands"]));
    inside(
        site,
        &"tc class add dev eth0 parent 6771:1 classid 6771:100 htb rate 1mbit".split(' ').collect::<Vec<_>>(),
    );
}

fn roots(site: &Site) -> String {
    inside(site, &["tc", "qdisc", "show", "dev", "eth0"])
}

#[test]
fn clean_removes_leftovers_and_nothing_else() {
    let Some(network) = lab_with(100, &["tc"]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let site = &network.server;
    check(site, &[], 0, "Nothing of gqos is left on 2 interfaces.");
    check(site, &["--interface", "eth0"], 0, "eth0: nothing of gqos is left");
    check(site, &["--interface", "gqosabsent0"], 71, "gqosabsent0");
    leave_a_tree(site, directory.path());
    check(site, &["--interface", "lo"], 0, "lo: nothing of gqos is left");
    assert!(roots(site).contains("htb 6771: root"));
    check(site, &[], 0, "eth0: removed htb 6771: with 3 classes");
    assert!(!roots(site).contains("htb"), "{}", roots(site));
    // A set-up that was cut short.
    inside(
        site,
        &"tc qdisc add dev eth0 root handle 6771: htb default 2 direct_qlen 0".split(' ').collect::<Vec<_>>(),
    );
    let output = gqos(site, &["clean", "--json", "--interface", "eth0"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["interfaces"][0]["outcome"], "removed", "{document}");
    // Trees of a user with the same handle.
    for (command, why) in [
        ("tc qdisc add dev eth0 root handle 6771: htb default 2", "direct_qlen"),
        ("tc qdisc add dev eth0 root handle 6771: htb default 10 direct_qlen 0", "default 10"),
    ] {
        inside(site, &command.split(' ').collect::<Vec<_>>());
        check(site, &[], 1, why);
        assert!(roots(site).contains("htb 6771: root"), "{command}");
        inside(site, &["tc", "qdisc", "del", "dev", "eth0", "root"]);
    }
    leave_a_tree(site, directory.path());
    inside(
        site,
        &"tc class add dev eth0 parent 6771: classid 6771:7 htb rate 1mbit".split(' ').collect::<Vec<_>>(),
    );
    check(site, &[], 1, "gqos makes no class 6771:7 below 6771:");
    inside(site, &["tc", "qdisc", "del", "dev", "eth0", "root"]);
    inside(site, &["tc", "qdisc", "add", "dev", "eth0", "root", "handle", "1:", "htb"]);
    check(site, &["--interface", "eth0"], 0, "nothing of gqos is left");
    assert!(roots(site).contains("htb 1: root"));
}

#[test]
fn the_tree_of_a_living_manager_stays_and_its_process_is_named() {
    let Some(network) = lab_with(100, &["tc"]) else { return };
    let site = &network.server;
    let host = site.run(async { Host::start(policy(TREE)).await.unwrap() }).unwrap();
    check(site, &[], 1, &format!("it is managed by process {}", std::process::id()));
    assert!(roots(site).contains("htb 6771: root"));
    site.run(async move { host.stop().await }).unwrap();
    check(site, &[], 0, "Nothing of gqos is left");
}

#[test]
fn without_a_privilege_a_tree_stays_and_the_privilege_is_named() {
    let Some(network) = lab_with(100, &["tc", "setpriv"]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let site = &network.server;
    leave_a_tree(site, directory.path());
    let command = format!(
        "setpriv --bounding-set=-all --no-new-privs {} clean 2>&1; echo code $?",
        env!("CARGO_BIN_EXE_gqos")
    );
    let shown = inside(site, &["sh", "-c", &command]);
    assert!(shown.contains("code 77") && shown.contains("CAP_NET_ADMIN"), "{shown}");
    assert!(roots(site).contains("htb 6771: root"));
}
