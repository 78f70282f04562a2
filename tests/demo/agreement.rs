//! In the middle of `gqos demo --daemon`: the metrics, the web page, `gqos status` and the kernel agree on what is reserved,
//! on the classes and on the refusals.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::PoisonError;
use std::time::Duration;

use flowspec::Rate;
use serde_json::Value;

use super::daemon::Background;
use super::{ALONE, common, phases, viewers};

const VIEWERS: u64 = 40;

/// What an operator sees, all of it while nothing was admitted, refused or released.
struct Seen {
    status: Value,
    metrics: BTreeMap<String, String>,
    page: String,
    /// The kernel's classes: the rate in kilobits per second and the bytes that were sent.
    classes: BTreeMap<String, (u64, u64)>,
}

impl Seen {
    /// Reads everything; `None` where something has changed meanwhile, or the daemon has gone.
    fn read(running: &Background) -> Option<Self> {
        let status = |running: &Background| {
            let text = running.try_ask(&["status", "--classes", "--json"])?;
            serde_json::from_str::<Value>(&text).ok()
        };
        let before = status(running)?;
        let http = running.sockets.join("http.sock");
        let (metrics, page) = (samples(&get(&http, "/metrics")?), get(&http, "/")?);
        let classes = tc_classes(before["pid"].as_u64()?)?;
        let after = status(running)?;
        let same = |key: &str| before[key] == after[key];
        let totals = |status: &Value| status["interfaces"][0]["totals"].clone();
        let is_quiet = ["pid", "flows", "refused"].into_iter().all(same) && totals(&before) == totals(&after);
        is_quiet.then_some(Self { status: before, metrics, page, classes })
    }

    fn eth0(&self) -> &Value {
        let interfaces = self.status["interfaces"].as_array().unwrap();
        interfaces.iter().find(|record| record["interface"] == "eth0").unwrap()
    }

    fn flows(&self) -> u64 {
        self.status["flows"].as_u64().unwrap()
    }

    fn refused(&self) -> u64 {
        let refused = self.status["refused"].as_object().unwrap();
        refused.values().map(|count| count.as_u64().unwrap()).sum()
    }

    /// The first difference between what was seen, in words.
    fn difference(&self) -> Option<String> {
        self.metrics_differ().or_else(|| self.page_differs()).or_else(|| self.classes_differ())
    }

    fn metrics_differ(&self) -> Option<String> {
        let mut expected = BTreeMap::new();
        for direction in ["sending", "receiving"] {
            for what in ["budget", "reserved"] {
                let labels = format!("{{interface=\"eth0\",direction=\"{direction}\"}}");
                let name = format!("gqos_interface_{what}_bytes_per_second{labels}");
                expected.insert(name, self.eth0()["totals"][direction][what].to_string());
            }
        }
        let reserved = &self.eth0()["totals"]["sending"]["reserved"];
        let of_class = "{interface=\"eth0\",class=\"viewer\",direction=\"sending\"}";
        expected.insert(format!("gqos_class_reserved_bytes_per_second{of_class}"), reserved.to_string());
        expected
            .insert("gqos_class_flows{interface=\"eth0\",class=\"viewer\"}".into(), self.flows().to_string());
        expected.insert("gqos_interface_flows{interface=\"eth0\"}".into(), self.eth0()["flows"].to_string());
        expected.insert("gqos_flows".into(), self.flows().to_string());
        let counted = self.metrics.iter().filter(|(name, _)| name.starts_with("gqos_flows_refused_total{"));
        for (name, value) in counted {
            let reason = name.split('"').nth(1).unwrap();
            let refused = self.status["refused"][reason].as_u64().unwrap_or(0).to_string();
            if *value != refused {
                return Some(format!("{name}: {value} in the metrics, {refused} in the status"));
            }
        }
        let differs = expected.iter().find(|(name, value)| self.metrics.get(*name) != Some(value))?;
        Some(format!("{differs:?} of the status is {:?} in the metrics", self.metrics.get(differs.0)))
    }

