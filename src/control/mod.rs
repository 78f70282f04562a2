//! The protocol of the daemon's control socket: varlink, as values and bytes.
//!
//! Decodes bytes into calls and encodes replies into bytes. Knows no socket, no clock and no engine; the daemon and
//! its clients have those. A message is a JSON object that ends with a NUL. Replies come in the order of the calls.
//!
//! # Types
//!
//! - **Bytes**: a [`FrameReader`] splits the bytes that were read into messages ([`FrameError`]); [`encode`] encodes
//!   a value as a message.
//! - **Envelopes**: [`Call`] and [`Reply`]; their parameters are a [`JsonText`].
//! - **Calls**: a [`Method`] is the name of a method; a [`MethodCall`] is a call with parsed parameters, such as
//!   [`ReserveCall`] and [`ReleaseCall`].
//! - **Answers**: [`DecisionReply`] for each request that the ledger decides, which is read as [`Decided`]; [`ClientNotice`]
//!   and [`EventBatch`] in streams; [`StatusReply`], [`FlowRecord`] and [`ReloadReply`] for administrators; [`ControlError`] instead of any of them.
//! - **Limits**: [`limits`]; the interface in varlink's language: [`INTERFACE`].
//!
//! # Order of calls
//!
//! - Server: [`FrameReader::push`], [`FrameReader::next_message`], [`Call::read`], [`Call::request`]; then [`Reply::answer`] or
//!   [`Reply::error`], and [`encode`].
//! - Client: [`Call::new`] of a [`MethodCall`], [`encode`]; then [`Reply::read`] and [`Reply::parameters`].
//!
//! A decision is the flat record that `gqos replay` prints. With `details`, the client gets in its place the parts from which
//! it builds the same [`Decision`](crate::admission::Decision).
//!
//! - **Source**: varlink.org, "Interface Definition" and "Method Call".

mod decided;
mod envelope;
mod error;
mod fields;
mod frame;
mod json_text;
pub mod limits;
mod method;
mod reply;
mod request;

pub use decided::{Decided, DecisionDetails, DecisionReply};
pub use envelope::{Call, Reply};
pub use error::{ControlError, ReportedProblem};
pub use frame::{FrameError, FrameReader, encode};
pub use json_text::JsonText;
pub use method::{Method, MethodCall};
pub use reply::{
    Attached, ClassRecord, ClientNotice, ConfinementRecord, DrainReply, EgressReply, EventBatch, FlowBatch,
    FlowRecord, GroupDifferenceRecord, GroupRecord, InterfaceDescription, InterfaceRecord, PolicyClassRecord,
    ReloadReply, RenditionRecord, RenditionsReply, ServiceInfo, StatusReply, TrafficRecord,
};
pub use request::{
    AdoptCall, DrainCall, EgressCall, FlowId, FlowOrder, FlowsCall, GetInterfaceDescription, GroupCall,
    Nothing, QueryCall, RefreshCall, ReleaseCall, RenegotiateCall, ReserveCall, RouteHints, RoutePorts,
    StatusCall, UngroupCall, WaitCall,
};

/// The name of the interface: the prefix of its methods and errors.
pub const INTERFACE_NAME: &str = "org.gqos";

/// The interface in varlink's definition language.
pub const INTERFACE: &str = include_str!("org.gqos.varlink");

/// Where the daemon listens unless it is told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/gqos/gqos.sock";
