//! The directory of a demo with a daemon: the policy, the sockets, and what the daemon writes down.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use gqos::linux::random_name;
use gqos::policy::Policy;

use super::failure::{CommandFailure, Exit};
use super::output::write;

/// The directory of a demo, empty at first. Dropped, it is empty again, and removed if it was made.
pub(super) struct DemoDirectory(DemoFiles);

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
        let path = match named {
            Some(path) => std::path::absolute(path)
                .map_err(|error| CommandFailure::os("getcwd", path.display(), error))?,
            None => {
                let name =
                    random_name().map_err(|failure| CommandFailure::new(Exit::OsError, anyhow!(failure)))?;
                std::env::temp_dir().join(format!("gqos-demo-{}", &name[..12]))
            }
        };
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(Self(DemoFiles::of(path, true))),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && named.is_some() => {}
            Err(error) => return Err(CommandFailure::os("mkdir", path.display(), error)),
        }
        let mut entries =
            std::fs::read_dir(&path).map_err(|error| CommandFailure::os("open", path.display(), error))?;
        if entries.next().is_some() {
            let problem = anyhow!("{}: the directory of the demo's sockets has to be empty", path.display());
            return Err(CommandFailure::new(Exit::Usage, problem));
        }
        Ok(Self(DemoFiles::of(path, false)))
    }

    /// Writes the policy of the daemon: without the settings of a daemon, which the demo chooses.
    ///
    /// - **Errors**: `write`.
    pub(super) fn write_policy(&self, policy: &Policy) -> Result<(), CommandFailure> {
        let policy = Policy { daemon: None, ..policy.clone() };
        write(&self.0.policy(), policy.effective())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0.directory
    }

    pub(super) const fn is_made(&self) -> bool {
        self.0.is_made
    }

    /// The daemon's control socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.0.socket()
    }
}

impl Drop for DemoDirectory {
    fn drop(&mut self) {
        self.0.remove();
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
