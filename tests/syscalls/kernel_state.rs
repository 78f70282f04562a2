//! A network for lives with faults, and what its kernel holds by the words of `tc` and `ip`.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use gqos::connect::Host;
use gqos::lab::{CLIENT_V4, LabNetwork};
use tokio::net::UdpSocket;

use super::common::{inside, lab, policy};
use super::life::{self, Kind};
use super::tracer::{self, Ended, Injected, Injection, Point};

/// Everything that gqos makes: qdiscs, classes, filters, ifbs and claims.
const DUMP: &str = "for d in $(ip -o link | sed 's/^[0-9]*: //; s/[@:].*//'); do echo link $d; \
    for what in 'qdisc show' 'class show' 'filter show' 'filter show ingress'; do \
    tc ${what%% *} show dev $d ${what#* show} 2>&1 | sed \"s/^/$d /\"; done; done; \
    grep -o '@gqos/interface/[0-9]*' /proc/net/unix; true";

/// How long a busy machine may take for what an idle one does at once; a request without an answer takes ten seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
pub(crate) const SETTLED: Duration = Duration::from_secs(20);

/// What the kernel holds is taken for settled once it stays as it is for so many pauses.
const SETTLING_PAUSES: usize = 20;

/// Two hosts, and what the kernel of one holds without a gqos and with a host that has two flows.
pub(crate) struct Place {
    pub(crate) network: LabNetwork,
    kind: Kind,
    peers: [SocketAddr; 2],
    directory: tempfile::TempDir,
    empty: BTreeSet<String>,
    /// The policies under which the next host starts, in turn, and what the kernel holds then.
    pub(crate) started: Vec<(String, BTreeSet<String>)>,
    starts: usize,
    /// What the kernel holds in each state of a life without a fault, by the classes of the flows.
    states: Vec<Held>,
}

/// What the kernel holds, by the words of `tc` and `ip`, while flows have these classes.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    classes: String,
    pub(crate) objects: BTreeSet<String>,
}

/// A process that lives, and waits for a line after each step.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) lines: Receiver<String>,
    pub(crate) stdin: ChildStdin,
}

/// What came of a life.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) ended: Ended,
    /// Where the kernel and the process differ.
    pub(crate) problems: Vec<String>,
    /// Requests that were refused or failed, in words.
    pub(crate) failed: Vec<String>,
    /// What is enforced in user space alone, in words.
    pub(crate) lacking: Vec<String>,
    /// The calls, where no fault was injected.
    pub(crate) points: Vec<Point>,
    /// What the kernel held in each state.
    pub(crate) states: Vec<Held>,
}

