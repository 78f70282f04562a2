//! `gqos test --lab`: measures `transfer` steps on a private network.

use anyhow::anyhow;
use flowspec::{Direction, Rate};
use gqos::failure::KernelFailure;
use gqos::lab;
use gqos::linux::namespace;
use gqos::policy::{Budget, Capacity};
use gqos::scenario::{Laboratory, TransferFailure, TransferRequest};

use crate::cli::failure::{CommandFailure, Exit};

/// Two hosts and a wire, created for each transfer.
pub(super) struct PrivateNetwork;

impl PrivateNetwork {
    /// Makes sure that a private network can be created, before any test is run.
    pub(super) fn prepare() -> Result<Self, CommandFailure> {
        // Only a process with a single thread may enter a user namespace.
        if !namespace::may_unshare() {
            namespace::become_root().map_err(failure)?;
        }
        lab::Site::new("probe").map(drop).map_err(failure)?;
        Ok(Self)
    }
}

fn failure(error: KernelFailure) -> CommandFailure {
    let exit = if error.is_permission() { Exit::NoPrivilege } else { Exit::OsError };
    let error = anyhow!("{error}").context(
        "--lab needs CAP_SYS_ADMIN and CAP_NET_ADMIN (root, or an unprivileged user namespace); without it everything but transfers is tested",
    );
    CommandFailure::new(exit, error)
}

impl Laboratory for PrivateNetwork {
    fn transfer(&mut self, request: &TransferRequest) -> Result<Rate, TransferFailure> {
        let TransferRequest { policy, interface, capacity, class, qos, duration, bytes } = request.clone();
        let known = policy.interface(&interface).cloned();
        let mut interface = known.ok_or(TransferFailure::UnknownInterface { interface })?;
        // The link is that of the private network, with the capacity that the interface has at this step.
        for direction in Direction::BOTH {
            let budget = interface.budgets.get_mut(direction);
            *budget = Budget { capacity: Capacity::Rate(capacity), ..*budget };
        }
        (interface.takeover, interface.mtu) = (false, None);
        let transfer =
            lab::transfer::MeasuredTransfer { interface, capacity, policy, class, qos, duration, bytes };
        lab::transfer::measure(&transfer).map_err(|error| TransferFailure::Network(Box::new(error)))
    }
}
