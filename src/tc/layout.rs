//! The layout of a tree: which handle stands for what.

use super::htb::HtbRoot;
use crate::kernel::Handle;

/// The major number of gqos's trees: `gq` in ASCII. A root qdisc with another handle is foreign.
pub const MAJOR: u16 = 0x6771;

/// `1:`, the HTB of every tree.
pub const ROOT_QDISC: Handle = Handle::qdisc(MAJOR);

/// The class that stands for the link: the parent of all others.
pub const LINK_CLASS: Handle = ROOT_QDISC.class(1);

/// The class of all packets without a reservation.
pub const DEFAULT_CLASS: Handle = ROOT_QDISC.class(2);

/// The settings of the root qdisc.
///
/// Its direct queue holds nothing: a packet without a class, sent before the default class is added, is dropped instead
/// of passing all shaping.
pub const OWN_ROOT: HtbRoot = HtbRoot { handle: ROOT_QDISC, default: DEFAULT_CLASS.minor(), direct_queue: 0 };

/// The priority of gqos's filters: `gq` in ASCII, which marks the ingress qdisc as gqos's. The filters of IPv6 have the
/// next one, since the kernel takes one protocol for each priority.
pub const FILTER_PRIORITY: u16 = MAJOR;

/// The first minor number of block 0.
const FIRST: u16 = 0x10;

/// How many classes of a tree are shared by the flows of a policy class.
const SHARED_CLASSES: u16 = 240;

/// How many flows of an interface have a class of their own.
///
/// Adding a class costs the kernel time in proportion to the number of classes: with this many it takes less than a
/// tenth of a millisecond.
pub const LARGEST_FLOW_CLASSES: u16 = 1_000;

/// How many minor numbers a block has.
const BLOCK: u16 = SHARED_CLASSES + LARGEST_FLOW_CLASSES;

/// The minor numbers that the flows' classes of one tree have.
///
/// A packet keeps its SO_PRIORITY from a VLAN, a macvlan or a bridge to the device below it: a class of the same number in the
/// tree of that device would take it. Trees with different blocks have no such class in common.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct ClassBlock(u16);

impl ClassBlock {
    /// How many blocks there are.
    pub const COUNT: u16 = (u16::MAX - FIRST) / BLOCK;

    /// All blocks.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(Self)
    }

    /// The block that a flow's class is of; `None` for any other class.
    pub fn of(class: Handle) -> Option<Self> {
        block_and_index(class).map(|(block, _)| block)
    }

    /// The class of one flow, by the number of the flow, which is below [`LARGEST_FLOW_CLASSES`].
    pub const fn flow_class(self, number: u16) -> Handle {
        ROOT_QDISC.class(FIRST + self.0 * BLOCK + SHARED_CLASSES + number)
    }

    /// The number that [`flow_class`](Self::flow_class) made the handle of; `None` for any other class.
    pub fn flow_number(self, class: Handle) -> Option<u16> {
        block_and_index(class).filter(|(block, _)| *block == self)?.1.checked_sub(SHARED_CLASSES)
    }

    /// The class that the flows of a policy class share, by the number of the policy class.
    ///
    /// There are more policy classes than minor numbers: from the 240th on they share one class, which isolates them less.
    pub fn shared_class(self, number: usize) -> Handle {
        let most = SHARED_CLASSES - 1;
        ROOT_QDISC.class(FIRST + self.0 * BLOCK + u16::try_from(number).unwrap_or(most).min(most))
    }
}

/// The block of a class, and its index there, from 0.
fn block_and_index(class: Handle) -> Option<(ClassBlock, u16)> {
    let number = class.minor().checked_sub(FIRST).filter(|_| class.major() == MAJOR)?;
    Some((ClassBlock(number / BLOCK), number % BLOCK)).filter(|(block, _)| block.0 < ClassBlock::COUNT)
}

/// The class of one flow in block 0, by the number of the flow, which is below [`LARGEST_FLOW_CLASSES`].
pub const fn flow_class(number: u16) -> Handle {
    ClassBlock(0).flow_class(number)
}

/// The number of the flow in its block, where this is the class of one flow.
pub fn flow_number(class: Handle) -> Option<u16> {
    block_and_index(class)?.1.checked_sub(SHARED_CLASSES)
}

/// The class of block 0 that the flows of a policy class share, by the number of the policy class.
pub fn shared_class(number: usize) -> Handle {
    ClassBlock(0).shared_class(number)
}

/// Whether the flows of a policy class share the class.
pub fn is_shared_class(class: Handle) -> bool {
    block_and_index(class).is_some_and(|(_, index)| index < SHARED_CLASSES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_of_one_kind() {
        for (class, flow, shared) in [
            (ROOT_QDISC, None, false),
            (LINK_CLASS, None, false),
            (DEFAULT_CLASS, None, false),
            (shared_class(0), None, true),
            (shared_class(239), None, true),
            (shared_class(240), None, true),
            (flow_class(0), Some(0), false),
            (flow_class(LARGEST_FLOW_CLASSES - 1), Some(LARGEST_FLOW_CLASSES - 1), false),
            (flow_class(LARGEST_FLOW_CLASSES), None, true),
            (ROOT_QDISC.class(0xf), None, false),
            (ROOT_QDISC.class(u16::MAX), None, false),
            (Handle::qdisc(1).class(0x100), None, false),
            (Handle::qdisc(1).class(0x10), None, false),
        ] {
            assert_eq!((flow_number(class), is_shared_class(class)), (flow, shared), "{class}");
        }
        assert_eq!(shared_class(239), shared_class(usize::MAX), "the last class takes the rest");
    }

    #[test]
    fn blocks_have_no_class_in_common() {
        let mut seen = std::collections::BTreeSet::from([LINK_CLASS, DEFAULT_CLASS, ROOT_QDISC]);
        for block in ClassBlock::all() {
            for number in 0..LARGEST_FLOW_CLASSES {
                let class = block.flow_class(number);
                assert!(seen.insert(class), "{block:?}: {class}");
                assert_eq!((block.flow_number(class), flow_number(class)), (Some(number), Some(number)));
                assert!(!is_shared_class(class), "{class}");
            }
            for number in 0..usize::from(SHARED_CLASSES) {
                let class = block.shared_class(number);
                assert!(seen.insert(class), "{block:?}: {class}");
                assert_eq!((flow_number(class), is_shared_class(class)), (None, true), "{class}");
            }
        }
        assert_eq!(flow_class(0).minor(), 0x100);
        let [first, second] = [ClassBlock(0), ClassBlock(1)];
        assert_eq!(first.flow_number(second.flow_class(0)), None);
    }
}
