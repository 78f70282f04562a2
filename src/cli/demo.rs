//! `gqos demo`: shows reserved streams beside competing traffic, on a private network of this machine.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use flowspec::{Rate, UnitError};
use gqos::failure::KernelFailure;
use gqos::lab::demo::{self, DemoError, Options, Outcome, Rung};
use gqos::lab::media::Media;
use gqos::lab::report;
use gqos::linux::namespace;
use gqos::policy::{Policy, Source};

use super::demo_table::{Live, summary};
use super::failure::{Exit, Failure};
use super::input::{parse_policy, read};
use super::output::{print, write};

/// Send real media to real viewers over a small link, first without gqos, then with it.
///
/// Creates two hosts in network namespaces and a wire between them. A media server on one host sends MPEG transport
/// streams by TCP and UDP to viewers on the other, while a bulk transfer sends as much as it can. Needs root or an
/// unprivileged user namespace. Nothing is left when it ends.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// How many viewers arrive.
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u16).range(1..=1000))]
    viewers: u16,
    /// The rate of the wire, link headers included.
    #[arg(long, value_name = "RATE", default_value = "100 Mbit/s", value_parser = link)]
    link: Rate,
    /// The length of each of the two phases, in seconds.
    #[arg(long, value_name = "S", default_value_t = 15, value_parser = clap::value_parser!(u64).range(5..=3600))]
    seconds: u64,
    /// An MPEG transport stream for every viewer, in place of the sample ladder.
    #[arg(long, value_name = "FILE")]
    media: Option<PathBuf>,
    /// The policy of the second phase, in place of examples/policies/streaming.toml.
    #[arg(long, value_name = "POLICY")]
    policy: Option<PathBuf>,
    /// Write the result as an HTML page, or as a picture if FILE ends in .svg.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Print the result as one JSON document.
    #[arg(long)]
    json: bool,
}

const STREAMING: &str = include_str!("../../examples/policies/streaming.toml");

/// The sample ladder, best first; each rendition is named after its template.
const LADDER: [(&str, &[u8]); 3] = [
    ("1080p", include_bytes!("../../examples/media/1080p.ts")),
    ("720p", include_bytes!("../../examples/media/720p.ts")),
    ("480p", include_bytes!("../../examples/media/480p.ts")),
];

/// The lowest rate of the wire: below it a single packet takes longer to send than the wire's queue holds.
const SLOWEST_LINK: Rate = Rate::from_mbit(1);

/// A rate that the wire cannot have.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error(transparent)]
    Unit(#[from] UnitError),
    #[error("the wire of the demo carries at least {SLOWEST_LINK}")]
    TooSlow,
}

