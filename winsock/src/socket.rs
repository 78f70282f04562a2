//! The handle on a socket.

use std::ops::Deref;
use std::os::fd::RawFd;
use std::sync::Arc;

use flowspec::{Direction, Errno};

use super::Result;
use super::close::close_socket;
use super::descriptor::Descriptor;
use super::endpoint::{Endpoint, EndpointKind, EndpointState};
use super::group::GroupSelection;
use super::protocol::{Family, SocketType};
use super::provider::provider;
use super::socket_table;
use crate::sys::{self, KernelOption};

/// A socket of the provider, closed when it is dropped. Dereferences to the [`Endpoint`] with its calls.
#[derive(Debug)]
pub struct Socket(Arc<Endpoint>);

impl Socket {
    /// A new socket.
    ///
    /// - **Errors**: WSANOTINITIALISED, WSAEMFILE, WSAENOBUFS, WSAEAFNOSUPPORT.
    /// - **Source**: WSPSocket.
    pub fn open(family: Family, socket_type: SocketType) -> Result<Self> {
        Self::open_in_group(family, socket_type, GroupSelection::None)
    }

    /// A new socket in a group.
    ///
    /// - **Errors**: those of [`open`](Self::open); WSAEINVAL for a group that does not exist or does not take such
    ///   sockets.
    pub fn open_in_group(family: Family, socket_type: SocketType, group: GroupSelection) -> Result<Self> {
        Self::open_kind(EndpointKind { family, socket_type, carries_connect_data: false, only: None }, group)
    }

    /// A datagram socket that only sends or only receives. The flowspec of the other direction is ignored, and calls
    /// that transfer data in that direction fail with WSAEOPNOTSUPP.
    ///
    /// - **Errors**: those of [`open_in_group`](Self::open_in_group).
    /// - **Source**: WSAPROTOCOL_INFO, XP1_UNI_SEND and XP1_UNI_RECV.
    pub fn open_one_way(family: Family, only: Direction, group: GroupSelection) -> Result<Self> {
        let socket_type = SocketType::Datagram;
        let kind = EndpointKind { family, socket_type, carries_connect_data: false, only: Some(only) };
        Self::open_kind(kind, group)
    }

    /// A stream whose connect call carries data and flow specifications to the peer, by a handshake before the
    /// program's own data. Both ends need such a socket.
    ///
    /// - **Errors**: those of [`open`](Self::open).
    /// - **Source**: WSAPROTOCOL_INFO, XP1_CONNECT_DATA.
    pub fn open_with_connect_data(family: Family) -> Result<Self> {
        Self::open_with_connect_data_in_group(family, GroupSelection::None)
    }

    /// The same in a group.
    ///
    /// - **Errors**: those of [`open_in_group`](Self::open_in_group).
    pub fn open_with_connect_data_in_group(family: Family, group: GroupSelection) -> Result<Self> {
        let socket_type = SocketType::Stream;
        Self::open_kind(EndpointKind { family, socket_type, carries_connect_data: true, only: None }, group)
    }

    fn open_kind(kind: EndpointKind, group: GroupSelection) -> Result<Self> {
        let provider = provider()?;
        let membership = provider.groups.enter(group, kind.family, kind.socket_type)?;
        let fd = sys::open(kind.family, kind.socket_type).map_err(Errno::wsa)?;
        if kind.family == Family::Inet6 {
            // Windows' default, whatever the host's is.
            sys::set(&fd, KernelOption::Ipv6Only, 1).map_err(Errno::wsa)?;
        }
        if kind.socket_type == SocketType::Stream {
            // On Windows a connection that has ended does not keep its port from being bound.
            sys::set(&fd, KernelOption::ReuseAddress, 1).map_err(Errno::wsa)?;
        }
        let fd = Descriptor::new(fd)?;
        let endpoint = socket_table::insert(|me| Endpoint::new(fd, kind, EndpointState::default(), me));
        endpoint.join_group(membership);
        Ok(Self(endpoint))
    }

    pub(crate) const fn of(endpoint: Arc<Endpoint>) -> Self {
        Self(endpoint)
    }

    /// The descriptor, on which read, write, poll and epoll work as well. The socket stays open, until
    /// [`from_raw`](Self::from_raw) takes it back or the provider is cleaned up.
    ///
    /// A `write` on the descriptor bypasses the socket's token bucket.
    pub fn into_raw(self) -> RawFd {
        let number = self.0.number();
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: the field is read once and `this` is not used again, so that nothing is dropped twice.
        drop(unsafe { std::ptr::read(&raw const this.0) });
        number
    }

    /// The socket of a descriptor that [`into_raw`](Self::into_raw) has returned.
    ///
    /// - **Errors**: WSAENOTSOCK.
    pub fn from_raw(number: RawFd) -> Result<Self> {
        socket_table::get(number).map(Self)
    }

    /// Closes the socket: calls that wait on it fail with WSAEINTR, and its reservation is released.
    ///
    /// - **Errors**: WSAENOTSOCK where it is closed already.
    /// - **Source**: WSPCloseSocket.
    pub fn close(self) -> Result<()> {
        close_socket(&self.0)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // An error means that it was closed already, by its number.
        let _ = close_socket(&self.0);
    }
}

impl Deref for Socket {
    type Target = Arc<Endpoint>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
