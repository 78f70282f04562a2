//! Expectations on interfaces, and what settles one.

use super::qostest::gqos;

/// A policy of 1000 B/s and a test file with one test, in a directory of their own.
fn with_small_link(test: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let side = "{ capacity = \"1000 B/s\", reservable = \"100%\" }";
    let policy = format!("version = 1\n[interface.eth0]\negress = {side}\ningress = {side}\n");
    std::fs::write(directory.path().join("policy.toml"), policy).unwrap();
    std::fs::write(directory.path().join("t.qostest.toml"), format!("policy = \"policy.toml\"\n\n{test}"))
        .unwrap();
    directory
}

#[test]
fn blessing_two_admitted_flows_of_three_settles() {
    let directory = with_small_link(
        "[[test]]\nname = \"two of three\"\n[[test.step]]\nconnect = { id = \"v{n}\", repeat = 3, interface = \"eth0\", sending = { service_type = \"controlled_load\", token_rate = \"4 kbit/s\" } }\nexpect = { decision = \"admitted\" }\n",
    );
    let before = std::fs::read_to_string(directory.path().join("t.qostest.toml")).unwrap();
    for _ in 0..3 {
        let output = gqos(directory.path(), &["test", "--bless", "."], "");
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains("t.qostest.toml:7:10: not rewritten"), "{message}");
        assert_eq!(std::fs::read_to_string(directory.path().join("t.qostest.toml")).unwrap(), before);
    }
}

#[test]
fn an_expectation_of_an_interface_that_no_step_names_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let policy = "version = 1\n[interface.\"*\"]\negress = { capacity = \"1000 B/s\" }\n[interface.eth1]\negress = { capacity = \"500 B/s\" }\n";
    std::fs::write(directory.path().join("p.toml"), policy).unwrap();
    let connect = "connect = { id = \"v\", interface = \"eth0\", sending = { service_type = \"guaranteed\", token_rate = \"300 B/s\" } }";
    let run = |interface: &str| {
        let test = format!(
            "policy = \"p.toml\"\n[[test]]\nname = \"x\"\n[[test.step]]\n{connect}\nexpect = {{ interface = \"{interface}\", reserved = \"{}\" }}\n",
            if interface == "eth0" { "300 B/s" } else { "0 B/s" }
        );
        std::fs::write(directory.path().join("t.qostest.toml"), test).unwrap();
        let output = gqos(directory.path(), &["test", "."], "");
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, message) = run("eht0");
    assert_eq!(code, Some(78), "{message}");
    let expected = "no step up to here names the interface \"eht0\"";
    assert!(message.contains(expected) && message.contains("did you mean \"eth0\"?"), "{message}");
    for interface in ["eth0", "eth1"] {
        assert_eq!(run(interface), (Some(0), String::new()), "{interface}");
    }
}

#[test]
fn a_run_that_skips_every_test_is_a_failure() {
    let directory = with_small_link(
        "[[test]]\nname = \"lab\"\n[[test.step]]\nconnect = { id = \"v\", interface = \"eth0\", sending = { service_type = \"controlled_load\", token_rate = \"4 kbit/s\" } }\n[[test.step]]\ntransfer = { id = \"v\" }\nexpect = { rate = \"4 kbit/s\" }\n",
    );
    let output = gqos(directory.path(), &["test", "."], "");
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("no test was run: the only test is skipped"), "{message}");
    assert_eq!(gqos(directory.path(), &["test", "--allow-empty", "."], "").status.code(), Some(0));
}

#[test]
fn an_expectation_of_an_interface_that_is_not_there_is_an_error() {
    let directory = with_small_link(
        "[[test]]\nname = \"nothing is reserved of eht0\"\n[[test.step]]\nconnect = { id = \"v\", interface = \"eth0\", sending = { service_type = \"controlled_load\", token_rate = \"4 kbit/s\" } }\nexpect = { interface = \"eht0\", reserved = \"0 bit/s\", available = \"0 bit/s\" }\n",
    );
    let output = gqos(directory.path(), &["test", "."], "");
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{message}");
    assert!(
        message.contains("t.qostest.toml:7:24") && message.contains("did you mean \"eth0\"?"),
        "{message}"
    );
}

