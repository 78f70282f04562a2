//! The differences that a change repairs.

use super::change::{Change, Op};
use crate::kernel::{Difference, Differences};

impl Change {
    /// The differences that the change repairs, in its order.
    pub fn repaired(&self) -> Differences {
        let first: Vec<_> = self.ops.iter().take(Differences::MOST_NAMED).map(Op::repaired).collect();
        Differences { more: self.ops.len() - first.len(), first }
    }
}

impl Op {
    const fn repaired(&self) -> Difference {
        match self {
            Self::AddRoot(_) => Difference::RootMissing,
            Self::DeleteRoot(root) => Difference::RootChanged { root: root.handle },
            Self::AddClass(class) => Difference::ClassMissing { class: class.handle },
            Self::ChangeClass { from, .. } => Difference::ClassChanged { class: from.handle },
            Self::DeleteClass(class) => Difference::ClassForeign { class: class.handle },
            Self::AddQueue { parent, .. }
            | Self::ChangeQueue { parent, .. }
            | Self::DeleteQueue { parent, .. }
            | Self::DeleteForeignQueue { parent } => Difference::QueueChanged { class: *parent },
            Self::DeleteFilter(place) => Difference::FilterForeign { parent: place.parent },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tc::{HtbRoot, ROOT_QDISC};

    #[test]
    fn the_first_differences_are_named_and_the_others_counted() {
        let root = HtbRoot { handle: ROOT_QDISC, default: 2, direct_queue: 0 };
        let check = |ops: &[Op], text: &str| {
            let found = Change { ops: ops.to_vec() }.repaired();
            assert_eq!(found.to_string(), text);
            assert_eq!(found.first.len() + found.more, ops.len());
        };
        check(&[Op::AddRoot(root)], "the root qdisc is missing");
        let [deleted, added] = [Op::DeleteRoot(root), Op::AddRoot(root)];
        check(&[deleted, added], "the root qdisc 6771: has other settings, the root qdisc is missing");
        check(
            &[added; 6],
            "the root qdisc is missing, the root qdisc is missing, the root qdisc is missing, the root qdisc is missing, \
             2 more differences",
        );
    }
}
