//! Files that are not UTF-8.

use crate::qostest::{gqos, with_tests};

/// Reports have the path of a file beside its problem.
#[test]
fn a_file_that_is_not_text_is_named_once() {
    let directory = with_tests("");
    std::fs::write(directory.path().join("a.qostest.toml"), b"policy = \"p.toml\" # \xff").unwrap();
    std::fs::write(directory.path().join("b.qostest.toml"), "policy = \"binary.toml\"\n").unwrap();
    std::fs::write(directory.path().join("binary.toml"), b"version = 1 # \xff").unwrap();
    let report = |format: &str| {
        let output = gqos(directory.path(), &["test", ".", "--format", format], "");
        assert_eq!(output.status.code(), Some(78));
        String::from_utf8(output.stdout).unwrap()
    };
    let junit = report("junit");
    assert!(junit.contains("a.qostest.toml:1:1: not UTF-8 from byte 20 on"), "{junit}");
    let github = report("github");
    let line = github.lines().find(|line| line.contains("not UTF-8 from byte 20")).unwrap();
    assert_eq!(line.matches("a.qostest.toml").count(), 1, "{line}");
    assert!(github.contains("policy \"binary.toml\": not UTF-8 from byte 14 on"), "{github}");
}
