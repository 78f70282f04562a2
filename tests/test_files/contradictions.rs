//! Requests whose flowspecs contradict themselves, and steps whose times do.

use crate::qostest::{GOOD, check, gqos, with_tests};

/// What is refused for its flowspec is recorded like any other decision.
#[test]
fn an_inconsistent_flowspec_is_no_error_where_its_refusal_is_expected() {
    let directory = with_tests(GOOD);
    let trace = "{\"at_us\":0,\"op\":\"reserve\",\"id\":\"a\",\"interface\":\"eth0\",\"sending\":{\"service_type\":\"guaranteed\",\"token_rate\":1000,\"peak_bandwidth\":10}}\n\
                 {\"at_us\":0,\"op\":\"reserve\",\"id\":\"b\",\"interface\":\"eth0\",\"class\":\"no\",\"sending\":{\"service_type\":\"guaranteed\",\"token_rate\":1000,\"latency\":0}}\n";
    std::fs::write(directory.path().join("t.jsonl"), trace).unwrap();
    let recorded = gqos(directory.path(), &["test", "--record", "t.jsonl", "p.toml"], "");
    let text = String::from_utf8(recorded.stdout).unwrap();
    assert!(
        text.contains("reason = \"invalid_flowspec\"") && text.contains("reason = \"unknown_class\""),
        "{text}"
    );
    let run = |text: &str| {
        std::fs::write(directory.path().join("a.qostest.toml"), text).unwrap();
        let output = gqos(directory.path(), &["test", "."], "");
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(run(&text).0, Some(0), "{}", run(&text).1);
    let (code, problems) = run(&text.replace("invalid_flowspec", "interface_budget"));
    assert_eq!(code, Some(78));
    assert!(problems.contains("peak_bandwidth 80 bit/s is below token_rate 8 kbit/s"), "{problems}");
}

/// Nothing of such a file is run.
#[test]
fn a_step_before_the_one_before_it_is_an_error_of_the_test_file() {
    let steps = |second: &str| {
        let first = "at = \"2 s\"\nexpect = { flows = 0 }";
        format!("[[test]]\nname = \"x\"\n[[test.step]]\n{first}\n[[test.step]]\n{second}\n")
    };
    let goes_back = |second: &str, place: &str, message: &str| {
        check(&steps(second), &["."], 78, &["error[GQ0006]", &format!("a.qostest.toml:{place}"), message]);
    };
    let last = "wait = \"1 s\"\n[[test.step]]\nat = \"2999999 us\"";
    goes_back("at = \"1 s\"", "8:6", "at goes back: the step before is at 2 s, and this one at 1 s");
    goes_back(last, "10:6", "the step before is at 3 s, and this one at 2999.999 ms");
    check(&steps("at = \"2 s\""), &["."], 0, &[]);
    check(&steps(&last.replace("2999999 us", "3 s")), &["."], 0, &[]);
}

/// Time begins with the test: a state could only be cut to its beginning.
#[test]
fn a_peers_state_that_began_before_the_test_is_an_error_of_the_test_file() {
    let steps = |before: &str| {
        let connect = "connect = { id = \"v\", interface = \"eth0\", template = \"hd\" }";
        let peer = "peer = { id = \"v\", state = \"silent\", for = \"1 h\" }\nexpect = { flows = 0, dead = [\"v\"] }";
        format!("[[test]]\nname = \"x\"\n[[test.step]]\n{connect}\n[[test.step]]\n{before}{peer}\n")
    };
    let message = "for goes back before the test: the step is at 0 us, and its state has lasted for 3600 s";
    check(&steps(""), &["."], 78, &["error[GQ0006]", "a.qostest.toml:7:", message]);
    check(&steps("after = \"3599 s\"\n"), &["."], 78, &["the step is at 3599 s"]);
    check(&steps("after = \"1 h\"\n"), &["."], 0, &[]);
}

/// What is refused first, for the packets or in the other direction, hides no contradiction.
#[test]
fn a_query_that_contradicts_itself_is_refused_and_recorded() {
    let directory = with_tests(GOOD);
    let query =
        |flowspecs: &str| format!("{{\"at_us\":0,\"op\":\"query\",\"interface\":\"eth0\",{flowspecs}}}\n");
    let low_peak = "{\"service_type\":\"guaranteed\",\"token_rate\":400,\"peak_bandwidth\":1";
    let contradicting = [
        query(&format!("\"sending\":{low_peak}}}")),
        query(&format!("\"sending\":{low_peak},\"max_sdu_size\":9000}}")),
        query(&format!("\"sending\":{low_peak},\"latency\":0}}")),
        query(&format!(
            "\"sending\":{{\"service_type\":\"guaranteed\",\"token_rate\":400,\"latency\":5}},\"receiving\":{low_peak}}}"
        )),
    ];
    let answered = [
        query("\"sending\":{\"service_type\":\"guaranteed\",\"token_rate\":400,\"latency\":0}"),
        query("\"sending\":{\"service_type\":\"guaranteed\",\"token_rate\":400,\"max_sdu_size\":9000}"),
    ];
    std::fs::write(directory.path().join("t.jsonl"), [contradicting.concat(), answered.concat()].concat())
        .unwrap();
    let recorded = gqos(directory.path(), &["test", "--record", "t.jsonl", "p.toml"], "");
    let text = String::from_utf8(recorded.stdout).unwrap();
    assert_eq!(text.matches("reason = \"invalid_flowspec\"").count(), 4, "{text}");
    assert_eq!(text.matches("decision = \"admitted\"").count(), 2, "{text}");
    std::fs::write(directory.path().join("a.qostest.toml"), text).unwrap();
    let output = gqos(directory.path(), &["test", "."], "");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8(output.stderr).unwrap());
}
