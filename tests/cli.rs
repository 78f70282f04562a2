//! The commands' exit codes, their output on each stream, and their messages.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::path::Path;

#[path = "common/command.rs"]
mod command;
#[path = "cli/replies.rs"]
mod replies;

use command::{check, gqos};

#[test]
fn check_reports_all_problems_with_their_places() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("good.toml", "version = 1\n[interface.eth0]\negress = { capacity = \"1 Gbit/s\" }\n");
    write("bad.toml", "version = 1\n[interface.eth0]\negres = { capacity = \"1 Gbps\" }\n");
    write(
        "warn.toml",
        "version = 1\n[interface.eth0]\negress = { capacity = \"1 Gbit/s\", reservable = \"100%\" }\n",
    );
    let here = directory.path();
    check(
        here,
        &["check", "good.toml"],
        0,
        "good.toml is valid. Flows that fit, of one class and template alone:\neth0: reservable sending 800 Mbit/s, receiving 800 Mbit/s\n",
        "",
    );
    check(here, &["check", "warn.toml"], 0, "warn.toml is valid", "warning[GQ0101]");
    check(here, &["check", "bad.toml"], 78, "", "error[GQ0002]: interface.eth0 has no key \"egres\"");
    check(here, &["check", "bad.toml"], 78, "", "bad.toml:3:1");
    check(here, &["check", "bad.toml"], 78, "", "did you mean \"egress\"?");
    check(here, &["check", "bad.toml"], 78, "", "error[GQ0004]");
    check(here, &["check", "good.toml", "good.toml"], 78, "", "first defined here");
    std::fs::write(here.join("far.toml"), "version = 1\n[interface.eth0]\negress = { zzzzzz = 1 }\n")
        .unwrap();
    let help = "the keys are capacity, reservable, min_best_effort\n";
    check(here, &["check", "far.toml"], 78, "", help);
    let json = "{\"code\":\"GQ0002\",\"severity\":\"error\",\"message\":\"interface.eth0 has no key \\\"egres\\\"\",\"file\":\"bad.toml\",\"line\":3,\"column\":1,\"help\":\"did you mean \\\"egress\\\"?\"}\n";
    check(here, &["check", "--message-format", "json", "bad.toml"], 78, json, "");
    check(
        here,
        &["check", "absent.toml"],
        71,
        "",
        "error[GQ0014]: open (absent.toml): No such file or directory (ENOENT)",
    );
    let files = ["absent.toml", "bad.toml", "gone.toml"];
    let all = |options: &[&str]| gqos(here, &[&["check"], options, &files].concat());
    let text = String::from_utf8(all(&[]).stderr).unwrap();
    for problem in ["open (absent.toml)", "bad.toml:3:1", "open (gone.toml)", "gqos: 4 errors, 0 warnings"] {
        assert!(text.contains(problem), "{problem} is not in\n{text}");
    }
    let output = all(&["--json"]);
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(78), &b""[..]));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let named: Vec<_> =
        document["problems"].as_array().unwrap().iter().map(|problem| &problem["file"]).collect();
    assert_eq!(named, ["absent.toml", "bad.toml", "bad.toml", "gone.toml"]);
    let record = "{\"code\":\"GQ0014\",\"severity\":\"error\",\"message\":\"open (gone.toml): No such file or directory (ENOENT)\",\"file\":\"gone.toml\",\"line\":1,\"column\":1}\n";
    check(here, &["check", "--message-format", "json", "gone.toml"], 71, record, "");
    std::fs::write(here.join("empty.jsonl"), "").unwrap();
    for command in [&["replay", "empty.jsonl"][..], &["plan"]] {
        let policies = ["-p", "absent.toml", "-p", "bad.toml"];
        let arguments = [command, &policies].concat();
        check(here, &arguments, 78, "", "open (absent.toml)");
        check(here, &arguments, 78, "", "bad.toml:3:1");
    }
    let trace_too = ["replay", "-p", "bad.toml", "gone.jsonl"];
    check(here, &trace_too, 78, "", "bad.toml:3:1");
    check(here, &trace_too, 78, "", "open (gone.jsonl): No such file or directory (ENOENT)");
    let compared = ["check", "--changes-from", "gone.toml", "warn.toml"];
    check(here, &compared, 71, "", "open (gone.toml)");
    check(here, &compared, 71, "", "gqos: 1 error, 1 warning");
    let output = gqos(here, &[&compared[..], &["--json"]].concat());
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &document["is_valid"]), (Some(71), &true.into()));
    assert_eq!(document["problems"][1]["file"], "gone.toml");
    std::fs::write(here.join("binary.toml"), b"version = 1\n\xff").unwrap();
    check(here, &["check", "binary.toml"], 78, "", "binary.toml: not UTF-8 from byte 12 on");
    check(here, &["check"], 2, "", "required");
}

