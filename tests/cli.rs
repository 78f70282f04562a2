//! The commands' outward contract: exit codes, what goes to which stream, and what is said.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::{Command, Output};

fn gqos(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gqos")).current_dir(directory).args(arguments).output().unwrap()
}

/// Exit code, and what each stream contains; an empty text means an empty stream.
#[track_caller]
fn check(directory: &Path, arguments: &[&str], code: i32, stdout: &str, stderr: &str) {
    let output = gqos(directory, arguments);
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{out}\n{err}");
    for (stream, expected) in [(&out, stdout), (&err, stderr)] {
        assert_eq!(stream.is_empty(), expected.is_empty(), "{arguments:?}: {stream}");
        assert!(stream.contains(expected), "{arguments:?}: {expected:?} is not in\n{stream}");
    }
}

#[test]
fn check_tells_all_problems_with_their_places() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("good.toml", "version = 1\n[interface.eth0]\negress = { capacity = \"1 Gbit/s\" }\n");
    write("bad.toml", "version = 1\n[interface.eth0]\negres = { capacity = \"1 Gbps\" }\n");
    write(
        "warn.toml",
        "version = 1\n[interface.eth0]\negress = { capacity = \"1 Gbit/s\", reservable = \"100%\" }\n",
    );
    let here = directory.path();
    check(here, &["check", "good.toml"], 0, "", "");
    check(here, &["check", "warn.toml"], 0, "", "warning[GQ0101]");
    check(here, &["check", "bad.toml"], 78, "", "error[GQ0002]: interface.eth0 has no key \"egres\"");
    check(here, &["check", "bad.toml"], 78, "", "bad.toml:3:1");
    check(here, &["check", "bad.toml"], 78, "", "did you mean \"egress\"?");
    check(here, &["check", "bad.toml"], 78, "", "error[GQ0004]");
    check(here, &["check", "good.toml", "good.toml"], 78, "", "first defined here");
    let json = "{\"code\":\"GQ0002\",\"severity\":\"error\",\"message\":\"interface.eth0 has no key \\\"egres\\\"\",\"file\":\"bad.toml\",\"line\":3,\"column\":1,\"help\":\"did you mean \\\"egress\\\"?\"}\n";
    check(here, &["check", "--message-format", "json", "bad.toml"], 78, json, "");
    check(here, &["check", "absent.toml"], 71, "", "open absent.toml: No such file");
    std::fs::write(here.join("binary.toml"), b"version = 1\n\xff").unwrap();
    check(here, &["check", "binary.toml"], 78, "", "binary.toml: not UTF-8 from byte 12 on");
    check(here, &["check"], 2, "", "required");
}

#[test]
fn wrong_usage_is_2_and_help_names_the_exit_codes() {
    let here = Path::new(".");
    check(here, &[], 2, "", "Usage:");
    check(here, &["dance"], 2, "", "unrecognized subcommand");
    check(here, &["--help"], 0, "77 a privilege is missing", "");
    check(here, &["--version"], 0, "gqos ", "");
    check(here, &["demo", "--link", "100"], 2, "", "100 bit/s or 100 B/s");
    check(here, &["demo", "--link", "100 Mbps"], 2, "", "can be read in two ways");
    check(here, &["demo", "--viewers", "0"], 2, "", "1..=1000");
    check(here, &["demo", "--seconds", "1"], 2, "", "5..=3600");
    check(here, &["demo", "--media", "Cargo.toml"], 2, "", "Cargo.toml: ");
    check(here, &["demo", "--media", "absent.ts"], 71, "", "open absent.ts");
    check(here, &["demo", "--policy", "Cargo.toml"], 78, "", "not a valid policy");
}
