//! Whose this process is.

use nix::unistd::{getegid, geteuid};

/// The effective user and group of this process, and its control group where the unified hierarchy says.
///
/// Source: credentials(7), cgroups(7): `/proc/self/cgroup`, the line of hierarchy 0.
pub fn owner() -> (u32, u32, Option<String>) {
    // A process without /proc has no control group that anybody could name.
    let cgroups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let unified = cgroups.lines().find_map(|line| line.strip_prefix("0::"));
    (geteuid().as_raw(), getegid().as_raw(), unified.map(str::to_owned))
}
