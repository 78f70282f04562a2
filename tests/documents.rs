//! What README.md and docs/ state is true: links, commands, options, keys, defaults, units, codes and examples are compared
//! with the program and its schemas.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[path = "common/qostest.rs"]
#[expect(dead_code, reason = "each test file uses its part")]
mod qostest;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use flowspec::{Bytes, Rate, Ratio, ServiceType, ServiceUse, Wsa};
use gqos::admission::Provable;
use gqos::manager::proven_error_terms;
use gqos::policy::{Code, Policy, Severity, Source};
use qostest::gqos;
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// README.md and the pages of docs/, by their paths.
fn pages() -> Vec<(String, String)> {
    let mut paths = vec!["README.md".to_owned()];
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        paths.extend(name.ends_with(".md").then(|| format!("docs/{name}")));
    }
    paths.sort_unstable();
    assert!(paths.len() >= 7, "{paths:?}");
    paths.into_iter().map(|path| (path.clone(), read(&path))).collect()
}

/// The part of a page below a heading of any level.
fn section(page: &str, heading: &str) -> String {
    let text = read(page);
    let title =
        |line: &str| line.strip_prefix('#').map(|rest| rest.trim_start_matches('#').trim().to_owned());
    let mut lines = text.lines().skip_while(|line| title(line).as_deref() != Some(heading));
    assert!(lines.next().is_some(), "{page} has no heading {heading:?}");
    lines.take_while(|line| title(line).is_none()).collect::<Vec<_>>().join("\n")
}

/// The cells of each row of the tables of a text, without their headers.
fn rows(text: &str) -> Vec<Vec<String>> {
    let is_row = |line: &&str| line.starts_with("| ") && !line.starts_with("| ---");
    let lines: Vec<_> = text.lines().collect();
    let is_header = |at: usize| lines.get(at + 1).is_some_and(|next| next.starts_with("| ---"));
    let body = lines.iter().enumerate().filter(|(at, _)| !is_header(*at)).map(|(_, line)| *line);
    let cells = |row: &str| {
        let row = row.trim().trim_start_matches('|').trim_end_matches('|').replace("\\|", "\u{0}");
        row.split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect()
    };
    body.filter(is_row).map(cells).collect()
}

/// The words in backticks.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The blocks of a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let parts = text.split("\n```").enumerate().filter(|(at, _)| at % 2 == 1).map(|(_, part)| part);
    let parts = parts.filter_map(|part| part.split_once('\n'));
    parts.filter(|(named, _)| *named == language).map(|(_, block)| format!("{block}\n")).collect()
}

#[test]
fn links_lead_to_files_and_headings() {
    let anchors = |text: &str| -> BTreeSet<String> {
        let headings = text.lines().filter(|line| line.starts_with('#'));
        let kept = |letter: &char| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_');
        let anchor = |line: &str| {
            let title: String = line.trim_start_matches('#').trim().to_lowercase();
            title.chars().filter(kept).collect::<String>().replace(' ', "-")
        };
        headings.map(anchor).collect()
    };
    let mut checked = 0;
    for (page, text) in pages() {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            assert!(!link.contains("://"), "{page}: {link} cannot be checked here");
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => root().join(&page),
                file => root().join(&page).parent().unwrap().join(file),
            };
            assert!(target.exists(), "{page}: {link} leads to no file");
            if !anchor.is_empty() {
                let known = anchors(&std::fs::read_to_string(&target).unwrap());
                assert!(known.contains(anchor), "{page}: {link} leads to none of {known:?}");
            }
            checked += 1;
        }
    }
    assert!(checked > 20, "{checked} links");
}

