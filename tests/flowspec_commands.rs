//! The commands of `gqos flowspec`: bytes to text and back, checks and explanations.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::path::Path;

#[path = "common/command.rs"]
mod command;

use command::{check, gqos};

/// A QOS with an object, as a 64-bit program has it in memory.
fn qos_bytes() -> Vec<u8> {
    let mut sending = [u32::MAX; 8];
    (sending[0], sending[1], sending[5]) = (750_000, 65_536, 3);
    let mut receiving = [u32::MAX; 8];
    receiving[5] = 1;
    let rest = [12, 0, 0, 0, 2002, 12, 2];
    [&sending[..], &receiving, &rest].concat().into_iter().flat_map(u32::to_le_bytes).collect()
}

#[test]
fn flowspecs_go_from_bytes_to_text_and_back() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let write = |name: &str, bytes: &[u8]| std::fs::write(here.join(name), bytes).unwrap();
    write("qos.bin", &qos_bytes());
    for (format, file) in [("json", "qos.json"), ("toml", "qos.toml")] {
        let text = gqos(here, &["flowspec", "decode", "--format", format, "qos.bin"]);
        assert!(text.status.success(), "{text:?}");
        write(file, &text.stdout);
        assert_eq!(gqos(here, &["flowspec", "encode", file]).stdout, qos_bytes(), "{format}");
        let hex = gqos(here, &["flowspec", "encode", "--hex", file]).stdout;
        assert!(hex.starts_with(b"b0 71 0b 00 00 00 01 00"), "{hex:?}");
        write("qos.hex", &hex);
        assert_eq!(
            gqos(here, &["flowspec", "decode", "--hex", "--format", format, "qos.hex"]).stdout,
            text.stdout
        );
        let narrow = gqos(here, &["flowspec", "encode", "--abi", "win32", file]).stdout;
        assert_eq!(narrow.len(), 72 + 12);
        write("narrow.bin", &narrow);
        let again = gqos(here, &["flowspec", "decode", "--abi", "win32", "--format", format, "narrow.bin"]);
        assert_eq!(again.stdout, text.stdout);
    }
    check(here, &["flowspec", "decode", "qos.bin"], 0, "\"shape_discard_mode\": \"discard\"", "");
    check(here, &["flowspec", "decode", "--format", "toml", "qos.bin"], 0, "token_rate = \"6 Mbit/s\"", "");
    // An invalid QOS has a raw form, which keeps every bit.
    let mut strange = qos_bytes();
    (strange[20], strange[68], strange[80]) = (7, 0xCC, 0xFF);
    write("strange.bin", &strange);
    let raw = gqos(here, &["flowspec", "decode", "--raw", "strange.bin"]).stdout;
    write("raw.json", &raw);
    assert_eq!(gqos(here, &["flowspec", "encode", "raw.json"]).stdout, strange);
}

#[test]
fn invalid_flowspecs_are_reported_with_field_place_and_status() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let write = |name: &str, at: usize, byte: u8| {
        let mut bytes = qos_bytes();
        bytes[at] = byte;
        std::fs::write(here.join(name), bytes).unwrap();
    };
    write("service.bin", 20, 7);
    write("mode.bin", 88, 4);
    std::fs::write(here.join("short.bin"), &qos_bytes()[..72]).unwrap();
    std::fs::write(here.join("rate.toml"), "[sending]\nservice_type = \"guaranteed\"\ntoken_rate = 6\n")
        .unwrap();
    let message = "sending.service_type at byte 20 is 7: service_type 0x7 is not a service type that can be asked for; WSA_QOS_ESERVICETYPE (11016)";
    check(here, &["flowspec", "decode", "service.bin"], 78, "", message);
    check(here, &["flowspec", "check", "service.bin"], 78, "", message);
    check(
        here,
        &["flowspec", "check", "mode.bin"],
        78,
        "",
        "provider_specific[0].shape_discard_mode at byte 88 is 4",
    );
    let json = "{\"field\":\"provider_specific[0].shape_discard_mode\",\"offset\":88,\"value\":4,\"status\":\"WSA_QOS_ESDMODEOBJ\",\"code\":11029,";
    check(here, &["flowspec", "check", "--message-format", "json", "mode.bin"], 78, json, "");
    check(here, &["flowspec", "decode", "short.bin"], 78, "", "a win32 QOS has as many");
    check(here, &["flowspec", "encode", "rate.toml"], 78, "", "can be read in two ways");
    let all_wrong = "[sending]\nservice_type = \"guarenteed\"\ntoken_rate = 6\nlatency = \"5 parsecs\"\nburst = 1\n[receiving]\nservice_type = \"guaranteed\"\npeak_bandwidth = 1.5\n";
    std::fs::write(here.join("wrong.toml"), all_wrong).unwrap();
    let output = gqos(here, &["flowspec", "check", "--message-format", "json", "wrong.toml"]);
    let records = String::from_utf8(output.stdout).unwrap();
    let records = records.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let fields: BTreeSet<_> = records.map(|record| record["field"].as_str().unwrap().to_owned()).collect();
    let keys = ["service_type", "token_rate", "latency", "burst"].map(|key| format!("sending.{key}"));
    assert_eq!(fields, keys.into_iter().chain(["receiving.peak_bandwidth".into()]).collect());
    check(
        here,
        &["flowspec", "check", "wrong.toml"],
        78,
        "",
        "wrong.toml: sending.burst: sending has no key \"burst\"",
    );
    check(
        here,
        &["flowspec", "encode", "wrong.toml"],
        78,
        "",
        "wrong.toml: receiving.peak_bandwidth: \"1.5\" can be read in two ways",
    );
    let contradictions = "guaranteed, token_rate = 6 Mbit/s, peak_bandwidth = 5 Mbit/s, token_bucket_size = 100 B, max_sdu_size = 1500 B";
    for message in ["peak_bandwidth 5 Mbit/s is below", "token_bucket_size 100 B is below max_sdu_size"] {
        check(here, &["flowspec", "check", "--send", contradictions], 78, "", message);
    }
    check(
        here,
        &["flowspec", "decode", "absent.bin"],
        71,
        "",
        "open (absent.bin): No such file or directory (ENOENT)",
    );
}

