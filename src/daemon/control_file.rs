//! The control socket and its file.

use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;

use tokio::net::UnixListener;

use super::error::DaemonStartError;
use super::socket_file::SocketFile;
use crate::failure::KernelCall;

/// The control socket, listening. Dropped, it removes its file.
pub(super) struct ControlFile {
    pub(super) listener: UnixListener,
    /// `None` where the service manager has made the file, and keeps it.
    _file: Option<SocketFile>,
}

/// Every user may connect: what a user may do is decided by its credentials.
const MODE: u32 = 0o666;

impl ControlFile {
    /// Listens at a path, whose directory is made where it is missing.
    ///
    /// - **Errors**: another daemon serves it; a file that is not a socket has the name; the kernel's.
    pub(super) fn listen(path: &Path) -> Result<Self, DaemonStartError> {
        let (listener, file) = SocketFile::listen(path, MODE, "--socket")?;
        let failed = |error| KernelCall("epoll_ctl").failed(path.display().to_string(), error);
        let listener = UnixListener::from_std(listener).map_err(failed)?;
        Ok(Self { listener, _file: Some(file) })
    }

    /// A socket that the service manager listens on, and passes to one daemon after the other.
    ///
    /// - **Errors**: the kernel's.
    pub(super) fn passed(listener: StdListener, path: &Path) -> Result<Self, DaemonStartError> {
        let failed = |call| move |error| KernelCall(call).failed(path.display().to_string(), error);
        listener.set_nonblocking(true).map_err(failed("fcntl"))?;
        let listener = UnixListener::from_std(listener).map_err(failed("epoll_ctl"))?;
        Ok(Self { listener, _file: None })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/gqos.sock");
        let first = ControlFile::listen(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        assert!(matches!(ControlFile::listen(&path), Err(DaemonStartError::AlreadyServed { .. })));
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
        assert!(matches!(ControlFile::listen(&path), Err(DaemonStartError::AlreadyServed { .. })));
    }

    #[tokio::test]
    async fn a_file_of_another_kind_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let [path, target] = ["gqos.sock", "other"].map(|name| directory.path().join(name));
        fs::write(&path, "mine").unwrap();
        assert!(matches!(ControlFile::listen(&path), Err(DaemonStartError::NotASocket { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        fs::remove_file(&path).unwrap();
        fs::write(&target, "theirs").unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        assert!(
            matches!(ControlFile::listen(&path), Err(DaemonStartError::NotASocket { .. })),
            "a planted link"
        );
        assert_eq!(fs::read_to_string(&target).unwrap(), "theirs");
    }
}