const LADDER: &str = r#"version = 1
[interface.eth0]
egress = { capacity = "1 Gbit/s", reservable = "55%" }
[template.1080p]
sending = { service_type = "guaranteed", token_rate = "6 Mbit/s" }
[template.720p]
sending = { service_type = "guaranteed", token_rate = "3.5 Mbit/s" }
[template.480p]
sending = { service_type = "guaranteed", token_rate = "1 Mbit/s" }
[class.live]
max_flows = 200
[class.vod]
share = "20%"
max_rate = "5 Mbit/s"
"#;

#[test]
fn the_message_of_a_refused_ladder_names_the_holders_once() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    std::fs::write(here.join("p.toml"), LADDER.replace("\"1 Gbit/s\"", "\"12 Mbit/s\"")).unwrap();
    let reserve = |id: &str, templates: &str| {
        format!(
            "{{\"at_us\":0,\"op\":\"reserve\",\"id\":\"{id}\",\"interface\":\"eth0\",\"templates\":[{templates}]}}\n"
        )
    };
    let trace = reserve("first", "\"1080p\"") + &reserve("second", "\"1080p\",\"720p\",\"480p\"");
    std::fs::write(here.join("t.jsonl"), trace).unwrap();
    let output = gqos(here, &["replay", "-p", "p.toml", "t.jsonl"]);
    let decisions = String::from_utf8(output.stdout).unwrap();
    let decision: serde_json::Value = serde_json::from_str(decisions.lines().last().unwrap()).unwrap();
    let message = decision["message"].as_str().unwrap();
    assert_eq!(message.matches("most is held by first (6 Mbit/s)").count(), 1, "{message}");
    assert_eq!(message.matches(" short").count(), 3, "{message}");
}

#[test]
fn check_says_what_a_valid_policy_can_hold() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    std::fs::write(here.join("p.toml"), LADDER).unwrap();
    let held = "p.toml is valid. Flows that fit, of one class and template alone:\n\
        eth0: reservable sending 550 Mbit/s, receiving 550 Mbit/s\n  \
        live: 91 × 1080p, or 157 × 720p (the sending budget of 550 Mbit/s), or 200 × 480p (max_flows of the class)\n  \
        vod: 31 × 720p, or 110 × 480p (the class's sending share of 110 Mbit/s)\n";
    check(here, &["check", "p.toml"], 0, held, "");
    let output = gqos(here, &["check", "--json", "p.toml"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["is_valid"], &json["problems"]), (&true.into(), &serde_json::json!([])));
    let eth0 = &json["holds"]["interfaces"][0];
    assert_eq!(eth0["reservable"]["sending"], 68_750_000);
    let fill = |class: &str, template: &str| {
        let fills = eth0["fills"].as_array().unwrap().iter();
        fills.clone().find(|fill| fill["class"] == class && fill["template"] == template).unwrap().clone()
    };
    let group = "[group.channel]\ninterface = \"eth0\"\nclass = \"live\"\n\
        sending = { service_type = \"guaranteed\", token_rate = \"60 Mbit/s\", token_bucket_size = \"6 kB\" }\n";
    std::fs::write(here.join("g.toml"), format!("{LADDER}{group}")).unwrap();
    check(
        here,
        &["check", "g.toml"],
        0,
        "4 × 1080p, or 4 × 480p, or 4 × 720p (the group's sending token_bucket_size)",
        "",
    );
    let limit = serde_json::json!({ "reason": "class_flows", "direction": null, "budget": null });
    assert_eq!((&fill("live", "480p")["flows"], &fill("live", "480p")["limit"]), (&200.into(), &limit));
    let limit = serde_json::json!({ "reason": "flow_rate", "direction": "sending", "budget": null });
    assert_eq!((&fill("vod", "1080p")["flows"], &fill("vod", "1080p")["limit"]), (&0.into(), &limit));
    std::fs::write(here.join("bad.toml"), "version = 1\nprempt = true\n").unwrap();
    check(
        here,
        &["check", "--json", "bad.toml"],
        78,
        "{\"is_valid\":false,\"problems\":[{\"code\":\"GQ0002\"",
        "",
    );
    check(here, &["check", "--json", "--message-format", "sarif", "p.toml"], 2, "", "cannot be used with");
}

