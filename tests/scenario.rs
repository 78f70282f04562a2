//! `gqos test` and `gqos replay`: exit codes, reports and messages.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/qostest.rs"]
mod qostest;

use std::path::Path;

use qostest::{BAD, GOOD, POLICY, check, gqos, with_tests};

#[test]
fn passes_and_failures_are_reported() {
    check(GOOD, &["."], 0, &["a.qostest.toml:3 two fit ... ok", "1 passed, 0 failed, 0 skipped"]);
    let failed = [
        "a.qostest.toml:3 a <third> fits & more ... FAILED",
        "a.qostest.toml:7:12: decision: expected admitted, found refused",
        "7 | expect = { decision = \"admitted\" }",
        "|            ^^^^^^^^",
        "v3: WSAEOPNOTSUPP (10045), eth0 sending, class viewer: 30 Mbit/s asked, 60 Mbit/s reserved of 60 Mbit/s",
        "decided by ./p.toml:7",
        "eth0 sending: 60 Mbit/s reserved of 80 Mbit/s, 20 Mbit/s available",
        "v1, v2 (× 2): sending 30 Mbit/s, receiving 0 bit/s",
    ];
    check(BAD, &["."], 1, &failed);
}

#[test]
fn tests_are_chosen_by_name_and_tag_and_running_none_is_a_failure() {
    let both = format!("{GOOD}{BAD}");
    check(&both, &[".", "--run", "^two"], 0, &["1 passed"]);
    check(&both, &[".", "--tag", "fit"], 0, &["1 passed"]);
    check(&both, &[".", "--tag", "other"], 1, &["no test was run: --run and --tag leave out all 2 tests"]);
    check(&both, &[".", "--tag", "other", "--allow-empty"], 0, &["0 passed"]);
    check(&both, &[".", "--run", "("], 2, &["--run"]);
    check(&format!("{BAD}{GOOD}"), &[".", "--fail-fast"], 1, &["0 passed, 1 failed"]);
    let orders: std::collections::BTreeSet<_> = (0..8)
        .map(|seed| check(&both, &[".", "--shuffle", "--seed", &seed.to_string()], 1, &["shuffled"]))
        .collect();
    assert_eq!(orders.len(), 2, "both orders come up");
}

#[test]
fn reports_are_well_formed() {
    let both = format!(
        "{GOOD}{BAD}\n[[test]]\nname = \"measured\"\n[[test.step]]\nconnect = {{ id = \"v1\", interface = \"eth0\" }}\n[[test.step]]\ntransfer = {{ id = \"v1\" }}\nexpect = {{ rate = \"1 Mbit/s\" }}\n"
    );
    let junit = check(&both, &[".", "--format", "junit"], 1, &[]);
    let document = roxmltree::Document::parse(&junit).unwrap();
    let suites = document.root_element();
    assert_eq!((suites.attribute("tests"), suites.attribute("failures")), (Some("3"), Some("1")));
    let cases: Vec<_> = suites.descendants().filter(|node| node.has_tag_name("testcase")).collect();
    assert_eq!(cases[1].attribute("name"), Some("a <third> fits & more"));
    assert!(cases[1].first_element_child().unwrap().has_tag_name("failure"));
    assert!(cases[2].first_element_child().unwrap().has_tag_name("skipped"));
    let json: serde_json::Value =
        serde_json::from_str(&check(&both, &[".", "--format", "json"], 1, &[])).unwrap();
    assert_eq!(json["tests"][1]["failure"]["what"], "decision");
    assert_eq!(cases[1].attribute("file"), Some("./a.qostest.toml"));
    assert_eq!(cases[1].attribute("line").map(str::to_owned), Some(json["tests"][1]["line"].to_string()));
    let micros = |node: &roxmltree::Node<'_, '_>| {
        let (seconds, rest) = node.attribute("time").unwrap().split_once('.').unwrap();
        assert_eq!(rest.len(), 6, "seconds with six decimals");
        format!("{seconds}{rest}").parse::<u64>().unwrap()
    };
    let (sum, all): (u64, u64) = (cases.iter().map(micros).sum(), micros(&suites));
    // Each time is rounded down by itself.
    assert!(sum > 0 && sum <= all && all - sum <= 3, "{sum} us of {all} us");
    assert_eq!((&json["passed"], &json["failed"], &json["skipped"]), (&1.into(), &1.into(), &1.into()));
    let tap = check(&both, &[".", "--format", "tap"], 1, &[]);
    assert!(
        tap.starts_with("TAP version 13\n1..3\nok 1 - two fit\nnot ok 2 - a <third> fits & more\n# "),
        "{tap}"
    );
    assert!(
        tap.ends_with(
            "ok 3 - measured # SKIP a transfer is measured on a private network: run it with --lab\n"
        ),
        "{tap}"
    );
    let github = check(&both, &[".", "--format", "github"], 1, &[]);
    assert!(
        github.starts_with("::error file=./a.qostest.toml,line=14,col=12,title=a <third> fits & more::"),
        "{github}"
    );
    assert_eq!(github.lines().count(), 1, "line breaks are escaped");
}

