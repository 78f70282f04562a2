//! The files for systemd, Prometheus and Grafana.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

mod common;

use common::installed;
use flowspec::Both;
use gqos::admission::ClassTotals;
use gqos::telemetry::metrics::{ClassMetrics, GroupMetrics, InterfaceMetrics, ProcessUse, TrafficCounts};
use gqos::telemetry::{Metrics, MetricsFormat};

const UNIT: &str = "packaging/systemd/gqos.service";

#[test]
fn the_unit_gives_the_daemon_no_more_than_it_needs() {
    if !installed(&["systemd-analyze"]) {
        return;
    }
    // Tenths: 1.5 of 10.
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=15", UNIT])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn the_commands_of_the_unit_are_those_of_the_program() {
    let unit = std::fs::read_to_string(UNIT).unwrap();
    let commands = unit.lines().filter_map(|line| line.strip_prefix("ExecStart")?.split_once('='));
    let mut seen = 0;
    for (_, command) in commands {
        let words: Vec<_> = command.split(' ').collect();
        assert_eq!(words[0], "/usr/bin/gqos");
        let options = words[2..].iter().filter(|word| word.starts_with("--"));
        let help = Command::new(env!("CARGO_BIN_EXE_gqos")).args([words[1], "--help"]).output().unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        for option in options {
            assert!(help.contains(*option), "{option}:\n{help}");
        }
        seen += 1;
    }
    assert_eq!(seen, 2, "{unit}");
}

/// Runs a maintainer script as on a host with systemd, whose programs say how they were called; gives what they said.
fn maintainer_script(script: &str, arguments: &[&str], (is_active, check): (&str, &str)) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let programs = [
        ("systemctl", format!("[ \"$1\" != is-active ] || exit {is_active}")),
        ("systemd-sysusers", String::new()),
        ("systemd-tmpfiles", String::new()),
        ("gqos", format!("exit {check}")),
    ];
    for (name, then) in programs {
        let file = directory.path().join(name);
        let text = format!("#!/bin/sh\necho {name} \"$@\" >> \"$CALLS\"\n{then}\n");
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let (calls, systemd) = (directory.path().join("calls"), directory.path().display().to_string());
    std::fs::write(&calls, "").unwrap();
    // It looks for the directory of a running systemd.
    let text = std::fs::read_to_string(format!("packaging/deb/{script}")).unwrap();
    assert!(text.contains("/run/systemd/system"), "{script}");
    let text = text.replace("/run/systemd/system", &systemd).replace("rm -rf", "echo rm -rf");
    let output = Command::new("/bin/sh")
        .args(["-c", &text, script])
        .args(arguments)
        .env("PATH", format!("{systemd}:/usr/bin:/bin"))
        .env("CALLS", &calls)
        .output()
        .unwrap();
    assert!(output.status.success(), "{script} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::read_to_string(calls).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn an_upgrade_kills_a_daemon_whose_policy_the_new_one_takes() {
    let begin =
        ["systemd-sysusers gqos.conf", "systemd-tmpfiles --create gqos.conf", "systemctl daemon-reload"];
    let (asks, checks) = ("systemctl is-active --quiet gqos.service", "gqos check /etc/gqos/policy.toml");
    let kills = "systemctl kill --signal=KILL gqos.service";
    let check = |arguments: &[&str], host: (&str, &str), then: &[&str]| {
        let expected = [&begin[..], then].concat();
        assert_eq!(maintainer_script("postinst", arguments, host), expected, "{arguments:?} {host:?}");
    };
    check(&["configure", ""], ("0", "0"), &[]);
    check(&["configure", "0.1.0"], ("0", "0"), &[asks, checks, kills]);
    check(&["configure", "0.1.0"], ("0", "78"), &[asks, checks]);
    check(&["configure", "0.1.0"], ("3", "0"), &[asks]);
    let none: [&str; 0] = [];
    assert_eq!(maintainer_script("postinst", &["abort-upgrade", "0.1.0"], ("0", "0")), none);
}

#[test]
fn the_daemon_is_stopped_by_a_removal_and_by_no_upgrade() {
    let none: [&str; 0] = [];
    assert_eq!(maintainer_script("prerm", &["upgrade", "0.2.0"], ("0", "0")), none);
    let stops = ["systemctl disable --now gqos.socket gqos.service"];
    assert_eq!(maintainer_script("prerm", &["remove"], ("0", "0")), stops);
    assert_eq!(maintainer_script("postrm", &["remove"], ("0", "0")), ["systemctl daemon-reload"]);
    assert_eq!(maintainer_script("postrm", &["upgrade", "0.2.0"], ("0", "0")), none);
}

/// Every name of a series that a daemon shows, as Prometheus stores it.
fn series() -> BTreeSet<String> {
    let metrics = Metrics {
        interfaces: vec![InterfaceMetrics {
            direct_packets: Some(0),
            traffic: Some(TrafficCounts::default()),
            ..InterfaceMetrics::default()
        }],
        classes: vec![ClassMetrics {
            totals: ClassTotals {
                interface: String::new(),
                class: String::new(),
                totals: Both::default(),
                flows: 0,
            },
            traffic: Some(TrafficCounts::default()),
        }],
        groups: vec![GroupMetrics { traffic: Some(TrafficCounts::default()), ..GroupMetrics::default() }],
        process: Some(ProcessUse::default()),
        ..Metrics::default()
    };
    let text = metrics.render(MetricsFormat::Prometheus);
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples.map(|line| line.split(['{', ' ']).next().unwrap().to_owned()).collect()
}

/// The names of metrics in a text.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let is_name = |word: &&str| {
        let stem = ["gqos_", "process_"].iter().any(|stem| word.starts_with(stem));
        stem && !word.ends_with('_')
    };
    words.filter(is_name).map(str::to_owned).collect()
}

