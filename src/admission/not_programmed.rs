//! Why an interface has no tree in the kernel.

use serde::{Deserialize, Serialize};

use crate::failure::KernelFailure;
use crate::kernel::{ClaimHolder, Differences, Handle};

/// Why traffic control is not programmed on an interface: reservations there are enforced in user space alone.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NotProgrammed {
    /// The interface has `enforcement = "user-space"`.
    #[error("the policy says enforcement = \"user-space\"")]
    PolicySaysUserSpace,
    /// Another program's qdisc is at the root. It is never replaced.
    #[error("the root qdisc ({kind} {handle}) is not gqos's and is left alone")]
    ForeignRoot {
        /// The kind of qdisc, as in `tc qdisc show`.
        kind: String,
        /// `major:`; zero for a qdisc that the kernel has made.
        handle: Handle,
    },
    /// Another program's qdisc is at the root. The policy says `takeover = true`, and the qdisc could not be restored.
    #[error(
        "the root qdisc ({kind} {handle}) is not gqos's, and {part} could not be restored: it is left alone"
    )]
    ForeignRootNotSavable {
        /// The kind of qdisc, as in `tc qdisc show`.
        kind: String,
        /// `major:`; zero for a qdisc that the kernel has made.
        handle: Handle,
        /// The part of its tree that a dump does not describe as a whole: `its red 10:`.
        part: String,
    },
    /// The interface is a VRF. A flow has its class on the interface in it by which its packets leave.
    #[error("it is a VRF, whose packets leave by the interfaces in it")]
    Vrf,
    /// Another running gqos has claimed the interface.
    #[error("another gqos manages the interface: {holder}")]
    Taken {
        /// Its process and command.
        holder: ClaimHolder,
    },
    /// The tree's rates follow from the capacity, which is unknown.
    #[error("the capacity is \"auto\" and the kernel reports no link speed")]
    CapacityUnknown,
    /// The kernel has not answered yet.
    #[error("the tree is being set up")]
    Preparing,
    /// The kernel's tree is not as it was programmed.
    #[error("the tree was changed and is being repaired: {found}")]
    Repairing {
        /// The differences from the tree that was programmed.
        found: Differences,
    },
    /// Another program's qdisc has what the interface receives. It is never replaced.
    #[error("the {kind} qdisc is not gqos's and is left alone")]
    ForeignIngress {
        /// The kind of qdisc, as in `tc qdisc show`.
        kind: String,
    },
    /// As many flows have a class of their own as may have one.
    #[error("{limit} flows of the interface have a class, which is the limit")]
    ClassesInUse {
        /// How many there may be.
        limit: u16,
    },
    /// The members of a group share a reservation, for which there is no class on the receiving side.
    #[error("the flow's group shares one reservation, which has no class for what is received")]
    GroupSharesReservation,
    /// The flow gets its class when the reservation begins.
    #[error("the reservation begins later")]
    BeginsLater,
    /// The flow is reserved by the daemon, which makes no class for what its clients receive.
    #[error("the daemon makes no class for what its clients receive")]
    ClientOfDaemon,
    /// The flow is reserved by the daemon, and its datagrams leave by a socket of several flows.
    #[error("the daemon cannot distinguish the flows of a shared socket")]
    SharedSocket,
    /// As many requests wait for the interface as may wait.
    #[error("{limit} requests wait for the interface, which is the limit")]
    TooManyRequests {
        /// How many there may be.
        limit: usize,
    },
    /// The interface does not exist any more.
    #[error("the interface is gone")]
    Gone,
    /// No engine has looked at the interface.
    #[error("the interface has not been seen")]
    NotSeen,
    /// A request to the kernel failed, and what it belonged to was undone.
    #[error("{0}")]
    Kernel(KernelFailure),
}

impl From<KernelFailure> for NotProgrammed {
    fn from(failure: KernelFailure) -> Self {
        Self::Kernel(failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{Cause, KernelCall};
    use crate::kernel::Difference;
    use flowspec::Errno;

    #[track_caller]
    fn check(why: NotProgrammed, text: &str) {
        assert_eq!(why.to_string(), text);
        let json = serde_json::to_string(&why).unwrap_or_default();
        assert_eq!(serde_json::from_str::<NotProgrammed>(&json).ok(), Some(why), "{json}");
    }

    #[test]
    fn each_reason_has_a_text_and_survives_json() {
        check(NotProgrammed::PolicySaysUserSpace, "the policy says enforcement = \"user-space\"");
        check(
            NotProgrammed::ForeignRoot { kind: "htb".into(), handle: Handle::qdisc(1) },
            "the root qdisc (htb 1:) is not gqos's and is left alone",
        );
        check(
            NotProgrammed::Taken { holder: ClaimHolder { pid: Some(7), command: "gqos demo".into() } },
            "another gqos manages the interface: process 7, gqos demo",
        );
        check(
            NotProgrammed::CapacityUnknown,
            "the capacity is \"auto\" and the kernel reports no link speed",
        );
        check(NotProgrammed::Vrf, "it is a VRF, whose packets leave by the interfaces in it");
        check(NotProgrammed::Preparing, "the tree is being set up");
        let class = Handle::qdisc(0x6771).class(0x100);
        let found = Differences::one(Difference::ClassMissing { class });
        check(
            NotProgrammed::Repairing { found },
            "the tree was changed and is being repaired: class 6771:100 is missing",
        );
        check(NotProgrammed::Gone, "the interface is gone");
        check(NotProgrammed::NotSeen, "the interface has not been seen");
        let failure = KernelCall("RTM_NEWQDISC").failed("eth0 6771:", Cause::from(Errno::EPERM));
        check(failure.into(), "RTM_NEWQDISC (eth0 6771:): Operation not permitted (EPERM)");
    }
}
