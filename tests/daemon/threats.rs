//! Threats of the table in docs/DAEMON.md that have no tests elsewhere, and the table itself.

use std::process::Command;

use serde_json::{Value, json};

use super::client::{OTHER, POLICY, TestDaemon, USER, as_user, fails, until};

/// S7: what counts is the user that has connected, and not the process that uses the connection.
#[test]
fn a_connection_that_is_passed_on_is_its_user_s() {
    let Some(daemon) = TestDaemon::start(POLICY) else { return };
    // The thread that has connected is gone, and root goes on.
    let mut passed = daemon.client_as(USER);
    fails(passed.call("Reload", json!({})), "NotPermitted");
    passed.admitted("v1", "video");
    let mut other = daemon.client_as(OTHER);
    fails(other.call("Release", json!({ "id": "v1" })), "UnknownId");
    // The other way round, which is why an administrator's connection is not to be passed on.
    let mut administrator = daemon.client();
    let reloaded = as_user(OTHER, move || administrator.call("Reload", json!({})));
    assert!(reloaded.is_ok(), "{reloaded:?}");
    let mut owner = daemon.client_as(USER);
    assert_eq!(owner.call("Release", json!({ "id": "v1" })), Ok(json!({})), "another connection of the user");
}

/// S10: a name has its place in a record, and nothing of it acts.
#[test]
fn hostile_names_stay_in_their_fields() {
    let audit = tempfile::tempdir().unwrap();
    let path = audit.path().join("log");
    let Some(daemon) = TestDaemon::start(&format!("{POLICY}[daemon]\naudit = \"{}\"\n", path.display()))
    else {
        return;
    };
    let name = "v\u{1b}[2J\r\n{\"op\":\"stop\"}\n\u{202e}\u{0}\"} x=1";
    let mut client = daemon.client_as(USER);
    let asked = json!({ "id": name, "interface": "eth0", "template": "video", "client": name });
    assert_eq!(client.reserve(asked)["ok"], true);
    let shown = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gqos"));
        command.args(arguments).arg("--socket").arg(&daemon.socket);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    for text in [shown(&["flows"]), shown(&["status", "--classes"])] {
        let is_harmful = |letter: char| (letter.is_control() && letter != '\n') || letter == '\u{202e}';
        assert!(!text.contains(is_harmful), "{text:?}");
        assert!(!text.lines().any(|line| line.starts_with('{')), "{text:?}");
    }
    let json: Value = serde_json::from_str(shown(&["flows", "--json"]).trim()).unwrap();
    assert!(json.to_string().contains("202e") || json.to_string().contains('\u{202e}'), "{json}");
    until("the line is written", || std::fs::read_to_string(&path).unwrap().contains("\"reserve\""));
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["id"] == name && line["client"] == name), "{text}");
    assert!(lines.iter().all(|line| line["op"] != "stop"), "{text}");
}

/// Every row has its number and tests that exist.
#[test]
fn the_table_of_threats_names_tests() {
    let page = std::fs::read_to_string("docs/DAEMON.md").unwrap();
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| S")).collect();
    for (number, row) in rows.iter().enumerate() {
        assert!(row.starts_with(&format!("| S{} |", number + 1)), "{row}");
        let tests = row.split('|').nth(4).unwrap();
        let mut file = String::new();
        let mut named = 0;
        for test in tests.split('`').skip(1).step_by(2) {
            let name = match test.rsplit_once("::") {
                Some((module, name)) => {
                    file = format!("tests/{}.rs", module.replace("::", "/"));
                    name
                }
                None => test,
            };
            // A module stands for all of its tests.
            let module = format!("tests/{}.rs", test.replace("::", "/"));
            let beside = format!("src/{}", test.replace("::", "/"));
            let is_module = [module, format!("{beside}.rs"), format!("{beside}/mod.rs")]
                .iter()
                .any(|path| std::fs::exists(path).unwrap());
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            assert!(is_module || text.contains(&format!("fn {name}(")), "{file}: {test}: {row}");
            named += 1;
        }
        assert!(named > 0, "{row}");
    }
    assert_eq!(rows.len(), 13);
}
