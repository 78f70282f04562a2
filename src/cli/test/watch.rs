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

/// The most changes that a message names.
const MOST_NAMED: usize = 4;

/// What a run has read. A file is one input, however many paths lead to it.
type Inputs = BTreeMap<PathBuf, Input>;

/// A file that a run has read, or would have read.
struct Input {
    /// The shortest of the paths by which it is named.
    shown: PathBuf,
    /// The directories that these paths have.
    directories: BTreeSet<PathBuf>,
    /// Whether it is a test file; otherwise a test file or the command line names it.
    is_test: bool,
    /// What tells a changed file from an unchanged one; `None` for a file that is not there.
    stamp: Option<Stamp>,
}

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
                crate::cli::output::say(&format!("gqos: {error:#}"));
                exit.into()
            });
            crate::cli::output::say(&format!(
                "gqos: watching {}; Ctrl-C ends",
                counted(inputs.len(), "file")
            ));
            tokio::select! {
                _ = interrupt.recv() => return Ok(code),
                _ = terminate.recv() => return Ok(code),
                changed = until_changed(arguments, &files, &inputs) => {
                    crate::cli::output::say(&format!("\ngqos: {}", changed.map_err(os)?));
                }
            }
        }
    })
}

/// Waits until a file that the tests read is new, removed or has another content, and gives what to say of it.
async fn until_changed(
    arguments: &Arguments,
    files: &FileWatch,
    before: &Inputs,
) -> Result<String, anyhow::Error> {
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
        let mut changes = changes(before, &inputs(arguments));
        let more = changes.len().saturating_sub(MOST_NAMED);
        if more > 0 {
            changes.truncate(MOST_NAMED);
            changes.push(format!("and {} more", counted(more, "change")));
        }
        if !changes.is_empty() {
            return Ok(changes.join(", "));
        }
    }
}

/// What has happened to each file that is not as it was. Whether a policy is named by a test is a change of the test, if
/// one has changed.
fn changes(before: &Inputs, now: &Inputs) -> Vec<String> {
    let changes = changes_of(before, now, |input| input.is_test);
    if changes.is_empty() { changes_of(before, now, |_| true) } else { changes }
}

/// The same. A file that is read now and was not, or the other way round, counts only if `counts` holds for it.
fn changes_of(before: &Inputs, now: &Inputs, counts: impl Fn(&Input) -> bool) -> Vec<String> {
    let paths: BTreeSet<_> = before.keys().chain(now.keys()).collect();
    let changes = paths.into_iter().filter_map(|path| {
        let (was, is) = (before.get(path), now.get(path));
        let input = is.or(was)?;
        if (was.is_none() || is.is_none()) && !counts(input) {
            return None;
        }
        let stamps = [was, is].map(|input| input.and_then(|input| input.stamp));
        let change = match stamps {
            [was, is] if was == is => return None,
            [None, _] => "is new",
            [_, None] => "was removed",
            _ => "changed",
        };
        Some(format!("{} {change}", input.shown.display()))
    });
    changes.collect()
}

/// Watches the directories of all inputs, and those in which a test file may appear.
fn add_directories(arguments: &Arguments, files: &FileWatch) -> Result<(), gqos::failure::KernelFailure> {
    let mut wanted = BTreeSet::new();
    for path in &arguments.paths {
        wanted.extend(directories(path));
    }
    wanted.extend(inputs(arguments).into_values().flat_map(|input| input.directories));
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
    let mut inputs = Inputs::new();
    for path in arguments.against.iter().cloned() {
        add(&mut inputs, path, false);
    }
    for path in test_files(&arguments.paths).unwrap_or_default() {
        if let Ok(text) = read(&path) {
            let (suite, _) = Suite::read_all(&Source { name: "", text: &text });
            for policy in suite.policies() {
                add(&mut inputs, parent(&path).join(policy), false);
            }
        }
        add(&mut inputs, path, true);
    }
    inputs
}

/// Adds a file, or another path of one.
fn add(inputs: &mut Inputs, path: PathBuf, is_test: bool) {
    let stamp = |path: &Path| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
    };
    let input = inputs.entry(resolved(&path)).or_insert_with(|| Input {
        shown: path.clone(),
        directories: BTreeSet::new(),
        is_test,
        stamp: stamp(&path),
    });
    input.directories.insert(parent(&path).to_owned());
    input.is_test |= is_test;
    if path.as_os_str().len() < input.shown.as_os_str().len() {
        input.shown = path;
    }
}

/// The path of a file with its directory as the system names it, where that exists.
fn resolved(path: &Path) -> PathBuf {
    let directory = parent(path);
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    match (directory.canonicalize(), path.file_name()) {
        (Ok(directory), Some(name)) => directory.join(name),
        _ => path.to_owned(),
    }
}

/// The directory of a file.
fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}
