//! Links and trees that change without the engine: links come, change and go, and other programs change trees.
//!
//! A tree that may differ from the desired one is read and compared, and the manager repairs it. A link that may have
//! changed is looked at again.

use std::sync::Arc;
use std::time::Duration;

use flowspec::{Direction, Rate};

use super::core::Caller;
use super::driver::{Driver, Returned};
use super::kernel::{ClaimedRoot, KernelFuture};
use super::left_interface::LeftInterface;
use super::patience::{PATIENCE, in_time};
use super::queues::Job;
use crate::admission::{NotProgrammed, Operation};
use crate::failure::KernelFailure;
use crate::linux::{Link, LinkEvent, LinkState};
use crate::manager::{Input, Root};
use crate::ordered::OrderedSet;
use crate::tc::{Desired, ForeignRoot, ObservedTree};

/// The kernel reports the single steps of a change: the tree is compared once they have come.
const STEPS: Duration = Duration::from_millis(5);

/// The longest pause between two repairs while another program changes the tree again and again.
const REPAIR: Duration = Duration::from_millis(800);

/// The longest pause between two attempts while the kernel refuses.
const REFUSED: Duration = Duration::from_secs(16);

/// The longest pause while the interface is another program's, or its speed is unknown.
const OCCUPIED: Duration = Duration::from_secs(1);

/// How often it is seen whether another manager has ended.
const TAKEN: Duration = Duration::from_millis(250);

impl Driver {
    /// Does what is due.
    pub(super) fn keep_up(&mut self) {
        for index in self.upkeep.trees.take() {
            match self.queues.is_busy(index) {
                true => self.queues.defer(index, Job::Compare),
                false => self.compare(index),
            }
        }
        self.keep_receivers();
        if !self.upkeep.routes.take().is_empty() {
            self.look_up_routes();
        }
        for name in self.upkeep.looks.take() {
            self.look_at(name);
        }
    }

    /// Schedules the next comparison of an interface that is in doubt, and the next attempt where it has no tree.
    pub(super) fn schedule_upkeep(&mut self, interface: &str) {
        let (index, is_in_doubt, lacks) = {
            let core = self.core();
            let manager = &core.manager;
            (manager.index(interface), manager.is_in_doubt(interface), manager.lacks_tree(interface).cloned())
        };
        if let Some(index) = index.filter(|_| is_in_doubt) {
            self.upkeep.trees.add(&index, Duration::ZERO, REFUSED);
        }
        let name = interface.to_owned();
        match lacks {
            None | Some(NotProgrammed::Gone | NotProgrammed::NotSeen | NotProgrammed::Preparing) => {}
            Some(NotProgrammed::Taken { .. }) => self.upkeep.looks.add(&name, TAKEN, Duration::ZERO),
            Some(
                NotProgrammed::CapacityUnknown
                | NotProgrammed::ForeignRoot { .. }
                | NotProgrammed::ForeignRootNotSavable { .. },
            ) => {
                self.upkeep.looks.add(&name, TAKEN, OCCUPIED);
            }
            Some(_) => self.upkeep.looks.add(&name, TAKEN, REFUSED),
        }
    }

    /// Reads the tree of an interface.
    pub(super) fn compare(&mut self, index: u32) {
        let Some(interface) = self.name(index) else { return };
        let Some(observed) = self.kernel.observe(index) else { return };
        let is_beside = self.is_suspended(index);
        if !self.begin_read(index, is_beside) {
            return;
        }
        let observed = in_time(index, PATIENCE, observed);
        self.calls
            .push(Box::pin(async move { Returned::Observed { index, interface, observed: observed.await } }));
    }

    /// The tree of an interface was read.
    pub(super) fn observed(
        &mut self,
        interface: String,
        observed: Result<Result<ObservedTree, ForeignRoot>, KernelFailure>,
    ) {
        let known = self.core().manager.index(&interface);
        if let (Err(failure), Some(index)) = (&observed, known) {
            self.call_failed(index, failure);
        }
        let Some(index) = self.core().manager.index(&interface) else { return };
        match observed {
            // The kernel was read before it has done what is pending.
            Ok(_) if self.core().manager.is_changing(&interface) => {
                self.upkeep.trees.add(&index, STEPS, REPAIR);
            }
            Ok(observed) => {
                let observed = Box::new(observed);
                self.core().feed(Input::Observed { interface: interface.clone(), observed });
            }
            Err(failure) if failure.is_absent() => self.upkeep.looks.add(&interface, Duration::ZERO, REPAIR),
            Err(_) => {
                self.upkeep.trees.needed(&index);
                self.upkeep.trees.add(&index, Duration::ZERO, REPAIR);
            }
        }
        if self.core().manager.is_in_doubt(&interface) {
            self.upkeep.trees.needed(&index);
        }
        self.schedule_upkeep(&interface);
    }

