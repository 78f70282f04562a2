//! The manual pages and the completions: each is what the tools that read it accept.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::io::Write;
use std::process::{Command, Output, Stdio};

mod common;

use common::installed;

fn gqos(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gqos")).args(arguments).output().unwrap()
}

fn printed(arguments: &[&str]) -> String {
    let output = gqos(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn each_command_has_a_page_that_mandoc_accepts() {
    let directory = tempfile::tempdir().unwrap();
    printed(&["man", "--all", directory.path().to_str().unwrap()]);
    let help = printed(&["--help"]);
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = commands.take_while(|line| !line.is_empty());
    let names = commands
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty());
    let mut pages = vec!["gqos.1".to_owned(), "gqos-flowspec-decode.1".to_owned()];
    pages.extend(names.filter(|name| *name != "help").map(|name| format!("gqos-{name}.1")));
    assert!(pages.len() > 10, "{pages:?}");
    for page in &pages {
        let text = std::fs::read_to_string(directory.path().join(page)).unwrap();
        assert!(text.contains(".SH SYNOPSIS"), "{page}:\n{text}");
        assert!(!text.contains("help(1)"), "{page}:\n{text}");
    }
    if !installed(&["mandoc"]) {
        return;
    }
    for page in &pages {
        let path = directory.path().join(page);
        let output = Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(path).output().unwrap();
        assert!(output.status.success() && output.stdout.is_empty(), "{page}: {output:?}");
    }
}

#[test]
fn a_page_marks_what_may_be_repeated() {
    let text = printed(&["man", "audit"]);
    assert!(text.contains("FILE...") && !text.contains("FILE......"), "{text}");
    assert!(!printed(&["man", "flowspec"]).contains("help(1)"));
}

#[test]
fn a_page_has_the_date_of_the_package() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gqos"));
    let output = command.args(["man", "connect"]).env("SOURCE_DATE_EPOCH", "86400").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("1970-01-02"), "{text}");
    assert_eq!(gqos(&["man", "nothing"]).status.code(), Some(2));
}

/// A shell reads the completions without an error, and what they offer contains the commands.
#[track_caller]
fn check_completions(shell: &str, script: &str, offered: &str) {
    if !installed(&[shell]) {
        return;
    }
    let text = printed(&["completions", shell]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("_gqos");
    std::fs::write(&file, &text).unwrap();
    let mut shell = Command::new(shell);
    shell.current_dir(directory.path()).env("HOME", directory.path());
    let mut child =
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && errors.is_empty(), "{output:?}");
    assert!(out.contains(offered), "{out}");
}

#[test]
fn the_completions_load_in_bash() {
    let script = "source ./_gqos\nCOMP_WORDS=(gqos che)\nCOMP_CWORD=1\n_gqos gqos che gqos\necho \"${COMPREPLY[@]}\"\n";
    check_completions("bash", script, "check");
}

#[test]
fn the_completions_load_in_zsh() {
    let script = "fpath=(. $fpath)\nautoload -U compinit\ncompinit -u -d ./dump\nautoload +X _gqos\nwhence -v _gqos\nprint $_comps[gqos]\n";
    check_completions("zsh", script, "_gqos");
}

#[test]
fn the_completions_load_in_fish() {
    check_completions("fish", "source ./_gqos\ncomplete -C 'gqos che'\n", "check");
}
