//! A Winsock service provider for Linux: sockets whose connect call takes flow specifications.
//!
//! Takes Winsock's calls, with their parameters, states and codes, on Linux descriptors; returns a [`Wsa`] code where a
//! call fails. Reservations are the host's ([`gqos::connect::Host`]): nothing is admitted or refused here. [`abi`] has
//! the same calls for C programs; the package `libgqos` links it into `libgqos.so` and `libgqos.a`.
//!
//! # Types
//!
//! - **Sockets**: [`Socket`] owns a socket and dereferences to its [`Endpoint`], which has the calls. [`Family`],
//!   [`SocketType`] and [`ProtocolInfo`] say what kind of socket it is; [`SocketOption`] with [`OptionValue`], and
//!   [`NetworkOption`], are its options.
//! - **Connecting and accepting**: [`ConnectRequest`], [`ConnectOutcome`]; [`IncomingConnection`], [`ConditionResult`],
//!   [`AcceptOptions`]; [`LeafRole`] and [`MulticastInterface`] for multicast. [`Offer`] and [`CalleeAnswer`] are the messages
//!   of the connect-data handshake.
//! - **Quality of service**: [`Qos`](flowspec::Qos) with [`ProviderSpecific`], [`QosStatus`], [`NamedQos`], and
//!   [`GroupSelection`] for sockets that share a reservation.
//! - **Waiting**: [`EventObject`] and [`EventSet`] with [`NetworkEvents`] or a [`Callback`]; [`PollEvents`] for [`select`] and
//!   [`poll`].
//!
//! # Order of calls
//!
//! ```text
//! startup ─► Socket::open ─► [bind] ─► [set_qos] ─┬─► connect ─────────────────► send, receive ─► shutdown ─► close ─► cleanup
//!                                                 └─► bind, listen, accept_if ─► send, receive ─► …
//! ```
//!
//! [`startup`] starts the reactor thread and reads the policy; every other call fails with WSANOTINITIALISED before it.
//! [`Endpoint::connect`] makes its checks in the order of WSPConnect's page, reserves, connects, and commits the
//! reservation: from then on data is shaped. A connection that fails leaves neither a reservation nor a trace on its
//! socket. [`Endpoint::set_qos`] changes a reservation at any time, and [`Endpoint::qos`] reads its status. Closing the
//! socket releases the reservation once the data on its way has left; [`cleanup`] closes all sockets.
//!
//! [`Wsa`]: flowspec::Wsa

#![deny(unsafe_op_in_unsafe_fn)]

pub mod abi;
mod accept;
mod adopt;
mod bind;
mod blocking;
mod close;
mod close_state;
mod condition;
mod connect;
mod descriptor;
mod endpoint;
mod event;
mod group;
mod group_qos;
mod handshake;
mod message;
mod multicast;
mod named_qos;
mod network_events;
mod network_options;
mod operations;
mod options;
mod other_end;
mod overlapped;
mod protocol;
mod provider;
mod provider_specific;
mod qos;
mod qos_host;
mod qos_state;
mod qwave;
mod receive;
mod reservation;
mod select;
mod select_events;
mod send;
mod socket;
mod socket_table;
mod startup;
mod status;
mod sys;

pub use blocking::cancel_blocking_call;
pub use condition::{AcceptOptions, ConditionResult, IncomingConnection};
pub use connect::{ConnectOutcome, ConnectRequest};
pub use endpoint::Endpoint;
pub use event::{EventObject, wait_for_events};
pub use group::GroupSelection;
pub use handshake::{CalleeAnswer, MAX_CONNECT_DATA, MessageError, Offer};
pub use multicast::LeafRole;
pub use named_qos::{NamedQos, named_qos, named_qos_list};
pub use network_events::{Callback, EventSet, NetworkEvents};
pub use network_options::KeepAlive;
pub use options::{OptionValue, SocketOption};
pub use protocol::{
    Family, PROTOCOLS, ProtocolInfo, SocketType, XP1_CONNECT_DATA, XP1_QOS_SUPPORTED, XP1_UNI_RECV,
    XP1_UNI_SEND,
};
pub use provider_specific::ProviderSpecific;
pub use select::{PollEvents, poll, select};
pub use socket::Socket;
pub use startup::{cleanup, startup, startup_with, submit};
pub use status::QosStatus;
pub use sys::{Address, MessageFlags, MulticastInterface, NetworkOption, ShutdownHow};

use flowspec::Wsa;

/// The result of a call: a value, or the code of WSAGetLastError.
pub type Result<T> = core::result::Result<T, Wsa>;