#[test]
fn a_flowspec_on_the_command_line_is_checked() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    check(here, &["flowspec", "check", "--send", "best_effort"], 0, "", "");
    let no_delay = "guaranteed, token_rate = 6 Mbit/s, latency = 0 us";
    check(here, &["flowspec", "check", "--send", no_delay], 1, "", "WSA_QOS_ADMISSION_FAILURE");
    check(
        here,
        &["flowspec", "check", "--send", "gold"],
        2,
        "",
        "service_type: \"gold\" is not one of no_traffic",
    );
    let jumbo = "guaranteed, token_rate = 6 Mbit/s, max_sdu_size = 9000 B";
    check(here, &["flowspec", "check", "--send", jumbo], 0, "", "");
    check(
        here,
        &["flowspec", "check", "--mtu", "1500 B", "--send", jumbo],
        78,
        "",
        "above the interface's MTU",
    );
}

#[test]
fn a_message_names_the_program_once() {
    let here = std::env::temp_dir();
    let output = gqos(&here, &["flowspec", "explain", "--send", "guaranteed"]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.starts_with("gqos: sending: token_rate is not specified"), "{message}");
    assert_eq!(output.status.code(), Some(78));
}

#[test]
fn all_problems_of_a_flowspec_on_the_command_line_are_shown() {
    for (spec, words) in [
        (
            "guarenteed, token_rate=6M",
            &["qualitative (did you mean \"guaranteed\"?); token_rate: \"6M\" can be read in two ways"][..],
        ),
        (
            "guaranteed, rate = 1, token_rate",
            &["the flowspec has no key \"rate\"", "token_rate has no value"],
        ),
        ("guaranteed, latency = 1 s, latency = 1 s", &["latency is given twice"]),
        ("xyz", &["\"xyz\" is not one of"]),
    ] {
        let output = gqos(Path::new("."), &["flowspec", "explain", "--send", spec]);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{message}");
        for words in words {
            assert!(message.contains(words), "{words} is not in {message}");
        }
        assert!(spec.starts_with("guar") || !message.contains("did you mean"), "{message}");
    }
}

/// The flowspec of a command line or a file, as `flowspec decode` writes what `flowspec encode` made of it.
#[track_caller]
fn check_read(sending: &str, token_rate: u64, token_bucket_size: Option<u64>) {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let quoted = sending.split(", ").map(|part| match part.split_once(" = ") {
        Some((key, value)) => format!("{key} = \"{value}\"\n"),
        None => format!("service_type = \"{part}\"\n"),
    });
    let fields: String = quoted.collect();
    std::fs::write(here.join("whole.toml"), &fields).unwrap();
    std::fs::write(here.join("qos.toml"), format!("[sending]\n{fields}")).unwrap();
    let read = |arguments: &[&str]| {
        let output = gqos(here, &[&["flowspec", "explain", "--json"], arguments].concat());
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        json["sending"]["flowspec"].clone()
    };
    for arguments in [&["--send", sending][..], &["whole.toml"], &["qos.toml"]] {
        let spec = read(arguments);
        assert_eq!(spec["token_rate"], token_rate, "{arguments:?}: {spec}");
        assert_eq!(spec["token_bucket_size"].as_u64(), token_bucket_size, "{arguments:?}: {spec}");
    }
}