/// What a command prints with `--help`.
fn help(command: &[&str]) -> String {
    let output = gqos(root(), &[command, &["--help"]].concat(), "");
    assert!(output.status.success(), "gqos {command:?} --help: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Every command in backticks exists, and has the options that are named with it.
#[test]
fn documented_commands_and_options_exist() {
    let mut checked = 0;
    for (page, text) in pages() {
        let lines = blocks(&text, "").into_iter().chain(blocks(&text, "sh"));
        let shown = lines.flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>());
        let shown = shown.filter_map(|line| line.strip_prefix("$ ").map(str::to_owned));
        let spans = quoted(&text).into_iter().chain(shown).map(|span| span.replace("\\|", "|"));
        for span in spans.filter(|span| span.starts_with("gqos ")) {
            let words: Vec<_> = span.split_whitespace().skip(1).collect();
            let names: Vec<_> = words.iter().copied().take_while(|word| !word.starts_with('-')).collect();
            let commands: Vec<Vec<&str>> = match &names[..] {
                ["flowspec", several, ..] => several.split('|').map(|one| vec!["flowspec", one]).collect(),
                [command, ..] => vec![vec![*command]],
                [] => vec![vec![]],
            };
            for command in commands {
                let help = help(&command);
                for option in words.iter().filter(|word| word.starts_with("--")) {
                    let option = option.trim_end_matches(|letter: char| !letter.is_alphanumeric());
                    assert!(help.contains(option), "{page}: `{span}`: gqos {command:?} has no {option}");
                }
                checked += 1;
            }
        }
    }
    assert!(checked > 15, "{checked} commands");
    let demo = help(&["demo"]);
    let named = read("README.md");
    for option in ["--json", "--report FILE.html", "--media FILE"] {
        assert!(named.contains(option) && demo.contains(option.split(' ').next().unwrap()), "{option}");
    }
}

/// The options of `gqos test` are those of its table.
#[test]
fn the_options_of_gqos_test_are_listed() {
    let listed: BTreeSet<_> = rows(&section("docs/TESTS.md", "Tests"))
        .iter()
        .flat_map(|row| quoted(&row.join(" ")))
        .filter(|span| span.starts_with("--"))
        .map(|span| span.split_whitespace().next().unwrap().to_owned())
        .collect();
    let known: BTreeSet<_> = help(&["test"])
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("--") || line.starts_with("-h, --"))
        .map(|line| line.trim_start_matches("-h, ").split_whitespace().next().unwrap().to_owned())
        .filter(|option| option != "--help")
        .collect();
    assert_eq!(listed, known);
}

fn schema(kind: &str) -> Value {
    serde_json::from_slice(&gqos(root(), &["schema", kind], "").stdout).unwrap()
}

fn keys(schema: &Value) -> BTreeSet<String> {
    schema["properties"].as_object().unwrap().keys().cloned().collect()
}

/// The rows of POLICY.md's table of keys below a heading: the keys of each, and its default.
fn documented_keys(heading: &str) -> Vec<(Vec<String>, String)> {
    let rows = rows(&section("docs/POLICY.md", heading));
    let rows = rows.into_iter().filter(|row| row[0].starts_with('`'));
    rows.map(|row| (quoted(&row[0]), row.last().unwrap().clone())).collect()
}

