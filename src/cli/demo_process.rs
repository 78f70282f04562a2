//! The processes of `gqos demo --daemon`: this program once more, as the daemon or as a server under it.
//!
//! The command line is not for people, and is not in the help: `gqos demo-process --parent PID --directory DIRECTORY
//! daemon|server …`. Such a process ends with the demo.

use std::ffi::OsString;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::{Parser, Subcommand};
use gqos::connect::{ConnectError, Host};
use gqos::lab::demo::{ProgramCommand, Programs};
use gqos::lab::service::MediaService;
use gqos::linux::{ParentEnd, end_with_parent};
use tokio::signal::unix::{SignalKind, signal};

use super::daemon;
use super::demo_directory::{DemoDirectory, DemoFiles};
use super::demo_ladder::ladder;
use super::failure::{CommandFailure, Exit};
use super::input::load_policy;
use super::signals::signalled;

/// The first argument of such a process.
const NAME: &str = "demo-process";

/// Serve for a demo, which has started this process.
#[derive(Debug, Parser)]
#[command(name = "gqos demo-process")]
struct Arguments {
    /// The process of the demo.
    #[arg(long)]
    parent: u32,
    /// The directory of its policy and sockets.
    #[arg(long)]
    directory: PathBuf,
    /// The demo has made the directory, and removes it.
    #[arg(long)]
    made: bool,
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// The daemon.
    Daemon,
    /// A media server that reserves by the daemon.
    Server {
        /// The stream of each viewer, in place of the sample ladder.
        #[arg(long)]
        media: Option<PathBuf>,
        /// The port that it listens at.
        port: u16,
    },
}

/// The commands of the processes of a demo.
///
/// - **Errors**: the path of this program is not known; the media would have to be read more than once and cannot be.
pub(super) fn programs(directory: &DemoDirectory, media: Option<&Path>) -> Result<Programs, CommandFailure> {
    if let Some(path) = media.filter(|path| !path.is_file()) {
        let problem =
            anyhow!("{}: each server of --daemon reads the file, which is no regular one", path.display());
        return Err(CommandFailure::new(Exit::Usage, problem));
    }
    let program = std::env::current_exe();
    let program = program.map_err(|error| CommandFailure::os("readlink", "/proc/self/exe", error))?;
    let command = |role: &[OsString]| {
        let parent = std::process::id().to_string();
        let mut arguments: Vec<OsString> = [NAME, "--parent", &parent, "--directory"].map(Into::into).into();
        arguments.push(directory.path().into());
        arguments.extend(directory.is_made().then(|| "--made".into()));
        arguments.extend_from_slice(role);
        ProgramCommand { program: program.clone(), arguments }
    };
    let mut server = vec!["server".into()];
    if let Some(path) = media {
        server.extend(["--media".into(), path.into()]);
    }
    Ok(Programs { daemon: command(&["daemon".into()]), server: command(&server), socket: directory.socket() })
}

/// Serves, if the command line is that of such a process.
pub(super) fn run_if_asked() -> Option<Result<ExitCode, CommandFailure>> {
    let mut words = std::env::args_os().skip(1);
    (words.next()? == NAME).then(|| run(Arguments::parse_from(std::iter::once(NAME.into()).chain(words))))
}

fn run(arguments: Arguments) -> Result<ExitCode, CommandFailure> {
    let Arguments { parent, directory, made, role } = arguments;
    let how = match &role {
        Role::Daemon => ParentEnd::Kill,
        // A demo that was killed cannot remove its files.
        Role::Server { .. } => ParentEnd::Hangup,
    };
    let is_there = end_with_parent(parent, how)
        .map_err(|failure| CommandFailure::new(Exit::OsError, anyhow!(failure)))?;
    if !is_there {
        return Err(CommandFailure::new(Exit::OsError, anyhow!("the demo, process {parent}, has ended")));
    }
    let files = DemoFiles::of(directory, made);
    match role {
        Role::Daemon => daemon::run(&daemon::Arguments::of_demo(&files)),
        Role::Server { media, port } => serve(&files, media.as_deref(), port),
    }
}

fn serve(files: &DemoFiles, media: Option<&Path>, port: u16) -> Result<ExitCode, CommandFailure> {
    let policy = load_policy(&[files.policy()])?;
    let renditions = ladder(media, &policy)?;
    let renditions = renditions.iter().map(|rung| (rung.name.clone(), rung.rendition())).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.context("tokio runtime").map_err(|error| CommandFailure::new(Exit::OsError, error))?;
    runtime.block_on(async {
        let hangup = signal(SignalKind::hangup());
        let mut hangup = hangup.map_err(|error| CommandFailure::os("sigaction", "SIGHUP", error))?;
        let failed = |error: ConnectError| CommandFailure::new(Exit::OsError, error);
        let host = Host::connect_daemon(files.socket()).await.map_err(failed)?;
        let service = MediaService { renditions, host: Some(host) };
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let service = service.listen(address).await.map_err(failed)?;
        println!("listening at port {port}");
        drop(std::io::stdout().flush());
        tokio::select! {
            () = service.serve() => Ok(ExitCode::SUCCESS),
            exit = signalled() => Ok(exit.into()),
            _ = hangup.recv() => {
                files.remove();
                Ok(ExitCode::SUCCESS)
            }
        }
    })
}
