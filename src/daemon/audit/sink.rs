//! What the engine hands its facts to, and the log's thread.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use flowspec::Moment;

use super::files::AuditFiles;
use super::message::AuditMessage;
use super::writer::{Limits, Writer};
use crate::admission::{Ledger, Operation};
use crate::daemon::error::DaemonStartError;
use crate::engine::{AuditSink, MakeAuditSink};
use crate::failure::KernelCall;
use crate::linux::random_name;
use crate::policy::{AuditPolicy, Policy};
use crate::telemetry::audit::{AuditClient, AuditFact, AuditRun, AuditTrail, Audited};

/// What a fact names.
#[derive(Clone, Copy, Debug)]
pub(in crate::daemon) enum Named<'a> {
    Flow(&'a str),
    Group(&'a str),
}

/// Finds the client that a flow or a group belongs to.
pub(in crate::daemon) type Owners = Arc<dyn Fn(Named<'_>) -> AuditClient + Send + Sync>;

/// The most facts that wait for the thread.
const MOST_WAITING: usize = 16_384;

/// How long the end of the daemon waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(2);

/// The log's thread. It ends with the engine.
pub(in crate::daemon) struct AuditLog {
    thread: JoinHandle<()>,
    done: Receiver<()>,
}

impl AuditLog {
    /// Waits until the last lines are written, for a while.
    pub(in crate::daemon) fn finish(self) {
        // The channel ends with the thread.
        if let Err(std::sync::mpsc::RecvTimeoutError::Disconnected) = self.done.recv_timeout(LAST_LINES) {
            let _ = self.thread.join();
        }
    }
}

/// Opens the log and starts its thread.
///
/// - **Errors**: the file cannot be opened, or is no file.
pub(in crate::daemon) fn start(
    settings: &AuditPolicy,
    policy: &Policy,
    owners: Owners,
) -> Result<(AuditLog, MakeAuditSink), DaemonStartError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotSeekable => DaemonStartError::AuditNotAFile { path: (&settings.path).into() },
        io::ErrorKind::WouldBlock => DaemonStartError::AuditInUse { path: (&settings.path).into() },
        _ => KernelCall("open").failed(&settings.path, error).into(),
    };
    let files = AuditFiles::open(Path::new(&settings.path), settings.keep).map_err(failed)?;
    let run =
        AuditRun { run: random_name()?, version: env!("CARGO_PKG_VERSION").into(), pid: std::process::id() };
    let (size, age) = (settings.max_size.get(), settings.max_age);
    let (begin, epoch) = sync_channel::<(Moment, Receiver<AuditMessage>)>(1);
    let (alive, done) = sync_channel(0);
    let policy = policy.clone();
    let missing = Arc::new(AtomicU64::new(0));
    let lost = Arc::clone(&missing);
    let thread = std::thread::Builder::new().name("audit".into()).spawn(move || {
        let _alive = alive;
        // Without an engine there is no trail.
        let Ok((epoch, messages)) = epoch.recv() else { return };
        let limits = Limits { size, age, epoch };
        Writer::new(AuditTrail::new(run, epoch, &policy), files, limits).run(&messages, &lost);
    });
    let failed = |error: io::Error| KernelCall("clone").failed("the audit log's thread", error);
    let thread = thread.map_err(failed)?;
    let make: MakeAuditSink = Box::new(move |epoch| {
        let (sender, messages) = sync_channel(MOST_WAITING);
        // The thread waits for it.
        let _ = begin.send((epoch, messages));
        Box::new(Sink { sender, owners, missing })
    });
    Ok((AuditLog { thread, done }, make))
}

struct Sink {
    sender: SyncSender<AuditMessage>,
    owners: Owners,
    /// The facts that were lost, because the queue was full, and of which the thread has no message. It reads the number
    /// at its end.
    missing: Arc<AtomicU64>,
}

impl AuditSink for Sink {
    fn record(&mut self, facts: Vec<Audited>, ledger: &Ledger) {
        // The thread writes the number only when it has no sender any more.
        let lost = self.missing.load(Ordering::Relaxed);
        if lost > 0 {
            let Some(at) = facts.last().map(|fact| fact.at) else { return };
            let missing = lost + facts.len() as u64;
            let live = ledger.flow_ids().map(str::to_owned).collect();
            let sent = self.sender.try_send(AuditMessage::Missing { at, facts: missing, live });
            self.missing.store(if sent.is_ok() { 0 } else { missing }, Ordering::Relaxed);
            return;
        }
        let mut lost = 0;
        for fact in facts {
            let client = named(&fact.fact).map_or_else(AuditClient::default, |named| (self.owners)(named));
            if lost > 0 {
                lost += 1;
            } else if let Err(TrySendError::Full(_)) = self.sender.try_send(AuditMessage::Fact(fact, client))
            {
                lost = 1;
            }
        }
        self.missing.store(lost, Ordering::Relaxed);
    }
}

/// The flow or the group whose client a line names. That of flows that are held is known to the trail.
fn named(fact: &AuditFact) -> Option<Named<'_>> {
    match fact {
        AuditFact::Decided { operation, .. } | AuditFact::Adopted { operation, .. } => match &**operation {
            Operation::Reserve(ladder) => Some(Named::Flow(&ladder.request.id)),
            Operation::Group(request) => Some(Named::Group(&request.id)),
            _ => None,
        },
        AuditFact::Refused { decision, .. } => decision.id().map(Named::Flow),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::{NewFlow, Request};
    use crate::manager::DryRun;
    use crate::policy::Source;

    const POLICY: &str = "version = 1\n[interface.eth0]\negress = { capacity = \"80 Mbit/s\" }\n";

    #[test]
    fn facts_that_are_lost_just_before_the_end_are_a_gap() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit");
        let policy = Policy::parse(&[Source { name: "p.toml", text: POLICY }]).unwrap().0;
        let mut dry_run = DryRun::new(Arc::new(policy.clone()));
        dry_run.record_audit();
        let (sender, messages) = sync_channel(2);
        let missing = Arc::new(AtomicU64::new(0));
        let mut sink =
            Sink { sender, owners: Arc::new(|_| AuditClient::default()), missing: Arc::clone(&missing) };
        for number in 0..5 {
            let spec =
                flowspec::Flowspec::guaranteed(flowspec::Rate::from_mbit(1), flowspec::Bytes::new(9000));
            let flow = NewFlow { id: &format!("v{number}"), interface: "eth0" };
            let request = Request::new(flow, flowspec::Qos::sending(spec));
            dry_run.decide(Operation::Reserve(Box::new(request.into())), Moment::from_micros(number));
            sink.record(dry_run.take_audit(), dry_run.ledger());
        }
        drop(sink);
        let run = AuditRun { run: "r".into(), version: "0".into(), pid: 1 };
        let trail = AuditTrail::new(run, Moment::START, &policy);
        let limits = Limits { size: 1 << 30, age: flowspec::Micros::new(u64::MAX), epoch: Moment::START };
        Writer::new(trail, AuditFiles::open(&path, 3).unwrap(), limits).run(&messages, &missing);
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let operations: Vec<_> = lines.iter().map(|line| line["op"].as_str().unwrap()).collect();
        assert_eq!(operations, ["audit", "reserve", "reserve", "gap", "stop"]);
        assert_eq!(lines[3]["missing"], 3);
    }
}
