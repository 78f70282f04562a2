//! Test files: what is wrong with them is found before anything is run, and `--bless` leaves files that pass.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod contradictions;
mod interfaces;
mod not_text;
#[path = "../common/qostest.rs"]
mod qostest;
mod recorded;
mod reloads;

use qostest::{BAD, GOOD, POLICY, check, gqos, with_tests};

/// A step whose flows are part admitted and part refused has no expectation that holds for all of them.
#[test]
fn a_step_that_is_part_refused_is_named_and_not_rewritten() {
    let both = format!("{BAD}[[test.step]]\nclose = \"v1\"\nexpect = {{ available = \"8 bit/s\" }}\n");
    let directory = with_tests(&both);
    let path = directory.path().join("a.qostest.toml");
    let run = |arguments: &[&str]| {
        let output = gqos(directory.path(), &[&["test", "."], arguments].concat(), "");
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, message) = run(&["--bless"]);
    assert_eq!(code, Some(1), "{message}");
    assert!(
        message.contains(
            "a.qostest.toml:7:10: not rewritten: its 3 decisions differ in decision: admitted and refused"
        ),
        "{message}"
    );
    assert!(message.contains("1 expectation rewritten"), "{message}");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("expect = { decision = \"admitted\" }"), "it is as it was: {text}");
    assert!(text.contains("expect = { available = \"50 Mbit/s\" }"), "the other one is rewritten: {text}");
    assert_eq!(run(&["--bless"]).0, Some(1));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "the second time nothing changes");
    assert_eq!(run(&[]).0, Some(1));
}

#[test]
fn expectations_that_lose_their_meaning_are_rewritten_to_ones_that_hold() {
    let test = |expect: &str| {
        format!(
            "[[test]]\nname = \"x\"\n[[test.step]]\nconnect = {{ id = \"a\", interface = \"eth0\", template = \"hd\" }}\nexpect = {{ {expect} }}\n"
        )
    };
    for (before, after) in [
        ("reason = \"delay\"", "decision = \"admitted\""),
        ("decision = \"refused\", reason = \"delay\"", "decision = \"admitted\""),
        ("error = \"WSAEOPNOTSUPP\", would_fit = \"8 bit/s\"", "decision = \"admitted\""),
        ("message = \"no\"", "message = \"eth0: admitted, sending 30 Mbit/s and receiving 0 bit/s\""),
        (
            "charged = { sending = \"8 bit/s\", receiving = \"8 bit/s\" }",
            "charged = { sending = \"30 Mbit/s\", receiving = \"0 bit/s\" }",
        ),
        ("flows = 3, waiting = true", "waiting = false, flows = 1"),
        ("interface = \"eth0\", reserved = \"8 bit/s\"", "interface = \"eth0\", reserved = \"30 Mbit/s\""),
    ] {
        let directory = with_tests(&test(before));
        let output = gqos(directory.path(), &["test", "--bless", "."], "");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let text = std::fs::read_to_string(directory.path().join("a.qostest.toml")).unwrap();
        assert_eq!(text, format!("policy = \"p.toml\"\n{}", test(after)));
        assert_eq!(gqos(directory.path(), &["test", "."], "").status.code(), Some(0), "{text}");
    }
    // No expectation makes this one pass.
    let step = "wait = \"1 s\"\nexpect = { decision = \"admitted\" }";
    let directory = with_tests(&format!("[[test]]\nname = \"x\"\n[[test.step]]\n{step}\n"));
    let output = gqos(directory.path(), &["test", "--bless", "."], "");
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("not rewritten"), "{message}");
}

/// A name in these steps is refused at its place, and nothing is run.
#[track_caller]
fn refused(steps: &str, place: &str, message: &str, help: &str) {
    let tests = format!("[[test]]\nname = \"x\"\n[[test.step]]\n{steps}\n");
    let texts = ["error[GQ0007]", &format!("a.qostest.toml:{place}"), message, help];
    let text = check(&tests, &["."], 78, &texts);
    assert!(!text.contains("ok\n") && !text.contains("FAILED"), "nothing was run: {text}");
}

/// A step that opens two flows, with further fields and these expectations.
fn connecting(fields: &str, expect: &str) -> String {
    format!(
        "connect = {{ id = \"v{{n}}\", repeat = 2, interface = \"eth0\", {fields} }}\nexpect = {{ {expect} }}"
    )
}

