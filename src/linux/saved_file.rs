//! The file of a foreign root qdisc that was taken over: a process that is killed cannot restore the qdisc, and what comes
//! after it can.
//!
//! The file is written before the qdisc is deleted and removed once it is restored. It is used where gqos's own tree is found
//! at the root that it is of, or nothing, and where it was written by this user, root or the owner of the directory, in this run of the machine and in this
//! network namespace. A file that is damaged, or that another user may have written, is reported and not used.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use super::netlink::Netlink;
use super::saved::SavedTree;
use super::saved_object::SavedObject;
use super::system::boot_id;
use crate::failure::{AnswerProblem, KernelCall, KernelFailure};
use crate::tc::{ForeignRoot, Handle};

/// The directory of the files.
pub const RUNTIME_DIRECTORY: &str = "/run/gqos";

/// The version of the format.
const VERSION: u32 = 1;

/// The most bytes of a file: a tree that needs more is restored by the process that has saved it, or not at all.
const MOST_BYTES: u64 = 4 << 20;

/// What the file says.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct SavedFile {
    gqos_saved_root: u32,
    /// The run of the machine, and the network namespace.
    system: String,
    /// The number of the interface.
    index: u32,
    kind: String,
    handle: Handle,
    objects: Vec<SavedObject>,
}

/// What became of a qdisc that a process had taken over which was killed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeptRoot {
    /// There is none.
    Absent,
    /// It is at the root again.
    Restored(ForeignRoot),
    /// It was not restored, or not as a whole.
    NotRestored {
        /// The qdisc.
        root: ForeignRoot,
        /// The request that failed.
        failure: KernelFailure,
    },
    /// Its file is not to be trusted, and was removed.
    Unusable(KernelFailure),
}

impl Netlink {
    /// Whether a process that was killed may have left the file of a qdisc that it had taken over.
    pub fn has_kept(&self, index: u32) -> bool {
        self.saved_path(index).is_ok_and(|(path, _)| fs::symlink_metadata(path).is_ok())
    }

    /// Restores the qdisc that a process had taken over which was killed, where the interface has the kernel's default at its
    /// root.
    pub async fn restore_kept(&self, index: u32) -> KeptRoot {
        match self.kept_saved(index) {
            Ok(None) => KeptRoot::Absent,
            Err(failure) => {
                self.forget_saved(index);
                KeptRoot::Unusable(failure)
            }
            Ok(Some(saved)) => match self.restore(index, &saved).await {
                Ok(()) => KeptRoot::Restored(saved.root),
                Err(failure) => KeptRoot::NotRestored { root: saved.root, failure },
            },
        }
    }

    /// Writes down what was saved of an interface, for the case that this process is killed.
    ///
    /// - **Errors**: `open`, `write` or `rename`; a tree that is too large for the file.
    pub(crate) fn keep_saved(&self, index: u32, saved: &SavedTree) -> Result<(), KernelFailure> {
        let (path, system) = self.saved_path(index)?;
        let ForeignRoot { kind, handle } = saved.root.clone();
        let objects = saved.objects();
        let file = SavedFile { gqos_saved_root: VERSION, system, index, kind, handle, objects };
        let text = serde_json::to_vec(&file).map_err(|error| unusable(&path, error))?;
        if text.len() as u64 > MOST_BYTES {
            let problem = format!("{} bytes, and at most {MOST_BYTES} are written", text.len());
            return Err(unusable(&path, problem));
        }
        write(&path, &text)
    }

    /// What was saved of an interface by a process that was killed; `None` where there is no file.
    ///
    /// - **Errors**: the file cannot be read, or is not to be trusted.
    pub(crate) fn kept_saved(&self, index: u32) -> Result<Option<SavedTree>, KernelFailure> {
        let (path, system) = self.saved_path(index)?;
        let Some(text) = read(&path)? else { return Ok(None) };
        let text = std::str::from_utf8(&text).map_err(|error| unusable(&path, error))?;
        let file: SavedFile = serde_json::from_str(text).map_err(|error| unusable(&path, error))?;
        if file.gqos_saved_root != VERSION {
            return Err(unusable(&path, format!("it has version {}", file.gqos_saved_root)));
        }
        if (file.index, &file.system) != (index, &system) {
            return Err(unusable(&path, "it is of another run of the machine, or of another interface"));
        }
        let root = ForeignRoot { kind: file.kind, handle: file.handle };
        SavedTree::of_objects(root, index, file.objects).map(Some).map_err(|problem| unusable(&path, problem))
    }

