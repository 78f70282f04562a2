//! How a tree in the kernel differs from the one that was programmed.
//!
//! Takes the change that repairs it, gives what each operation mends. Text is made where a person reads it.

use std::fmt;

use super::change::{Change, Op};
use super::handle::Handle;

/// One difference of a tree.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Difference {
    /// The root qdisc was deleted.
    #[error("the root qdisc is missing")]
    RootMissing,
    /// The root qdisc is gqos's by its handle and has another default or direct queue.
    #[error("the root qdisc {root} has other settings")]
    RootChanged {
        /// The qdisc's handle.
        root: Handle,
    },
    /// A class was deleted.
    #[error("class {class} is missing")]
    ClassMissing {
        /// The class that was programmed.
        class: Handle,
    },
    /// A class has another rate, ceil, burst or quantum.
    #[error("class {class} has another rate or bucket")]
    ClassChanged {
        /// The class that was programmed.
        class: Handle,
    },
    /// There is a class that was not programmed.
    #[error("class {class} was added by another program")]
    ClassForeign {
        /// The class that was added.
        class: Handle,
    },
    /// A class has no queue of its own, another queue, or one that was not programmed.
    #[error("class {class} has another queue")]
    QueueChanged {
        /// The class that the queue belongs to.
        class: Handle,
    },
    /// The ingress qdisc was deleted.
    #[error("the ingress qdisc is missing")]
    IngressMissing,
    /// The qdisc of another program has what the interface receives.
    #[error("another program has the ingress qdisc")]
    IngressForeign,
    /// The filter was deleted that leads what the interface receives to its ifb.
    #[error("the redirect of what is received is missing")]
    RedirectMissing,
    /// The ifb was deleted.
    #[error("the ifb is missing")]
    IfbMissing,
    /// The ifb was set down.
    #[error("the ifb is down")]
    IfbDown,
    /// The ifb was given another name.
    #[error("the ifb has another name")]
    IfbRenamed,
    /// Filters of the ifb were deleted, or others added.
    #[error("the filters of the ifb were changed")]
    FiltersChanged,
}

/// The differences of a tree: the first of them, and how many more there are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Differences {
    /// In the order in which they are repaired, at most four.
    pub first: Vec<Difference>,
    /// How many are not among the first.
    pub more: usize,
}

/// How many differences are named.
const MOST_NAMED: usize = 4;

impl Difference {
    /// The difference that an operation repairs.
    pub const fn repaired_by(op: &Op) -> Self {
        match op {
            Op::AddRoot(_) => Self::RootMissing,
            Op::DeleteRoot(root) => Self::RootChanged { root: root.handle },
            Op::AddClass(class) => Self::ClassMissing { class: class.handle },
            Op::ChangeClass { from, .. } => Self::ClassChanged { class: from.handle },
            Op::DeleteClass(class) => Self::ClassForeign { class: class.handle },
            Op::AddQueue { parent, .. } | Op::ChangeQueue { parent, .. } | Op::DeleteQueue { parent, .. } => {
                Self::QueueChanged { class: *parent }
            }
        }
    }
}

impl Differences {
    /// A single difference.
    pub fn one(difference: Difference) -> Self {
        Self { first: vec![difference], more: 0 }
    }

    /// The differences that a change repairs.
    pub fn repaired_by(repair: &Change) -> Self {
        let first: Vec<_> = repair.ops.iter().take(MOST_NAMED).map(Difference::repaired_by).collect();
        Self { more: repair.ops.len() - first.len(), first }
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, difference) in self.first.iter().enumerate() {
            let lead = if number == 0 { "" } else { ", " };
            write!(f, "{lead}{difference}")?;
        }
        if self.more > 0 { write!(f, ", {} more differences", self.more) } else { Ok(()) }
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
            let found = Differences::repaired_by(&Change { ops: ops.to_vec() });
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