/// A step that opens two flows, then this one.
fn then(step: &str) -> String {
    format!("connect = {{ id = \"v{{n}}\", repeat = 2, interface = \"eth0\" }}\n[[test.step]]\n{step}")
}

#[test]
fn names_that_do_not_exist_are_errors_of_the_test_file() {
    let expect = |expect: &str| connecting("template = \"hd\"", expect);
    refused(
        &expect("interface = \"eht0\", reserved = \"0 bit/s\""),
        "6:24",
        "no interface \"eht0\"",
        "did you mean \"eth0\"?",
    );
    refused(
        &expect("reason = \"class_shares\""),
        "6:21",
        "no decision has the reason",
        "did you mean \"class_share\"?",
    );
    refused(
        &expect("error = \"WSAEOPNOTSUP\""),
        "6:20",
        "no decision has the error",
        "did you mean \"WSAEOPNOTSUPP\"?",
    );
    let known = "known: WSAEOPNOTSUPP, WSAEINVAL, WSAENOBUFS, WSAENETDOWN, none";
    refused(&expect("error = \"WSA_QOS_ADMISSION_FAILURE\""), "6:20", "no decision has the error", known);
    // Winsock has these, and decisions have not.
    refused(&expect("error = \"WSAECONNREFUSED\""), "6:20", "no decision has the error", known);
    refused(&expect("error = \"WSAEINTR\""), "6:20", "the error \"WSAEINTR\"", known);
    let help = "did you mean \"WSAEOPNOTSUPP\"?";
    refused(&expect("error = \"WSAEFOO\""), "6:20", "the error \"WSAEFOO\"", help);
    let statuses = "known: WSA_QOS_ADMISSION_FAILURE, WSA_QOS_POLICY_FAILURE,";
    refused(&expect("status = \"WSA_QOS_RECEIVERS\""), "6:21", "no decision has the status", statuses);
    let help = "did you mean \"WSA_QOS_EFLOWSPEC\"?";
    refused(&expect("status = \"WSA_QOS_EFLOWSPECS\""), "6:21", "no decision has the status", help);
    refused(
        &expect("status = \"WSA_QOS_ADMISION_FAILURE\""),
        "6:21",
        "the status",
        "did you mean \"WSA_QOS_ADMISSION_FAILURE\"?",
    );
    refused(&expect("rendition = \"hdd\""), "6:24", "no template \"hdd\"", "did you mean \"hd\"?");
    refused(&expect("preempted = [\"v1\", \"v3\"]"), "6:31", "opens a flow \"v3\"", "known: \"v1\"");
    refused(&expect("notified = \"w1\""), "6:23", "opens a flow \"w1\"", "");
    refused(
        &connecting("class = \"viewers\"", "decision = \"admitted\""),
        "5:66",
        "no class \"viewers\"",
        "did you mean \"viewer\"?",
    );
    refused(&connecting("group = \"g\"", "decision = \"refused\""), "5:66", "no group \"g\"", "");
    refused(
        &connecting("template = \"hdd\"", "decision = \"refused\""),
        "5:69",
        "no template \"hdd\"",
        "did you mean \"hd\"?",
    );
    refused(
        "connect = { id = \"v\", interface = \"eht0\" }",
        "5:35",
        "no interface \"eht0\"",
        "did you mean \"eth0\"?",
    );
    refused("close = \"v1\"", "5:9", "opens a flow \"v1\"", "");
}

#[test]
fn flows_that_are_never_opened_are_errors_of_the_test_file() {
    refused(&then("close = { id = \"v{n}\", repeat = 3 }"), "7:16", "opens a flow \"v3\"", "");
    refused(&then("refresh = { id = \"v3\", ttl = \"1 s\" }"), "7:18", "opens a flow \"v3\"", "");
    refused(&then("renegotiate = { id = \"w\", template = \"hd\" }"), "7:22", "opens a flow \"w\"", "");
    refused(&then("renegotiate = { id = \"v1\", template = \"sd\" }"), "7:39", "no template \"sd\"", "");
    refused(&then("transfer = { id = \"w\" }"), "7:19", "opens a flow \"w\"", "");
    refused(&then("crash = \"origin\""), "7:9", "the client \"origin\"", "");
    refused(
        &then("capacity = { interface = \"eth1\", direction = \"egress\", capacity = \"1 Mbit/s\" }"),
        "7:26",
        "no interface \"eth1\"",
        "",
    );
    refused(
        &then(
            "measure = { interface = \"eth0\", class = \"view\", window = \"1 s\", sending = \"1 Mbit/s\" }",
        ),
        "7:41",
        "no class \"view\"",
        "",
    );
}

