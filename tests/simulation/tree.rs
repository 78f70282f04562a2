//! The tree of an interface as operations leave it: what the kernel accepts, and what it refuses.

use std::collections::BTreeMap;

use flowspec::Errno;
use gqos::tc::{ForeignRoot, Handle, HtbClass, HtbRoot, ObservedRoot, ObservedTree, Op, Queue, flow_number};

#[derive(Clone, Default)]
pub(crate) struct Tree {
    pub(crate) root: Option<HtbRoot>,
    /// A qdisc of another program is at the root.
    pub(crate) foreign: bool,
    pub(crate) classes: BTreeMap<Handle, HtbClass>,
    queues: BTreeMap<Handle, Queue>,
}

/// The link class and the default class.
const TRUNK: usize = 2;

impl Tree {
    /// That of another program.
    pub(crate) fn foreign() -> Self {
        Self { foreign: true, ..Self::default() }
    }

    /// Carries out operations up to the first that is refused.
    pub(crate) fn apply(&mut self, ops: &[Op]) -> Result<(), (usize, Errno)> {
        ops.iter().enumerate().try_for_each(|(at, op)| self.apply_one(op).map_err(|errno| (at, errno)))
    }

    fn apply_one(&mut self, op: &Op) -> Result<(), Errno> {
        match *op {
            Op::AddRoot(_) if self.root.is_some() || self.foreign => return Err(Errno::EEXIST),
            Op::AddRoot(root) => self.root = Some(root),
            Op::DeleteRoot(root) if self.root != Some(root) => return Err(Errno::ENOENT),
            Op::DeleteRoot(_) => *self = Self::default(),
            Op::AddClass(class) => {
                let is_placed = self.classes.contains_key(&class.parent)
                    || self.root.is_some_and(|root| root.handle == class.parent);
                if self.classes.contains_key(&class.handle) {
                    return Err(Errno::EEXIST);
                }
                if !is_placed {
                    return Err(Errno::ENOENT);
                }
                self.classes.insert(class.handle, class);
            }
            Op::ChangeClass { to, .. } => *self.classes.get_mut(&to.handle).ok_or(Errno::ENOENT)? = to,
            Op::DeleteClass(class) => {
                if self.classes.values().any(|other| other.parent == class.handle) {
                    return Err(Errno::EBUSY);
                }
                self.classes.remove(&class.handle).ok_or(Errno::ENOENT)?;
                self.queues.remove(&class.handle);
            }
            Op::AddQueue { parent, queue } | Op::ChangeQueue { parent, to: queue, .. } => {
                if !self.classes.contains_key(&parent) {
                    return Err(Errno::ENOENT);
                }
                self.queues.insert(parent, Queue::Bfifo(queue.bfifo));
            }
            Op::DeleteQueue { parent, .. } => drop(self.queues.remove(&parent).ok_or(Errno::ENOENT)?),
            ref other => unreachable!("an operation that this kernel does not know: {other}"),
        }
        Ok(())
    }

    pub(crate) fn observed(&self) -> Result<ObservedTree, ForeignRoot> {
        if self.foreign {
            return Err(ForeignRoot { kind: "fq_codel".into(), handle: Handle::qdisc(0x8001) });
        }
        let Some(root) = self.root else { return Ok(ObservedTree::default()) };
        let queues = self.queues.iter().map(|(parent, queue)| (*parent, queue.clone()));
        ObservedTree::new(ObservedRoot::Htb(root), queues, self.classes.values().copied())
    }

    /// The classes of flows.
    pub(crate) fn leaves(&self) -> impl Iterator<Item = &HtbClass> {
        self.classes.values().filter(|class| flow_number(class.handle).is_some())
    }

    /// Another program deletes or changes a class of a flow, or the whole tree. Says what it has done.
    pub(crate) fn meddle(&mut self, random: &mut crate::random::Random) -> &'static str {
        let leaves: Vec<Handle> = self.leaves().map(|class| class.handle).collect();
        match random.below(4) {
            0 if self.root.is_some() => {
                *self = Self::default();
                "deletes the root"
            }
            1 if self.root.is_some() => {
                *self = Self::foreign();
                "has a root of its own"
            }
            2 if !leaves.is_empty() => {
                let class = random.pick(&leaves);
                self.classes.remove(&class);
                self.queues.remove(&class);
                "deletes a class"
            }
            _ if !leaves.is_empty() => {
                let class = self.classes.get_mut(&random.pick(&leaves)).unwrap();
                class.rate = flowspec::Rate::new(class.rate.get() / 2 + 1);
                "halves the rate of a class"
            }
            _ => "finds nothing to change",
        }
    }

    /// Whether it has nothing but what every interface has.
    pub(crate) fn is_bare(&self) -> bool {
        self.root.is_some() && self.classes.len() == TRUNK
    }
}
