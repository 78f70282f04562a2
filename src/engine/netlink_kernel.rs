//! The kernel of a network namespace as an engine uses it.

use std::collections::BTreeSet;

use super::kernel::{ClaimedRoot, Kernel, KernelFuture};
use crate::linux::{
    Claim, ClassState, KeptRoot, Link, LinkEvents, Netlink, NotSavable, ReceivingLinks, RouteEvents,
    RouteQuery, SavedTree,
};
use crate::manager::Root;
use crate::policy::device::device_name_fault;
use crate::tc::{
    Change, Desired, ForeignRoot, Handle, HtbRoot, OWN_ROOT, ObservedTree, Op, PlacedFilter, ReceivingChange,
    ReceivingState,
};

fn own_or_none(root: Option<HtbRoot>) -> Result<Option<HtbRoot>, ForeignRoot> {
    root.map(HtbRoot::own).transpose()
}

/// The same with the qdisc that a killed process had taken over, where nothing or gqos's own tree is in its place.
fn with_kept(netlink: &Netlink, index: u32, claimed: ClaimedRoot) -> ClaimedRoot {
    match &claimed.root {
        Root::Default | Root::Ours(_) | Root::Kept(_) => match netlink.kept_saved(index) {
            Ok(saved) => ClaimedRoot { saved, ..claimed },
            Err(failure) => {
                // It is reported once.
                netlink.forget_saved(index);
                ClaimedRoot { file_failure: Some(failure), ..claimed }
            }
        },
        // Another program has a qdisc there since.
        Root::Foreign { .. } => {
            netlink.forget_saved(index);
            claimed
        }
        _ => claimed,
    }
}

impl Kernel for Netlink {
    fn route(&self, query: RouteQuery) -> KernelFuture<Link> {
        let netlink = self.clone();
        Box::pin(async move {
            let route = Self::route(&netlink, query).await?;
            Self::link(&netlink, route.index).await
        })
    }

    fn routes_use_ports(&self) -> KernelFuture<bool> {
        let netlink = self.clone();
        Box::pin(async move { Self::routes_use_ports(&netlink).await })
    }

    fn watch_routes(&self) -> Option<RouteEvents> {
        Self::watch_routes(self).ok()
    }

    fn link(&self, name: &str) -> KernelFuture<Option<Link>> {
        let (netlink, name) = (self.clone(), name.to_owned());
        Box::pin(async move {
            // The kernel refuses to look for a name that is too long.
            if device_name_fault(&name).is_some() {
                return Ok(None);
            }
            match netlink.link_by_name(&name).await {
                Ok(link) => Ok(Some(link)),
                Err(failure) if failure.is_absent() => Ok(None),
                Err(failure) => Err(failure),
            }
        })
    }

    fn carrying_links(&self) -> KernelFuture<Vec<String>> {
        let netlink = self.clone();
        Box::pin(async move { netlink.carrying_links().await })
    }

    fn root(&self, index: u32) -> KernelFuture<ClaimedRoot> {
        let netlink = self.clone();
        Box::pin(async move {
            let claim = Claim::interface(index)?;
            let root = match (&claim, Self::root(&netlink, index).await?.root.own().and_then(own_or_none)) {
                (Err(holder), _) => Root::Taken { holder: holder.clone() },
                (Ok(_), Ok(None)) => Root::Default,
                (Ok(_), Ok(Some(root))) => Root::Ours(root),
                (Ok(_), Err(ForeignRoot { kind, handle })) => Root::Foreign { kind, handle },
            };
            Ok(with_kept(&netlink, index, ClaimedRoot::new(root, claim.ok())))
        })
    }

    fn kept_root(&self, index: u32) -> ClaimedRoot {
        let (root, claim) = match Claim::interface(index) {
            Ok(Ok(claim)) => (Root::Kept(OWN_ROOT), Some(claim)),
            Ok(Err(holder)) => (Root::Taken { holder }, None),
            Err(failure) => (Root::Unread { failure }, None),
        };
        with_kept(self, index, ClaimedRoot::new(root, claim))
    }

    fn take_over(&self, index: u32) -> KernelFuture<ClaimedRoot> {
        let netlink = self.clone();
        Box::pin(async move {
            let mut claimed = Kernel::root(&netlink, index).await?;
            if let Root::Foreign { kind, handle } = &claimed.root {
                let root = ForeignRoot { kind: kind.clone(), handle: *handle };
                match netlink.save(index, root).await? {
                    Ok(saved) => {
                        // A process that is killed from here on leaves the file.
                        let file_failure = netlink.keep_saved(index, &saved).err();
                        if let Err(failure) = netlink.delete_saved(index, &saved).await {
                            Self::forget_saved(&netlink, index);
                            return Err(failure);
                        }
                        claimed =
                            ClaimedRoot { root: Root::Default, saved: Some(saved), file_failure, ..claimed };
                    }
                    Err(NotSavable { part }) => {
                        claimed.root = Root::NotSavable { kind: kind.clone(), handle: *handle, part };
                    }
                }
            }
            Ok(claimed)
        })
    }

