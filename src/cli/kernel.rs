//! Commands that read or change the kernel's state.

use anyhow::{Context, anyhow};
use gqos::failure::KernelFailure;
use gqos::linux::Netlink;

use super::failure::{CommandFailure, Exit};

/// Runs work that needs a connection to rtnetlink.
pub(super) fn with_netlink<T>(
    work: impl AsyncFnOnce(Netlink) -> Result<T, CommandFailure>,
) -> Result<T, CommandFailure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.context("tokio runtime").map_err(|error| CommandFailure::new(Exit::OsError, error))?;
    runtime.block_on(async {
        let netlink = Netlink::open().map_err(|failure| refused(failure, "rtnetlink"))?;
        work(netlink).await
    })
}

/// A failure of the kernel, with what its privilege is needed for.
pub(super) fn refused(failure: KernelFailure, need: &str) -> CommandFailure {
    match failure.is_permission() {
        true => CommandFailure::new(Exit::NoPrivilege, anyhow!("{failure}").context(need.to_owned())),
        false => CommandFailure::new(Exit::OsError, failure),
    }
}