#[test]
fn check_says_what_a_policy_changes_key_by_key_and_for_flows() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    std::fs::write(here.join("old.toml"), LADDER).unwrap();
    let new = LADDER.replace("capacity = \"1 Gbit/s\"", "capacity = \"2 Gbit/s\"").replace("20%", "5%");
    let new = new.replace("[class.live]\nmax_flows = 200", "[class.live]") + "[client.edge]\nmax_flows = 2\n";
    std::fs::write(here.join("new.toml"), new).unwrap();
    let changes = "interface.eth0.egress.capacity: \"1 Gbit/s\" → \"2 Gbit/s\"\n\
        interface.eth0.ingress.capacity: \"1 Gbit/s\" → \"2 Gbit/s\"\n\
        class.live.max_flows: 200 → none\n\
        class.vod.share: \"20%\" → \"5%\"\n\
        client.edge: added: max_flows = 2\n\
        \n\
        Flows that fit, of one class and template alone:\n\
        eth0 live: 91 → 183 × 1080p\n\
        eth0 live: 200 → 1100 × 480p\n\
        eth0 live: 157 → 314 × 720p\n\
        eth0 vod: 110 → 55 × 480p\n\
        eth0 vod: 31 → 15 × 720p\n";
    check(here, &["check", "new.toml", "--changes-from", "old.toml"], 0, changes, "");
    check(here, &["check", "old.toml", "--changes-from", "old.toml"], 0, "The policies mean the same.\n", "");
    let output = gqos(here, &["check", "--json", "new.toml", "--changes-from", "old.toml"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let changed = &json["changes"]["definitions"]["changed"];
    let share = serde_json::json!({ "item": "class.vod", "keys": [{ "key": "share", "before": "\"20%\"", "after": "\"5%\"" }] });
    assert_eq!(changed[2], share);
    assert_eq!(
        (&json["changes"]["holds"][0]["before"], &json["changes"]["holds"][0]["after"]),
        (&91.into(), &183.into())
    );
    let arguments = ["check", "--message-format", "json", "new.toml", "--changes-from", "old.toml"];
    check(here, &arguments, 2, "", "--json");
}

#[test]
fn an_audit_log_is_told_from_a_trace() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let record = "{\"at_us\":4,\"op\":\"stop\",\"seq\":1,\"time\":\"1970-01-01T00:00:00.000004Z\"}\n";
    std::fs::write(here.join("audit.jsonl"), record).unwrap();
    std::fs::write(here.join("empty.toml"), "version = 1\n").unwrap();
    check(here, &["replay", "-p", "empty.toml", "audit.jsonl"], 78, "", "gqos replay --audit");
}

