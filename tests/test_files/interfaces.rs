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
