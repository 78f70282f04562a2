//! The thread that writes the audit log.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use flowspec::{Micros, Moment};

use super::files::AuditFiles;
use super::message::AuditMessage;
use crate::telemetry::audit::AuditTrail;

/// When a new file begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// In bytes, beyond what the file states at its start.
    pub(super) size: u64,
    pub(super) age: Micros,
    /// The start of the engine's clock, from 1970 on.
    pub(super) epoch: Moment,
}

pub(super) struct Writer {
    trail: AuditTrail,
    files: AuditFiles,
    limits: Limits,
    /// The lines that are not written yet, and how many facts they are.
    lines: String,
    facts: u64,
    /// The bytes with which the file begins, which do not count: what was held when it began.
    stated: u64,
    began: Moment,
    /// How old the file was at that moment: another run may have begun it.
    older: Micros,
    now: Moment,
    /// The facts that are missing since the log cannot be written.
    missing: u64,
    trouble: Option<String>,
}

/// The bytes that are written at once.
const CHUNK: usize = 64 << 10;

/// How often a log that cannot be written is tried, and its file looked for.
const RETRY: Micros = Micros::new(5_000_000);

impl Writer {
    pub(super) fn new(trail: AuditTrail, files: AuditFiles, limits: Limits) -> Self {
        let (began, now) = (Moment::START, Moment::START);
        let (lines, facts, missing, trouble) = (String::new(), 0, 0, None);
        let (stated, older) = (0, Micros::new(0));
        Self { trail, files, limits, lines, facts, stated, began, older, now, missing, trouble }
    }