#[test]
fn the_rules_and_the_dashboard_name_metrics_that_exist() {
    let series = series();
    for (file, least) in [("packaging/prometheus/gqos.rules.yml", 10), ("packaging/grafana/gqos.json", 20)] {
        let text = std::fs::read_to_string(file).unwrap();
        let named = names(&text);
        let unknown: Vec<_> = named.difference(&series).collect();
        assert!(unknown.is_empty(), "{file} names {unknown:?}, which no daemon shows");
        assert!(named.len() >= least, "{file}: {named:?}");
    }
    let dashboard = std::fs::read_to_string("packaging/grafana/gqos.json").unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids: Vec<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    ids.dedup();
    assert_eq!(ids.len(), panels.len());
    assert!(
        panels.iter().all(|panel| panel["targets"].as_array().is_some_and(|targets| !targets.is_empty()))
    );
}

#[test]
fn promtool_accepts_the_rules_and_their_tests() {
    if !installed(&["promtool"]) {
        return;
    }
    for arguments in [
        ["check", "rules", "packaging/prometheus/gqos.rules.yml"],
        ["test", "rules", "packaging/prometheus/gqos.rules.test.yml"],
    ] {
        let output = Command::new("promtool").args(arguments).output().unwrap();
        let printed = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&printed));
    }
}

/// An alert that no test lets fire may never fire.
#[test]
fn every_alert_has_a_test() {
    let names = |file: &str, key: &str| -> BTreeSet<String> {
        let text = std::fs::read_to_string(file).unwrap();
        let lines = text.lines().map(|line| line.trim().trim_start_matches("- "));
        lines.filter_map(|line| line.strip_prefix(key).map(|name| name.trim().to_owned())).collect()
    };
    let alerts = names("packaging/prometheus/gqos.rules.yml", "alert:");
    assert!(alerts.len() > 10);
    assert_eq!(alerts, names("packaging/prometheus/gqos.rules.test.yml", "alertname:"));
}

