//! Changes in directories, by inotify.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::unix::AsyncFd;

use crate::failure::{KernelCall, KernelFailure};

/// Wakes when a file in one of several directories was written, replaced, made or removed.
pub struct FileWatch {
    inotify: Inotify,
    /// A second descriptor of the same instance, for the runtime.
    readable: AsyncFd<OwnedFd>,
}

/// A file counts as written once it is closed: what is half written is not read.
const WRITTEN: AddWatchFlags = AddWatchFlags::IN_CLOSE_WRITE
    .union(AddWatchFlags::IN_MOVED_FROM)
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(AddWatchFlags::IN_CREATE)
    .union(AddWatchFlags::IN_DELETE);

impl FileWatch {
    /// A watch of no directory yet, on the calling task's runtime.
    ///
    /// - **Errors**: `inotify_init1` or `fcntl`.
    /// - **Source**: inotify(7).
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new() -> Result<Self, KernelFailure> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)
            .map_err(|error| KernelCall("inotify_init1").failed("a watch of files", error))?;
        let failure = |error| KernelCall("fcntl").failed("inotify", error);
        let descriptor = inotify.as_fd().try_clone_to_owned().map_err(failure)?;
        // SAFETY: an `OwnedFd` always gives the same descriptor, and keeps it open as long as it lives.
        let readable = unsafe { AsyncFd::register(descriptor) };
        Ok(Self { inotify, readable: readable.map_err(|error| failure(error.into()))? })
    }

    /// Watches a directory from now on; one that is watched already is watched once.
    ///
    /// - **Errors**: `inotify_add_watch`, for instance ENOSPC where the user watches as much as it may.
    pub fn add(&self, directory: &Path) -> Result<(), KernelFailure> {
        let added = self.inotify.add_watch(directory, WRITTEN);
        added
            .map(drop)
            .map_err(|error| KernelCall("inotify_add_watch").failed(directory.display().to_string(), error))
    }

    /// Waits for changes; all of those that are reported by then count as one.
    ///
    /// - **Errors**: `read`.
    pub async fn changed(&self) -> Result<(), KernelFailure> {
        loop {
            let ready = self.readable.readable().await;
            let mut ready = ready.map_err(|error| KernelCall("epoll_wait").failed("inotify", error))?;
            let mut is_changed = false;
            loop {
                match self.inotify.read_events() {
                    Ok(_) => is_changed = true,
                    Err(Errno::EAGAIN) => break,
                    Err(error) => return Err(KernelCall("read").failed("inotify", error)),
                }
            }
            ready.clear_ready();
            if is_changed {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn what_is_written_and_replaced_in_a_directory_wakes_the_watch() {
        let directory = tempfile::tempdir().unwrap();
        let watch = FileWatch::new().unwrap();
        watch.add(directory.path()).unwrap();
        watch.add(directory.path()).unwrap();
        let quiet = tokio::time::timeout(Duration::from_millis(50), watch.changed()).await;
        assert!(quiet.is_err(), "nothing has changed");
        let [first, second] = ["a", "b"].map(|name| directory.path().join(name));
        std::fs::write(&first, "1").unwrap();
        watch.changed().await.unwrap();
        std::fs::rename(&first, &second).unwrap();
        watch.changed().await.unwrap();
        std::fs::remove_file(&second).unwrap();
        watch.changed().await.unwrap();
        let absent = watch.add(&directory.path().join("absent")).unwrap_err();
        assert_eq!(absent.call, "inotify_add_watch");
    }
}
