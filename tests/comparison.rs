//! `gqos test --against`: the decisions of two policies are compared.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    dead_code,
    reason = "tests, which share what each uses a part of"
)]

#[path = "common/qostest.rs"]
mod qostest;

use qostest::{BAD, POLICY, check, gqos, with_tests};

#[test]
fn the_decisions_of_another_policy_are_compared() {
    let directory = with_tests(BAD);
    std::fs::write(directory.path().join("q.toml"), POLICY.replace("60 Mbit/s", "90 Mbit/s")).unwrap();
    std::fs::write(
        directory.path().join("r.toml"),
        POLICY.replace("80%", "90%").replace("60 Mbit/s", "90 Mbit/s"),
    )
    .unwrap();
    let differ = |other: &str| {
        let output = gqos(directory.path(), &["test", ".", "--against", other], "");
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(differ("p.toml"), (Some(0), String::new()));
    let (code, text) = differ("q.toml");
    assert_eq!(code, Some(1));
    assert!(
        text.contains(
            "v3 at 0 us: refused (class_share) under ./p.toml, refused (interface_budget) under q.toml"
        ),
        "{text}"
    );
    assert!(
        differ("r.toml")
            .1
            .contains("v3 at 0 us: refused (class_share) under ./p.toml, admitted under r.toml")
    );
}

#[test]
fn differences_are_summarized_by_rule_and_template() {
    let tests = r#"
[[test]]
name = "x"
[[test.step]]
connect = { id = "v{n}", repeat = 4, interface = "eth0", local_port = 443 }
[[test.step]]
connect = { id = "w{n}", repeat = 2, interface = "eth0", template = "sd" }
expect = { decision = "admitted" }
[[test.step]]
connect = { id = "x", interface = "eth0", templates = ["hd", "sd"] }
"#;
    let directory = with_tests(tests);
    let own = format!(
        "{POLICY}[template.sd]\nsending = {{ service_type = \"guaranteed\", token_rate = \"5 Mbit/s\" }}\n[[rule]]\nmatch = {{ local_port = 443 }}\nclass = \"viewer\"\ntemplate = \"hd\"\n"
    );
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("p.toml", &own);
    write("r.toml", &own.replace("80%", "90%").replace("60 Mbit/s", "90 Mbit/s"));
    let output = gqos(directory.path(), &["test", ".", "--against", "r.toml"], "");
    let text = String::from_utf8(output.stdout).unwrap();
    let summary = "./p.toml:11 rule 1, template hd: 1 × refused (class_share) → admitted\n\
        ./p.toml:11 rule 1, template hd: 1 × refused (class_share) → refused (interface_budget)\n\
        template sd: 2 × admitted → refused (interface_budget)\n\
        templates hd, sd: 1 × admitted as sd → refused (interface_budget)\n\n\
        ./a.qostest.toml:3 x: v3 at 0 us: refused (class_share) under ./p.toml, admitted under r.toml\n";
    assert!(text.starts_with(summary), "{text}");
    assert_eq!(text.lines().count(), 4 + 1 + 5, "{text}");
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (output.status.code(), message.as_str()),
        (Some(1), "gqos: 5 decisions differ under r.toml\n")
    );
}

