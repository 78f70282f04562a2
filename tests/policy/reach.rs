//! What nothing reaches, or can ever be reserved: the warnings with their places, the earlier places and the help.

use gqos::policy::{Policy, Source};

const HEAD: &str = "version = 1\n[interface.eth0]\negress = { capacity = \"100 Mbit/s\" }\n[template.t]\nsending = { service_type = \"guaranteed\", token_rate = \"1 Mbit/s\" }\n";

/// How many lines [`HEAD`] has.
const HEAD_LINES: usize = 5;

/// The warnings: the code, the line after [`HEAD`], and the lines of the labels; each with a help.
#[track_caller]
fn check_lines(name: &str, text: &str, expected: &[(&str, usize, &[usize])]) {
    let text = format!("{HEAD}{text}");
    let (_, problems) = Policy::parse(&[Source { name: "p.toml", text: &text }]).expect(name);
    let line = |at: usize| text[..at].matches('\n').count() + 1 - HEAD_LINES;
    let found: Vec<_> = problems
        .iter()
        .map(|problem| {
            assert!(problem.code.id() == "GQ0108" || problem.help.is_some(), "{name}: {problem:?}");
            let labels: Vec<_> = problem.labels.iter().map(|label| line(label.place.span.start)).collect();
            (problem.code.id(), line(problem.place.span.start), labels)
        })
        .collect();
    let expected: Vec<_> =
        expected.iter().map(|(code, line, labels)| (*code, *line, labels.to_vec())).collect();
    assert_eq!(found, expected, "{name}: {problems:#?}");
}

/// Rules with these conditions, each on a line of its own, are reached, or the last one is covered by those of these
/// numbers, from 0.
#[track_caller]
fn check_rules(conditions: &[&str], covering: &[usize]) {
    let rule = |condition: &&str| match *condition {
        "" => "{ template = \"t\" }".to_owned(),
        group if group.starts_with("group") => format!("{{ template = \"t\", {group} }}"),
        condition => format!("{{ template = \"t\", match = {{ {condition} }} }}"),
    };
    let rules: Vec<_> = conditions.iter().map(rule).collect();
    let has = |name: &str| conditions.iter().any(|condition| condition.contains(name));
    let group = |name: &str, interface: &str| {
        let is_used = has(&format!("\"{name}\""));
        let table = format!("[group.{name}]\ninterface = \"{interface}\"\nmode = \"shared\"\n");
        if is_used { table } else { String::new() }
    };
    let eth1 = "[interface.eth1]\negress = { capacity = \"100 Mbit/s\" }\n";
    let eth1 = if has("eth1") { eth1 } else { "" };
    let tables = format!("{eth1}{}{}", group("g", "eth0"), group("h", "eth1"));
    // The first rule's line, from 0.
    let first = 2;
    let rules: Vec<_> = rules.iter().map(|rule| rule.replace(" # eth1", "")).collect();
    let array = format!("rule = [\n{},\n]\n", rules.join(",\n"));
    let (version, rest) = HEAD.split_once('\n').unwrap();
    let text = format!("{version}\n{array}{rest}{tables}");
    let (_, problems) = Policy::parse(&[Source { name: "p.toml", text: &text }]).expect(&text);
    let line = |at: usize| text[..at].matches('\n').count() - first;
    let found: Vec<_> = problems
        .iter()
        .map(|problem| {
            let labels: Vec<_> = problem.labels.iter().map(|label| line(label.place.span.start)).collect();
            (problem.code.id(), line(problem.place.span.start), labels)
        })
        .collect();
    let last = conditions.len() - 1;
    let expected = if covering.is_empty() { vec![] } else { vec![("GQ0104", last, covering.to_vec())] };
    assert_eq!(found, expected, "{conditions:?}: {problems:#?}");
}

