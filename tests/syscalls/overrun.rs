//! A process that is stopped while more changes pass than the kernel keeps for it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::common::inside;
use super::kernel_state::{PATIENCE, Place, SETTLED, difference, pause};
use super::tracer::Ended;

/// Changes of a link that the policy does not name.
const CHANGES: usize = 12_000;

impl Place {
    /// Stops a host with two flows while links change and other programs delete its trees. Returns what is wrong
    /// afterwards, and how long the repair took.
    pub(crate) fn overrun(&mut self) -> (Vec<String>, Duration) {
        let site = &self.network.server;
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", site.namespace_path())).arg(std::env::current_exe().unwrap());
        let mut running = self.spawn(command);
        // Before the first flow, with it and with both.
        for step in 0..3 {
            let is_step = |line: &String| line.starts_with("classes: ");
            while !is_step(&running.lines.recv_timeout(PATIENCE).unwrap()) {}
            if step < 2 {
                running.stdin.write_all(b"\n").unwrap();
            }
        }
        let (before, _) = self.settled("before the stop");
        let signal = |signal: &str| {
            let command = format!("kill -{signal} {}", running.child.id());
            assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success());
        };
        signal("STOP");
        inside(site, &["ip", "link", "add", "e0", "type", "veth", "peer", "name", "e1"]);
        self.change_links();
        inside(site, &["ip", "link", "del", "e0"]);
        inside(site, &["tc", "qdisc", "del", "dev", "eth0", "root"]);
        signal("CONT");
        let (after, time) = self.settled("after the stop");
        running.stdin.write_all(b"\n").unwrap();
        let life = self.follow(running, true);
        let mut faults = life.problems;
        faults.extend(before.into_iter().chain(after).chain(life.failed).chain(life.lacking));
        if life.ended != Ended::Exited(0) {
            faults.push(format!("it {}", life.ended));
        }
        faults.extend(self.check_empty("after the end"));
        (faults, time)
    }

    /// Waits until the kernel holds what it holds for both flows.
    fn settled(&self, when: &str) -> (Option<String>, Duration) {
        let begun = Instant::now();
        loop {
            let found = difference(when, &self.started[0].1, &self.dump());
            if found.is_none() || begun.elapsed() > SETTLED {
                return (found, begun.elapsed());
            }
            pause();
        }
    }

    fn change_links(&self) {
        let mut commands = String::new();
        for number in 0..CHANGES {
            writeln!(commands, "link set dev e0 alias a{number}").unwrap();
        }
        let net = format!("--net={}", self.network.server.namespace_path());
        let mut ip = Command::new("nsenter");
        let mut ip = ip.arg(net).args(["ip", "-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        ip.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
        assert!(ip.wait().unwrap().success());
    }
}
