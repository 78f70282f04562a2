//! More than 500 invalid policies. Each has one mistake, and is refused with that mistake's code at its line and column
//! and with no other error.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::{AtomicUsize, Ordering};

use gqos::policy::{Code, Policy, Severity, Source};

/// How many policies have been checked.
static TRIED: AtomicUsize = AtomicUsize::new(0);

/// A valid policy with every table; `@` marks where a line is inserted.
const VALID: [(&str, &str); 8] = [
    ("interface", "[interface.eth0]\negress = { capacity = \"1 Gbit/s\" }\n@"),
    ("budget", "[interface.eth1]\n[interface.eth1.egress]\ncapacity = \"1 Gbit/s\"\n@"),
    ("template", "[template.t.sending]\nservice_type = \"guaranteed\"\ntoken_rate = \"6 Mbit/s\"\n@"),
    ("class", "[class.c]\n@"),
    (
        "group",
        "[group.g]\ninterface = \"eth0\"\nsending = { service_type = \"guaranteed\", token_rate = \"6 Mbit/s\" }\n@",
    ),
    ("client", "[client.\"x-*\"]\n@"),
    ("rule", "[[rule]]\nclass = \"c\"\ntemplate = \"t\"\n@"),
    ("proxy", "[proxy.p]\nlisten = \"0.0.0.0:80\"\nto = \"origin:80\"\n@"),
];

/// The policy with a line inserted into one of its tables, and the number of that line.
fn with_line(table: &str, line: &str) -> (String, usize) {
    let mut text = String::from("version = 1\n");
    let mut number = 0;
    for (name, part) in VALID {
        let before = part.trim_end_matches('@');
        text.push_str(before);
        if name == table {
            number = text.matches('\n').count() + 1;
            text.push_str(line);
            text.push('\n');
        }
    }
    assert!(number > 0 || table.is_empty(), "there is no table {table}");
    (text, number)
}

/// The inserted line is the only error, with this code, at this column.
#[track_caller]
fn check(table: &str, line: &str, code: Code, column: usize) {
    TRIED.fetch_add(1, Ordering::Relaxed);
    let (text, number) = with_line(table, line);
    let problems = Policy::parse(&[Source { name: "p.toml", text: &text }]).expect_err(&text);
    let errors: Vec<_> =
        problems.iter().filter(|problem| problem.code.severity() == Severity::Error).collect();
    assert_eq!(errors.len(), 1, "{line} in {table}: {errors:#?}");
    let before = &text[..errors[0].place.span.start];
    let at =
        (before.matches('\n').count() + 1, before.len() - before.rfind('\n').map_or(0, |end| end + 1) + 1);
    assert_eq!((errors[0].code, at), (code, (number, column)), "{line} in {table}: {}", errors[0].message);
    assert!(errors[0].message.len() > 10, "{}", errors[0].message);
}

/// Each key with its table and the kind of its values.
const KEYS: &[(&str, &str, Kind)] = &[
    ("interface", "enforcement", Kind::Word),
    ("interface", "on_capacity_drop", Kind::Word),
    ("interface", "class_model", Kind::Word),
    ("interface", "mtu", Kind::Size),
    ("interface", "path_latency", Kind::Time),
    ("interface", "max_flows", Kind::Count),
    ("interface", "buffer", Kind::Size),
    ("interface", "delay", Kind::Flag),
    ("interface", "takeover", Kind::Flag),
    ("budget", "reservable", Kind::Share),
    ("budget", "min_best_effort", Kind::Share),
    ("template", "token_bucket_size", Kind::Size),
    ("template", "peak_bandwidth", Kind::Rate),
    ("template", "latency", Kind::Time),
    ("template", "delay_variation", Kind::Time),
    ("template", "max_sdu_size", Kind::Size),
    ("template", "minimum_policed_size", Kind::Size),
    ("template", "reserved_rate", Kind::Rate),
    ("class", "share", Kind::Share),
    ("class", "max_flows", Kind::Count),
    ("class", "max_rate", Kind::Rate),
    ("class", "setup_priority", Kind::Priority),
    ("class", "class_type", Kind::Priority),
    ("class", "allocate", Kind::Word),
    ("class", "admission", Kind::Word),
    ("class", "dscp", Kind::Word),
    ("group", "mode", Kind::Word),
    ("client", "max_flows", Kind::Count),
    ("client", "max_rate", Kind::Rate),
    ("client", "horizon", Kind::Time),
    ("client", "best_setup_priority", Kind::Priority),
    ("proxy", "protocol", Kind::Word),
    ("proxy", "refuse", Kind::Word),
    ("proxy", "retry_after", Kind::Time),
];