    fn page_differs(&self) -> Option<String> {
        page_parts(&self.status, self.eth0())
            .into_iter()
            .find(|part| !self.page.contains(part))
            .map(|part| format!("{part} is not in the page"))
    }

    /// Each class of the status is in the kernel with its rate, and no flow's class is there besides.
    fn classes_differ(&self) -> Option<String> {
        let classes = self.eth0()["classes"].as_array().unwrap();
        for class in classes {
            let name = class["class"].as_str().unwrap();
            let Some((kilobits, sent)) = self.classes.get(name) else {
                return Some(format!("{class} is not in the kernel: {:?}", self.classes));
            };
            let expected = class["rate"].as_u64().unwrap() * 8 / 1000;
            if expected.abs_diff(*kilobits) > 1 || *sent < class["sent_bytes"].as_u64().unwrap() {
                return Some(format!("{class}: the kernel has {kilobits} kbit/s, {sent} bytes sent"));
            }
        }
        let of_flows = classes.iter().filter(|class| {
            let flow = class["flow"].as_str().unwrap();
            flow.starts_with('v')
        });
        let count = of_flows.count() as u64;
        (count != self.flows()).then(|| format!("{count} classes of {} flows: {classes:?}", self.flows()))
    }
}

/// What a page has to contain for a status.
fn page_parts(status: &Value, eth0: &Value) -> Vec<String> {
    let rate = |value: &Value| Rate::new(value.as_u64().unwrap()).to_string();
    let cell = |label: &str, text: &str| format!("<td data-label=\"{label}\" class=\"value\">{text}</td>");
    let totals = &eth0["totals"]["sending"];
    let free = totals["budget"].as_u64().unwrap() - totals["reserved"].as_u64().unwrap();
    let row = [
        "<th scope=\"row\"><bdi>eth0</bdi></th>".to_owned(),
        cell("direction", "sending"),
        cell("budget", &rate(&totals["budget"])),
        cell("reserved", &rate(&totals["reserved"])),
        cell("free", &Rate::new(free).to_string()),
    ];
    let mut parts = vec![row.concat()];
    for (name, value) in [("Reservations", &status["flows"]), ("Process", &status["pid"])] {
        parts.push(format!("<dt>{name}</dt><dd>{value}</dd>"));
    }
    parts
}

/// The body of a response.
fn get(socket: &Path, target: &str) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
}

fn samples(text: &str) -> BTreeMap<String, String> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// What tc says in the namespace of a process.
fn tc_classes(pid: u64) -> Option<BTreeMap<String, (u64, u64)>> {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/proc/{pid}/ns/net")).args(["tc", "-s", "class", "show", "dev", "eth0"]);
    let output = command.output().unwrap();
    let text = output.status.success().then(|| String::from_utf8(output.stdout).unwrap())?;
    let mut classes = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let mut words = line.split(' ');
        let Some(name) = words.by_ref().find(|word| *word == "htb").and_then(|_| words.next()) else {
            continue;
        };
        let rate = words.by_ref().find(|word| *word == "rate").and_then(|_| words.next()).unwrap();
        let sent = lines.next().unwrap().trim().strip_prefix("Sent ").unwrap();
        let sent = sent.split(' ').next().unwrap().parse().unwrap();
        classes.insert(name.to_owned(), (kilobits(rate), sent));
    }
    Some(classes)
}

/// A rate as tc prints it.
fn kilobits(text: &str) -> u64 {
    let digits = text.trim_end_matches(char::is_alphabetic);
    let number: u64 = digits.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    match &text[digits.len()..] {
        "bit" => number / 1000,
        "Kbit" => number,
        "Mbit" => number * 1000,
        "Gbit" => number * 1_000_000,
        unit => panic!("{unit} of {text}"),
    }
}

