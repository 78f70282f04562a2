//! A policy with test files, and the program that runs them.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

pub(crate) const POLICY: &str = r#"
version = 1
[interface.eth0]
egress = { capacity = "100 Mbit/s", reservable = "80%" }
[template.hd]
sending = { service_type = "guaranteed", token_rate = "30 Mbit/s" }
[class.viewer]
share = "60 Mbit/s"
"#;

pub(crate) fn gqos(directory: &Path, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gqos"));
    command.current_dir(directory).args(arguments).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A program that ends without reading its input is judged by its output.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// A directory with the policy and a file with these tests.
pub(crate) fn with_tests(tests: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("p.toml"), POLICY).unwrap();
    std::fs::write(directory.path().join("a.qostest.toml"), format!("policy = \"p.toml\"\n{tests}")).unwrap();
    directory
}

/// Runs `gqos test` with these arguments. Each of the texts is on standard output or standard error.
#[track_caller]
pub(crate) fn check(tests: &str, arguments: &[&str], code: i32, texts: &[&str]) -> String {
    let directory = with_tests(tests);
    let output = gqos(directory.path(), &[&["test"], arguments].concat(), "");
    let all = format!(
        "{}{}",
        String::from_utf8(output.stdout.clone()).unwrap(),
        String::from_utf8(output.stderr).unwrap()
    );
    assert_eq!(output.status.code(), Some(code), "{all}");
    for text in texts {
        assert!(all.contains(text), "{text:?} is not in\n{all}");
    }
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) const GOOD: &str = r#"
[[test]]
name = "two fit"
tags = ["fit"]
[[test.step]]
connect = { id = "v{n}", repeat = 2, interface = "eth0", template = "hd", class = "viewer" }
expect = { decision = "admitted", available = "20 Mbit/s" }
"#;

pub(crate) const BAD: &str = r#"
[[test]]
name = "a <third> fits & more"
[[test.step]]
connect = { id = "v{n}", repeat = 3, interface = "eth0", template = "hd", class = "viewer" }
expect = { decision = "admitted" }
"#;