#[derive(Clone, Copy, Eq, PartialEq)]
enum Kind {
    Word,
    Size,
    Time,
    Rate,
    Share,
    Count,
    Priority,
    Flag,
}

/// Values that a kind refuses with a code.
struct Refused {
    kind: Kind,
    code: Code,
    /// Values that are strings.
    quoted: &'static [&'static str],
    /// Values without quotes.
    bare: &'static [&'static str],
}

const NOT_WORDS: &[&str] = &["", "yes", "AUTO ", "?"];
const NOT_SIZES: &[&str] = &[
    "",
    "64k",
    "64 K",
    "1500",
    "1.5 B",
    "-1 B",
    "1e3 B",
    "6 Mbit/s",
    "99999999999999999999 B",
    "B",
    "64 KB",
    "1 GB",
];
const NOT_TIMES: &[&str] = &["", "5", "5 m", "0.5 us", "-1 s", "5 d", "1e3 s", "6 Mbit/s", "1 MB"];
const NOT_RATES: &[&str] = &[
    "",
    "6",
    "6M",
    "6 Mbps",
    "6 mbps",
    "6 MBps",
    "100 bit/s",
    "-6 Mbit/s",
    "6 MB",
    "6 Mb/s",
    "999999999999999999999 Gbit/s",
    "1e6 bit/s",
    "6 mbit/s",
];
const NOT_SHARES: &[&str] = &["", "80", "101%", "-1%", "%", "0.00000001%", "6 Mbps", "eighty%", "6 MB"];

const fn refused(
    kind: Kind,
    code: Code,
    quoted: &'static [&'static str],
    bare: &'static [&'static str],
) -> Refused {
    Refused { kind, code, quoted, bare }
}

const REFUSED: &[Refused] = &[
    refused(Kind::Word, Code::BadValue, NOT_WORDS, &[]),
    refused(Kind::Word, Code::WrongType, &[], &["true", "[]", "{}"]),
    refused(Kind::Size, Code::BadUnit, NOT_SIZES, &["1500", "64.0", "-1"]),
    refused(Kind::Size, Code::WrongType, &[], &["true", "[]", "{}"]),
    refused(Kind::Time, Code::BadUnit, NOT_TIMES, &["5", "0.5"]),
    refused(Kind::Time, Code::WrongType, &[], &["false", "[]", "{}"]),
    refused(Kind::Rate, Code::BadUnit, NOT_RATES, &["6", "6.5"]),
    refused(Kind::Rate, Code::WrongType, &[], &["true", "[]", "{}"]),
    refused(Kind::Share, Code::BadUnit, NOT_SHARES, &["80", "0.8"]),
    refused(Kind::Share, Code::WrongType, &[], &["true", "[]", "{}"]),
    refused(Kind::Count, Code::BadValue, &[], &["-1", "99999999999999999999"]),
    refused(Kind::Count, Code::WrongType, &["5"], &["1.5", "true", "[]", "{}"]),
    refused(Kind::Priority, Code::BadValue, &[], &["-1", "8", "255"]),
    refused(Kind::Priority, Code::WrongType, &["4"], &["1.5", "true", "[4]", "{}"]),
    refused(Kind::Flag, Code::WrongType, &["true"], &["1", "0.0", "[]", "{}"]),
];

