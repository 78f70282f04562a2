//! The file of a socket: made so that it is never there without its permissions, replaced where no daemon serves it any
//! more, and removed at the end.

use std::fs::{self, File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::error::DaemonStartError;
use crate::failure::KernelCall;

/// The file of a socket that listens. Dropped, it is removed.
pub(super) struct SocketFile {
    path: PathBuf,
    /// The number of the file, which another daemon's has not.
    inode: u64,
    /// Held for its lock, which ends with the process.
    _lock: File,
}

impl SocketFile {
    /// Listens at a path, whose directory is made where it is missing. The socket does not block. `option` is the one of the
    /// command that chooses the path.
    ///
    /// - **Errors**: another daemon serves it; a file that is not a socket has the name; the kernel's.
    pub(super) fn listen(
        path: &Path,
        mode: u32,
        option: &'static str,
    ) -> Result<(UnixListener, Self), DaemonStartError> {
        let new = beside(path, ".new");
        // A path that is too long leaves nothing behind.
        SocketAddr::from_pathname(&new).map_err(failed("bind", path))?;
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            fs::create_dir_all(directory).map_err(failed("mkdir", directory))?;
        }
        // Two daemons that start at the same moment: the lock decides, and a killed process leaves none.
        let lock_path = beside(path, ".lock");
        let lock = File::options()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(failed("open", &lock_path))?;
        let served = || DaemonStartError::AlreadyServed { socket: path.to_owned(), option };
        // One that an earlier version has made: any user could open it, and hold the lock.
        lock.set_permissions(Permissions::from_mode(0o600)).map_err(failed("fchmod", &lock_path))?;
        if lock.try_lock().is_err() {
            return Err(served());
        }
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed("stat", path)(error)),
            Ok(file) if !file.file_type().is_socket() => {
                return Err(DaemonStartError::NotASocket { socket: path.to_owned(), option });
            }
            // A daemon whose lock file was removed.
            Ok(_) if UnixStream::connect(path).is_ok() => return Err(served()),
            Ok(_) => {}
        }
        // Renamed into its place once it has its permissions.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed("unlink", &new)(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&new).map_err(failed("bind", &new))?;
        fs::set_permissions(&new, Permissions::from_mode(mode)).map_err(failed("chmod", &new))?;
        let inode = fs::symlink_metadata(&new).map_err(failed("stat", &new))?.ino();
        fs::rename(&new, path).map_err(failed("rename", path))?;
        listener.set_nonblocking(true).map_err(failed("fcntl(O_NONBLOCK)", path))?;
        Ok((listener, Self { path: path.to_owned(), inode, _lock: lock }))
    }
}

impl Drop for SocketFile {
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

fn failed<'a>(call: &'a str, path: &'a Path) -> impl Fn(std::io::Error) -> DaemonStartError + 'a {
    move |error| KernelCall(call).failed(path.display().to_string(), error).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_too_long_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("below").join("s".repeat(200));
        assert!(SocketFile::listen(&path, 0o660, "--socket").is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
