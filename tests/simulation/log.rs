//! What has happened in a run: a hash of everything, and the last lines.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};

use flowspec::Micros;
use tokio::time::Instant;

/// How many lines a failure prints.
const LAST: usize = 60;

/// Shared by all parts of a run.
#[derive(Clone)]
pub(crate) struct Log(Arc<Mutex<Lines>>);

struct Lines {
    started: Instant,
    /// FNV-1a of all lines.
    hash: u64,
    count: u64,
    last: VecDeque<String>,
    violation: Option<String>,
}

impl Log {
    pub(crate) fn start() -> Self {
        let lines = Lines {
            started: Instant::now(),
            hash: 0xcbf2_9ce4_8422_2325,
            count: 0,
            last: VecDeque::new(),
            violation: None,
        };
        Self(Arc::new(Mutex::new(lines)))
    }

    pub(crate) fn line(&self, line: fmt::Arguments<'_>) {
        let mut lines = self.0.lock().unwrap();
        let line = format!("{:>11} us  {line}", lines.started.elapsed().as_micros());
        for byte in line.bytes() {
            lines.hash = (lines.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        lines.count += 1;
        if lines.last.len() == LAST && std::env::var_os("GQOS_SIMULATION_SEED").is_none() {
            lines.last.pop_front();
        }
        lines.last.push_back(line);
    }

    /// Something that must not be: the run ends after this step.
    pub(crate) fn violation(&self, what: fmt::Arguments<'_>) {
        self.line(format_args!("VIOLATION {what}"));
        self.0.lock().unwrap().violation.get_or_insert_with(|| what.to_string());
    }

    pub(crate) fn violated(&self) -> Option<String> {
        self.0.lock().unwrap().violation.clone()
    }

    /// The hash, and how many lines there were.
    pub(crate) fn sum(&self) -> (u64, u64) {
        let lines = self.0.lock().unwrap();
        (lines.hash, lines.count)
    }

    pub(crate) fn last(&self) -> String {
        let lines = self.0.lock().unwrap();
        lines.last.iter().fold(String::new(), |text, line| text + line + "\n")
    }

    /// The machine's uptime in the run.
    pub(crate) fn uptime(&self) -> Micros {
        const BOOTED_BEFORE: u64 = 3_600_000_000;
        Micros::new(BOOTED_BEFORE + self.0.lock().unwrap().started.elapsed().as_micros() as u64)
    }
}
