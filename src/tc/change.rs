//! Changes: ordered operations, each with its undo.

use flowspec::Bytes;

use super::htb::{HtbClass, HtbRoot};
use super::observed_filter::FilterPlace;
use super::queue::{ClassQueue, QueueKind};
use crate::kernel::Handle;

/// One request to the kernel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Op {
    /// Adds the root qdisc. Fails where the root is not the kernel's default.
    AddRoot(HtbRoot),
    /// Deletes the root qdisc with everything below it: the kernel's default returns.
    DeleteRoot(HtbRoot),
    /// `tc class add`.
    AddClass(HtbClass),
    /// `tc class change`: other numbers for a class that stays where it is.
    ChangeClass {
        /// The class after the change.
        to: HtbClass,
        /// The class before the change.
        from: HtbClass,
    },
    /// Deletes a class. The kernel drops the packets in it.
    DeleteClass(HtbClass),
    /// Gives a class a queue of its own, in place of the kernel's default.
    AddQueue {
        /// The leaf that the queue belongs to.
        parent: Handle,
        /// The qdisc with its settings.
        queue: ClassQueue,
    },
    /// `tc qdisc change`: other settings for a queue of the same kind.
    ChangeQueue {
        /// The leaf that the queue belongs to.
        parent: Handle,
        /// The queue after the change.
        to: ClassQueue,
        /// The queue before the change.
        from: ClassQueue,
    },
    /// Deletes the queue of a class: the kernel's default returns.
    DeleteQueue {
        /// The leaf that the queue belongs to.
        parent: Handle,
        /// The qdisc with its settings, for the undo.
        queue: ClassQueue,
    },
    /// Deletes the queue that another program gave a class: the kernel's default returns, and packets in the queue are lost.
    DeleteForeignQueue {
        /// The leaf that the queue belongs to.
        parent: Handle,
    },
    /// Deletes filters that gqos has not made.
    DeleteFilter(FilterPlace),
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
    /// `None` for [`Op::DeleteRoot`], [`Op::DeleteForeignQueue`] and [`Op::DeleteFilter`]: a tree that was deleted is not
    /// built again, nor is what another program has made.
    pub const fn undo(&self) -> Option<Self> {
        Some(match *self {
            Self::AddRoot(root) => Self::DeleteRoot(root),
            Self::DeleteRoot(_) | Self::DeleteForeignQueue { .. } | Self::DeleteFilter(_) => return None,
            Self::AddClass(class) => Self::DeleteClass(class),
            Self::ChangeClass { to, from } => Self::ChangeClass { to: from, from: to },
            Self::DeleteClass(class) => Self::AddClass(class),
            Self::AddQueue { parent, queue } => Self::DeleteQueue { parent, queue },
            Self::ChangeQueue { parent, to, from } => Self::ChangeQueue { parent, to: from, from: to },
            Self::DeleteQueue { parent, queue } => Self::AddQueue { parent, queue },
        })
    }
}

impl Op {
    /// The operation as a command of iproute2 on a device, for a POSIX shell, where the kernel offers this queue.
    pub fn command(&self, device: &str, kind: QueueKind) -> String {
        let text = self.text(kind);
        let mut words = text.splitn(3, ' ');
        let mut next = || words.next().unwrap_or_default();
        let (object, verb, rest) = (next(), next(), next());
        format!("tc {object} {verb} dev {} {rest}", shell_word(device))
    }

    /// The operation as a `tc` command without its device.
    pub fn text(&self, kind: QueueKind) -> String {
        match self {
            Self::AddRoot(HtbRoot { handle, default, direct_queue }) => {
                format!("qdisc add root handle {handle} htb default {default:x} direct_qlen {direct_queue}")
            }
            Self::DeleteRoot(root) => format!("qdisc del root handle {}", root.handle),
            Self::AddClass(class) => format!("class add {class}"),
            Self::ChangeClass { to, .. } => format!("class change {to}"),
            Self::DeleteClass(class) => format!("class del classid {}", class.handle),
            Self::AddQueue { parent, queue } => format!("qdisc add parent {parent} {}", queue.words(kind)),
            Self::ChangeQueue { parent, to, .. } => {
                format!("qdisc change parent {parent} {}", to.words(kind))
            }
            Self::DeleteQueue { parent, .. } | Self::DeleteForeignQueue { parent } => {
                format!("qdisc del parent {parent}")
            }
            Self::DeleteFilter(place) => format!("filter del {place}"),
        }
    }

    /// What a change replaces, in `tc`'s words; `None` where the operation adds or deletes.
    pub fn replaced(&self, kind: QueueKind) -> Option<String> {
        match self {
            Self::ChangeClass { from, .. } => Some(from.to_string()),
            Self::ChangeQueue { from, .. } => Some(from.words(kind)),
            _ => None,
        }
    }
}

/// A text as one word of a POSIX shell.
pub fn shell_word(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
    if text.bytes().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
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
    /// The operation as a `tc` command without its device; of a queue the bfifo.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text(QueueKind::Bfifo))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fifo::Bfifo;
    use super::super::fq_codel::FqCodel;
    use super::super::layout::ROOT_QDISC;
    use super::*;
    use flowspec::{Micros, Rate};

    const QUEUE: ClassQueue = ClassQueue {
        fq_codel: FqCodel { target: Micros::new(5_000), interval: Micros::new(100_000) },
        bfifo: Bfifo { limit: Bytes::new(1000) },
    };

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
        let (parent, queue) = (CLASS.handle, QUEUE);
        let longer = ClassQueue { bfifo: Bfifo { limit: Bytes::new(2000) }, ..QUEUE };
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
    fn commands_name_the_device_as_a_word_of_a_shell() {
        let add = Op::AddClass(CLASS);
        let numbers = "htb rate 8000bit ceil 8000bit burst 3000b cburst 3000b quantum 1500 prio 0";
        for (device, word) in
            [("eth0", "eth0"), ("eth0.10", "eth0.10"), ("a$b", "'a$b'"), ("a'b", "'a'\\''b'")]
        {
            let expected = format!("tc class add dev {word} parent 6771:1 classid 6771:100 {numbers}");
            assert_eq!(add.command(device, QueueKind::Bfifo), expected);
        }
        let root = HtbRoot { handle: ROOT_QDISC, default: 2, direct_queue: 0 };
        assert_eq!(
            Op::DeleteRoot(root).command("eth0", QueueKind::Bfifo),
            "tc qdisc del dev eth0 root handle 6771:"
        );
        let changed = Op::ChangeClass { to: HtbClass { prio: 1, ..CLASS }, from: CLASS };
        assert_eq!(
            changed.replaced(QueueKind::Bfifo),
            Some(format!("parent 6771:1 classid 6771:100 {numbers}"))
        );
        assert_eq!(add.replaced(QueueKind::Bfifo), None);
    }

    #[test]
    fn the_queue_of_a_class_is_written_as_the_kernel_offers_it() {
        let op = Op::AddQueue { parent: CLASS.handle, queue: QUEUE };
        let check =
            |kind, words: &str| assert_eq!(op.text(kind), format!("qdisc add parent 6771:100 {words}"));
        check(QueueKind::Bfifo, "bfifo limit 1000");
        check(QueueKind::FqCodel, "fq_codel target 5000us interval 100000us");
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
