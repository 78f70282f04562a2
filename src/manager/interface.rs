//! One interface: whether it has a tree in the kernel, and which flows each class carries.

use flowspec::{Bytes, Micros, Moment, Rate};

use super::message::{Root, Seen};
use super::numbers::ClassNumbers;
use crate::admission::NotProgrammed;
use crate::failure::KernelFailure;
use crate::ordered::{OrderedMap, OrderedSet};
use crate::policy::Enforcement;
use crate::tc::{
    Change, ClassBlock, Desired, Framed, Handle, HtbClass, LinkShape, ObservedTree, diff, is_shared_class,
};

/// An interface that has been seen.
#[derive(Debug)]
pub(super) struct Interface {
    pub(super) index: u32,
    /// The largest IP datagram.
    pub(super) mtu: Bytes,
    /// The link speed that the kernel reports.
    pub(super) speed: Option<Rate>,
    /// The number of the interface whose wire it uses, as the kernel reports it.
    pub(super) shares_wire_with: Option<u32>,
    pub(super) state: TreeState,
    /// Whether the kernel has deleted the tree, since the manager has stopped.
    pub(super) is_torn_down: bool,
    /// Why the kernel's tree may not be the desired one, where that is so: it is to be read and compared.
    doubt: Option<NotProgrammed>,
    /// The numbers of its flows' classes.
    pub(super) block: ClassBlock,
    /// The traffic of each flow, by class.
    members: OrderedMap<Handle, OrderedMap<String, Framed>>,
    /// Those that are in no use.
    numbers: ClassNumbers,
    /// Whether more is reserved on it than it carries.
    pub(super) overcommitted: bool,
    /// The class of each group whose members share one reservation.
    group_classes: OrderedMap<String, Handle>,
    /// The traffic of the classes that flows of other interfaces have here, since their packets leave by this one.
    copies: OrderedMap<Handle, Framed>,
    /// The classes whose flows have changed since the parents' trees were last brought in line; `None` without a parent.
    changed: Option<OrderedSet<Handle>>,
    /// Why the kernel gets no further class, though it has a tree: the process has lost the privilege for changes.
    forbidden: Option<KernelFailure>,
    /// The class of the flow that is being adopted.
    kept: Option<Handle>,
    /// The classes to which the sockets of adopted flows send, with those flows, whether or not they are members: no other
    /// flow gets the number.
    claims: OrderedMap<Handle, OrderedSet<String>>,
    /// How many sockets send to each class, whether or not a flow has it: no other flow gets the number.
    marked: OrderedMap<Handle, usize>,
}

/// Whether the interface has a tree in the kernel.
#[derive(Debug)]
pub(super) enum TreeState {
    /// The kernel has not answered the change that sets the tree up.
    Preparing(Desired),
    /// The kernel has the tree. A class has the rates that the kernel was sent last.
    Programmed(Desired),
    /// The kernel cannot have the tree at present: it is kept as it will be set up.
    Suspended(Desired, NotProgrammed),
    /// There is no tree.
    UserSpace(NotProgrammed),
}

/// Where a flow's traffic goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeafPlacement<'a> {
    pub(super) id: &'a str,
    pub(super) framed: Framed,
    /// The group whose members share one reservation, if the flow is in one.
    pub(super) group: Option<&'a str>,
    /// The tokens that its bucket starts without, link headers included.
    pub(super) owed: Bytes,
}