#[test]
fn a_comparison_is_reported_in_every_format() {
    let tests = format!(
        "{BAD}[[test]]\nname = \"a <fourth> & more\"\n[[test.step]]\nconnect = {{ id = \"w\", interface = \"eth0\", template = \"hd\" }}\nexpect = {{ decision = \"admitted\" }}\n"
    );
    let directory = with_tests(&tests);
    let other = POLICY.replace("60 Mbit/s", "90 Mbit/s").replace("80%", "90%");
    std::fs::write(directory.path().join("r.toml"), other).unwrap();
    std::fs::write(directory.path().join("b.qostest.toml"), "policy = 1\n").unwrap();
    let compare = |format: &str| {
        let arguments = ["test", ".", "--against", "r.toml", "--format", format, "--out", "junit=x.xml"];
        let output = gqos(directory.path(), &arguments, "");
        assert_eq!(output.status.code(), Some(78), "a file is invalid: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let json: serde_json::Value = serde_json::from_str(&compare("json")).unwrap();
    assert_eq!((&json["against"], &json["differ"]), (&"r.toml".into(), &1.into()), "{json}");
    let compared = json["tests"].as_array().unwrap();
    let names: Vec<_> = compared.iter().map(|test| test["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a <third> fits & more", "a <fourth> & more"]);
    let difference = &compared[0]["differences"][0];
    assert_eq!((&difference["flow"], &difference["at_us"]), (&"v3".into(), &0.into()), "{json}");
    assert_eq!(difference["own"]["verdict"], "refused (class_share)", "{json}");
    assert_eq!(difference["other"]["verdict"], "admitted", "{json}");
    assert!(difference["own"]["message"].as_str().unwrap().contains("30 Mbit/s short"), "{json}");
    assert_eq!(compared[1]["differences"], serde_json::json!([]), "{json}");
    assert_eq!(json["invalid"][0]["file"], "./b.qostest.toml", "{json}");

    let xml = compare("junit");
    assert_eq!(xml, std::fs::read_to_string(directory.path().join("x.xml")).unwrap());
    let document = roxmltree::Document::parse(&xml).unwrap();
    let all = document.root_element();
    let count = |name: &str| all.attribute(name).unwrap();
    assert_eq!((count("tests"), count("failures"), count("errors")), ("3", "1", "1"), "{xml}");
    let failure = document.descendants().find(|node| node.has_tag_name("failure")).unwrap();
    assert_eq!(failure.attribute("message"), Some("1 decision differs under r.toml"));
    assert!(failure.text().unwrap().contains("v3 at 0 us: refused (class_share) under ./p.toml"), "{xml}");

    let tap = compare("tap");
    let lines: Vec<_> = tap.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(
        lines,
        [
            "TAP version 13",
            "1..3",
            "not ok 1 - a <third> fits & more",
            "ok 2 - a <fourth> & more",
            "not ok 3 - ./b.qostest.toml is valid"
        ]
    );
    let github = compare("github");
    assert!(
        github.starts_with("::error file=./a.qostest.toml,line=3,title=a <third> fits & more::v3 at 0 us"),
        "{github}"
    );
    assert!(github.lines().nth(1).unwrap().starts_with("::error file=./b.qostest.toml,line=1"), "{github}");
    assert!(compare("text").contains("./a.qostest.toml:3 a <third> fits & more: v3 at 0 us"));
}

/// The other policy is not a test file, and its problems are reported as those of one.
#[test]
fn an_invalid_other_policy_is_reported_in_every_format() {
    let directory = with_tests(BAD);
    std::fs::write(directory.path().join("bad.toml"), "version = 1\n[class.c]\nmax_flow = 1\nshare = 1\n")
        .unwrap();
    let compare = |other: &str, format: &str, code: i32| {
        let arguments = ["test", ".", "--against", other, "--format", format, "--out", "json=x.json"];
        let output = gqos(directory.path(), &arguments, "");
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let written = std::fs::read_to_string(directory.path().join("x.json")).unwrap();
        std::fs::remove_file(directory.path().join("x.json")).unwrap();
        [output.stdout, output.stderr, written.into()].map(|bytes| String::from_utf8(bytes).unwrap())
    };
    for (other, code, places, messages) in [
        ("bad.toml", 78, &[(3, 1), (4, 9)][..], &["did you mean \"max_flows\"?", "share"][..]),
        ("absent.toml", 71, &[(1, 1)], &["open (absent.toml): No such file"]),
    ] {
        let [json, stderr, written] = compare(other, "json", code);
        assert_eq!((&json, stderr.as_str()), (&written, ""), "the document has the problems");
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&json["against"], &json["differ"]), (&other.into(), &0.into()), "{json}");
        assert_eq!(
            (&json["tests"], &json["invalid"][0]["file"]),
            (&serde_json::json!([]), &other.into()),
            "{json}"
        );
        let problems = json["invalid"][0]["problems"].as_array().unwrap();
        let found = problems
            .iter()
            .map(|problem| (problem["line"].as_u64().unwrap(), problem["column"].as_u64().unwrap()));
        assert_eq!(found.collect::<Vec<_>>(), places, "{json}");

        let [xml, ..] = compare(other, "junit", code);
        let document = roxmltree::Document::parse(&xml).unwrap();
        assert_eq!(document.root_element().attribute("errors"), Some("1"), "{xml}");
        let error = document.descendants().find(|node| node.has_tag_name("error")).unwrap();
        assert_eq!(error.parent().unwrap().attribute("file"), Some(other), "{xml}");

        let [tap, ..] = compare(other, "tap", code);
        assert!(tap.starts_with(&format!("TAP version 13\n1..1\nnot ok 1 - {other} is valid\n# ")), "{tap}");
        let [github, ..] = compare(other, "github", code);
        assert_eq!(github.matches(&format!("::error file={other},line=")).count(), places.len(), "{github}");
        let [text, stderr, _] = compare(other, "text", code);
        assert_eq!(text, format!("{other} ... INVALID\n"), "the problems are on standard error");
        for message in messages {
            for report in
                [&json.to_string().replace('\\', ""), &xml.replace("&quot;", "\""), &tap, &github, &stderr]
            {
                assert!(report.contains(message), "{message:?} is not in\n{report}");
                assert!(!report.contains("gqos: gqos:"), "{report}");
            }
        }
    }
}

/// A report without a test is a report.
#[test]
fn a_run_without_a_test_has_a_document() {
    for arguments in [&[".", "--run", "nothing"][..], &[".", "--run", "nothing", "--against", "p.toml"]] {
        let run =
            |format: &str| check(BAD, &[arguments, &["--format", format]].concat(), 1, &["no test was run"]);
        let json: serde_json::Value = serde_json::from_str(&run("json")).unwrap();
        assert_eq!(json["tests"], serde_json::json!([]), "{json}");
        let xml = run("junit");
        assert_eq!(
            roxmltree::Document::parse(&xml).unwrap().root_element().attribute("tests"),
            Some("0"),
            "{xml}"
        );
        assert!(run("tap").starts_with("TAP version 13\n1..0"), "{}", run("tap"));
    }
}
