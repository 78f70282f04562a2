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
mod client;
mod effective;
mod interface;
mod lint;
mod model;
pub(crate) mod notation;
mod owner;
mod place;
mod problem;
pub(crate) mod problems;
pub(crate) mod read;
mod rule;
mod schema;

pub use changes::{Changes, Item};
pub use class::{Admission, Allocate, Class};
pub use client::Client;
pub use interface::{Budget, Capacity, ClassModel, Enforcement, Hysteresis, InterfacePolicy, OnCapacityDrop};
pub use model::{Group, GroupMode, Policy, Template};
pub use owner::{Owner, OwnerMatch};
pub use place::{Place, Source};
pub use problem::{Code, Label, Problem, Severity};
pub use rule::{Match, Network, NotANetwork, PortRange, Protocol, Rule, Subject};
pub use schema::schema;
