//! Changes: ordered operations, each with its undo.

use flowspec::Bytes;

use super::fifo::Bfifo;
use super::handle::Handle;
use super::htb::{HtbClass, HtbRoot};

/// One request to the kernel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Op {
    /// Adds the root qdisc. Fails where the root is not the kernel's default.
    AddRoot(HtbRoot),
    /// Deletes the root qdisc with everything below it: the kernel's default returns.
    DeleteRoot(HtbRoot),
    /// Adds a class.
    AddClass(HtbClass),
    /// Changes the numbers of a class.
    ChangeClass {
        /// The class after the change.
        to: HtbClass,
        /// The class before the change.
        from: HtbClass,
    },
    /// Deletes a class. The kernel drops the packets in it.
    DeleteClass(HtbClass),
    /// Gives a class a queue with a limit of its own, in place of the kernel's default.
    AddQueue {
        /// The class.
        parent: Handle,
        /// The queue.
        queue: Bfifo,
    },
    /// Changes the limit of a queue.
    ChangeQueue {
        /// The class.
        parent: Handle,
        /// The queue after the change.
        to: Bfifo,
        /// The queue before the change.
        from: Bfifo,
    },
    /// Deletes the queue of a class: the kernel's default returns.
    DeleteQueue {
        /// The class.
        parent: Handle,
        /// The queue.
        queue: Bfifo,
    },
}

/// Operations that are applied together: all of them, or none.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Change {
    /// In the order in which they are applied.
    pub ops: Vec<Op>,
}

impl Op {
    /// The operation that takes this one back.
    ///
    /// `None` for [`Op::DeleteRoot`]: a tree that was deleted is not built again.
    pub const fn undo(&self) -> Option<Self> {
        Some(match *self {
            Self::AddRoot(root) => Self::DeleteRoot(root),
            Self::DeleteRoot(_) => return None,
            Self::AddClass(class) => Self::DeleteClass(class),
            Self::ChangeClass { to, from } => Self::ChangeClass { to: from, from: to },
            Self::DeleteClass(class) => Self::AddClass(class),
            Self::AddQueue { parent, queue } => Self::DeleteQueue { parent, queue },
            Self::ChangeQueue { parent, to, from } => Self::ChangeQueue { parent, to: from, from: to },
            Self::DeleteQueue { parent, queue } => Self::AddQueue { parent, queue },
        })
    }
}

impl Change {
    /// The change that takes this one back: the last operation is undone first.
    #[must_use]
    pub fn undo(&self) -> Self {
        Self { ops: self.ops.iter().rev().filter_map(Op::undo).collect() }
    }

    /// The same with the buckets of the classes that it adds short of these tokens at the start.
    ///
    /// A class starts with the tokens of the bucket that it is added with, and another bucket adds none: it is added
    /// with the smaller bucket and then changed.
    #[must_use]
    pub fn starting_without(self, tokens: Bytes) -> Self {
        let ops = self.ops.into_iter().flat_map(|op| match op {
            Op::AddClass(to) => {
                let from = HtbClass {
                    burst: to.burst.saturating_sub(tokens),
                    cburst: to.cburst.saturating_sub(tokens),
                    ..to
                };
                let change = Self::of_class(Some(from), Some(to)).ops;
                std::iter::once(Op::AddClass(from)).chain(change).collect()
            }
            op => vec![op],
        });
        Self { ops: ops.collect() }
    }

    /// The change of one class to another, or from or to no class. Empty where they are equal.
    pub fn of_class(from: Option<HtbClass>, to: Option<HtbClass>) -> Self {
        let op = match (from, to) {
            (None, None) => None,
            (None, Some(to)) => Some(Op::AddClass(to)),
            (Some(from), None) => Some(Op::DeleteClass(from)),
            (Some(from), Some(to)) => (from != to).then_some(Op::ChangeClass { to, from }),
        };
        Self { ops: op.into_iter().collect() }
    }
}

impl std::fmt::Display for Op {
    /// The operation as a `tc` command without its device.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AddRoot(HtbRoot { handle, default, direct_queue }) => {
                write!(f, "qdisc add root handle {handle} htb default {default:x} direct_qlen {direct_queue}")
            }
            Self::DeleteRoot(root) => write!(f, "qdisc del root handle {}", root.handle),
            Self::AddClass(class) => write!(f, "class add {class}"),
            Self::ChangeClass { to, .. } => write!(f, "class change {to}"),
            Self::DeleteClass(class) => write!(f, "class del classid {}", class.handle),
            Self::AddQueue { parent, queue } => {
                write!(f, "qdisc add parent {parent} bfifo limit {}", queue.limit.get())
            }
            Self::ChangeQueue { parent, to, .. } => {
                write!(f, "qdisc change parent {parent} bfifo limit {}", to.limit.get())
            }
            Self::DeleteQueue { parent, .. } => write!(f, "qdisc del parent {parent}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::ROOT_QDISC;
    use super::*;
    use flowspec::Rate;

    const CLASS: HtbClass = HtbClass {
        handle: ROOT_QDISC.class(0x100),
        parent: ROOT_QDISC.class(1),
        rate: Rate::new(1000),
        ceil: Rate::new(1000),
        burst: Bytes::new(3000),
        cburst: Bytes::new(3000),
        quantum: Bytes::new(1500),
        prio: 0,
    };

    #[test]
    fn the_last_operation_is_undone_first() {
        let larger = HtbClass { rate: Rate::new(2000), ..CLASS };
        let (parent, queue) = (CLASS.handle, Bfifo { limit: Bytes::new(1000) });
        let longer = Bfifo { limit: Bytes::new(2000) };
        let root = HtbRoot { handle: ROOT_QDISC, default: 2, direct_queue: 0 };
        let change = Change {
            ops: vec![
                Op::DeleteRoot(root),
                Op::AddRoot(root),
                Op::AddClass(CLASS),
                Op::AddQueue { parent, queue },
                Op::ChangeQueue { parent, to: longer, from: queue },
                Op::ChangeClass { to: larger, from: CLASS },
                Op::DeleteClass(larger),
            ],
        };
        let undo = change.undo();
        assert_eq!(
            undo.ops,
            [
                Op::AddClass(larger),
                Op::ChangeClass { to: CLASS, from: larger },
                Op::ChangeQueue { parent, to: queue, from: longer },
                Op::DeleteQueue { parent, queue },
                Op::DeleteClass(CLASS),
                Op::DeleteRoot(root),
            ],
            "a tree that was deleted is not built again"
        );
        assert_eq!(undo.undo().ops, change.ops[2..], "an undo is undone but for the root");
    }

    #[test]
    fn equal_classes_need_no_operation() {
        let larger = HtbClass { rate: Rate::new(2000), ..CLASS };
        let check = |from, to, ops: &[Op]| assert_eq!(Change::of_class(from, to).ops, ops);
        check(None, None, &[]);
        check(Some(CLASS), Some(CLASS), &[]);
        check(None, Some(CLASS), &[Op::AddClass(CLASS)]);
        check(Some(CLASS), None, &[Op::DeleteClass(CLASS)]);
        check(Some(CLASS), Some(larger), &[Op::ChangeClass { to: larger, from: CLASS }]);
    }
}
