//! The calls on sockets.

use std::net::SocketAddr;
use std::sync::Arc;

use flowspec::abi::Abi;
use flowspec::buffer::{LONGEST_PROVIDER_SPECIFIC, QosBytes};
use flowspec::objects::{Object, Pointee};
use flowspec::raw::RawFlowspec;
use flowspec::{Qos, RawQos, Wsa};

use super::accept::{Condition, accept};
use super::address::{self, AF_INET, AF_INET6, AF_UNSPEC};
use super::{INVALID_SOCKET, LAST_ERROR, SOCKET_ERROR, api, memory, spi};
use crate::Result;
use crate::catalogue::PROTOCOLS;
use crate::connect::Connecting;
use crate::group::Grouping;
use crate::provider::{cleanup, running, startup};
use crate::setup::MOST_DATA;
use crate::socket::{Endpoint, Family, Kind, Socket, close, endpoint};
use crate::sys::raw::Half;
use crate::waiting::cancel_blocking_call;
use crate::wishes::Wishes;

/// IPPROTO_TCP and IPPROTO_UDP.
const TCP: i32 = 6;
const UDP: i32 = 17;

/// The socket behind a SOCKET: above what a descriptor can be there is none.
pub(super) fn socket(s: usize) -> Result<Arc<Endpoint>> {
    running()?;
    endpoint(i32::try_from(s).map_err(|_| Wsa::Enotsock)?)
}

fn done(result: Result<()>) -> Result<i32> {
    result.map(|()| 0)
}

fn open(af: i32, kind: i32, protocol: i32, group: Grouping) -> Result<usize> {
    running()?;
    let kind = match kind {
        1 => Some(Kind::Stream),
        2 => Some(Kind::Datagram),
        0 if protocol == TCP => Some(Kind::Stream),
        0 if protocol == UDP => Some(Kind::Datagram),
        _ => None,
    };
    let family = match u16::try_from(af) {
        Ok(AF_INET) => Family::Inet,
        Ok(AF_INET6) => Family::Inet6,
        Ok(AF_UNSPEC) if protocol != 0 => Family::Inet,
        _ => return Err(Wsa::Eafnosupport),
    };
    let kind = kind.ok_or(Wsa::Esocktnosupport)?;
    match (kind, protocol) {
        (_, 0) | (Kind::Stream, TCP) | (Kind::Datagram, UDP) => {}
        (Kind::Stream, UDP) | (Kind::Datagram, TCP) => return Err(Wsa::Eprototype),
        _ => return Err(Wsa::Eprotonosupport),
    }
    number(Socket::open_in(family, kind, group)?)
}

pub(super) fn number(socket: Socket) -> Result<usize> {
    usize::try_from(socket.into_raw()).map_err(|_| Wsa::Enotsock)
}

/// Reads a QOS with its objects.
///
/// - **Errors**: WSAEFAULT where it is not there; WSAEOPNOTSUPP where it makes no sense.
pub(super) fn qos(address: usize) -> Result<Option<(Qos, Wishes)>> {
    if address == 0 {
        return Ok(None);
    }
    let bytes: [u8; 80] = memory::bytes(address)?;
    let raw = RawQos::read(&bytes, Abi::Win64).map_err(|_| Wsa::Efault)?;
    let length = usize::try_from(raw.provider_specific.len).map_err(|_| Wsa::Efault)?;
    let place = usize::try_from(raw.provider_specific.buf).map_err(|_| Wsa::Efault)?;
    if length > LONGEST_PROVIDER_SPECIFIC {
        return Err(Wsa::Eopnotsupp);
    }
    let mut objects = vec![0; length];
    memory::read(place, &mut objects)?;
    let bytes = QosBytes { abi: Abi::Win64, qos: raw, provider_specific: &objects };
    match bytes.check() {
        Ok(request) => {
            let mut wishes = Wishes::of(&request.provider_specific);
            for object in &request.provider_specific {
                // An address may lie anywhere in the program.
                if let Object::Destaddr { socket_address: Pointee::Outside(outside) } = object {
                    let place = usize::try_from(outside.pointer).map_err(|_| Wsa::Efault)?;
                    wishes.destination = Some(address::read_any(place, outside.count)?);
                }
            }
            Ok(Some((request.qos(), wishes)))
        }
        Err(_) => Err(Wsa::Eopnotsupp),
    }
}

/// Writes a QOS without objects.
pub(super) fn write_qos(qos: &Qos, address: usize) -> Result<()> {
    let raw = |spec: &flowspec::Flowspec| spec.to_raw().map_err(|_| Wsa::Enobufs);
    let (sending, receiving): (RawFlowspec, RawFlowspec) = (raw(&qos.sending)?, raw(&qos.receiving)?);
    let mut bytes = Vec::with_capacity(80);
    RawQos { sending, receiving, provider_specific: flowspec::abi::RawWsabuf::default() }
        .write(Abi::Win64, &mut bytes);
    memory::write(address, &bytes)
}

