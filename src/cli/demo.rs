//! `gqos demo`: the main job, on a private network on this machine.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use flowspec::Rate;
use gqos::failure::KernelFailure;
use gqos::lab::demo::{self, DemoError, Options, Outcome, Rung};
use gqos::lab::media::Media;
use gqos::lab::report;
use gqos::linux::namespace;
use gqos::policy::{Policy, Source};

use super::demo_table::{Live, summary};
use super::diagnostics::render;
use super::{Failure, INTERRUPTED, INVALID_FILE, NO_PRIVILEGE, OS_ERROR, counted, read};

/// Show what gqos does: real media to real viewers over a small link, without and then with it.
///
/// Makes two hosts in network namespaces of its own and a wire between them. A media server on one
/// sends MPEG transport streams by TCP and UDP to viewers on the other, while a bulk transfer takes
/// what it can get. Needs root, or an unprivileged user namespace; leaves nothing behind.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// How many viewers arrive.
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u16).range(1..=1000))]
    viewers: u16,
    /// The wire's rate, link headers included.
    #[arg(long, value_name = "RATE", default_value = "100 Mbit/s", value_parser = link)]
    link: Rate,
    /// How long each of the two phases lasts.
    #[arg(long, value_name = "S", default_value_t = 15, value_parser = clap::value_parser!(u64).range(5..=3600))]
    seconds: u64,
    /// An MPEG transport stream for every viewer, instead of the sample ladder.
    #[arg(long, value_name = "FILE")]
    media: Option<PathBuf>,
    /// The policy of the second phase, instead of examples/policies/streaming.toml.
    #[arg(long, value_name = "POLICY")]
    policy: Option<PathBuf>,
    /// Write the result as a page with a picture, or as the picture alone where FILE ends in .svg.
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

/// The wire's slowest rate: below it a single packet takes longer than its queue.
const SLOWEST_LINK: Rate = Rate::from_mbit(1);

fn link(text: &str) -> Result<Rate, String> {
    let rate: Rate = text.parse().map_err(|error: flowspec::UnitError| error.to_string())?;
    if rate < SLOWEST_LINK {
        return Err(format!("the wire of the demo carries at least {SLOWEST_LINK}"));
    }
    Ok(rate)
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let options = options(arguments)?;
    // Before there is a second thread: a user namespace is for single-threaded processes.
    if !namespace::may_unshare() {
        namespace::become_root().map_err(|error| Failure::new(NO_PRIVILEGE, unprivileged(&error)))?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("tokio runtime").map_err(|error| Failure::new(OS_ERROR, error))?;
    let outcome = runtime.block_on(async {
        let mut live = Live::default();
        tokio::select! {
            outcome = demo::run(options, announce, |progress| live.show(progress)) => Some(outcome),
            () = interrupted() => None,
        }
    });
    // Threads that hold the namespaces end with the process; nothing has to be undone.
    runtime.shutdown_background();
    match outcome {
        None => {
            eprintln!("gqos: interrupted; nothing is left behind");
            Ok(ExitCode::from(INTERRUPTED))
        }
        Some(Ok(outcome)) => print(arguments, &outcome),
        Some(Err(error)) => Err(failure(error)),
    }
}

fn print(arguments: &Arguments, outcome: &Outcome) -> Result<ExitCode, Failure> {
    if let Some(path) = &arguments.report {
        let picture = path.extension().is_some_and(|extension| extension == "svg");
        let text = if picture { report::svg(outcome) } else { report::html(outcome) };
        std::fs::write(path, text)
            .map_err(|error| Failure::new(OS_ERROR, anyhow!("write {}: {error}", path.display())))?;
    }
    if arguments.json {
        let json = serde_json::to_string(outcome).map_err(|error| Failure::new(OS_ERROR, error))?;
        println!("{json}");
    } else {
        println!("{}", summary(outcome));
    }
    Ok(ExitCode::SUCCESS)
}

fn announce(path: &str) {
    if std::io::stderr().is_terminal() {
        eprintln!("To look inside while it runs:\n  nsenter --net={path} tc -s class show dev eth0\n");
    }
}

async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // Without handlers the signals end the process by themselves.
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
    let sources = [Source { name: &name, text: &text }];
    let (mut policy, _) = Policy::parse(&sources).map_err(|problems| {
        for problem in &problems {
            eprintln!("{}\n", render(problem, &sources, false));
        }
        Failure::new(
            INVALID_FILE,
            anyhow!("{name} is not a valid policy: {}", counted(problems.len(), "problem")),
        )
    })?;
    if let Some(what) = policy.unsupported() {
        let error = anyhow!("{name}: {what}; `gqos test` and `gqos replay` decide by it");
        return Err(Failure::new(INVALID_FILE, error));
    }
    if !policy.classes.contains_key("viewer") || policy.interface("eth0").is_none() {
        let error = anyhow!("{name}: the demo needs [class.viewer] and [interface.eth0]");
        return Err(Failure::new(INVALID_FILE, error));
    }
    demo::fit_policy(&mut policy, arguments.link);
    let ladder = match &arguments.media {
        None => LADDER.iter().map(|(name, bytes)| sample(name, bytes, &policy)).collect::<Result<_, _>>()?,
        Some(path) => {
            let shown = path.display();
            let bytes = std::fs::read(path)
                .map_err(|error| Failure::new(OS_ERROR, anyhow!("open {shown}: {error}")))?;
            let media = Media::new(bytes).map_err(|error| Failure::new(2, anyhow!("{shown}: {error}")))?;
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
    let media = Media::new(bytes.to_vec()).map_err(|error| Failure::new(OS_ERROR, error))?;
    if !policy.templates.contains_key(name) {
        let error = anyhow!("the policy has no template {name:?}, which the sample ladder needs");
        return Err(Failure::new(INVALID_FILE, error));
    }
    Ok(Rung { name: name.to_owned(), media, qos: None })
}

fn failure(error: DemoError) -> Failure {
    let code = match &error {
        DemoError::Linux(cause) if cause.is_permission() => NO_PRIVILEGE,
        DemoError::Template(_) | DemoError::NoPayload(_) => INVALID_FILE,
        DemoError::Linux(_) | DemoError::Connect(_) | DemoError::Task(_) => OS_ERROR,
    };
    let error = anyhow!(error);
    if code == NO_PRIVILEGE {
        return Failure::new(code, error.context(WITHOUT));
    }
    match error.downcast_ref::<DemoError>() {
        Some(DemoError::Linux(_)) => Failure::new(code, error.context(FEATURES)),
        _ => Failure::new(code, error),
    }
}

const FEATURES: &str = "the demo's network needs veth links, IP forwarding and the tbf qdisc of the kernel; `gqos check` and the library work without";

const WITHOUT: &str = "the demo's network namespaces need CAP_SYS_ADMIN and CAP_NET_ADMIN (root, or an unprivileged user namespace); `gqos check` and the library with enforcement = \"user-space\" work without";

fn unprivileged(error: &KernelFailure) -> anyhow::Error {
    anyhow!("{error}").context(WITHOUT)
}
