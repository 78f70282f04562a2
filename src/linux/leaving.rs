//! Flows of other programs' sockets: filters at the root of a tree, by addresses and ports.

use super::netlink::Netlink;
use crate::failure::KernelFailure;
use crate::tc::{Handle, Leaving, PlacedFilter, TooMany, leaving_tables};

impl Netlink {
    /// Prepares the tree of an interface for [`classify_flow`](Self::classify_flow): once for each tree.
    ///
    /// - **Errors**: the kernel's; EEXIST where that was done before.
    pub async fn prepare_flow_filters(&self, index: u32) -> Result<(), KernelFailure> {
        let tables = leaving_tables().map_err(|error| KernelFailure::not_expressible("u32", error))?;
        for filter in tables {
            self.add_filter(index, &filter).await?;
        }
        Ok(())
    }

    /// Sends the packets of a flow to a class from now on, whose socket is another program's.
    ///
    /// The kernel does not delete a class to which a filter leads: [`release_flow`](Self::release_flow) comes first.
    ///
    /// - **Errors**: the kernel's, or a class that is no flow's own.
    pub async fn classify_flow(&self, index: u32, flow: Leaving, class: Handle) -> Result<(), KernelFailure> {
        self.add_filter(index, &filter(flow, class)?).await
    }

    /// Undoes [`classify_flow`](Self::classify_flow).
    ///
    /// - **Errors**: the kernel's, or a class that is no flow's own.
    pub async fn release_flow(&self, index: u32, flow: Leaving, class: Handle) -> Result<(), KernelFailure> {
        self.delete_filter(index, &filter(flow, class)?).await
    }
}

fn filter(flow: Leaving, class: Handle) -> Result<PlacedFilter, KernelFailure> {
    let object = || format!("tc filter for class {class}");
    match flow.filter(class) {
        Some(filter) => filter.map_err(|error: TooMany| KernelFailure::not_expressible(object(), error)),
        None => Err(KernelFailure::not_expressible(object(), "it is no class of one flow")),
    }
}
