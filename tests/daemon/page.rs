//! The web page: it shows what the status says, live and without a script, and hostile names as text.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Command;

use flowspec::Rate;
use gqos::policy::HttpAddress;
use serde_json::{Value, json};

use super::client::{Client, TestDaemon, until};
use super::common;
use super::http::{POLICY, connect, daemon, get, socket};

pub(crate) const HOSTILE: &str = "<img src=x onerror=alert(1)>\u{202E}gpj";
pub(crate) const SHOWN: &str = "&lt;img src=x onerror=alert(1)&gt;&lt;U+202E&gt;gpj";

/// A flow with a class, one with a hostile name, and a refusal. Gives the refusal's sum.
pub(crate) fn reserve(client: &mut Client) -> String {
    for id in ["v1", HOSTILE] {
        let asked = json!({ "id": id, "interface": "eth0", "template": "video", "class": "viewer" });
        assert_eq!(client.reserve(asked)["ok"], true);
    }
    let big = json!({ "service_type": "guaranteed", "token_rate": 60 * 125_000, "token_bucket_size": 65536 });
    let refused = client.reserve(json!({ "id": "big", "interface": "eth0", "sending": big }));
    assert_eq!(refused["ok"], false);
    refused["message"].as_str().unwrap().to_owned()
}

/// A number of a status as the page shows it.
fn rate(value: &Value) -> String {
    Rate::new(value.as_u64().unwrap()).to_string()
}

/// Checks that a page, or its parts, say what a status says.
#[track_caller]
pub(crate) fn check(html: &str, status: &Value) {
    let cell = |label: &str, text: &str| format!("<td data-label=\"{label}\" class=\"value\">{text}</td>");
    let mut rows = 0;
    for interface in status["interfaces"].as_array().unwrap() {
        for direction in ["sending", "receiving"] {
            let totals = &interface["totals"][direction];
            let free = totals["budget"].as_u64().unwrap() - totals["reserved"].as_u64().unwrap();
            let row = format!(
                "<th scope=\"row\"><bdi>{}</bdi></th>{}{}{}{}",
                interface["interface"].as_str().unwrap(),
                cell("direction", direction),
                cell("budget", &rate(&totals["budget"])),
                cell("reserved", &rate(&totals["reserved"])),
                cell("free", &rate(&json!(free)))
            );
            assert!(html.contains(&row), "{row} is not in {html}");
            rows += 1;
        }
    }
    assert!(rows >= 2);
    for (name, value) in [("Reservations", &status["flows"]), ("Process", &status["pid"])] {
        assert!(html.contains(&format!("<dt>{name}</dt><dd>{value}</dd>")), "{name} {value}: {html}");
    }
}

