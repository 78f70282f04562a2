//! `gqos test`: where reports go, and what they say of ladders, groups and misspelt actions.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[path = "common/qostest.rs"]
#[expect(dead_code, reason = "each test file uses its part")]
mod qostest;

use qostest::{GOOD, POLICY, gqos, with_tests};

#[test]
fn a_comparison_names_the_renditions_of_a_ladder() {
    let tests = "[[test]]\nname = \"x\"\n[[test.step]]\n\
        connect = { id = \"v\", interface = \"eth0\", templates = [\"hd\", \"sd\"] }\nexpect = { flows = 1 }\n";
    let directory = with_tests(tests);
    let own = format!(
        "{POLICY}[template.sd]\nsending = {{ service_type = \"guaranteed\", token_rate = \"5 Mbit/s\" }}\n"
    );
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("p.toml", &own);
    write("r.toml", &own.replace("80%", "10%"));
    let output = gqos(directory.path(), &["test", ".", "--against", "r.toml"], "");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("templates hd, sd: 1 × admitted as hd → admitted as sd\n"), "{text}");
}

#[test]
fn a_report_that_cannot_be_written_is_refused_before_the_run() {
    let directory = with_tests(GOOD);
    let run = |out: &str| gqos(directory.path(), &["test", ".", "--out", out], "");
    let output = run("junit=nowhere/x.xml");
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(71), true), "{message}");
    assert!(message.starts_with("gqos: write (nowhere/x.xml): "), "{message}");
    assert_eq!(run("tap=/dev/null").status.code(), Some(0));
    assert_eq!(run("pdf=x").status.code(), Some(2));
    assert_eq!(run("tap=").status.code(), Some(2));
}

#[test]
fn a_member_of_a_group_covers_the_class_of_its_group() {
    let tests = "[[test]]\nname = \"x\"\n[[test.step]]\n\
        connect = { id = \"v\", interface = \"eth0\", template = \"hd\", group = \"shared\" }\nexpect = { flows = 1 }\n";
    let directory = with_tests(tests);
    let group = "[group.shared]\ninterface = \"eth0\"\nclass = \"viewer\"\n\
        sending = { service_type = \"guaranteed\", token_rate = \"60 Mbit/s\" }\n";
    std::fs::write(directory.path().join("p.toml"), format!("{POLICY}{group}")).unwrap();
    let output = gqos(directory.path(), &["test", ".", "--coverage", "--format", "json"], "");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let covered = json["coverage"][0]["covered"].as_array().unwrap();
    assert!(["group shared", "class viewer"].iter().all(|item| covered.contains(&(*item).into())), "{json}");
}

#[test]
fn a_misspelt_action_is_one_problem() {
    let step = "[[test]]\nname = \"x\"\n[[test.step]]\nconect = { id = \"a\" }\nexpect = { flows = 0 }\n";
    let output = gqos(with_tests(step).path(), &["test", ".", "--format", "github"], "");
    let text = String::from_utf8(output.stdout).unwrap();
    let problems: Vec<_> = text.lines().filter(|line| line.starts_with("::error")).collect();
    assert!(matches!(problems[..], [problem] if problem.contains("\"conect\"")), "{text}");
}
