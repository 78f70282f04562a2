//! The calls on sockets.

use flowspec::abi::Abi;
use flowspec::buffer::{LONGEST_PROVIDER_SPECIFIC, QosBytes};
use flowspec::raw::RawFlowspec;
use flowspec::{Qos, RawQos, Wsa};

use super::super::Result;
use super::super::catalogue::{PROTOCOLS, XP1_CONNECT_DATA};
use super::super::connect::Connecting;
use super::super::exchange::{Caller, Verdict};
use super::super::group::Grouping;
use super::super::provider::{cleanup, provider, startup};
use super::super::setup::MOST_DATA;
use super::super::socket::{Endpoint, Family, Kind, Socket, close, endpoint};
use super::super::waiting::cancel_blocking_call;
use super::super::wishes::Wishes;
use super::address::{self, AF_INET, AF_INET6, AF_UNSPEC};
use super::{INVALID_SOCKET, LAST_ERROR, SOCKET_ERROR, api, memory, overlapped, spi};
use crate::linux::raw::{Flags, Half};
use std::sync::Arc;

/// IPPROTO_TCP and IPPROTO_UDP.
const TCP: i32 = 6;
const UDP: i32 = 17;

/// Winsock's MSG flags.
const MSG_OOB: i32 = 1;
const MSG_PEEK: i32 = 2;
const MSG_DONTROUTE: i32 = 4;
const MSG_WAITALL: i32 = 8;

/// The socket behind a SOCKET: above what a descriptor can be there is none.
pub(super) fn socket(s: usize) -> Result<Arc<Endpoint>> {
    provider()?;
    endpoint(i32::try_from(s).map_err(|_| Wsa::Enotsock)?)
}

fn done(result: Result<()>) -> Result<i32> {
    result.map(|()| 0)
}

