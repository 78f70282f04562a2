//! Policies: what is read, and each kind of problem with its line and column.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use flowspec::{Bytes, Peak, Rate, ServiceType};
use gqos::policy::{Code, Enforcement, Policy, Protocol, Severity, Source, Subject};

fn parse(text: &str) -> Result<Policy, Vec<(Code, String)>> {
    parse_all(&[text])
}

/// The policy, or each problem's code and its `line:column message`.
fn parse_all(texts: &[&str]) -> Result<Policy, Vec<(Code, String)>> {
    let sources: Vec<_> = texts.iter().map(|&text| Source { name: "test", text }).collect();
    match Policy::parse(&sources) {
        Ok((policy, _)) => Ok(policy),
        Err(problems) => Err(problems
            .iter()
            .map(|problem| {
                let before = &texts[problem.place.source][..problem.place.span.start];
                let line = before.matches('\n').count() + 1;
                let column = before.len() - before.rfind('\n').map_or(0, |newline| newline + 1) + 1;
                (problem.code, format!("{line}:{column} {}", problem.message))
            })
            .collect()),
    }
}

/// A policy whose fourth line is the one under test.
const HEAD: &str = "version = 1\n[interface.eth0]\negress = { capacity = \"1 Gbit/s\" }\n";

/// The text has one problem, with this code, at this place, and its message contains these words.
#[track_caller]
fn check(text: &str, code: Code, place: &str, words: &str) {
    let problems = parse(&format!("{HEAD}{text}")).expect_err(text);
    assert_eq!(problems.len(), 1, "{text}: {problems:#?}");
    let (found, message) = &problems[0];
    assert_eq!(*found, code, "{message}");
    assert!(message.starts_with(&format!("{place} ")), "expected at {place}: {message}");
    assert!(message.contains(words), "{words:?} is not in {message}");
}

#[test]
fn the_example_of_the_documentation_is_read() {
    let policy = parse(
        r#"
version = 1
[interface.eth0]
egress  = { capacity = "1 Gbit/s", reservable = "80%" }
ingress = { capacity = "auto", reservable = "500 Mbit/s" }
enforcement = "kernel"
on_capacity_drop = "shed"
[template."1080p"]
sending   = { service_type = "guaranteed", token_rate = "6 Mbit/s", token_bucket_size = "64 KiB",
              peak_bandwidth = "12 Mbit/s", latency = "50 ms", delay_variation = "20 ms",
              max_sdu_size = "1500 B", minimum_policed_size = "64 B" }
receiving = { service_type = "best_effort" }
[class.viewer]
share = "600 Mbit/s"
max_flows = 500
max_rate = "8 Mbit/s"
overbooking = 1.0
setup_priority = 4
holding_priority = 4
dscp = "AF41"
[[rule]]
match = { protocol = "tcp", local_port = [443, "1935-1940"], peer = "10.0.0.0/8" }
class = "viewer"
template = "1080p"
"#,
    )
    .unwrap();
    let interface = policy.interface("eth0").unwrap();
    assert_eq!(interface.enforcement, Enforcement::Kernel);
    let sending = interface.budgets.sending;
    assert_eq!(sending.reservable_of(Rate::from_mbit(1000)), Rate::from_mbit(800));
    let spec = policy.templates["1080p"].qos.sending;
    assert_eq!(spec.service_type, ServiceType::Guaranteed);
    assert_eq!(spec.token_bucket_size, Some(Bytes::new(65_536)));
    assert_eq!(spec.peak_bandwidth, Some(Peak::Finite(Rate::from_mbit(12))));
    assert_eq!((policy.classes["viewer"].dscp, policy.classes["viewer"].max_flows), (Some(34), Some(500)));
    let rule = |local_port, peer: &str| {
        let subject = Subject { protocol: Protocol::Tcp, local_port, peer: peer.parse().unwrap() };
        policy.rule_for(&subject).is_some()
    };
    assert!(rule(443, "10.1.2.3") && rule(1940, "10.1.2.3"));
    assert!(!rule(1941, "10.1.2.3") && !rule(443, "11.1.2.3"));
}

#[test]
fn the_examples_are_valid() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/policies");
    let mut count = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().ends_with(".qostest.toml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.display().to_string();
        let (_, warnings) = Policy::parse(&[Source { name: &name, text: &text }]).unwrap();
        assert_eq!(warnings, [], "{name}");
        count += 1;
    }
    assert!(count > 0, "there are examples");
}

#[test]
fn a_star_applies_to_every_other_interface_and_one_direction_serves_for_both() {
    let policy =
        parse("version = 1\n[interface.\"*\"]\negress = { capacity = \"10 Mbit/s\", reservable = \"50%\" }")
            .unwrap();
    let any = policy.interface("wlan0").unwrap();
    assert_eq!(any.budgets.sending, any.budgets.receiving);
}