#[test]
fn every_key_refuses_values_of_other_kinds() {
    for &(table, key, kind) in KEYS {
        let column = format!("{key} = ").len() + 1;
        for refused in REFUSED.iter().filter(|refused| refused.kind == kind) {
            let quoted = refused.quoted.iter().map(|text| format!("\"{text}\""));
            for value in quoted.chain(refused.bare.iter().map(|&text| text.to_owned())) {
                check(table, &format!("{key} = {value}"), refused.code, column);
            }
        }
        // A mistyped key.
        let mut mistyped = key.to_owned();
        mistyped.remove(1);
        check(table, &format!("{mistyped} = \"1\""), Code::UnknownKey, 1);
        check(table, &format!("{key}x = 1"), Code::UnknownKey, 1);
    }
    keys_of_other_tables();
    let tried = TRIED.load(Ordering::Relaxed);
    println!("{tried} policies");
    assert!(tried >= 500, "{tried}");
}

fn keys_of_other_tables() {
    for (table, _) in VALID {
        let own: Vec<_> = KEYS.iter().filter(|(of, ..)| *of == table).map(|(_, key, _)| *key).collect();
        let others: std::collections::BTreeSet<_> =
            KEYS.iter().map(|(_, key, _)| *key).filter(|key| !own.contains(key)).collect();
        for key in others {
            check(table, &format!("{key} = \"1\""), Code::UnknownKey, 1);
        }
    }
}

#[test]
fn undefined_names_and_missing_keys_are_refused() {
    let problem = |text: &str| {
        let text = format!("version = 1\n[interface.eth0]\negress = {{ capacity = \"1 Gbit/s\" }}\n{text}");
        let problems = Policy::parse(&[Source { name: "p.toml", text: &text }]).expect_err(&text);
        problems.iter().map(|problem| (problem.code, problem.message.clone())).collect::<Vec<_>>()
    };
    let spec = "sending = { service_type = \"guaranteed\", token_rate = \"1 Mbit/s\" }";
    for (text, words) in [
        ("[[rule]]\ntemplate = \"x\"\n".to_owned(), "template \"x\""),
        (format!("[template.t]\n{spec}\n[[rule]]\ntemplate = \"t\"\nclass = \"x\"\n"), "class \"x\""),
        (format!("[group.g]\ninterface = \"eth0\"\nclass = \"x\"\n{spec}\n"), "class \"x\""),
        (format!("[group.g]\ninterface = \"eth9\"\n{spec}\n"), "interface \"eth9\""),
    ] {
        let problems = problem(&text);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].0, Code::UnknownName);
        assert!(problems[0].1.contains(words), "{problems:?}");
    }
    for (text, code) in [
        ("[group.g]\ninterface = \"eth0\"\n".to_owned(), Code::MissingKey),
        (format!("[group.g]\n{spec}\n"), Code::MissingKey),
        ("[interface.eth1]\nmtu = \"1500 B\"\n".to_owned(), Code::MissingKey),
        ("[template.t]\n".to_owned(), Code::MissingKey),
        ("[[rule]]\nmatch = { protocol = \"tcp\" }\n".to_owned(), Code::MissingKey),
        (
            "[interface.eth1]\negress = { capacity = \"1 Gbit/s\" }\nerror_terms = { c = \"1500 B\" }\n"
                .to_owned(),
            Code::MissingKey,
        ),
        (
            "[interface.eth1]\negress = { capacity = \"1 Gbit/s\" }\nmar_threshold = \"1%\"\n".to_owned(),
            Code::Conflict,
        ),
        (
            "[interface.eth1]\negress = { capacity = \"1 Gbit/s\" }\nmtu = \"100 B\"\n".to_owned(),
            Code::BadValue,
        ),
        (
            "[interface.eth1]\negress = { capacity = \"1 Gbit/s\", reservable = \"2 Gbit/s\" }\n".to_owned(),
            Code::BadValue,
        ),
        (
            "[interface.eth1]\negress = { capacity = \"1 Gbit/s\", min_best_effort = \"2 Gbit/s\" }\n"
                .to_owned(),
            Code::BadValue,
        ),
        ("[class.c]\nsetup_priority = 2\nholding_priority = 3\n".to_owned(), Code::Conflict),
        ("[client.c]\nrequests_per_second = 0\n".to_owned(), Code::BadValue),
        ("[class.c]\nmatch = {}\n".to_owned(), Code::MissingKey),
        ("[class.c]\nmatch = { uid = [] }\n".to_owned(), Code::BadValue),
        ("[class.c]\nmatch = { uid = -1 }\n".to_owned(), Code::BadValue),
        ("[class.c]\nmatch = { uid = \"www-data\" }\n".to_owned(), Code::BadValue),
        ("[class.c]\nmatch = { gid = \"9-1\" }\n".to_owned(), Code::BadValue),
        ("[class.c]\nmatch = { gid = true }\n".to_owned(), Code::WrongType),
        ("[class.c]\nmatch = { cgroup = \"system.slice\" }\n".to_owned(), Code::BadValue),
        ("[class.c]\nmatch = { user = 1 }\n".to_owned(), Code::UnknownKey),
        (
            "[interface.eth1]\negress = { capacity = \"1 Gbit/s\" }\nhysteresis = { time = 5 }\n".to_owned(),
            Code::BadUnit,
        ),
    ] {
        let problems = problem(&text);
        assert_eq!(problems.len(), 1, "{text}: {problems:?}");
        assert_eq!(problems[0].0, code, "{text}: {problems:?}");
    }
}

