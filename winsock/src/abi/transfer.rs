//! Sending and receiving: one buffer or several, at once or overlapped.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use flowspec::{Direction, Wsa};

use super::handle::endpoint;
use super::memory::{self, WSABUF_SIZE};
use super::overlapped::{self, Routine};
use super::sockaddr::{self, NameBuffer};
use super::{Address, SOCKET_ERROR};
use crate::Result;
use crate::endpoint::Endpoint;
use crate::operations::Attempt;
use crate::protocol::LARGEST_DATAGRAM;
use crate::receive::From;
use crate::sys::{ForeignMemory, MessageFlags, ReceiveBuffer, Received, SendBuffer};

const MSG_OOB: u32 = 1;
const MSG_PEEK: u32 = 2;
const MSG_DONTROUTE: u32 = 4;
const MSG_WAITALL: u32 = 8;

/// - **Errors**: WSAEOPNOTSUPP for an unknown flag.
pub(super) fn message_flags(bits: u32) -> Result<MessageFlags> {
    if bits & !(MSG_OOB | MSG_PEEK | MSG_DONTROUTE | MSG_WAITALL) != 0 {
        return Err(Wsa::Eopnotsupp);
    }
    Ok(MessageFlags {
        out_of_band: bits & MSG_OOB != 0,
        peek: bits & MSG_PEEK != 0,
        dont_route: bits & MSG_DONTROUTE != 0,
    })
}

/// The most buffers of one call.
const MAX_BUFFERS: usize = 1024;

/// How much of a stream is copied at once from several buffers, and into several.
const MAX_GATHERED: usize = 64 << 10;
const MAX_SCATTERED: usize = 1 << 20;

/// Reads the list of a call's buffers. The program need not keep the list.
///
/// - **Errors**: WSAEFAULT, also for NULL with a length; WSAEINVAL for no buffers or too many.
pub(super) fn read_buffers(list: Address, count: u32) -> Result<Cow<'static, [ForeignMemory]>> {
    let count = count as usize;
    if count == 0 || count > MAX_BUFFERS {
        return Err(Wsa::Einval);
    }
    let read = |index| {
        let buffer = memory::read_wsabuf(list.offset(index * WSABUF_SIZE))?;
        if buffer.address().is_null() && buffer.len() > 0 { Err(Wsa::Efault) } else { Ok(buffer) }
    };
    (0..count).map(read).collect()
}

/// The length of all buffers together. It cannot overflow: there are at most MAX_BUFFERS lengths of 32 bits.
pub(super) fn total_length(buffers: &[ForeignMemory]) -> usize {
    buffers.iter().map(|buffer| buffer.len()).sum()
}

/// Copies what the buffers hold behind the first `skipped` bytes, at most this much.
///
/// - **Errors**: WSAEFAULT.
pub(super) fn gather(buffers: &[ForeignMemory], mut skipped: usize, most: usize) -> Result<Vec<u8>> {
    let mut gathered = Vec::new();
    for &buffer in buffers {
        let rest = buffer.after(skipped).first(most - gathered.len());
        skipped = skipped.saturating_sub(buffer.len());
        let start = gathered.len();
        gathered.resize(start + rest.len(), 0);
        memory::read(rest.address(), &mut gathered[start..])?;
    }
    Ok(gathered)
}

/// Copies data into the buffers, behind their first `skipped` bytes.
///
/// - **Errors**: WSAEFAULT.
pub(super) fn scatter(mut data: &[u8], buffers: &[ForeignMemory], mut skipped: usize) -> Result<()> {
    for &buffer in buffers {
        let free = buffer.after(skipped);
        skipped = skipped.saturating_sub(buffer.len());
        let (part, after) = data.split_at(data.len().min(free.len()));
        memory::write(free.address(), part)?;
        data = after;
    }
    Ok(())
}

/// The destination of a call: an address and its length.
#[derive(Clone, Copy)]
struct SendDestination {
    name: Address,
    length: i32,
}

impl SendDestination {
    /// - **Errors**: WSAEFAULT, WSAEAFNOSUPPORT.
    fn read(self, endpoint: &Endpoint) -> Result<Option<SocketAddr>> {
        if self.name.is_null() {
            return Ok(None);
        }
        sockaddr::read(self.name, self.length, endpoint.family).map(Some)
    }
}