/// What a call that connects asks for, copied from where the program has it.
pub(super) struct Asked {
    pub(super) peer: SocketAddr,
    caller_data: Vec<u8>,
    sqos: Option<Qos>,
    wishes: Wishes,
    gqos: Option<Qos>,
    room: Option<usize>,
    /// The flow specifications contradict themselves: they cannot be satisfied, which is said in its turn.
    pub(super) nonsense: bool,
}

impl Asked {
    pub(super) fn connecting(&self) -> Connecting<'_> {
        let Self { sqos, wishes, gqos, room, .. } = *self;
        Connecting { caller_data: Some(&self.caller_data), sqos, wishes, gqos, callee_room: room }
    }
}

/// Reads everything that is pointed to, before anything is done.
///
/// - **Errors**: WSAEFAULT, WSAEAFNOSUPPORT.
pub(super) fn asked(
    endpoint: &Endpoint,
    name: usize,
    length: i32,
    [caller, callee]: [usize; 2],
    sqos: usize,
    gqos: usize,
) -> Result<Asked> {
    if name == 0 {
        return Err(Wsa::Efault);
    }
    let mut caller_data = Vec::new();
    if caller != 0 {
        let (place, length) = memory::wsabuf(caller)?;
        if length as usize > MOST_DATA {
            return Err(Wsa::Efault);
        }
        caller_data.resize(length as usize, 0);
        memory::read(place, &mut caller_data)?;
    }
    let mut room = None;
    if callee != 0 {
        let (place, length) = memory::wsabuf(callee)?;
        if length > 0 && place == 0 {
            return Err(Wsa::Efault);
        }
        room = Some(length as usize);
    }
    let sqos = match qos(sqos) {
        Err(Wsa::Efault) => return Err(Wsa::Efault),
        given => given,
    };
    let gqos = match qos(gqos) {
        Err(Wsa::Efault) => return Err(Wsa::Efault),
        given => given,
    };
    let peer = address::read(name, length, endpoint.family)?;
    // Of a socket that has not created its group what is said of the group is ignored.
    let nonsense = sqos.is_err() || gqos.is_err() && endpoint.creates_group();
    let (sqos, wishes) = sqos.unwrap_or(None).unzip();
    let gqos = gqos.unwrap_or(None).map(|(qos, _)| qos);
    Ok(Asked { peer, caller_data, sqos, wishes: wishes.unwrap_or_default(), gqos, room, nonsense })
}

fn connect(s: usize, name: usize, length: i32, data: [usize; 2], sqos: usize, gqos: usize) -> Result<i32> {
    let endpoint = socket(s)?;
    let asked = asked(&endpoint, name, length, data, sqos, gqos)?;
    let [_, callee] = data;
    let place = if endpoint.carries_data() { callee } else { 0 };
    let result = if asked.nonsense {
        endpoint.check_connect(asked.peer).and(Err(Wsa::Eopnotsupp))
    } else {
        endpoint.connect_telling(asked.peer, &asked.connecting(), place)
    };
    if callee != 0 && result.is_ok() && endpoint.kind == Kind::Stream && !endpoint.carries_data() {
        // Nothing comes back by plain TCP.
        memory::write_u32(callee, 0)?;
    }
    result.map(|_| 0)
}

/// SD_RECEIVE, SD_SEND and SD_BOTH.
fn shutdown(s: usize, how: i32) -> Result<i32> {
    let half = match how {
        0 => Half::Receive,
        1 => Half::Send,
        2 => Half::Both,
        _ => return Err(Wsa::Einval),
    };
    done(socket(s)?.shutdown(half))
}

/// WSADATA, as 64-bit programs have it.
fn start(version: u16, data: usize) -> i32 {
    if version.to_le_bytes()[0] == 0 {
        return Wsa::VerNotSupported.code().cast_signed();
    }
    if let Err(wsa) = startup() {
        return wsa.code().cast_signed();
    }
    let spoken = version.to_le_bytes();
    // 2.2 is the highest; the older ones are spoken as they are asked for.
    let spoken = if (spoken[0], spoken[1]) > (2, 2) { [2, 2] } else { spoken };
    let mut bytes = vec![0; 408];
    bytes[..2].copy_from_slice(&spoken);
    bytes[2..4].copy_from_slice(&[2, 2]);
    bytes[16..20].copy_from_slice(b"gqos");
    bytes[273..280].copy_from_slice(b"Running");
    match memory::write(data, &bytes) {
        Ok(()) => 0,
        Err(wsa) => {
            // Nothing has been started where the caller cannot be told of it.
            let _ = cleanup();
            wsa.code().cast_signed()
        }
    }
}

