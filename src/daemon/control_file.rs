//! The file of the control socket: made so that it is never there without its permissions, replaced where no daemon
//! serves it any more, and removed at the end.

use std::fs::{self, File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use super::error::DaemonError;
use crate::failure::KernelCall;

/// The control socket, listening. Dropped, it removes its file.
pub(super) struct ControlFile {
    pub(super) listener: UnixListener,
    path: PathBuf,
    /// The number of the file, which another daemon's has not.
    inode: u64,
    /// Held for its lock, which ends with the process.
    _lock: File,
}

/// Every user may connect: what a user may do is decided by its credentials.
const MODE: u32 = 0o666;

impl ControlFile {
    /// Listens at a path, whose directory is made where it is missing.
    ///
    /// - **Errors**: another daemon serves it; a file that is not a socket has the name; the kernel's.
    pub(super) fn listen(path: &Path) -> Result<Self, DaemonError> {
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            fs::create_dir_all(directory).map_err(failed("mkdir", directory))?;
        }
        // Two daemons that start at the same moment: the lock decides, and a killed process leaves none.
        let lock_path = beside(path, ".lock");
        let lock =
            File::options().create(true).append(true).open(&lock_path).map_err(failed("open", &lock_path))?;
        let served = || DaemonError::AlreadyServed { socket: path.to_owned() };
        if lock.try_lock().is_err() {
            return Err(served());
        }
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed("stat", path)(error)),
            Ok(file) if !file.file_type().is_socket() => {
                return Err(DaemonError::NotASocket { socket: path.to_owned() });
            }
            // A daemon whose lock file was removed.
            Ok(_) if UnixStream::connect(path).is_ok() => return Err(served()),
            Ok(_) => {}
        }
        // Renamed into its place once it has its permissions.
        let new = beside(path, ".new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed("unlink", &new)(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&new).map_err(failed("bind", &new))?;
        fs::set_permissions(&new, Permissions::from_mode(MODE)).map_err(failed("chmod", &new))?;
        let inode = fs::symlink_metadata(&new).map_err(failed("stat", &new))?.ino();
        fs::rename(&new, path).map_err(failed("rename", path))?;
        Ok(Self { listener, path: path.to_owned(), inode, _lock: lock })
    }
}

impl Drop for ControlFile {
    fn drop(&mut self) {
        let is_own = fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode);
        if is_own {
            // The directory may be gone already.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn failed<'a>(call: &'a str, path: &'a Path) -> impl Fn(std::io::Error) -> DaemonError + 'a {
    move |error| KernelCall(call).failed(path.display().to_string(), error).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/gqos.sock");
        let first = ControlFile::listen(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        assert!(matches!(ControlFile::listen(&path), Err(DaemonError::AlreadyServed { .. })));
        assert!(UnixStream::connect(&path).is_ok(), "it is served as before");
        drop(first);
        assert!(!path.exists(), "a daemon that ends removes its socket");
        // What a killed daemon leaves.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let second = ControlFile::listen(&path).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
        drop(second);
        // A daemon without its lock file.
        let _live = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(matches!(ControlFile::listen(&path), Err(DaemonError::AlreadyServed { .. })));
    }

    #[tokio::test]
    async fn a_file_of_another_kind_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let [path, target] = ["gqos.sock", "other"].map(|name| directory.path().join(name));
        fs::write(&path, "mine").unwrap();
        assert!(matches!(ControlFile::listen(&path), Err(DaemonError::NotASocket { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        fs::remove_file(&path).unwrap();
        fs::write(&target, "theirs").unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        assert!(matches!(ControlFile::listen(&path), Err(DaemonError::NotASocket { .. })), "a planted link");
        assert_eq!(fs::read_to_string(&target).unwrap(), "theirs");
    }
}