#[test]
fn every_key_of_a_policy_is_listed_with_its_default() {
    let policy = schema("policy");
    let table = |name: &str| policy["properties"][name]["additionalProperties"].clone();
    let template = table("template")["properties"]["sending"].clone();
    let rule = policy["properties"]["rule"]["items"].clone();
    let (interface, direction) = (table("interface"), table("interface")["properties"]["egress"].clone());
    for (heading, schema, from) in [
        ("`[interface.NAME]`", interface, ""),
        ("`[interface.NAME]`", direction, "…."),
        ("`[template.NAME]`", template, ""),
        ("`[class.NAME]`", table("class"), ""),
        ("`[client.\"PATTERN\"]`", table("client"), ""),
        ("`[[rule]]`", rule, ""),
        ("`[proxy.NAME]`", table("proxy"), ""),
    ] {
        let listed = documented_keys(heading);
        let own = |key: &String| match from {
            "" => (!key.starts_with("….")).then(|| key.clone()),
            prefix => key.strip_prefix(prefix).map(str::to_owned),
        };
        let mut names = BTreeSet::new();
        for (keys, default) in &listed {
            for key in keys.iter().filter_map(own) {
                let stated = match &schema["properties"][&key]["default"] {
                    Value::Null => None,
                    Value::String(text) => Some(format!("`\"{text}\"`")),
                    Value::Number(number) if heading.contains("class") => Some(number.to_string()),
                    other => Some(format!("`{other}`")),
                };
                // A share of 100 % is all of the budget.
                let stated = stated.filter(|_| (heading, key.as_str()) != ("`[class.NAME]`", "share"));
                let is_stated = stated.as_ref().is_none_or(|stated| default.contains(stated.as_str()));
                assert!(is_stated, "{heading} {key}: {default:?} is not {stated:?}");
                names.insert(key);
            }
        }
        assert_eq!(names, keys(&schema), "{heading} {from}");
    }
    let page = quoted(&read("docs/POLICY.md")).join(" ");
    for key in keys(&policy).iter().chain(&keys(&table("group"))) {
        assert!(page.contains(key.as_str()), "POLICY.md does not name {key}");
    }
}

#[test]
fn every_action_and_expectation_of_a_test_is_listed_with_its_keys() {
    let step = &schema("tests")["properties"]["test"]["items"]["properties"]["step"]["items"];
    let rows = rows(&section("docs/TESTS.md", "Tests"));
    let actions: BTreeSet<String> =
        keys(step).into_iter().filter(|key| !matches!(key.as_str(), "at" | "after" | "expect")).collect();
    let mut listed = BTreeSet::new();
    for row in rows.iter().filter(|row| quoted(&row[0]).iter().any(|name| actions.contains(name))) {
        for action in quoted(&row[0]) {
            let words = quoted(&row[1]).join(" ");
            let schema = &step["properties"][&action];
            for key in schema["properties"].as_object().into_iter().flat_map(|keys| keys.keys()) {
                let is_word = |word: &str| word == key;
                let split = |letter: char| !letter.is_alphanumeric() && letter != '_';
                assert!(words.split(split).any(is_word), "TESTS.md, {action}: {key} is not in {words:?}");
            }
            listed.insert(action);
        }
    }
    assert_eq!(listed, actions);
    let expected = rows.iter().flat_map(|row| quoted(&row[0])).collect::<BTreeSet<_>>();
    let text = section("docs/TESTS.md", "Tests");
    for key in keys(&step["properties"]["expect"]) {
        let is_listed = expected.contains(&key) || ["interface", "within"].contains(&key.as_str());
        assert!(is_listed && text.contains(&format!("`{key}`")), "TESTS.md does not list {key}");
    }
}

/// What is wrong with a policy: the codes of its problems, warnings included.
fn problems(text: &str) -> Vec<String> {
    let problems = match Policy::parse(&[Source { name: "page", text }]) {
        Ok((_, problems)) | Err(problems) => problems,
    };
    problems.into_iter().map(|problem| format!("{}: {}", problem.code, problem.message)).collect()
}

