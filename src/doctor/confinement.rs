//! The confinement of the daemon: what the kernel offers for it, and what the daemon does without.

use flowspec::Errno;

use super::finding::{Finding, FindingState, Remedy};
use crate::failure::KernelFailure;
use crate::linux::ConfinementOffer;

const TOPIC: &str = "confinement";

/// What is said of landlock and of seccomp. No reservation depends on them.
pub(super) fn offer(offer: &ConfinementOffer) -> [Finding; 2] {
    [landlock(&offer.landlock), seccomp(&offer.seccomp)]
}

fn landlock(offered: &Result<u32, KernelFailure>) -> Finding {
    let finding = |found: String| Finding::ok(TOPIC, "landlock", found);
    match offered {
        Ok(version @ ConfinementOffer::NEWEST_LANDLOCK..) => finding(format!("version {version}")),
        Ok(version) => {
            let costs = match version {
                // Versions 2 and 3 have renames between directories, and truncation.
                ..4 => {
                    "gqos daemon may bind and connect TCP ports, and send signals to processes of its user"
                }
                _ => "gqos daemon may send signals to processes of its user",
            };
            let mend = "Linux 6.7 has version 4 (TCP), Linux 6.12 version 6 (signals)";
            finding(format!("version {version}")).with(FindingState::Note, Remedy { costs, mend })
        }
        Err(failure) => {
            let mend = match failure.errno() {
                Some(Errno::EOPNOTSUPP) => {
                    "add landlock to lsm= of the kernel's command line, or to CONFIG_LSM"
                }
                _ => "a kernel from Linux 5.13 on with CONFIG_SECURITY_LANDLOCK",
            };
            let costs = "gqos daemon may open every file that its user may, and bind and connect TCP ports";
            finding(failure.to_string()).with(FindingState::Note, Remedy { costs, mend })
        }
    }
}

fn seccomp(offered: &Result<(), KernelFailure>) -> Finding {
    let finding = |found: String| Finding::ok(TOPIC, "seccomp", found);
    match offered {
        Ok(()) => finding("filters of system calls".to_owned()),
        Err(failure) => {
            let costs = "gqos daemon may make every system call";
            let mend = "a kernel with CONFIG_SECCOMP_FILTER, on x86-64 or AArch64";
            finding(failure.to_string()).with(FindingState::Note, Remedy { costs, mend })
        }
    }
}