    fn restore(&self, index: u32, saved: SavedTree) -> KernelFuture<()> {
        let netlink = self.clone();
        Box::pin(async move { Self::restore(&netlink, index, &saved).await })
    }

    fn restore_at_exit(&self, index: u32, saved: &SavedTree) {
        // Nothing is left that could handle a failure.
        let _ = self.restore_blocking(index, saved);
    }

    fn forget_saved(&self, index: u32) {
        Self::forget_saved(self, index);
    }

    fn observe(&self, index: u32) -> Option<KernelFuture<Result<ObservedTree, ForeignRoot>>> {
        let netlink = self.clone();
        Some(Box::pin(async move {
            let observed = Self::observe_all(&netlink, index).await?;
            Ok(observed.and_then(ObservedTree::own))
        }))
    }

    fn sweep(&self, except: BTreeSet<u32>) -> KernelFuture<Vec<(String, KeptRoot)>> {
        let netlink = self.clone();
        Box::pin(async move {
            let mut restored = Vec::new();
            let receivers = netlink.receivers().await?;
            // An ifb goes with its interface.
            let is_ifb = |index: &u32| receivers.values().any(|ifb| ifb == index);
            for (index, root) in netlink.roots().await?.into_iter().filter(|(index, _)| !is_ifb(index)) {
                // A claim of another engine keeps its tree.
                if let Ok(Some(root)) = root.own().and_then(own_or_none)
                    && !except.contains(&index)
                    && let Ok(_claim) = Claim::interface(index)?
                {
                    drop(Self::apply(&netlink, index, &Change { ops: vec![Op::DeleteRoot(root)] }).await?);
                    let kept = netlink.restore_kept(index).await;
                    if kept != KeptRoot::Absent {
                        restored.push((Self::link(&netlink, index).await?.name, kept));
                    }
                }
            }
            for index in receivers.into_keys() {
                // This engine has set up none of its own yet.
                let claim = if except.contains(&index) { None } else { Claim::interface(index)?.ok() };
                if except.contains(&index) || claim.is_some() {
                    Self::tear_down_receiving(&netlink, index).await?;
                }
            }
            Ok(restored)
        })
    }

    fn apply(&self, index: u32, change: Change) -> KernelFuture<Vec<ClassState>> {
        let netlink = self.clone();
        Box::pin(async move { Self::apply(&netlink, index, &change).await })
    }

    fn set_up_receiving(
        &self,
        links: ReceivingLinks,
        tree: Desired,
        filters: Vec<PlacedFilter>,
    ) -> KernelFuture<Result<u32, ForeignRoot>> {
        let netlink = self.clone();
        Box::pin(async move { Self::set_up_receiving(&netlink, links, &tree, filters).await })
    }

    fn receiving_state(
        &self,
        links: ReceivingLinks,
        tree: Desired,
        filters: Vec<PlacedFilter>,
    ) -> Option<KernelFuture<ReceivingState>> {
        let netlink = self.clone();
        Some(Box::pin(async move { Self::receiving_state(&netlink, links, &tree, &filters).await }))
    }

    fn apply_receiving(&self, ifb: u32, change: ReceivingChange) -> KernelFuture<()> {
        let netlink = self.clone();
        Box::pin(async move { Self::apply_receiving(&netlink, ifb, &change).await })
    }

    fn tear_down_receiving(&self, index: u32) -> KernelFuture<()> {
        let netlink = self.clone();
        Box::pin(async move { Self::tear_down_receiving(&netlink, index).await.map(drop) })
    }

    fn tear_down_receiving_at_exit(&self, links: ReceivingLinks) {
        self.tear_down_receiving_blocking(links);
    }

    fn apply_at_exit(&self, index: u32, change: &Change) {
        // A tree that cannot be removed is replaced by the next engine.
        let _ = self.apply_blocking(index, change);
    }

    fn classes(&self, index: u32) -> KernelFuture<Vec<ClassState>> {
        let netlink = self.clone();
        Box::pin(async move { Self::classes(&netlink, index).await })
    }

    fn class(&self, index: u32, handle: Handle) -> KernelFuture<Option<ClassState>> {
        let netlink = self.clone();
        Box::pin(async move { Self::class(&netlink, index, handle).await })
    }

    fn direct_packets(&self, index: u32) -> KernelFuture<u32> {
        let netlink = self.clone();
        Box::pin(async move { Ok(Self::root(&netlink, index).await?.direct_packets) })
    }

    fn watch_links(&self) -> Option<LinkEvents> {
        Self::watch_links(self).ok()
    }
}
