//! A host that is killed at each system call, one of whose system calls fails, whose request the kernel never gets, or
//! that is stopped while links change: what the kernel holds afterwards. The same for the calls of a reload of its policy.
//!
//! `cargo test --test syscalls` tries some of them, each of them with `GQOS_SYSCALLS=all`, and each of one name with that, such as
//! `GQOS_SYSCALLS=getsockname`. Needs root and strace. This
//! program is the host too, with `GQOS_LIFE` in its environment: one thread of it does everything but to read
//! dumps, so that the numbers of its calls are the same in each run.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "syscalls/kernel_state.rs"]
mod kernel_state;
#[path = "syscalls/life.rs"]
mod life;
#[path = "syscalls/overrun.rs"]
mod overrun;
#[path = "syscalls/tracer.rs"]
mod tracer;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use common::{installed, lab};
use kernel_state::{Held, Place};
use life::Kind;
use tracer::{Ended, Injected, Injection, Point};

/// What the tests are called for a filter on the command line.
const CAMPAIGNS: [(&str, Kind, Faults); 6] = [
    ("killed_at_a_system_call", Kind::Whole, Faults::Kills),
    ("a_system_call_fails_once", Kind::Whole, Faults::Failures),
    ("a_request_gets_no_answer_once", Kind::Whole, Faults::Losses),
    ("killed_in_a_reload", Kind::Reload, Faults::Kills),
    ("a_call_of_a_reload_fails_once", Kind::Reload, Faults::Failures),
    ("a_request_of_a_reload_gets_no_answer_once", Kind::Reload, Faults::Losses),
];
const STOPPED: &str = "stopped_while_links_change";

/// What happens at the calls of a life, at one call in each.
#[derive(Clone, Copy)]
enum Faults {
    Kills,
    Failures,
    Losses,
}

/// The errors that a call fails with.
const ERRORS: [&str; 5] = ["ENOBUFS", "ENOMEM", "EINTR", "EPERM", "EBUSY"];

/// The calls that fail: those by which a process asks the kernel for something of the network.
const FAILING: [&str; 14] = [
    "socket",
    "bind",
    "connect",
    "listen",
    "setsockopt",
    "getsockopt",
    "getsockname",
    "sendto",
    "sendmsg",
    "recvfrom",
    "recvmsg",
    "openat",
    "setns",
    "shutdown",
];

/// How many points of each kind are tried unless all are.
const SAMPLE: usize = 24;

/// How many are tried at once, and how many of those that wait for an answer that never comes.
const WORKERS: usize = 2;
const WAITING_WORKERS: usize = 8;

fn main() {
    if let Ok(peers) = std::env::var("GQOS_LIFE") {
        return life::run(&peers);
    }
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| ["--list", "--ignored"].contains(&argument.as_str())) {
        return;
    }
    let filters: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted =
        |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()));
    let wanted: Vec<_> = CAMPAIGNS.into_iter().filter(|(name, ..)| is_wanted(name)).collect();
    let is_none_wanted = wanted.is_empty() && !is_wanted(STOPPED);
    if is_none_wanted || !installed(&["strace", "nsenter", "tc", "ip"]) || lab(100).is_none() {
        return;
    }
    let mut faults = 0;
    for kind in [Kind::Whole, Kind::Reload] {
        let mine: Vec<_> = wanted.iter().filter(|(_, of, _)| *of == kind).collect();
        if mine.is_empty() {
            continue;
        }
        let (points, states) = points(kind);
        for (name, _, what) in mine {
            let (injections, workers) = match what {
                Faults::Kills => (sampled(kills(&points)), WORKERS),
                Faults::Failures => (sampled(failures(&points)), WORKERS),
                Faults::Losses if is_full() => (losses(&points), WAITING_WORKERS),
                Faults::Losses => (fewest(losses(&points)), WAITING_WORKERS),
            };
            faults += campaign(name, &injections, workers, &|| Place::new(kind, &states));
        }
    }
    if is_wanted(STOPPED) {
        let (problems, time) = Place::new(Kind::Whole, &[]).overrun();
        println!("{STOPPED}: repaired after {time:.1?}; {problems:?}");
        faults += problems.len();
    }
    assert_eq!(faults, 0, "see above");
}

fn is_full() -> bool {
    std::env::var("GQOS_SYSCALLS").as_deref() == Ok("all")
}

/// The system calls of a life without a fault, and what the kernel holds in its states.
fn points(kind: Kind) -> (Vec<Point>, Vec<Held>) {
    let mut place = Place::new(kind, &[]);
    let life = place.live(None);
    let is_right = life.ended == Ended::Exited(0) && life.failed.is_empty() && life.lacking.is_empty();
    assert!(is_right && life.problems.is_empty(), "a life without a fault: {life:?}");
    assert!(!life.points.is_empty() && life.states.len() > 2);
    let differs = |pair: &[Held]| pair[0].objects != pair[1].objects;
    assert!(
        life.states.windows(2).all(differs),
        "each step changes what the kernel holds: {:#?}",
        life.states
    );
    (life.points, life.states)
}

