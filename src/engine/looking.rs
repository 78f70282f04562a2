//! Interfaces are looked at: at the start, and on the first request for each. What is at the root says whether gqos programs
//! it.

use std::sync::Arc;

use tokio::time::timeout;

use super::driver::{Driver, Returned, STOP_PATIENCE};
use super::kernel::{ClaimedRoot, KernelFuture};
use super::patience::{PATIENCE, in_time};
use super::queues::EngineCommand;
use crate::admission::Refusal;
use crate::failure::KernelFailure;
use crate::linux::Link;
use crate::manager::{Input, Root, Seen};
use crate::policy::Enforcement;

impl Driver {
    /// Prepares the interface of this name, if it exists.
    ///
    /// - **Errors**: the kernel's. What was prepared before is taken back, unless trees are kept.
    pub(super) async fn prepare(&mut self, interface: &str) -> Result<(), KernelFailure> {
        let prepared = async {
            // An interface that does not exist yet is looked at with its first flow.
            let Some(link) = self.kernel.link(interface).await? else { return Ok(()) };
            // The policy may have an alternative name (IFLA_ALT_IFNAME) for it.
            let link = Link { name: interface.to_owned(), ..link };
            let index = link.index;
            if let Some(root) = self.root_to_read(&link) {
                let root = in_time(index, PATIENCE, root).await.or_else(ClaimedRoot::unread)?;
                let root = match self.keeps_trees {
                    true => root.keep(|| self.kernel.kept_root(index)),
                    false => root,
                };
                self.seen(&link, root);
            }
            Ok(())
        };
        let prepared = prepared.await;
        match prepared {
            Ok(()) => self.idle().await,
            // The next start adopts what flows have.
            Err(_) if self.keeps_trees => self.is_shut_down = true,
            // All or nothing: the trees of the interfaces before this one are removed.
            Err(_) => self.shut_down().await,
        }
        prepared
    }

    /// Deletes what ended processes have left: on interfaces that are not managed, or not by the kernel.
    pub(super) async fn sweep(&mut self) {
        // The claims of this engine are on these.
        let except = self.claims.keys().copied().collect();
        // A process that may not program leaves them.
        if let Ok(Ok(restored)) = timeout(STOP_PATIENCE, self.kernel.sweep(except)).await {
            restored.into_iter().for_each(|(interface, kept)| self.report_kept(interface, kept));
        }
    }

    /// Reads the root of an interface that is not known before a request is executed.
    pub(super) fn look_first(
        &mut self,
        link: Arc<Link>,
        root: KernelFuture<ClaimedRoot>,
        request: EngineCommand,
    ) {
        self.queues.call(link.index);
        let root = in_time(link.index, PATIENCE, root);
        self.calls.push(Box::pin(async move { Returned::Looked { link, root: root.await, request } }));
    }

    pub(super) fn looked(
        &mut self,
        link: &Link,
        root: Result<ClaimedRoot, KernelFailure>,
        request: EngineCommand,
    ) {
        self.queues.returned(link.index);
        match (root.or_else(ClaimedRoot::unread), request) {
            (Ok(root), request) => {
                self.seen(link, root);
                self.queues.resume(link.index, request);
            }
            (Err(failure), EngineCommand::Reserve { submission, reply }) => {
                let interface = link.name.clone();
                let refusal = Refusal::TrafficControl { interface, cause: failure.into() };
                self.core().refuse((&submission.request, &submission.placement), refusal, reply);
            }
            // Its route is looked up again.
            (Err(_), request) => {
                drop(request);
                self.routes_changed();
            }
        }
    }

    /// The call that reads what is installed at the root of an interface, where the engine has a use for it.
    pub(super) fn root_to_read(&mut self, link: &Link) -> Option<KernelFuture<ClaimedRoot>> {
        let policy = Arc::clone(self.core().manager.ledger().policy());
        // A claim of this engine would keep it out.
        self.claims.remove(&link.index);
        let interface = policy.interface(&link.name)?;
        let unread = |root| -> Option<KernelFuture<ClaimedRoot>> {
            Some(Box::pin(std::future::ready(Ok(ClaimedRoot::new(root, None)))))
        };
        match interface.enforcement {
            Enforcement::UserSpace => unread(Root::Default),
            // With a qdisc of its own, a VRF sends each packet of its interfaces through it first.
            Enforcement::Auto | Enforcement::Kernel if link.is_vrf => unread(Root::Vrf),
            // What was taken over once is not taken again: another program insists on its qdisc.
            Enforcement::Auto | Enforcement::Kernel
                if interface.takeover && !self.taken_over.contains_key(&link.index) =>
            {
                Some(self.kernel.take_over(link.index))
            }
            Enforcement::Auto | Enforcement::Kernel => Some(self.kernel.root(link.index)),
        }
    }

    /// An interface was looked at: the manager prepares it.
    pub(super) fn seen(&mut self, link: &Link, claimed: ClaimedRoot) {
        let ClaimedRoot { root, claim, saved, file_failure } = claimed;
        self.note_taken_over(link, saved, file_failure);
        if let Some(claim) = claim {
            self.claims.insert(link.index, claim);
        }
        let Link { index, mtu, speed, shares_wire_with, .. } = *link;
        let interface = link.name.clone();
        self.core().feed(Input::Seen(Seen { interface, index, mtu, speed, shares_wire_with, root }));
        // What was reported of the link comes after it was read for a request, or is about to come.
        let reported = self.upkeep.links.get(&index);
        if !reported.map_or(link.carries, |state| state.carries) {
            self.link_changed(index, false);
        }
        self.schedule_upkeep(&link.name);
        self.look_at_parents(&link.name);
    }
}
