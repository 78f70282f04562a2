//! The layout of a tree: which handle stands for what.

use super::handle::Handle;
use super::htb::HtbRoot;

/// The major number of gqos's trees: `gq` in ASCII. A root qdisc with another handle is foreign.
pub const MAJOR: u16 = 0x6771;

/// The root qdisc.
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

/// The first minor number of the classes that the flows of a policy class share.
const SHARED: u16 = 0x10;

/// The first minor number of the classes that one flow, or one group, has to itself.
const FLOWS: u16 = 0x100;

/// How many flows of an interface have a class of their own.
///
/// Adding a class costs the kernel time in proportion to the number of classes: with this many it takes less than a
/// tenth of a millisecond.
pub const LARGEST_FLOW_CLASSES: u16 = 1_000;

/// The class of one flow, by the number of the flow, which is below [`LARGEST_FLOW_CLASSES`].
pub const fn flow_class(number: u16) -> Handle {
    ROOT_QDISC.class(FLOWS + number)
}

/// The number that [`flow_class`] made the handle of; `None` for any other class.
pub fn flow_number(class: Handle) -> Option<u16> {
    let number = class.minor().checked_sub(FLOWS)?;
    (class.major() == MAJOR && number < LARGEST_FLOW_CLASSES).then_some(number)
}

/// The class that the flows of a policy class share, by the number of the policy class.
///
/// There are more policy classes than minor numbers: from the 240th on they share one class, which isolates them less.
pub fn shared_class(number: usize) -> Handle {
    let most = FLOWS - SHARED - 1;
    ROOT_QDISC.class(SHARED + u16::try_from(number).unwrap_or(most).min(most))
}

/// Whether [`shared_class`] made the handle.
pub fn is_shared_class(class: Handle) -> bool {
    class.major() == MAJOR && (SHARED..FLOWS).contains(&class.minor())
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
            (flow_class(LARGEST_FLOW_CLASSES), None, false),
            (Handle::qdisc(1).class(0x100), None, false),
            (Handle::qdisc(1).class(0x10), None, false),
        ] {
            assert_eq!((flow_number(class), is_shared_class(class)), (flow, shared), "{class}");
        }
        assert_eq!(shared_class(239), shared_class(usize::MAX), "the last class takes the rest");
    }
}
