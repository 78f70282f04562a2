//! `gqos doctor` in a namespace: its features are those of the system's tc, and it leaves nothing.

use gqos::linux::Netlink;
use gqos::tc::{BPF_MATCH_ALL, Filter, Handle, Program, Redirect, Target, U32Key};
use serde_json::Value;

use super::POLICY;
use super::common::{inside, lab_with};
use super::plan::{gqos, policy_file};

fn findings(output: &std::process::Output) -> Vec<Value> {
    let mut document: Value = serde_json::from_slice(&output.stdout).unwrap();
    document["findings"].as_array_mut().unwrap().drain(..).collect()
}

fn state(findings: &[Value], topic: &str, subject: &str) -> String {
    let found = findings.iter().find(|finding| finding["topic"] == topic && finding["subject"] == subject);
    found.unwrap_or_else(|| panic!("no {topic} {subject}"))["state"].as_str().unwrap().to_owned()
}

#[test]
fn features_are_those_that_tc_can_use() {
    let Some(network) = lab_with(100, &["tc", "ip"]) else { return };
    let site = &network.server;
    let before = inside(site, &["tc", "qdisc", "show"]);
    let output = gqos(site, &["doctor", "--json"]);
    let found = findings(&output);
    assert_eq!(inside(site, &["tc", "qdisc", "show"]), before, "nothing is left");
    // What the system's tc can do on a device of this namespace.
    let works = |command: &str| {
        let script = format!("{command} >/dev/null 2>&1 && echo yes || echo no");
        inside(site, &["sh", "-c", &script]).trim() == "yes"
    };
    assert!(works("tc qdisc add dev lo clsact"));
    for (subject, command) in [
        ("htb qdisc", "tc qdisc add dev lo root handle 1: htb"),
        ("fq_codel qdisc", "tc qdisc replace dev lo root handle 2: fq_codel"),
        ("fq qdisc", "tc qdisc replace dev lo root handle 3: fq"),
        ("tbf qdisc", "tc qdisc replace dev lo root handle 4: tbf rate 1mbit burst 10kb limit 10kb"),
        ("flower classifier", "tc filter add dev lo egress protocol ip flower classid 1:1"),
        ("matchall classifier", "tc filter add dev lo egress matchall classid 1:1"),
        ("u32 classifier", "tc filter add dev lo egress protocol ip u32 match u32 0 0 classid 1:1"),
        (
            "mirred action",
            "tc filter add dev lo egress protocol ip u32 match u32 0 0 action mirred egress redirect dev eth0",
        ),
        ("ifb device", "ip link add ifbx type ifb"),
    ] {
        assert_eq!(state(&found, "kernel", subject) == "ok", works(command), "{subject}: {found:#?}");
    }
    assert_eq!(state(&found, "eth0", "state"), "ok");
    assert_eq!(state(&found, "eth0", "root qdisc"), "ok");
    assert_eq!(state(&found, "privileges", "CAP_NET_ADMIN"), "ok");
    // Filters are built into every kernel that this program is tested on; what is said of landlock depends on the kernel.
    assert_eq!(state(&found, "confinement", "seccomp"), "ok");
    assert!(["ok", "note"].contains(&state(&found, "confinement", "landlock").as_str()));
    assert_eq!(output.status.code(), Some(0), "{found:#?}");
}

#[test]
fn a_root_of_another_program_with_the_handle_of_gqos_is_foreign() {
    let Some(network) = lab_with(100, &["tc"]) else { return };
    let site = &network.server;
    inside(site, &["tc", "qdisc", "add", "dev", "eth0", "root", "handle", "6771:", "htb", "default", "3"]);
    let found = findings(&gqos(site, &["doctor", "--json"]));
    assert_eq!(state(&found, "eth0", "root qdisc"), "lacking");
    let directory = tempfile::tempdir().unwrap();
    let policy = policy_file(directory.path(), POLICY);
    let output = gqos(site, &["plan", "--policy", &policy, "--diff"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("Nothing is programmed") && !text.contains("tc qdisc del"), "{text}");
}

#[test]
fn a_foreign_root_costs_guarantees_and_lines_fit_a_terminal() {
    let Some(network) = lab_with(100, &["tc"]) else { return };
    let site = &network.server;
    inside(site, &["tc", "qdisc", "add", "dev", "eth0", "root", "handle", "1:", "htb"]);
    let output = gqos(site, &["doctor"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("LACKING  root qdisc"), "{text}");
    assert!(text.contains("htb 1:, of another program"), "{text}");
    assert!(text.contains("1 lack that costs guarantees."), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn filters_of_tc_are_read_as_they_were_written() {
    let Some(network) = lab_with(100, &["tc"]) else { return };
    let site = &network.server;
    for command in [
        "tc qdisc add dev eth0 clsact",
        "tc filter add dev eth0 egress protocol ip pref 1 u32 match ip dport 443 0xffff classid 1:10",
        "tc filter add dev eth0 egress protocol ip pref 2 u32 match ip dst 10.9.0.0/16 action mirred egress redirect dev lo",
        "tc filter add dev eth0 egress protocol ip pref 3 bpf bytecode '1,6 0 0 4294967295' classid 1:11",
    ] {
        inside(site, &["sh", "-c", command]);
    }
    let read = site.run(async {
        let netlink = Netlink::open().unwrap();
        let index = netlink.link_by_name("eth0").await.unwrap().index;
        netlink.egress_filters(index).await.unwrap()
    });
    let read: Vec<_> = read.unwrap().into_iter().map(|found| found.filter.unwrap()).collect();
    let class = |minor| Target { class: Some(Handle::qdisc(1).class(minor)), redirect: None };
    let redirect = Target { class: None, redirect: Some(Redirect { index: 1 }) };
    let expected = [
        Filter::U32 { target: class(0x10), keys: vec![U32Key { offset: 20, mask: 0xffff, value: 443 }] },
        Filter::U32 {
            target: redirect,
            keys: vec![U32Key { offset: 16, mask: 0xffff_0000, value: 0x0a09_0000 }],
        },
        Filter::Bpf { target: class(0x11), program: Program::Classic(vec![BPF_MATCH_ALL]) },
    ];
    assert_eq!(read, expected);
    let text = String::from_utf8(gqos(site, &["doctor"]).stdout).unwrap();
    assert!(text.contains("u32: packets that match go to interface 1"), "{text}");
}