#[test]
fn wrong_usage_is_2_and_help_names_the_exit_codes() {
    let here = Path::new(".");
    check(here, &[], 2, "", "Usage:");
    check(here, &["dance"], 2, "", "unrecognized subcommand");
    check(here, &["--help"], 0, "77 a privilege is missing", "");
    check(here, &["--version"], 0, "gqos ", "");
    check(here, &["events", "--event", "flow_refusd"], 2, "", "did you mean \"flow_refused\"?");
    let reason = "there is no reason \"interface_budgets\"; did you mean \"interface_budget\"?";
    check(here, &["audit", "absent", "--reason", "interface_budgets"], 2, "", reason);
    check(here, &["audit", "absent", "--op", "reserved"], 2, "", "\"reserve\"");
    // What `--event`, `--reason` and `--op` take.
    for word in ["flow_refused", "interface_budget", "ungroup"] {
        check(here, &["completions", "bash"], 0, word, "");
    }
    let mut top = std::process::Command::new(env!("CARGO_BIN_EXE_gqos"));
    let output = top.arg("top").env("TERM", "dumb").output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("TERM is dumb") && output.stdout.is_empty(), "{text}");
    check(here, &["demo", "--link", "100"], 2, "", "100 bit/s or 100 B/s");
    check(here, &["demo", "--link", "100 Mbps"], 2, "", "can be read in two ways");
    check(here, &["demo", "--viewers", "0"], 2, "", "1..=1000");
    check(here, &["demo", "--seconds", "1"], 2, "", "5..=3600");
    check(here, &["demo", "--media", "Cargo.toml"], 2, "", "Cargo.toml: ");
    check(here, &["demo", "--media", "absent.ts"], 71, "", "open (absent.ts)");
    check(here, &["demo", "--policy", "Cargo.toml"], 78, "", "not a valid policy");
}

#[test]
fn a_daemon_that_is_not_there_is_69() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    // A socket that nothing listens at, and one that does not exist.
    drop(std::os::unix::net::UnixListener::bind(here.join("stale.sock")).unwrap());
    for command in ["status", "flows", "events", "reload", "drain"] {
        for socket in ["stale.sock", "absent.sock"] {
            let stderr = format!("the daemon cannot be reached: connect ({socket})");
            check(here, &[command, "--socket", socket], 69, "", &stderr);
            check(here, &[command, "--json", "--socket", socket], 69, "", &stderr);
        }
    }
    check(here, &["call", "--socket", "absent.sock", "Status"], 69, "", "connect (absent.sock)");
    check(here, &["call", "--socket", "absent.sock", "Status", "{"], 2, "", "the parameters: ");
    check(here, &["call", "--socket", "absent.sock", "Status", "[]"], 2, "", "not a JSON object");
    let connect = ["connect", "--socket", "absent.sock", "127.0.0.1", "9"];
    check(here, &connect, 69, "", "the daemon cannot be reached: connect (absent.sock)");
    let both = ["connect", "--socket", "absent.sock", "--policy", "p.toml", "127.0.0.1", "9"];
    check(here, &both, 71, "", "p.toml");
}

/// What the command shows of replies that the test chooses.
#[track_caller]
fn check_replies(arguments: &[&str], call: &str, replies: &[&str], code: i32, stdout: &str) -> String {
    use std::io::{Read, Write};
    let directory = tempfile::tempdir().unwrap();
    let listener = std::os::unix::net::UnixListener::bind(directory.path().join("s")).unwrap();
    let replies: Vec<u8> = replies.iter().flat_map(|reply| reply.bytes().chain([0])).collect();
    let daemon = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut received = Vec::new();
        while !received.ends_with(&[0]) {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            received.extend(byte);
        }
        stream.write_all(&replies).unwrap();
        String::from_utf8(received).unwrap()
    });
    let output = gqos(directory.path(), &[arguments, &["--socket", "s"]].concat());
    let received = daemon.join().unwrap();
    assert_eq!(received.trim_end_matches('\0'), call);
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert_eq!((out.as_str(), output.status.code()), (stdout, Some(code)), "{arguments:?}: {err}");
    err
}

