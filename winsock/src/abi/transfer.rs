//! Sending and receiving: one buffer, several, now or later.

use std::net::SocketAddr;
use std::sync::Arc;

use flowspec::{Direction, Wsa};

use super::calls::socket;
use super::overlapped::{self, Routine};
use super::{SOCKET_ERROR, address, api, memory, spi};
use crate::Result;
use crate::later::Attempt;
use crate::socket::{Endpoint, Kind};
use crate::sys::raw::Flags;

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

/// Where a program has its buffers. Their list is copied when the call is made: it need not stay.
///
/// - **Errors**: WSAEFAULT; WSAEINVAL where there are none, or too many.
fn buffers(address: usize, number: u32) -> Result<Vec<(usize, u32)>> {
    if number == 0 || number as usize > MOST_BUFFERS {
        return Err(Wsa::Einval);
    }
    (0..number as usize).map(|index| memory::wsabuf(address.wrapping_add(index * 16))).collect()
}

/// The most buffers that one call may have.
const MOST_BUFFERS: usize = 1024;

/// The largest UDP payload, and how much of a stream is copied at once.
const LARGEST_DATAGRAM: u64 = 65_507;
const LARGEST_PIECE: usize = 64 << 10;

/// Several buffers on their way out: a datagram at once, a stream piece by piece.
struct Sending {
    places: Vec<(usize, u32)>,
    flags: Flags,
    to: Option<SocketAddr>,
    whole: u64,
    /// What has gone already.
    gone: u64,
}

impl Sending {
    fn new(
        endpoint: &Endpoint,
        list: usize,
        number: u32,
        bits: u32,
        to: Option<(usize, i32)>,
    ) -> Result<Self> {
        let places = buffers(list, number)?;
        let to = to.filter(|(name, _)| *name != 0);
        let to = to.map(|(name, length)| address::read(name, length, endpoint.family)).transpose()?;
        let whole = places.iter().fold(0_u64, |sum, (_, length)| sum + u64::from(*length));
        if whole > LARGEST_DATAGRAM && endpoint.kind == Kind::Datagram {
            return Err(Wsa::Emsgsize);
        }
        // How much has gone is told in 32 bits.
        if whole > u64::from(u32::MAX) {
            return Err(Wsa::Enobufs);
        }
        Ok(Self { places, flags: flags(bits.cast_signed())?, to, whole, gone: 0 })
    }

    /// Copies what comes next, as much as is sent at once.
    fn piece(&self, most: usize) -> Result<Vec<u8>> {
        let (mut piece, mut passed) = (Vec::new(), 0_u64);
        for &(place, length) in &self.places {
            let skipped = usize::try_from(self.gone.saturating_sub(passed)).unwrap_or(usize::MAX);
            passed += u64::from(length);
            let left = (length as usize).saturating_sub(skipped).min(most - piece.len());
            let start = piece.len();
            piece.resize(start + left, 0);
            memory::read(place.wrapping_add(skipped), &mut piece[start..])?;
        }
        Ok(piece)
    }

    /// Sends the rest: how much has gone altogether.
    ///
    /// - **Errors**: what sending answered; what has gone by then is remembered.
    fn go(&mut self, endpoint: &Arc<Endpoint>) -> Result<u32> {
        loop {
            let sent = match (&self.places[..], endpoint.kind) {
                // One buffer is the kernel's to read.
                (&[(place, length)], Kind::Stream) => {
                    let gone = usize::try_from(self.gone).map_err(|_| Wsa::Efault)?;
                    let left = i32::try_from(u64::from(length) - self.gone).unwrap_or(i32::MAX);
                    self.send(endpoint, memory::outgoing(place.wrapping_add(gone), left)?)?
                }
                (_, Kind::Stream) => self.send(endpoint, &self.piece(LARGEST_PIECE)?)?,
                (_, Kind::Datagram) => self.send(endpoint, &self.piece(usize::MAX)?)?,
            };
            self.gone += sent as u64;
            if self.gone >= self.whole || endpoint.kind == Kind::Datagram {
                return self.told();
            }
        }
    }