#[test]
fn proxies_that_cannot_serve_are_refused() {
    let problem = |lines: &str| {
        let text = format!(
            "version = 1\n[template.t]\nsending = {{ service_type = \"best_effort\" }}\n[proxy.p]\n{lines}\n"
        );
        let problems = Policy::parse(&[Source { name: "p.toml", text: &text }]).expect_err(&text);
        assert_eq!(problems.len(), 1, "{lines}: {problems:?}");
        problems[0].code
    };
    let valid = "listen = \"[::]:80\"\nto = \"a:80\"\n";
    for (lines, code) in [
        ("template = \"x\"", Code::UnknownName),
        ("class = \"x\"", Code::UnknownName),
        ("refuse = \"503\"", Code::Conflict),
        ("protocol = \"http\"\nrefuse = \"453\"", Code::Conflict),
        ("page = \"busy.html\"", Code::Conflict),
        ("limits = { head = \"1 B\" }", Code::BadValue),
        ("limits = { idle = \"0 s\" }", Code::BadValue),
        ("limits = { connections = 0 }", Code::BadValue),
        ("limits = { heads = 1 }", Code::UnknownKey),
        ("proxy_protocol = { accept = \"10.0.0.1/8\" }", Code::BadValue),
        ("proxy_protocol = { send = \"v3\" }", Code::BadValue),
        ("protocol = \"udp\"\nproxy_protocol = { send = \"v1\" }", Code::Conflict),
        ("protocol = \"udp\"\nrefuse = \"reset\"", Code::Conflict),
        ("[[proxy.p.rule]]", Code::MissingKey),
        ("[[proxy.p.rule]]\ntemplate = \"x\"", Code::UnknownName),
        ("[[proxy.p.rule]]\nmatch = { path = \"/*\" }\ntemplate = \"t\"", Code::Conflict),
        ("protocol = \"http\"\n[[proxy.p.rule]]\nmatch = { sni = \"a\" }\ntemplate = \"t\"", Code::Conflict),
        ("[[proxy.p.rule]]\nmatch = { port = 70000 }\ntemplate = \"t\"", Code::BadValue),
        ("proxy_protocol = {}", Code::MissingKey),
        ("retry_after = \"0 s\"", Code::BadValue),
        ("template = [\"t\", \"t\"]", Code::BadValue),
        ("[[proxy.p.rule]]\ntemplate = [\"t\", \"t\"]", Code::BadValue),
    ] {
        assert_eq!(problem(&format!("{valid}{lines}")), code, "{lines}");
    }
    for (protocol, condition) in [
        ("http", "path = \"live/*\""),
        ("http", "path = \"\""),
        ("http", "host = \"\""),
        ("http", "host = \"a:80\""),
        ("http", "host = \"*:8080\""),
        ("http", "host = \"http://a/\""),
        ("http", "host = [\"a\", \"b c\"]"),
        ("rtsp", "path = \"live\""),
        ("tls", "sni = \"\""),
        ("tls", "sni = \"a:443\""),
    ] {
        let rule = format!("[[proxy.p.rule]]\nmatch = {{ {condition} }}\ntemplate = \"t\"");
        let lines = format!("{valid}protocol = \"{protocol}\"\n{rule}");
        assert_eq!(problem(&lines), Code::BadValue, "{condition}");
    }
    assert_eq!(problem("listen = \"[::]:80\""), Code::MissingKey);
    assert_eq!(problem("to = \"a:80\""), Code::MissingKey);
    assert_eq!(problem("listen = \":80\"\nto = \"a:80\""), Code::BadValue);
    assert_eq!(problem("listen = \"[::]:80\"\nto = \"http://a:80\""), Code::BadValue);
}

