//! The traffic control of an interface, as values: the tree that is desired, the tree that is observed, and the
//! operations that make one of the other.
//!
//! Takes the shape of a link and the traffic of flows, gives ordered operations with their undo and the bytes of each.
//! Touches no kernel: [`linux`](crate::linux) dumps trees and applies changes. The words are those of `tc`.
//!
//! The types, in the order in which they are used:
//!
//! - **names**: [`Handle`] for a qdisc or a class; [`flow_class`], [`shared_class`], [`LINK_CLASS`] and
//!   [`DEFAULT_CLASS`] for those of a tree;
//! - **sizes**: [`LinkShape`] is a link and [`Framed`] the traffic of a flow; they give the numbers of each class, and
//!   [`LinkRates::error_terms`] the delay that the leaves guarantee;
//! - **settings**: [`HtbRoot`], [`HtbClass`], [`FqCodel`], [`Bfifo`] and [`Tbf`], which emit and parse the kernel's structures;
//! - **classifiers**: [`Filter`] with its [`Target`]; [`cgroup_program`] for the sockets of a control group;
//! - **trees**: [`Desired`], built from a shape and changed flow by flow, in a large tree with [idle classes](is_idle), and [`ObservedTree`], read from a dump;
//! - **other programs' flows**: [`Leaving`] is such a flow's packets, and its filter assigns them to their class;
//! - **receiving**: [`Arriving`] is a flow's packets that arrive, and [`PlacedFilter`] the filter that assigns them to its class;
//! - **changes**: [`Op`] is one request, [`Change`] are requests that are applied together.
//!
//! The order of calls: [`Desired::new`]; once, [`diff`] with what the interface has; then [`Desired::set_leaf`] for
//! each flow that comes, changes or ends, and [`Desired::reshape`] when the link changes, each of which gives the
//! change to apply; at last [`Desired::tear_down`].

mod attributes;
mod cgroup;
mod change;
mod delay;
mod desired;
mod diff;
mod fifo;
mod filter;
mod flower;
mod fq_codel;
mod htb;
mod idle;
mod layout;
mod leaving;
mod observed;
mod queue;
mod receiving;
mod repaired;
mod shape;
mod tbf;

pub use crate::kernel::{Handle, NotAHandle};
pub use cgroup::{CGROUP_PROGRAM, cgroup_program};
pub use change::{Change, Op};
pub use delay::Load;
pub use desired::Desired;
pub use diff::diff;
pub use fifo::Bfifo;
pub use filter::{BPF_MATCH_ALL, Filter, Program, Redirect, Target, TooMany, U32Key};
pub use flower::{FlowerKey, Masked};
pub use fq_codel::FqCodel;
pub use htb::{ClassPlace, HtbBucket, HtbClass, HtbRoot, HtbRootState, NotEncodable, TICK_NANOS};
pub use idle::{LEAST_POOLED, MOST_IDLE, is_idle};
pub use layout::{
    ClassBlock, DEFAULT_CLASS, LARGEST_FLOW_CLASSES, LINK_CLASS, MAJOR, OWN_ROOT, ROOT_QDISC, flow_class,
    flow_number, is_shared_class, shared_class,
};
pub use leaving::{Leaving, leaving_tables};
pub use observed::{ForeignRoot, NotOfGqos, ObservedRoot, ObservedTree};
pub use queue::{ClassQueue, Queue, QueueKind};
pub use receiving::{
    Arriving, FILTER_PRIORITY, INGRESS, INGRESS_QDISC, PlacedFilter, ReceivingChange, ReceivingState,
    flow_tables, received_by, receiver_name, receiving_commands, receiving_removal, redirect_commands,
    redirect_to,
};
pub use shape::{Framed, LINK_HEADER, LinkRates, LinkShape, with_link_headers};
pub use tbf::Tbf;
