//! The command in front of nginx, in two network namespaces with classes in the kernel; its clients are curl.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use gqos::lab::{SERVER_V4, Site};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::common::{inside, lab_with};
use super::world::pattern;

const POLICY: &str = r#"
version = 1
[interface.eth0]
egress = { capacity = "100 Mbit/s", reservable = "80%" }
enforcement = "kernel"
[template.hd]
sending = { service_type = "guaranteed", token_rate = "50 Mbit/s", token_bucket_size = "1 MiB" }
[template.free]
sending = { service_type = "best_effort" }
[proxy.edge]
listen = "10.71.1.2:8080"
to = "10.71.1.2:8081"
protocol = "http"
template = "free"
[[proxy.edge.rule]]
match = { path = "/hd/*" }
template = "hd"
"#;

/// A program that is killed with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(site: &Site, words: &[&str], stderr: Stdio) -> Running {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", site.namespace_path())).args(words);
    Running(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).spawn().unwrap())
}

#[expect(clippy::disallowed_methods, reason = "another process is waited for, outside of a runtime")]
fn nginx(site: &Site, directory: &Path) -> Running {
    let here = directory.display();
    let configuration = format!(
        "daemon off; master_process off; pid {here}/pid; error_log {here}/error.log; events {{}}\n\
         http {{ access_log off; client_body_temp_path {here}/a; proxy_temp_path {here}/b; fastcgi_temp_path {here}/c;\n\
         uwsgi_temp_path {here}/d; scgi_temp_path {here}/e;\n\
         server {{ listen {SERVER_V4}:8081; root {here}; location / {{ try_files /media =404; add_header X-Seen \"$http_x_gqos_rendition\"; }} }} }}\n"
    );
    let path = directory.join("nginx.conf");
    std::fs::write(&path, configuration).unwrap();
    let running = start(site, &["nginx", "-c", path.to_str().unwrap()], Stdio::null());
    while !directory.join("pid").exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    running
}

/// Ends the command as systemd does, and gives its records.
fn terminated(mut proxy: Running) -> Vec<serde_json::Value> {
    let id = proxy.0.id().to_string();
    assert!(Command::new("kill").arg(&id).status().unwrap().success());
    let status = proxy.0.wait().unwrap();
    assert_eq!(status.code(), Some(0));
    let mut lines = String::new();
    proxy.0.stdout.take().unwrap().read_to_string(&mut lines).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn nginx_behind_the_command_serves_whole_files_and_refuses_what_does_not_fit() {
    let Some(network) = lab_with(100, &["nginx", "curl", "tc"]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let media = pattern(3_000_000);
    std::fs::write(path("media"), &media).unwrap();
    std::fs::write(path("policy.toml"), POLICY).unwrap();
    let _origin = nginx(&network.server, directory.path());
    let command = [
        env!("CARGO_BIN_EXE_gqos"),
        "proxy",
        "--no-daemon",
        "--policy",
        &path("policy.toml"),
        "--log-format",
        "json",
    ];
    let mut proxy = start(&network.server, &command, Stdio::piped());
    let mut messages = BufReader::new(proxy.0.stderr.take().unwrap());
    let mut line = String::new();
    messages.read_line(&mut line).unwrap();
    let started: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(started, serde_json::json!({ "event": "started", "daemon": null }), "{line}");
    line.clear();
    messages.read_line(&mut line).unwrap();
    let listening: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(listening["address"], "10.71.1.2:8080", "{line}");
    assert!(inside(&network.server, &["tc", "qdisc", "show", "dev", "eth0"]).contains("htb 6771:"));

    let url = |path: &str| format!("http://{SERVER_V4}:8080{path}");
    let curl =
        |words: &[&str]| inside(&network.client, &[&["curl", "-s", "--max-time", "60"], words].concat());
    let (got, whole) = (path("got"), url("/hd/1.ts"));
    let seen = curl(&[
        "-o",
        &got,
        "-D",
        "-",
        &whole,
        "-o",
        &got,
        &url("/hd/2.ts"),
        "-w",
        "%{http_code} %{num_connects}\n",
    ]);
    assert!(seen.contains("X-Seen: hd"), "{seen}");
    // Both on one connection.
    assert!(seen.contains("200 1\n") && seen.contains("200 0\n"), "{seen}");
    assert!(std::fs::read(&got).unwrap() == media, "the file was changed");

    // A viewer that holds 50 of 80 Mbit/s.
    let held = network.client.run(viewer());
    let held = held.unwrap();
    let answer = curl(&["-i", &whole]);
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n"), "{answer}");
    assert!(answer.contains("\"reason\":\"interface_budget\""), "{answer}");
    assert_eq!(curl(&["-o", &got, "-w", "%{http_code}", &url("/page")]), "200");
    drop(held);

    let records = terminated(proxy);
    assert!(records.len() >= 4, "{records:?}");
    let first = &records[0];
    assert_eq!(
        (&first["end"], &first["requests"], &first["rendition"]),
        (&"closed".into(), &2.into(), &"hd".into())
    );
    assert!(records.iter().any(|record| record["end"] == "refused"), "{records:?}");
    assert!(!inside(&network.server, &["tc", "qdisc", "show", "dev", "eth0"]).contains("htb 6771:"));
}

/// A viewer that is admitted, and reads no more than the status.
async fn viewer() -> TcpStream {
    loop {
        let mut viewer = TcpStream::connect((SERVER_V4, 8080)).await.unwrap();
        viewer.write_all(b"GET /hd/3.ts HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut status = [0; 12];
        viewer.read_exact(&mut status).await.unwrap();
        // The connection before it may be ending, and hold its reservation until then.
        if &status == b"HTTP/1.1 200" {
            return viewer;
        }
    }
}
