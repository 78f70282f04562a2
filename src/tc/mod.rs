//! The traffic control of an interface, as values: the desired tree, the observed tree, and the operations that
//! change the observed tree into the desired one.
//!
//! Takes the shape of a link and the traffic of flows; returns ordered operations with their undo, and the encoding
//! of each. Makes no system calls: [`linux`](crate::linux) dumps trees and applies changes. The terms are those of
//! `tc`.
//!
//! The types, in the order in which they are used:
//!
//! - **names**: [`Handle`] for a qdisc or a class; [`flow_class`], [`shared_class`], [`LINK_CLASS`] and
//!   [`DEFAULT_CLASS`] for those of a tree;
//! - **sizes**: [`LinkShape`] is a link and [`Framed`] the traffic of a flow; they determine the parameters of each
//!   class. [`LinkRates::error_terms`] computes the delay that the leaves guarantee;
//! - **settings**: [`HtbRoot`], [`HtbClass`], [`FqCodel`], [`Bfifo`] and [`Tbf`], which emit and parse the kernel's structures;
//! - **classifiers**: [`Filter`] with its [`Target`]; [`cgroup_program`] for the sockets of a control group;
//! - **trees**: [`Desired`], built from a shape and changed flow by flow, in a large tree with [idle classes](is_idle), and [`ObservedTree`], read from a dump with its [`ObservedFilter`]s;
//! - **other programs' flows**: [`Leaving`] describes the packets of such a flow, and its filter assigns them to
//!   their class;
//! - **receiving**: [`Arriving`] describes the received packets of a flow, and [`PlacedFilter`] is the filter that
//!   assigns them to the flow's class;
//! - **changes**: [`Op`] is one request; a [`Change`] is a list of requests that are applied together.
//!
//! The order of calls: [`Desired::new`]; once, [`diff`] with the observed tree of the interface; then
//! [`Desired::set_leaf`] for each flow that starts, changes or ends, and [`Desired::reshape`] when the link changes;
//! finally [`Desired::tear_down`]. Each of them returns the change to apply.

mod attributes;
mod cgroup;
mod change;
mod delay;
mod desired;
mod diff;
mod fifo;
mod filter;
mod flow_class;
mod flower;
mod fq_codel;
mod htb;
mod idle;
mod layout;
mod leaving;
mod observed;
mod observed_filter;
mod queue;
mod receiving;
mod repaired;
mod shape;
mod tbf;

pub use crate::kernel::{Handle, NotAHandle};
pub use cgroup::{CGROUP_PROGRAM, cgroup_program};
pub use change::{Change, Op, shell_word};
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
    ClassBlock, DEFAULT_CLASS, FILTER_PRIORITY, LARGEST_FLOW_CLASSES, LINK_CLASS, MAJOR, OWN_ROOT,
    ROOT_QDISC, flow_class, flow_number, is_shared_class, shared_class,
};
pub use leaving::{Leaving, leaving_tables};
pub use observed::{ForeignRoot, NotOfGqos, ObservedRoot, ObservedTree};
pub use observed_filter::{FilterPlace, ObservedFilter};
pub use queue::{ClassQueue, Queue, QueueKind};
pub use receiving::{
    Arriving, INGRESS, INGRESS_QDISC, PlacedFilter, ReceivingChange, ReceivingState, flow_tables,
    received_by, receiver_name, receiving_commands, receiving_removal, redirect_commands, redirect_to,
};
pub use shape::{Framed, LINK_HEADER, LinkRates, LinkShape, with_link_headers};
pub use tbf::Tbf;