    pub(super) fn link_event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Changed(state) => self.link_is(state),
            LinkEvent::Gone { index } => self.link_gone(index),
            LinkEvent::All(states) => {
                let there: OrderedSet<u32> = states.iter().map(|state| state.index).collect();
                let known = self.core().manager.interfaces();
                for (_, index) in &known {
                    match there.contains(index) {
                        true => self.upkeep.trees.add(index, STEPS, REPAIR),
                        false => self.link_gone(*index),
                    }
                }
                let ifbs: Vec<_> = self.receivers.values().map(|receiver| receiver.ifb).collect();
                for ifb in ifbs.into_iter().filter(|ifb| *ifb != 0 && !there.contains(ifb)) {
                    self.receiver_gone(ifb);
                }
                self.compare_receivers();
                self.upkeep.links.retain(|index, _| there.contains(index));
                states.into_iter().for_each(|state| self.link_is(state));
                self.routes_changed();
            }
            LinkEvent::Traffic { index } => {
                self.receiving_changed(index);
                let Some(name) = self.name(index) else { return };
                let lacks_tree = self.core().manager.lacks_tree(&name).is_some();
                match lacks_tree {
                    true => self.upkeep.looks.add(&name, STEPS, REPAIR),
                    false => self.upkeep.trees.add(&index, STEPS, REPAIR),
                }
            }
        }
    }

    /// A link is reported as it is now.
    fn link_is(&mut self, state: LinkState) {
        self.ifb_is(&state);
        let (index, carries) = (state.index, state.carries);
        let before = self.upkeep.links.insert(index, state.clone());
        if before.as_ref().is_none_or(|before| before.carries != carries) {
            self.routes_changed();
        }
        let Some(known) = self.name(index) else {
            let policy = Arc::clone(self.core().manager.ledger().policy());
            let was_known = self.core().manager.interfaces().iter().any(|(name, _)| *name == state.name);
            if was_known || policy.interfaces.contains_key(&state.name) {
                self.routes.clear();
                self.upkeep.looks.add(&state.name, Duration::ZERO, REPAIR);
            }
            return;
        };
        let called = before.as_ref().map_or(&known, |before| &before.name);
        if *called != state.name && known != state.name {
            self.renamed(index, &known, &state.name);
        }
        if self.name(index).is_none() {
            return;
        }
        if before.is_none_or(|before| before.mtu != state.mtu || before.carries != carries) {
            self.upkeep.looks.add(&known, Duration::ZERO, REPAIR);
        }
        let has_flows = !self.core().flow_routes.is_empty();
        match has_flows && !carries && !self.down.contains_key(&known) {
            true => {
                self.upkeep.down.insert(index);
                self.upkeep.routes.add(&(), Duration::ZERO, STEPS);
            }
            false => self.link_carries(index, carries),
        }
    }

    /// A link has changed: it counts once its interface waits for nothing.
    pub(super) fn link_carries(&mut self, index: u32, carries: bool) {
        match self.queues.is_busy(index) {
            true => self.queues.defer(index, Job::Link(carries)),
            false => self.link_changed(index, carries),
        }
    }

    /// A link has changed: what it carries now counts, nothing where it is down.
    pub(super) fn link_changed(&mut self, changed: u32, carries: bool) {
        let interfaces = self.core().manager.interfaces();
        for (interface, _) in interfaces.into_iter().filter(|(_, index)| *index == changed) {
            let was_down = self.down.contains_key(&interface);
            for direction in Direction::BOTH {
                let capacity = self.core().manager.ledger().capacity(&interface, direction);
                let carries = match (carries, was_down) {
                    (false, false) => {
                        let before = self.down.entry(interface.clone()).or_default();
                        *before.get_mut(direction) = capacity;
                        Some(Rate::ZERO)
                    }
                    (true, true) => self.down.get(&interface).and_then(|before| *before.get(direction)),
                    _ => None,
                };
                // Nothing is reserved on a link whose capacity is not known.
                if let (Some(capacity), Some(_)) = (carries, capacity) {
                    let interface = interface.clone();
                    let operation = Operation::Capacity { interface, direction, capacity };
                    self.core().submit(Box::new(operation), Caller::Engine);
                }
            }
            if carries {
                self.down.remove(&interface);
            }
        }
    }

    /// A link has another name. It keeps its budget under the name it had, unless the policy says something else of
    /// the new name.
    fn renamed(&mut self, index: u32, known: &str, name: &str) {
        self.routes.clear();
        let keeps = {
            let core = self.core();
            let policy = core.manager.ledger().policy();
            policy.interface(known) == policy.interface(name) && !core.manager.knows(name)
        };
        if !keeps {
            self.replaced(index);
            self.upkeep.looks.add(&name.to_owned(), Duration::ZERO, REPAIR);
        }
    }

    /// The name of a link belongs to another one now, or to none: its flows are released, and its tree is deleted, if the link
    /// is there still.
    fn replaced(&mut self, index: u32) {
        let Some(interface) = self.name(index) else { return self.link_gone(index) };
        let root = self.core().manager.desired(&interface).map(Desired::root);
        let (taken_over, claim) = (self.taken_over.remove(&index), self.claims.remove(&index));
        self.link_gone(index);
        self.taken_over.extend(taken_over.map(|taken_over| (index, taken_over)));
        self.claims.extend(claim.map(|claim| (index, claim)));
        self.uproot(LeftInterface { index, interface, root });
    }

    /// A request is for a link whose name another link had before, of which the kernel has not been asked.
    pub(super) fn follow_name(&mut self, link: &Link) {
        let known = self.core().manager.index(&link.name);
        let reported = self.upkeep.links.get(&link.index);
        if let Some(known) = known.filter(|known| *known != link.index)
            && reported.is_some_and(|state| state.name == link.name)
        {
            self.replaced(known);
        }
    }

    /// An interface was seen: those on whose wire it sends are prepared as well.
    pub(super) fn look_at_parents(&mut self, interface: &str) {
        let unknown: Vec<_> = {
            let core = self.core();
            let parents = core.manager.ledger().wire_names(interface).into_iter().skip(1);
            parents.filter(|parent| !core.manager.knows(parent)).collect()
        };
        for parent in unknown {
            self.upkeep.looks.add(&parent, Duration::ZERO, REPAIR);
        }
    }

    /// A link is gone: deleted, or moved to another namespace.
    fn link_gone(&mut self, index: u32) {
        self.receiver_gone(index);
        self.upkeep.links.remove(&index);
        self.routes_changed();
        let Some(interface) = self.name(index) else { return };
        self.routes.clear();
        self.claims.remove(&index);
        if self.taken_over.remove(&index).is_some() {
            self.kernel.forget_saved(index);
        }
        self.down.remove(&interface);
        self.upkeep.trees.forget(&index);
        self.upkeep.looks.forget(&interface);
        self.core().feed(Input::Gone { interface });
    }

    /// Looks at an interface again, by the name that the kernel has for it.
    fn look_at(&mut self, interface: String) {
        let index = self.core().manager.index(&interface);
        let reported = index.and_then(|index| self.upkeep.links.get(&index));
        let link = self.kernel.link(reported.map_or(&interface, |state| &state.name));
        self.calls.push(Box::pin(async move { Returned::Found { interface, link: link.await } }));
    }

    /// An interface was looked at again.
    pub(super) fn found(&mut self, interface: String, link: Result<Option<Link>, KernelFailure>) {
        let known = self.core().manager.index(&interface);
        let link = match (link, known) {
            (Ok(Some(link)), _) => Link { name: interface, ..link },
            // It has another name, or is gone, which the kernel is about to report.
            (Ok(None), Some(index)) if self.upkeep.links.contains_key(&index) => {
                self.upkeep.looks.needed(&interface);
                return self.upkeep.looks.add(&interface, STEPS, REPAIR);
            }
            (Ok(None), Some(index)) => return self.replaced(index),
            (Ok(None), None) => return,
            (Err(_), _) => {
                self.upkeep.looks.needed(&interface);
                return self.upkeep.looks.add(&interface, STEPS, REFUSED);
            }
        };
        if let Some(other) = known.filter(|known| *known != link.index) {
            self.replaced(other);
        }
        let is_known = self.core().manager.knows(&link.name);
        if is_known && self.core().manager.lacks_tree(&link.name).is_none() {
            return self.seen(&link, ClaimedRoot::new(Root::Default, None));
        }
        if self.queues.is_busy(link.index) {
            return self.upkeep.looks.add(&link.name, STEPS, REPAIR);
        }
        if let Some(root) = self.root_to_read(&link) {
            self.read_root(link, root);
        }
    }

    /// A reading of an interface begins: beside its queue where nothing else is asked of the kernel for it, so that
    /// requests do not wait for an answer that may not come. Says whether it may: one at a time.
    fn begin_read(&mut self, index: u32, is_beside: bool) -> bool {
        match is_beside {
            true => self.upkeep.beside.insert(index),
            false => {
                self.queues.call(index);
                true
            }
        }
    }

    /// A reading of an interface has ended.
    pub(super) fn read_returned(&mut self, index: u32) {
        if !self.upkeep.beside.remove(&index) {
            self.queues.returned(index);
        }
    }

    fn read_root(&mut self, link: Link, root: KernelFuture<ClaimedRoot>) {
        let is_beside = self.core().manager.knows(&link.name);
        if !self.begin_read(link.index, is_beside) {
            return;
        }
        let root = in_time(link.index, PATIENCE, root);
        self.calls.push(Box::pin(async move { Returned::Read { link, root: root.await } }));
    }

    /// The root of an interface was read again.
    pub(super) fn read(&mut self, link: &Link, root: Result<ClaimedRoot, KernelFailure>) {
        self.upkeep.looks.needed(&link.name);
        match root {
            Ok(root) => self.seen(link, root),
            Err(failure) => {
                // The kernel may answer again at any moment.
                let most = if failure.is_timeout() { REPAIR } else { REFUSED };
                self.upkeep.looks.add(&link.name, STEPS, most);
            }
        }
    }
}