/// The codes of the problems of proxies `a`, `b` and so on, which listen and lead to these addresses.
#[track_caller]
fn check_addresses(proxies: &[(&str, &str)], expected: &[&str]) {
    let mut text = "version = 1\n".to_owned();
    for ((listen, to), name) in proxies.iter().zip('a'..) {
        let (listen, udp) =
            listen.split_once("/udp").map_or((*listen, ""), |(listen, _)| (listen, "protocol = \"udp\"\n"));
        text += &format!("[proxy.{name}]\nlisten = \"{listen}\"\nto = \"{to}\"\n{udp}");
    }
    let problems = match Policy::parse(&[Source { name: "p.toml", text: &text }]) {
        Ok((_, problems)) | Err(problems) => problems,
    };
    let codes: Vec<_> = problems.iter().map(|problem| problem.code.id()).collect();
    assert_eq!(codes, expected, "{proxies:?}: {problems:?}");
}

#[test]
fn proxies_on_one_address_are_refused() {
    let to = "origin:1";
    check_addresses(&[("127.0.0.1:1", to), ("127.0.0.1:1", to)], &["GQ0015"]);
    check_addresses(&[("0.0.0.0:1", to), ("127.0.0.1:1", to)], &["GQ0015"]);
    check_addresses(&[("[::1]:1", to), ("[::]:1", to)], &["GQ0015"]);
    check_addresses(&[("127.0.0.1:1", to), ("127.0.0.1:1", to), ("0.0.0.0:1", to)], &["GQ0015", "GQ0015"]);
    check_addresses(&[("127.0.0.1:1/udp", to), ("0.0.0.0:1/udp", to)], &["GQ0015"]);
    check_addresses(&[("127.0.0.1:1", to), ("127.0.0.1:1/udp", to)], &[]);
    check_addresses(&[("127.0.0.1:1", to), ("127.0.0.1:2", to)], &[]);
    check_addresses(&[("127.0.0.1:1", to), ("127.0.0.2:1", to)], &[]);
    check_addresses(&[("127.0.0.1:0", to), ("127.0.0.1:0", to)], &[]);
    // Depends on a setting of the host.
    check_addresses(&[("0.0.0.0:1", to), ("[::]:1", to)], &[]);
}

