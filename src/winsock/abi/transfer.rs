//! Sending and receiving: one buffer, several, now or later.

use flowspec::Wsa;

use super::super::Result;
use super::super::socket::Kind;
use super::calls::socket;
use super::overlapped::{self, Routine};
use super::{SOCKET_ERROR, address, api, memory, spi};
use crate::linux::raw::Flags;

/// Winsock's MSG flags.
const MSG_OOB: i32 = 1;
const MSG_PEEK: i32 = 2;
const MSG_DONTROUTE: i32 = 4;
const MSG_WAITALL: i32 = 8;

fn flags(bits: i32) -> Result<Flags> {
    if bits & !(MSG_OOB | MSG_PEEK | MSG_DONTROUTE | MSG_WAITALL) != 0 {
        return Err(Wsa::Eopnotsupp);
    }
    Ok(Flags {
        urgent: bits & MSG_OOB != 0,
        peek: bits & MSG_PEEK != 0,
        direct: bits & MSG_DONTROUTE != 0,
        waits: false,
    })
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
    (0..number as usize).map(|index| memory::wsabuf(address.wrapping_add(index * 16))).collect()
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
            memory::read(place.wrapping_add(done), &mut piece[start..])?;
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

/// Sends or receives now, or begins to; where it is done now, says how much was moved.
fn overlap(
    s: usize,
    moved: usize,
    overlapped: usize,
    routine: Option<Routine>,
    work: impl FnOnce() -> Result<u32> + Send + 'static,
) -> Result<i32> {
    // A socket that is not there is told at once.
    socket(s)?;
    let count = overlapped::run(overlapped, routine, work)?;
    memory::write_u32(moved, count)?;
    Ok(0)
}

exported! {
    /// WSASend, WSPSend.
    gqos_WSASend, gqos_WSPSend(
        s: usize, list: usize, number: u32, sent: usize, flags: u32, overlapped: usize, routine: Option<Routine>
    ) -> i32, SOCKET_ERROR => {
        overlap(s, sent, overlapped, routine, move || send_buffers(s, list, number, flags, None))
    };
    /// WSASendTo, WSPSendTo.
    gqos_WSASendTo, gqos_WSPSendTo(
        s: usize, list: usize, number: u32, sent: usize, flags: u32, to: usize, tolen: i32,
        overlapped: usize, routine: Option<Routine>
    ) -> i32, SOCKET_ERROR => {
        overlap(s, sent, overlapped, routine, move || send_buffers(s, list, number, flags, Some((to, tolen))))
    };
    /// WSARecv, WSPRecv.
    gqos_WSARecv, gqos_WSPRecv(
        s: usize, list: usize, number: u32, came: usize, flags: usize, overlapped: usize, routine: Option<Routine>
    ) -> i32, SOCKET_ERROR => {
        overlap(s, came, overlapped, routine, move || receive_buffers(s, list, number, flags, None))
    };
    /// WSARecvFrom, WSPRecvFrom.
    gqos_WSARecvFrom, gqos_WSPRecvFrom(
        s: usize, list: usize, number: u32, came: usize, flags: usize, from: usize, fromlen: usize,
        overlapped: usize, routine: Option<Routine>
    ) -> i32, SOCKET_ERROR => {
        overlap(s, came, overlapped, routine, move || receive_buffers(s, list, number, flags, Some((from, fromlen))))
    };
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
