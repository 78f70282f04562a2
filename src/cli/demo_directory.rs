//! The directory of a demo with a daemon: the policy, the sockets, and what the daemon writes down.

use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use gqos::linux::{owner, random_name};
use gqos::policy::Policy;

use super::failure::{CommandFailure, Exit};
use super::output::write;

/// The directory of a demo, empty at first. On drop its files are removed, and the directory as well if the demo made it.
/// A directory that is left by a demo that was killed is removed when the next demo makes its own.
pub(super) struct DemoDirectory {
    files: DemoFiles,
    /// Locked as long as this process has it: no other demo removes it.
    _lock: Option<File>,
}

/// The files of a demo.
pub(super) struct DemoFiles {
    directory: PathBuf,
    /// Whether the demo has made the directory.
    is_made: bool,
}

impl DemoDirectory {
    /// The one that the user names; without a name one that nobody else can read, below the directory for temporary files.
    ///
    /// - **Errors**: it cannot be made, or is not empty.
    pub(super) fn make(named: Option<&Path>) -> Result<Self, CommandFailure> {
        let Some(named) = named else {
            let below = std::env::temp_dir();
            remove_left_behind(&below);
            return Self::make_below(&below);
        };
        let path = std::path::absolute(named)
            .map_err(|error| CommandFailure::os("getcwd", named.display(), error))?;
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(Self { files: DemoFiles::of(path, true), _lock: None }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(CommandFailure::os("mkdir", path.display(), error)),
        }
        let mut entries =
            std::fs::read_dir(&path).map_err(|error| CommandFailure::os("open", path.display(), error))?;
        if entries.next().is_some() {
            let problem = anyhow!("{}: the directory of the demo's sockets has to be empty", path.display());
            return Err(CommandFailure::new(Exit::Usage, problem));
        }
        Ok(Self { files: DemoFiles::of(path, false), _lock: None })
    }

    /// One of a random name.
    ///
    /// - **Errors**: it cannot be made.
    fn make_below(below: &Path) -> Result<Self, CommandFailure> {
        // Before the directory is locked, another demo may treat it as left over and remove it.
        for _ in 0..MOST_TRIES {
            let name =
                random_name().map_err(|failure| CommandFailure::new(Exit::OsError, anyhow!(failure)))?;
            let path = below.join(format!("{PREFIX}{}", &name[..RANDOM]));
            let failed = |call| {
                let path = path.clone();
                move |error| CommandFailure::os(call, path.display(), error)
            };
            DirBuilder::new().mode(0o700).create(&path).map_err(failed("mkdir"))?;
            if let Some(lock) = lock(&path).map_err(failed("flock"))? {
                return Ok(Self { files: DemoFiles::of(path, true), _lock: Some(lock) });
            }
        }
        let problem = anyhow!("{}: other demos remove the directories of this one", below.display());
        Err(CommandFailure::new(Exit::OsError, problem))
    }

    /// Writes the policy of the daemon: without the settings of a daemon, which the demo chooses.
    ///
    /// - **Errors**: `write`.
    pub(super) fn write_policy(&self, policy: &Policy) -> Result<(), CommandFailure> {
        let policy = Policy { daemon: None, ..policy.clone() };
        write(&self.files.policy(), policy.effective())
    }

    pub(super) fn path(&self) -> &Path {
        &self.files.directory
    }

    pub(super) const fn is_made(&self) -> bool {
        self.files.is_made
    }

    /// The daemon's control socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.files.socket()
    }
}

impl Drop for DemoDirectory {
    fn drop(&mut self) {
        self.files.remove();
    }
}

/// The name of a directory that a demo makes, with so many random characters behind it.
const PREFIX: &str = "gqos-demo-";
const RANDOM: usize = 12;

/// How many directories are made for one demo.
const MOST_TRIES: usize = 16;

/// Locks a directory. `None` where another process has locked it, or has removed it.
///
/// - **Errors**: `open`, `flock`.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let directory = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    match directory.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
        Err(std::fs::TryLockError::Error(error)) => return Err(error),
    }
    let locked = directory.metadata()?;
    let is_there = std::fs::symlink_metadata(path)
        .is_ok_and(|found| (found.dev(), found.ino()) == (locked.dev(), locked.ino()));
    Ok(is_there.then_some(directory))
}

/// Removes the directories of this user's demos that no process has: their processes were killed. What cannot be removed stays.
fn remove_left_behind(below: &Path) {
    let uid = owner().uid;
    for entry in std::fs::read_dir(below).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let random = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let is_random =
            |name: &str| name.len() == RANDOM && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_own = || entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == uid);
        if random.is_some_and(is_random)
            && is_own()
            && let Ok(Some(_lock)) = lock(&entry.path())
        {
            DemoFiles::of(entry.path(), true).remove();
        }
    }
}

impl DemoFiles {
    pub(super) const fn of(directory: PathBuf, is_made: bool) -> Self {
        Self { directory, is_made }
    }

    pub(super) fn policy(&self) -> PathBuf {
        self.directory.join("policy.toml")
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.directory.join("gqos.sock")
    }

    pub(super) fn http(&self) -> PathBuf {
        self.directory.join("http.sock")
    }

    /// Removes everything in the directory, which was empty before the demo; and the directory, if the demo has made it.
    pub(super) fn remove(&self) {
        // A file that another process of the demo has removed meanwhile is no matter.
        for entry in std::fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            let _ = std::fs::remove_file(entry.path());
        }
        if self.is_made {
            let _ = std::fs::remove_dir(&self.directory);
        }
    }
}