#[test]
fn the_policies_of_the_pages_are_valid() {
    let page = read("docs/POLICY.md");
    let blocks = blocks(&page, "toml");
    let [first, wire, rule, schema, timeouts] = &blocks[..] else { panic!("{} blocks", blocks.len()) };
    assert_eq!(problems(&format!("version = 1\n{wire}")), Vec::<String>::new());
    assert_eq!(problems(first), Vec::<String>::new());
    assert_eq!(problems(schema), Vec::<String>::new());
    assert_eq!(problems(timeouts), Vec::<String>::new());
    for policy in self::blocks(&read("docs/PROXY.md"), "toml") {
        assert_eq!(problems(&policy), Vec::<String>::new());
    }
    let readme = self::blocks(&read("README.md"), "toml");
    let [_dependency, policy] = &readme[..] else { panic!("{} blocks", readme.len()) };
    assert_eq!(problems(policy), Vec::<String>::new());
    let group = "[group.channel7]\ninterface = \"eth0\"\nsending = { service_type = \"guaranteed\", token_rate = \"200 Mbit/s\" }\n";
    let ladder = ["720p", "480p"].map(|name| {
        format!("[template.\"{name}\"]\nsending = {{ service_type = \"guaranteed\", token_rate = \"2 Mbit/s\" }}\n")
    });
    assert_eq!(problems(&format!("{first}{group}{}{rule}", ladder.concat())), Vec::<String>::new());
    let count = std::fs::read_dir(root().join("examples/policies")).unwrap();
    let names = count.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let policies: Vec<PathBuf> =
        names.filter(|name| !name.ends_with(".qostest.toml")).map(PathBuf::from).collect();
    assert_eq!(policies.len(), 7);
    for page in ["README.md", "docs/POLICY.md"] {
        assert!(read(page).contains("has seven"), "{page}");
    }
}

#[test]
fn the_units_of_the_table_are_read_and_no_others() {
    let take = |key: &str, value: &str| {
        problems(&format!(
            "version = 1\n[interface.eth0]\negress = {{ capacity = \"1 Gbit/s\" }}\n{key} = \"{value}\"\n"
        ))
    };
    for row in rows(&section("docs/POLICY.md", "Units")) {
        let spans = quoted(&row[1]);
        let units = spans.iter().flat_map(|span| span.split_whitespace()).filter(|unit| *unit != "/s");
        for unit in units.filter(|unit| unit.chars().all(|letter| letter.is_alphabetic() || letter == '/')) {
            let number = if unit == "bit/s" { "8000" } else { "8" };
            match row[0].as_str() {
                "rate" => {
                    for unit in [unit, unit.trim_end_matches("/s")] {
                        // Sizes have the names of rates in bytes.
                        if unit.contains('/') || unit.ends_with("bit") {
                            let rate = format!("egress = {{ capacity = \"{number} {unit}\" }}");
                            let text = format!("version = 1\n[interface.eth0]\n{rate}\n");
                            assert_eq!(problems(&text), Vec::<String>::new(), "{unit}");
                        }
                    }
                }
                "size" => assert_eq!(take("buffer", &format!("8 {unit}")), Vec::<String>::new(), "{unit}"),
                "time" => {
                    assert_eq!(take("path_latency", &format!("8 {unit}")), Vec::<String>::new(), "{unit}");
                }
                "share" => {}
                other => panic!("{other}"),
            }
        }
    }
    for refused in ["100 bit/s", "5", "5 M", "5 Mbps"] {
        let text = format!("version = 1\n[interface.eth0]\negress = {{ capacity = \"{refused}\" }}\n");
        assert!(problems(&text)[0].starts_with("GQ0005"), "{refused}: {:?}", problems(&text));
    }
}

#[test]
fn every_warning_is_listed() {
    let rows = rows(&section("docs/POLICY.md", "Warnings"));
    let listed: BTreeSet<_> = rows.iter().flat_map(|row| row[0].split(", ").map(str::to_owned)).collect();
    let warnings = Code::ALL.iter().filter(|code| code.severity() == Severity::Warning);
    assert_eq!(listed, warnings.map(|code| code.id().to_owned()).collect());
}

/// Names of codes that are followed by a number have that number.
#[test]
fn the_numbers_of_winsock_codes_are_right() {
    let mut checked = BTreeSet::new();
    for (page, text) in pages() {
        let words: Vec<_> = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').collect();
        let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let [name, number] = pair else { continue };
            let Ok(number) = number.parse::<u32>() else { continue };
            if name.starts_with("WSA") && number > 9999 {
                let wsa = Wsa::ALL.iter().find(|wsa| wsa.name() == *name);
                assert_eq!(wsa.map(|wsa| wsa.code()), Some(number), "{page}: {name}");
                checked.insert((*name).to_owned());
            }
        }
    }
    assert!(checked.len() >= 19, "{checked:?}");
    let listed = rows(&section("docs/WINSOCK.md", "Error codes"));
    assert_eq!(listed.len(), 19, "the codes of WSPConnect's page");
}