impl Interface {
    /// An interface as it was seen, with the change that sets its tree up if it is to have one.
    pub(super) fn new(
        seen: &Seen,
        enforcement: Enforcement,
        shape: Option<LinkShape>,
    ) -> (Self, Option<Change>) {
        let user_space = |why| (TreeState::UserSpace(why), None);
        let (state, change) = match (enforcement, &seen.root, shape) {
            (Enforcement::UserSpace, ..) => user_space(NotProgrammed::PolicySaysUserSpace),
            (_, Root::Vrf, _) => user_space(NotProgrammed::Vrf),
            (_, Root::Foreign { kind, handle }, _) => {
                user_space(NotProgrammed::ForeignRoot { kind: kind.clone(), handle: *handle })
            }
            (_, Root::NotSavable { kind, handle, part }, _) => {
                let (kind, handle, part) = (kind.clone(), *handle, part.clone());
                user_space(NotProgrammed::ForeignRootNotSavable { kind, handle, part })
            }
            (_, Root::Unread { failure }, _) => user_space(failure.clone().into()),
            (_, Root::Taken { holder }, _) => user_space(NotProgrammed::Taken { holder: holder.clone() }),
            (_, _, None) => user_space(NotProgrammed::CapacityUnknown),
            // It is compared once its flows are adopted.
            (_, Root::Kept(_), Some(shape)) => {
                (TreeState::Suspended(Desired::new(shape), NotProgrammed::Preparing), None)
            }
            (_, root @ (Root::Default | Root::Ours(_)), Some(shape)) => {
                let tree = Desired::new(shape);
                let observed = match root {
                    Root::Ours(stale) => ObservedTree::root_only(*stale),
                    _ => ObservedTree::default(),
                };
                let change = diff(&tree, &observed);
                (TreeState::Preparing(tree), Some(change))
            }
        };
        let interface = Self {
            index: seen.index,
            mtu: seen.mtu,
            speed: seen.speed,
            shares_wire_with: seen.shares_wire_with,
            state,
            is_torn_down: false,
            doubt: None,
            block: ClassBlock::default(),
            members: OrderedMap::new(),
            numbers: ClassNumbers::default(),
            overcommitted: false,
            group_classes: OrderedMap::new(),
            copies: OrderedMap::new(),
            changed: None,
            forbidden: None,
            kept: None,
            claims: OrderedMap::new(),
            marked: OrderedMap::new(),
        };
        (interface, change)
    }

    /// The kernel has answered the change that sets the tree up.
    pub(super) fn prepared(&mut self, result: Result<(), KernelFailure>) {
        let state = std::mem::replace(&mut self.state, TreeState::UserSpace(NotProgrammed::Preparing));
        self.state = match (state, result) {
            (TreeState::Preparing(tree), Ok(())) => TreeState::Programmed(tree),
            (TreeState::Preparing(_), Err(failure)) => TreeState::UserSpace(failure.into()),
            (state, _) => state,
        };
    }

    /// The kernel has refused a change of the tree, since the process has lost the privilege for it: the classes stay as
    /// they are, and further flows get none. Whether that is new.
    pub(super) fn forbid(&mut self, failure: &KernelFailure) -> bool {
        let is_new = self.forbidden.is_none() && matches!(self.state, TreeState::Programmed(_));
        if is_new {
            self.forbidden = Some(failure.clone());
        }
        is_new
    }

    /// Why the kernel has no tree that can be changed; `None` where it has one.
    pub(super) fn not_programmed(&self) -> Option<NotProgrammed> {
        match &self.state {
            TreeState::Programmed(_) => {
                self.forbidden.clone().map(NotProgrammed::Kernel).or_else(|| self.doubt.clone())
            }
            TreeState::Preparing(_) => Some(NotProgrammed::Preparing),
            TreeState::Suspended(_, why) | TreeState::UserSpace(why) => Some(why.clone()),
        }
    }

    /// Why the kernel has no tree, as far as is known. A tree in doubt counts: it is repaired with the flow's class.
    pub(super) fn has_no_tree(&self) -> Option<NotProgrammed> {
        match &self.state {
            TreeState::Programmed(_) => self.forbidden.clone().map(NotProgrammed::Kernel),
            TreeState::Suspended(_, NotProgrammed::Preparing) => None,
            _ => self.not_programmed(),
        }
    }

    /// The flow that gets a class next is to have this one, if it is free.
    pub(super) fn keep_class(&mut self, class: Option<Handle>) {
        self.kept = class;
    }

