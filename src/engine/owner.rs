//! The credentials of this process.

use crate::linux::ProcessOwner;
use crate::policy::Owner;

/// The effective user and group of this process, and its control group where `/proc` names it.
pub(super) fn of_this_process() -> Owner {
    let ProcessOwner { uid, gid, cgroup } = crate::linux::owner();
    Owner { uid: Some(uid), gid: Some(gid), cgroup }
}
