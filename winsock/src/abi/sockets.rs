//! Making, connecting, accepting and closing sockets.

use flowspec::Wsa;

use super::accept::{ConditionProc, accept};
use super::connect::ConnectPointers;
use super::handle::{endpoint, new_handle};
use super::protocol_info::{ADDRESS_FAMILY, CATALOG_ENTRY, PROTOCOL, SOCKET_TYPE, TCP, UDP};
use super::sockaddr::{self, AF_INET, AF_INET6, AF_UNSPEC, NameBuffer};
use super::{Address, INVALID_SOCKET, SOCKET_ERROR, last_error, memory};
use crate::Result;
use crate::close::close;
use crate::group::GroupSelection;
use crate::multicast::LeafRole;
use crate::protocol::{Family, PROTOCOLS, SocketType};
use crate::provider::check_started;
use crate::socket::Socket;
use crate::sys::ShutdownHow;

/// WSA_FLAG_NO_HANDLE_INHERIT.
const FLAG_NO_HANDLE_INHERIT: u32 = 0x80;

/// SOCK_STREAM and SOCK_DGRAM.
const STREAM: i32 = 1;
const DATAGRAM: i32 = 2;

/// The kind of socket that a call describes.
#[derive(Clone, Copy)]
struct Description {
    family: i32,
    socket_type: i32,
    protocol: i32,
}

fn open(description: Description, group: GroupSelection) -> Result<Socket> {
    check_started()?;
    let Description { family, socket_type, protocol } = description;
    let socket_type = match (socket_type, protocol) {
        (STREAM, _) | (0, TCP) => Some(SocketType::Stream),
        (DATAGRAM, _) | (0, UDP) => Some(SocketType::Datagram),
        _ => None,
    };
    let family = match u16::try_from(family) {
        Ok(AF_INET) => Family::Inet,
        Ok(AF_INET6) => Family::Inet6,
        Ok(AF_UNSPEC) if protocol != 0 => Family::Inet,
        _ => return Err(Wsa::Eafnosupport),
    };
    let socket_type = socket_type.ok_or(Wsa::Esocktnosupport)?;
    match (socket_type, protocol) {
        (_, 0) | (SocketType::Stream, TCP) | (SocketType::Datagram, UDP) => {}
        (SocketType::Stream, UDP) | (SocketType::Datagram, TCP) => return Err(Wsa::Eprototype),
        _ => return Err(Wsa::Eprotonosupport),
    }
    Socket::open_in_group(family, socket_type, group)
}

/// Opens a socket of the catalogue entry that a WSAPROTOCOL_INFO names, or else of the kind that it describes.
fn open_by_info(info: Address, group: GroupSelection) -> Result<Socket> {
    let field = |offset: usize| memory::read_u32(info.offset(offset)).map(u32::cast_signed);
    let entry = field(CATALOG_ENTRY)?.cast_unsigned();
    let known = PROTOCOLS.iter().find(|known| known.catalog_entry == entry);
    match known.map(|known| (known.family, known.carries_connect_data(), known.only())) {
        Some((family, true, _)) => Socket::open_with_connect_data_in_group(family, group),
        Some((family, false, Some(only))) => Socket::open_one_way(family, only, group),
        _ => {
            let (family, socket_type) = (field(ADDRESS_FAMILY)?, field(SOCKET_TYPE)?);
            open(Description { family, socket_type, protocol: field(PROTOCOL)? }, group)
        }
    }
}

fn connect(s: usize, pointers: ConnectPointers) -> Result<i32> {
    let endpoint = endpoint(s)?;
    let arguments = pointers.read(&endpoint)?;
    if let Some(status) = arguments.inconsistent {
        endpoint.check_connect(arguments.peer)?;
        endpoint.keep_invalid_qos(status);
        return Err(Wsa::Eopnotsupp);
    }
    let sink = pointers.callee_sink().filter(|_| endpoint.carries_connect_data());
    endpoint.connect_with_sink(arguments.peer, &arguments.request(), sink)?;
    let callee_data = pointers.callee_data;
    if !callee_data.is_null() && endpoint.is_stream() && !endpoint.carries_connect_data() {
        // Plain TCP carries no data of the callee.
        memory::write_u32(callee_data, 0)?;
    }
    Ok(0)
}

/// Joins a multicast session. It has no root, so that the socket is the leaf itself.
fn join_leaf(s: usize, pointers: ConnectPointers, flags: u32) -> Result<usize> {
    let endpoint = endpoint(s)?;
    let arguments = pointers.read(&endpoint)?;
    // JL_SENDER_ONLY, JL_RECEIVER_ONLY and JL_BOTH.
    let role = match flags {
        1 => LeafRole::Sender,
        2 => LeafRole::Receiver,
        4 => LeafRole::Both,
        _ => return Err(Wsa::Einval),
    };
    if let Some(status) = arguments.inconsistent {
        endpoint.keep_invalid_qos(status);
        return Err(Wsa::Eopnotsupp);
    }
    endpoint.join_leaf(arguments.peer, &arguments.request(), role)?;
    if !pointers.callee_data.is_null() {
        memory::write_u32(pointers.callee_data, 0)?;
    }
    Ok(s)
}

fn shutdown(s: usize, how: i32) -> Result<i32> {
    // SD_RECEIVE, SD_SEND and SD_BOTH.
    let how = match how {
        0 => ShutdownHow::Receive,
        1 => ShutdownHow::Send,
        2 => ShutdownHow::Both,
        _ => return Err(Wsa::Einval),
    };
    endpoint(s)?.shutdown(how).map(|()| 0)
}

