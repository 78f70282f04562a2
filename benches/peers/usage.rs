//! What the server's processes, its host and the kernel use.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::client::Measured;
use crate::host::{Core, Hosts};

/// Sums at one moment.
pub(crate) struct Sample {
    at: Instant,
    /// Of the server's tasks.
    server: Duration,
    /// Of all tasks.
    tasks: Duration,
    /// What the ticks of /proc/stat have found busy, on all cores.
    ticks: Duration,
    /// How long all cores together had nothing to do, or were not run by the hypervisor.
    idle: Duration,
    cores: u32,
    /// Of all tasks, those included that have ended.
    all_tasks: Duration,
    /// Bytes of the server's processes, shared ones divided.
    user_memory: u64,
    /// Bytes of TCP's buffers in the kernel.
    buffers: u64,
    /// Bytes of the kernel's objects that are not reclaimed: sockets, their timers and descriptors.
    objects: u64,
}

/// The kernel's account of the time of all tasks, to the nanosecond, also of those that have ended: cpuacct of version 1.
/// Without it, tasks that end between two samples count as interrupts.
pub(crate) struct Accounting(Option<TempDir>);

/// For a GB of payload, and for a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) server: f64,
    pub(crate) interrupts: f64,
    /// Seconds of the server's processes, and those that cores were busy outside every task.
    pub(crate) all: f64,
    pub(crate) user_memory: f64,
    pub(crate) buffers: f64,
    pub(crate) objects: f64,
}

/// The unit of /proc/stat.
const TICK: Duration = Duration::from_millis(10);

impl Sample {
    pub(crate) fn take(hosts: &Hosts, accounting: &Accounting) -> Self {
        let server_host = hosts.host(Core::Server);
        let (at, (times, cores), all_tasks) = (Instant::now(), processor_times(), accounting.read());
        let sum = |columns: &[usize]| columns.iter().map(|&column| times[column]).sum();
        let mut sample = Self {
            at,
            // user, nice, system, irq and softirq.
            ticks: sum(&[0, 1, 2, 5, 6]),
            // idle, iowait and steal.
            idle: sum(&[3, 4, 7]),
            cores,
            all_tasks: Duration::ZERO,
            server: Duration::ZERO,
            tasks: Duration::ZERO,
            user_memory: 0,
            buffers: field("/proc/net/sockstat", "TCP:", "mem") * 4096,
            objects: field("/proc/meminfo", "SUnreclaim:", "SUnreclaim:") * 1024,
        };
        for process in processes() {
            // What has ended meanwhile has none of these files.
            let time = task_time(&process);
            sample.tasks += time;
            match fs::read_link(process.join("ns/net")) {
                Ok(host) if host == server_host => {
                    sample.server += time;
                    sample.user_memory += proportional(&process);
                }
                _ => {}
            }
        }
        sample.all_tasks = all_tasks.unwrap_or(sample.tasks);
        sample
    }

    /// For how many seconds the cores were busy outside every task since an earlier sample.
    fn interrupts_since(&self, before: &Self) -> f64 {
        let elapsed = (self.at - before.at).as_secs_f64() * f64::from(self.cores);
        let idle = self.idle.saturating_sub(before.idle);
        elapsed - (idle + self.all_tasks.saturating_sub(before.all_tasks)).as_secs_f64()
    }
}

impl Accounting {
    pub(crate) fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        let status = mount.args(["-t", "cgroup", "-o", "cpuacct", "cpuacct"]).arg(directory.path()).status();
        let is_mounted = status.is_ok_and(|status| status.success());
        Self(is_mounted.then_some(directory))
    }

    fn read(&self) -> Option<Duration> {
        let text = fs::read_to_string(self.0.as_ref()?.path().join("cpuacct.usage")).unwrap();
        Some(Duration::from_nanos(text.trim_end().parse().unwrap()))
    }
}

impl Drop for Accounting {
    fn drop(&mut self) {
        if let Some(directory) = &self.0 {
            // It stays mounted where this fails.
            let _ = Command::new("umount").arg(directory.path()).status();
        }
    }
}

/// The columns of /proc/stat, over all cores, and how many these are.
///
/// With NO_HZ the kernel counts idle time where it begins and ends, in nanoseconds, and the other columns by ticks.
fn processor_times() -> (Vec<Duration>, u32) {
    let stat = fs::read_to_string("/proc/stat").unwrap();
    let cpus = || stat.lines().filter(|line| line.starts_with("cpu"));
    let columns = cpus().next().unwrap().split_whitespace().skip(1);
    // The first line has the sums.
    let cores = cpus().count() as u32 - 1;
    (columns.map(|column| TICK * column.parse::<u32>().unwrap()).collect(), cores)
}

fn processes() -> impl Iterator<Item = PathBuf> {
    let is_process =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().parse::<u32>().is_ok());
    fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path()).filter(is_process)
}

fn task_time(process: &Path) -> Duration {
    let Ok(tasks) = fs::read_dir(process.join("task")) else { return Duration::ZERO };
    let times = tasks.flatten().filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
    });
    times.sum()
}

fn proportional(process: &Path) -> u64 {
    field(process.join("smaps_rollup"), "Pss:", "Pss:") * 1024
}

/// The number after a word, in the line that begins with another one; zero without it.
fn field(path: impl AsRef<Path>, line: &str, word: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find(|text| text.starts_with(line)).unwrap_or_default();
    let mut words = line.split_whitespace().skip_while(|found| *found != word);
    words.nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
}

impl Usage {
    /// Of the time between the second sample and the third, and of the memory since the first.
    pub(crate) fn between(
        [idle, before, after]: [&Sample; 3],
        (measured, streams): (&Measured, usize),
    ) -> Self {
        let elapsed = after.at - before.at;
        // The samples are taken a little outside of what the client has measured.
        let gigabytes = measured.bytes as f64 / 1e9 * elapsed.as_secs_f64() / measured.seconds;
        let [server, tasks, ticks] = [
            after.server.saturating_sub(before.server),
            after.tasks.saturating_sub(before.tasks),
            after.ticks.saturating_sub(before.ticks),
        ];
        let for_gigabyte = |seconds: f64| seconds / gigabytes;
        let each = |bytes: u64| bytes as f64 / 1024.0 / streams as f64;
        Self {
            server: for_gigabyte(server.as_secs_f64()),
            interrupts: for_gigabyte(ticks.saturating_sub(tasks).as_secs_f64()),
            all: for_gigabyte(server.as_secs_f64() + after.interrupts_since(before)),
            user_memory: each(after.user_memory.saturating_sub(idle.user_memory)),
            buffers: each(after.buffers.saturating_sub(idle.buffers)),
            objects: each(after.objects.saturating_sub(idle.objects)),
        }
    }

    /// By which the best of several runs is chosen.
    pub(crate) fn cpu(&self) -> f64 {
        self.all
    }
}
