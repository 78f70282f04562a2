//! The policy: what each interface may promise, and to whom.
//!
//! Takes the text of one or more policy files, gives a [`Policy`], or every problem in them at once,
//! each with its place. Knows neither files, nor sockets, nor what has been promised so far.
//!
//! ```text
//! text ─► document (places, units) ─► Policy ─► rule look-up
//!                └─► Problem, Problem, …
//! ```

mod changes;
mod class;
pub(crate) mod document;
pub(crate) mod effective;
mod interface;
mod lint;
mod model;
mod owner;
mod problem;
pub(crate) mod reader;
mod rule;
mod schema;

pub use changes::{Changes, Item};
pub use model::{
    Admission, Allocate, Budget, Capacity, Class, ClassModel, Client, Enforcement, Group, GroupMode,
    Hysteresis, InterfacePolicy, OnCapacityDrop, Place, Policy, Template,
};
pub use owner::{Owner, OwnerMatch};
pub use problem::{Code, Label, Problem, Severity};
pub use reader::Source;
pub use rule::{Match, Network, NotANetwork, PortRange, Protocol, Rule, Subject};
pub use schema::schema;