    fn send(&self, endpoint: &Arc<Endpoint>, data: &[u8]) -> Result<usize> {
        match self.to {
            None => endpoint.send(data, self.flags),
            Some(to) => endpoint.send_to(data, self.flags, to),
        }
    }

    /// The same at once: what has gone is told first, and what was wrong with the rest by the next call.
    fn go_now(mut self, endpoint: &Arc<Endpoint>) -> Result<u32> {
        match self.go(endpoint) {
            Err(_) if self.gone > 0 => self.told(),
            result => result,
        }
    }

    fn told(&self) -> Result<u32> {
        u32::try_from(self.gone).map_err(|_| Wsa::Enobufs)
    }
}

/// Several buffers to be filled.
struct Receiving {
    places: Vec<(usize, u32)>,
    bits: i32,
    /// Where the sender's address goes, and its length.
    from: Option<(usize, usize)>,
    whole: usize,
    /// What has come already.
    come: usize,
}

/// How much is received at once into several buffers.
const LARGEST_SCATTERED: usize = 1 << 20;

impl Receiving {
    fn new(
        endpoint: &Endpoint,
        list: usize,
        number: u32,
        bits: usize,
        from: Option<(usize, usize)>,
    ) -> Result<Self> {
        let places = buffers(list, number)?;
        let bits = memory::u32_at(bits)?.cast_signed();
        flags(bits)?;
        let (name, length) = from.unwrap_or((0, 0));
        address::check_room(endpoint.family, name, length)?;
        let whole = places.iter().map(|(_, length)| *length as usize).sum();
        Ok(Self { places, bits, from, whole, come: 0 })
    }

    /// Receives once, or with MSG_WAITALL until all has come: how much that is altogether.
    ///
    /// - **Errors**: what receiving answered; what has come by then is remembered.
    fn go(&mut self, endpoint: &Arc<Endpoint>) -> Result<u32> {
        loop {
            let came = match self.places[..] {
                // One buffer is the kernel's to fill.
                [(place, length)] => {
                    let left = i32::try_from(length as usize - self.come).unwrap_or(i32::MAX);
                    self.receive(endpoint, memory::incoming(place.wrapping_add(self.come), left)?)?
                }
                _ => {
                    let mut piece = vec![0_u8; (self.whole - self.come).min(LARGEST_SCATTERED)];
                    let received = self.receive(endpoint, &mut piece);
                    // Of a datagram that is longer the beginning is there.
                    let came = if received == Err(Wsa::Emsgsize) { piece.len() } else { received? };
                    self.scatter(&piece[..came])?;
                    received?
                }
            };
            self.come += came;
            let all = self.bits & MSG_WAITALL != 0 && self.bits & MSG_PEEK == 0;
            if !all || came == 0 || self.come >= self.whole || endpoint.kind == Kind::Datagram {
                return self.told();
            }
        }
    }

    fn receive(&self, endpoint: &Arc<Endpoint>, into: &mut [u8]) -> Result<usize> {
        let Some((name, length)) = self.from else { return endpoint.receive(into, flags(self.bits)?) };
        let (came, whose) = endpoint.receive_any(into, flags(self.bits)?)?;
        if let (Some(whose), false) = (whose, name == 0) {
            address::write(whose, name, length)?;
        }
        Ok(came)
    }

    /// Puts what has come behind what came before.
    fn scatter(&self, mut rest: &[u8]) -> Result<()> {
        let mut passed = 0;
        for &(place, length) in &self.places {
            let skipped = self.come.saturating_sub(passed).min(length as usize);
            passed += length as usize;
            let (part, after) = rest.split_at(rest.len().min(length as usize - skipped));
            memory::write(place.wrapping_add(skipped), part)?;
            rest = after;
        }
        Ok(())
    }

    /// The same at once: what has come is told first.
    fn go_now(mut self, endpoint: &Arc<Endpoint>) -> Result<u32> {
        match self.go(endpoint) {
            Err(_) if self.come > 0 => self.told(),
            result => result,
        }
    }