#[test]
fn systemd_accepts_the_units() {
    if !installed(&["systemd-analyze"]) {
        return;
    }
    // The program need not be installed: its path is that of this test's.
    let directory = tempfile::tempdir().unwrap();
    for name in ["gqos.service", "gqos.socket"] {
        let unit = std::fs::read_to_string(format!("packaging/systemd/{name}")).unwrap();
        let unit = unit.replace("/usr/bin/gqos", env!("CARGO_BIN_EXE_gqos"));
        std::fs::write(directory.path().join(name), unit).unwrap();
    }
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no", "--recursive-errors=no"]).current_dir(directory.path());
    let output = command.args(["./gqos.service", "./gqos.socket"]).output().unwrap();
    let problems = String::from_utf8_lossy(&output.stderr).into_owned();
    let own: Vec<_> = problems.lines().filter(|line| line.contains("gqos.")).collect();
    assert!(own.is_empty(), "{problems}");
}

#[test]
fn the_package_has_what_the_tree_has() {
    let manifest = std::fs::read_to_string("Cargo.toml").unwrap();
    let assets =
        manifest.lines().skip_while(|line| *line != "assets = [").skip(1).take_while(|line| *line != "]");
    let mut own = 0;
    for asset in assets {
        let [_, path, _, target, _, mode, _] = asset.split('"').collect::<Vec<_>>()[..] else {
            panic!("no asset: {asset}")
        };
        assert!(target.starts_with("usr/") || target.starts_with("etc/"), "{asset}");
        assert!(["644", "755"].contains(&mode), "{asset}");
        // What packaging/deb.sh makes.
        if path.starts_with("target/") {
            continue;
        }
        let (directory, name) = path.rsplit_once('/').unwrap_or((".", path));
        let suffix = name.trim_start_matches('*');
        let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
        let found = entries.filter(|entry| entry.to_str().unwrap().ends_with(suffix)).count();
        assert!(found > 0, "{asset}");
        own += 1;
    }
    assert!(own >= 8, "{own} files");
    // What its documents refer to.
    let monitoring = std::fs::read_to_string("docs/MONITORING.md").unwrap();
    let named: Vec<_> = monitoring
        .split(|letter: char| letter == '`' || letter.is_whitespace())
        .filter(|word| word.starts_with("packaging/"))
        .collect();
    assert!(named.len() >= 3, "{named:?}");
    for file in named {
        let (directory, name) = file.rsplit_once('/').unwrap();
        let (_, ending) = name.rsplit_once('.').unwrap();
        let asset = format!("[\"{directory}/*.{ending}\", \"usr/share/doc/gqos/{directory}/\", \"644\"]");
        assert!(manifest.contains(&asset), "the package has no {file}: {asset}");
    }
    for script in ["deb.sh", "deb/postinst", "deb/prerm", "deb/postrm"] {
        let checked = Command::new("/bin/sh").arg("-n").arg(format!("packaging/{script}")).status().unwrap();
        assert!(checked.success(), "{script}");
    }
}

/// S12 of the threat table in docs/DAEMON.md.
#[test]
fn every_dependency_has_a_checksum() {
    let lock = std::fs::read_to_string("Cargo.lock").unwrap();
    let mut foreign = 0;
    for package in lock.split("[[package]]").skip(1) {
        let Some(source) = package.lines().find_map(|line| line.strip_prefix("source = ")) else { continue };
        assert!(source.starts_with("\"registry+https://github.com/rust-lang/crates.io-index"), "{package}");
        assert!(package.lines().any(|line| line.starts_with("checksum = \"")), "{package}");
        foreign += 1;
    }
    assert!(foreign > 50, "{foreign} packages");
}

#[test]
fn the_policy_of_the_package_is_valid() {
    let output = Command::new(env!("CARGO_BIN_EXE_gqos"))
        .args(["check", "packaging/deb/policy.toml"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