#[test]
fn arguments_and_files_take_every_unit_that_a_policy_takes() {
    check_read("guaranteed, token_rate = 6 Mbit/s", 750_000, None);
    check_read("guaranteed, token_rate = 6 Mbit/s, token_bucket_size = 64 KiB", 750_000, Some(65_536));
    check_read("guaranteed, token_rate = 6 Mbit/s, token_bucket_size = 50 ms", 750_000, Some(37_500));
    check_read("controlled_load, token_bucket_size = 1 s, token_rate = 6 Mbit/s", 750_000, Some(750_000));
    // 6 Mbit/s of payload in packets of 1500 B with headers of 72 B, rounded up to kbit/s.
    check_read("guaranteed, goodput = 6 Mbit/s", 787_875, None);
    check_read("guaranteed, goodput = 6 Mbit/s, token_bucket_size = 1 s", 787_875, Some(787_875));
}

#[test]
fn every_problem_of_a_flowspec_is_shown_beside_those_of_its_units() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let toml = "[sending]\nservice_type = \"guaranteed\"\ntoken_rate = \"6 Mbit/s\"\npeak_bandwidth = \"1 Mbit/s\"\ntoken_bucket_size = \"20 ms\"\nmax_sdu_size = \"20 kB\"\nlatency = \"5 parsecs\"\n";
    std::fs::write(here.join("f.toml"), toml).unwrap();
    let json = r#"{"sending": {"service_type": "guaranteed", "token_rate": 750000, "peak_bandwidth": 125000, "token_bucket_size": 15000, "max_sdu_size": 20000, "latency": "5 parsecs"}}"#;
    std::fs::write(here.join("f.json"), json).unwrap();
    let argument = "guaranteed, token_rate = 6 Mbit/s, peak_bandwidth = 1 Mbit/s, token_bucket_size = 20 ms, max_sdu_size = 20 kB, latency = 5 parsecs";
    for (arguments, code) in [(&["f.toml"][..], 78), (&["f.json"], 78), (&["--send", argument], 2)] {
        for words in [
            "peak_bandwidth 1 Mbit/s is below",
            "token_bucket_size 15000 B is below max_sdu_size",
            "5 parsecs",
        ] {
            check(here, &[&["flowspec", "check"], arguments].concat(), code, "", words);
        }
    }
    for (spec, words) in [
        ("guaranteed, token_bucket_size = 50 ms", "token_bucket_size: a time needs a token_rate"),
        (
            "guaranteed, token_rate = 1 Mbit/s, goodput = 1 Mbit/s",
            "token_rate and goodput exclude each other",
        ),
        ("guaranteed, goodput = 6 Mbps", "goodput: \"6 Mbps\" can be read in two ways"),
        ("guaranteed, token_rate = 1 Mbit/s, token_bucket_size = 5 parsecs", "or as a time at token_rate"),
        ("guaranteed, no_qos_signaling, no_qos_signaling", "no_qos_signaling is given twice"),
        ("guaranteed,", "the flowspec has no key \"\""),
    ] {
        check(here, &["flowspec", "explain", "--send", spec], 2, "", words);
        check(here, &["connect", "--send", spec, "127.0.0.1", "9"], 2, "", words);
    }
}

#[test]
fn bytes_that_are_no_qos_are_not_encoded() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    for (name, bytes) in [
        ("empty", &b""[..]),
        ("line", b"\n"),
        ("two", &[0, 1]),
        ("short", &qos_bytes()[..79]),
        ("digits", b"00 01\n"),
    ] {
        std::fs::write(here.join(name), bytes).unwrap();
        for command in ["encode", "decode", "check", "explain"] {
            check(here, &["flowspec", command, name], 78, "", "the bytes end here");
        }
        check(here, &["flowspec", "encode", "--hex", name], 78, "", "the bytes end here");
    }
}

#[test]
fn a_reserved_rate_below_the_token_rate_is_explained() {
    let spec = "guaranteed, token_rate = 6 Mbit/s";
    let words = "5 Mbit/s  no bound on the delay: R is below r";
    check(Path::new("."), &["flowspec", "explain", "--send", spec, "--rate", "5 Mbit/s"], 0, words, "");
}