impl Place {
    /// A place for lives of this kind, in each state of which the kernel is to hold what it holds without a fault.
    pub(crate) fn new(kind: Kind, states: &[Held]) -> Self {
        let network = lab(100).expect("the first one was made");
        let peers = [5000, 5001].map(|port| SocketAddr::from((CLIENT_V4, port)));
        for peer in peers {
            let bound = network.client.run(async move { UdpSocket::bind(peer).await.unwrap() }).unwrap();
            network.client.runtime().spawn(async move { while bound.recv(&mut [0; 64]).await.is_ok() {} });
        }
        // The ports are in the filters: two are enough.
        let ports = async { std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "6000 6001") };
        network.server.run(ports).unwrap().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let (empty, started, states) = (BTreeSet::new(), Vec::new(), states.to_vec());
        let mut place = Self { network, kind, peers, directory, empty, started, starts: 0, states };
        place.empty = place.dump();
        place.started =
            kind.policies().into_iter().map(|text| (text.clone(), place.next_start(&text))).collect();
        let (_, first) = &place.started[0];
        let both = first.iter().filter(|line| line.contains("class htb 6771:101"));
        assert_eq!(both.count(), 2, "{first:#?}");
        place
    }

    /// What the kernel holds, without the numbers that it chooses.
    pub(crate) fn dump(&self) -> BTreeSet<String> {
        let shown = inside(&self.network.server, &["sh", "-c", DUMP]);
        shown.lines().map(without_chosen).collect()
    }

    /// The same once it stays as it is: a change may be under way.
    fn settled_dump(&self) -> BTreeSet<String> {
        let mut before = self.dump();
        loop {
            for _ in 0..SETTLING_PAUSES {
                pause();
            }
            let after = self.dump();
            if after == before {
                return after;
            }
            before = after;
        }
    }

    /// Starts a host with two flows under a policy, and stops it. Returns what the kernel held meanwhile.
    fn next_start(&self, text: &str) -> BTreeSet<String> {
        let (peers, policy) = (self.peers, policy(text));
        let work = async move {
            let host = Host::start(policy).await.unwrap();
            let mut flows = Vec::new();
            for (peer, id) in peers.into_iter().zip(["one", "two"]) {
                flows.push(host.connector().connect_udp(peer, &life::ask(id, 20)).await.unwrap());
            }
            (host, flows)
        };
        let (host, flows) = self.network.server.run(work).expect("the next start");
        let held = self.dump();
        let stop = async move {
            drop(flows);
            host.stop().await;
        };
        self.network.server.run(stop).unwrap();
        held
    }

    /// The next start replaces what was left, under any policy, and leaves nothing itself.
    pub(crate) fn check_next_start(&mut self) -> Vec<String> {
        self.starts += 1;
        let (text, started) = &self.started[self.starts % self.started.len()];
        let mut faults = Vec::new();
        faults.extend(difference("after the next start", started, &self.next_start(text)));
        faults.extend(self.check_empty("after the next stop"));
        faults
    }

    /// Nothing of gqos is left.
    pub(crate) fn check_empty(&self, when: &str) -> Option<String> {
        difference(when, &self.empty, &self.dump())
    }

    /// Starts this program as a process that lives.
    pub(crate) fn spawn(&self, mut command: Command) -> Running {
        let given = format!("{} {} {}", self.kind.name(), self.peers[0], self.peers[1]);
        let errors = std::fs::File::create(self.directory.path().join("errors")).unwrap();
        command.env("GQOS_LIFE", given).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let mut child = command.spawn().unwrap();
        let (lines, stdin) = (lines(&mut child), child.stdin.take().unwrap());
        Running { child, lines, stdin }
    }

    /// A life with this fault. After each step the kernel has to have the classes that the process says.
    pub(crate) fn live(&mut self, injection: Option<&Injection>) -> Life {
        let log = self.directory.path().join("log");
        let mut command = tracer::command(&self.network.server.namespace_path(), &log, injection);
        command.arg(std::env::current_exe().unwrap());
        let running = self.spawn(command);
        let is_killed = injection.is_some_and(|injection| matches!(injection.what, Injected::Kill));
        let mut life = self.follow(running, !is_killed);
        if injection.is_none() {
            life.points = tracer::points(&log, self.kind.lines());
        }
        life
    }

    /// Compares the kernel with what a process says until it ends, unless it is about to be killed.
    pub(crate) fn follow(&self, running: Running, is_compared: bool) -> Life {
        let Running { mut child, lines, mut stdin } = running;
        let mut life = Life {
            ended: Ended::Hung,
            problems: Vec::new(),
            failed: Vec::new(),
            lacking: Vec::new(),
            points: Vec::new(),
            states: Vec::new(),
        };
        let mut states = 0;
        loop {
            let line = match lines.recv_timeout(PATIENCE) {
                Ok(line) => line,
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    end(&mut child);
                    return life;
                }
            };
            match line.split_once(": ").unwrap_or((&line, "")) {
                ("classes", classes) => {
                    if is_compared {
                        life.problems.extend(self.check_classes(classes));
                        life.problems.extend(self.check_state(states, classes));
                        states += 1;
                        if self.states.is_empty() {
                            let objects = self.settled_dump();
                            life.states.push(Held { classes: classes.to_owned(), objects });
                        }
                    }
                    // The process may have been killed.
                    let _ = stdin.write_all(b"\n");
                }
                ("lacking", _) => life.lacking.push(line),
                ("failed" | "not started", _) => life.failed.push(line),
                _ => {}
            }
        }
        let status = child.wait().unwrap();
        life.ended = match (status.code(), status.signal()) {
            // strace ends as the process does.
            (Some(code), _) if code < 128 => Ended::Exited(code),
            _ => Ended::Killed,
        };
        if !matches!(life.ended, Ended::Exited(0 | life::NOT_STARTED)) && is_compared {
            life.problems
                .push(std::fs::read_to_string(self.directory.path().join("errors")).unwrap_or_default());
        }
        life
    }

    /// Whether the classes of flows in the kernel are these: `6771:100 dev eth0, 6771:100 dev gqi2`.
    fn check_classes(&self, classes: &str) -> Option<String> {
        let wanted: BTreeSet<_> =
            classes.split(", ").filter(|class| !class.is_empty()).map(str::to_owned).collect();
        let begun = Instant::now();
        loop {
            let held = self.dump();
            let found: BTreeSet<_> = held.iter().filter_map(|line| flow_class(line)).collect();
            if found == wanted {
                return None;
            }
            if begun.elapsed() > SETTLED {
                return Some(format!("the flows have the classes {wanted:?}, the kernel has {found:?}"));
            }
            pause();
        }
    }

    /// Whether the kernel holds what it holds in this state of a life without a fault. Where a flow was refused, it may have
    /// other classes, and holds others.
    fn check_state(&self, number: usize, classes: &str) -> Option<String> {
        let wanted = self.states.get(number).filter(|state| state.classes == classes)?;
        let begun = Instant::now();
        loop {
            let found = difference(&format!("in state {number}"), &wanted.objects, &self.dump());
            if found.is_none() || begun.elapsed() > SETTLED {
                return found;
            }
            pause();
        }
    }
}

