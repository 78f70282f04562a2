//! Changes: ordered operations, each with its undo.

use super::fifo::Bfifo;
use super::handle::Handle;
use super::htb::{HtbClass, HtbRoot};
use super::tree::Tree;

/// One request to the kernel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Op {
    /// Make the root qdisc. Fails where one stands already that is not the kernel's default.
    AddRoot(HtbRoot),
    /// Take the root qdisc away with everything below it; the kernel's default returns.
    DeleteRoot(HtbRoot),
    /// Make a class.
    AddClass(HtbClass),
    /// Give a class other numbers: what it is to be, and what it was.
    ChangeClass {
        /// What it is to be.
        to: HtbClass,
        /// What it was.
        from: HtbClass,
    },
    /// Take a class away; packets still in it are dropped.
    DeleteClass(HtbClass),
    /// Give a class a queue of its own.
    AddQueue {
        /// The class.
        parent: Handle,
        /// The queue.
        queue: Bfifo,
    },
}

/// Operations that belong together: all of them, or none.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Change {
    /// In the order in which they are carried out.
    pub ops: Vec<Op>,
}

impl Op {
    /// What takes it back. A queue goes with its class.
    pub const fn undo(&self) -> Option<Self> {
        match *self {
            Self::AddRoot(root) => Some(Self::DeleteRoot(root)),
            Self::AddClass(class) => Some(Self::DeleteClass(class)),
            Self::ChangeClass { to, from } => Some(Self::ChangeClass { to: from, from: to }),
            Self::DeleteClass(class) => Some(Self::AddClass(class)),
            Self::DeleteRoot(_) | Self::AddQueue { .. } => None,
        }
    }
}

impl Change {
    /// Everything an interface needs before its first flow: nothing leaves unclassified, since the
    /// default class is part of it.
    pub fn set_up(tree: &Tree) -> Self {
        let mut ops = vec![Op::AddRoot(tree.root())];
        ops.extend(tree.trunk().map(Op::AddClass));
        let (parent, queue) = tree.default_queue();
        ops.push(Op::AddQueue { parent, queue });
        ops.extend(tree.leaves().copied().map(Op::AddClass));
        Self { ops }
    }

    /// The end of it all.
    pub fn tear_down(tree: &Tree) -> Self {
        Self { ops: vec![Op::DeleteRoot(tree.root())] }
    }

    /// From one leaf to another; nothing where they are the same.
    pub fn leaf(from: Option<HtbClass>, to: Option<HtbClass>) -> Self {
        let ops = match (from, to) {
            (None, Some(to)) => vec![Op::AddClass(to)],
            (Some(from), None) => vec![Op::DeleteClass(from)],
            (Some(from), Some(to)) if from != to => vec![Op::ChangeClass { to, from }],
            (Some(_), Some(_)) | (None, None) => Vec::new(),
        };
        Self { ops }
    }
}

impl std::fmt::Display for Op {
    /// The operation as a `tc` command without its device.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AddRoot(root) => {
                write!(
                    f,
                    "qdisc add root handle {} htb default {:x} direct_qlen 0",
                    root.handle, root.default
                )
            }
            Self::DeleteRoot(root) => write!(f, "qdisc del root handle {}", root.handle),
            Self::AddClass(class) => write!(f, "class add {class}"),
            Self::ChangeClass { to, .. } => write!(f, "class change {to}"),
            Self::DeleteClass(class) => write!(f, "class del classid {}", class.handle),
            Self::AddQueue { parent, queue } => {
                write!(f, "qdisc add parent {parent} bfifo limit {}", queue.limit.get())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::{Framed, Shape, flow_class};
    use super::*;
    use flowspec::{Bytes, Direction, Flowspec, Rate, TSpec};

    fn tree() -> Tree {
        Tree::new(Shape {
            capacity: Rate::from_mbit(100),
            budget: Rate::from_mbit(80),
            mtu: Bytes::new(1500),
            wait: flowspec::Micros::new(0),
        })
    }

    #[test]
    fn a_set_up_reads_like_tc() {
        let commands: Vec<_> = Change::set_up(&tree()).ops.iter().map(Op::to_string).collect();
        assert_eq!(
            commands,
            [
                "qdisc add root handle 6771: htb default 2 direct_qlen 0",
                "class add parent 6771: classid 6771:1 htb rate 99000000bit ceil 99000000bit burst 12375b cburst 12375b quantum 60000 prio 0",
                "class add parent 6771:1 classid 6771:2 htb rate 1500000bit ceil 99000000bit burst 3028b cburst 12375b quantum 2343 prio 7",
                "qdisc add parent 6771:2 bfifo limit 625000",
            ]
        );
    }

    #[test]
    fn a_flow_gets_its_rate_with_headers_and_its_bucket_less_a_packet() {
        let spec = Flowspec {
            minimum_policed_size: Some(Bytes::new(1400)),
            ..Flowspec::guaranteed(Rate::from_mbit(6), Bytes::new(65_536))
        };
        let tspec = TSpec::new(&spec, Direction::Sending, Bytes::new(1500)).ok().flatten().expect("valid");
        let leaf = tree().leaf_for(flow_class(0), [Framed::new(&tspec, Rate::ZERO)]).expect("one flow");
        assert_eq!(leaf.handle.to_string(), "6771:100");
        assert_eq!(leaf.rate, Rate::new(757_500), "750 000 · 1414 ÷ 1400");
        assert_eq!(leaf.ceil, leaf.rate, "without a peak nothing is borrowed");
        assert_eq!(leaf.burst.get(), 66_192 - 1514, "65 536 · 1414 ÷ 1400, less a packet");
    }

    #[test]
    fn flows_that_share_a_class_add_up_and_none_need_none() {
        let flow = Framed {
            rate: Rate::new(1000),
            peak: None,
            bucket: Bytes::new(10_000),
            packet: Bytes::new(1514),
        };
        let leaf = tree().leaf_for(flow_class(0), [flow, flow]).expect("two flows");
        assert_eq!((leaf.rate, leaf.burst), (Rate::new(2000), Bytes::new(20_000 - 1514)));
        assert_eq!(tree().leaf_for(flow_class(0), []), None);
    }

    #[test]
    fn undo_takes_back() {
        let class = tree().trunk()[1];
        let add = Op::AddClass(class);
        assert_eq!(add.undo(), Some(Op::DeleteClass(class)));
        assert_eq!(add.undo().and_then(|undo| undo.undo()), Some(add));
    }
}
