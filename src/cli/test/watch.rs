//! `gqos test --watch`: runs the tests again when a test file or one of its policies changes.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use gqos::linux::FileWatch;
use gqos::policy::Source;
use gqos::scenario::Suite;
use tokio::signal::unix::{SignalKind, signal};

use super::arguments::Arguments;
use super::file::{directories, test_files};
use crate::cli::failure::{CommandFailure, Exit};
use crate::cli::input::read;
use crate::cli::output::counted;

/// Editors write a file in several steps, and several files one after the other: tests are run once there was no change
/// for this long.
const SETTLED: Duration = Duration::from_millis(100);

/// The most changes that are waited for: a file that is written all the time does not keep the tests from being run.
const MOST_UNSETTLED: usize = 20;

/// What a run has read, each with what tells a changed file from an unchanged one; `None` for a file that is not there.
type Inputs = BTreeMap<PathBuf, Option<Stamp>>;

/// Device, inode, size and time of the last change.
type Stamp = (u64, u64, u64, i64, i64);

/// Runs the tests, and again after each change, until SIGINT or SIGTERM. The exit code is that of the last run.
pub(super) fn watch(
    arguments: &Arguments,
    run: fn(&Arguments) -> Result<ExitCode, CommandFailure>,
) -> Result<ExitCode, CommandFailure> {
    let os = |error: anyhow::Error| CommandFailure::new(Exit::OsError, error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("tokio runtime").map_err(os)?.block_on(async {
        let signals =
            signal(SignalKind::interrupt()).and_then(|int| Ok((int, signal(SignalKind::terminate())?)));
        let (mut interrupt, mut terminate) = signals.context("sigaction").map_err(os)?;
        let files = FileWatch::new().map_err(|error| os(error.into()))?;
        loop {
            // The watch begins before the files are read, so that no change is missed.
            add_directories(arguments, &files).map_err(|error| os(error.into()))?;
            let inputs = inputs(arguments);
            let code = run(arguments).unwrap_or_else(|CommandFailure { exit, error }| {
                eprintln!("gqos: {error:#}");
                exit.into()
            });
            eprintln!("gqos: watching {}; Ctrl-C ends", counted(inputs.len(), "file"));
            tokio::select! {
                _ = interrupt.recv() => return Ok(code),
                _ = terminate.recv() => return Ok(code),
                changed = until_changed(arguments, &files, &inputs) => {
                    eprintln!("\ngqos: {} changed", changed.map_err(os)?.display());
                }
            }
        }
    })
}

/// Waits until a file that the tests read has another content, and gives its path.
async fn until_changed(
    arguments: &Arguments,
    files: &FileWatch,
    before: &Inputs,
) -> Result<PathBuf, anyhow::Error> {
    loop {
        files.changed().await?;
        for _ in 0..MOST_UNSETTLED {
            match tokio::time::timeout(SETTLED, files.changed()).await {
                Ok(changed) => changed?,
                Err(_) => break,
            }
        }
        // A change may have made a directory, or replaced one that was watched.
        add_directories(arguments, files)?;
        let now = inputs(arguments);
        let mut paths = now.keys().chain(before.keys());
        let stamp = |inputs: &Inputs, path: &Path| inputs.get(path).copied();
        if let Some(path) = paths.find(|path| stamp(&now, path) != stamp(before, path)) {
            return Ok(path.clone());
        }
    }
}

/// Watches the directories of all inputs, and those in which a test file may appear.
fn add_directories(arguments: &Arguments, files: &FileWatch) -> Result<(), gqos::failure::KernelFailure> {
    let mut wanted = BTreeSet::new();
    for path in &arguments.paths {
        wanted.extend(directories(path));
    }
    wanted.extend(inputs(arguments).keys().map(|path| parent(path).to_owned()));
    for directory in wanted {
        // A directory that does not exist yet is seen through its nearest ancestor that does.
        let present =
            directory.ancestors().find(|directory| directory.is_dir() || directory.as_os_str().is_empty());
        let present = present.filter(|directory| !directory.as_os_str().is_empty());
        files.add(present.unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

/// The test files, the policies that they name, and the policy that they are compared with.
fn inputs(arguments: &Arguments) -> Inputs {
    let tests = test_files(&arguments.paths).unwrap_or_default();
    let mut paths: BTreeSet<PathBuf> = arguments.against.iter().cloned().collect();
    for path in tests {
        if let Ok(text) = read(&path) {
            let (suite, _) = Suite::read_all(&Source { name: "", text: &text });
            paths.extend(suite.policies().into_iter().map(|policy| parent(&path).join(policy)));
        }
        paths.insert(path);
    }
    let stamp = |path: &Path| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
    };
    paths.into_iter().map(|path| (path.clone(), stamp(&path))).collect()
}

/// The directory of a file.
fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}