#[test]
fn uncovered_items_are_listed() {
    check(GOOD, &[".", "--coverage"], 0, &["p.toml: 60% of 5 covered", "not covered: reason class_share"]);
    check(GOOD, &[".", "--min-coverage", "60"], 0, &[]);
    check(GOOD, &[".", "--min-coverage", "61"], 1, &["60% is less than --min-coverage 61"]);
}

/// An option that would be ignored is refused.
#[test]
fn a_format_is_refused_where_there_is_no_report() {
    check(GOOD, &[".", "--bless", "--format", "json"], 2, &["cannot be used with"]);
    check(GOOD, &[".", "--bless", "--lab"], 2, &["cannot be used with"]);
    check(GOOD, &["p.toml", "--record", "t", "--format", "json"], 2, &["cannot be used with"]);
}

#[test]
fn invalid_test_files_are_refused_with_places() {
    let step = |step: &str| format!("[[test]]\nname = \"x\"\n[[test.step]]\n{step}\n");
    check(
        &step("conect = { id = \"a\" }"),
        &["."],
        78,
        &["error[GQ0002]", "a.qostest.toml:5:1", "did you mean \"connect\"?"],
    );
    check(
        &step("connect = { id = \"a\" }"),
        &["."],
        78,
        &["error[GQ0004]", "test.step.connect needs interface"],
    );
    check(
        &step("close = \"a\"").replace("\"x\"", "\"x\\ny\""),
        &["."],
        78,
        &["error[GQ0006]", "test.name: '\\n' is not allowed"],
    );
    check(&step("at = \"1\"\nclose = \"a\""), &["."], 78, &["error[GQ0005]", "1 ms (1000 us) or 1 s"]);
    check(
        &step("close = \"a\"\ncrash = \"b\""),
        &["."],
        78,
        &["error[GQ0011]", "a step has one action, and this one has 2"],
    );
    check(&step("close = { id = \"a\", repeat = 3 }"), &["."], 78, &["would be the id of 3 flows"]);
    check(
        &step("close = \"a\"\nexpect = { decision = \"yes\" }"),
        &["."],
        78,
        &["\"yes\" is not one of admitted, refused"],
    );
    check(
        &format!("{GOOD}{GOOD}"),
        &["."],
        78,
        &["error[GQ0009]", "another test is called \"two fit\" already", "first defined here"],
    );
    check(
        "[[test]]\nname = \"x\"\npolicy = \"absent.toml\"\n[[test.step]]\nwait = \"1 s\"\nexpect = { flows = 0 }",
        &["."],
        71,
        &["open (./absent.toml)"],
    );
    check(&step("reload = \"absent.toml\"\nexpect = { flows = 0 }"), &["."], 71, &["open (./absent.toml)"]);
    check("x = [", &["."], 78, &["error[GQ0001]"]);
    check("", &["nowhere"], 71, &["open (nowhere)"]);
    check("", &["."], 1, &["no test was run: the files have no test"]);
}