fn kills(points: &[Point]) -> Vec<Injection> {
    points.iter().map(|point| Injection { point: point.clone(), what: Injected::Kill }).collect()
}

fn failures(points: &[Point]) -> Vec<Injection> {
    let failing = points.iter().filter(|point| FAILING.contains(&point.name.as_str()));
    let each = failing.flat_map(|point| {
        ERRORS.map(|errno| Injection { point: point.clone(), what: Injected::Error(errno) })
    });
    each.collect()
}

/// The kernel never gets the request, and the process believes that it was sent.
fn losses(points: &[Point]) -> Vec<Injection> {
    // What a call returned is not known where another thread ran meanwhile.
    let is_lost = |point: &&Point| point.is_netlink && point.name.starts_with("send") && point.returned > 0;
    let sent = points.iter().filter(is_lost);
    let lost = sent.map(|point| Injection { point: point.clone(), what: Injected::Lost(point.returned) });
    lost.collect()
}

/// Some of all, evenly, so that each error is among them.
fn sampled(all: Vec<Injection>) -> Vec<Injection> {
    match std::env::var("GQOS_SYSCALLS") {
        Ok(name) if name != "all" => return all.into_iter().filter(|one| one.point.name == name).collect(),
        Ok(_) => return all,
        Err(_) => {}
    }
    let every = all.len().div_ceil(SAMPLE).max(1) | 1;
    all.into_iter().step_by(every).collect()
}

fn fewest(all: Vec<Injection>) -> Vec<Injection> {
    let every = all.len().div_ceil(3).max(1);
    all.into_iter().skip(every / 2).step_by(every).collect()
}

/// Tries each injection in a network of its own, and prints what has gone wrong. Returns how many did.
fn campaign(
    name: &str,
    injections: &[Injection],
    workers: usize,
    place_for: &(impl Fn() -> Place + Sync),
) -> usize {
    let (begun, next) = (Instant::now(), AtomicUsize::new(0));
    let found = Mutex::new((Vec::new(), BTreeMap::<String, usize>::new()));
    std::thread::scope(|threads| {
        for _ in 0..workers.min(injections.len()) {
            threads.spawn(|| {
                let mut place = place_for();
                while let Some(injection) = injections.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (faults, ended) = attempt(&mut place, injection);
                    let mut found = found.lock().unwrap();
                    *found.1.entry(ended).or_default() += 1;
                    if !faults.is_empty() {
                        println!("FAULT: {injection}: {}", faults.join("; "));
                        found.0.push(injection);
                        place = place_for();
                    }
                }
            });
        }
    });
    let (faults, ended) = found.into_inner().unwrap();
    let seconds = begun.elapsed().as_secs();
    println!("{name}: {} points in {seconds} s, {} faults", injections.len(), faults.len());
    for (ended, count) in ended {
        println!("    {count:5} × {ended}");
    }
    faults.len()
}

/// One life with a fault, and the next start after it. Returns what is wrong, and how the life ended.
fn attempt(place: &mut Place, injection: &Injection) -> (Vec<String>, String) {
    let life = place.live(Some(injection));
    let mut faults = life.problems;
    let is_killed = matches!(injection.what, Injected::Kill);
    let ended = match life.ended {
        Ended::Killed if is_killed => "killed".to_owned(),
        // Events that come together are read by one call.
        Ended::Exited(0) if is_killed => "not reached: fewer calls than without a fault".to_owned(),
        // A call of a flow's own socket, or of the start, may fail: then that is what the caller is told.
        Ended::Exited(0) if life.failed.is_empty() => "nothing is lost".to_owned(),
        Ended::Exited(0) => format!("{}: a flow was refused", injection.point.name),
        Ended::Exited(life::NOT_STARTED) => format!("{}: the start failed", injection.point.name),
        other => {
            faults.push(format!("it {other}"));
            other.to_string()
        }
    };
    let is_data = injection.point.is_netlink && ["send", "recv"].contains(&&injection.point.name[..4]);
    if is_data && !is_killed {
        faults.extend(life.failed.iter().chain(&life.lacking).cloned());
    }
    if !is_killed {
        faults.extend(place.check_empty("after the end"));
    }
    faults.extend(place.check_next_start());
    let lacking = if life.lacking.is_empty() { "" } else { ", not all in the kernel" };
    (faults, format!("{ended}{lacking}"))
}