#[test]
fn goodput_adds_headers_and_a_bucket_may_be_a_time() {
    let policy = parse(&format!(
        "{HEAD}[template.t]\nsending = {{ service_type = \"guaranteed\", goodput = \"4 Mbit/s\", token_bucket_size = \"20 ms\" }}"
    ));
    let spec = policy.unwrap().templates["t"].qos.sending;
    assert_eq!(spec.token_rate, Some(Rate::new(525_250)), "500 000 · 1500 ÷ 1428, up to a kbit/s");
    assert_eq!(spec.token_bucket_size, Some(Bytes::new(10_505)), "20 ms of it");
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_known() {
    check("egres = 1", Code::UnknownKey, "4:1", "\"egres\"");
    check("[class.c]\nshares = \"1 Mbit/s\"", Code::UnknownKey, "5:1", "class.c has no key \"shares\"");
    check("[templates.t]\n", Code::UnknownKey, "4:2", "\"templates\"");
    check(
        "[[rule]]\ntemplate = \"t\"\nport = 1\n[template.t]\nsending = { service_type = \"best_effort\" }",
        Code::UnknownKey,
        "6:1",
        "\"port\"",
    );
    let text = format!("{HEAD}enforcemnt = \"auto\"");
    let problems = Policy::parse(&[Source { name: "test", text: &text }]).unwrap_err();
    assert_eq!(problems[0].help.as_deref(), Some("did you mean \"enforcement\"?"));
}

#[test]
fn ambiguous_units_are_refused_with_both_readings() {
    check(
        "[class.c]\nmax_rate = \"8 Mbps\"",
        Code::BadUnit,
        "5:12",
        "8 Mbit/s (1000000 B/s) or 8 MB/s (8000000 B/s)",
    );
    check("[class.c]\nmax_rate = 8", Code::BadUnit, "5:12", "8 bit/s");
    check("[class.c]\nmax_rate = 8.5", Code::BadUnit, "5:12", "8.5");
    check("[class.c]\nshare = \"80\"", Code::BadUnit, "5:9", "80%");
    check("[class.c]\nshare = \"101%\"", Code::BadUnit, "5:9", "at most 100%");
    check(
        "[class.c]\nmax_rate = true",
        Code::WrongType,
        "5:12",
        "expected a string with a unit, found a boolean",
    );
    let spec = |field: &str| {
        format!(
            "[template.t]\nsending = {{ service_type = \"guaranteed\", token_rate = \"1 Mbit/s\", {field} }}"
        )
    };
    check(&spec("token_bucket_size = \"64k\""), Code::BadUnit, "5:87", "65536 B");
    check(&spec("token_bucket_size = 65536"), Code::BadUnit, "5:87", "65536 KiB");
    check(&spec("latency = \"50\""), Code::BadUnit, "5:77", "50 ms");
}

#[test]
fn inconsistent_flowspecs_are_refused() {
    let spec =
        |fields: &str| format!("[template.t]\nsending = {{ service_type = \"guaranteed\", {fields} }}");
    check(&spec("token_rate = \"0 bit/s\""), Code::BadFlowspec, "5:11", "token_rate is zero");
    check(&spec("token_bucket_size = \"1 KiB\""), Code::BadFlowspec, "5:11", "token_rate is not specified");
    check(
        &spec("token_rate = \"2 Mbit/s\", peak_bandwidth = \"1 Mbit/s\""),
        Code::BadFlowspec,
        "5:11",
        "below token_rate",
    );
    check(
        &spec("token_rate = \"2 Mbit/s\", goodput = \"1 Mbit/s\""),
        Code::Conflict,
        "5:77",
        "exclude each other",
    );
    check(
        &spec("token_rate = \"2 Mbit/s\", token_bucket_size = \"100 B\", max_sdu_size = \"200 B\""),
        Code::BadFlowspec,
        "5:11",
        "never conform",
    );
    check("[template.t]\nsending = { service_type = \"guarantied\" }", Code::BadValue, "5:28", "guarantied");
    check("[template.t]\nsending = { token_rate = \"1 Mbit/s\" }", Code::MissingKey, "5:11", "service_type");
    check("[template.t]\n", Code::MissingKey, "4:11", "sending or receiving");
}

#[test]
fn values_outside_their_range_are_refused() {
    check("[class.c]\nsetup_priority = 8", Code::BadValue, "5:18", "0 to 7");
    check(
        "[class.c]\nsetup_priority = 2\nholding_priority = 5",
        Code::Conflict,
        "6:20",
        "displace each other",
    );
    check("[class.c]\nmax_flows = -1", Code::BadValue, "5:13", "-1");
    check("[class.c]\noverbooking = 0.5", Code::BadValue, "5:15", "0.5");
    check("[class.c]\ndscp = \"AF44\"", Code::BadValue, "5:8", "AF44");
    check("[class.c]\ndscp = 64", Code::BadValue, "5:8", "0 to 63");
    check("enforcement = \"tc\"", Code::BadValue, "4:15", "auto, kernel, user-space");
    let rule = |conditions: &str| {
        format!(
            "[template.t]\nsending = {{ service_type = \"best_effort\" }}\n[[rule]]\ntemplate = \"t\"\nmatch = {{ {conditions} }}"
        )
    };
    check(&rule("local_port = 65536"), Code::BadValue, "8:24", "0 to 65535");
    check(&rule("local_port = [1, \"9-3\"]"), Code::BadValue, "8:28", "a range is written");
    check(&rule("local_port = []"), Code::BadValue, "8:24", "matches nothing");
    check(&rule("peer = \"10.1.0.0/8\""), Code::BadValue, "8:18", "\"10.0.0.0/8\"");
    check(&rule("protocol = \"sctp\""), Code::BadValue, "8:22", "tcp, udp");
}

#[test]
fn names_are_defined_exactly_once() {
    check("[[rule]]\ntemplate = \"t\"", Code::UnknownName, "4:1", "template \"t\"");
    check(
        "[template.t]\nsending = { service_type = \"best_effort\" }\n[[rule]]\ntemplate = \"t\"\nclass = \"c\"",
        Code::UnknownName,
        "6:1",
        "class \"c\"",
    );
    let twice = parse_all(&[HEAD, "version = 1\n[interface.eth0]\negress = { capacity = \"1 Gbit/s\" }"])
        .unwrap_err();
    assert_eq!(twice.len(), 1, "{twice:?}");
    assert_eq!(twice[0].0, Code::Duplicate);
    assert!(twice[0].1.starts_with("2:12 interface.eth0"), "{twice:?}");
    parse_all(&[HEAD, "version = 1\n[interface.eth1]\negress = { capacity = \"1 Gbit/s\" }"]).unwrap();
    check("[interface.eth0]\n", Code::Syntax, "4:12", "duplicate");
}

#[test]
fn wrong_versions_bad_syntax_and_missing_keys_are_refused() {
    let only = |text: &str| parse(text).unwrap_err().remove(0);
    assert_eq!(only("").0, Code::MissingKey);
    assert_eq!(only("version = 2").0, Code::Version);
    assert_eq!(only("version = \"1\"").0, Code::WrongType);
    assert_eq!(only("version = ").0, Code::Syntax);
    assert_eq!(only("version = 1\n[interface.eth0]\n").0, Code::MissingKey);
    assert_eq!(only("version = 1\n[interface.eth0]\negress = { reservable = \"80%\" }").0, Code::MissingKey);
    assert_eq!(only("version = 1\ninterface = 3").0, Code::WrongType);
    assert_eq!(only("version = 1\nrule = 3").0, Code::WrongType);
    assert_eq!(
        only(
            "version = 1\n[interface.eth0]\negress = { capacity = \"10 Mbit/s\", reservable = \"11 Mbit/s\" }"
        )
        .0,
        Code::BadValue
    );
}

#[test]
fn all_problems_are_reported_at_once_in_the_order_of_their_places() {
    let problems = parse("[interface.eth0]\negress = { capacity = \"1 Mbps\", x = 1 }\n[class.c]\nmax_flows = \"many\"\n[[rule]]\n").unwrap_err();
    let codes: Vec<_> = problems.iter().map(|(code, _)| *code).collect();
    assert_eq!(
        codes,
        [Code::MissingKey, Code::BadUnit, Code::UnknownKey, Code::WrongType, Code::MissingKey],
        "{problems:#?}"
    );
}

#[test]
fn a_budget_without_headroom_is_a_warning() {
    let text = "version = 1\n[interface.eth0]\negress = { capacity = \"100 Mbit/s\", reservable = \"95%\" }";
    let (_, warnings) = Policy::parse(&[Source { name: "test", text }]).unwrap();
    assert_eq!(warnings.len(), 1);
    assert_eq!((warnings[0].code, warnings[0].code.severity()), (Code::Overcommitted, Severity::Warning));
}

#[test]
fn codes_are_unique() {
    let ids: std::collections::BTreeSet<_> = Code::ALL.iter().map(|code| code.id()).collect();
    assert_eq!(ids.len(), Code::ALL.len());
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = Policy::parse(&[Source { name: "test", text: &text }]);
    }

    /// A valid policy, cut at any place and with a character inserted.
    #[test]
    fn no_damaged_policy_panics(cut in 0usize..1400, at in 0usize..1400, with in "\\PC") {
        let mut text = include_str!("../examples/policies/streaming.toml").to_owned();
        let boundary = |text: &str, mut at: usize| {
            at = at.min(text.len());
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        text.truncate(boundary(&text, cut));
        text.insert_str(boundary(&text, at), &with);
        let _ = Policy::parse(&[Source { name: "test", text: &text }]);
    }
}
