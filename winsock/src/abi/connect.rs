//! The parameters of the connect calls.

use std::net::SocketAddr;

use flowspec::{Qos, Wsa};

use super::qos::QosReadError;
use super::{Address, memory, qos, sockaddr};
use crate::Result;
use crate::connect::{CalleeDataSink, ConnectRequest};
use crate::endpoint::Endpoint;
use crate::handshake::MAX_CONNECT_DATA;
use crate::provider_specific::ProviderSpecific;

/// The pointers that WSAConnect and WSAJoinLeaf take.
#[derive(Clone, Copy)]
pub(super) struct ConnectPointers {
    pub(super) name: Address,
    pub(super) name_length: i32,
    pub(super) caller_data: Address,
    pub(super) callee_data: Address,
    pub(super) sqos: Address,
    pub(super) gqos: Address,
}

/// What they point to.
pub(super) struct ConnectArguments {
    pub(super) peer: SocketAddr,
    caller_data: Vec<u8>,
    sqos: ReadQos,
    gqos: Option<Qos>,
    callee_capacity: Option<usize>,
    /// The status of a QOS that is inconsistent. That is WSAEOPNOTSUPP, after the checks that come before the QOS.
    pub(super) inconsistent: Option<Wsa>,
}

impl ConnectPointers {
    /// Reads everything that they point to, before anything is done.
    ///
    /// - **Errors**: WSAEFAULT, WSAEAFNOSUPPORT.
    pub(super) fn read(self, endpoint: &Endpoint) -> Result<ConnectArguments> {
        if self.name.is_null() {
            return Err(Wsa::Efault);
        }
        let mut caller_data = Vec::new();
        if !self.caller_data.is_null() {
            let buffer = memory::read_wsabuf(self.caller_data)?;
            if buffer.len() > MAX_CONNECT_DATA {
                return Err(Wsa::Efault);
            }
            caller_data.resize(buffer.len(), 0);
            memory::read(buffer.address(), &mut caller_data)?;
        }
        let mut callee_capacity = None;
        if !self.callee_data.is_null() {
            let buffer = memory::read_wsabuf(self.callee_data)?;
            if buffer.len() > 0 && buffer.address().is_null() {
                return Err(Wsa::Efault);
            }
            callee_capacity = Some(buffer.len());
        }
        let (sqos, gqos) = (read_qos(self.sqos)?, read_qos(self.gqos)?);
        let peer = sockaddr::read(self.name, self.name_length, endpoint.family)?;
        Ok(ConnectArguments {
            peer,
            caller_data,
            // The group's QOS is ignored unless the socket has created the group.
            inconsistent: sqos.err().or(gqos.err().filter(|_| endpoint.is_group_creator())),
            sqos: sqos.unwrap_or(None),
            gqos: gqos.unwrap_or(None).map(|(qos, _)| qos),
            callee_capacity,
        })
    }

    /// Writes the callee's data to its WSABUF.
    pub(super) fn callee_sink(self) -> Option<CalleeDataSink> {
        let callee_data = self.callee_data;
        if callee_data.is_null() {
            return None;
        }
        Some(Box::new(move |data| memory::write_wsabuf(callee_data, data)))
    }
}

type ReadQos = Option<(Qos, ProviderSpecific)>;

/// Reads an optional QOS. Inside: the status of one that is inconsistent.
///
/// - **Errors**: WSAEFAULT.
fn read_qos(address: Address) -> Result<Result<ReadQos>> {
    match qos::read_optional(address) {
        Ok(read) => Ok(Ok(read)),
        Err(QosReadError::Inconsistent(status)) => Ok(Err(status)),
        Err(QosReadError::Fault) => Err(Wsa::Efault),
    }
}

impl ConnectArguments {
    pub(super) fn request(&self) -> ConnectRequest<'_> {
        let (sqos, objects) = self.sqos.unzip();
        ConnectRequest {
            caller_data: Some(&self.caller_data),
            sqos,
            provider_specific: objects.unwrap_or_default(),
            gqos: self.gqos,
            callee_capacity: self.callee_capacity,
        }
    }
}