#[test]
fn flowspecs_are_explained_in_numbers() {
    let here = Path::new(".");
    let spec = "guaranteed, token_rate = 6 Mbit/s, token_bucket_size = 64 KiB, peak_bandwidth = 12 Mbit/s, latency = 50 ms";
    let explain = |words: &str| check(here, &["flowspec", "explain", "--send", spec], 0, words, "");
    explain("sending: guaranteed");
    explain("token_rate            r  6 Mbit/s (750000 B/s)");
    explain("minimum_policed_size  m  64 B   not given: the default");
    // b + r·T over a second, and (b − M)/(p − r) for the burst.
    explain("         1 s         815536 B");
    explain("   85.382 ms         129572 B   the burst ends");
    // (b − M)/R · (p − R)/(p − r) + M/R = 50 ms.
    explain("A delay of 50 ms needs R = 7656.72 kbit/s (957090 B/s).");
    explain("Windows' default is DSCP 40 and 802.1p 5");
    explain("receiving: best effort");
    let asked = [
        "flowspec", "explain", "--send", spec, "--rate", "8 Mbit/s", "--c", "1500 B", "--d", "1 ms", "--json",
    ];
    let output = gqos(here, &asked);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let traffic = &json["sending"]["traffic"];
    assert_eq!(traffic["rate_for"][0]["delay"], 50_000);
    let served = traffic["served_at"].as_array().unwrap();
    let at = |rate: u64| served.iter().find(|served| served["reserved_rate"] == rate).unwrap();
    // 64036/10^6 · 500000/750000 + 3000/10^6 + 1 ms.
    assert_eq!(at(1_000_000)["delay_bound"], 46_691);
    assert_eq!(json["receiving"]["traffic"], serde_json::Value::Null);
}

/// What `flowspec explain --json` says of the marks of a direction, for a request with these objects.
#[track_caller]
fn check_marks(qos: &str, objects: &[&str], direction: &str, expected: &str) {
    let directory = tempfile::tempdir().unwrap();
    let text = format!("{{{qos}, \"provider_specific\": [{}]}}", objects.join(", "));
    std::fs::write(directory.path().join("qos.json"), text).unwrap();
    let output = gqos(directory.path(), &["flowspec", "explain", "--json", "qos.json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let marks: serde_json::Map<_, _> = ["dscp", "windows_mark", "windows_excess_mark"]
        .into_iter()
        .filter_map(|key| Some((key.to_owned(), json[direction].get(key)?.clone())))
        .collect();
    let expected: serde_json::Value = serde_json::from_str(expected).unwrap();
    assert_eq!(serde_json::Value::from(marks), expected, "{qos} {objects:?} {direction}: {output:?}");
}

#[test]
fn marks_are_explained_for_each_direction() {
    const VIDEO: &str = r#""sending": {"service_type": "guaranteed", "token_rate": 750000}, "receiving": {"service_type": "best_effort"}"#;
    const BEST_EFFORT: &str =
        r#""sending": {"service_type": "best_effort"}, "receiving": {"service_type": "no_traffic"}"#;
    const UPLOAD: &str = r#""sending": {"service_type": "best_effort"}, "receiving": {"service_type": "controlled_load", "token_rate": 750000}"#;
    const DS_CLASS: &str = r#"{"object_type": "ds_class", "ds_field": 46}"#;
    const TRAFFIC_CLASS: &str = r#"{"object_type": "traffic_class", "traffic_class": 4}"#;
    let guaranteed = r#""windows_mark": {"dscp": 40, "user_priority": 5}, "windows_excess_mark": {"dscp": 0, "user_priority": 1}"#;
    let controlled = r#""windows_mark": {"dscp": 24, "user_priority": 4}, "windows_excess_mark": {"dscp": 0, "user_priority": 1}"#;
    let best_effort = r#""windows_mark": {"dscp": 0, "user_priority": 0}, "windows_excess_mark": null"#;
    let with = |dscp: u8, rest: &str| format!("{{\"dscp\": {dscp}, {rest}}}");
    let without = |rest: &str| format!("{{{rest}}}");
    // Windows' defaults, which gqos does not apply.
    check_marks(VIDEO, &[], "sending", &without(guaranteed));
    check_marks(VIDEO, &[], "receiving", &without(best_effort));
    check_marks(UPLOAD, &[], "receiving", &without(controlled));
    check_marks(BEST_EFFORT, &[], "receiving", r#"{"windows_mark": null, "windows_excess_mark": null}"#);
    // An object sets the code point of what a flow with a reservation sends, and of nothing else.
    check_marks(VIDEO, &[DS_CLASS], "sending", &with(46, guaranteed));
    check_marks(VIDEO, &[TRAFFIC_CLASS], "sending", &with(32, guaranteed));
    check_marks(VIDEO, &[TRAFFIC_CLASS, DS_CLASS], "sending", &with(46, guaranteed));
    check_marks(VIDEO, &[DS_CLASS], "receiving", &without(best_effort));
    check_marks(UPLOAD, &[DS_CLASS], "sending", &with(46, best_effort));
    check_marks(UPLOAD, &[DS_CLASS], "receiving", &without(controlled));
    check_marks(BEST_EFFORT, &[DS_CLASS], "sending", &without(best_effort));
}