#[test]
fn what_does_not_exist_may_be_named_where_its_refusal_is_tested() {
    let accepted = |steps: &str| {
        check(&format!("[[test]]\nname = \"x\"\n[[test.step]]\n{steps}\n"), &["."], 0, &["1 passed"]);
    };
    accepted(&connecting("class = \"viewers\"", "reason = \"unknown_class\""));
    accepted(&connecting("template = \"hdd\"", "reason = \"unknown_template\""));
    accepted(&connecting("group = \"g\"", "reason = \"unknown_group\""));
    accepted(&then("close = { id = \"w\" }\nexpect = { reason = \"unknown_id\" }"));
    accepted(&then("close = { id = \"v{n}\", repeat = 2 }\nexpect = { flows = 0 }"));
    accepted(&connecting(
        "template = \"hd\"",
        "error = \"none\", status = \"none\", reason = \"none\", rendition = \"the first\"",
    ));
    accepted(&then("close = \"v1\"\nexpect = { rendition = \"none\" }"));
    let none_is_not_the_first = then("close = \"v1\"\nexpect = { rendition = \"the first\" }");
    let text = format!("[[test]]\nname = \"x\"\n[[test.step]]\n{none_is_not_the_first}\n");
    check(&text, &["."], 1, &["rendition", "none"]);
}

#[test]
fn every_message_has_an_empty_part() {
    let step = connecting("template = \"hd\"", "message = \"\"");
    let text = format!("[[test]]\nname = \"x\"\n[[test.step]]\n{step}\n");
    check(&text, &["."], 78, &["error[GQ0006]", "a.qostest.toml:6:22", "every message has an empty part"]);
}

#[test]
fn no_problem_of_a_test_file_hides_another() {
    let steps = "connect = { id = \"v\", interface = \"eth0\", clas = \"x\" }\n[[test.step]]\n\
        connect = { id = \"w\", interface = \"eth1\", template = \"uhd\" }\nexpect = { reason = \"full\" }\n[[test.step]]\nclose = \"x\"\n";
    let places = [
        "a.qostest.toml:5:43",
        "a.qostest.toml:7:35",
        "a.qostest.toml:7:54",
        "a.qostest.toml:8:21",
        "a.qostest.toml:10:9",
    ];
    check(&format!("[[test]]\nname = \"x\"\n[[test.step]]\n{steps}"), &["."], 78, &places);
}

#[test]
fn an_expectation_that_compares_nothing_is_refused() {
    let step = |expect: &str| {
        format!(
            "[[test]]\nname = \"x\"\n[[test.step]]\nconnect = {{ id = \"v\", interface = \"eth0\" }}\nexpect = {{ {expect} }}\n"
        )
    };
    check(
        &step(""),
        &["."],
        78,
        &["error[GQ0004]", "a.qostest.toml:6:10", "test.step.expect needs a key that is compared"],
    );
    check(&step("interface = \"eth0\""), &["."], 78, &["needs a key that is compared"]);
    check(&step("reserved = {}"), &["."], 78, &["test.step.expect.reserved needs sending or receiving"]);
}

