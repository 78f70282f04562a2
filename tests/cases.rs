//! Situations with their right values: each directory of `tests/cases` is one, named by what it shows.
//!
//! - `policy.toml`, `trace.jsonl` and `want.jsonl`: for each line of the trace, the fields of its decision that count.
//!   Ledger and manager decide the trace, and both have to decide as wanted.
//! - `*.qostest.toml` with the policies that it names: every test passes.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::policy;
use gqos::admission::{Decision, Ledger};
use gqos::manager::{DryRun, proven_error_terms};
use gqos::policy::Source;
use gqos::scenario::{Suite, TraceReader, Verdict, run_test};
use serde_json::Value;

/// What is wrong in a case, one line for each difference.
type Differences = Vec<String>;

#[test]
fn each_case_has_its_right_values() {
    let cases = directories();
    assert!(!cases.is_empty(), "no case was found");
    let mut wrong = Vec::new();
    for case in &cases {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let tests = test_files(case);
        let differences = match (case.join("trace.jsonl").exists(), tests.is_empty()) {
            (true, true) => run_trace(case),
            (false, false) => tests.iter().flat_map(|path| run_suite(path)).collect(),
            _ => vec!["a case has either a trace or tests".to_owned()],
        };
        wrong.extend(differences.into_iter().map(|difference| format!("{name}: {difference}")));
    }
    assert!(wrong.is_empty(), "{} differences in {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// A trace without its wanted values, or with fewer of them, would prove nothing.
#[test]
fn a_difference_is_found() {
    let check = |wanted: &str, found: &str, differs: bool| {
        let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let result = difference("", &parsed(wanted), &parsed(found));
        assert_eq!(result.is_some(), differs, "{wanted} and {found}: {result:?}");
    };
    check(r#"{"ok": true}"#, r#"{"ok": true, "id": "a"}"#, false);
    check(r#"{"ok": true}"#, r#"{"ok": false}"#, true);
    check(r#"{"notified": ["a"]}"#, r#"{"notified": ["a", "b"]}"#, true);
    check(r#"{"notified": null}"#, r#"{"ok": true}"#, false);
    check(
        r#"{"reserved": {"eth0": {"sending": 1}}}"#,
        r#"{"reserved": {"eth0": {"sending": 1, "receiving": 2}}}"#,
        false,
    );
    check(r#"{"reserved": {"eth1": {"sending": 1}}}"#, r#"{"reserved": {"eth0": {"sending": 1}}}"#, true);
}

fn directories() -> Vec<PathBuf> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut found: Vec<_> = std::fs::read_dir(all).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort_unstable();
    found
}

fn test_files(case: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(case).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.to_string_lossy().ends_with(".qostest.toml")).collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn run_trace(case: &Path) -> Differences {
    let policy = policy(&read(&case.join("policy.toml")));
    let (trace, wanted) = (read(&case.join("trace.jsonl")), read(&case.join("want.jsonl")));
    let mut reader = TraceReader::new(&policy);
    let lines: Vec<_> = trace.lines().filter_map(|line| reader.read(line).unwrap()).collect();
    let wanted: Vec<Value> = wanted.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    if lines.len() != wanted.len() {
        return vec![format!("{} lines and {} wanted decisions", lines.len(), wanted.len())];
    }
    let mut ledger = Ledger::proving(policy.clone(), proven_error_terms);
    let mut manager = DryRun::new(policy.clone());
    let mut differences = Vec::new();
    for (number, (line, wanted)) in lines.into_iter().zip(&wanted).enumerate() {
        let mut compare = |by: &str, decision: &Decision| {
            let found = serde_json::to_value(decision).unwrap();
            if let Some(difference) = difference("", wanted, &found) {
                let message = decision.message();
                differences.push(format!("line {}, {by}: {difference} ({message})", number + 1));
            }
        };
        compare("ledger", &line.decide_by_ledger(&mut ledger));
        ledger.invariants();
        compare("manager", &line.decide_by_manager(&mut manager));
        manager.invariants();
    }
    differences
}

fn run_suite(path: &Path) -> Differences {
    let directory = path.parent().unwrap();
    let (name, text) = (path.display().to_string(), read(path));
    let suite = Suite::parse(&Source { name: &name, text: &text });
    let suite = suite.unwrap_or_else(|problems| panic!("{name}: {problems:#?}"));
    let loaded = suite
        .policies()
        .into_iter()
        .map(|policy_name| (policy_name.to_owned(), policy(&read(&directory.join(policy_name)))));
    let policies: BTreeMap<_, _> = loaded.collect();
    let mut differences = Vec::new();
    for test in &suite.tests {
        let named = test.policy.as_ref().or(suite.policy.as_ref()).unwrap();
        let outcome = run_test(test, &policies[named], &policies, None);
        if outcome.verdict != Verdict::Ok {
            differences.push(format!("{}: {:#?}", test.name, outcome.verdict));
        }
    }
    differences
}

/// How a wanted value differs from what was found, whose objects may have more fields. A wanted `null` stands for a
/// field that is absent.
fn difference(path: &str, wanted: &Value, found: &Value) -> Option<String> {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => wanted.iter().find_map(|(key, value)| {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            difference(&path, value, found.get(key).unwrap_or(&Value::Null))
        }),
        _ => (wanted != found).then(|| format!("{path}: expected {wanted}, found {found}")),
    }
}