#[test]
fn flows_are_shown_as_the_daemon_sorts_them() {
    let sorted = |sort: &str| {
        format!(
            r#"{{"method":"org.gqos.Flows","parameters":{{"interface":null,"contains":null,"sort":"{sort}","first":null,"most":null,"traffic":true}},"more":true}}"#
        )
    };
    let flows = &sorted("id");
    let flow = |id: &str, rate: u64, continues: bool| {
        format!(
            r#"{{"parameters":{{"flows":[{{"id":"{id}","interface":"eth0","charged":{{"sending":{rate},"receiving":0}},"group":null,"class":null,"policy_class":null,"client":null,"uid":1000,"pid":9,"cookie":null}}]}},"continues":{continues}}}"#
        )
    };
    let replies = [flow("v2", 125_000, true), flow("a1", 250_000, true), flow("v1", 375_000, false)];
    let replies: Vec<_> = replies.iter().map(String::as_str).collect();
    let ids = |arguments: &[&str]| {
        let record = |id: &str, rate: u64| {
            format!(
                "{{\"id\":\"{id}\",\"interface\":\"eth0\",\"charged\":{{\"sending\":{rate},\"receiving\":0}},\"group\":null,\"class\":null,\"policy_class\":null,\"client\":null,\"uid\":1000,\"pid\":9,\"cookie\":null,\"age_us\":0,\"traffic\":null}}\n"
            )
        };
        arguments
            .iter()
            .map(|id| {
                record(
                    id,
                    match *id {
                        "v1" => 375_000,
                        "v2" => 125_000,
                        _ => 250_000,
                    },
                )
            })
            .collect::<String>()
    };
    // The daemon sorts them.
    check_replies(&["flows", "--json"], flows, &replies, 0, &ids(&["v2", "a1", "v1"]));
    let by_rate = &sorted("sending");
    check_replies(&["flows", "--json", "--sort", "sending"], by_rate, &replies, 0, &ids(&["v2", "a1", "v1"]));
    check_replies(&["flows", "--json", "--id", "v"], flows, &replies, 0, &ids(&["v2", "v1"]));
    check_replies(&["flows", "--json", "--most", "1"], flows, &replies, 0, &ids(&["v2"]));
    check_replies(&["flows", "--json", "--uid", "0"], flows, &replies, 0, "");
}

