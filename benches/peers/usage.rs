//! What the server's processes, its host and the kernel use.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::client::Measured;
use crate::host::{Core, Hosts, pause};

/// Sums at one moment.
pub(crate) struct Sample {
    at: Instant,
    /// Of the server's tasks.
    server: Duration,
    /// Of the client's tasks.
    client: Duration,
    /// Of all tasks.
    tasks: Duration,
    /// What the ticks of /proc/stat have found busy, on all cores.
    ticks: Duration,
    /// How long the cores had nothing to do, all together.
    idle: Duration,
    cores: u32,
    /// Bytes of the server's processes, shared ones divided.
    user_memory: u64,
    /// Bytes of TCP's buffers in the kernel.
    buffers: u64,
    /// Bytes of the kernel's objects that are not reclaimed: sockets, their timers and descriptors.
    objects: u64,
}

/// How much of the time the cores were busy without any stream: from 0 to their number.
pub(crate) struct Baseline(f64);

/// For a GB of payload, and for a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) server: f64,
    pub(crate) interrupts: f64,
    /// Seconds that the machine was busy, less those of the baseline and of the client's tasks.
    pub(crate) beside_client: f64,
    pub(crate) user_memory: f64,
    pub(crate) buffers: f64,
    pub(crate) objects: f64,
}

/// The unit of /proc/stat.
const TICK: Duration = Duration::from_millis(10);

/// How long the machine is watched without streams.
const QUIET: Duration = Duration::from_secs(1);

impl Sample {
    pub(crate) fn take(hosts: &Hosts) -> Self {
        let [server_host, client_host] = [Core::Server, Core::Client].map(|core| hosts.host(core));
        let (at, (times, cores)) = (Instant::now(), processor_times());
        let sum = |columns: &[usize]| columns.iter().map(|&column| times[column]).sum();
        let mut sample = Self {
            at,
            // user, nice, system, irq and softirq.
            ticks: sum(&[0, 1, 2, 5, 6]),
            // idle and iowait.
            idle: sum(&[3, 4]),
            cores,
            server: Duration::ZERO,
            client: Duration::ZERO,
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
                Ok(host) if host == client_host => sample.client += time,
                _ => {}
            }
        }
        sample
    }

    /// For how many seconds the cores were busy since an earlier sample: all of the time that they were not idle, so that
    /// interrupts of idle cores count too.
    fn busy_since(&self, before: &Self) -> f64 {
        let elapsed = (self.at - before.at).as_secs_f64();
        elapsed * f64::from(self.cores) - self.idle.saturating_sub(before.idle).as_secs_f64()
    }
}

impl Baseline {
    pub(crate) fn measure(hosts: &Hosts) -> Self {
        let before = Sample::take(hosts);
        let until = Instant::now() + QUIET;
        while Instant::now() < until {
            pause();
        }
        let after = Sample::take(hosts);
        Self(after.busy_since(&before) / (after.at - before.at).as_secs_f64())
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
        baseline: &Baseline,
    ) -> Self {
        let elapsed = after.at - before.at;
        // The samples are taken a little outside of what the client has measured.
        let gigabytes = measured.bytes as f64 / 1e9 * elapsed.as_secs_f64() / measured.seconds;
        let [server, client, tasks, ticks] = [
            after.server.saturating_sub(before.server),
            after.client.saturating_sub(before.client),
            after.tasks.saturating_sub(before.tasks),
            after.ticks.saturating_sub(before.ticks),
        ];
        let above = after.busy_since(before) - baseline.0 * elapsed.as_secs_f64();
        let for_gigabyte = |seconds: f64| seconds / gigabytes;
        let each = |bytes: u64| bytes as f64 / 1024.0 / streams as f64;
        Self {
            server: for_gigabyte(server.as_secs_f64()),
            interrupts: for_gigabyte(ticks.saturating_sub(tasks).as_secs_f64()),
            beside_client: for_gigabyte(above - client.as_secs_f64()),
            user_memory: each(after.user_memory.saturating_sub(idle.user_memory)),
            buffers: each(after.buffers.saturating_sub(idle.buffers)),
            objects: each(after.objects.saturating_sub(idle.objects)),
        }
    }

    /// By which the best of several runs is chosen.
    pub(crate) fn cpu(&self) -> f64 {
        self.beside_client
    }
}
