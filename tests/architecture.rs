//! Which room may name what: the rules of docs/ARCHITECTURE.md, as a test.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};

/// Every source file below these paths, with its text up to its tests.
fn sources(paths: &[&str]) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pending: Vec<_> = paths.iter().map(|path| root.join(path)).collect();
    let mut found = Vec::new();
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            // Comments may speak of anything.
            let code = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>();
            found.push((path.strip_prefix(root).unwrap().to_owned(), code.join("\n")));
        }
    }
    assert!(!found.is_empty(), "{paths:?}");
    found
}

/// No file below `rooms`, but for those in `but`, contains any of the words.
#[track_caller]
fn check(rule: &str, rooms: &[&str], words: &[&str], but: &[&str]) {
    for (path, code) in sources(rooms) {
        if but.iter().any(|allowed| path.starts_with(allowed)) {
            continue;
        }
        for word in words {
            // `nix::` is not in `unix::`.
            let named = code.match_indices(word).any(|(at, _)| !code[..at].ends_with(char::is_alphanumeric));
            assert!(!named, "{rule}: {} names {word}", path.display());
        }
    }
}

const ROOMS: &[&str] = &["src/policy", "src/admission", "src/tc", "src/manager", "src/scenario"];

#[test]
fn the_vocabulary_knows_no_io_no_clock_no_async() {
    let words = [
        "tokio", "std::net", "std::fs", "std::env", "std::io", "Instant", "async ", "f32", "f64", "unsafe {",
    ];
    check("rule 1", &["flowspec/src"], &words, &[]);
}

#[test]
fn the_pure_rooms_touch_nothing() {
    let words = ["tokio", "nix::", "rtnetlink", "std::net", "std::fs", "std::env", "Instant", "async "];
    check("rule 2", ROOMS, &words, &[]);
}

#[test]
fn one_room_names_the_kernel() {
    check("rule 3", &["src"], &["nix::", "rtnetlink"], &["src/linux"]);
    check("rule 3", &["shaper/src"], &["nix::"], &["shaper/src/sys.rs"]);
}

#[test]
fn rooms_know_only_what_is_below_them() {
    let above = ["crate::manager", "crate::connect", "crate::linux", "crate::lab"];
    check("policy", &["src/policy"], &[&above[..], &["crate::admission", "crate::tc"]].concat(), &[]);
    check("admission", &["src/admission"], &[&above[..], &["crate::tc"]].concat(), &[]);
    check("tc", &["src/tc"], &[&above[..], &["crate::policy", "socket"]].concat(), &[]);
    check("manager", &["src/manager"], &above[1..], &[]);
    check("scenario", &["src/scenario"], &[&above[1..], &["crate::tc"]].concat(), &[]);
    let below = ["src/policy", "src/admission", "src/tc", "src/manager", "src/linux", "src/connect"];
    check("nothing decides by scenarios", &below, &["crate::scenario"], &[]);
    check(
        "linux",
        &["src/linux"],
        &["crate::policy", "crate::admission", "crate::manager", "crate::connect"],
        &[],
    );
    check("connect", &["src/connect"], &["crate::lab"], &[]);
    check("winsock", &["winsock/src"], &["gqos::lab", "gqos::tc"], &[]);
    check("winsock", &["winsock/src"], &["nix::"], &["winsock/src/sys"]);
    check("nothing knows the command line", &["src"], &["crate::cli"], &["src/main.rs", "src/cli"]);
}

#[test]
fn anyhow_is_for_the_binary() {
    check("rule 5", &["src", "flowspec/src", "shaper/src"], &["anyhow"], &["src/cli", "src/main.rs"]);
}

#[test]
fn the_clock_of_the_shaper_is_read_in_one_file() {
    check("rule 6", &["shaper/src"], &["Instant::now"], &["shaper/src/clock.rs"]);
}

#[test]
fn files_hold_one_concept() {
    for (path, code) in sources(&["src", "flowspec/src", "shaper/src", "winsock/src"]) {
        let lines = code.lines().count();
        assert!(lines <= 600, "{} has {lines} lines of code: split it by concept", path.display());
    }
}
