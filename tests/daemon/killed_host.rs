//! A host whose daemon is killed and started again.

use std::net::UdpSocket;
use std::path::PathBuf;

use gqos::lab::{CLIENT_V4, LabNetwork};
use serde_json::{Value, json};

use super::client::{Client, POLICY, until};
use super::common;
use super::program::{Program, classes, directory_with};

pub(crate) const MBIT: u64 = 125_000;
pub(crate) const MBIT_10: u64 = 10 * MBIT;

/// A grace period that no test outlasts, and one that each outlasts.
pub(crate) const LONG: &str = "[daemon]\ngrace = \"10 min\"\n";
pub(crate) const SHORT: &str = "[daemon]\ngrace = \"1 s\"\n";

pub(crate) struct KilledHost {
    pub(crate) network: LabNetwork,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) daemon: Program,
}

impl KilledHost {
    pub(crate) fn start(settings: &str) -> Option<Self> {
        Self::start_under(&format!("{POLICY}{settings}"))
    }

    pub(crate) fn start_under(policy: &str) -> Option<Self> {
        let network = common::lab_with(1000, &["tc"])?;
        let directory = directory_with(policy);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(directory.path(), mode).unwrap();
        let daemon = Program::start(&network, directory.path());
        Some(Self { network, directory, daemon })
    }

    /// Ends the daemon without any notice, and starts the next one.
    pub(crate) fn restart(&mut self) {
        self.daemon.kill();
        self.daemon = Program::start(&self.network, self.directory.path());
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.directory.path().join("gqos.sock.state")
    }

    /// Waits until the state file says something of an id.
    #[track_caller]
    pub(crate) fn until_written(&self, text: &str) {
        let path = self.state();
        until("it is written down", || std::fs::read_to_string(&path).is_ok_and(|all| all.contains(text)));
    }

    pub(crate) fn socket(&self) -> UdpSocket {
        let make = async {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.connect((CLIENT_V4, 9)).unwrap();
            socket
        };
        self.network.server.run(make).unwrap()
    }

    /// What the kernel has counted of a class.
    #[track_caller]
    pub(crate) fn sent_bytes(&self, class: &str) -> u64 {
        let text = common::inside(&self.network.server, &["tc", "-s", "class", "show", "dev", "eth0"]);
        let mut lines = text.lines().skip_while(|line| !line.contains(&format!("htb {class} ")));
        let sent = lines.find_map(|line| line.trim().strip_prefix("Sent ")?.split(' ').next()?.parse().ok());
        sent.unwrap_or_else(|| panic!("no class {class}: {text}"))
    }

    pub(crate) fn leaves(&self) -> usize {
        flow_leaves(&classes(&self.network))
    }
}

/// How many classes of flows `tc` shows.
pub(crate) fn flow_leaves(classes: &str) -> usize {
    // An idle class has the least rate that there is.
    let is_of_a_flow = |line: &&str| {
        line.contains(" parent 6771:1 ") && !line.contains("6771:2 ") && !line.contains(" rate 8bit ")
    };
    classes.lines().filter(is_of_a_flow).count()
}

pub(crate) fn flows(client: &mut Client) -> Vec<Value> {
    client.send("Flows", json!({}), true);
    let mut flows = Vec::new();
    loop {
        let reply = client.reply().unwrap();
        flows.extend(reply.parameters.unwrap().value()["flows"].as_array().unwrap().clone());
        // Which grows.
        flows.iter_mut().for_each(|flow| drop(flow.as_object_mut().unwrap().remove("age_us")));
        if !reply.continues {
            return flows;
        }
    }
}

pub(crate) fn reserved(client: &mut Client) -> u64 {
    let status = client.call("Status", json!({})).unwrap();
    status["interfaces"][0]["totals"]["sending"]["reserved"].as_u64().unwrap()
}

/// Reserves 10 Mbit/s under an id: the whole answer.
pub(crate) fn granted(client: &mut Client, id: &str) -> Value {
    let answer = client.call("Reserve", asked(id)).unwrap();
    assert_eq!(answer["decision"]["ok"], true, "{answer}");
    answer
}

pub(crate) fn asked(id: &str) -> Value {
    json!({ "id": id, "interface": "eth0", "template": "video", "class": "viewer" })
}
