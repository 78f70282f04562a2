//! The credentials of this process.

use nix::unistd::{Group, getegid, geteuid};

use crate::failure::{KernelCall, KernelFailure};

/// The credentials of this process, by which policies tell owners apart.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProcessOwner {
    /// The effective user.
    pub uid: u32,
    /// The effective group.
    pub gid: u32,
    /// The path of its control group in the unified hierarchy; `None` where `/proc` names none.
    pub cgroup: Option<String>,
}

/// The credentials of this process.
///
/// - **Source**: credentials(7); cgroups(7): `/proc/self/cgroup`, the line of hierarchy 0.
pub fn owner() -> ProcessOwner {
    // A process that cannot read /proc has no control group.
    let cgroups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let unified = cgroups.lines().find_map(|line| line.strip_prefix("0::"));
    ProcessOwner { uid: geteuid().as_raw(), gid: getegid().as_raw(), cgroup: unified.map(str::to_owned) }
}

/// The number of a group of the system; `None` where it has none of that name.
///
/// - **Errors**: `getgrnam_r`.
pub fn group_id(name: &str) -> Result<Option<u32>, KernelFailure> {
    let found = Group::from_name(name);
    let group = found.map_err(|errno| KernelCall("getgrnam_r").failed(name, errno))?;
    Ok(group.map(|group| group.gid.as_raw()))
}