    /// The class that the flow had which is being adopted, if it is free, shared or its own claim.
    fn kept_class(&mut self, id: &str) -> Option<Handle> {
        let class = self.kept.take().filter(|class| ClassBlock::of(*class) == Some(self.block))?;
        let Some(number) = self.block.flow_number(class) else { return Some(class) };
        let is_claimed = self.claims.get(&class).is_some_and(|claims| claims.contains(id));
        // Its own socket has the mark, or one that had the class before it.
        let is_other_claimed =
            || self.claims.get(&class).is_some_and(|claims| claims.iter().any(|other| other != id));
        let is_marked = self.marked.contains_key(&class) && !is_other_claimed();
        let is_own = (is_claimed || is_marked) && !self.members.contains_key(&class);
        (is_own || self.numbers.keep(number)).then_some(class)
    }

    /// An adopted flow's socket sends to this class: no other flow gets its number before the flow has ended, even where the
    /// flow itself has no class.
    pub(super) fn claim(&mut self, id: &str, class: Handle) {
        let Some(number) = self.block.flow_number(class) else { return };
        // It fails where the number is in use, and so not free.
        self.numbers.keep(number);
        self.claims.entry(class).or_default().insert(id.to_owned());
    }

    /// An adopted flow has ended. Its own class is freed with it; another one that its socket sent to is free now.
    pub(super) fn end_claim(&mut self, id: &str, own: Option<Handle>, now: Moment) {
        let claimed = self.claims.iter_mut().find_map(|(class, ids)| ids.remove(id).then_some(*class));
        let Some(class) = claimed else { return };
        if self.claims.get(&class).is_some_and(OrderedSet::is_empty) {
            self.claims.remove(&class);
        }
        if own != Some(class) {
            self.free(class, now);
        }
    }

    /// One more socket sends to a class: no other flow gets its number.
    pub(super) fn mark(&mut self, class: Handle) {
        let Some(number) = self.block.flow_number(class) else { return };
        // It fails where the number is in use, and so not free.
        self.numbers.keep(number);
        *self.marked.entry(class).or_default() += 1;
    }

    /// One socket less sends to a class. Whether none does any more, and no flow is a member of it.
    pub(super) fn unmark(&mut self, class: Handle) -> bool {
        let Some(sockets) = self.marked.get_mut(&class) else { return false };
        *sockets -= 1;
        if *sockets > 0 {
            return false;
        }
        self.marked.remove(&class);
        !self.members.contains_key(&class)
    }

    /// The flows whose sockets send to a class since an earlier process.
    pub(super) fn claims(&self) -> impl Iterator<Item = (Handle, &str)> {
        self.claims.iter().flat_map(|(class, ids)| ids.iter().map(|id| (*class, id.as_str())))
    }

    /// Whether the numbers of its block are in use.
    pub(super) fn has_numbers(&self) -> bool {
        !self.members.is_empty() || !self.claims.is_empty()
    }

    /// The tree that the kernel has or is to have, once it was set up.
    pub(super) const fn tree(&self) -> Option<&Desired> {
        match &self.state {
            TreeState::Programmed(tree) | TreeState::Suspended(tree, _) => Some(tree),
            TreeState::Preparing(_) | TreeState::UserSpace(_) => None,
        }
    }

    /// Whether the kernel's tree is to be read and compared.
    pub(super) const fn is_in_doubt(&self) -> bool {
        self.doubt.is_some() || matches!(self.state, TreeState::Suspended(..))
    }

    /// Whether the kernel cannot have the tree at present.
    pub(super) const fn is_suspended(&self) -> bool {
        matches!(self.state, TreeState::Suspended(..))
    }

    /// Whether the interface does not exist any more.
    pub(super) const fn is_gone(&self) -> bool {
        matches!(self.state, TreeState::UserSpace(NotProgrammed::Gone))
    }

    /// The kernel's tree may not be the desired one.
    pub(super) fn doubt(&mut self, why: NotProgrammed) {
        if matches!(self.state, TreeState::Programmed(_)) {
            self.doubt.get_or_insert(why);
        }
    }

    /// The kernel has the desired tree. Says whether that was in doubt.
    pub(super) fn confirm(&mut self) -> bool {
        let was_in_doubt = self.is_in_doubt();
        self.doubt = None;
        let state = std::mem::replace(&mut self.state, TreeState::UserSpace(NotProgrammed::Preparing));
        self.state = match state {
            TreeState::Suspended(tree, _) => TreeState::Programmed(tree),
            state => state,
        };
        was_in_doubt
    }