/// The class of a flow in a line of the dump: `eth0 class htb 6771:100 parent …`.
fn flow_class(line: &str) -> Option<String> {
    let (device, class) = line.split_once(" class htb ")?;
    let class = class.split(' ').next()?;
    let minor = class.strip_prefix("6771:").and_then(|minor| u16::from_str_radix(minor, 16).ok())?;
    (minor >= 0x100).then(|| format!("{class} dev {device}"))
}

#[expect(clippy::disallowed_methods, reason = "another process is waited for, by a thread of its own")]
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

/// A line without the numbers that the kernel chooses: of queues, of actions, and of the two ports.
fn without_chosen(line: &str) -> String {
    let mut words = Vec::new();
    let mut before = "";
    for word in line.split_whitespace() {
        let is_queue = word.len() == 5 && word.ends_with(':') && !["6771:", "ffff:"].contains(&word);
        let is_chosen = ["index", "ref", "bind", "bkt"].contains(&before);
        words.push(match is_queue || is_chosen {
            true => "N".to_owned(),
            false => ["1770", "1771", ":70:", ":71:"]
                .iter()
                .fold(word.to_owned(), |word, port| word.replace(port, "P")),
        });
        before = word;
    }
    words.join(" ")
}

pub(crate) fn difference(when: &str, wanted: &BTreeSet<String>, found: &BTreeSet<String>) -> Option<String> {
    let (missing, more): (Vec<_>, Vec<_>) =
        (wanted.difference(found).collect(), found.difference(wanted).collect());
    (wanted != found).then(|| format!("{when}: missing {missing:?}, too many {more:?}"))
}

/// What a process prints, line by line.
fn lines(child: &mut Child) -> Receiver<String> {
    let (stdout, (send, lines)) = (child.stdout.take().unwrap(), channel());
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// Ends a process that hangs, and strace with it.
fn end(child: &mut Child) {
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    for process in std::fs::read_to_string(children).unwrap_or_default().split_whitespace() {
        // It may have ended by now.
        let _ = Command::new("sh").args(["-c", &format!("kill -KILL {process}")]).output();
    }
    let _ = child.kill();
    let _ = child.wait();
}
