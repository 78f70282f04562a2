//! Network namespaces without names: they live as long as they are held, and leave nothing behind when a process is
//! killed.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;

use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{Gid, Uid, getegid, geteuid};

use crate::failure::{AnswerProblem, KernelCall, KernelFailure};

/// A network namespace, held open.
#[derive(Debug)]
pub struct Namespace(File);

impl Namespace {
    /// A new, empty namespace. The calling thread stays in its own.
    ///
    /// - **Errors**: `unshare`, which needs CAP_SYS_ADMIN.
    pub fn new() -> Result<Self, KernelFailure> {
        let made = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)
                .map_err(|errno| KernelCall("unshare").failed("CLONE_NEWNET", errno))?;
            Self::current()
        });
        made.join()
            .map_err(|_| KernelCall("unshare").unexpected("CLONE_NEWNET", AnswerProblem::ThreadPanicked))?
    }

    /// The namespace of the calling thread.
    ///
    /// - **Errors**: `open`.
    pub fn current() -> Result<Self, KernelFailure> {
        let path = "/proc/thread-self/ns/net";
        File::open(path).map(Self).map_err(|error| KernelCall("open").failed(path, error))
    }

    /// The same namespace, held once more.
    ///
    /// - **Errors**: `dup`.
    pub fn duplicate(&self) -> Result<Self, KernelFailure> {
        self.0.try_clone().map(Self).map_err(|error| KernelCall("dup").failed("network namespace", error))
    }

    /// Moves the calling thread into the namespace. Sockets belong to the namespace of the thread
    /// that opened them.
    ///
    /// - **Errors**: `setns`.
    pub fn enter(&self) -> Result<(), KernelFailure> {
        setns(&self.0, CloneFlags::CLONE_NEWNET)
            .map_err(|errno| KernelCall("setns").failed("network namespace", errno))
    }
}

impl Namespace {
    /// Calls `open` on a thread that is in the namespace: this one, where it is.
    ///
    /// - **Errors**: `setns`, which needs CAP_SYS_ADMIN.
    pub(super) fn within<T: Send>(&self, open: impl FnOnce() -> T + Send) -> Result<T, KernelFailure> {
        if Self::current().is_ok_and(|current| current.is(self)) {
            return Ok(open());
        }
        let entered = || self.enter().map(|()| open());
        let opened = std::thread::scope(|threads| threads.spawn(entered).join());
        opened
            .map_err(|_| KernelCall("setns").unexpected("network namespace", AnswerProblem::ThreadPanicked))?
    }

    /// The number of the namespace, as in `/proc`.
    ///
    /// - **Errors**: `fstat`.
    pub(super) fn number(&self) -> Result<u64, KernelFailure> {
        let file = self.0.metadata();
        file.map(|file| file.ino()).map_err(|error| KernelCall("fstat").failed("network namespace", error))
    }

    /// Whether both are the same namespace.
    fn is(&self, other: &Self) -> bool {
        let number = |namespace: &Self| namespace.0.metadata().map(|file| (file.dev(), file.ino()));
        matches!((number(self), number(other)), (Ok(this), Ok(that)) if this == that)
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The number of the calling thread, as in `/proc`.
pub fn thread_id() -> i32 {
    nix::unistd::gettid().as_raw()
}

/// Whether this process has CAP_SYS_ADMIN, which it needs for new network namespaces.
pub fn may_unshare() -> bool {
    const CAP_SYS_ADMIN: u32 = 21;
    has_capability(CAP_SYS_ADMIN)
}

/// Whether this process has CAP_NET_RAW.
pub fn has_net_raw() -> bool {
    const CAP_NET_RAW: u32 = 13;
    has_capability(CAP_NET_RAW)
}

/// Whether the capability of this number is effective. Source: capabilities(7), proc(5).
fn has_capability(number: u32) -> bool {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    effective.is_some_and(|set| set >> number & 1 == 1)
}

/// Makes this process root of a user namespace of its own, where it may make network namespaces.
///
/// Must be called before the process has a second thread.
///
/// - **Errors**: `unshare` where the kernel or the administrator forbids it, `write` of the maps.
pub fn become_root() -> Result<(), KernelFailure> {
    let (uid, gid): (Uid, Gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER)
        .map_err(|errno| KernelCall("unshare").failed("CLONE_NEWUSER", errno))?;
    let maps = [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("0 {uid} 1")),
        ("/proc/self/gid_map", format!("0 {gid} 1")),
    ];
    for (path, text) in maps {
        std::fs::write(path, text).map_err(|error| KernelCall("write").failed(path, error))?;
    }
    Ok(())
}