#[test]
fn the_daemons_replies_are_shown() {
    let status = r#"{"method":"org.gqos.Status","parameters":{"classes":null,"sums":true}}"#;
    let reply = r#"{"parameters":{"version":"0.1.0","pid":7,"policy":["p.toml"],"draining":true,"connections":1,"flows":2,"confinement":null,"interfaces":[]}}"#;
    let text = "gqos 0.1.0, process 7, policy p.toml: 1 client, 2 reservations\ndraining: new flows are refused\nnot confined: it was started with --no-confine\n";
    check_replies(&["status"], status, &[reply], 0, text);
    let drain = r#"{"method":"org.gqos.Drain","parameters":{"resume":true}}"#;
    let drained = r#"{"parameters":{"draining":false,"flows":1}}"#;
    check_replies(
        &["drain", "--resume", "--json"],
        drain,
        &[drained],
        0,
        "{\"draining\":false,\"flows\":1}\n",
    );
    let reserve = r#"{"method":"org.gqos.Reserve","parameters":{"peer":"192.0.2.7"}}"#;
    let refused = r#"{"parameters":{"decision":{"ok":false}}}"#;
    let call = ["call", "Reserve", r#"{"peer": "192.0.2.7"}"#];
    check_replies(&call, reserve, &[refused], 1, "{\"decision\":{\"ok\":false}}\n");
    let unknown =
        r#"{"error":"org.varlink.service.MethodNotFound","parameters":{"method":"org.gqos.Dance"}}"#;
    check_replies(&["call", "Dance"], r#"{"method":"org.gqos.Dance","parameters":{}}"#, &[unknown], 2, "");
    // A daemon that ends before its reply.
    check_replies(&["status"], status, &[], 69, "");
}

#[test]
fn connect_says_what_it_lacks_before_it_opens_a_socket() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    std::fs::write(here.join("p.toml"), "version = 1\n[interface.lo]\negres = 1\n").unwrap();
    check(here, &["connect", "--help"], 0, "netcat with a flowspec", "");
    check(here, &["connect", "127.0.0.1", "9"], 69, "", "--policy POLICY");
    check(here, &["connect", "--policy", "p.toml", "127.0.0.1", "9"], 78, "", "did you mean \"egress\"?");
    check(here, &["connect", "--policy", "absent.toml", "127.0.0.1", "9"], 71, "", "absent.toml");
    for (arguments, words) in [
        (&["127.0.0.1"][..], "HOST and PORT are needed"),
        (&["127.0.0.1", "http"], "\"http\" is not a port"),
        (&["127.0.0.1", "0"], "port 0 cannot be connected to"),
        (&["--template", "hd", "--send", "guaranteed", "127.0.0.1", "9"], "cannot be used with"),
        (&["--send", "guaranteed, token_rate = 6 Mbps", "127.0.0.1", "9"], "can be read in two ways"),
        (&["--setup-priority", "8", "127.0.0.1", "9"], "0..=7"),
        (&["--idle", "1 s", "127.0.0.1", "9"], "--udp"),
        (&["-4", "-6", "127.0.0.1", "9"], "cannot be used with"),
    ] {
        check(here, &[&["connect"], arguments].concat(), 2, "", words);
    }
}

#[test]
fn the_effective_policy_sarif_and_schema_are_printed() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    std::fs::write(
        here.join("a.toml"),
        "version = 1\n[interface.eth0]\negress = { capacity = \"1 Gbit/s\" }\n",
    )
    .unwrap();
    std::fs::write(here.join("b.toml"), "version = 1\n[class.c]\nshare = \"90%\"\n").unwrap();
    let merged = gqos(here, &["check", "--effective", "a.toml", "b.toml"]);
    let text = String::from_utf8(merged.stdout).unwrap();
    for part in [
        "[interface.eth0]    # a.toml:2",
        "reservable = \"80%\"",
        "[class.c]    # b.toml:2",
        "setup_priority = 4",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    std::fs::write(here.join("merged.toml"), &text).unwrap();
    check(here, &["check", "merged.toml"], 0, "merged.toml is valid", "");
    std::fs::write(
        here.join("bad.toml"),
        "version = 1\n[interface.eth0]\negres = {}\negress = { capacity = \"1 Gbps\" }\n",
    )
    .unwrap();
    let output = gqos(here, &["check", "--message-format", "sarif", "bad.toml"]);
    assert_eq!(output.status.code(), Some(78));
    let sarif: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let run = &sarif["runs"][0];
    assert_eq!((&sarif["version"], run["results"].as_array().unwrap().len()), (&"2.1.0".into(), 2));
    let first = &run["results"][0];
    let rule = usize::try_from(first["ruleIndex"].as_u64().unwrap()).unwrap();
    assert_eq!(run["tool"]["driver"]["rules"][rule]["id"], first["ruleId"]);
    let place = &first["locations"][0]["physicalLocation"];
    assert_eq!(
        (&place["artifactLocation"]["uri"], &place["region"]["startLine"]),
        (&"bad.toml".into(), &3.into())
    );
    // The schema is JSON.
    let schema: serde_json::Value = serde_json::from_slice(&gqos(here, &["schema"]).stdout).unwrap();
    let template = &schema["properties"]["rule"]["items"]["properties"]["template"];
    assert!(template["description"].as_str().unwrap().ends_with(" Required."), "{template}");
    check(here, &["explain", "gq0104"], 0, "GQ0104: a rule that no flow reaches (warning)", "");
    check(here, &["explain", "GQ9999"], 2, "", "there is no code \"GQ9999\"");
}

/// A template with a latency for which no bound is proven is refused as `delay` on every interface.
#[test]
fn check_warns_of_a_template_that_no_interface_admits() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let policy = r#"version = 1
[interface.eth0]
egress = { capacity = "1 Gbit/s", reservable = "80%" }
ingress = { capacity = "1 Gbit/s", reservable = "80%" }
[template."1080p"]
sending = { service_type = "guaranteed", token_rate = "6 Mbit/s", token_bucket_size = "64 KiB", peak_bandwidth = "12 Mbit/s", latency = "50 ms", delay_variation = "20 ms", max_sdu_size = "1500 B", minimum_policed_size = "64 B" }
"#;
    std::fs::write(here.join("policy.toml"), policy).unwrap();
    check(
        here,
        &["check", "policy.toml"],
        0,
        "policy.toml is valid",
        "warning[GQ0106]: template.1080p is admitted on no interface",
    );
    check(here, &["check", "policy.toml"], 0, "policy.toml is valid", "(delay)");
    check(here, &["check", "policy.toml"], 0, "policy.toml is valid", "policy.toml:5:11");
    check(here, &["check", "--message-format", "json", "policy.toml"], 0, "\"code\":\"GQ0106\"", "");
    let bounded = policy.replace("[template", "error_terms = { c = \"1500 B\", d = \"2 ms\" }\n[template");
    std::fs::write(here.join("policy.toml"), bounded).unwrap();
    check(
        here,
        &["check", "policy.toml"],
        0,
        "without a class: 78 × 1080p (the sending budget of 800 Mbit/s)",
        "",
    );
}