#[test]
fn a_rule_that_earlier_ones_cover_together_is_not_reached() {
    let (tcp, udp) = ("protocol = \"tcp\"", "protocol = \"udp\"");
    check_rules(&[tcp, udp, ""], &[0, 1]);
    check_rules(&[tcp, ""], &[]);
    check_rules(&["local_port = \"0-65535\"", udp], &[0]);
    check_rules(&["local_port = \"1-65535\"", udp], &[]);
    check_rules(&["peer = [\"::/0\", \"0.0.0.0/0\"]", tcp], &[0]);
    check_rules(&["peer = \"::/0\"", "peer = \"0.0.0.0/0\"", tcp], &[0, 1]);
    check_rules(&["peer = \"::/0\"", tcp], &[]);
    check_rules(&["peer = \"10.0.0.0/9\"", "peer = \"10.128.0.0/9\"", "peer = \"10.0.0.0/8\""], &[0, 1]);
    check_rules(&["peer = \"10.0.0.0/9\"", "peer = \"10.128.0.0/10\"", "peer = \"10.0.0.0/8\""], &[]);
    check_rules(
        &["local_port = \"0-99\"", "local_port = [\"100-1000\", 1002]", "local_port = [\"50-1000\", 1002]"],
        &[0, 1],
    );
    check_rules(
        &["local_port = \"0-99\"", "local_port = [\"100-1000\", 1002]", "local_port = \"50-1002\""],
        &[],
    );
    let halves = ["peer = \"10.0.0.0/9\"", "peer = \"10.128.0.0/9\", protocol = \"tcp\""];
    let rest = "peer = \"10.128.0.0/9\", protocol = \"udp\", local_port = \"0-99\"";
    let all = "peer = \"10.0.0.0/8\", local_port = 80";
    check_rules(&[halves[0], halves[1], "peer = \"11.0.0.0/8\"", rest, all], &[0, 1, 3]);
    check_rules(&[halves[0], halves[1], rest, "peer = \"10.0.0.0/8\", local_port = 100"], &[]);
}

#[test]
fn a_rule_with_a_group_covers_the_interface_of_the_group() {
    check_rules(&["group = \"g\"", ""], &[0]);
    check_rules(&["group = \"g\" # eth1", ""], &[]);
    check_rules(&["group = \"g\"", "group = \"h\" # eth1", ""], &[0, 1]);
    check_rules(&["group = \"g\"", "group = \"h\" # eth1"], &[]);
}

