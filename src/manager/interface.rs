//! One interface under management: its tree, and which classes are taken.

use std::collections::{BTreeMap, VecDeque};

use flowspec::{Micros, Rate};

use crate::admission::NotProgrammed;
use crate::failure::KernelFailure;
use crate::policy::Enforcement;
use crate::tc::{
    Change, Desired, Framed, Handle, LARGEST_FLOW_CLASSES, LinkRates, Observed, Shape, diff, flow_class,
    flow_number, is_shared_class, shared_class,
};

use super::message::{Root, Seen};

/// What the manager keeps of an interface.
#[derive(Debug)]
pub(super) struct Interface {
    pub(super) index: u32,
    pub(super) state: State,
    /// Flows by class: their traffic, for classes that several share.
    members: BTreeMap<Handle, BTreeMap<String, Framed>>,
    /// Class numbers that were used and are free again, oldest first.
    freed: VecDeque<u16>,
    /// The first class number that was never used.
    unused: u16,
    /// More is promised than it carries.
    pub(super) over: bool,
    /// The classes of groups whose members share one reservation.
    shared_by: BTreeMap<String, Handle>,
}

/// Whether the kernel helps.
#[derive(Debug)]
pub(super) enum State {
    /// The tree has been sent and the kernel has not answered.
    Preparing(Desired),
    /// The tree stands.
    Programmed(Desired),
    /// There is no tree: why.
    UserSpace(NotProgrammed),
}

impl Interface {
    /// Decides what to do with an interface as it was seen, and what the kernel has to do for it.
    pub(super) fn new(
        seen: &Seen,
        enforcement: Enforcement,
        tree: Option<Desired>,
    ) -> (Self, Option<Change>) {
        let (state, change) = match (enforcement, &seen.root, tree) {
            (Enforcement::UserSpace, ..) => (State::UserSpace(NotProgrammed::PolicySaysUserSpace), None),
            (_, Root::Foreign { kind, handle }, _) => {
                let (kind, handle) = (kind.clone(), handle.to_string());
                (State::UserSpace(NotProgrammed::ForeignRoot { kind, handle }), None)
            }
            (_, Root::Taken { holder }, _) => {
                (State::UserSpace(NotProgrammed::Taken { holder: holder.clone() }), None)
            }
            (_, _, None) => (State::UserSpace(NotProgrammed::CapacityUnknown), None),
            (_, root @ (Root::Default | Root::Ours(_)), Some(tree)) => {
                let observed = match root {
                    Root::Ours(stale) => Observed::root_only(*stale),
                    _ => Observed::default(),
                };
                let change = diff(&tree, &observed);
                (State::Preparing(tree), Some(change))
            }
        };
        let interface = Self {
            index: seen.index,
            state,
            members: BTreeMap::new(),
            freed: VecDeque::new(),
            unused: 0,
            over: false,
            shared_by: BTreeMap::new(),
        };
        (interface, change)
    }

    /// The kernel's answer to the set-up.
    pub(super) fn prepared(&mut self, result: Result<(), KernelFailure>) {
        let state = std::mem::replace(&mut self.state, State::UserSpace(NotProgrammed::Preparing));
        self.state = match (state, result) {
            (State::Preparing(tree), Ok(())) => State::Programmed(tree),
            (State::Preparing(_), Err(failure)) => State::UserSpace(failure.into()),
            (state, _) => state,
        };
    }

    /// Gives a flow a class: its group's where the group shares one reservation, one of its own while there are
    /// some, else the one of its policy class.
    ///
    /// Nothing where the kernel has no tree.
    pub(super) fn place(
        &mut self,
        id: &str,
        class_number: usize,
        shared_by: Option<&str>,
        framed: Framed,
    ) -> Option<(Handle, Change)> {
        let State::Programmed(_) = self.state else { return None };
        let handle = match shared_by.and_then(|group| self.shared_by.get(group)) {
            Some(handle) => *handle,
            None => self.next_number().map_or_else(|| shared_class(class_number), flow_class),
        };
        // A class that several policy classes share cannot be a group's as well.
        if let Some(group) = shared_by
            && !self.is_shared(handle)
        {
            self.shared_by.insert(group.to_owned(), handle);
        }
        self.members.entry(handle).or_default().insert(id.to_owned(), framed);
        Some((handle, self.change(handle)))
    }

    /// A flow of a class sends something else from now on: what the kernel has to do for it.
    pub(super) fn adjust(&mut self, id: &str, handle: Handle, framed: Framed) -> Change {
        self.members.entry(handle).or_default().insert(id.to_owned(), framed);
        self.change(handle)
    }

    /// Takes a flow out of its class: what the kernel has to do for it.
    pub(super) fn displace(&mut self, id: &str, handle: Handle) -> Change {
        if let Some(members) = self.members.get_mut(&handle) {
            members.remove(id);
            if members.is_empty() {
                self.members.remove(&handle);
            }
        }
        self.change(handle)
    }

    /// A class is gone from the kernel; its number may be used again.
    pub(super) fn free(&mut self, handle: Handle) {
        if let Some(number) = flow_number(handle)
            && !self.members.contains_key(&handle)
        {
            self.shared_by.retain(|_, shared| *shared != handle);
            // Members of a group may leave it together, and each says so.
            if !self.freed.contains(&number) {
                self.freed.push_back(number);
            }
        }
    }

    /// Brings the trunk in line with what the link carries now, and what of it may be promised.
    pub(super) fn reshape(&mut self, capacity: Rate, budget: Rate, wait: Micros) -> Change {
        match &mut self.state {
            State::Programmed(tree) => {
                let shape = Shape { rates: LinkRates { capacity, budget }, wait, ..*tree.shape() };
                tree.reshape(shape)
            }
            State::Preparing(_) | State::UserSpace(_) => Change::default(),
        }
    }

    /// Whether the members of a group share the class.
    pub(super) fn is_of_a_group(&self, handle: Handle) -> bool {
        self.shared_by.values().any(|shared| *shared == handle)
    }

    /// Whether flows may share the class.
    pub(super) fn is_shared(&self, handle: Handle) -> bool {
        is_shared_class(handle)
    }

    /// Brings the tree's leaf in line with its members: the difference.
    fn change(&mut self, handle: Handle) -> Change {
        let one_for_all = self.is_of_a_group(handle);
        let State::Programmed(tree) = &mut self.state else { return Change::default() };
        let members = self.members.get(&handle);
        let traffic = members.and_then(|members| match one_for_all {
            true => Framed::largest(members.values().copied()),
            false => Framed::sum(members.values().copied()),
        });
        tree.set_leaf(handle, traffic)
    }

    fn next_number(&mut self) -> Option<u16> {
        // A number rests as long as possible before it is used again, so that a late packet of an
        // ended flow seldom finds another's class.
        if self.unused < LARGEST_FLOW_CLASSES {
            self.unused += 1;
            return Some(self.unused - 1);
        }
        self.freed.pop_front()
    }
}