    /// Removes the file of an interface: what was saved is restored, or of no use any more.
    pub fn forget_saved(&self, index: u32) {
        if let Ok((path, _)) = self.saved_path(index) {
            // There is none as a rule.
            let _ = fs::remove_file(path);
        }
    }

    /// The file of an interface, and what tells this machine and namespace from others.
    fn saved_path(&self, index: u32) -> Result<(PathBuf, String), KernelFailure> {
        let namespace = self.namespace_id()?;
        let path = Path::new(RUNTIME_DIRECTORY).join(format!("root-{namespace}-{index}.json"));
        Ok((path, format!("{}/{namespace}", boot_id()?)))
    }
}

/// Replaces a file as a whole. Other users do not read it.
fn write(path: &Path, text: &[u8]) -> Result<(), KernelFailure> {
    let new = path.with_extension("new");
    let failed = |call: &'static str| {
        let object = new.display().to_string();
        move |error| KernelCall(call).failed(object.clone(), error)
    };
    let directory = path.parent().unwrap_or(path);
    // The confined daemon makes none.
    if !directory.is_dir() {
        let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(directory);
        made.map_err(|error| KernelCall("mkdir").failed(directory.display().to_string(), error))?;
    }
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed("unlink")(error)),
        _ => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new);
    let mut file = file.map_err(failed("open"))?;
    let written = file.write_all(text).map_err(failed("write"));
    let renamed = written.and_then(|()| fs::rename(&new, path).map_err(failed("rename")));
    if renamed.is_err() {
        // Nothing reads it.
        let _ = fs::remove_file(&new);
    }
    renamed
}

/// The contents of a file that this user alone may write; `None` where there is none.
fn read(path: &Path) -> Result<Option<Vec<u8>>, KernelFailure> {
    let failed = |error| KernelCall("open").failed(path.display().to_string(), error);
    // Neither a link of another user nor a queue that nothing fills.
    let opened = OpenOptions::new().read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path);
    let file: File = match opened {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    let is = file.metadata().map_err(failed)?;
    let of_others = is.permissions().mode() & Permissions::from_mode(0o022).mode();
    // The directory is the daemon's, which root or the service manager has made.
    let directory = path.parent().and_then(|directory| fs::metadata(directory).ok());
    let trusted = [Some(geteuid().as_raw()), Some(0), directory.map(|directory| directory.uid())];
    let is_trusted = trusted.contains(&Some(is.uid()));
    if !is.is_file() || !is_trusted || of_others != 0 {
        return Err(unusable(path, "it is not a file that the daemon's user alone may write"));
    }
    let mut text = Vec::new();
    let read = file.take(MOST_BYTES + 1).read_to_end(&mut text);
    read.map_err(|error| KernelCall("read").failed(path.display().to_string(), error))?;
    match text.len() as u64 > MOST_BYTES {
        true => Err(unusable(path, format!("it has more than {MOST_BYTES} bytes"))),
        false => Ok(Some(text)),
    }
}

fn unusable(path: &Path, problem: impl std::fmt::Display) -> KernelFailure {
    KernelCall("read").unexpected(path.display().to_string(), AnswerProblem::described(problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_read_where_this_user_alone_may_write_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("root-1-2.json");
        assert_eq!(read(&path), Ok(None));
        fs::write(path.with_extension("new"), "of a process that was killed").unwrap();
        for text in [&b"first"[..], b"second"] {
            write(&path, text).unwrap();
            assert_eq!(read(&path), Ok(Some(text.to_vec())));
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let check = |problem: &str| {
            let failure = read(&path).unwrap_err().to_string();
            assert!(failure.contains(problem), "{failure}");
        };
        fs::set_permissions(&path, Permissions::from_mode(0o620)).unwrap();
        check("not a file that the daemon's user alone may write");
        File::create(&path).unwrap().set_len(MOST_BYTES + 1).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        check("more than 4194304 bytes");
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        check("ELOOP");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        check("not a file that the daemon's user alone may write");
    }
}
