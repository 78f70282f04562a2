//! The client: a process that reads all streams and compares what came with the promise.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use serde::{Deserialize, Serialize};

use crate::Load;
use crate::host::{Core, Hosts, Process, SERVER};

/// What the client saw, in bytes and percent.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Measured {
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    pub(crate) rate_error: f64,
    /// First and last percentile over all windows of a second.
    pub(crate) second: [f64; 2],
    pub(crate) ten_seconds: [f64; 2],
    /// Median, 99th percentile and most of the streams.
    pub(crate) depth: [f64; 3],
}

/// What was received in each is added up.
const BIN: Duration = Duration::from_millis(100);
const WINDOW_BINS: usize = 10;
const LONG_WINDOW_BINS: usize = 100;
/// 12 s.
const BINS: usize = 120;
/// From the last connection on: buckets that began full are used up by then.
const WARM_UP: Duration = Duration::from_secs(3);
/// So many connections begin in a second, so that no backlog overflows.
const CONNECTS: u32 = 2_000;

/// The client's process.
pub(crate) struct Reader {
    lines: BufReader<std::process::ChildStdout>,
    _process: Process,
}

impl Reader {
    pub(crate) fn start(hosts: &Hosts, load: Load, port: u16) -> Self {
        let program = std::env::current_exe().unwrap();
        let program = program.to_string_lossy();
        let [streams, rate] = [load.streams.to_string(), load.rate.to_string()];
        let address = format!("{SERVER}:{port}");
        let mut command = hosts.command(Core::Client, &[&program, "--read", &address, &streams, &rate]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { lines, _process: Process(child) }
    }

    /// Until the client has connected and warmed up.
    ///
    /// - **Errors**: it has failed.
    pub(crate) fn until_begun(&mut self) -> Result<(), String> {
        self.line().and_then(|line| if line == BEGUN { Ok(()) } else { Err(line) })
    }

    /// Until the client has measured, and before it computes.
    ///
    /// - **Errors**: it has failed.
    pub(crate) fn until_over(&mut self) -> Result<(), String> {
        self.line().and_then(|line| if line == OVER { Ok(()) } else { Err(line) })
    }

    /// - **Errors**: the client has failed.
    pub(crate) fn result(&mut self) -> Result<Measured, String> {
        serde_json::from_str(&self.line()?).map_err(|error| error.to_string())
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(0) => Err("the client has failed".to_owned()),
            Ok(_) => Ok(line.trim_end().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// What the process says when it begins to measure, and when it ends.
const BEGUN: &str = "begun";
const OVER: &str = "over";

struct Receiver {
    streams: Vec<TcpStream>,
    epoll: Epoll,
    buf: Vec<u8>,
    ended: usize,
}

/// The process: `ADDRESS STREAMS RATE`.
pub(crate) fn run(arguments: &[String]) {
    let address: SocketAddr = arguments[0].parse().unwrap();
    let (streams, rate): (usize, f64) = (arguments[1].parse().unwrap(), arguments[2].parse().unwrap());
    let epoll = Epoll::new(EpollCreateFlags::empty()).unwrap();
    let mut receiver = Receiver { streams: Vec::new(), epoll, buf: vec![0; 256 << 10], ended: 0 };
    let begun = Instant::now();
    for number in 0..streams {
        let due = begun + Duration::from_secs(1) / CONNECTS * u32::try_from(number).unwrap();
        receiver.read_until(due, |_, _, _| {});
        receiver.connect(address);
    }
    receiver.read_until(Instant::now() + WARM_UP, |_, _, _| {});
    println!("{BEGUN}");
    let mut history = History::new(streams, rate);
    let begun = Instant::now();
    receiver
        .read_until(begun + BIN * BINS as u32, |stream, at, count| history.add(stream, at - begun, count));
    println!("{OVER}");
    println!("{}", serde_json::to_string(&history.result()).unwrap());
    assert_eq!(receiver.ended, 0, "streams ended");
}

impl Receiver {
    fn connect(&mut self, address: SocketAddr) {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /stream HTTP/1.1\r\nHost: server\r\n\r\n").unwrap();
        stream.set_nonblocking(true).unwrap();
        let event = EpollEvent::new(EpollFlags::EPOLLIN, self.streams.len() as u64);
        self.epoll.add(stream.as_fd(), event).unwrap();
        self.streams.push(stream);
    }

    fn read_until(&mut self, until: Instant, mut received: impl FnMut(usize, Instant, usize)) {
        let mut events = [EpollEvent::empty(); 512];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let timeout = EpollTimeout::from(left.as_millis().min(1000) as u16);
            let count = self.epoll.wait(&mut events, timeout).unwrap_or(0);
            for event in &events[..count] {
                let stream = event.data() as usize;
                match self.streams[stream].read(&mut self.buf) {
                    Ok(0) => {
                        self.epoll.delete(self.streams[stream].as_fd()).unwrap();
                        self.ended += 1;
                    }
                    Ok(count) => received(stream, Instant::now(), count),
                    Err(_) => {}
                }
            }
        }
    }
}

/// What has come, by stream and by time.
struct History {
    rate: f64,
    bins: Vec<[u32; BINS]>,
    /// For each stream: when something came last, how full its bucket was then, and how full at most.
    buckets: Vec<(f64, f64, f64)>,
}

impl History {
    fn new(streams: usize, rate: f64) -> Self {
        Self { rate, bins: vec![[0; BINS]; streams], buckets: vec![(0.0, 0.0, 0.0); streams] }
    }

    fn add(&mut self, stream: usize, at: Duration, count: usize) {
        let bin = (at.as_nanos() / BIN.as_nanos()) as usize;
        if let Some(bin) = self.bins[stream].get_mut(bin) {
            *bin += count as u32;
        }
        let (last, level, most) = &mut self.buckets[stream];
        let now = at.as_secs_f64();
        *level = (*level - self.rate * (now - *last)).max(0.0) + count as f64;
        *last = now;
        *most = most.max(*level);
    }

    fn result(&self) -> Measured {
        let bytes: u64 = self.bins.iter().flatten().map(|&bin| u64::from(bin)).sum();
        let promised = self.rate * self.bins.len() as f64 * BIN.as_secs_f64() * BINS as f64;
        let mut depths: Vec<_> = self.buckets.iter().map(|bucket| bucket.2).collect();
        depths.sort_by(f64::total_cmp);
        Measured {
            bytes,
            seconds: BIN.as_secs_f64() * BINS as f64,
            rate_error: (bytes as f64 / promised - 1.0) * 100.0,
            second: self.windows(WINDOW_BINS),
            ten_seconds: self.windows(LONG_WINDOW_BINS),
            depth: [50, 99, 100].map(|percent| percentile(&depths, percent)),
        }
    }

    /// The first and the last percentile of the error in windows of so many bins, one from each bin on.
    fn windows(&self, length: usize) -> [f64; 2] {
        let promised = self.rate * BIN.as_secs_f64() * length as f64;
        let sums = self.bins.iter().flat_map(|bins| bins.windows(length));
        let mut errors: Vec<_> = sums
            .map(|window| {
                let sum: u64 = window.iter().map(|&bin| u64::from(bin)).sum();
                (sum as f64 / promised - 1.0) * 100.0
            })
            .collect();
        errors.sort_by(f64::total_cmp);
        [1, 99].map(|percent| percentile(&errors, percent))
    }
}

fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[((sorted.len() - 1) * percent).div_ceil(100)]
}
