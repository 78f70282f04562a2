//! `gqos demo`: its results, and what is left when it is stopped.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "waits for another process")]

#[path = "demo/agreement.rs"]
mod agreement;
mod common;
#[path = "demo/daemon.rs"]
mod daemon;

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

/// One demo at a time: two would compete for the machine.
static ALONE: Mutex<()> = Mutex::new(());

fn demo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gqos"));
    command.arg("demo").args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Option<Value> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    common::lab(1)?;
    let output = demo(arguments).arg("--json").output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    // Where standard error is no terminal, a line for each phase.
    let lines: Vec<_> = stderr.lines().collect();
    assert!(lines[0].starts_with("Without gqos: ") && lines[1].starts_with("With gqos: "), "{stderr}");
    let is_known =
        |line: &&str| line.starts_with("The report is in ") || line.starts_with("daemon: process ");
    assert!(lines[2..].iter().all(is_known), "{stderr}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// The same, up to three times if a viewer stalled: a machine that pauses for longer than the wire's queue lasts loses
/// datagrams, whatever shapes them.
fn run_quietly(arguments: &[&str]) -> Option<Value> {
    let mut outcome = run(arguments)?;
    for _ in 0..2 {
        let stalled = viewers(phases(&outcome)[1]).iter().filter(|viewer| viewer["stalls"] != 0);
        let stalled: Vec<_> = stalled.map(Value::to_string).collect();
        if stalled.is_empty() {
            break;
        }
        eprintln!("stalled, trying again: {stalled:#?}");
        outcome = run(arguments)?;
    }
    Some(outcome)
}

fn phases(outcome: &Value) -> [&Value; 2] {
    let phases = outcome["phases"].as_array().unwrap();
    assert_eq!(phases[0]["name"], "unmanaged");
    assert_eq!(phases[1]["name"], "managed");
    [&phases[0], &phases[1]]
}

fn viewers(phase: &Value) -> &Vec<Value> {
    phase["viewers"].as_array().unwrap()
}

#[test]
fn viewers_stall_without_gqos_and_never_with_it() {
    let Some(outcome) = run_quietly(&["--seconds", "8", "--viewers", "40"]) else { return };
    let [without, with] = phases(&outcome);
    let stalls = |phase: &Value| -> u64 {
        viewers(phase).iter().map(|viewer| viewer["stalls"].as_u64().unwrap()).sum()
    };
    assert!(viewers(without).iter().all(|viewer| viewer["admitted"] == true));
    assert!(stalls(without) > 0, "the unmanaged phase stalls, or it demonstrates nothing");
    assert_eq!(stalls(with), 0, "{with:#}");

    // Requests are refused once the sum reaches 80 Mbit/s, first come, first served.
    let mut reserved = 0;
    for viewer in viewers(with) {
        let charged = viewer["charged"].as_u64().unwrap();
        let fits = reserved + charged <= 10_000_000;
        assert_eq!(viewer["admitted"], fits, "{reserved} B/s are reserved: {viewer}");
        reserved += if fits { charged } else { 0 };
    }
    let refused = with["refused"].as_array().unwrap();
    assert_eq!(refused.len(), viewers(with).iter().filter(|viewer| viewer["admitted"] == false).count());
    assert!(!refused.is_empty());
    for decision in refused {
        assert_eq!((&decision["error"], &decision["code"]), (&"WSAEOPNOTSUPP".into(), &10045.into()));
        assert_eq!(decision["reason"], "interface_budget");
    }

    assert_eq!(with["kernel"]["direct_packets"], 0);
    let classes = with["kernel"]["classes"].as_array().unwrap();
    for viewer in viewers(with).iter().filter(|viewer| viewer["admitted"] == true) {
        let class = classes.iter().find(|class| class["flow"] == viewer["id"]).unwrap();
        assert!(class["sent_bytes"].as_u64().unwrap() > 0 && class["dropped"] == 0, "{class}");
        // A coarse check: precise rates are measured by `cargo bench --bench depth`.
        let (got, promised) = (&viewer["achieved"]["median_second"], &viewer["token_rate"]);
        assert!(got.as_u64().unwrap() * 10 >= promised.as_u64().unwrap() * 9, "{viewer}");
    }
    let share = with["bulk"]["share_of_rest"].as_f64().unwrap();
    assert!(share > 0.5, "the bulk transfer gets what is left: {share}");
}

#[test]
fn other_streams_and_links_can_be_used() {
    let media = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/media/480p.ts");
    let directory = tempfile::tempdir().unwrap();
    let report = directory.path().join("report.html");
    let report = report.to_str().unwrap();
    let options = ["--seconds", "5", "--viewers", "8", "--link", "10 Mbit/s", "--media", media];
    let arguments = [options.as_slice(), &["--report", report]].concat();
    let Some(outcome) = run_quietly(&arguments) else { return };
    let page = std::fs::read_to_string(report).unwrap();
    let command = "<code>gqos demo --seconds 5 --viewers 8 --link &#39;10 Mbit/s&#39; ";
    assert!(page.contains(command) && page.contains("<dd>Linux ") && page.contains("v8 480p udp"), "{page}");
    assert_eq!(outcome["link_bytes_per_second"], 1_250_000);
    let [_, with] = phases(&outcome);
    let admitted = viewers(with).iter().filter(|viewer| viewer["admitted"] == true).count();
    assert!((1..8).contains(&admitted), "a budget of 8 Mbit/s: {admitted} admitted");
    assert!(
        viewers(with).iter().all(|viewer| viewer["template"] == "480p" && viewer["stalls"] == 0),
        "{with:#}"
    );
}

/// The network namespaces of all threads of a process.
fn namespaces(process: &str) -> BTreeSet<u64> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    tasks.filter_map(|task| Some(std::fs::metadata(task.path().join("ns/net")).ok()?.ino())).collect()
}

/// The numbers of all processes.
fn processes() -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).collect()
}

#[test]
fn a_stopped_or_killed_demo_leaves_nothing_behind() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    if common::lab(1).is_none() {
        return;
    }
    for (signal, code) in [("-INT", Some(130)), ("-TERM", Some(143)), ("-KILL", None)] {
        let mut child = demo(&[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let process = child.id().to_string();
        let mut made = BTreeSet::new();
        // Wait for both hosts and the wire, and then for a while into the first phase.
        for _ in 0..2400 {
            made = &namespaces(&process) - &namespaces("self");
            if made.len() == 3 {
                break;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        assert_eq!(made.len(), 3, "two hosts and a wire");
        std::thread::sleep(Duration::from_millis(500));
        // Those that start later may have namespaces with the same numbers, which the kernel gives again.
        let before = processes();
        // The shell's own `kill`: a program of that name is not everywhere.
        let kill = format!("kill {signal} {process}");
        assert!(Command::new("/bin/sh").args(["-c", &kill]).status().unwrap().success());
        let status = child.wait().unwrap();
        match code {
            Some(code) => assert_eq!(status.code(), Some(code), "{signal}"),
            None => assert_eq!(status.signal(), Some(9)),
        }
        for name in before {
            assert!(
                namespaces(&name).is_disjoint(&made),
                "{signal}: process {name} holds a namespace of the demo"
            );
        }
        let names = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
        let held =
            names.filter(|name| name.metadata().is_ok_and(|named| made.contains(&named.ino()))).count();
        assert_eq!(held, 0, "{signal}: a namespace of the demo has a name");
    }
}