/// - **Errors**: WSAEFAULT where one of the pointers is NULL.
fn required(name: NameBuffer) -> Result<NameBuffer> {
    if name.name.is_null() || name.length.is_null() { Err(Wsa::Efault) } else { Ok(name) }
}

c_functions! {
    /// socket.
    api gqos_socket(family: i32, socket_type: i32, protocol: i32) -> usize, or INVALID_SOCKET
        => new_handle(open(Description { family, socket_type, protocol }, GroupSelection::None)?, true);
    /// WSASocket, WSPSocket.
    both gqos_WSASocket, gqos_WSPSocket(
        family: i32, socket_type: i32, protocol: i32, info: Address, group: u32, flags: u32,
    ) -> usize, or INVALID_SOCKET => {
        let group = GroupSelection::from_number(group);
        let socket = if info.is_null() {
            open(Description { family, socket_type, protocol }, group)?
        } else {
            open_by_info(info, group)?
        };
        new_handle(socket, flags & FLAG_NO_HANDLE_INHERIT == 0)
    };
    /// connect; for the SPI, WSPConnect without data and QOS.
    both gqos_connect, gqos_WSPConnectPlain(s: usize, name: Address, namelen: i32) -> i32, or SOCKET_ERROR => {
        let none = Address::NULL;
        let pointers = ConnectPointers {
            name, name_length: namelen, caller_data: none, callee_data: none, sqos: none, gqos: none,
        };
        connect(s, pointers)
    };
    /// WSAConnect, WSPConnect.
    both gqos_WSAConnect, gqos_WSPConnect(
        s: usize, name: Address, namelen: i32, caller_data: Address, callee_data: Address, sqos: Address,
        gqos: Address,
    ) -> i32, or SOCKET_ERROR
        => connect(s, ConnectPointers { name, name_length: namelen, caller_data, callee_data, sqos, gqos });
    /// WSAJoinLeaf, WSPJoinLeaf.
    both gqos_WSAJoinLeaf, gqos_WSPJoinLeaf(
        s: usize, name: Address, namelen: i32, caller_data: Address, callee_data: Address, sqos: Address,
        gqos: Address, flags: u32,
    ) -> usize, or INVALID_SOCKET
        => join_leaf(s, ConnectPointers { name, name_length: namelen, caller_data, callee_data, sqos, gqos }, flags);
    /// bind, WSPBind.
    both gqos_bind, gqos_WSPBind(s: usize, name: Address, namelen: i32) -> i32, or SOCKET_ERROR => {
        let endpoint = endpoint(s)?;
        endpoint.bind(sockaddr::read(name, namelen, endpoint.family)?).map(|()| 0)
    };
    /// listen, WSPListen.
    both gqos_listen, gqos_WSPListen(s: usize, backlog: i32) -> i32, or SOCKET_ERROR
        => endpoint(s)?.listen(backlog).map(|()| 0);
    /// accept.
    api gqos_accept(s: usize, name: Address, namelen: Address) -> usize, or INVALID_SOCKET
        => accept(s, NameBuffer { name, length: namelen }, None, 0);
    /// WSAAccept, WSPAccept.
    both gqos_WSAAccept, gqos_WSPAccept(
        s: usize, name: Address, namelen: Address, condition: Option<ConditionProc>, context: usize,
    ) -> usize, or INVALID_SOCKET => accept(s, NameBuffer { name, length: namelen }, condition, context);
    /// closesocket, WSPCloseSocket.
    both gqos_closesocket, gqos_WSPCloseSocket(s: usize) -> i32, or SOCKET_ERROR => {
        last_error::keep();
        check_started()?;
        close(i32::try_from(s).map_err(|_| Wsa::Enotsock)?).map(|()| 0)
    };
    /// shutdown, WSPShutdown.
    both gqos_shutdown, gqos_WSPShutdown(s: usize, how: i32) -> i32, or SOCKET_ERROR => {
        last_error::keep();
        shutdown(s, how)
    };
    /// getsockname, WSPGetSockName.
    both gqos_getsockname, gqos_WSPGetSockName(s: usize, name: Address, namelen: Address) -> i32, or SOCKET_ERROR => {
        let endpoint = endpoint(s)?;
        let name = required(NameBuffer { name, length: namelen })?;
        name.write(endpoint.local_address()?).map(|()| 0)
    };
    /// getpeername, WSPGetPeerName.
    both gqos_getpeername, gqos_WSPGetPeerName(s: usize, name: Address, namelen: Address) -> i32, or SOCKET_ERROR => {
        let endpoint = endpoint(s)?;
        let name = required(NameBuffer { name, length: namelen })?;
        name.write(endpoint.peer_address()?).map(|()| 0)
    };
    /// WSASendDisconnect, WSPSendDisconnect. TCP carries no data with a disconnect: WSAENOPROTOOPT.
    both gqos_WSASendDisconnect, gqos_WSPSendDisconnect(s: usize, data: Address) -> i32, or SOCKET_ERROR => {
        let endpoint = endpoint(s)?;
        if !data.is_null() && memory::read_wsabuf(data)?.len() > 0 {
            return Err(Wsa::Enoprotoopt);
        }
        endpoint.shutdown(ShutdownHow::Send).map(|()| 0)
    };
    /// WSARecvDisconnect, WSPRecvDisconnect. The data is always empty.
    both gqos_WSARecvDisconnect, gqos_WSPRecvDisconnect(s: usize, data: Address) -> i32, or SOCKET_ERROR => {
        let endpoint = endpoint(s)?;
        if !data.is_null() {
            memory::write_u32(data, 0)?;
        }
        endpoint.shutdown(ShutdownHow::Receive).map(|()| 0)
    };
}
