//! `gqos demo`: shows reserved streams beside competing traffic, on a private network of this machine.

use std::cell::RefCell;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::builder::{PathBufValueParser, TypedValueParser};
use flowspec::{Rate, UnitError};
use gqos::failure::KernelFailure;
use gqos::lab::demo::{self, DemoError, DemoResult, Options};
use gqos::lab::report::Provenance;
use gqos::linux::namespace;
use gqos::policy::Source;

use super::demo_directory::DemoDirectory;
use super::demo_ladder::ladder;
use super::demo_live::Live;
use super::demo_process;
use super::demo_report::ReportPath;
use super::demo_summary::{Detail, summary};
use super::demo_table::Screen;
use super::failure::{CommandFailure, Exit};
use super::input::{parse_policy, read};
use super::output::print;
use super::signals::signalled;

/// Send real media to real viewers over a small link, first without gqos, then with it.
///
/// Creates two hosts in network namespaces and a wire between them. A media server on one host sends MPEG transport
/// streams by TCP and UDP to viewers on the other host, while a bulk transfer sends as much as it can. Needs root or
/// an unprivileged user namespace. Leaves nothing behind. A promise counts as kept if the viewer's play never stops
/// and its median second carries 98 % of the promised rate; the output names the worst second.
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
    /// Write the result to FILE: a page if it ends in .html, the picture alone if it ends in .svg.
    #[arg(long, value_name = "FILE", value_parser = PathBufValueParser::new().try_map(ReportPath::new))]
    report: Option<ReportPath>,
    /// Serve the viewers of the second phase by two processes under one gqos daemon. The daemon is killed by SIGKILL
    /// in the middle of the phase, and started again a second later.
    #[arg(long)]
    daemon: bool,
    /// Create the daemon's control socket, gqos.sock, and its HTTP socket, http.sock, in this directory. The
    /// directory is created if necessary; an existing one must be empty. It is emptied at the end.
    ///
    /// While the demo runs, `gqos status --socket DIRECTORY/gqos.sock` and `curl --unix-socket DIRECTORY/http.sock
    /// http://localhost/metrics` show its daemon. Without this option, the sockets are in a temporary directory.
    #[arg(long, value_name = "DIRECTORY", requires = "daemon")]
    sockets: Option<PathBuf>,
    /// List every refusal and the kernel's classes.
    #[arg(short, long)]
    verbose: bool,
    /// Print the result as one JSON document.
    #[arg(long)]
    json: bool,
}

const STREAMING: &str = include_str!("../../examples/policies/streaming.toml");

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

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, CommandFailure> {
    let policy = policy_text(arguments)?;
    let mut options = options(arguments, &policy)?;
    let directory =
        if arguments.daemon { Some(DemoDirectory::make(arguments.sockets.as_deref())?) } else { None };
    if let Some(directory) = &directory {
        directory.write_policy(&options.policy)?;
        options.programs = Some(demo_process::programs(directory, arguments.media.as_deref())?);
    }
    // A report that cannot be written is refused before the run.
    let report = arguments.report.as_ref().map(ReportPath::open).transpose()?;
    let outcome = match measure(options, directory.as_ref().map(DemoDirectory::socket))? {
        MeasurementEnd::Complete(outcome) => outcome,
        MeasurementEnd::BySignal(exit) => {
            eprintln!("gqos: ended by a signal; nothing is left behind");
            return Ok(exit.into());
        }
    };
    show(arguments, &outcome)?;
    if let Some(report) = report {
        let command = command_line();
        let PolicyText { name: policy_name, text: policy } = policy;
        report.write(&outcome, &Provenance { command, policy_name, policy, ..Provenance::here_and_now() })?;
    }
    Ok(ExitCode::SUCCESS)
}

enum MeasurementEnd {
    Complete(Box<DemoResult>),
    /// With the exit code that names the signal.
    BySignal(Exit),
}