/// What is seen once this holds of it, and all of it agrees.
#[track_caller]
fn agreed(running: &mut Background, wanted: impl Fn(&Seen) -> bool) -> Seen {
    running.ask(&["status"]);
    let mut last = "nothing was seen".to_owned();
    // The page and the metrics follow within a second; the phase is longer.
    for _ in 0..300 {
        if let Some(seen) = Seen::read(running).filter(|seen| wanted(seen)) {
            match seen.difference() {
                None => return seen,
                Some(difference) => last = difference,
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("no agreement: {last}");
}

#[test]
fn metrics_page_status_and_kernel_agree() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    if !common::installed(&["nsenter", "tc"]) || common::lab(1).is_none() {
        return;
    }
    let mut running = Background::start(&["--seconds", "30", "--viewers", &VIEWERS.to_string()]);
    let first = agreed(&mut running, |seen| seen.flows() + seen.refused() == VIEWERS);
    assert!(first.flows() > 10 && first.refused() > 5, "{}", first.status);
    let shown = chromium(&running, &first);
    // The same of the next daemon, which counts from its own start.
    let (pid, flows) = (first.status["pid"].clone(), first.flows());
    let next = agreed(&mut running, |seen| seen.status["pid"] != pid && seen.flows() == flows);
    assert_eq!(next.refused(), 0, "{}", next.status);
    assert_eq!(next.eth0()["totals"], first.eth0()["totals"]);

    let outcome = running.finish();
    let [_, with] = phases(&outcome);
    let admitted = viewers(with).iter().filter(|viewer| viewer["admitted"] == true).count();
    assert_eq!((admitted as u64, with["refused"].as_array().unwrap().len() as u64), (flows, first.refused()));
    for refusal in with["refused"].as_array().unwrap() {
        let id = format!("<bdi>{}</bdi>", refusal["id"].as_str().unwrap());
        let (_, refusals) = first.page.split_once("id=\"refusals\"").expect("the page lists refusals");
        assert!(refusals.contains(&id), "{id} is among the refusals of the page: {refusals}");
    }
    if !shown {
        common::skip("no chromium; Debian: chromium");
    }
}

/// Has headless Chromium show the page, and compares what it shows. `false` where there is none.
fn chromium(running: &Background, seen: &Seen) -> bool {
    if Command::new("chromium").arg("--version").output().is_err() {
        return false;
    }
    let address = relay(running.sockets.join("http.sock"));
    let scratch = tempfile::tempdir().unwrap();
    let kept = std::env::var_os("GQOS_SCREENSHOTS").map(PathBuf::from);
    let picture = kept.as_deref().unwrap_or(scratch.path()).join("demo.png");
    let run = |argument: &str| {
        let mut command = Command::new("chromium");
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]);
        command.args(["--disable-background-networking", "--disable-component-update", "--hide-scrollbars"]);
        command.args(["--window-size=1200,2400", "--timeout=3000", argument]);
        command.arg(format!("--user-data-dir={}", scratch.path().join("profile").display()));
        let output = command.arg(format!("http://{address}/")).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let document = run("--dump-dom");
    for part in page_parts(&seen.status, seen.eth0()) {
        assert!(document.contains(&part), "{part} is not what Chromium shows: {document}");
    }
    run(&format!("--screenshot={}", picture.display()));
    let image = std::fs::read(&picture).unwrap();
    assert!(image.starts_with(b"\x89PNG") && image.len() > 10_000, "{} bytes", image.len());
    true
}

/// A loopback port that leads to a socket.
fn relay(socket: PathBuf) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // While the daemon is not there, the connection is closed.
            let Ok(inside) = UnixStream::connect(&socket) else { continue };
            let (mut to, mut from) = (inside.try_clone().unwrap(), inside);
            let (mut requests, mut responses) = (stream.try_clone().unwrap(), stream);
            std::thread::spawn(move || {
                drop(std::io::copy(&mut requests, &mut to));
                drop(to.shutdown(std::net::Shutdown::Write));
            });
            std::thread::spawn(move || {
                drop(std::io::copy(&mut from, &mut responses));
                drop(responses.shutdown(std::net::Shutdown::Both));
            });
        }
    });
    address
}