#[test]
fn check_says_where_the_speed_of_a_virtual_link_comes_from() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let policy =
        |capacity: &str| format!("version = 1\n[interface.lo]\negress = {{ capacity = \"{capacity}\" }}\n");
    std::fs::write(here.join("p.toml"), policy("auto")).unwrap();
    // The loopback device reports no speed.
    check(
        here,
        &["check", "p.toml"],
        0,
        "lo: reservable sending by the speed",
        "warning[GQ0107]: interface.lo: \"auto\" has no value",
    );
    std::fs::write(here.join("p.toml"), policy("1 Gbit/s")).unwrap();
    check(here, &["check", "p.toml"], 0, "p.toml is valid", "");
}

#[test]
fn schemas_are_printed_for_policies_and_tests() {
    let here = Path::new(".");
    let schema = |arguments: &[&str]| -> serde_json::Value {
        let output = gqos(here, &[&["schema"], arguments].concat());
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    assert_eq!(schema(&[]), schema(&["policy"]));
    let policy = schema(&[]);
    let egress =
        &policy["properties"]["interface"]["additionalProperties"]["properties"]["egress"]["properties"];
    assert_eq!(egress["reservable"]["default"], "80%");
    assert!(egress["reservable"]["pattern"].as_str().unwrap().contains('%'), "{egress}");
    assert!(
        egress["capacity"]["description"].as_str().unwrap().starts_with("What the link carries"),
        "{egress}"
    );
    let tests = schema(&["tests"]);
    let step = &tests["properties"]["test"]["items"]["properties"]["step"]["items"]["properties"];
    assert_eq!(step["connect"]["x-taplo"]["initKeys"], serde_json::json!(["id", "interface"]));
    let reasons = step["expect"]["properties"]["reason"]["enum"].as_array().unwrap();
    assert!(reasons.contains(&"interface_budget".into()) && reasons.contains(&"none".into()), "{reasons:?}");
    assert_eq!(schema(&["traces"])["required"], serde_json::json!(["at_us", "op"]));
    check(here, &["schema", "dance"], 2, "", "policy, tests, traces");
}

/// The schemas that the examples name are those that the program prints.
#[test]
fn the_schemas_in_the_documentation_are_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (kind, file) in [("policy", "policy"), ("tests", "tests"), ("traces", "traces")] {
        let printed = gqos(root, &["schema", kind]).stdout;
        let path = root.join(format!("docs/schema/{file}.json"));
        let kept = std::fs::read(&path).unwrap();
        assert!(printed == kept, "run `gqos schema {kind} > {}`", path.display());
    }
    for entry in std::fs::read_dir(root.join("examples/policies")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let kind = if path.to_string_lossy().ends_with(".qostest.toml") { "tests" } else { "policy" };
        assert!(text.starts_with(&format!("#:schema ../../docs/schema/{kind}.json\n")), "{}", path.display());
    }
}

