//! Policies: what is read, and each kind of problem with its line and column.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[path = "policy/changes.rs"]
mod changes;
#[path = "policy/reach.rs"]
mod reach;

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
        policy.rule_for(&subject, "eth0").is_some()
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
        let (policy, warnings) = Policy::parse(&[Source { name: &name, text: &text }]).unwrap();
        assert_eq!(warnings, [], "{name}");
        assert_eq!(gqos::scenario::infeasible(&policy), [], "{name}");
        count += 1;
    }
    assert!(count > 0, "there are examples");
}

#[test]
fn a_star_stands_for_no_name_that_an_interface_cannot_have() {
    let text = "version = 1\n[interface.\"*\"]\negress = { capacity = \"10 Mbit/s\" }\n";
    let (policy, _) = Policy::parse(&[Source { name: "p.toml", text }]).unwrap();
    assert!(policy.interface("eth0").is_some());
    for name in ["", "*", "a/b", "1234567890123456"] {
        assert_eq!(policy.interface(name), None, "{name:?}");
    }
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
    check(&spec("token_rate = \"0 bit/s\""), Code::BadFlowspec, "5:55", "token_rate is zero");
    check(&spec("token_bucket_size = \"1 KiB\""), Code::BadFlowspec, "5:11", "token_rate is not specified");
    check(
        &spec("token_rate = \"2 Mbit/s\", peak_bandwidth = \"1 Mbit/s\""),
        Code::BadFlowspec,
        "5:84",
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
        "5:87",
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
    check(&rule("local_port = [1, \"9-3\"]"), Code::BadValue, "8:28", "\"9-3\" is reversed");
    check(&rule("local_port = \"80-\""), Code::BadValue, "8:24", "a range is written");
    check(&rule("local_port = []"), Code::BadValue, "8:24", "matches nothing");
    check(&rule("peer = \"10.1.0.0/8\""), Code::BadValue, "8:18", "\"10.0.0.0/8\"");
    check(&rule("protocol = \"sctp\""), Code::BadValue, "8:22", "tcp, udp");
}

#[test]
fn names_are_defined_exactly_once() {
    check("[[rule]]\ntemplate = \"t\"", Code::UnknownName, "5:12", "template \"t\"");
    check(
        "[template.t]\nsending = { service_type = \"best_effort\" }\n[[rule]]\ntemplate = \"t\"\nclass = \"c\"",
        Code::UnknownName,
        "8:9",
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

/// The problems of a whole text, in the order of their places.
#[track_caller]
fn check_all(text: &str, expected: &[(Code, &str, &str)]) {
    let problems = parse(text).expect_err(text);
    assert_eq!(problems.len(), expected.len(), "{text}: {problems:#?}");
    for ((found, message), (code, place, words)) in problems.iter().zip(expected) {
        assert_eq!(found, code, "{message}");
        assert!(message.starts_with(&format!("{place} ")), "expected at {place}: {message}");
        assert!(message.contains(words), "{words:?} is not in {message}");
    }
}

#[test]
fn no_problem_hides_another() {
    let spec = |fields: &str| format!("version = 1\n[template.t]\nsending = {{ {fields} }}");
    check_all(
        &spec("service_type = \"guarenteed\", token_rate = \"6M\""),
        &[(Code::BadValue, "3:28", "guarenteed"), (Code::BadUnit, "3:55", "6 Mbit/s")],
    );
    check_all(
        &spec("token_rate = \"6M\", peak_bandwidth = 7, token_bucket_size = \"64k\", latency = \"5\""),
        &[
            (Code::MissingKey, "3:11", "service_type"),
            (Code::BadUnit, "3:26", "6M"),
            (Code::BadUnit, "3:49", "7"),
            (Code::BadUnit, "3:72", "64k"),
            (Code::BadUnit, "3:89", "5 ms"),
        ],
    );
    check_all(
        &spec(
            "service_type = \"guaranteed\", token_rate = \"2 Mbit/s\", goodput = \"1 Mbit/s\", peak_bandwidth = 7, token_bucket_size = \"1\", x = 1",
        ),
        &[
            (Code::Conflict, "3:77", "exclude each other"),
            (Code::BadUnit, "3:106", "7"),
            (Code::BadUnit, "3:129", "1"),
            (Code::UnknownKey, "3:134", "\"x\""),
        ],
    );
    check_all(
        &spec(
            "service_type = \"guaranteed\", token_rate = \"2 Mbit/s\", peak_bandwidth = \"1 Mbit/s\", token_bucket_size = \"100 B\", max_sdu_size = \"200 B\", minimum_policed_size = \"300 B\", latency = \"0 s\"",
        ),
        &[
            (Code::BadFlowspec, "3:84", "below token_rate"),
            (Code::BadFlowspec, "3:116", "below max_sdu_size"),
            (Code::BadFlowspec, "3:172", "above max_sdu_size"),
            (Code::BadFlowspec, "3:191", "latency is zero"),
        ],
    );
    check_all(
        "version = 1\n[group.g]\nclass = \"c\"\nsending = { service_type = \"x\" }\nreceiving = 3\n[[rule]]\nclass = \"d\"\ngroup = \"h\"",
        &[
            (Code::MissingKey, "2:8", "interface"),
            (Code::UnknownName, "3:9", "class \"c\""),
            (Code::BadValue, "4:28", "\"x\""),
            (Code::WrongType, "5:13", "receiving"),
            (Code::MissingKey, "6:1", "template"),
            (Code::UnknownName, "7:9", "class \"d\""),
            (Code::UnknownName, "8:9", "group \"h\""),
        ],
    );
}

#[test]
fn a_source_that_does_not_parse_leaves_no_name_undefined() {
    let problems = parse_all(&[
        "version = 1\n[class.c]\nshare = ",
        "version = 1\n[group.g]\ninterface = \"eth0\"\nclass = \"c\"\nmode = \"shared\"\n",
    ]);
    let codes: Vec<_> = problems.unwrap_err().iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, [Code::Syntax]);
}

#[test]
fn names_that_no_interface_can_have_are_refused_at_their_key() {
    let table =
        |name: &str| format!("version = 1\n[interface.{name}]\negress = {{ capacity = \"1 Gbit/s\" }}");
    for (name, words) in [
        ("a-name-of-16-byte", "17 bytes"),
        ("\"eth 0\"", "white space"),
        ("\"eth0/1\"", "'/'"),
        ("\"eth0:1\"", "':'"),
        ("\"eth*\"", "star"),
        ("\"\"", "empty"),
        ("\".\"", "directory"),
        ("\"..\"", "directory"),
    ] {
        check_all(&table(name), &[(Code::BadName, "2:12", words)]);
    }
    for name in ["eth0", "\"*\"", "\"ens192.190\"", "fifteen-bytes-0"] {
        parse(&table(name)).unwrap();
    }
    check_all(
        "version = 1\n[interface.\"*\"]\negress = { capacity = \"1 Gbit/s\" }\n[group.g]\ninterface = \"eth0:1\"\nmode = \"shared\"",
        &[(Code::BadName, "5:13", "':'")],
    );
}

#[test]
fn a_name_with_a_dot_and_without_quotes_is_told_how_to_be_quoted() {
    let help = |text: &str| {
        let text = format!("version = 1\n{text}");
        let problems = Policy::parse(&[Source { name: "test", text: &text }]).unwrap_err();
        problems
            .into_iter()
            .map(|problem| (text[problem.place.span].to_owned(), problem.help.unwrap_or_default()))
            .collect::<Vec<_>>()
    };
    #[track_caller]
    fn only(found: &[(String, String)], key: &str, help: &str) {
        assert_eq!(found, [(key.to_owned(), help.to_owned())]);
    }
    let egress = "egress = { capacity = \"1 Gbit/s\" }\n";
    let quoted = "write [interface.\"ens192.190\"]";
    only(&help(&format!("[interface.ens192.190]\n{egress}")), "190", quoted);
    only(&help(&format!("[interface.ens192]\n{egress}[interface.ens192.190]\n{egress}")), "190", quoted);
    only(&help("[interface.ens192.190.egress]\ncapacity = \"1 Gbit/s\"\n"), "190", quoted);
    only(&help(&format!("[interface.a.b.c]\n{egress}")), "c", "write [interface.\"a.b.c\"]");
    let group = "[group.g]\ninterface = \"ens192.190\"\nmode = \"shared\"\n";
    only(&help(&format!("[interface.ens192.190]\n{egress}{group}")), "190", quoted);
    let sending = "sending = { service_type = \"best_effort\" }\n";
    only(&help(&format!("[template.hd.50]\n{sending}")), "50", "write [template.\"hd.50\"]");
    only(&help("[class.a.b]\nmax_flows = 1\n"), "b", "write [class.\"a.b\"]");
    only(&help("[client.192.0.2.1]\nmax_flows = 1\n"), "1", "write [client.\"192.0.2.1\"]");
    let group = format!("{egress}[group.a.b]\ninterface = \"eth0\"\nmode = \"shared\"\n");
    only(&help(&format!("[interface.eth0]\n{group}")), "b", "write [group.\"a.b\"]");
    // What is wrong inside of it is reported as well.
    let found = help("[interface.ens192.190]\negress = { capacity = 1 }\nmtu = true\n");
    assert_eq!(found.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["190", "1", "true"]);
    // A misspelt key is not the part of a name.
    only(
        &help(&format!("[interface.eth0]\n{egress}egres = {{ capacity = \"1 Gbit/s\" }}\n")),
        "egres",
        "\"egress\" is set already",
    );
}

#[test]
fn a_name_of_very_many_parts_is_refused() {
    let text = format!("version = 1\n[class{}]\nmax_flows = 1\n", ".a".repeat(60));
    parse(&text).unwrap_err();
}

#[test]
fn a_share_as_a_fraction_is_corrected_to_a_percentage() {
    let text = |value: &str| {
        format!("version = 1\n[interface.eth0]\negress = {{ capacity = \"1 Gbit/s\", reservable = {value} }}")
    };
    check_all(&text("0.8"), &[(Code::BadUnit, "3:48", "\"80%\"")]);
    check_all(&text("\"0.8\""), &[(Code::BadUnit, "3:48", "\"80%\"")]);
    check_all(&text("0.825"), &[(Code::BadUnit, "3:48", "\"82.5%\"")]);
    check_all(&text("80"), &[(Code::BadUnit, "3:48", "\"80%\"")]);
    for (_, message) in parse(&text("0.8")).unwrap_err() {
        assert!(!message.contains("0.8%"), "{message}");
    }
}

#[test]
fn a_byte_order_mark_is_taken() {
    let policy = parse("\u{feff}version = 1\n[class.c]\nmax_flows = 1\n").unwrap();
    assert_eq!(policy.classes["c"].max_flows, Some(1));
    check_all(
        "\u{feff}version = 1\n[class.c]\nmax_flows = \"many\"\n",
        &[(Code::WrongType, "3:13", "integer")],
    );
}

#[test]
fn a_rule_gives_a_ladder_and_a_group_on_its_interface() {
    let text = include_str!("common/ladder.toml");
    let policy = parse(text).unwrap();
    let subject =
        |local_port| Subject { protocol: Protocol::Tcp, local_port, peer: "10.0.0.1".parse().unwrap() };
    let rule = |port, interface: &str| {
        let rule = policy.rule_for(&subject(port), interface).unwrap();
        (rule.group.as_deref(), rule.templates.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert_eq!(rule(443, "eth0"), (Some("channel7"), vec!["hd", "sd"]));
    assert_eq!(rule(443, "eth1"), (None, vec!["sd"]), "the group has no members there");
    assert_eq!(rule(80, "eth0"), (None, vec!["sd"]));
    let effective = policy.effective();
    assert!(
        effective
            .contains("match = { local_port = [443] }\ngroup = \"channel7\"\ntemplate = [\"hd\", \"sd\"]\n"),
        "{effective}"
    );
    check_all(&format!("{text}[[rule]]\ntemplate = []\n"), &[(Code::BadValue, "22:12", "empty list")]);
    check_all(
        &format!("{text}[[rule]]\ntemplate = [\"hd\", 3]\n"),
        &[(Code::WrongType, "22:19", "a string")],
    );
    check_all(
        &format!("{text}[[rule]]\ntemplate = [\"hd\", \"md\"]\n"),
        &[(Code::UnknownName, "22:19", "\"md\"")],
    );
}

#[test]
fn doubtful_quantities_are_warnings_at_their_place() {
    let warnings = |text: &str| {
        let text = format!("version = 1\n{text}");
        let (_, problems) = Policy::parse(&[Source { name: "test", text: &text }]).expect(&text);
        problems
            .into_iter()
            .map(|problem| format!("{} {}", problem.code, &text[problem.place.span]))
            .collect::<Vec<_>>()
    };
    let egress = |capacity: &str| format!("[interface.eth0]\negress = {{ capacity = \"{capacity}\" }}\n");
    assert_eq!(warnings(&egress("0 Mbit/s")), ["GQ0108 \"0 Mbit/s\""]);
    assert_eq!(warnings(&egress("8 bit/s")), [""; 0]);
    let budget = |keys: &str| format!("[interface.eth0]\negress = {{ capacity = \"8 Mbit/s\", {keys} }}\n");
    assert_eq!(warnings(&budget("reservable = \"0%\"")), ["GQ0108 \"0%\""]);
    assert_eq!(warnings(&budget("reservable = \"1%\"")), [""; 0]);
    assert_eq!(warnings(&budget("min_best_effort = \"100%\"")), ["GQ0108 \"100%\""]);
    assert_eq!(warnings(&budget("min_best_effort = \"8 Mbit/s\"")), ["GQ0108 \"8 Mbit/s\""]);
    assert_eq!(warnings(&budget("min_best_effort = \"99%\"")), [""; 0]);
    assert_eq!(warnings(&format!("{}max_flows = 0\n", budget("min_best_effort = \"0%\""))), ["GQ0108 0"]);
    assert_eq!(
        warnings("[interface.eth0]\negress = { capacity = \"auto\", reservable = \"0 bit/s\" }\n"),
        ["GQ0108 \"0 bit/s\""]
    );
    let bucket = |rate: &str, bucket: &str| {
        format!(
            "[template.t]\nsending = {{ service_type = \"guaranteed\", token_rate = \"{rate}\", token_bucket_size = \"{bucket}\" }}\n"
        )
    };
    assert_eq!(warnings(&bucket("6 Mbit/s", "100 ms")), [""; 0]);
    assert_eq!(warnings(&bucket("6 Mbit/s", "3 s")), [""; 0]);
    assert_eq!(warnings(&bucket("6 Mbit/s", "10 s")), ["GQ0109 t"]);
    assert_eq!(warnings(&bucket("64 kbit/s", "64 KiB")), ["GQ0109 t"]);
    assert_eq!(warnings(&bucket("1 kbit/s", "1500 B")), [""; 0], "a full packet has to fit");
    let group = "[interface.eth0]\negress = { capacity = \"1 Gbit/s\" }\n[group.g]\ninterface = \"eth0\"\nsending = { service_type = \"controlled_load\", token_rate = \"1 Mbit/s\", token_bucket_size = \"1 MB\" }\n";
    assert_eq!(warnings(group), ["GQ0109 g"]);
}

#[test]
fn a_network_of_mapped_addresses_matches_ipv4_peers() {
    let policy = parse(
        "version = 1\n[template.t]\nsending = { service_type = \"best_effort\" }\n[[rule]]\nmatch = { peer = \"::ffff:10.0.0.0/104\" }\ntemplate = \"t\"\n",
    )
    .unwrap();
    for (peer, matches) in
        [("10.1.2.3", true), ("::ffff:10.1.2.3", true), ("11.1.2.3", false), ("::1", false)]
    {
        let subject = Subject { protocol: Protocol::Udp, local_port: 0, peer: peer.parse().unwrap() };
        assert_eq!(policy.rule_for(&subject, "eth0").is_some(), matches, "{peer}");
    }
}
