//! Capabilities of a thread.
//!
//! The kernel takes a process's capabilities when it gives up the user root. The reactor's thread keeps the one that
//! changes of the kernel's classes need.

use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc;

use super::errno::{Result, check};

/// Source: `linux/capability.h`.
const CAP_SETGID: u32 = 6;
const CAP_SETUID: u32 = 7;
const CAP_NET_ADMIN: u32 = 12;

/// Keeps capabilities when the user changes. Source: `linux/securebits.h`.
const SECBIT_NO_SETUID_FIXUP: libc::c_ulong = 1 << 2;

/// _LINUX_CAPABILITY_VERSION_3.
const VERSION: u32 = 0x2008_0522;

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    /// 0 is the calling thread.
    pid: i32,
}

/// Capabilities 0 to 31, or 32 to 63.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilitySets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// The calling thread keeps more than CAP_NET_ADMIN, for the process to change its user.
static KEEPS_MORE: AtomicBool = AtomicBool::new(false);

/// Has the calling thread keep CAP_NET_ADMIN when the process gives up the user root, and drops its other capabilities
/// now, except those by which all threads of a process change their user together. Where it may not do so it changes
/// nothing: the user of such a process has no capabilities to lose.
pub(crate) fn keep_network_capability() {
    // SAFETY: these calls take numbers.
    let bits = unsafe { libc::prctl(libc::PR_GET_SECUREBITS) };
    let Ok(bits) = libc::c_ulong::try_from(bits) else { return };
    // SAFETY: as above.
    if unsafe { libc::prctl(libc::PR_SET_SECUREBITS, bits | SECBIT_NO_SETUID_FIXUP) } != 0 {
        return;
    }
    let kept = restrict_to(1 << CAP_NET_ADMIN | 1 << CAP_SETUID | 1 << CAP_SETGID);
    KEEPS_MORE.store(kept.is_ok(), Ordering::Relaxed);
}

/// Whether the thread of [`keep_network_capability`] has to drop the rest, by [`drop_other_capabilities`]: the process
/// has given up the user root for good.
pub(crate) fn has_left_root() -> bool {
    if !KEEPS_MORE.load(Ordering::Relaxed) {
        return false;
    }
    let (mut real, mut effective, mut saved) = (0, 0, 0);
    // SAFETY: the kernel writes three numbers.
    let known = unsafe { libc::getresuid(&raw mut real, &raw mut effective, &raw mut saved) };
    known == 0 && real != 0 && effective != 0 && saved != 0
}

/// Leaves the calling thread CAP_NET_ADMIN alone.
pub(crate) fn drop_other_capabilities() {
    let kept = restrict_to(1 << CAP_NET_ADMIN);
    KEEPS_MORE.store(kept.is_err(), Ordering::Relaxed);
}

/// Drops all capabilities of the calling thread but these.
fn restrict_to(kept: u32) -> Result<()> {
    let header = CapabilityHeader { version: VERSION, pid: 0 };
    let mut sets = [CapabilitySets::default(); 2];
    // SAFETY: capget(2) with this version writes two sets.
    let read = unsafe { libc::syscall(libc::SYS_capget, &raw const header, sets.as_mut_ptr()) };
    check(i32::try_from(read).unwrap_or(-1))?;
    let low = sets[0].permitted & kept;
    let sets = [CapabilitySets { effective: low, permitted: low, inheritable: 0 }, CapabilitySets::default()];
    // SAFETY: capset(2) with this version reads two sets.
    let written = unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) };
    check(i32::try_from(written).unwrap_or(-1)).map(drop)
}