fn send_part(
    endpoint: &Arc<Endpoint>,
    data: SendBuffer<'_>,
    flags: MessageFlags,
    to: Option<SocketAddr>,
) -> Result<usize> {
    match to {
        None => endpoint.send_buffer(data, flags),
        Some(to) => endpoint.send_buffer_to(data, flags, to),
    }
}

fn send(s: usize, data: Address, length: i32, bits: i32, to: Option<SendDestination>) -> Result<i32> {
    let endpoint = endpoint(s)?;
    let data = memory::buffer(data, length)?;
    let to = to.map(|to| to.read(&endpoint)).transpose()?.flatten();
    let sent = send_part(&endpoint, data.into(), message_flags(bits.cast_unsigned())?, to)?;
    i32::try_from(sent).map_err(|_| Wsa::Enobufs)
}

/// Several buffers with data to send.
struct Sending {
    buffers: Cow<'static, [ForeignMemory]>,
    flags: MessageFlags,
    to: Option<SocketAddr>,
    total: usize,
    sent: usize,
}

impl Sending {
    fn new(
        endpoint: &Endpoint,
        buffers: Cow<'static, [ForeignMemory]>,
        bits: u32,
        to: Option<SendDestination>,
    ) -> Result<Self> {
        let to = to.map(|to| to.read(endpoint)).transpose()?.flatten();
        let total = total_length(&buffers);
        if !endpoint.is_stream() && total > LARGEST_DATAGRAM as usize {
            return Err(Wsa::Emsgsize);
        }
        // The length that was sent is reported in 32 bits.
        memory::length_u32(total)?;
        Ok(Self { buffers, flags: message_flags(bits)?, to, total, sent: 0 })
    }

    /// Copies what follows the data that was sent, at most this much.
    fn gather(&self, most: usize) -> Result<Vec<u8>> {
        gather(&self.buffers, self.sent, most)
    }

    /// Sends the rest and returns how much was sent since the start.
    ///
    /// - **Errors**: those of the send that failed; a repeated call continues behind the data that was sent before.
    fn advance(&mut self, endpoint: &Arc<Endpoint>) -> Result<u32> {
        loop {
            let sent = match (&*self.buffers, endpoint.is_stream()) {
                // The kernel reads a single buffer itself.
                (&[buffer], true) => {
                    send_part(endpoint, buffer.after(self.sent).into(), self.flags, self.to)?
                }
                (_, true) => send_part(endpoint, self.gather(MAX_GATHERED)?[..].into(), self.flags, self.to)?,
                (_, false) => send_part(endpoint, self.gather(usize::MAX)?[..].into(), self.flags, self.to)?,
            };
            self.sent += sent;
            if self.sent >= self.total || !endpoint.is_stream() {
                return memory::length_u32(self.sent);
            }
        }
    }

    /// Sends now. An error after a part was sent is the next call's.
    fn complete(mut self, endpoint: &Arc<Endpoint>) -> Result<u32> {
        match self.advance(endpoint) {
            Err(_) if self.sent > 0 => memory::length_u32(self.sent),
            result => result,
        }
    }
}

/// Buffers to fill, of every call that receives.
struct Receiving<'a> {
    buffers: Cow<'a, [ForeignMemory]>,
    flags: MessageFlags,
    /// MSG_WAITALL, which applies to streams.
    wait_all: bool,
    /// Where the sender's address is written; `None` for recv, which takes datagrams of the peer alone.
    from: Option<NameBuffer>,
    total: usize,
    received: usize,
}

impl<'a> Receiving<'a> {
    fn new(
        endpoint: &Endpoint,
        buffers: Cow<'a, [ForeignMemory]>,
        bits: u32,
        from: Option<NameBuffer>,
    ) -> Result<Self> {
        let flags = message_flags(bits)?;
        if let Some(from) = from {
            from.check(endpoint.family)?;
        }
        let total = total_length(&buffers);
        let wait_all = bits & MSG_WAITALL != 0 && !flags.peek && endpoint.is_stream();
        Ok(Self { buffers, flags, wait_all, from, total, received: 0 })
    }