#[test]
fn a_test_that_expects_nothing_is_refused() {
    let connect = "connect = { id = \"v\", interface = \"eth0\" }\n";
    let test = |name: &str, steps: &str| format!("[[test]]\nname = \"{name}\"\n{steps}");
    let silent = test("silent", &format!("[[test.step]]\n{connect}[[test.step]]\nclose = \"v\"\n"));
    let message = "test needs a step with expect: it would pass whatever the policy decides";
    let text = check(&silent, &["."], 78, &["error[GQ0004]", "a.qostest.toml:2:1", message]);
    assert!(!text.contains("... ok"), "{text}");
    // One such test is enough, wherever it is.
    let second = check(&format!("{GOOD}{silent}"), &["."], 78, &["a.qostest.toml:9:1", message]);
    assert!(second.contains("... INVALID"), "{second}");
    // One step of several suffices.
    let speaking =
        format!("[[test.step]]\n{connect}[[test.step]]\nclose = \"v\"\nexpect = {{ flows = 0 }}\n");
    check(&test("speaking", &speaking), &["."], 0, &["1 passed"]);
    // A test without steps, and one whose only step cannot be read, have other problems.
    check(&test("empty", ""), &["."], 78, &["needs at least one [[test.step]]"]);
    let unread = check(&test("unread", "[[test.step]]\nclose = 3\n"), &["."], 78, &["a.qostest.toml:5:9"]);
    assert!(!unread.contains(message), "{unread}");
}

#[test]
fn lists_of_templates_and_ids_that_name_nothing_are_refused() {
    let step = |step: &str, message: &str| {
        let test = format!("[[test]]\nname = \"x\"\n[[test.step]]\n{step}\nexpect = {{ flows = 0 }}\n");
        check(&test, &["."], 78, &["a.qostest.toml:5:", message]);
    };
    let connect = |fields: &str| format!("connect = {{ interface = \"eth0\", {fields} }}");
    step(
        &connect("id = \"a\", templates = []"),
        "test.step.connect.templates: an empty list matches nothing",
    );
    step(
        &connect("id = \"a\", template = \"hd\", templates = [\"hd\"]"),
        "template and templates exclude each other",
    );
    step(&connect("id = \"\""), "test.step.connect.id: an empty id names nothing");
    let group = |fields: &str| format!("group = {{ interface = \"eth0\", {fields} }}");
    step(&group("id = \"\", template = \"hd\""), "test.step.group.id: an empty id names nothing");
    step(&group("id = \"g\", templates = [\"hd\", \"uhd\"]"), "test.step.group: a group takes one template");
}

#[test]
fn a_flow_that_reserves_nothing_needs_no_interface_of_the_policy() {
    let step = |fields: &str, expect: &str| {
        format!(
            "[[test]]\nname = \"x\"\n[[test.step]]\nconnect = {{ id = \"v\", interface = \"eth9\", {fields} }}\nexpect = {{ {expect} }}\n"
        )
    };
    let best_effort = "sending = { service_type = \"best_effort\" }";
    check(&step(best_effort, "decision = \"admitted\""), &["."], 0, &["1 passed"]);
    // What expects something else, or may be a slip, is refused.
    check(&step(best_effort, "flows = 1"), &["."], 78, &["no interface \"eth9\""]);
    check(&step("protocol = \"tcp\"", "decision = \"admitted\""), &["."], 78, &["no interface \"eth9\""]);
    check(&step("template = \"hd\"", "decision = \"admitted\""), &["."], 78, &["no interface \"eth9\""]);
    check(
        &step("template = \"hd\", class = \"vewer\"", "reason = \"unknown_interface\""),
        &["."],
        78,
        &["no class \"vewer\""],
    );
}

/// A directory with a test file that passes, one that is invalid, and two that name a policy that cannot be used.
fn with_invalid_files() -> tempfile::TempDir {
    let directory = with_tests(GOOD);
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let empty = "expect = { flows = 0 }\n";
    write(
        "b.qostest.toml",
        &format!("policy = \"p.toml\"\n[[test]]\nname = \"b\"\n[[test.step]]\nclos = \"v\"\n{empty}"),
    );
    write(
        "c.qostest.toml",
        &format!("policy = \"absent.toml\"\n[[test]]\nname = \"c\"\n[[test.step]]\nwait = \"1 s\"\n{empty}"),
    );
    write(
        "d.qostest.toml",
        &format!("[[test]]\nname = \"d\"\npolicy = \"bad.toml\"\n[[test.step]]\nwait = \"1 s\"\n{empty}"),
    );
    write("bad.toml", "version = 1\n[class.c]\nmax_flow = 1\n");
    directory
}

