//! The files that a confined process opens, by landlock.
//!
//! Source: landlock(7), `linux/landlock.h`.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;

use crate::failure::{KernelCall, KernelFailure};

/// What a confined process goes on to open.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AllowedPaths {
    /// Directories below which files are read.
    pub read: Vec<PathBuf>,
    /// Directories below which files are made, written, renamed and removed as well.
    pub write: Vec<PathBuf>,
    /// The files below them that are read again by name.
    pub reread: Vec<PathBuf>,
}

/// What may be opened; in force once it is [restricted](Self::restrict).
pub(super) struct Ruleset {
    descriptor: OwnedFd,
    version: u32,
    /// The directories that cannot be opened, so that nothing below them can.
    skipped: Vec<KernelFailure>,
}

/// `struct landlock_ruleset_attr`.
#[repr(C)]
struct Handled {
    files: u64,
    network: u64,
    scoped: u64,
}

/// `struct landlock_path_beneath_attr`, which is packed.
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: i32,
}

/// LANDLOCK_ACCESS_FS_….
mod access {
    pub(super) const WRITE_FILE: u64 = 1 << 1;
    pub(super) const READ_FILE: u64 = 1 << 2;
    pub(super) const READ_DIR: u64 = 1 << 3;
    pub(super) const REMOVE_FILE: u64 = 1 << 5;
    pub(super) const MAKE_REG: u64 = 1 << 8;
    pub(super) const TRUNCATE: u64 = 1 << 14;
}

const READ: u64 = access::READ_FILE | access::READ_DIR;
const WRITE: u64 = READ | access::WRITE_FILE | access::REMOVE_FILE | access::MAKE_REG | access::TRUNCATE;

/// How many kinds of access to files each version knows, from the first on.
const KINDS: [u32; 5] = [13, 14, 15, 15, 16];

/// LANDLOCK_ACCESS_NET_BIND_TCP and LANDLOCK_ACCESS_NET_CONNECT_TCP, from version 4 on.
const TCP: u64 = 0b11;

/// LANDLOCK_SCOPE_SIGNAL, from version 6 on. Abstract AF_UNIX names are not restricted: claims on interfaces are such.
const SIGNALS: u64 = 1 << 1;

/// LANDLOCK_RULE_PATH_BENEATH and LANDLOCK_CREATE_RULESET_VERSION.
const PATH_BENEATH: libc::c_long = 1;
const ASK_VERSION: libc::c_long = 1;

impl Ruleset {
    /// Allows what is below these directories. TCP and signals to other processes are not allowed at all.
    ///
    /// - **Errors**: `landlock_create_ruleset`: ENOSYS or EOPNOTSUPP where the kernel has no landlock.
    pub(super) fn of(allowed: &AllowedPaths) -> Result<Self, KernelFailure> {
        let version = version()?;
        let handled = handled(version);
        let failed =
            |errno| KernelCall("landlock_create_ruleset").failed(format!("version {version}"), errno);
        // A kernel takes a structure that is longer than its own as long as what it does not know is zero.
        // SAFETY: `handled` is valid for reads of its size.
        let made = unsafe {
            libc::syscall(libc::SYS_landlock_create_ruleset, &raw const handled, size_of::<Handled>(), 0)
        };
        let made = Errno::result(made).map_err(failed)?;
        // SAFETY: the kernel has made this descriptor for the caller.
        let descriptor = unsafe { OwnedFd::from_raw_fd(i32::try_from(made).unwrap_or(-1)) };
        let mut ruleset = Self { descriptor, version, skipped: Vec::new() };
        for (paths, access) in [(&allowed.read, READ), (&allowed.write, WRITE)] {
            for path in paths {
                match ruleset.allow(path, access & handled.files) {
                    Ok(()) => {}
                    // There is nothing to be opened below it.
                    Err(failure) if failure.errno() == Some(flowspec::Errno::ENOENT) => {}
                    Err(failure) => ruleset.skipped.push(failure),
                }
            }
        }
        Ok(ruleset)
    }

    fn allow(&mut self, path: &Path, access: u64) -> Result<(), KernelFailure> {
        let object = || path.display().to_string();
        let mut options = OpenOptions::new();
        let directory = options.read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(path);
        let directory: File = directory.map_err(|error| KernelCall("open").failed(object(), error))?;
        let rule = PathBeneath { allowed: access, parent: directory.as_raw_fd() };
        let ruleset = libc::c_long::from(self.descriptor.as_raw_fd());
        // SAFETY: the rule is valid for reads, and both descriptors are open.
        let added =
            unsafe { libc::syscall(libc::SYS_landlock_add_rule, ruleset, PATH_BENEATH, &raw const rule, 0) };
        Errno::result(added).map_err(|errno| KernelCall("landlock_add_rule").failed(object(), errno))?;
        Ok(())
    }

    /// Restricts the calling thread and those that it starts. The version of landlock, and what could not be allowed.
    ///
    /// - **Errors**: `landlock_restrict_self`.
    pub(super) fn restrict(self) -> Result<(u32, Vec<KernelFailure>), KernelFailure> {
        let ruleset = libc::c_long::from(self.descriptor.as_raw_fd());
        // SAFETY: the call takes numbers, and the descriptor is open.
        let restricted = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0) };
        Errno::result(restricted)
            .map_err(|errno| KernelCall("landlock_restrict_self").failed("this thread", errno))?;
        Ok((self.version, self.skipped))
    }
}

/// The version of landlock that the kernel has.
///
/// - **Errors**: `landlock_create_ruleset`: ENOSYS, or EOPNOTSUPP where it is not in use.
pub(super) fn version() -> Result<u32, KernelFailure> {
    let none = std::ptr::null::<Handled>();
    // SAFETY: with this flag the kernel reads nothing.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0, ASK_VERSION) };
    let version = Errno::result(version)
        .map_err(|errno| KernelCall("landlock_create_ruleset").failed("version", errno))?;
    Ok(u32::try_from(version).unwrap_or(0))
}

/// Everything that a kernel of this version can refuse.
fn handled(version: u32) -> Handled {
    let index = usize::try_from(version.saturating_sub(1)).unwrap_or(usize::MAX).min(KINDS.len() - 1);
    Handled {
        files: (1 << KINDS[index]) - 1,
        network: if version >= 4 { TCP } else { 0 },
        scoped: if version >= 6 { SIGNALS } else { 0 },
    }
}
