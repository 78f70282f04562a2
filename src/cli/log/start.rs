//! How the log begins, and the thread that follows the facts.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use gqos::engine::Events;
use gqos::telemetry::Recorded;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use super::fact::FactLog;
use super::line::{LineWriter, Lines};

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(in crate::cli) enum LogFormat {
    /// Entries of systemd's journal if standard error is the journal, otherwise text.
    Auto,
    /// The time, the level, a sentence, and the fields as KEY=VALUE.
    Text,
    /// A JSON object with the same fields.
    Json,
    /// No events; warnings about the daemon itself as text.
    None,
}

/// A log that has begun.
#[derive(Debug)]
pub(in crate::cli) struct DaemonLog {
    /// `None` where facts are not logged.
    facts: Option<FactLog>,
    lines: Arc<Lines>,
}

/// The thread that follows the facts.
pub(in crate::cli) struct Following {
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
}

/// How long the end of the daemon waits for the last lines.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long the first fact waits for others, so that a busy daemon does not wake the thread for each.
const GATHER: Duration = Duration::from_millis(2);

/// How many facts are told before the thread looks whether the daemon ends.
const MOST_AT_ONCE: usize = 1024;

impl DaemonLog {
    /// From now on events of `tracing` are lines, or entries of the journal.
    pub(in crate::cli) fn begin(format: LogFormat) -> Self {
        let lines = Arc::<Lines>::default();
        let journal = match format {
            LogFormat::Auto if is_journal() => tracing_journald::layer().ok(),
            _ => None,
        };
        if let Some(journal) = journal {
            let journal =
                journal.with_field_prefix(Some(PREFIX.to_owned())).with_syslog_identifier("gqos".into());
            subscribe(journal.with_filter(LevelFilter::INFO));
            return Self { facts: Some(FactLog { is_exact: false }), lines };
        }
        let (is_json, level) = match format {
            LogFormat::Json => (true, Level::INFO),
            LogFormat::Auto | LogFormat::Text => (false, Level::INFO),
            LogFormat::None => (false, Level::WARN),
        };
        let shared = Arc::clone(&lines);
        let writer = move || LineWriter { lines: Arc::clone(&shared), is_json };
        let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false);
        let filter = LevelFilter::from_level(level);
        match is_json {
            true => subscribe(
                layer
                    .json()
                    .flatten_event(true)
                    .with_current_span(false)
                    .with_span_list(false)
                    .with_filter(filter),
            ),
            false => subscribe(layer.with_target(false).with_filter(filter)),
        }
        let facts = (format != LogFormat::None).then_some(FactLog { is_exact: true });
        Self { facts, lines }
    }

    /// Logs the facts on a thread of its own, until the last one.
    ///
    /// - **Errors**: the thread cannot be started.
    pub(in crate::cli) fn follow(self, events: Events) -> std::io::Result<Following> {
        let ((stop, stopped), (end, ended)) = (oneshot::channel(), oneshot::channel());
        if let Some(log) = self.facts {
            let (runtime, lines) = (Handle::current(), self.lines);
            let follow = move || {
                lines.follow();
                write(log, &lines, events, (&runtime, stopped));
                // The daemon may have ended without waiting.
                let _ = end.send(());
            };
            std::thread::Builder::new().name("gqos-log".into()).spawn(follow)?;
        }
        Ok(Following { stop, ended })
    }
}

impl Following {
    /// Waits for the last lines; not for a reader that does not read.
    pub(in crate::cli) async fn end(self) {
        // Without facts there is no thread, and its end is known at once.
        let _ = self.stop.send(());
        let _ = tokio::time::timeout(PATIENCE, self.ended).await;
    }
}

/// What the names of the journal's fields begin with: `GQOS_INTERFACE`.
const PREFIX: &str = "GQOS";

fn subscribe(layer: impl Layer<Registry> + Send + Sync) {
    // Where another subscriber is set already, it stays.
    let _ = tracing_subscriber::registry().with(layer).try_init();
}

/// Writes the facts until the daemon ends, and then those that wait.
fn write(
    log: FactLog,
    lines: &Lines,
    mut events: Events,
    (runtime, mut stopped): (&Handle, oneshot::Receiver<()>),
) {
    let mut dropped = 0;
    while let Some(first) = runtime.block_on(next(&mut events, &mut stopped)) {
        gather();
        log.tell(&first);
        let more = std::iter::from_fn(|| events.try_next()).take(MOST_AT_ONCE);
        more.for_each(|recorded| log.tell(&recorded));
        let so_far = events.dropped();
        if so_far > dropped {
            let lost = so_far - dropped;
            tracing::warn!(
                event = "log_incomplete",
                lost,
                "{lost} events are not in the log: it is written too slowly"
            );
            dropped = so_far;
        }
        lines.write();
    }
    std::iter::from_fn(|| events.try_next()).for_each(|recorded| log.tell(&recorded));
    lines.write();
}

/// The next fact; `None` once the daemon ends.
async fn next(events: &mut Events, stopped: &mut oneshot::Receiver<()>) -> Option<Recorded> {
    tokio::select! {
        biased;
        event = events.next() => event,
        _ = stopped => None,
    }
}

#[expect(clippy::disallowed_methods, reason = "the thread does nothing else, and belongs to no runtime")]
fn gather() {
    std::thread::sleep(GATHER);
}

/// Whether standard error is the journal. Source: `JOURNAL_STREAM`, systemd.exec(5).
fn is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    // A file of /proc, which is read before the daemon is confined.
    let Ok(metadata) = std::fs::metadata("/proc/self/fd/2") else { return false };
    stream == format!("{}:{}", metadata.dev(), metadata.ino())
}