    /// Receives once, or with MSG_WAITALL until the buffers are full, and returns how much was received since the start.
    ///
    /// - **Errors**: those of the receive that failed; a repeated call continues behind the data that was received
    ///   before.
    fn advance(&mut self, endpoint: &Arc<Endpoint>) -> Result<u32> {
        loop {
            let received = match *self.buffers {
                // The kernel fills a single buffer itself.
                [buffer] => self.receive_part(endpoint, buffer.after(self.received).into())?.length,
                _ => self.receive_scattered(endpoint)?,
            };
            self.received += received;
            if !self.wait_all || received == 0 || self.received >= self.total {
                return memory::length_u32(self.received);
            }
        }
    }

    fn receive_part(&self, endpoint: &Arc<Endpoint>, buffer: ReceiveBuffer<'_>) -> Result<Received> {
        let Some(name) = self.from else { return endpoint.receive_into(buffer, self.flags, From::Peer) };
        let received = endpoint.receive_into(buffer, self.flags, From::Anyone)?;
        if let Some(from) = received.from {
            name.write(from)?;
        }
        Ok(received)
    }

    /// Receives into memory of ours and copies that to the buffers, behind what was received before.
    fn receive_scattered(&self, endpoint: &Arc<Endpoint>) -> Result<usize> {
        let mut data = vec![0_u8; (self.total - self.received).min(MAX_SCATTERED)];
        let result = self.receive_part(endpoint, (&mut data[..]).into());
        // Of a datagram that is longer than the buffers its beginning was received.
        let length = if result == Err(Wsa::Emsgsize) { data.len() } else { result?.length };
        scatter(&data[..length], &self.buffers, self.received)?;
        result.map(|received| received.length)
    }

    /// Receives now. An error after a part was received is the next call's.
    fn complete(mut self, endpoint: &Arc<Endpoint>) -> Result<u32> {
        match self.advance(endpoint) {
            Err(_) if self.received > 0 => memory::length_u32(self.received),
            result => result,
        }
    }

    /// [`advance`](Self::advance) of an overlapped operation. Without capacity it completes once there is data.
    fn advance_overlapped(&mut self, endpoint: &Arc<Endpoint>) -> Result<u32> {
        if self.total == 0 && endpoint.is_stream() {
            let peek = MessageFlags { peek: true, ..MessageFlags::default() };
            return endpoint.receive(&mut [0], peek).map(|_| 0);
        }
        self.advance(endpoint)
    }
}

/// recv and recvfrom.
fn receive(s: usize, data: Address, length: i32, bits: i32, from: Option<NameBuffer>) -> Result<i32> {
    let endpoint = endpoint(s)?;
    let buffers = [memory::buffer(data, length)?];
    let receiving = Receiving::new(&endpoint, Cow::Borrowed(&buffers), bits.cast_unsigned(), from)?;
    let received = receiving.complete(&endpoint)?;
    i32::try_from(received).map_err(|_| Wsa::Enobufs)
}

/// WSARecvEx: MSG_PARTIAL reports that a datagram was longer than the buffer.
pub(super) fn receive_with_flags(s: usize, data: Address, length: i32, flags: Address) -> Result<i32> {
    const MSG_PARTIAL: u32 = 0x8000;
    let bits = memory::read_u32(flags)?;
    match receive(s, data, length, (bits & !MSG_PARTIAL).cast_signed(), None) {
        Err(Wsa::Emsgsize) => memory::write_u32(flags, MSG_PARTIAL).map(|()| length),
        result => {
            memory::write_u32(flags, 0)?;
            result
        }
    }
}

/// A call with a list of buffers: completed at once, or overlapped where it has an OVERLAPPED.
struct ListCall {
    s: usize,
    list: Address,
    count: u32,
    /// Where the length of a call that is not overlapped is written.
    transferred: Address,
    overlapped: Address,
    routine: Option<Routine>,
}

impl ListCall {
    fn send(&self, bits: u32, to: Option<SendDestination>) -> Result<i32> {
        let endpoint = endpoint(self.s)?;
        let mut sending = Sending::new(&endpoint, read_buffers(self.list, self.count)?, bits, to)?;
        if self.is_overlapped()? {
            let attempt = Box::new(move |endpoint: &_| sending.advance(endpoint));
            return self.start(&endpoint, Direction::Sending, attempt);
        }
        memory::write_u32(self.transferred, sending.complete(&endpoint)?).map(|()| 0)
    }