#[test]
fn an_invalid_file_does_not_stop_the_others() {
    let directory = with_invalid_files();
    let run = |arguments: &[&str]| {
        let output = gqos(directory.path(), &[&["test", "."], arguments].concat(), "");
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(output.status.code(), Some(78), "{out}{err}");
        (out, err)
    };
    let (text, messages) = run(&[]);
    for part in [
        "a.qostest.toml:3 two fit ... ok\n",
        "b.qostest.toml ... INVALID\n",
        "1 passed, 0 failed, 0 skipped, 3 files are invalid\n",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    for part in ["has no key", "did you mean", "No such file", ":5:1"] {
        assert!(!text.contains(part), "{part:?} is on standard error already\n{text}");
    }
    for part in [
        "b.qostest.toml:5:1",
        "policy \"absent.toml\": open (./absent.toml): No such file or directory (ENOENT)",
        "policy \"bad.toml\": ./bad.toml is not a valid policy: 1 problem",
        "c.qostest.toml:1:10",
        "d.qostest.toml:3:10",
        "bad.toml:3:1",
        "did you mean \"max_flows\"?",
    ] {
        assert!(messages.contains(part), "{part:?} is not in\n{messages}");
    }
    let (json, messages) = run(&["--format", "json"]);
    assert_eq!(messages, "", "the document has the problems");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["passed"], json["invalid"].as_array().unwrap().len()), (&1.into(), 3));
    let problem = &json["invalid"][0]["problems"][0];
    assert_eq!((&problem["line"], &problem["column"]), (&5.into(), &1.into()));
    let (junit, _) = run(&["--format", "junit"]);
    let document = roxmltree::Document::parse(&junit).unwrap();
    assert_eq!(document.root_element().attribute("errors"), Some("3"));
    let errors = document.descendants().filter(|node| node.has_tag_name("error"));
    let places: Vec<_> = errors
        .map(|error| error.parent().unwrap())
        .map(|case| (case.attribute("file").unwrap(), case.attribute("line").unwrap()))
        .collect();
    assert_eq!(
        places,
        [("./b.qostest.toml", "5"), ("./c.qostest.toml", "1"), ("./d.qostest.toml", "3")],
        "{junit}"
    );
    let (tap, _) = run(&["--format", "tap"]);
    assert!(tap.contains("1..4\n") && tap.contains("\nnot ok 4 - ./d.qostest.toml is valid\n# "), "{tap}");
    let (github, _) = run(&["--format", "github"]);
    assert!(github.contains("::error file=./b.qostest.toml,line=5,col=1,title=invalid file::"), "{github}");
    assert!(github.contains("::error file=./bad.toml,line=3,col=1,"), "{github}");
    run(&["--bless"]);
    run(&["--against", "p.toml"]);
}

#[test]
fn coverage_is_in_every_format() {
    let run = |format: &str| {
        check(GOOD, &[".", "--coverage", "--format", format], 0, &["reason class_share", "60"])
    };
    let json: serde_json::Value = serde_json::from_str(&run("json")).unwrap();
    assert_eq!(
        (&json["coverage"][0]["percent"], json["coverage"][0]["covered"].as_array().unwrap().len()),
        (&60.into(), 3)
    );
    assert_eq!(json["coverage"][0]["uncovered"].as_array().unwrap().len(), 2);
    let junit = run("junit");
    let document = roxmltree::Document::parse(&junit).unwrap();
    assert_eq!(document.descendants().filter(|node| node.has_tag_name("property")).count(), 3);
    assert!(run("tap").ends_with("#   not covered: reason class_share\n"));
    assert!(
        run("github").starts_with(
            "::notice file=./p.toml,title=coverage::./p.toml: 60%25 of 5 covered%0Anot covered: "
        )
    );
    assert!(run("text").contains("\n./p.toml: 60% of 5 covered\n  not covered: "));
    let plain = check(GOOD, &[".", "--format", "json"], 0, &[]);
    assert!(!plain.contains("coverage"), "{plain}");
}

#[test]
fn equal_rows_of_the_ledger_are_shown_once() {
    let test = "[[test]]\nname = \"x\"\n[[test.step]]\nconnect = { id = \"v{n}\", repeat = 20, interface = \"eth0\", sending = { service_type = \"controlled_load\", token_rate = \"1 Mbit/s\" } }\n\
                [[test.step]]\nconnect = { id = \"w\", interface = \"eth0\", template = \"hd\" }\nexpect = { decision = \"refused\" }\n";
    let text = check(
        test,
        &["."],
        1,
        &["  w: sending 30 Mbit/s", "  v1, v2, v3, v4, … (× 20): sending 1 Mbit/s, receiving 0 bit/s"],
    );
    assert_eq!(text.matches("sending 1 Mbit/s").count(), 1, "{text}");
}