#[test]
fn expectations_that_do_not_hold_are_failures() {
    let fails = |step: &str, text: &str| {
        check(&format!("[[test]]\nname = \"x\"\n[[test.step]]\n{step}\n"), &["."], 1, &[text]);
    };
    let connect = "connect = { id = \"a\", interface = \"eth0\", template = \"hd\" }\n";
    fails(
        &format!("{connect}expect = {{ available = \"1 bit/s\" }}").replace("1 bit/s", "8 bit/s"),
        "available (eth0 sending): expected 8 bit/s, found 50 Mbit/s",
    );
    fails(&format!("{connect}expect = {{ reason = \"delay\" }}"), "reason: expected delay, found none");
    fails(&format!("{connect}expect = {{ preempted = [\"a\"] }}"), "preempted: expected [\"a\"], found []");
    fails(
        &format!("{connect}expect = {{ charged = {{ receiving = \"8 bit/s\" }} }}"),
        "charged (eth0 receiving)",
    );
    fails(&format!("{connect}expect = {{ flows = 2 }}"), "flows: expected 2, found 1");
    fails("wait = \"1 s\"\nexpect = { decision = \"admitted\" }", "this step decides nothing");
}

#[test]
fn a_step_that_waits_ends_so_much_later_than_it_begins() {
    let connect =
        "at = \"1 s\"\nconnect = { id = \"a\", interface = \"eth0\", template = \"hd\", ttl = \"5 s\" }\n";
    for (time, wait, flows) in [
        ("at = \"2 s\"\n", "3999 ms", 1),
        ("at = \"2 s\"\n", "4 s", 0),
        ("after = \"2 s\"\n", "2999 ms", 1),
        ("after = \"2 s\"\n", "3 s", 0),
        ("", "4999 ms", 1),
        ("", "5 s", 0),
    ] {
        let steps = format!(
            "[[test]]\nname = \"x\"\n[[test.step]]\n{connect}[[test.step]]\n{time}wait = \"{wait}\"\nexpect = {{ flows = {flows} }}\n"
        );
        check(&steps, &["."], 0, &[]);
    }
    let early = "[[test]]\nname = \"x\"\n[[test.step]]\nat = \"1 s\"\nwait = \"1 s\"\nexpect = { flows = 0 }\n[[test.step]]\nat = \"1999 ms\"\nwait = \"1 s\"\n";
    check(early, &["."], 78, &["at goes back: the step before is at 2 s, and this one at 1.999 s"]);
}

#[test]
fn expectations_that_do_not_hold_are_rewritten() {
    let wrong = BAD.replace("repeat = 3, ", "").replace("admitted", "refused");
    let directory = with_tests(&wrong);
    let path = directory.path().join("a.qostest.toml");
    let run =
        |arguments: &[&str]| gqos(directory.path(), &[&["test", "."], arguments].concat(), "").status.code();
    assert_eq!(run(&[]), Some(1));
    assert_eq!(run(&["--bless"]), Some(0));
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("expect = { decision = \"admitted\" }"), "{text}");
    assert_eq!(
        text,
        format!("policy = \"p.toml\"\n{wrong}").replace("refused", "admitted"),
        "the rest is unchanged"
    );
    assert_eq!((run(&[]), run(&["--bless"])), (Some(0), Some(0)), "nothing is left to rewrite");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2, "no other file is left");
}

#[test]
fn a_trace_becomes_a_test() {
    let directory = with_tests("");
    let trace = "{\"at_us\":0,\"op\":\"reserve\",\"id\":\"a \\\"b\\\"\",\"interface\":\"eth0\",\"template\":\"hd\",\"class\":\"viewer\",\"ttl_us\":9}\n\
                 {\"at_us\":3,\"op\":\"reserve\",\"id\":\"c\",\"interface\":\"eth0\",\"sending\":{\"service_type\":\"guaranteed\",\"token_rate\":7500000,\"peak_bandwidth\":\"infinite\"},\"start_us\":20,\"end_us\":30}\n\
                 {\"at_us\":4,\"op\":\"capacity\",\"interface\":\"eth0\",\"direction\":\"ingress\",\"capacity\":125000}\n\
                 {\"at_us\":25,\"op\":\"release\",\"id\":\"a\"}\n";
    std::fs::write(directory.path().join("t.jsonl"), trace).unwrap();
    let output = gqos(directory.path(), &["test", "--record", "t.jsonl", "p.toml"], "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::write(directory.path().join("a.qostest.toml"), &output.stdout).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("template = \"hd\"") && text.contains("reason = \"unknown_id\""), "{text}");
    let run = gqos(directory.path(), &["test", "."], "");
    assert!(run.status.success(), "{}\n{text}", String::from_utf8_lossy(&run.stdout));
}