#[test]
fn the_table_of_service_types_is_right() {
    let places = [ServiceUse::Sending, ServiceUse::Receiving, ServiceUse::TrafficControl, ServiceUse::Report];
    let mut listed = Vec::new();
    for row in rows(&section("docs/FLOWSPEC.md", "Service types")) {
        for name in row[0].split(" (").next().unwrap().split(", ") {
            let service = *ServiceType::ALL.iter().find(|service| service.name() == name).expect(name);
            let legal = places.map(|place| service.is_legal(place));
            let shown: Vec<_> = row[1..5].iter().map(|cell| cell == "yes").collect();
            assert_eq!(shown, legal, "{name}");
            let mark = service.default_mark().map(|mark| format!("{} / {}", mark.dscp, mark.user_priority));
            assert_eq!(row[5], mark.unwrap_or_default(), "{name}");
            listed.push(name.to_owned());
        }
    }
    assert_eq!(listed.len(), ServiceType::ALL.len(), "{listed:?}");
}

/// The example of TESTS.md, under a policy with a budget of 255 Mbit/s.
#[test]
fn the_test_and_the_trace_of_the_page_run() {
    let page = read("docs/TESTS.md");
    let directory = tempfile::tempdir().unwrap();
    let policy = "version = 1\n[interface.eth0]\negress = { capacity = \"300 Mbit/s\", reservable = \"85%\" }\ningress = { capacity = \"300 Mbit/s\" }\n\
        [class.viewer]\n[template.\"1080p\"]\nsending = { service_type = \"guaranteed\", token_rate = \"6 Mbit/s\" }\n";
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("streaming.toml", policy);
    write("page.qostest.toml", &blocks(&page, "toml")[0]);
    let output = gqos(directory.path(), &["test", "."], "");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    let trace = &blocks(&section("docs/TESTS.md", "Traces"), "")[0];
    let replayed = gqos(directory.path(), &["replay", "--policy", "streaming.toml"], trace);
    let text = String::from_utf8(replayed.stdout).unwrap();
    assert_eq!(text.lines().count(), 3, "{}", String::from_utf8_lossy(&replayed.stderr));
    assert!(text.lines().all(|line| line.contains("\"ok\":true")), "{text}");
    // The flowspec of DECISIONS.md is one.
    let spec = blocks(&read("docs/DECISIONS.md"), "").remove(0).trim().to_owned();
    let line = format!(
        "{{\"at_us\":0,\"op\":\"reserve\",\"id\":\"v\",\"interface\":\"eth0\",\"sending\":{spec}}}\n"
    );
    let decided = gqos(directory.path(), &["replay", "--policy", "streaming.toml"], &line);
    let decision: Value = serde_json::from_slice(&decided.stdout).unwrap();
    assert_eq!(decision["reason"], "delay", "no bound is proven: {decision}");
}