    /// `bits` is the address of the flags, which are replaced.
    fn receive(&self, bits: Address, from: Option<NameBuffer>) -> Result<i32> {
        let endpoint = endpoint(self.s)?;
        let buffers = read_buffers(self.list, self.count)?;
        let mut receiving = Receiving::new(&endpoint, buffers, memory::read_u32(bits)?, from)?;
        if self.is_overlapped()? {
            let attempt = Box::new(move |endpoint: &_| receiving.advance_overlapped(endpoint));
            return self.start(&endpoint, Direction::Receiving, attempt);
        }
        let received = receiving.complete(&endpoint)?;
        memory::write_u32(bits, 0)?;
        memory::write_u32(self.transferred, received).map(|()| 0)
    }

    /// - **Errors**: WSAEFAULT for a call that is not overlapped and has no place for its length.
    fn is_overlapped(&self) -> Result<bool> {
        match (self.overlapped.is_null(), self.transferred.is_null()) {
            (true, true) => Err(Wsa::Efault),
            (is_null, _) => Ok(!is_null),
        }
    }

    fn start(
        &self,
        endpoint: &Arc<Endpoint>,
        direction: Direction,
        attempt: Attempt<Endpoint>,
    ) -> Result<i32> {
        let completion = overlapped::begin(self.overlapped, self.routine)?;
        endpoint.start_operation(direction, attempt, completion)?;
        Err(Wsa::IoPending)
    }
}

c_functions! {
    /// send.
    api gqos_send(s: usize, data: Address, length: i32, flags: i32) -> i32, or SOCKET_ERROR
        => send(s, data, length, flags, None);
    /// sendto.
    api gqos_sendto(s: usize, data: Address, length: i32, flags: i32, to: Address, tolen: i32)
        -> i32, or SOCKET_ERROR
        => send(s, data, length, flags, Some(SendDestination { name: to, length: tolen }));
    /// recv.
    api gqos_recv(s: usize, data: Address, length: i32, flags: i32) -> i32, or SOCKET_ERROR
        => receive(s, data, length, flags, None);
    /// recvfrom.
    api gqos_recvfrom(s: usize, data: Address, length: i32, flags: i32, from: Address, fromlen: Address)
        -> i32, or SOCKET_ERROR
        => receive(s, data, length, flags, Some(NameBuffer { name: from, length: fromlen }));
    /// WSASend, WSPSend.
    threaded gqos_WSASend, gqos_WSPSend(
        s: usize, list: Address, count: u32, sent: Address, flags: u32,
        overlapped: Address, routine: Option<Routine>,
    ) -> i32, or SOCKET_ERROR
        => ListCall { s, list, count, transferred: sent, overlapped, routine }.send(flags, None);
    /// WSASendTo, WSPSendTo.
    threaded gqos_WSASendTo, gqos_WSPSendTo(
        s: usize, list: Address, count: u32, sent: Address, flags: u32, to: Address, tolen: i32,
        overlapped: Address, routine: Option<Routine>,
    ) -> i32, or SOCKET_ERROR
        => ListCall { s, list, count, transferred: sent, overlapped, routine }
            .send(flags, Some(SendDestination { name: to, length: tolen }));
    /// WSARecv, WSPRecv.
    threaded gqos_WSARecv, gqos_WSPRecv(
        s: usize, list: Address, count: u32, received: Address, flags: Address,
        overlapped: Address, routine: Option<Routine>,
    ) -> i32, or SOCKET_ERROR
        => ListCall { s, list, count, transferred: received, overlapped, routine }.receive(flags, None);
    /// WSARecvFrom, WSPRecvFrom.
    threaded gqos_WSARecvFrom, gqos_WSPRecvFrom(
        s: usize, list: Address, count: u32, received: Address, flags: Address, from: Address, fromlen: Address,
        overlapped: Address, routine: Option<Routine>,
    ) -> i32, or SOCKET_ERROR
        => ListCall { s, list, count, transferred: received, overlapped, routine }
            .receive(flags, Some(NameBuffer { name: from, length: fromlen }));
}