#[test]
fn a_trace_with_groups_becomes_a_test() {
    let directory = with_tests("");
    let trace = "{\"at_us\":0,\"op\":\"group\",\"id\":\"g\",\"interface\":\"eth0\",\"class\":\"viewer\",\"mode\":\"shared\",\"template\":\"hd\"}\n\
                 {\"at_us\":1,\"op\":\"group\",\"id\":\"e\",\"interface\":\"eth0\",\"sending\":{\"service_type\":\"guaranteed\",\"token_rate\":1000}}\n\
                 {\"at_us\":2,\"op\":\"group\",\"id\":\"e\",\"interface\":\"eth0\",\"mode\":\"shared\",\"template\":\"absent\"}\n\
                 {\"at_us\":3,\"op\":\"reserve\",\"id\":\"m\",\"interface\":\"eth0\",\"group\":\"g\",\"template\":\"hd\"}\n\
                 {\"at_us\":4,\"op\":\"ungroup\",\"id\":\"g\"}\n\
                 {\"at_us\":5,\"op\":\"ungroup\",\"id\":\"absent\"}\n\
                 {\"at_us\":6,\"op\":\"release\",\"id\":\"m\"}\n";
    std::fs::write(directory.path().join("t.jsonl"), trace).unwrap();
    let output = gqos(directory.path(), &["test", "--record", "t.jsonl", "p.toml"], "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    std::fs::write(directory.path().join("a.qostest.toml"), &text).unwrap();
    for line in [
        "mode = \"shared\"",
        "ungroup = \"g\"",
        "reason = \"unknown_template\"",
        "reason = \"unknown_group\"",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    let run = gqos(directory.path(), &["test", "."], "");
    assert!(run.status.success(), "{}\n{text}", String::from_utf8_lossy(&run.stdout));
}

#[test]
fn a_reload_keeps_admitted_flows() {
    let directory = with_tests(
        "[[test]]\nname = \"x\"\n\
         [[test.step]]\nconnect = { id = \"a\", interface = \"eth0\", template = \"hd\" }\n\
         [[test.step]]\nreload = \"small.toml\"\nexpect = { reserved = \"30 Mbit/s\", available = \"0 bit/s\" }\n\
         [[test.step]]\nconnect = { id = \"b\", interface = \"eth0\", template = \"hd\" }\nexpect = { decision = \"refused\" }\n\
         [[test.step]]\nclose = \"a\"\nexpect = { available = \"24 Mbit/s\" }\n",
    );
    std::fs::write(directory.path().join("small.toml"), POLICY.replace("100 Mbit/s", "30 Mbit/s")).unwrap();
    let output = gqos(directory.path(), &["test", "."], "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// The timeouts of the policy that a step reloads may be over by then; those of the policy before may be as well.
#[test]
fn a_reload_reports_the_flows_that_it_ends() {
    let steps = |seconds: u64, expect: &str| {
        format!(
            "[[test]]\nname = \"after {seconds} s\"\n\
             [[test.step]]\nconnect = {{ id = \"v{{n}}\", repeat = 2, interface = \"eth0\", template = \"hd\", class = \"viewer\" }}\n\
             [[test.step]]\nconnect = {{ id = \"w\", interface = \"eth0\", template = \"hd\", class = \"viewer\", wait = true }}\n\
             [[test.step]]\npeer = {{ id = \"v1\", state = \"silent\" }}\n\
             [[test.step]]\npeer = {{ id = \"v2\", state = \"stalled\" }}\n\
             [[test.step]]\nat = \"{seconds} s\"\nreload = \"hasty.toml\"\nexpect = {{ {expect} }}\n"
        )
    };
    let tests = [
        steps(4, "dead = [], stalled = [], notified = [], flows = 2"),
        steps(10, "dead = [\"v1\"], stalled = [], expired = [], notified = [\"w\"], flows = 1"),
        steps(20, "dead = [\"v1\"], stalled = [\"v2\"], notified = [\"w\"], flows = 0"),
        steps(40, "dead = [\"v1\"], stalled = [\"v2\"], notified = [\"w\"], flows = 0"),
    ];
    let directory = with_tests(&tests.concat());
    let hasty =
        POLICY.replacen("version = 1", "version = 1\ndead_after = \"5 s\"\nstalled_after = \"15 s\"", 1);
    std::fs::write(directory.path().join("hasty.toml"), hasty).unwrap();
    let output = gqos(directory.path(), &["test", "."], "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn the_examples_pass_and_cover_their_policies() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = gqos(root, &["test", "examples/policies", "--min-coverage", "100"], "");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains(" 0 failed, 0 skipped"), "{text}");
}

#[test]
fn a_trace_gives_one_decision_per_line() {
    let directory = with_tests("");
    let trace = "\
{\"at_us\":0,\"op\":\"reserve\",\"id\":\"a\",\"interface\":\"eth0\",\"template\":\"hd\",\"class\":\"viewer\",\"ttl_us\":10}

{\"at_us\":1,\"op\":\"reserve\",\"id\":\"b\",\"interface\":\"eth0\",\"sending\":{\"service_type\":\"guaranteed\",\"token_rate\":7500000,\"peak_bandwidth\":\"infinite\"}}
{\"at_us\":1,\"op\":\"reserve\",\"id\":\"c\",\"interface\":\"eth0\",\"template\":\"uhd\"}
{\"at_us\":2,\"op\":\"refresh\",\"id\":\"a\",\"ttl_us\":8}
{\"at_us\":10,\"op\":\"tick\"}
{\"at_us\":11,\"op\":\"release\",\"id\":\"a\"}
{\"at_us\":11,\"op\":\"query\",\"interface\":\"eth0\"}
";
    let output = gqos(directory.path(), &["replay", "--policy", "p.toml", "-"], trace);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 7);
    let first = r#"{"at_us":0,"op":"reserve","id":"a","ok":true,"error":null,"code":0,"status":null,"reason":null,"message":"eth0: admitted, sending 30 Mbit/s and receiving 0 bit/s","charged":{"sending":3750000,"receiving":0},"reserved":{"eth0":{"sending":3750000,"receiving":0}},"available":{"eth0":{"sending":6250000,"receiving":10000000}},"preempted":[],"shed":[],"rendition":"hd"}"#;
    assert_eq!(text.lines().next(), Some(first));
    assert_eq!(
        (&lines[1]["reason"], &lines[1]["would_fit"]),
        (&"interface_budget".into(), &6_250_000.into())
    );
    assert_eq!((&lines[2]["reason"], &lines[2]["code"]), (&"unknown_template".into(), &10045.into()));
    assert_eq!(
        (&lines[4]["expired"], &lines[4]["id"]),
        (&serde_json::json!(["a"]), &serde_json::Value::Null)
    );
    assert_eq!((&lines[5]["reason"], &lines[5]["error"]), (&"unknown_id".into(), &"WSAEINVAL".into()));
    assert_eq!(lines[6]["available"]["eth0"]["sending"], 10_000_000);
    let again = gqos(directory.path(), &["replay", "--policy", "p.toml"], trace);
    assert_eq!(String::from_utf8(again.stdout).unwrap(), text, "byte for byte");
}

/// A trace whose second line is this one ends there.
#[track_caller]
fn ends_a_replay(line: &str, text: &str) {
    let directory = with_tests("");
    let trace = format!("{{\"at_us\":5,\"op\":\"tick\"}}\n{line}\n");
    let output = gqos(directory.path(), &["replay", "-p", "p.toml"], &trace);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{message}");
    assert!(
        message.starts_with("gqos: standard input:2: ") && message.contains(text),
        "{text:?} is not in {message}"
    );
    assert_eq!(
        output.stdout.iter().filter(|&&byte| byte == b'\n').count(),
        1,
        "decisions before the bad line are printed"
    );
}

#[test]
fn an_invalid_line_ends_a_replay_with_its_number() {
    let check = ends_a_replay;
    check("x", "not a JSON object: expected value, at column 1");
    check("{\"at_us\":4,\"op\":\"tick\"}", "at_us goes back from 5 to 4");
    let array = format!("[5,\"tick\"{}]", ",null".repeat(25));
    check(&array, "2: an array, expected a JSON object");
    check("5", "2: invalid type: integer `5`, expected a JSON object");
    check("\"tick\"", "2: invalid type: string \"tick\", expected a JSON object");
    let flow = "{\"at_us\":5,\"op\":\"reserve\",\"id\":\"a\",\"interface\":\"eth0\"";
    check(
        &format!("{flow},\"sending\":{{\"service_type\":\"guaranteed\",\"token_rate\":\"6M\"}}}}"),
        "2: sending.token_rate: invalid type: string \"6M\", expected a whole number",
    );
    check(&format!("{flow},\"sending\":[\"guaranteed\"]}}"), "2: sending: an array, expected a JSON object");
    check(
        &format!("{flow},\"sending\":5}}"),
        "2: sending: invalid type: integer `5`, expected a JSON object",
    );
    check(
        &format!("{flow},\"uid\":\"root\"}}"),
        "2: uid: invalid type: string \"root\", expected a whole number",
    );
    check("{\"at_us\":5,\"op\":\"dance\"}", "unknown variant");
    check("{\"at_us\":5,\"op\":\"tick\",\"extra\":1}", "unknown field");
    check("{\"at_us\":5,\"op\":\"release\"}", "\"release\" needs \"id\"");
    check("{\"at_us\":-1,\"op\":\"tick\"}", "invalid value");
    check(
        "{\"at_us\":5,\"op\":\"reserve\",\"id\":\"a\",\"interface\":\"eth0\",\"template\":\"hd\",\"sending\":{\"service_type\":\"best_effort\"}}",
        "give one or the other",
    );
    check(
        "{\"at_us\":5,\"op\":\"reserve\",\"id\":\"a\",\"interface\":\"eth0\",\"setup_priority\":8}",
        "not between 0 (best) and 7",
    );
    check(
        &format!("{{\"at_us\":5,\"op\":\"release\",\"id\":\"{}\"}}", "x".repeat(70_000)),
        "more than 65536 bytes",
    );
}

#[test]
fn a_field_that_an_operation_does_not_use_ends_a_replay() {
    let flow = "\"interface\":\"eth0\",\"template\":\"hd\"";
    for (fields, text) in [
        (
            "\"op\":\"tick\",\"sending\":{\"service_type\":\"best_effort\"}",
            "\"tick\" does not use \"sending\"",
        ),
        ("\"op\":\"refresh\",\"id\":\"a\",\"ttl_us\":1,\"wait\":false", "\"refresh\" does not use \"wait\""),
        ("\"op\":\"release\",\"id\":\"a\",\"end_us\":5", "\"release\" does not use \"end_us\""),
        ("\"op\":\"ungroup\",\"id\":\"a\",\"mode\":\"shared\"", "\"ungroup\" does not use \"mode\""),
        (
            "\"op\":\"renegotiate\",\"id\":\"a\",\"templates\":[\"hd\"]",
            "\"renegotiate\" does not use \"templates\"",
        ),
        ("\"op\":\"peer\",\"id\":\"a\",\"state\":\"gone\",\"ttl_us\":1", "\"peer\" does not use \"ttl_us\""),
        ("\"op\":\"capacity\",\"interface\":\"eth0\",\"class\":\"a\"", "\"capacity\" does not use \"class\""),
        ("\"op\":\"measure\",\"id\":\"a\"", "\"measure\" does not use \"id\""),
        (&format!("\"op\":\"group\",\"id\":\"a\",\"end_us\":1,{flow}"), "\"group\" does not use \"end_us\""),
        (
            &format!("\"op\":\"group\",\"id\":\"a\",\"client\":\"c\",{flow}"),
            "\"group\" does not use \"client\"",
        ),
        (
            &format!("\"op\":\"reserve\",\"id\":\"a\",\"capacity\":1,{flow}"),
            "\"reserve\" does not use \"capacity\"",
        ),
        (&format!("\"op\":\"query\",\"wait\":true,{flow}"), "\"query\" does not use \"wait\""),
        (&format!("\"op\":\"reserve\",\"id\":\"\",{flow}"), "\"reserve\" needs \"id\""),
        (&format!("\"op\":\"group\",\"id\":\"\",{flow}"), "\"group\" needs \"id\""),
        (
            "\"op\":\"reserve\",\"id\":\"a\",\"interface\":\"eth0\",\"templates\":[]",
            "templates is empty, and an empty list matches nothing",
        ),
        (
            "\"op\":\"group\",\"id\":\"a\",\"interface\":\"eth0\",\"templates\":[\"hd\",\"uhd\"]",
            "\"group\" takes one template, and templates has 2",
        ),
        (
            "\"op\":\"renegotiate\",\"id\":\"a\",\"template\":\"hd\",\"sending\":{\"service_type\":\"best_effort\"}",
            "give one or the other",
        ),
    ] {
        ends_a_replay(&format!("{{\"at_us\":5,{fields}}}"), text);
    }
}

/// A latency is admitted only if the tree that would be programmed proves a bound.
#[test]
fn delay_bounds_are_granted_only_with_a_proof() {
    let directory = tempfile::tempdir().unwrap();
    let policy = |limits: &str| {
        format!(
            "version = 1\n[interface.eth0]\negress = {{ capacity = \"1 Gbit/s\", reservable = \"50%\" }}\n{limits}\n[template.call]\nsending = {{ service_type = \"guaranteed\", token_rate = \"6 Mbit/s\", token_bucket_size = \"6 kB\", latency = \"100 ms\" }}\n"
        )
    };
    let tests = |expect: &str| {
        format!(
            "policy = \"p.toml\"\n[[test]]\nname = \"t\"\n[[test.step]]\nconnect = {{ id = \"c\", interface = \"eth0\", template = \"call\" }}\nexpect = {{ {expect} }}\n"
        )
    };
    let check = |name: &str, limits: &str, expect: &str| {
        std::fs::write(directory.path().join("p.toml"), policy(limits)).unwrap();
        std::fs::write(directory.path().join("a.qostest.toml"), tests(expect)).unwrap();
        let output = gqos(directory.path(), &["test", "."], "");
        assert_eq!(output.status.code(), Some(0), "{name}: {}", String::from_utf8_lossy(&output.stdout));
    };
    let bounded = "max_flows = 20\nbuffer = \"400 kB\"";
    // (b + C) / (100 ms - D), C = 82018 B and D = 58.172 ms.
    check("proven", bounded, "decision = \"admitted\", charged = \"16834280 bit/s\"");
    check("nothing limits the flows", "", "reason = \"delay\"");
    check("nothing limits their buckets", "max_flows = 20", "reason = \"delay\"");
    check("too many flows", "max_flows = 60\nbuffer = \"400 kB\"", "reason = \"delay\"");
    check("no tree", &format!("{bounded}\nenforcement = \"user-space\""), "reason = \"delay\"");
    check("stated instead", "error_terms = { c = \"1500 B\", d = \"1 ms\" }", "decision = \"admitted\"");
}

/// The measured rate of a flow is its reserved rate, although other flows compete.
#[test]
fn transfers_are_measured_on_a_private_network() {
    let tests = r#"
[[test]]
name = "a flow gets its rate"
[[test.step]]
connect = { id = "v", interface = "eth0", class = "viewer", sending = { service_type = "guaranteed", token_rate = "8 Mbit/s", token_bucket_size = "20 kB" } }
[[test.step]]
transfer = { id = "v", duration = "1 s" }
expect = { rate = "8 Mbit/s", within = "10%" }
[[test]]
name = "a flow that is not there"
[[test.step]]
connect = { id = "x", interface = "eth0" }
[[test.step]]
close = "x"
[[test.step]]
transfer = { id = "x" }
expect = { rate = "8 Mbit/s" }
"#;
    let directory = with_tests(tests);
    let output = gqos(directory.path(), &["test", "--lab", "."], "");
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.code() == Some(77) {
        return common::skip(&text);
    }
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("a flow gets its rate ... ok"), "{text}");
    assert!(text.contains("transfer: expected a measured rate, found no flow \"x\" is admitted"), "{text}");
    check(tests, &["."], 1, &["run it with --lab", "2 skipped"]);
}
