//! The kernel's tree, as values: which qdiscs and classes should be there, and what to send for it.
//!
//! Takes an interface's shape and the flows that have a class of their own, gives the desired tree,
//! the difference to an observed one as ordered operations with their undo, and the bytes of each.
//! Nothing here touches the kernel; `linux::netlink` sends the bytes. The words are `tc`'s.

mod change;
mod fifo;
mod handle;
mod htb;
mod proof;
mod tbf;
mod tree;

pub use change::{Change, Op};
pub use fifo::Bfifo;
pub use handle::Handle;
pub use htb::{HtbClass, HtbRoot, NotEncodable, TICK_NANOS};
pub use proof::error_terms;
pub use tbf::Tbf;
pub use tree::{
    DEFAULT, FLOWS, Framed, LARGEST_FLOW_CLASSES, LINK_HEADER, MAJOR, ROOT_CLASS, SHARED, Shape, Tree,
    flow_class, shared_class,
};