#[test]
fn comparing_very_many_rules_ends() {
    // Each takes a piece of what the last one matches.
    let piece = |number: usize| {
        format!("local_port = {}, peer = \"10.{}.{}.0/24\"", number % 60_000, number / 200, number % 200)
    };
    let mut conditions: Vec<_> = (0..1200).map(piece).collect();
    conditions.push("peer = \"10.0.0.0/8\"".to_owned());
    check_rules(&conditions.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
}

#[test]
fn a_rule_of_a_proxy_that_earlier_ones_cover_together_is_not_reached() {
    let check = |conditions: &[&str], covering: &[usize]| {
        let rule =
            |condition: &&str| format!("[[proxy.p.rule]]\nmatch = {{ {condition} }}\ntemplate = \"t\"\n");
        let rules: String = conditions.iter().map(rule).collect();
        let proxy = "[proxy.p]\nlisten = \"127.0.0.1:80\"\nto = \"origin:80\"\nprotocol = \"http\"\n";
        let line = |number: &usize| 5 + 3 * number;
        let lines: Vec<_> = covering.iter().map(line).collect();
        let expected = [("GQ0104", line(&(conditions.len() - 1)), &lines[..])];
        let text = format!("{proxy}{rules}");
        check_lines(&format!("{conditions:?}"), &text, if covering.is_empty() { &[] } else { &expected });
    };
    check(&["host = \"a\"", "host = \"b\"", "host = [\"a\", \"b\"]"], &[0, 1]);
    check(&["host = \"a\"", "host = \"b\"", "host = [\"a\", \"c\"]"], &[]);
    check(&["peer = \"::/0\"", "peer = \"0.0.0.0/0\"", "path = \"/x\""], &[0, 1]);
    check(&["path = \"/x/*\", peer = \"::/0\"", "peer = \"0.0.0.0/0\"", "path = \"/x/y\""], &[0, 1]);
    check(&["path = \"/x/*\", peer = \"::/0\"", "peer = \"0.0.0.0/0\"", "path = \"/y\""], &[]);
    check(&["host = \"*\"", "path = \"/x\""], &[]);
}

#[test]
fn a_client_whose_names_an_earlier_pattern_matches_is_not_counted() {
    let check = |patterns: &[&str], covering: Option<usize>| {
        let table = |pattern: &&str| format!("[client.\"{pattern}\"]\nmax_flows = 1\n");
        let text: String = patterns.iter().map(table).collect();
        let line = |number: usize| 1 + 2 * number;
        let lines: Vec<_> = covering.into_iter().map(line).collect();
        let expected = [("GQ0116", line(patterns.len() - 1), &lines[..])];
        check_lines(&format!("{patterns:?}"), &text, if covering.is_some() { &expected } else { &[] });
    };
    check(&["*", "b"], Some(0));
    check(&["b", "*"], None);
    check(&["x", "origin-*", "origin-1*"], Some(1));
    check(&["origin-1*", "origin-*"], None);
    check(&["*-1", "origin-*"], None);
}

#[test]
fn a_class_whose_owners_earlier_classes_match_is_given_to_none() {
    let check = |conditions: &[&str], covering: &[usize]| {
        let class =
            |(number, condition): (usize, &&str)| format!("[class.c{number}]\nmatch = {{ {condition} }}\n");
        let text: String = conditions.iter().enumerate().map(class).collect();
        let line = |number: &usize| 1 + 2 * number;
        let lines: Vec<_> = covering.iter().map(line).collect();
        let expected = [("GQ0117", line(&(conditions.len() - 1)), &lines[..])];
        check_lines(&format!("{conditions:?}"), &text, if covering.is_empty() { &[] } else { &expected });
    };
    check(&["uid = [\"30-40\"]", "uid = 35"], &[0]);
    check(&["uid = [\"30-40\"]", "uid = 41"], &[]);
    check(&["uid = \"30-40\"", "uid = [\"41-50\"]", "uid = \"35-45\", gid = 7"], &[0, 1]);
    check(&["uid = \"0-4294967295\"", "gid = 7"], &[]);
    check(&["cgroup = \"/a\"", "cgroup = [\"/a/b\"], uid = 1"], &[0]);
    check(&["cgroup = \"/a\"", "cgroup = \"/ab\""], &[]);
    check(&["cgroup = \"/a\"", "cgroup = \"/b\"", "cgroup = [\"/b/c\", \"/a\"]"], &[0, 1]);
    check(&["cgroup = \"/\"", "uid = 1"], &[]);
    let assigned = "[class.a]\nmatch = { uid = 1 }\n[class.b]\nmatch = { uid = 1 }\n[[rule]]\nclass = \"b\"\ntemplate = \"t\"\n";
    check_lines("a rule assigns it", assigned, &[]);
}

#[test]
fn an_interface_of_which_more_is_reservable_than_of_its_parent_is_named() {
    let check = |child: &str, expected: &[(&str, usize, &[usize])]| {
        check_lines(child, &format!("[interface.b]\nparent = \"eth0\"\negress = {{ {child} }}\n"), expected);
    };
    let line_of_parent = 2;
    let text = format!("{HEAD}[interface.b]\nparent = \"eth0\"\negress = {{ capacity = \"1 Gbit/s\" }}\n");
    let (_, problems) = Policy::parse(&[Source { name: "p.toml", text: &text }]).unwrap();
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert_eq!(problems[0].code.id(), "GQ0118");
    assert!(problems[0].message.contains("800 Mbit/s"), "{problems:#?}");
    assert!(problems[0].message.contains("80 Mbit/s of eth0"), "{problems:#?}");
    assert_eq!(text[..problems[0].place.span.start].matches('\n').count(), HEAD_LINES);
    let label = problems[0].labels[0].place.span.start;
    assert_eq!(text[..label].matches('\n').count() + 1, line_of_parent);
    check("capacity = \"100 Mbit/s\"", &[]);
    check("capacity = \"1 Gbit/s\", reservable = \"80 Mbit/s\"", &[]);
    check("capacity = \"auto\"", &[]);
    let below = "[interface.b]\nparent = \"c\"\negress = { capacity = \"200 Mbit/s\" }\n[interface.c]\nparent = \"eth0\"\negress = { capacity = \"auto\" }\n";
    let text = format!("{HEAD}{below}");
    let (_, problems) = Policy::parse(&[Source { name: "p.toml", text: &text }]).unwrap();
    let found: Vec<_> =
        problems.iter().map(|problem| (problem.code.id(), &text[problem.place.span.clone()])).collect();
    assert_eq!(found, [("GQ0118", "b")], "the parent of the parent: {problems:#?}");
}

#[test]
fn nothing_fits_a_buffer_of_zero() {
    let text = |buffer: &str| {
        format!(
            "version = 1\n[interface.eth0]\negress = {{ capacity = \"1 Gbit/s\" }}\nbuffer = \"{buffer}\"\n"
        )
    };
    let found = |text: &str| {
        let (_, problems) = Policy::parse(&[Source { name: "p.toml", text }]).unwrap();
        problems
            .iter()
            .map(|problem| format!("{} {}", problem.code, &text[problem.place.span.clone()]))
            .collect::<Vec<_>>()
    };
    assert_eq!(found(&text("0 B")), ["GQ0108 \"0 B\""]);
    assert_eq!(found(&text("1 B")), [""; 0]);
}