    /// Writes until the engine has ended. `lost` are the facts of which no message has told by then.
    pub(super) fn run(mut self, messages: &Receiver<AuditMessage>, lost: &AtomicU64) {
        self.continue_file();
        if self.is_due() {
            self.rotate();
        } else {
            self.restate();
            self.flush();
        }
        loop {
            match messages.recv_timeout(Duration::from_micros(RETRY.get())) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => self.look(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            while let Ok(message) = messages.try_recv() {
                self.take(message);
            }
            self.flush();
        }
        self.finish(lost.load(Ordering::Relaxed));
    }

    /// The end of the daemon, and before it what is missing. The flows that are held are not stated: they end.
    fn finish(&mut self, lost: u64) {
        if lost > 0 {
            tracing::warn!(facts = lost, "audit log: facts were lost, the queue was full");
        }
        self.missing += lost;
        let mut lines = String::new();
        if self.missing > 0 {
            lines.push_str(&self.trail.gap(self.now, self.missing));
        }
        lines.push_str(&self.trail.stopped(self.now));
        self.append(&lines);
    }

    fn take(&mut self, message: AuditMessage) {
        match message {
            AuditMessage::Fact(fact, client) => {
                self.now = fact.at;
                self.lines.push_str(&self.trail.lines(&fact, client));
                self.facts += 1;
            }
            AuditMessage::Missing { at, facts, live } => {
                self.now = at;
                self.flush();
                self.trail.resume(&live);
                self.missing += facts;
                tracing::warn!(facts, "audit log: facts were lost, the queue was full");
            }
        }
        if self.lines.len() >= CHUNK {
            self.flush();
        }
    }

    /// Writes what is waiting. What cannot be written is counted, and its lines are gone.
    fn flush(&mut self) {
        if self.missing > 0 {
            self.missing += std::mem::take(&mut self.facts);
            self.lines.clear();
            let (gap, missing) = (self.trail.gap(self.now, self.missing), self.missing);
            self.lines.push_str(&gap);
            self.restate();
            let lines = std::mem::take(&mut self.lines);
            if self.append(&lines) {
                (self.missing, self.facts) = (0, 0);
                tracing::warn!(missing, "audit log: it is written again, and facts are missing");
            }
            return;
        }
        let lines = std::mem::take(&mut self.lines);
        if lines.is_empty() {
            return;
        }
        let facts = std::mem::take(&mut self.facts);
        if !self.append(&lines) {
            self.missing = facts.max(1);
            return;
        }
        if self.is_due() {
            self.rotate();
        }
    }

    /// Whether the file is as large or as old as it may be.
    fn is_due(&self) -> bool {
        let age = self.now.saturating_since(self.began).get().saturating_add(self.older.get());
        let grown = self.files.length().saturating_sub(self.stated);
        grown > 0 && (grown >= self.limits.size || age >= self.limits.age.get())
    }

    fn append(&mut self, lines: &str) -> bool {
        let result = self.files.append(lines.as_bytes());
        self.note("write", result)
    }

    fn rotate(&mut self) {
        let result = self.files.rotate();
        // If no new file can be made, writing continues in the current one.
        (self.stated, self.began, self.older) = (self.files.length(), self.now, Micros::new(0));
        if self.note("rename", result) {
            self.state();
        }
    }

    /// No fact has come for a while: looks after a file that is old by now, and after one that another program has moved
    /// away.
    fn look(&mut self) {
        // The clock of the facts: at least this time has passed since the last one, or since the last look.
        self.now = self.now.checked_add(RETRY).unwrap_or(self.now);
        if self.files.is_replaced() {
            let result = self.files.reopen();
            if self.note("open", result) {
                self.continue_file();
                self.state();
            }
        } else if self.is_due() {
            self.rotate();
        }
    }

    /// The limits count from the start of the file, which may be another run's.
    fn continue_file(&mut self) {
        let first = self.files.first_record();
        let now = self.limits.epoch.checked_add(self.now.saturating_since(Moment::START));
        let older = now.zip(first).map(|(now, first)| now.saturating_since(first));
        (self.stated, self.began, self.older) = (0, self.now, older.unwrap_or(Micros::new(0)));
    }

    /// The start of a file is written.
    fn state(&mut self) {
        let is_empty = self.files.length() == 0;
        self.restate();
        let lines = std::mem::take(&mut self.lines);
        if !self.append(&lines) {
            self.missing = 1;
        } else if is_empty {
            self.stated = self.files.length();
        }
    }

    /// Adds what a file begins with to the lines that wait.
    fn restate(&mut self) {
        self.lines.push_str(&self.trail.restate(self.now));
    }

    /// Reports a failure once, for as long as it is the same.
    fn note(&mut self, call: &str, result: io::Result<()>) -> bool {
        match result {
            Ok(()) => {
                self.trouble = None;
                true
            }
            Err(error) => {
                let trouble = format!("{call}: {error}");
                if self.trouble.as_ref() != Some(&trouble) {
                    tracing::error!(call, error = %error, "audit log: it cannot be written; admission goes on");
                    self.trouble = Some(trouble);
                }
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::admission::{NewFlow, Operation, Request};
    use crate::manager::DryRun;
    use crate::policy::{Policy, Source};
    use crate::telemetry::audit::{AuditClient, AuditRun, Audited};

    const POLICY: &str = "version = 1\n[interface.eth0]\negress = { capacity = \"80 Mbit/s\" }\n";

    fn policy() -> Policy {
        Policy::parse(&[Source { name: "p.toml", text: POLICY }]).unwrap().0
    }

    fn writer(path: &Path, limits: Limits) -> Writer {
        let run = AuditRun { run: "r".into(), version: "0".into(), pid: 1 };
        let trail = AuditTrail::new(run, Moment::START, &policy());
        Writer::new(trail, AuditFiles::open(path, 3).unwrap(), limits)
    }

    /// The facts of so many flows of 1 Mbit/s.
    fn facts(flows: u64) -> Vec<Audited> {
        let mut dry_run = DryRun::new(std::sync::Arc::new(policy()));
        dry_run.record_audit();
        for number in 0..flows {
            let spec =
                flowspec::Flowspec::guaranteed(flowspec::Rate::from_mbit(1), flowspec::Bytes::new(9000));
            let flow = NewFlow { id: &format!("v{number}"), interface: "eth0" };
            let request = Request::new(flow, flowspec::Qos::sending(spec));
            dry_run.decide(Operation::Reserve(Box::new(request.into())), Moment::from_micros(number));
        }
        dry_run.take_audit()
    }

    fn operations(path: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(path).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.map(|line| line["op"].as_str().unwrap().to_owned()).collect()
    }

    const LARGE: Limits = Limits { size: 1 << 30, age: Micros::new(u64::MAX), epoch: Moment::START };

    #[test]
    fn what_a_full_disk_has_lost_is_counted_and_what_is_held_is_stated() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit");
        let mut writer = writer(Path::new("/dev/full"), LARGE);
        for fact in facts(5) {
            writer.take(AuditMessage::Fact(fact, AuditClient::default()));
            writer.flush();
        }
        assert_eq!(writer.missing, 5);
        writer.files = AuditFiles::open(&path, 3).unwrap();
        writer.flush();
        assert_eq!(writer.missing, 0);
        let expected = ["gap", "audit", "reserve", "reserve", "reserve", "reserve", "reserve"];
        assert_eq!(operations(&path), expected);
        assert!(std::fs::read_to_string(&path).unwrap().starts_with("{\"at_us\":4,"), "the time comes first");
    }

    #[test]
    fn facts_beyond_the_limit_are_counted_and_flows_that_have_ended_meanwhile_are_not_held() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit");
        let mut writer = writer(&path, LARGE);
        facts(3).into_iter().for_each(|fact| writer.take(AuditMessage::Fact(fact, AuditClient::default())));
        let live = ["v1".to_owned(), "unknown".to_owned()].into();
        writer.take(AuditMessage::Missing { at: Moment::from_micros(9), facts: 7, live });
        writer.flush();
        assert_eq!(operations(&path), ["reserve", "reserve", "reserve", "gap", "audit", "reserve"]);
        assert!(std::fs::read_to_string(&path).unwrap().contains("\"missing\":7"));
    }

    #[test]
    fn a_file_that_is_large_or_old_is_followed_by_another_that_states_what_is_held() {
        for limits in [Limits { size: 600, ..LARGE }, Limits { age: Micros::new(1), ..LARGE }] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("audit");
            let mut writer = writer(&path, limits);
            for fact in facts(6) {
                writer.take(AuditMessage::Fact(fact, AuditClient::default()));
                writer.flush();
            }
            assert!(path.with_file_name("audit.3").exists() && !path.with_file_name("audit.4").exists());
            let last = operations(&path);
            let held = last.iter().skip(1).filter(|op| *op == "reserve").count();
            assert!(last[0] == "audit" && held >= 5, "{limits:?}: {last:?}");
        }
    }

    #[test]
    fn a_file_of_an_earlier_run_counts_with_its_size_and_its_age() {
        let day = Micros::new(86_400_000_000);
        let begins = |at: u64, length: usize| {
            format!("{{\"at_us\":{at},\"op\":\"audit\",\"filler\":\"{}\"}}\n", "x".repeat(length))
        };
        let epoch = Moment::from_micros(90_000_000_000);
        for (text, is_due) in [
            (begins(90_000_000_000, 10), false),
            (begins(90_000_000_000, 3000), true),
            (begins(3_600_000_000, 10), true),
            ("torn\n".to_owned(), false),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("audit");
            std::fs::write(&path, &text).unwrap();
            let (sender, messages) = std::sync::mpsc::sync_channel(1);
            drop(sender);
            writer(&path, Limits { size: 2000, age: day, epoch }).run(&messages, &AtomicU64::new(0));
            let old = std::fs::read_to_string(path.with_file_name("audit.1")).ok();
            assert_eq!(old.is_some(), is_due, "{text}");
            let now = std::fs::read_to_string(&path).unwrap();
            assert_eq!(now.lines().count(), if is_due { 2 } else { 3 }, "{now}");
        }
    }

    #[test]
    fn a_file_without_new_facts_grows_old() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit");
        let mut writer = writer(&path, Limits { age: Micros::new(12_000_000), ..LARGE });
        facts(1).into_iter().for_each(|fact| writer.take(AuditMessage::Fact(fact, AuditClient::default())));
        writer.flush();
        for number in 1..=3 {
            writer.look();
            assert_eq!(path.with_file_name("audit.1").exists(), number == 3);
        }
        // The new file has nothing but what is held: another one would be the same.
        (0..9).for_each(|_| writer.look());
        assert!(!path.with_file_name("audit.2").exists());
    }
}