    /// The kernel cannot have the tree for this reason. Says whether the reason is a new one.
    pub(super) fn suspend(&mut self, why: NotProgrammed) -> bool {
        let is_new = self.not_programmed().as_ref() != Some(&why);
        let state = std::mem::replace(&mut self.state, TreeState::UserSpace(NotProgrammed::Preparing));
        self.state = match state {
            TreeState::Programmed(tree) | TreeState::Suspended(tree, _) => TreeState::Suspended(tree, why),
            state => state,
        };
        is_new
    }

    /// The link is gone, with its tree.
    pub(super) fn uproot(&mut self) {
        self.state = TreeState::UserSpace(NotProgrammed::Gone);
        self.doubt = None;
        if let Some(changed) = &mut self.changed {
            changed.extend(self.members.keys());
        }
        self.copies.clear();
        self.members.clear();
        self.group_classes.clear();
        self.claims.clear();
        self.marked.clear();
        self.numbers = ClassNumbers::default();
    }

    /// Gives a flow a class: its group's where the group shares one reservation, one of its own while there are
    /// free numbers, else that of its policy class, whose number the closure gives.
    ///
    /// An idle class is used for a flow that starts with full buckets, which an idle class has. Any other class is added.
    ///
    /// `None` where the kernel has no tree, or none that can be changed.
    pub(super) fn assign_class(
        &mut self,
        now: Moment,
        placement: LeafPlacement<'_>,
        class_number: impl FnOnce() -> usize,
    ) -> Option<(Handle, Change)> {
        match &self.state {
            _ if self.forbidden.is_some() => return None,
            TreeState::Programmed(_) => {}
            // A process that may not program may not put a socket into a class either.
            TreeState::Suspended(_, NotProgrammed::Kernel(failure)) if failure.is_permission() => {
                return None;
            }
            TreeState::Suspended(..) => {}
            TreeState::Preparing(_) | TreeState::UserSpace(_) => return None,
        }
        let LeafPlacement { id, framed, group, owed } = placement;
        let mut change = Change::default();
        let class = match group.and_then(|group| self.group_classes.get(group)) {
            Some(class) => *class,
            None => match self
                .kept_class(id)
                .or_else(|| self.idle_class(now, placement))
                .or_else(|| self.new_class(&mut change))
            {
                Some(class) => class,
                None => self.block.shared_class(class_number()),
            },
        };
        // A class that several policy classes share cannot be a group's as well.
        if let Some(group) = group
            && !is_shared_class(class)
        {
            self.group_classes.insert(group.to_owned(), class);
        }
        self.join(id, class, framed);
        change.ops.extend(self.change(class).starting_without(owed).ops);
        Some((class, change))
    }

    /// An idle class whose buckets are full, those of this flow included.
    fn idle_class(&mut self, now: Moment, placement: LeafPlacement<'_>) -> Option<Handle> {
        let TreeState::Programmed(tree) = &self.state else { return None };
        if placement.owed > Bytes::ZERO {
            return None;
        }
        let (block, framed) = (self.block, placement.framed);
        let rest = |number| tree.rest_before(block.flow_class(number), framed);
        self.numbers.take_idle(now, rest).map(|number| block.flow_class(number))
    }

    /// A class that is added: the change is to come before, since the number may be that of an idle class.
    fn new_class(&mut self, change: &mut Change) -> Option<Handle> {
        let class = self.block.flow_class(self.numbers.take()?);
        if let TreeState::Programmed(tree) | TreeState::Suspended(tree, _) = &mut self.state {
            let deleted = tree.set_leaf(class, None);
            if matches!(self.state, TreeState::Programmed(_)) {
                *change = deleted;
            }
        }
        Some(class)
    }

    /// Another traffic for a flow of a class: the kernel's change.
    pub(super) fn adjust(&mut self, id: &str, class: Handle, framed: Framed) -> Change {
        self.join(id, class, framed);
        self.change(class)
    }

    /// Takes a flow out of its class: the kernel's change.
    pub(super) fn remove(&mut self, id: &str, class: Handle) -> Change {
        self.leave(id, class);
        self.change(class)
    }

