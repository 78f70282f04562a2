//! Tests that reload another policy: its limits are named by its own lines, and it is covered by what follows.

use crate::qostest::gqos;

/// A policy with a class of so many flows, a class of an owner and a template, after some lines of comments.
fn policy(comments: usize, max_flows: u32) -> String {
    format!(
        "{}version = 1\n[interface.eth0]\negress = {{ capacity = \"10 Mbit/s\" }}\n[class.a]\nmax_flows = {max_flows}\n[class.www]\nmatch = {{ uid = 33 }}\n[template.t]\nsending = {{ service_type = \"guaranteed\", token_rate = \"1 Mbit/s\" }}\n",
        "# a comment\n".repeat(comments)
    )
}

/// Reloads the second policy and runs a step: the exit code and what is printed.
fn run(step: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("p1.toml"), policy(0, 9)).unwrap();
    std::fs::write(directory.path().join("p3.toml"), policy(3, 2)).unwrap();
    let text = format!(
        "policy = \"p1.toml\"\n[[test]]\nname = \"x\"\n[[test.step]]\nreload = \"p3.toml\"\n[[test.step]]\n{step}\n"
    );
    std::fs::write(directory.path().join("t.qostest.toml"), text).unwrap();
    let output = gqos(directory.path(), &[&["test", "."], arguments].concat(), "");
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[test]
fn a_limit_of_a_reloaded_policy_is_named_by_its_own_line() {
    let step = "connect = { id = \"v{n}\", repeat = 3, interface = \"eth0\", class = \"a\", template = \"t\" }\nexpect = { decision = \"admitted\" }";
    for format in ["text", "json", "github"] {
        let (code, text) = run(step, &["--format", format]);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("p3.toml:7") && !text.contains("p1.toml:"), "{format}: {text}");
    }
}

#[test]
fn a_reloaded_policy_is_covered_by_the_steps_after_it() {
    let step = "connect = { id = \"v\", interface = \"eth0\", uid = 33, template = \"t\" }\nexpect = { decision = \"admitted\" }";
    let (code, text) = run(step, &["--coverage"]);
    assert_eq!(code, Some(0), "{text}");
    let (own, reloaded) = text.split_once("p3.toml: ").unwrap();
    assert!(own.contains("p1.toml: 0% of 7 covered") && own.contains("not covered: class www"), "{text}");
    assert!(reloaded.starts_with("42% of 7 covered"), "{text}");
    for covered in ["class www", "template t", "interface eth0"] {
        assert!(!reloaded.contains(covered), "{covered}: {text}");
    }
    for uncovered in ["class a", "reason class_flows", "reason class_owner", "reason interface_budget"] {
        assert!(reloaded.contains(&format!("not covered: {uncovered}")), "{uncovered}: {text}");
    }
}
