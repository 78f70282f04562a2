//! Streams of gqos beside those of other servers: accuracy, burst, CPU and memory, in one table.
//!
//! `cargo bench --bench peers`, or with the names of loads and rows: `cargo bench --bench peers -- 1000x1 gqos nginx`.
//! Needs root for two network namespaces, and `ip`, `nsenter` and `taskset`. nginx, lighttpd, Apache and HAProxy are found in
//! PATH; one that is not there, or too old, is said to be missing.
//!
//! Every server serves the same number of endless HTTP responses at the same rate of payload over one veth pair, on core 0;
//! the client reads on core 1. Congestion control is cubic on every route. Each row is the best of the runs by CPU.
//!
//! - **rate**: all payload against the promise.
//! - **1 s**, **10 s**: error of the rate in sliding windows of all streams, first and last percentile.
//! - **depth**: how many bytes a stream got beyond its rate, at the receiver, as a token bucket counts them; median, 99th
//!   percentile and most of the streams.
//! - **CPU**: seconds of the server's processes for a GB of payload.
//! - **irq**: seconds that ticks have found busy outside every task. An interrupt of an idle core is seldom found by a tick:
//!   work that the kernel does in timers and for acknowledgements is missing here.
//! - **all**: seconds of the server's processes, and of all that the cores did outside every task: their time, less the time that
//!   they were idle, which the kernel counts where it begins and ends, and less the time of all tasks of the machine. An
//!   interrupt is missing only where it came in a task's time: that task has it, and so it is the client's or another's.
//! - **memory**: of the server's processes, TCP's buffers in the kernel, of both ends, and the kernel's objects (such as sockets
//!   and their descriptors), of both ends, each for a stream.
//!
//! The rows **floor** send the releases of gqos to the same streams by one loop that only waits for the next round: by write,
//! by sendfile, and by sendfile to a part of the streams every five milliseconds. What a server of gqos needs beyond the last
//! of them is the cost of its limiter, timers and tasks.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::float_arithmetic,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bench"
)]

mod client;
mod floor;
mod host;
mod peers;
mod servers;
mod usage;

use client::Measured;
use host::Hosts;
use peers::{Peer, Running};
use usage::{Accounting, Sample, Usage};

/// As many streams, each at a rate of payload and with a bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) streams: usize,
    /// Bytes of payload in a second.
    pub(crate) rate: u64,
    /// In bytes.
    pub(crate) bucket: u64,
}

const LOADS: [Load; 5] = [
    Load { streams: 1_000, rate: 125_000, bucket: 16_384 },
    Load { streams: 100, rate: 1_000_000, bucket: 100_000 },
    Load { streams: 5_000, rate: 50_000, bucket: 16_384 },
    Load { streams: 10_000, rate: 25_000, bucket: 16_384 },
    Load { streams: 1, rate: 50_000_000, bucket: 500_000 },
];

/// Of each server; RUNS in the environment is another number.
const RUNS: usize = 3;

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("--serve") => return servers::run(&arguments[1..]),
        Some("--read") => return client::run(&arguments[1..]),
        _ => {}
    }
    let filters: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let runs = std::env::var("RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(RUNS);
    let (hosts, accounting) = (Hosts::new(), Accounting::open());
    for load in LOADS {
        let name = load.name();
        let peers: Vec<_> =
            Peer::ALL.into_iter().filter(|peer| is_wanted(&filters, &name, peer.name())).collect();
        if peers.is_empty() {
            continue;
        }
        println!("\n{name} Mbit/s, b = {} B", load.bucket);
        print_header();
        let mut best: Vec<Option<(Measured, Usage)>> = vec![None; peers.len()];
        let mut missing: Vec<Option<String>> = vec![None; peers.len()];
        for _ in 0..runs {
            // In turn, so that a busy minute of the machine does not meet one server alone.
            for (number, peer) in peers.iter().enumerate() {
                if missing[number].is_some() {
                    continue;
                }
                match measure((&hosts, &accounting), *peer, load) {
                    Ok(row) => {
                        let is_better =
                            best[number].as_ref().is_none_or(|(_, usage)| row.1.cpu() < usage.cpu());
                        if is_better {
                            best[number] = Some(row);
                        }
                    }
                    Err(why) => missing[number] = Some(why),
                }
            }
        }
        for (number, peer) in peers.iter().enumerate() {
            match (&best[number], &missing[number]) {
                (Some((measured, usage)), _) => print_row(peer.name(), measured, usage),
                (None, why) => println!("{:<14} missing: {}", peer.name(), why.as_deref().unwrap_or("")),
            }
        }
    }
}

/// Whether the words name the load, if they name loads, and the server, if they name servers.
fn is_wanted(filters: &[&String], load: &str, peer: &str) -> bool {
    let is_load = |filter: &&&String| filter.chars().next().is_some_and(|first| first.is_ascii_digit());
    let (loads, peers): (Vec<&&String>, Vec<&&String>) = filters.iter().partition(is_load);
    (loads.is_empty() || loads.iter().any(|filter| load == filter.as_str()))
        && (peers.is_empty() || peers.iter().any(|filter| peer == filter.as_str()))
}

fn measure(
    (hosts, accounting): (&Hosts, &Accounting),
    peer: Peer,
    load: Load,
) -> Result<(Measured, Usage), String> {
    let Running { processes: _processes, port } = peer.start(hosts, load)?;
    let sample = || Sample::take(hosts, accounting);
    let idle = sample();
    let mut reader = client::Reader::start(hosts, load, port);
    reader.until_begun()?;
    let before = sample();
    reader.until_over()?;
    let after = sample();
    let measured = reader.result()?;
    let usage = Usage::between([&idle, &before, &after], (&measured, load.streams));
    Ok((measured, usage))
}

impl Load {
    /// What the payload costs with its headers, rounded up: segments of TCP with timestamps over IPv4.
    pub(crate) const fn token_rate(self) -> u64 {
        (self.rate * 1500).div_ceil(1448)
    }

    /// Streams and Mbit/s.
    fn name(self) -> String {
        format!("{}x{}", self.streams, self.rate as f64 / 125_000.0)
    }
}

fn print_header() {
    println!(
        "{:<14} {:>8} {:>17} {:>17} {:>24} {:>7} {:>6} {:>7} {:>6} {:>7} {:>7}",
        "",
        "rate %",
        "1 s p1/p99 %",
        "10 s p1/p99 %",
        "depth p50/p99/max kB",
        "CPU s",
        "irq s",
        "all s",
        "KiB",
        "TCP KiB",
        "obj KiB"
    );
}

fn print_row(name: &str, measured: &Measured, usage: &Usage) {
    let pair = |[low, high]: [f64; 2]| format!("{low:+.2}/{high:+.2}");
    let [median, high, most] = measured.depth.map(|bytes| bytes / 1000.0);
    println!(
        "{name:<14} {:>+8.3} {:>17} {:>17} {:>24} {:>7.3} {:>6.3} {:>7.3} {:>6.1} {:>7.1} {:>7.1}",
        measured.rate_error,
        pair(measured.second),
        pair(measured.ten_seconds),
        format!("{median:.1}/{high:.1}/{most:.1}"),
        usage.server,
        usage.interrupts,
        usage.all,
        usage.user_memory,
        usage.buffers,
        usage.objects
    );
}