fn open(af: i32, kind: i32, protocol: i32, group: Grouping) -> Result<usize> {
    provider()?;
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

fn number(socket: Socket) -> Result<usize> {
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
        Ok(request) => Ok(Some((request.qos(), Wishes::of(&request.provider_specific)))),
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

fn connect(s: usize, name: usize, length: i32, data: [usize; 2], sqos: usize, gqos: usize) -> Result<i32> {
    let endpoint = socket(s)?;
    let [caller, callee] = data;
    // Everything that is pointed to is looked at before anything is done.
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
    if callee != 0 {
        let (place, length) = memory::wsabuf(callee)?;
        if length > 0 && place == 0 {
            return Err(Wsa::Efault);
        }
    }
    // A flow specification that makes no sense cannot be satisfied: said in its turn.
    let sqos_given = match qos(sqos) {
        Err(Wsa::Efault) => return Err(Wsa::Efault),
        given => given,
    };
    let gqos = match qos(gqos) {
        Err(Wsa::Efault) => return Err(Wsa::Efault),
        given => given.ok().flatten().map(|(qos, _)| qos),
    };
    let peer = address::read(name, length, endpoint.family)?;
    let (sqos, nonsense) = match sqos_given {
        Ok(sqos) => (sqos, false),
        Err(_) => (None, true),
    };
    let room = if callee == 0 { None } else { Some(memory::wsabuf(callee)?.1 as usize) };
    let place = if endpoint.carries_data() { callee } else { 0 };
    let (sqos, wishes) = sqos.unzip();
    let wishes = wishes.unwrap_or_default();
    let asked = Connecting { caller_data: Some(&caller_data), sqos, wishes, gqos, callee_room: room };
    let result = if nonsense {
        endpoint.check_connect(peer).and(Err(Wsa::Eopnotsupp))
    } else {
        endpoint.connect_telling(peer, &asked, place)
    };
    if callee != 0 && result.is_ok() && endpoint.kind == Kind::Stream && !endpoint.carries_data() {
        // Nothing comes back by plain TCP.
        memory::write_u32(callee, 0)?;
    }
    result.map(|_| 0)
}

fn flags(bits: i32) -> Result<Flags> {
    if bits & !(MSG_OOB | MSG_PEEK | MSG_DONTROUTE | MSG_WAITALL) != 0 {
        return Err(Wsa::Eopnotsupp);
    }
    Ok(Flags { urgent: bits & MSG_OOB != 0, peek: bits & MSG_PEEK != 0, direct: bits & MSG_DONTROUTE != 0 })
}

fn count(moved: usize) -> Result<i32> {
    i32::try_from(moved).map_err(|_| Wsa::Enobufs)
}

fn send(s: usize, data: usize, length: i32, bits: i32, to: Option<(usize, i32)>) -> Result<i32> {
    let endpoint = socket(s)?;
    let data = memory::outgoing(data, length)?;
    let sent = match to.filter(|(name, _)| *name != 0) {
        None => endpoint.send(data, flags(bits)?)?,
        Some((name, length)) => {
            let to = address::read(name, length, endpoint.family)?;
            endpoint.send_to(data, flags(bits)?, to)?
        }
    };
    count(sent)
}

fn receive(s: usize, data: usize, length: i32, bits: i32, from: Option<(usize, usize)>) -> Result<i32> {
    let endpoint = socket(s)?;
    let buffer = memory::incoming(data, length)?;
    let how = flags(bits)?;
    let (name, length) = from.unwrap_or((0, 0));
    address::check_room(endpoint.family, name, length)?;
    let mut total = 0;
    loop {
        let rest = &mut buffer[total..];
        let came = if from.is_some() {
            let (came, whose) = endpoint.receive_any(rest, how)?;
            if let (Some(whose), false) = (whose, name == 0) {
                address::write(whose, name, length)?;
            }
            came
        } else {
            endpoint.receive(rest, how)?
        };
        total += came;
        // Only a blocking stream is asked for all of it.
        let more =
            bits & MSG_WAITALL != 0 && endpoint.kind == Kind::Stream && came > 0 && total < buffer.len();
        if !more || how.peek {
            return count(total);
        }
    }
}

/// Gathers or scatters: one call for each buffer, and for a datagram one for all of them.
fn buffers(address: usize, number: u32) -> Result<Vec<(usize, u32)>> {
    if number == 0 || number as usize > MOST_BUFFERS {
        return Err(Wsa::Einval);
    }
    (0..number as usize).map(|index| memory::wsabuf(address + index * 16)).collect()
}

/// The most buffers that one call may have.
const MOST_BUFFERS: usize = 1024;

fn send_buffers(s: usize, list: usize, number: u32, bits: u32, to: Option<(usize, i32)>) -> Result<u32> {
    let places = buffers(list, number)?;
    let whole = places.iter().fold(0_u64, |sum, (_, length)| sum + u64::from(*length));
    let datagram = socket(s)?.kind == Kind::Datagram;
    if datagram && whole > LARGEST_DATAGRAM {
        return Err(Wsa::Emsgsize);
    }
    // A datagram goes at once; a stream piece by piece, since a program may name as much as it likes.
    let most = if datagram { usize::MAX } else { LARGEST_PIECE };
    let mut total = 0_u32;
    let mut piece: Vec<u8> = Vec::new();
    let mut flush = |piece: &mut Vec<u8>| {
        let length = i32::try_from(piece.len()).map_err(|_| Wsa::Emsgsize)?;
        let moved = send(s, piece.as_ptr().addr(), length, bits.cast_signed(), to);
        let all = moved == Ok(length);
        match moved {
            // What has gone is told first.
            Err(_) if total > 0 => {}
            Err(wsa) => return Err(wsa),
            Ok(moved) => total = total.saturating_add(moved.cast_unsigned()),
        }
        piece.clear();
        Ok(all)
    };
    let mut going = true;
    'all: for (place, length) in places {
        let mut done = 0;
        while done < length as usize {
            let part = (length as usize - done).min(LARGEST_PIECE).min(most - piece.len());
            let start = piece.len();
            piece.resize(start + part, 0);
            memory::read(place + done, &mut piece[start..])?;
            done += part;
            if piece.len() >= most {
                going = flush(&mut piece)?;
                if !going {
                    break 'all;
                }
            }
        }
    }
    if going && (!piece.is_empty() || whole == 0) {
        flush(&mut piece)?;
    }
    Ok(total)
}

/// The largest UDP payload, and how much of a stream is copied at once.
const LARGEST_DATAGRAM: u64 = 65_507;
const LARGEST_PIECE: usize = 256 << 10;

fn receive_buffers(
    s: usize,
    list: usize,
    number: u32,
    bits: usize,
    from: Option<(usize, usize)>,
) -> Result<u32> {
    let places = buffers(list, number)?;
    let whole: usize = places.iter().map(|(_, length)| *length as usize).sum();
    let mut gathered = vec![0_u8; whole.min(1 << 20)];
    let length = i32::try_from(gathered.len()).map_err(|_| Wsa::Emsgsize)?;
    let flags = memory::u32_at(bits)?;
    let moved = receive(s, gathered.as_mut_ptr().addr(), length, flags.cast_signed(), from)?;
    let mut rest = &gathered[..usize::try_from(moved).unwrap_or(0)];
    for (place, length) in places {
        let (part, after) = rest.split_at(rest.len().min(length as usize));
        memory::write(place, part)?;
        rest = after;
    }
    memory::write_u32(bits, 0)?;
    Ok(moved.cast_unsigned())
}

type Condition = extern "C" fn(usize, usize, usize, usize, usize, usize, usize, usize) -> i32;

const CF_ACCEPT: i32 = 0;
const CF_REJECT: i32 = 1;
const CF_DEFER: i32 = 2;

/// Asks the program's condition function: its verdict, and the data it has for the caller.
fn ask(condition: Condition, caller: &Caller<'_>, context: usize) -> (i32, Vec<u8>, Grouping) {
    let wsabuf = |bytes: &[u8]| [bytes.len() as u64, bytes.as_ptr().addr() as u64];
    let (who, whom) = (address::bytes_of(caller.peer), address::bytes_of(caller.local));
    let (caller_id, callee_id) = (wsabuf(&who), wsabuf(&whom));
    let (brought, mut answer) = (wsabuf(caller.data), vec![0_u8; MOST_DATA]);
    let mut answered = [answer.len() as u64, answer.as_mut_ptr().addr() as u64];
    let mut group = 0_u32;
    let structure = |qos: Option<Qos>| -> Vec<u64> {
        let mut bytes = Vec::with_capacity(80);
        if let Some(qos) = qos
            && let (Ok(sending), Ok(receiving)) = (qos.sending.to_raw(), qos.receiving.to_raw())
        {
            let provider_specific = flowspec::abi::RawWsabuf::default();
            RawQos { sending, receiving, provider_specific }.write(Abi::Win64, &mut bytes);
        }
        // Eight bytes at a time, so that it lies as a QOS has to.
        bytes
            .chunks_exact(8)
            .map(|word| word.iter().rev().fold(0, |all, &byte| all << 8 | u64::from(byte)))
            .collect()
    };
    let (sqos, gqos) = (structure(caller.sqos), structure(caller.gqos));
    let or_null = |words: &[u64]| if words.is_empty() { 0 } else { words.as_ptr().addr() };
    let verdict = condition(
        caller_id.as_ptr().addr(),
        if caller.data.is_empty() { 0 } else { brought.as_ptr().addr() },
        or_null(&sqos),
        or_null(&gqos),
        callee_id.as_ptr().addr(),
        (&raw mut answered).addr(),
        (&raw mut group).addr(),
        context,
    );
    // What it has left as the length of its answer; untouched, it has none.
    let length = usize::try_from(answered[0] & u64::from(u32::MAX)).unwrap_or(0);
    answer.truncate(if length >= MOST_DATA { 0 } else { length });
    (verdict, answer, Grouping::from_number(group))
}

fn accept(
    s: usize,
    name: usize,
    length: usize,
    condition: Option<Condition>,
    context: usize,
) -> Result<usize> {
    let endpoint = socket(s)?;
    address::check_room(endpoint.family, name, length)?;
    let mut nonsense = false;
    let (socket, peer) = match condition {
        None => endpoint.accept()?,
        Some(condition) => endpoint
            .accept_if(|caller| {
                let (verdict, callee_data, group) = ask(condition, caller, context);
                match verdict {
                    CF_ACCEPT => Verdict::Accept { callee_data, group },
                    CF_DEFER => Verdict::Defer,
                    verdict => {
                        nonsense = verdict != CF_REJECT;
                        Verdict::Reject
                    }
                }
            })
            .map_err(|wsa| if nonsense { Wsa::Einval } else { wsa })?,
    };
    address::write(peer, name, length)?;
    number(socket)
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

macro_rules! exported {
    ($($(#[$doc:meta])* $api:ident, $spi:ident ($($argument:ident: $type:ty),*) -> $result:ty, $failure:expr => $body:expr;)*) => {
        $(
            $(#[$doc])*
            #[unsafe(no_mangle)]
            pub extern "C" fn $api($($argument: $type),*) -> $result {
                api($failure, || $body)
            }

            $(#[$doc])*
            #[unsafe(no_mangle)]
            pub extern "C" fn $spi($($argument: $type,)* lp_errno: usize) -> $result {
                spi($failure, lp_errno, || $body)
            }
        )*
    };
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
        provider()?;
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
    /// WSASend, WSPSend.
    gqos_WSASend, gqos_WSPSend(
        s: usize, list: usize, number: u32, sent: usize, flags: u32, overlapped: usize, routine: usize
    ) -> i32, SOCKET_ERROR => {
        overlap(s, sent, overlapped, routine, move || send_buffers(s, list, number, flags, None))
    };
    /// WSASendTo, WSPSendTo.
    gqos_WSASendTo, gqos_WSPSendTo(
        s: usize, list: usize, number: u32, sent: usize, flags: u32, to: usize, tolen: i32,
        overlapped: usize, routine: usize
    ) -> i32, SOCKET_ERROR => {
        overlap(s, sent, overlapped, routine, move || send_buffers(s, list, number, flags, Some((to, tolen))))
    };
    /// WSARecv, WSPRecv.
    gqos_WSARecv, gqos_WSPRecv(
        s: usize, list: usize, number: u32, came: usize, flags: usize, overlapped: usize, routine: usize
    ) -> i32, SOCKET_ERROR => {
        overlap(s, came, overlapped, routine, move || receive_buffers(s, list, number, flags, None))
    };
    /// WSARecvFrom, WSPRecvFrom.
    gqos_WSARecvFrom, gqos_WSPRecvFrom(
        s: usize, list: usize, number: u32, came: usize, flags: usize, from: usize, fromlen: usize,
        overlapped: usize, routine: usize
    ) -> i32, SOCKET_ERROR => {
        overlap(s, came, overlapped, routine, move || receive_buffers(s, list, number, flags, Some((from, fromlen))))
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
        let word = |offset: usize| memory::u32_at(info + offset).map(u32::cast_signed);
        let entry = word(36)?.cast_unsigned();
        match PROTOCOLS.iter().find(|known| known.entry == entry && known.flags & XP1_CONNECT_DATA != 0) {
            Some(known) => number(Socket::open_with_data_in(known.family, group)?),
            None => open(word(76)?, word(88)?, word(92)?, group),
        }
    };
}

/// Sends or receives now, or begins to; where it is done now, says how much was moved.
fn overlap(
    s: usize,
    moved: usize,
    overlapped: usize,
    routine: usize,
    work: impl FnOnce() -> Result<u32> + Send + 'static,
) -> Result<i32> {
    // A socket that is not there is told at once.
    socket(s)?;
    let count = overlapped::run(overlapped, routine, work)?;
    memory::write_u32(moved, count)?;
    Ok(0)
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

/// send.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_send(s: usize, data: usize, length: i32, flags: i32) -> i32 {
    api(SOCKET_ERROR, || send(s, data, length, flags, None))
}

/// sendto.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_sendto(s: usize, data: usize, length: i32, flags: i32, to: usize, tolen: i32) -> i32 {
    api(SOCKET_ERROR, || send(s, data, length, flags, Some((to, tolen))))
}

/// recv.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_recv(s: usize, data: usize, length: i32, flags: i32) -> i32 {
    api(SOCKET_ERROR, || receive(s, data, length, flags, None))
}

/// recvfrom.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_recvfrom(
    s: usize,
    data: usize,
    length: i32,
    flags: i32,
    from: usize,
    fromlen: usize,
) -> i32 {
    api(SOCKET_ERROR, || receive(s, data, length, flags, Some((from, fromlen))))
}