#[test]
fn proxies_that_lead_to_themselves_are_refused() {
    check_addresses(&[("127.0.0.1:7000", "127.0.0.1:7000")], &["GQ0016"]);
    check_addresses(&[("0.0.0.0:7000", "127.0.0.1:7000")], &["GQ0016"]);
    check_addresses(&[("0.0.0.0:7000", "localhost:7000")], &["GQ0016"]);
    check_addresses(&[("[::]:7000", "localhost:7000")], &["GQ0016"]);
    check_addresses(&[("[::1]:7000", "localhost:7000")], &["GQ0016"]);
    check_addresses(&[("127.0.0.1:7000", "0.0.0.0:7000")], &["GQ0016"]);
    check_addresses(&[("127.0.0.1:7000/udp", "127.0.0.1:7000")], &["GQ0016"]);
    check_addresses(&[("10.0.0.1:7000", "[::ffff:10.0.0.1]:7000")], &["GQ0016"]);
    let two = [("10.0.0.1:1", "10.0.0.1:2"), ("10.0.0.1:2", "10.0.0.1:1")];
    check_addresses(&two, &["GQ0016", "GQ0016"]);
    // The first only leads to the circle.
    let three = [("10.0.0.1:3", "10.0.0.1:1"), two[0], two[1]];
    check_addresses(&three, &["GQ0016", "GQ0016"]);
    for (listen, to) in [
        ("127.0.0.1:7000", "127.0.0.1:7001"),
        ("127.0.0.1:7000", "127.0.0.2:7000"),
        ("0.0.0.0:7000", "192.0.2.1:7000"),
        ("0.0.0.0:7000", "origin:7000"),
        ("10.0.0.1:7000", "localhost:7000"),
    ] {
        check_addresses(&[(listen, to)], &[]);
    }
    check_addresses(&[("127.0.0.1:1", "127.0.0.1:2"), ("127.0.0.1:2/udp", "127.0.0.1:1")], &[]);
}

#[test]
fn doubtful_rules_of_proxies_give_warnings() {
    let best_effort = "[template.t]\nsending = { service_type = \"best_effort\" }\n";
    let warnings = |protocol: &str, rules: &[&str], rest: &str| {
        let mut text = format!(
            "version = 1\n{best_effort}[proxy.p]\nlisten = \"127.0.0.1:8120\"\nto = \"origin:80\"\nprotocol = \"{protocol}\"\n"
        );
        for conditions in rules {
            text += &format!("[[proxy.p.rule]]\nmatch = {{ {conditions} }}\ntemplate = \"t\"\n");
        }
        text += rest;
        let (_, problems) = Policy::parse(&[Source { name: "p.toml", text: &text }]).expect(&text);
        problems.iter().map(|problem| problem.code.id()).collect::<Vec<_>>()
    };
    for (first, second, shadowed) in [
        ("", "path = \"/live/*\"", true),
        ("path = \"/live/*\"", "", false),
        ("path = \"*\"", "path = \"/live/*\"", true),
        ("path = \"/live/*\"", "path = [\"/live/hd/*\", \"/live/*.ts\"]", true),
        ("path = \"/live/*\"", "path = [\"/live/hd/*\", \"/vod/*\"]", false),
        ("path = \"/live/hd/*\"", "path = \"/live/*\"", false),
        ("path = [\"/a\", \"/b\"]", "path = [\"/b\", \"/a\"]", true),
        ("host = \"A.example\"", "host = \"a.example\", path = \"/x\"", true),
        ("host = \"a.example\", path = \"/x\"", "host = \"a.example\"", false),
        ("peer = \"10.0.0.0/8\"", "peer = \"10.1.0.0/16\"", true),
        ("peer = \"10.0.0.0/8\"", "path = \"/x\"", false),
        ("port = \"8000-9000\"", "port = 8120", true),
        ("port = \"8000-9000\"", "port = [8120, 9001]", false),
    ] {
        let expected: &[&str] = if shadowed { &["GQ0104"] } else { &[] };
        assert_eq!(warnings("http", &[first, second], ""), expected, "{first} before {second}");
    }
    assert_eq!(warnings("tls", &["sni = \"*.example\"", "sni = \"a.example\""], ""), ["GQ0104"]);
    assert_eq!(warnings("http", &["path = \"/a?x=1\""], ""), ["GQ0115"]);
    assert_eq!(warnings("http", &["path = \"/a#x\""], ""), ["GQ0115"]);
    assert_eq!(warnings("http", &["path = \"/a/../x\""], ""), ["GQ0115"]);
    assert_eq!(warnings("tcp", &["port = 443"], ""), ["GQ0115"]);
    assert_eq!(warnings("tcp", &["port = 8120"], ""), [""; 0]);
    assert_eq!(warnings("tcp", &["port = \"1024-65535\""], ""), [""; 0]);
    let used = "class = \"c\"\n[class.c]\n[[rule]]\ntemplate = \"t\"\n";
    assert_eq!(warnings("tcp", &["port = 8120"], used), [""; 0], "a proxy's rule assigns the class");
    assert_eq!(warnings("tcp", &["port = 8120"], &used.replace("class =", "# class =")), ["GQ0105"]);
}