/// The refusal of README.md is the first of the demo's forty viewers, which request three renditions in turn.
#[test]
fn the_refusal_of_the_readme_is_that_of_the_demo() {
    let line = |number: usize| {
        let template = ["1080p", "720p", "480p"][(number - 1) % 3];
        format!(
            "{{\"at_us\":0,\"op\":\"reserve\",\"id\":\"v{number}\",\"interface\":\"eth0\",\"class\":\"viewer\",\"template\":\"{template}\"}}\n"
        )
    };
    let trace: String = (1..=40).map(line).collect();
    let output = gqos(root(), &["replay", "--policy", "examples/policies/streaming.toml"], &trace);
    let text = String::from_utf8(output.stdout).unwrap();
    let decisions: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let refused: Vec<_> = decisions.iter().filter(|decision| decision["ok"] == false).collect();
    assert_eq!(refused.len(), 12, "twelve are refused, and 28 play");
    assert!(read("README.md").contains("28 play undisturbed and 12 are refused"));
    let first = refused[0];
    let stated = format!(
        "{}: {} ({}), {}",
        first["id"].as_str().unwrap(),
        first["error"].as_str().unwrap(),
        first["code"],
        first["message"].as_str().unwrap()
    );
    let shown = blocks(&read("README.md"), "");
    let shown: Vec<_> =
        shown.iter().map(|block| block.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert!(shown.contains(&stated), "{stated} is not in {shown:?}");
}

/// What the pages show below a command is what it prints. FLOWSPEC.md's file is a QOS for a 64-bit program with an object
/// whose mode is 4.
#[test]
fn the_output_of_commands_is_shown_as_it_is_printed() {
    let mut words = [u32::MAX; 23];
    (words[0], words[1], words[5], words[13]) = (750_000, 65_536, 3, 1);
    words[16..].copy_from_slice(&[12, 0, 0, 0, 2002, 12, 4]);
    let directory = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    std::fs::write(directory.path().join("viewer.bin"), bytes).unwrap();
    std::os::unix::fs::symlink(root().join("examples"), directory.path().join("examples")).unwrap();
    let mut checked = 0;
    for (page, text) in pages() {
        for block in blocks(&text, "").into_iter().filter(|block| block.starts_with("$ gqos ")) {
            let (command, printed) = block.split_once('\n').unwrap();
            let arguments: Vec<_> = command.strip_prefix("$ gqos ").unwrap().split(' ').collect();
            let output = gqos(directory.path(), &arguments, "");
            let all = [output.stdout, output.stderr].concat();
            assert_eq!(String::from_utf8(all).unwrap(), printed, "{page}: {command}");
            checked += 1;
        }
    }
    assert!(checked >= 2, "{checked} commands");
    // The form of a command line.
    let spec =
        quoted(&read("docs/FLOWSPEC.md")).into_iter().find(|span| span.starts_with("\"guaranteed")).unwrap();
    let checked = gqos(root(), &["flowspec", "check", "--send", spec.trim_matches('"')], "");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

/// The numbers of "Delay bounds": half of a link reservable, 20 flows, and buckets of 400 kB together.
#[test]
fn the_delay_bounds_of_the_page_are_those_of_the_tree() {
    let terms = |megabits: u64, reservable: u64| {
        let capacity = Rate::from_mbit(megabits);
        let budget = capacity.scale_down(Ratio::percent(reservable));
        let (max_flows, buffer) = (Some(20), Some(Bytes::new(400_000)));
        proven_error_terms(&Provable { capacity, budget, mtu: Bytes::new(1500), max_flows, buffer })
    };
    let milliseconds = |megabits| (terms(megabits, 50).unwrap().d.get() + 500) / 1000;
    let text = section("docs/POLICY.md", "Delay bounds");
    assert!(text.contains(&format!(
        "D is {} ms; at 10 Gbit/s it is {} ms",
        milliseconds(1000),
        milliseconds(10_000)
    )));
    assert_eq!(terms(1000, 50).unwrap().c, Bytes::new(82_018));
    assert!(text.contains("(82 018 B)"));
    let most = terms(1000, 80).unwrap().d.get() / 100_000;
    assert!(text.contains(&format!("D is {}.{} s at 1 Gbit/s", most / 10, most % 10)), "{most}");
    assert!(text.contains("above 80 % no bound can be proven"));
    assert_eq!((terms(1000, 80).is_some(), terms(1000, 81)), (true, None));
}

/// `.ci/run` reads the command from there.
#[test]
fn the_readme_has_the_command_that_runs_the_tests() {
    let readme = read("README.md");
    let mut after = readme.lines().skip_while(|line| !line.starts_with("Run the tests"));
    let command = after.find(|line| line.starts_with("cargo "));
    assert_eq!(command, Some("cargo test --workspace"), "after a line that begins with \"Run the tests\"");
}