#[test]
fn a_byte_order_mark_is_taken_in_every_file() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        std::fs::write(directory.path().join(name), format!("\u{feff}{text}")).unwrap()
    };
    write("p.toml", POLICY.trim_start());
    write("a.qostest.toml", &format!("policy = \"p.toml\"\n{GOOD}"));
    write("t.jsonl", "{\"at_us\":0,\"op\":\"tick\"}\n");
    write(
        "q.json",
        "{\"sending\":{\"service_type\":\"best_effort\"},\"receiving\":{\"service_type\":\"best_effort\"}}",
    );
    write(
        "q.toml",
        "[sending]\nservice_type = \"best_effort\"\n[receiving]\nservice_type = \"best_effort\"\n",
    );
    for arguments in [
        &["check", "p.toml"][..],
        &["test", "."],
        &["replay", "-p", "p.toml", "t.jsonl"],
        &["test", "--record", "t.jsonl", "p.toml"],
        &["flowspec", "check", "q.json"],
        &["flowspec", "check", "q.toml"],
    ] {
        let output = gqos(directory.path(), arguments, "");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    // One mark begins a text; a second one is part of it.
    for (name, text, arguments) in [
        ("p2.toml", POLICY.trim_start(), &["check", "p2.toml"][..]),
        ("t2.jsonl", "{\"at_us\":0,\"op\":\"tick\"}\n", &["replay", "-p", "p.toml", "t2.jsonl"]),
        ("t2.jsonl", "{\"at_us\":0,\"op\":\"tick\"}\n", &["test", "--record", "t2.jsonl", "p.toml"]),
        ("q2.json", "{\"sending\":{\"service_type\":\"best_effort\"}}", &["flowspec", "check", "q2.json"]),
    ] {
        write(name, &format!("\u{feff}{text}"));
        let output = gqos(directory.path(), arguments, "");
        assert_eq!(
            output.status.code(),
            Some(78),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    write("bad.toml", "version = 2\n");
    let output = gqos(directory.path(), &["check", "bad.toml"], "");
    assert!(
        String::from_utf8(output.stderr).unwrap().contains("bad.toml:1:11"),
        "columns do not count the mark"
    );
}

#[test]
fn a_rule_with_a_ladder_and_a_group_applies_in_tests() {
    let directory = tempfile::tempdir().unwrap();
    let policy = "version = 1\n[interface.eth0]\negress = { capacity = \"100 Mbit/s\" }\n\
        [template.hd]\nsending = { service_type = \"guaranteed\", token_rate = \"30 Mbit/s\" }\n\
        [template.sd]\nsending = { service_type = \"guaranteed\", token_rate = \"10 Mbit/s\" }\n\
        [group.g]\ninterface = \"eth0\"\nsending = { service_type = \"guaranteed\", token_rate = \"50 Mbit/s\" }\n\
        [[rule]]\nmatch = { local_port = 443 }\ngroup = \"g\"\ntemplate = [\"hd\", \"sd\"]\n";
    let step = |id: &str, expect: &str| {
        format!(
            "[[test.step]]\nconnect = {{ id = \"{id}\", interface = \"eth0\", local_port = 443 }}\nexpect = {{ {expect} }}\n"
        )
    };
    let tests = format!(
        "policy = \"p.toml\"\n[[test]]\nname = \"x\"\n{}{}{}{}",
        step("a", "decision = \"admitted\", charged = \"30 Mbit/s\", reserved = \"50 Mbit/s\""),
        step("b", "decision = \"admitted\", rendition = \"sd\", reserved = \"50 Mbit/s\""),
        step("c", "decision = \"admitted\", rendition = \"sd\""),
        step("d", "decision = \"refused\", reason = \"group_budget\""),
    );
    std::fs::write(directory.path().join("p.toml"), policy).unwrap();
    std::fs::write(directory.path().join("a.qostest.toml"), tests).unwrap();
    let output = gqos(directory.path(), &["test", "."], "");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