#[test]
fn doubtful_policies_give_warnings() {
    let warnings = |text: &str| {
        let text = format!("version = 1\n{text}");
        let (_, problems) = Policy::parse(&[Source { name: "p.toml", text: &text }]).expect(&text);
        problems.iter().map(|problem| problem.code.id()).collect::<Vec<_>>()
    };
    let eth0 = "[interface.eth0]\negress = { capacity = \"100 Mbit/s\" }\n";
    let template = |name: &str, fields: &str| {
        format!("[template.{name}]\nsending = {{ service_type = \"guaranteed\", {fields} }}\n")
    };
    let small = template("t", "token_rate = \"1 Mbit/s\"");
    assert_eq!(warnings(&format!("{eth0}{small}")), [""; 0]);
    assert_eq!(
        warnings("[interface.eth0]\negress = { capacity = \"1 Gbit/s\", reservable = \"100%\" }\n"),
        ["GQ0101"]
    );
    let kept = "egress = { capacity = \"8 Mbit/s\", reservable = \"100%\", min_best_effort";
    assert_eq!(
        warnings(&format!("[interface.eth0]\n{kept} = \"2 Mbit/s\" }}\n")),
        [""; 0],
        "75 % is reservable"
    );
    assert_eq!(warnings(&format!("[interface.eth0]\n{kept} = \"1 Mbit/s\" }}\n")), ["GQ0101"]);
    let class = "[class.c]\nshare = \"10 Mbit/s\"\n";
    let bucket =
        |size: &str| template("t", &format!("token_rate = \"1 Mbit/s\", token_bucket_size = \"{size}\""));
    assert_eq!(warnings(&format!("{eth0}{}", bucket("1500 B"))), [""; 0]);
    assert_eq!(warnings(&format!("{eth0}{}", bucket("1499 B"))), ["GQ0103"]);
    assert_eq!(warnings(&format!("{eth0}{}", bucket("1000 B\", max_sdu_size = \"1000 B"))), [""; 0]);
    let rules = |first: &str, second: &str| {
        format!(
            "{eth0}{small}[[rule]]\nmatch = {{ {first} }}\ntemplate = \"t\"\n[[rule]]\nmatch = {{ {second} }}\ntemplate = \"t\"\n"
        )
    };
    for (first, second, shadowed) in [
        ("", "protocol = \"tcp\"", true),
        ("protocol = \"tcp\"", "", false),
        ("protocol = \"tcp\"", "protocol = \"udp\"", false),
        ("local_port = \"1-100\"", "local_port = [5, \"90-100\"]", true),
        ("local_port = \"1-100\"", "local_port = [5, \"90-101\"]", false),
        ("peer = \"10.0.0.0/8\"", "peer = [\"10.1.0.0/16\", \"10.2.3.4\"]", true),
        ("peer = \"10.0.0.0/8\"", "peer = [\"10.1.0.0/16\", \"11.0.0.0/8\"]", false),
        ("peer = \"10.0.0.0/8\"", "peer = \"0.0.0.0/0\"", false),
        ("peer = \"::/0\"", "peer = \"10.0.0.0/8\"", false),
        ("protocol = \"tcp\"", "protocol = \"tcp\", local_port = 80", true),
        ("protocol = \"tcp\", local_port = 80", "protocol = \"tcp\"", false),
    ] {
        let expected: &[&str] = if shadowed { &["GQ0104"] } else { &[] };
        assert_eq!(warnings(&rules(first, second)), expected, "{first} before {second}");
    }
    assert_eq!(warnings(&format!("{eth0}{small}{class}[[rule]]\ntemplate = \"t\"\n")), ["GQ0105"]);
    assert_eq!(
        warnings(&format!("{eth0}{small}{class}match = {{ uid = 1 }}\n[[rule]]\ntemplate = \"t\"\n")),
        [""; 0],
        "flows of matching owners use it"
    );
    assert_eq!(warnings(&format!("{eth0}{small}{class}")), [""; 0], "without rules, callers name classes");
}