/// Runs both phases. `socket` is the daemon's, where there is one.
fn measure(options: Options, socket: Option<PathBuf>) -> Result<MeasurementEnd, CommandFailure> {
    // Only a process with a single thread may enter a user namespace.
    if !namespace::may_unshare() {
        namespace::become_root()
            .map_err(|error| CommandFailure::new(Exit::NoPrivilege, unprivileged(&error)))?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.context("tokio runtime").map_err(|error| CommandFailure::new(Exit::OsError, error))?;
    let live = RefCell::new(Live::new(options.viewers, socket));
    let ended = runtime.block_on(async {
        let namespace = |path: &str| live.borrow_mut().set_namespace(path);
        tokio::select! {
            outcome = demo::run(options, namespace, |progress| live.borrow_mut().show(progress)) => {
                outcome.map(|outcome| MeasurementEnd::Complete(Box::new(outcome)))
            }
            exit = signalled() => Ok(MeasurementEnd::BySignal(exit)),
        }
    });
    live.borrow_mut().clear();
    // The namespaces end with the threads of this process; there is nothing to undo.
    runtime.shutdown_background();
    ended.map_err(failure)
}

fn show(arguments: &Arguments, outcome: &DemoResult) -> Result<(), CommandFailure> {
    if arguments.json {
        let json =
            serde_json::to_string(outcome).map_err(|error| CommandFailure::new(Exit::OsError, error))?;
        return print(&(json + "\n"));
    }
    let detail = if arguments.verbose { Detail::All } else { Detail::Kinds };
    print(&summary(outcome, Screen::of(&std::io::stdout()), detail))
}

/// The command line as a shell reads it, without the program's path.
fn command_line() -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=,@%+".contains(letter);
    let words = std::env::args_os().skip(1).map(|word| {
        let word = word.to_string_lossy().into_owned();
        let plain = !word.is_empty() && word.chars().all(is_plain);
        if plain { word } else { format!("'{}'", word.replace('\'', "'\\''")) }
    });
    std::iter::once("gqos".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

struct PolicyText {
    name: String,
    text: String,
}

fn policy_text(arguments: &Arguments) -> Result<PolicyText, CommandFailure> {
    Ok(match &arguments.policy {
        Some(path) => PolicyText { name: path.display().to_string(), text: read(path)? },
        None => {
            PolicyText { name: "examples/policies/streaming.toml".to_owned(), text: STREAMING.to_owned() }
        }
    })
}

fn options(arguments: &Arguments, PolicyText { name, text }: &PolicyText) -> Result<Options, CommandFailure> {
    let mut policy = parse_policy(&[Source { name, text }])?;
    if !policy.classes.contains_key("viewer") || policy.interface("eth0").is_none() {
        let error = anyhow!("{name}: the demo needs [class.viewer] and [interface.eth0]");
        return Err(CommandFailure::new(Exit::InvalidFile, error));
    }
    demo::fit_policy(&mut policy, arguments.link);
    let ladder = ladder(arguments.media.as_deref(), &policy)?;
    let viewers = usize::from(arguments.viewers);
    let (link, seconds) = (arguments.link, arguments.seconds);
    Ok(Options { viewers, link, seconds, policy, ladder, programs: None })
}

fn failure(error: DemoError) -> CommandFailure {
    match error {
        DemoError::Kernel(cause) if cause.is_permission() => {
            CommandFailure::new(Exit::NoPrivilege, unprivileged(&cause))
        }
        DemoError::Kernel(cause) => CommandFailure::new(Exit::OsError, anyhow!(cause).context(FEATURES)),
        error @ (DemoError::Template(_) | DemoError::NoPayload(_)) => {
            CommandFailure::new(Exit::InvalidFile, error)
        }
        error => CommandFailure::new(Exit::OsError, error),
    }
}

const FEATURES: &str = "the demo's network needs veth links, IP forwarding and the tbf qdisc of the kernel; `gqos check` and the library work without them";

const WITHOUT: &str = "the demo's network namespaces need CAP_SYS_ADMIN and CAP_NET_ADMIN (root, or an unprivileged user namespace); `gqos check` and the library with enforcement = \"user-space\" work without them";

fn unprivileged(error: &KernelFailure) -> anyhow::Error {
    anyhow!("{error}").context(WITHOUT)
}
