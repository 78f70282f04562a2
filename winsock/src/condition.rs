//! What an acceptor's condition function learns of a connection, and what it decides.

use std::net::SocketAddr;

use flowspec::Qos;

use super::group::GroupSelection;
use super::provider_specific::ProviderSpecific;

/// A connection that waits to be accepted.
///
/// - **Source**: WSPAccept, parameters of ConditionFunc.
#[derive(Clone, Copy, Debug)]
pub struct IncomingConnection<'a> {
    /// The caller's address.
    pub peer: SocketAddr,
    /// The address that it has connected to.
    pub local: SocketAddr,
    /// The data that it has sent with its connect call.
    pub caller_data: &'a [u8],
    /// The QOS that it has requested, from the acceptor's side: sending is what the acceptor sends.
    pub sqos: Option<Qos>,
    /// The QOS of the caller's group, from the acceptor's side.
    pub gqos: Option<Qos>,
}

/// What the condition function of WSAAccept decided: CF_ACCEPT, CF_REJECT or CF_DEFER.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ConditionResult {
    /// CF_ACCEPT.
    Accept(Box<AcceptOptions>),
    /// CF_REJECT: the caller fails with WSAECONNREFUSED.
    Reject,
    /// CF_DEFER: the connection stays the first in the queue.
    Defer,
}

impl ConditionResult {
    /// CF_ACCEPT without options.
    pub fn accept() -> Self {
        Self::Accept(Box::default())
    }
}

impl From<AcceptOptions> for ConditionResult {
    fn from(options: AcceptOptions) -> Self {
        Self::Accept(Box::new(options))
    }
}

/// What an acceptor adds to a connection.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AcceptOptions {
    /// Data for the caller, at most [`MAX_CONNECT_DATA`](super::MAX_CONNECT_DATA) bytes.
    pub callee_data: Vec<u8>,
    /// The group of the new socket.
    pub group: GroupSelection,
    /// The QOS to reserve at this end, in place of the caller's.
    pub sqos: Option<Qos>,
    /// The objects of `sqos`.
    pub provider_specific: ProviderSpecific,
}
