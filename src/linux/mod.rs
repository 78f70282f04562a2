//! The only room that names nix and rtnetlink: what is asked of the kernel, and what it answers.
//!
//! Takes values (operations, addresses, options) and returns values or an error that names the
//! call, the object and the errno. Knows no policy and no flows.

pub mod capture;
mod claim;
mod error;
mod links;
mod monitor;
pub mod namespace;
mod netlink;
mod owner;
pub mod socket;
mod topology;
mod traffic;

pub use claim::Claim;
pub use links::{Link, Route};
pub use monitor::{LinkEvent, LinkEvents};
pub use netlink::Netlink;
pub use owner::owner;
pub use topology::Veth;
pub use traffic::{ClassState, NewQdisc, RootState};