    /// Takes a flow out of its class, of which no packets are left: the kernel's change. `full_in` is how long the class takes
    /// until its buckets are full, where that is known.
    pub(super) fn remove_drained(&mut self, id: &str, class: Handle, full_in: Option<Micros>) -> Change {
        self.leave(id, class);
        match &mut self.state {
            TreeState::Programmed(tree) if !self.members.contains_key(&class) => {
                tree.end_leaf(class, full_in)
            }
            _ => self.change(class),
        }
    }

    /// Makes a flow a member of a class, without a change in the kernel.
    pub(super) fn join(&mut self, id: &str, class: Handle, framed: Framed) {
        self.copies.remove(&class);
        self.members.entry(class).or_default().insert(id.to_owned(), framed);
        if let Some(changed) = &mut self.changed {
            changed.insert(class);
        }
    }

    /// Takes a flow out of its class, without a change in the kernel.
    pub(super) fn leave(&mut self, id: &str, class: Handle) {
        if let Some(members) = self.members.get_mut(&class) {
            members.remove(id);
            if members.is_empty() {
                self.members.remove(&class);
            }
            if let Some(changed) = &mut self.changed {
                changed.insert(class);
            }
        }
    }

    /// The change that gives a class the rate that its members need, after the kernel has rolled another change back.
    ///
    /// `kernel` is what the kernel has; `None` where a later change sets the class to what was sent last.
    pub(super) fn realign_class(&mut self, class: Handle, kernel: Option<Option<HtbClass>>) -> Change {
        let sent = self.change(class);
        match (&self.state, kernel) {
            (TreeState::Programmed(tree), Some(kernel)) => Change::of_class(kernel, tree.leaf(class)),
            _ => sent,
        }
    }

    /// The kernel has deleted a class: its number is free once no flow is in it.
    ///
    /// The answer may be about a class of a link that is gone: its successor under the same name has not used the number.
    pub(super) fn free(&mut self, class: Handle, now: Moment) {
        let is_left = |_: &u16| !self.members.contains_key(&class) && !self.claims.contains_key(&class);
        let Some(number) = self.block.flow_number(class).filter(is_left) else { return };
        if self.marked.contains_key(&class) {
            // A group that is made again under the name gets another class.
            self.group_classes.retain(|_, shared| *shared != class);
            return;
        }
        let is_idle = self.tree().is_some_and(|tree| tree.idle().any(|idle| idle.handle == class));
        if self.numbers.free(number, is_idle.then_some(now)) {
            self.group_classes.retain(|_, shared| *shared != class);
        }
    }

    /// Brings the link's class and the default class in line with the link: the kernel's change.
    pub(super) fn reshape(&mut self, shape: LinkShape) -> Change {
        match &mut self.state {
            TreeState::Programmed(tree) => tree.reshape(shape),
            TreeState::Suspended(tree, _) => {
                let _ = tree.reshape(shape);
                Change::default()
            }
            TreeState::Preparing(_) | TreeState::UserSpace(_) => Change::default(),
        }
    }

    /// The groups whose members share a class, each with its class.
    pub(super) fn group_classes(&self) -> impl Iterator<Item = (&str, Handle)> {
        self.group_classes.iter().map(|(group, class)| (group.as_str(), *class))
    }

    /// Whether the members of a group share the class.
    pub(super) fn is_of_a_group(&self, class: Handle) -> bool {
        self.group_classes.values().any(|shared| *shared == class)
    }

    pub(super) fn members(&self, class: Handle) -> impl Iterator<Item = &str> {
        self.members.get(&class).into_iter().flat_map(OrderedMap::keys).map(String::as_str)
    }

    /// The classes with flows in them.
    pub(super) fn classes(&self) -> impl Iterator<Item = Handle> {
        self.members.keys().copied()
    }

