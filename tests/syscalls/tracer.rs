//! strace: which system calls a process makes, and one of them with a fault.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A system call of a process: the so many-th with this name.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    pub(crate) name: String,
    pub(crate) number: usize,
    pub(crate) is_netlink: bool,
    pub(crate) returned: i64,
    /// The files whose calls alone are counted; all calls without one.
    pub(crate) files: Vec<PathBuf>,
}

/// What happens at a call.
#[derive(Clone, Debug)]
pub(crate) enum Injected {
    /// The process is killed before the kernel carries out the call.
    Kill,
    Error(&'static str),
    /// The kernel does not get the call, which returns this all the same.
    Lost(i64),
}

#[derive(Clone, Debug)]
pub(crate) struct Injection {
    pub(crate) point: Point,
    pub(crate) what: Injected,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ended {
    Exited(i32),
    Killed,
    /// It did not end in time.
    Hung,
}

impl fmt::Display for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Point { name, number, files, .. } = &self.point;
        if let Some(file) = files.first().and_then(|file| file.file_name()) {
            write!(f, "{}: ", file.display())?;
        }
        match self.what {
            Injected::Kill => write!(f, "killed at {name} {number}"),
            Injected::Error(errno) => write!(f, "{name} {number} fails with {errno}"),
            Injected::Lost(_) => write!(f, "{name} {number} is lost"),
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exited with code {code}"),
            Self::Killed => f.write_str("was killed"),
            Self::Hung => f.write_str("hung"),
        }
    }
}

/// The command that traces a program in a network namespace, with a fault where there is one; else its calls are written to
/// the log. The program and its arguments are still to be added.
pub(crate) fn command(namespace: &str, log: &Path, injection: Option<&Injection>) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={namespace}")).args(["strace", "-f", "-qq", "-yy", "-s", "0", "-o"]).arg(log);
    if let Some(Injection { point: Point { name, number, files, .. }, what }) = injection {
        let what = match what {
            Injected::Kill => "signal=KILL".to_owned(),
            Injected::Error(errno) => format!("error={errno}"),
            Injected::Lost(returned) => format!("retval={returned}"),
        };
        command.args(["-e", &format!("trace={name}")]);
        command.args(["-e", &format!("inject={name}:{what}:when={number}")]);
        for file in files {
            command.arg("-P").arg(file);
        }
    }
    command
}

/// The calls of the main thread in a log, while the process has printed so many lines. strace counts the calls of each thread
/// apart, and the threads that read dumps make few: a fault at a call of the main thread comes at the same number of
/// theirs, if they get there.
pub(crate) fn points(log: &Path, lines: std::ops::Range<usize>) -> Vec<Point> {
    let log = std::fs::read_to_string(log).unwrap();
    let mut counts = BTreeMap::<&str, usize>::new();
    let (mut points, mut printed) = (Vec::new(), 0);
    let main = log.split(' ').next().unwrap();
    for (thread, name, call) in log.lines().filter_map(call) {
        if thread != main {
            continue;
        }
        let number = counts.entry(name).or_default();
        *number += 1;
        if lines.contains(&printed) && name != "exit_group" {
            let returned =
                call.rsplit("= ").next().and_then(|returned| returned.split(' ').next()?.parse().ok());
            let is_netlink = call.contains("<NETLINK:");
            let (name, number, returned) = (name.to_owned(), *number, returned.unwrap_or_default());
            points.push(Point { name, number, is_netlink, returned, files: Vec::new() });
        }
        printed += usize::from(name == "write" && call.contains("write(1<"));
    }
    points
}

/// A line of a log: `1234  sendto(5<NETLINK:[ROUTE:77]>, …) = 36`. Returns the thread, the name and the call.
pub(crate) fn call(line: &str) -> Option<(&str, &str, &str)> {
    let (thread, call) = line.split_once(' ')?;
    let (name, _) = call.trim_start().split_once('(')?;
    let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    name.chars().all(is_name).then_some((thread, name, call))
}
