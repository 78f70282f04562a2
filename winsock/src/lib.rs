//! A Winsock service provider: sockets whose connect call takes flow specifications.
//!
//! Takes Winsock's calls, with their parameters, states and codes, on Linux descriptors; gives a `Wsa` code
//! where something is not as it should be. What is asked of the network's quality goes to the host's manager;
//! nothing is decided here. [`Socket`] is the safe face, `abi` (with the feature `capi`) the one that C programs call.
//!
//! ```text
//! Socket::connect ─► checks, in the page's order ─► Host::reserve ─► connect(2) ─► held to its flowspec
//! ```

pub mod abi;
mod accept;
mod bind;
mod catalogue;
mod connect;
mod data;
mod event;
mod exchange;
mod group;
mod later;
mod leaf;
mod notify;
mod options;
mod promise;
mod provider;
mod qos;
mod select;
mod setup;
mod socket;
pub mod sys;
mod waiting;
mod wishes;

pub use catalogue::{Catalogued, PROTOCOLS, XP1_CONNECT_DATA, XP1_QOS_SUPPORTED, XP1_UNI_RECV, XP1_UNI_SEND};
pub use connect::{Connecting, Outcome};
pub use event::{Event, wait_for_events};
pub use exchange::{Accepting, Caller, Verdict};
pub use group::Grouping;
pub use leaf::Role;
pub use notify::{Callback, Events, NetworkEvents};
pub use options::{Choice, Value};
pub use provider::{ask, cleanup, startup, startup_with};
pub use qos::{Template, template, templates};
pub use select::{Interest, poll, select};
pub use setup::{Answer, MOST_DATA, NotAMessage, Offer};
pub use socket::{Family, Kind, Socket};
pub use waiting::cancel_blocking_call;
pub use wishes::{Status, Wishes};

use flowspec::Wsa;

/// What a call gives, or the code of WSAGetLastError.
pub type Result<T> = core::result::Result<T, Wsa>;