#[test]
fn the_page_says_what_the_status_says() {
    let Some(daemon) = daemon() else { return };
    let mut client = daemon.client();
    let sum = reserve(&mut client);
    // The pictures begin with the first second.
    until("the refusal and a picture are shown", || {
        let body = get(&socket(&daemon), "/", "").body;
        body.contains("<bdi>big</bdi>") && body.contains("<figure>")
    });
    let (page, status) = (get(&socket(&daemon), "/", ""), client.call("Status", json!({})).unwrap());
    assert_eq!((page.status, page.headers["content-type"].as_str()), (200, "text/html; charset=utf-8"));
    check(&page.body, &status);
    for text in [
        "<bdi>v1</bdi>",
        SHOWN,
        "<figure>",
        "reserved</text>",
        &gqos::chart::escape(&sum.replace('\u{202E}', "<U+202E>")),
    ] {
        let found = page.body.replace("\nreserved\n</text>", "reserved</text>");
        assert!(found.contains(text), "{text}: {found}");
    }
    assert!(!page.body.contains(HOSTILE) && !page.body.contains('\u{202E}'));
    // Nothing is fetched from elsewhere, and nothing runs but the script of the page.
    for absent in ["http://", "https://", "style=", "<style", "onclick", "javascript:"] {
        let own = page.body.replace("http://www.w3.org/2000/svg", "");
        assert!(!own.contains(absent), "{absent}");
    }
    let sources: Vec<_> =
        page.body.split("src=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(sources, ["/page.js"]);
    for (path, media) in
        [("/page.js", "text/javascript"), ("/page.css", "text/css"), ("/icon.svg", "image/svg")]
    {
        let answer = get(&socket(&daemon), path, "");
        assert_eq!(answer.status, 200);
        assert!(answer.headers["content-type"].starts_with(media) && !answer.body.is_empty(), "{path}");
    }
    let policy = &page.headers["content-security-policy"];
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
}

/// A stream of changes.
struct Watch(BufReader<std::os::unix::net::UnixStream>);

impl Watch {
    fn open(path: &Path) -> Self {
        let mut stream = connect(path);
        stream.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        Self(BufReader::new(stream))
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    /// The next frame: its parts by their names.
    fn next(&mut self) -> Value {
        loop {
            if let Some(data) = self.line().strip_prefix("data: ") {
                return serde_json::from_str(data).unwrap();
            }
        }
    }
}

#[test]
fn changes_are_sent_as_they_happen() {
    const MOST: usize = 16;
    let Some(daemon) = daemon() else { return };
    let mut watch = Watch::open(&socket(&daemon));
    assert!(watch.line().starts_with("HTTP/1.1 200"));
    let first = watch.next();
    for part in ["summary", "interfaces", "classes", "pictures", "flows", "refusals"] {
        assert!(first[part].is_string(), "{part}: {first}");
    }
    let mut client = daemon.client();
    reserve(&mut client);
    let mut frame = Value::Null;
    until("the flows and the refusal are in a frame", || {
        frame = watch.next();
        let has = |part: &str, text: &str| frame[part].as_str().unwrap().contains(text);
        has("flows", SHOWN) && has("refusals", "<bdi>big</bdi>")
    });
    let parts: String = frame.as_object().unwrap().values().filter_map(Value::as_str).collect();
    check(&parts, &client.call("Status", json!({})).unwrap());
    let others: Vec<_> = (1..MOST).map(|_| Watch::open(&socket(&daemon))).collect();
    until("there are as many streams as there may be", || {
        let mut one_more = Watch::open(&socket(&daemon));
        one_more.line().starts_with("HTTP/1.1 503")
    });
    drop(others);
    until("another stream may begin", || {
        let mut again = Watch::open(&socket(&daemon));
        again.line().starts_with("HTTP/1.1 200")
    });
    daemon.stop();
}

/// What headless Chromium prints, for a page of a daemon's port.
fn chromium(daemon: &TestDaemon, arguments: &[&str]) -> (String, String) {
    let Some(HttpAddress::Port(address)) = &daemon.http else { panic!("{:?}", daemon.http) };
    let profile = tempfile::tempdir().unwrap();
    let net = format!("--net={}", daemon.site().namespace_path());
    let mut command = Command::new("nsenter");
    command.arg(net).args(["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]);
    command.args([
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-quic",
    ]);
    command.args(["--hide-scrollbars", "--enable-logging=stderr", "--timeout=8000"]).args(arguments);
    command.arg(format!("--user-data-dir={}", profile.path().display())).arg(format!("http://{address}/"));
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (text(output.stdout), text(output.stderr))
}

#[test]
fn chromium_shows_the_page_live_and_without_errors() {
    if !common::installed(&["nsenter"]) {
        return;
    }
    if Command::new("chromium").arg("--version").output().is_err() {
        return common::skip("no chromium; Debian: chromium");
    }
    let port = |_: &Path| Some("127.0.0.1:0".parse().unwrap());
    let Some(daemon) = TestDaemon::start_with(POLICY, port) else { return };
    let mut client = daemon.client();
    reserve(&mut client);
    let (dom, log) = chromium(&daemon, &["--dump-dom"]);
    assert!(!log.contains("CONSOLE"), "the console has no errors: {log}");
    check(&dom, &client.call("Status", json!({})).unwrap());
    // The script runs. What it does with the stream is in the pictures alone: the document is printed once it is loaded.
    assert!(dom.contains("<button type=\"button\">Pause</button>"), "{dom}");
    assert!(dom.contains(SHOWN), "{dom}");
    // For a person to look at.
    let kept = std::env::var_os("GQOS_SCREENSHOTS").map(std::path::PathBuf::from);
    let scratch = tempfile::tempdir().unwrap();
    let directory = kept.as_deref().unwrap_or(scratch.path());
    for (name, arguments) in [
        ("wide", &["--window-size=1200,1800"][..]),
        ("narrow", &["--window-size=360,3000"]),
        ("dark", &["--window-size=1200,1800", "--blink-settings=preferredColorScheme=0"]),
    ] {
        let file = directory.join(format!("page-{name}.png"));
        let screenshot = format!("--screenshot={}", file.display());
        let (_, log) = chromium(&daemon, &[arguments, &[screenshot.as_str()]].concat());
        let image = std::fs::read(&file).unwrap_or_else(|error| panic!("{name}: {error}: {log}"));
        assert!(image.starts_with(b"\x89PNG") && image.len() > 10_000, "{name}");
    }
}