exported! {
    /// connect, WSPConnect without data and quality.
    gqos_connect, gqos_WSPConnectPlain(s: usize, name: usize, namelen: i32) -> i32, SOCKET_ERROR
        => connect(s, name, namelen, [0, 0], 0, 0);
    /// WSAConnect, WSPConnect.
    gqos_WSAConnect, gqos_WSPConnect(
        s: usize, name: usize, namelen: i32, caller: usize, callee: usize, sqos: usize, gqos: usize
    ) -> i32, SOCKET_ERROR => connect(s, name, namelen, [caller, callee], sqos, gqos);
    /// bind, WSPBind.
    gqos_bind, gqos_WSPBind(s: usize, name: usize, namelen: i32) -> i32, SOCKET_ERROR => {
        let endpoint = socket(s)?;
        let address = address::read(name, namelen, endpoint.family)?;
        done(endpoint.bind(address))
    };
    /// listen, WSPListen.
    gqos_listen, gqos_WSPListen(s: usize, backlog: i32) -> i32, SOCKET_ERROR => done(socket(s)?.listen(backlog));
    /// WSAAccept, WSPAccept.
    gqos_WSAAccept, gqos_WSPAccept(
        s: usize, name: usize, namelen: usize, condition: Option<Condition>, context: usize
    ) -> usize, INVALID_SOCKET => accept(s, name, namelen, condition, context);
    /// closesocket, WSPCloseSocket.
    gqos_closesocket, gqos_WSPCloseSocket(s: usize) -> i32, SOCKET_ERROR => {
        running()?;
        done(close(i32::try_from(s).map_err(|_| Wsa::Enotsock)?))
    };
    /// shutdown, WSPShutdown.
    gqos_shutdown, gqos_WSPShutdown(s: usize, how: i32) -> i32, SOCKET_ERROR => shutdown(s, how);
    /// getsockname, WSPGetSockName.
    gqos_getsockname, gqos_WSPGetSockName(s: usize, name: usize, namelen: usize) -> i32, SOCKET_ERROR => {
        let endpoint = socket(s)?;
        if name == 0 || namelen == 0 {
            return Err(Wsa::Efault);
        }
        let local = endpoint.local_address()?;
        done(address::write(local, name, namelen))
    };
    /// getpeername, WSPGetPeerName.
    gqos_getpeername, gqos_WSPGetPeerName(s: usize, name: usize, namelen: usize) -> i32, SOCKET_ERROR => {
        let endpoint = socket(s)?;
        if name == 0 || namelen == 0 {
            return Err(Wsa::Efault);
        }
        let peer = endpoint.peer_address()?;
        done(address::write(peer, name, namelen))
    };
    /// WSASendDisconnect, WSPSendDisconnect: without data, which TCP does not carry.
    gqos_WSASendDisconnect, gqos_WSPSendDisconnect(s: usize, data: usize) -> i32, SOCKET_ERROR => {
        let endpoint = socket(s)?;
        if data != 0 && memory::wsabuf(data)?.1 > 0 {
            return Err(Wsa::Enoprotoopt);
        }
        done(endpoint.shutdown(Half::Send))
    };
    /// WSARecvDisconnect, WSPRecvDisconnect: without data.
    gqos_WSARecvDisconnect, gqos_WSPRecvDisconnect(s: usize, data: usize) -> i32, SOCKET_ERROR => {
        let endpoint = socket(s)?;
        if data != 0 {
            memory::write_u32(data, 0)?;
        }
        done(endpoint.shutdown(Half::Receive))
    };
    /// WSACancelBlockingCall, WSPCancelBlockingCall.
    gqos_WSACancelBlockingCall, gqos_WSPCancelBlockingCall() -> i32, SOCKET_ERROR => done(cancel_blocking_call());
    /// WSACleanup, WSPCleanup.
    gqos_WSACleanup, gqos_WSPCleanup() -> i32, SOCKET_ERROR => done(cleanup());
    /// WSASocket, WSPSocket: by what is asked, or by an entry of the catalogue.
    gqos_WSASocket, gqos_WSPSocket(
        af: i32, kind: i32, protocol: i32, info: usize, group: u32, _flags: u32
    ) -> usize, INVALID_SOCKET => {
        let group = Grouping::from_number(group);
        if info == 0 {
            return open(af, kind, protocol, group);
        }
        let word = |offset: usize| memory::u32_at(info.wrapping_add(offset)).map(u32::cast_signed);
        let entry = word(36)?.cast_unsigned();
        let known = PROTOCOLS.iter().find(|known| known.entry == entry);
        match known.map(|known| (known.family, known.carries_data(), known.only())) {
            Some((family, true, _)) => number(Socket::open_with_data_in(family, group)?),
            Some((family, false, Some(only))) => number(Socket::open_one_way(family, only, group)?),
            _ => open(word(76)?, word(88)?, word(92)?, group),
        }
    };
}

/// WSAStartup: the error is the result.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_WSAStartup(version: u16, data: usize) -> i32 {
    super::guarded(|| Ok(start(version, data))).unwrap_or_else(|wsa| wsa.code().cast_signed())
}

/// WSAGetLastError.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_WSAGetLastError() -> i32 {
    LAST_ERROR.get().cast_signed()
}

/// WSASetLastError.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_WSASetLastError(error: i32) {
    LAST_ERROR.set(error.cast_unsigned());
}

/// socket.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_socket(af: i32, kind: i32, protocol: i32) -> usize {
    api(INVALID_SOCKET, || open(af, kind, protocol, Grouping::None))
}

/// accept.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_accept(s: usize, name: usize, namelen: usize) -> usize {
    api(INVALID_SOCKET, || accept(s, name, namelen, None, 0))
}
