//! The files for systemd.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::process::Command;

mod common;

use common::installed;

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