#[test]
fn the_effective_policy_has_ports_as_numbers_and_code_points_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let policy = "version = 1\n[template.t]\nsending = { service_type = \"best_effort\" }\n[class.c]\ndscp = 34\nmatch = { uid = [33, \"1000-1999\"] }\n[class.d]\ndscp = 35\n\
                  [[rule]]\nmatch = { local_port = [443, \"1935-1940\"] }\nclass = \"c\"\ntemplate = [\"t\"]\n[[rule]]\nclass = \"d\"\ntemplate = \"t\"\n";
    std::fs::write(directory.path().join("p.toml"), policy).unwrap();
    let output = gqos(directory.path(), &["check", "--effective", "p.toml"]);
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "local_port = [443, \"1935-1940\"]",
        "uid = [33, \"1000-1999\"]",
        "dscp = \"AF41\"",
        "dscp = 35",
        "template = \"t\"\n",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

#[test]
fn a_plan_needs_no_privilege_and_no_interface() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let write = |name: &str, text: &str| std::fs::write(here.join(name), text).unwrap();
    // A name that no interface of a machine has.
    write(
        "p.toml",
        "version = 1\n[interface.gqosabsent0]\negress = { capacity = \"100 Mbit/s\", reservable = \"80%\" }\n",
    );
    write("any.toml", "version = 1\n[interface.\"*\"]\negress = { capacity = \"100 Mbit/s\" }\n");
    write("auto.toml", "version = 1\n[interface.gqosabsent0]\negress = { capacity = \"auto\" }\n");
    let heading =
        "gqosabsent0 (not on this machine)\n  100 Mbit/s by the policy, 80 Mbit/s reservable, MTU 1500 B\n";
    check(here, &["plan", "--policy", "p.toml"], 0, heading, "");
    let command = "\ntc qdisc add dev gqosabsent0 root handle 6771: htb default 2 direct_qlen 0\n";
    check(here, &["plan", "--policy", "p.toml"], 0, command, "");
    check(here, &["plan", "--policy", "p.toml", "--diff"], 1, command, "");
    check(
        here,
        &["plan", "--policy", "any.toml", "--interface", "gqosabsent1"],
        0,
        "dev gqosabsent1 root",
        "",
    );
    check(here, &["plan", "--policy", "any.toml"], 2, "", "--interface says which one");
    check(
        here,
        &["plan", "--policy", "p.toml", "--interface", "eth7"],
        2,
        "",
        "no table for eth7: it has gqosabsent0",
    );
    check(
        here,
        &["plan", "--policy", "auto.toml"],
        0,
        "  Nothing is programmed: the capacity is \"auto\" and the kernel",
        "",
    );
    check(here, &["plan", "--policy", "auto.toml", "--diff"], 0, "The kernel has no tree of gqos.", "");
    check(here, &["plan"], 2, "", "--policy");
    let output = gqos(here, &["plan", "--json", "--policy", "p.toml"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let planned = &document["interfaces"][0];
    assert_eq!(planned["capacity"], 12_500_000);
    assert_eq!(planned["classes"][0]["rate"], 12_375_000);
    assert_eq!(planned["qdiscs"][0]["default"], "6771:2");
    assert_eq!(planned["difference"], serde_json::Value::Null);
    let text = String::from_utf8(gqos(here, &["plan", "--policy", "p.toml"]).stdout).unwrap();
    for line in text.lines().filter(|line| !line.starts_with("tc ")) {
        assert!(line.chars().count() <= 80, "{line}");
    }
}
