//! What the server's processes and the kernel use.

use std::fs;
use std::path::Path;

use crate::client::Measured;
use crate::host::Hosts;

/// Sums at one moment.
pub(crate) struct Sample {
    /// Nanoseconds of the server's tasks.
    server: u64,
    /// Nanoseconds of all tasks.
    tasks: u64,
    /// Nanoseconds of all cores that were not idle.
    busy: u64,
    /// Bytes of the server's processes, shared ones divided.
    user_memory: u64,
    /// Bytes of TCP's buffers in the kernel.
    kernel_memory: u64,
}

/// For a GB of payload, and for a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) server: f64,
    pub(crate) interrupts: f64,
    pub(crate) user_memory: f64,
    pub(crate) kernel_memory: f64,
}

/// The unit of /proc/stat, in nanoseconds.
const TICK: u64 = 10_000_000;

impl Sample {
    pub(crate) fn take(hosts: &Hosts) -> Self {
        let namespace = hosts.server_namespace();
        let (mut server, mut tasks, mut user_memory) = (0, 0, 0);
        for process in fs::read_dir("/proc").unwrap().flatten() {
            let path = process.path();
            if path.file_name().is_none_or(|name| name.to_string_lossy().parse::<u32>().is_err()) {
                continue;
            }
            // What has ended meanwhile has none of these files.
            let time = task_time(&path);
            tasks += time;
            if fs::read_link(path.join("ns/net")).is_ok_and(|found| found == namespace) {
                server += time;
                user_memory += proportional(&path);
            }
        }
        let stat = fs::read_to_string("/proc/stat").unwrap();
        let columns: Vec<u64> = stat
            .lines()
            .next()
            .unwrap()
            .split_whitespace()
            .skip(1)
            .map(|column| column.parse().unwrap())
            .collect();
        // user, nice, system, irq, softirq; idle and iowait are left out.
        let busy = [0, 1, 2, 5, 6].map(|column| columns[column]).iter().sum::<u64>() * TICK;
        let sockets = fs::read_to_string("/proc/net/sockstat").unwrap();
        let pages = sockets
            .lines()
            .find_map(|line| line.strip_prefix("TCP: ")?.split("mem ").nth(1)?.trim().parse().ok());
        Self { server, tasks, busy, user_memory, kernel_memory: pages.unwrap_or(0_u64) * 4096 }
    }
}

fn task_time(process: &Path) -> u64 {
    let Ok(tasks) = fs::read_dir(process.join("task")) else { return 0 };
    let times = tasks.flatten().filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    times.sum()
}

fn proportional(process: &Path) -> u64 {
    let text = fs::read_to_string(process.join("smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

impl Usage {
    /// Of the time between the second sample and the third, and of the memory since the first.
    pub(crate) fn between(
        [idle, before, after]: [&Sample; 3],
        (measured, streams): (&Measured, usize),
    ) -> Self {
        let gigabytes = measured.bytes as f64 / 1e9;
        let seconds = |nanoseconds: u64| nanoseconds as f64 / 1e9;
        let server = after.server.saturating_sub(before.server);
        let tasks = after.tasks.saturating_sub(before.tasks);
        let interrupts = after.busy.saturating_sub(before.busy).saturating_sub(tasks);
        let each = |bytes: u64| bytes as f64 / 1024.0 / streams as f64;
        Self {
            server: seconds(server) / gigabytes,
            interrupts: seconds(interrupts) / gigabytes,
            user_memory: each(after.user_memory.saturating_sub(idle.user_memory)),
            kernel_memory: each(after.kernel_memory.saturating_sub(idle.kernel_memory)),
        }
    }

    pub(crate) fn cpu(&self) -> f64 {
        self.server + self.interrupts
    }
}
