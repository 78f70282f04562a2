//! `gqos top` on a terminal: what ends it, in every state.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::process::Command;

use serde_json::{Value, json};

mod common;

/// What is happening while the command is ended.
const STATES: [&str; 4] = ["idle", "typing", "sequence", "gone"];

/// Ends the command in a way, which is to give an exit code and the terminal as it was.
#[track_caller]
fn check_end(state: &str, way: &str, code: i32) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/terminal/top.py");
    let mut python = Command::new("python3");
    let output = python.args([script, env!("CARGO_BIN_EXE_gqos"), state, way]).output().unwrap();
    assert!(output.status.success(), "{state}, {way}: {output:?}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found, json!({ "code": code, "errors": "", "restored": true }), "{state}, {way}");
}

#[test]
fn top_ends_with_its_terminal() {
    if common::installed(&["python3"]) {
        STATES.iter().for_each(|state| check_end(state, "close", 129));
    }
}

#[test]
fn top_ends_at_a_signal() {
    if !common::installed(&["python3"]) {
        return;
    }
    for state in STATES {
        check_end(state, "SIGTERM", 143);
        check_end(state, "SIGHUP", 129);
    }
    check_end("idle", "SIGINT", 130);
    check_end("idle", "q", 0);
    // The user has stopped the output of the terminal.
    check_end("full", "SIGTERM", 143);
}
