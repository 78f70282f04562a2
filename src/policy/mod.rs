//! The policy: how much of each interface may be reserved, and by which flows.
//!
//! Takes the text of one or more policy files and returns a [`Policy`], or every problem at once, each with its
//! position in the text. Knows neither files nor sockets nor reservations.
//!
//! ```text
//! text ─► read (tables, units, places) ─► Policy ─► looked up by the ledger and by the engine
//!                  └─► Problem, Problem, …
//! ```
//!
//! # Types
//!
//! - **Input**: a [`Source`] is one text and its name; a [`Place`] is a range of bytes in a source.
//! - **A checked policy**: [`Policy`] and what its tables define:
//!   - [`InterfacePolicy`], with [`Budget`], [`Capacity`], [`ClassModel`], [`Enforcement`], [`Shared`], [`Hysteresis`] and
//!     [`OnCapacityDrop`];
//!   - [`Class`], with [`Allocate`] and [`Admission`];
//!   - [`Template`], [`Group`] with its [`GroupMode`], [`Client`] and [`Rule`];
//!   - [`Proxy`] with its [`ProxyProtocol`], [`ProxyRule`]s, [`ProxyLimits`], [`RefuseAs`] and [`HeaderVersion`];
//!   - [`PeerTimeouts`] and [`OwnTimeouts`], each a [`Timeout`].
//! - **Look-up**: a rule's [`Match`] ([`Protocol`], [`PortRange`], [`Network`]) is compared with a [`Subject`]; a
//!   class's [`OwnerMatch`] with an [`Owner`]; a proxy's [`ProxyMatch`] with a [`ProxySubject`].
//! - **Problems**: a [`Problem`] has a stable [`Code`] with a [`Severity`], a place and further [`Label`]s.
//! - **Flowspecs outside of a policy**: [`flowspec_of_argument`] and [`flowspecs_of_toml`], with [`FlowspecProblem`]s.
//! - **Derived**: [`PolicyChanges`] lists the [`PolicyItem`]s that differ between two policies, as [`ItemChange`]s
//!   and [`KeyChange`]s; [`schema()`] is the JSON schema of a policy file.
//!
//! # Order of calls
//!
//! 1. [`Policy::parse`] reads the sources, merges them and checks the result.
//! 2. [`crate::admission::Ledger`] takes the policy and looks up interfaces, classes, groups and clients by name.
//! 3. For a caller that names neither class nor flowspec, [`Policy::rule_for`] and [`Policy::class_for`] choose them.
//! 4. To reload, parse again and pass the new policy to the manager; [`PolicyChanges::between`] lists the
//!    differences.

mod addresses;
mod changes;
mod class;
mod client;
mod code;
mod daemon;
pub(crate) mod device;
mod effective;
mod entries;
mod flowspec_text;
mod http;
mod interface;
mod lint;
pub(crate) mod mark;
mod model;
pub(crate) mod notation;
mod owner;
mod place;
mod problem;
pub(crate) mod problems;
mod proxy;
mod reach;
pub(crate) mod read;
mod region;
mod render;
mod rule;
pub(crate) mod schema;
mod timeouts;
mod without_daemon;

pub use changes::{ItemChange, KeyChange, PolicyChanges, PolicyItem};
pub use class::{Admission, Allocate, Class};
pub use client::Client;
pub use code::{Code, Severity};
pub use daemon::{AuditPolicy, DaemonPolicy, Degrade};
pub use flowspec_text::{FlowspecProblem, flowspec_of_argument, flowspecs_of_toml};
pub use http::{HttpAddress, InvalidHttpAddress};
pub use interface::{
    Budget, Capacity, ClassModel, Enforcement, Hysteresis, InterfacePolicy, OnCapacityDrop, Shared,
};
pub use model::{FlowNames, Group, GroupMode, Policy, Template, WireNames};
pub use owner::{Owner, OwnerMatch};
pub use place::{Place, Source};
pub use problem::{Label, Problem};
pub use proxy::{
    HeaderVersion, Proxy, ProxyLimits, ProxyMatch, ProxyProtocol, ProxyRule, ProxySubject, RefuseAs,
};
pub use rule::{Match, Network, NotANetwork, PortRange, Protocol, Rule, Subject};
pub use schema::schema;
pub use timeouts::{OwnTimeouts, PeerTimeouts, Timeout};