    /// The same later: one without room is told once there is something to receive.
    fn go_later(&mut self, endpoint: &Arc<Endpoint>) -> Result<u32> {
        if self.whole == 0 && endpoint.kind == Kind::Stream {
            return endpoint.receive(&mut [0], Flags { peek: true, ..Flags::default() }).map(|_| 0);
        }
        self.go(endpoint)
    }

    fn told(&self) -> Result<u32> {
        u32::try_from(self.come).map_err(|_| Wsa::Enobufs)
    }
}

/// Something that is done now, or begun where there is an OVERLAPPED: WSA_IO_PENDING then.
struct Call {
    s: usize,
    /// Where it is told how much was moved, if it is done now.
    moved: usize,
    overlapped: usize,
    routine: Option<Routine>,
}

impl Call {
    fn send(&self, list: usize, number: u32, flags: u32, to: Option<(usize, i32)>) -> Result<i32> {
        let endpoint = socket(self.s)?;
        let mut sending = Sending::new(&endpoint, list, number, flags, to)?;
        if self.is_now()? {
            return self.done(sending.go_now(&endpoint)?);
        }
        self.later(&endpoint, Direction::Sending, Box::new(move |endpoint| sending.go(endpoint)))
    }

    fn receive(&self, list: usize, number: u32, flags: usize, from: Option<(usize, usize)>) -> Result<i32> {
        let endpoint = socket(self.s)?;
        let mut receiving = Receiving::new(&endpoint, list, number, flags, from)?;
        if self.is_now()? {
            let came = receiving.go_now(&endpoint)?;
            memory::write_u32(flags, 0)?;
            return self.done(came);
        }
        self.later(&endpoint, Direction::Receiving, Box::new(move |endpoint| receiving.go_later(endpoint)))
    }

    /// Whether it is done now, which needs a place to tell how much that was.
    fn is_now(&self) -> Result<bool> {
        match (self.overlapped, self.moved) {
            (0, 0) => Err(Wsa::Efault),
            (overlapped, _) => Ok(overlapped == 0),
        }
    }

    fn done(&self, moved: u32) -> Result<i32> {
        memory::write_u32(self.moved, moved).map(|()| 0)
    }

    fn later(&self, endpoint: &Arc<Endpoint>, direction: Direction, attempt: Attempt) -> Result<i32> {
        let told = overlapped::begin(self.overlapped, self.routine)?;
        endpoint.later(direction, attempt, told)?;
        Err(Wsa::IoPending)
    }
}

exported! {
    /// WSASend, WSPSend.
    gqos_WSASend, gqos_WSPSend(
        s: usize, list: usize, number: u32, sent: usize, flags: u32, overlapped: usize, routine: Option<Routine>
    ) -> i32, SOCKET_ERROR => {
        Call { s, moved: sent, overlapped, routine }.send(list, number, flags, None)
    };
    /// WSASendTo, WSPSendTo.
    gqos_WSASendTo, gqos_WSPSendTo(
        s: usize, list: usize, number: u32, sent: usize, flags: u32, to: usize, tolen: i32,
        overlapped: usize, routine: Option<Routine>
    ) -> i32, SOCKET_ERROR => {
        Call { s, moved: sent, overlapped, routine }.send(list, number, flags, Some((to, tolen)))
    };
    /// WSARecv, WSPRecv.
    gqos_WSARecv, gqos_WSPRecv(
        s: usize, list: usize, number: u32, came: usize, flags: usize, overlapped: usize, routine: Option<Routine>
    ) -> i32, SOCKET_ERROR => {
        Call { s, moved: came, overlapped, routine }.receive(list, number, flags, None)
    };
    /// WSARecvFrom, WSPRecvFrom.
    gqos_WSARecvFrom, gqos_WSPRecvFrom(
        s: usize, list: usize, number: u32, came: usize, flags: usize, from: usize, fromlen: usize,
        overlapped: usize, routine: Option<Routine>
    ) -> i32, SOCKET_ERROR => {
        Call { s, moved: came, overlapped, routine }.receive(list, number, flags, Some((from, fromlen)))
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
