//! The capabilities of a thread.

use nix::errno::Errno;
use nix::libc;

use super::super::process_option::set_process_option;
use crate::failure::{KernelCall, KernelFailure};

/// A capability that is kept somewhere. Source: `linux/capability.h`, capabilities(7).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Capability {
    /// Directories of other users; kept where one is used.
    DacOverride,
    /// Traffic control, marks of sockets, the ends of sockets, and the buffers of netlink.
    NetAdmin,
    /// Descriptors of processes of other users.
    SysPtrace,
}

impl Capability {
    pub(super) const ALL: [Self; 3] = [Self::DacOverride, Self::NetAdmin, Self::SysPtrace];

    const fn number(self) -> u32 {
        match self {
            Self::DacOverride => 1,
            Self::NetAdmin => 12,
            Self::SysPtrace => 19,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::DacOverride => "CAP_DAC_OVERRIDE",
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::SysPtrace => "CAP_SYS_PTRACE",
        }
    }
}

/// The capabilities of a thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Capabilities([Sets; 2]);

/// `struct __user_cap_header_struct`. Source: capget(2).
#[repr(C)]
struct Header {
    version: u32,
    pid: libc::c_int,
}

/// `struct __user_cap_data_struct`: of version 3 there are two, the low and the high half.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const VERSION_3: u32 = 0x2008_0522;

/// More than there are.
const CAPABILITIES: u32 = 64;

/// Takes every capability but these out of what an executed program could have, and all out of what one gets by itself.
///
/// - **Errors**: `prctl`; without CAP_SETPCAP the bounding set stays, and there is no program to be executed.
pub(super) fn drop_bounding(keep: &[Capability]) -> Result<(), KernelFailure> {
    let clear = libc::PR_CAP_AMBIENT_CLEAR_ALL.cast_unsigned();
    set_process_option(libc::PR_CAP_AMBIENT, clear.into(), "PR_CAP_AMBIENT_CLEAR_ALL")?;
    for number in (0..CAPABILITIES).filter(|number| keep.iter().all(|kept| kept.number() != *number)) {
        match set_process_option(libc::PR_CAPBSET_DROP, number.into(), "PR_CAPBSET_DROP") {
            Ok(()) => {}
            // The kernel has no more of them, or this process may not drop any.
            Err(failure) if failure.errno() == Some(flowspec::Errno::EINVAL) => break,
            Err(failure) if failure.errno() == Some(flowspec::Errno::EPERM) => break,
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}

impl Capabilities {
    /// Those of the calling thread.
    ///
    /// - **Errors**: `capget`.
    pub(super) fn of_thread() -> Result<Self, KernelFailure> {
        let mut header = Header { version: VERSION_3, pid: 0 };
        let mut sets = [Sets::default(); 2];
        // SAFETY: the header and the two sets are valid for reads and writes.
        let got = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) };
        Errno::result(got).map_err(|errno| KernelCall("capget").failed("this thread", errno))?;
        Ok(Self(sets))
    }

    /// Makes these effective, of those that are permitted, and no others; none is given up.
    ///
    /// - **Errors**: `capset`.
    pub(super) fn effective(self, capabilities: &[Capability]) -> Result<(), KernelFailure> {
        let permitted = self.0[0].permitted;
        // The high half is given up with this: nothing in it is kept.
        self.change(Sets { effective: set_of(capabilities) & permitted, permitted, inheritable: 0 })
    }

    /// Gives up all but these.
    ///
    /// - **Errors**: `capset`.
    pub(super) fn keep(self, keep: &[Capability]) -> Result<(), KernelFailure> {
        let left = set_of(keep) & self.0[0].permitted;
        self.change(Sets { effective: left, permitted: left, inheritable: 0 })
    }

    /// A service manager that allows no more may have forbidden the call as well.
    fn change(self, low: Sets) -> Result<(), KernelFailure> {
        let [held, high] = self.0;
        let is_held = (held.effective, held.permitted) == (low.effective, low.permitted);
        if is_held && high.permitted == 0 { Ok(()) } else { set(low) }
    }

    /// The names of what is permitted; `others` stands for those that are kept nowhere.
    pub(super) fn names(self) -> Vec<&'static str> {
        let [Sets { permitted, .. }, high] = self.0;
        let known = Capability::ALL.into_iter().filter(|capability| permitted & set_of(&[*capability]) != 0);
        let mut names: Vec<_> = known.map(Capability::name).collect();
        if permitted & !set_of(&Capability::ALL) != 0 || high.permitted != 0 {
            names.push("others");
        }
        names
    }
}

fn set_of(capabilities: &[Capability]) -> u32 {
    capabilities.iter().fold(0, |set, capability| set | 1 << capability.number())
}

fn set(low: Sets) -> Result<(), KernelFailure> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let sets = [low, Sets::default()];
    // SAFETY: the header is valid for reads and writes, and the two sets for reads.
    let set = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, sets.as_ptr()) };
    Errno::result(set).map(drop).map_err(|errno| KernelCall("capset").failed("this thread", errno))
}