fn link(text: &str) -> Result<Rate, LinkError> {
    let rate: Rate = text.parse()?;
    if rate < SLOWEST_LINK { Err(LinkError::TooSlow) } else { Ok(rate) }
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let options = options(arguments)?;
    // Only a process with a single thread may enter a user namespace.
    if !namespace::may_unshare() {
        namespace::become_root().map_err(|error| Failure::new(Exit::NoPrivilege, unprivileged(&error)))?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("tokio runtime").map_err(|error| Failure::new(Exit::OsError, error))?;
    let outcome = runtime.block_on(async {
        let mut live = Live::default();
        tokio::select! {
            outcome = demo::run(options, announce, |progress| live.show(progress)) => Some(outcome),
            () = interrupted() => None,
        }
    });
    // The namespaces end with the threads of this process; there is nothing to undo.
    runtime.shutdown_background();
    match outcome {
        None => {
            eprintln!("gqos: interrupted; nothing is left behind");
            Ok(Exit::Interrupted.into())
        }
        Some(Ok(outcome)) => show(arguments, &outcome),
        Some(Err(error)) => Err(failure(error)),
    }
}

fn show(arguments: &Arguments, outcome: &Outcome) -> Result<ExitCode, Failure> {
    if let Some(path) = &arguments.report {
        let is_picture = path.extension().is_some_and(|extension| extension == "svg");
        write(path, if is_picture { report::svg(outcome) } else { report::html(outcome) })?;
    }
    let text = if arguments.json {
        serde_json::to_string(outcome).map_err(|error| Failure::new(Exit::OsError, error))?
    } else {
        summary(outcome)
    };
    print(&(text + "\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn announce(path: &str) {
    if std::io::stderr().is_terminal() {
        eprintln!(
            "To inspect the server while the demo runs:\n  nsenter --net={path} tc -s class show dev eth0\n"
        );
    }
}

async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // Without handlers the signals end the process.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

fn options(arguments: &Arguments) -> Result<Options, Failure> {
    let (name, text) = match &arguments.policy {
        Some(path) => (path.display().to_string(), read(path)?),
        None => ("examples/policies/streaming.toml".to_owned(), STREAMING.to_owned()),
    };
    let mut policy = parse_policy(&[Source { name: &name, text: &text }])?;
    if let Some(unsupported) = policy.unsupported() {
        let error = anyhow!("{name}: {unsupported}; `gqos test` and `gqos replay` support it");
        return Err(Failure::new(Exit::InvalidFile, error));
    }
    if !policy.classes.contains_key("viewer") || policy.interface("eth0").is_none() {
        let error = anyhow!("{name}: the demo needs [class.viewer] and [interface.eth0]");
        return Err(Failure::new(Exit::InvalidFile, error));
    }
    demo::fit_policy(&mut policy, arguments.link);
    let ladder = match &arguments.media {
        None => LADDER.iter().map(|(name, bytes)| sample(name, bytes, &policy)).collect::<Result<_, _>>()?,
        Some(path) => {
            let shown = path.display();
            let bytes = std::fs::read(path).map_err(|error| Failure::os("open", &shown, error))?;
            let media =
                Media::new(bytes).map_err(|error| Failure::new(Exit::Usage, anyhow!("{shown}: {error}")))?;
            let name = path.file_stem().map_or_else(|| "media".into(), |stem| stem.to_string_lossy());
            // The name is a word of the service's request line.
            let name: String = name.chars().map(|c| if c.is_whitespace() { '_' } else { c }).collect();
            vec![Rung::for_file(&name, media).map_err(failure)?]
        }
    };
    let viewers = usize::from(arguments.viewers);
    Ok(Options { viewers, link: arguments.link, seconds: arguments.seconds, policy, ladder })
}

fn sample(name: &str, bytes: &[u8], policy: &Policy) -> Result<Rung, Failure> {
    let media = Media::new(bytes.to_vec()).map_err(|error| Failure::new(Exit::OsError, error))?;
    if !policy.templates.contains_key(name) {
        let error = anyhow!("the policy has no template {name:?}, which the sample ladder needs");
        return Err(Failure::new(Exit::InvalidFile, error));
    }
    Ok(Rung { name: name.to_owned(), media, qos: None })
}

fn failure(error: DemoError) -> Failure {
    match error {
        DemoError::Kernel(cause) if cause.is_permission() => {
            Failure::new(Exit::NoPrivilege, unprivileged(&cause))
        }
        DemoError::Kernel(cause) => Failure::new(Exit::OsError, anyhow!(cause).context(FEATURES)),
        error @ (DemoError::Template(_) | DemoError::NoPayload(_)) => Failure::new(Exit::InvalidFile, error),
        error => Failure::new(Exit::OsError, error),
    }
}

const FEATURES: &str = "the demo's network needs veth links, IP forwarding and the tbf qdisc of the kernel; `gqos check` and the library work without them";

const WITHOUT: &str = "the demo's network namespaces need CAP_SYS_ADMIN and CAP_NET_ADMIN (root, or an unprivileged user namespace); `gqos check` and the library with enforcement = \"user-space\" work without them";

fn unprivileged(error: &KernelFailure) -> anyhow::Error {
    anyhow!("{error}").context(WITHOUT)
}