#[test]
fn a_number_that_is_too_large_is_said_to_be_that() {
    let message = |text: &str| {
        let text = format!("version = 1\n[interface.eth0]\negress = {{ capacity = \"8 Mbit/s\" }}\n{text}");
        let problems = Policy::parse(&[Source { name: "policy.toml", text: &text }]).unwrap_err();
        let messages: Vec<_> = problems.iter().map(|problem| problem.message.clone()).collect();
        assert_eq!(messages.len(), 1, "{messages:?}");
        messages[0].clone()
    };
    let large = message("max_flows = 99999999999999999999\n");
    assert!(large.ends_with("99999999999999999999 is not allowed: at most 18446744073709551615"), "{large}");
    let small = message("max_flows = -1\n");
    assert!(small.ends_with("-1 is not allowed: at least 0"), "{small}");
    let bucket = |size: &str| {
        message(&format!(
            "[template.t]\nsending = {{ service_type = \"guaranteed\", token_rate = \"1 Mbit/s\", token_bucket_size = \"{size}\" }}\n"
        ))
    };
    let long = bucket("10000000000000 h");
    assert!(
        long.contains("token_bucket_size: \"10000000000000 h\" is too large: at most")
            && long.contains(" us "),
        "{long}"
    );
    let digits = bucket("99999999999999999999999999999999 h");
    assert!(digits.contains("is too large: at most"), "{digits}");
    let parts = bucket("0.5 us");
    assert!(parts.contains("is not a whole number of microseconds"), "{parts}");
    let unknown = bucket("5 kg");
    assert!(
        unknown.contains("with B, kB, MB, KiB or MiB, or as a time at token_rate, with us, ms, s, min or h"),
        "{unknown}"
    );
}

#[test]
fn every_code_is_explained() {
    let mut ids = std::collections::BTreeSet::new();
    for code in Code::ALL {
        assert!(ids.insert(code.id()), "{code} is listed twice");
        assert!(code.explanation().len() > code.title().len() && !code.title().is_empty(), "{code}");
    }
}

/// What is suggested would be no error of its own.
#[test]
fn a_suggestion_is_no_other_mistake() {
    let help = |text: &str, code: Code| {
        let source = Source { name: "p.toml", text };
        let problems = Policy::parse(&[source]).expect_err(text);
        let problem = problems.iter().find(|problem| problem.code == code).unwrap();
        problem.help.clone().unwrap()
    };
    let link = |name: &str, parent: &str| {
        format!("[interface.{name}]\negress = {{ capacity = \"1 Gbit/s\" }}\nparent = \"{parent}\"\n")
    };
    let of_parent = |links: &str| help(&format!("version = 1\n{links}"), Code::UnknownName);
    let top = "[interface.eth20]\negress = { capacity = \"1 Gbit/s\" }\n";
    assert_eq!(of_parent(&link("eth0", "eth1")), "define [interface.\"eth1\"]", "not eth0 itself");
    assert_eq!(of_parent(&(link("eth0", "eth1") + &link("eth2", "eth0"))), "define [interface.\"eth1\"]");
    assert_eq!(of_parent(&(link("eth0", "eth2") + top)), "did you mean \"eth20\"?");
    let egress = "egress = { capacity = \"1 Gbit/s\" }\n";
    let of_key =
        |key: &str| help(&format!("version = 1\n[interface.eth0]\n{egress}{key} = 1\n"), Code::UnknownKey);
    assert_eq!(of_key("ingres"), "did you mean \"ingress\"?");
    assert_eq!(of_key("egresss"), "\"egress\" is set already");
}
