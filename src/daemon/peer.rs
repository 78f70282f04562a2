//! The client of a connection, by the credentials that the kernel recorded.

use tokio::net::UnixStream;

use crate::failure::KernelFailure;
use crate::linux::LocalPeer;
use crate::policy::Owner;

/// The process at the other end of a connection, as it was when it connected.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) uid: u32,
    /// `None` where it is in another PID namespace.
    pub(super) pid: Option<u32>,
    /// What the policy's classes are matched against.
    pub(super) owner: Owner,
    /// Whether it may call administrative methods, and sees every flow.
    pub(super) is_administrator: bool,
}

impl Peer {
    /// The client of a connection, which may administrate if it is root, the daemon's own user, or in this group.
    ///
    /// - **Errors**: `getsockopt`.
    pub(super) fn of(stream: &UnixStream, administrators: Option<u32>) -> Result<Self, KernelFailure> {
        let peer = LocalPeer::of(stream)?;
        let in_group = |group| peer.gid == group || peer.groups().contains(&group);
        let is_administrator =
            peer.uid == 0 || peer.uid == crate::linux::owner().uid || administrators.is_some_and(in_group);
        let owner = Owner { uid: Some(peer.uid), gid: Some(peer.gid), cgroup: peer.cgroup() };
        Ok(Self { uid: peer.uid, pid: peer.pid, owner, is_administrator })
    }
}