/// A flow on each of two interfaces.
const TWO_LINKS: &str = "version = 1\n[interface.eth0]\negress = { capacity = \"10 Mbit/s\" }\n[interface.eth1]\negress = { capacity = \"10 Mbit/s\" }\n";

/// Runs steps under a policy: the exit code and what is printed.
fn run_under(policy: &str, steps: &[&str]) -> (Option<i32>, String) {
    let directory = tempfile::tempdir().unwrap();
    let steps: String = steps.iter().map(|step| format!("[[test.step]]\n{step}\n")).collect();
    std::fs::write(directory.path().join("p.toml"), policy).unwrap();
    let text = format!("policy = \"p.toml\"\n[[test]]\nname = \"x\"\n{steps}");
    std::fs::write(directory.path().join("t.qostest.toml"), text).unwrap();
    let output = gqos(directory.path(), &["test", "."], "");
    let all = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(all).unwrap())
}

fn connect(id: &str, interface: &str) -> String {
    format!(
        "connect = {{ id = \"{id}\", interface = \"{interface}\", sending = {{ service_type = \"guaranteed\", token_rate = \"1 Mbit/s\" }} }}"
    )
}

#[test]
fn a_step_that_names_a_flow_is_compared_on_the_flows_interface() {
    let (a, b, c) = (connect("a", "eth0"), connect("b", "eth1"), connect("c", "eth1"));
    let renegotiate = |expect: &str| {
        format!(
            "renegotiate = {{ id = \"a\", sending = {{ service_type = \"guaranteed\", token_rate = \"3 Mbit/s\" }} }}\nexpect = {{ {expect} }}"
        )
    };
    let refresh = "refresh = { id = \"a\", ttl = \"10 s\" }\nexpect = { reserved = \"3 Mbit/s\" }";
    let renegotiated = renegotiate("reserved = \"3 Mbit/s\"");
    let (code, text) = run_under(TWO_LINKS, &[&a, &b, &renegotiated, &c, refresh]);
    assert_eq!(code, Some(0), "{text}");
    let elsewhere = renegotiate("interface = \"eth1\", reserved = \"1 Mbit/s\"");
    let (code, text) = run_under(TWO_LINKS, &[&a, &b, &elsewhere]);
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn an_interface_without_totals_is_that_of_the_decision() {
    let step = |interface: &str| {
        format!(
            "{}\nexpect = {{ interface = \"{interface}\", decision = \"admitted\" }}",
            connect("a", "eth0")
        )
    };
    let (code, text) = run_under(TWO_LINKS, &[&step("eth0")]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = run_under(TWO_LINKS, &[&step("eth1")]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("t.qostest.toml:6:12") || text.contains("interface"), "{text}");
    assert!(text.contains("eth1") && text.contains("eth0"), "{text}");
}

#[test]
fn totals_of_no_interface_are_an_error() {
    let any = "version = 1\n[interface.\"*\"]\negress = { capacity = \"10 Mbit/s\" }\n";
    let wait = "wait = \"1 s\"\nexpect = { reserved = \"0 bit/s\", available = \"8 Mbit/s\" }";
    let (code, text) = run_under(any, &[wait]);
    assert_eq!(code, Some(78), "{text}");
    assert!(text.contains("no step up to here names an interface"), "{text}");
    let (code, text) = run_under(any, &["wait = \"1 s\"\nexpect = { flows = 0 }"]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) =
        run_under(any, &[&connect("a", "eth9"), "wait = \"1 s\"\nexpect = { available = \"7 Mbit/s\" }"]);
    assert_eq!(code, Some(0), "{text}");
}