    /// Panics unless each number of a class is free, in use, or was never used, and the tree's classes are those
    /// with flows in them.
    pub(super) fn invariants(&self, name: &str) {
        self.numbers.invariants(name);
        for number in self.numbers.free_again() {
            let class = self.block.flow_class(number);
            assert!(!self.members.contains_key(&class), "{name}: class {class} is free and has flows");
            assert!(!self.is_of_a_group(class), "{name}: class {class} is free and a group's");
            assert!(
                !self.marked.contains_key(&class),
                "{name}: class {class} is free, and a socket sends to it"
            );
            let claims = self.claims.get(&class);
            assert!(
                claims.is_none(),
                "{name}: class {class} is free, and the sockets of {claims:?} send to it"
            );
        }
        for class in self.members.keys() {
            let number = self.block.flow_number(*class);
            assert!(number.is_some() || is_shared_class(*class), "{name}: class {class} is of another block");
            let was_used = number.is_none_or(|number| self.numbers.was_used(number));
            assert!(was_used, "{name}: class {class} was never used");
        }
        if let Some(tree) = self.tree() {
            tree.invariants();
            let leaves: Vec<_> = tree.leaves().map(|leaf| leaf.handle).collect();
            let mut classes: Vec<_> = self.classes().chain(self.copies.keys().copied()).collect();
            classes.sort_unstable();
            assert_eq!(leaves, classes, "{name}: the tree's classes and those with flows");
            for leaf in tree.leaves() {
                let rate = self.traffic(leaf.handle).map(|traffic| tree.shape().rates.own_rate(&traffic));
                assert_eq!(rate, Some(leaf.rate), "{name}: class {} and its flows", leaf.handle);
            }
            for idle in tree.idle() {
                let number = self.block.flow_number(idle.handle);
                let was_used = number.is_some_and(|number| self.numbers.was_used(number));
                assert!(was_used, "{name}: idle class {} was never used", idle.handle);
            }
        } else {
            assert!(self.members.is_empty(), "{name}: flows have classes and there is no tree");
        }
    }

    /// Says whether the classes of its flows are copied to the trees of parents. All of them are, or are no longer.
    pub(super) fn set_copied(&mut self, is_copied: bool) {
        self.changed = is_copied.then(|| self.members.keys().copied().collect());
    }

    /// The classes to be copied to the parents' trees, which are not asked for again.
    pub(super) fn take_changed(&mut self) -> OrderedSet<Handle> {
        self.changed.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Gives the flows of another interface's class the same class here; `None` ends it. Gives the kernel's change.
    pub(super) fn copy(&mut self, class: Handle, traffic: Option<Framed>) -> Change {
        // A class of several interfaces' flows has no single number.
        if is_shared_class(class) || self.members.contains_key(&class) || self.is_gone() || self.is_torn_down
        {
            return Change::default();
        }
        match traffic {
            Some(traffic) => drop(self.copies.insert(class, traffic)),
            None => drop(self.copies.remove(&class)),
        }
        self.change(class)
    }

    /// The classes that flows of other interfaces have here.
    pub(super) fn copies(&self) -> impl Iterator<Item = Handle> {
        self.copies.keys().copied()
    }

    /// Sets every class that flows of other interfaces have here: the kernel's change for a new tree.
    pub(super) fn change_copies(&mut self) -> Change {
        let mut change = Change::default();
        for class in self.copies.keys().copied().collect::<Vec<_>>() {
            change.ops.extend(self.change(class).ops);
        }
        change
    }

    /// Sets the tree's class to what its members need: the kernel's change.
    fn change(&mut self, class: Handle) -> Change {
        let traffic = self.traffic(class);
        match &mut self.state {
            TreeState::Programmed(tree) => tree.set_leaf(class, traffic),
            TreeState::Suspended(tree, _) => {
                let _ = tree.set_leaf(class, traffic);
                Change::default()
            }
            TreeState::Preparing(_) | TreeState::UserSpace(_) => Change::default(),
        }
    }

    /// The traffic of the flows in a class; `None` where there are none.
    pub(super) fn traffic(&self, class: Handle) -> Option<Framed> {
        let Some(members) = self.members.get(&class) else { return self.copies.get(&class).copied() };
        let members = members.values().copied();
        match self.is_of_a_group(class) {
            true => Framed::largest(members),
            false => Framed::sum(members),
        }
    }
}
