//! TransmitFile and TransmitPackets: memory and files, sent one after the other through the socket's token bucket.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use flowspec::{Direction, Errno, Wsa};

use super::handle::endpoint;
use super::{Address, memory, overlapped};
use crate::Result;
use crate::endpoint::Endpoint;
use crate::sys::{self, ForeignMemory, MessageFlags, ShutdownHow};

/// TF_DISCONNECT and TF_REUSE_SOCKET.
const DISCONNECT: u32 = 1;
const REUSE_SOCKET: u32 = 2;

// Fields of TRANSMIT_FILE_BUFFERS.
const HEAD: usize = 0;
const HEAD_LENGTH: usize = 8;
const TAIL: usize = 16;
const TAIL_LENGTH: usize = 24;

// Fields of TRANSMIT_PACKETS_ELEMENT: flags, length, then a buffer or an offset and a file.
const ELEMENT_LENGTH: usize = 4;
const ELEMENT_BUFFER: usize = 8;
const ELEMENT_FILE: usize = 16;
const ELEMENT_SIZE: usize = 24;

/// TP_ELEMENT_MEMORY and TP_ELEMENT_FILE.
const MEMORY_ELEMENT: u32 = 1;
const FILE_ELEMENT: u32 = 2;

/// The offset of an OVERLAPPED's Offset.
const OVERLAPPED_OFFSET: usize = 16;

/// An element whose offset is -1 begins where the file is read next.
const CURRENT_POSITION: u64 = u64::MAX;

/// The most elements of one call.
const MAX_ELEMENTS: usize = 1024;

/// The most bytes of one call. Source: TransmitFile.
const MAX_BYTES: u64 = (1 << 31) - 1;

/// How much of a file is read at once.
const CHUNK: u64 = 64 << 10;

/// What is sent next.
enum TransmitPart {
    Memory(ForeignMemory),
    File { file: OwnedFd, offset: u64, left: u64 },
}

impl TransmitPart {
    fn memory(address: Address, length: u32) -> Result<Self> {
        if address.is_null() && length > 0 {
            return Err(Wsa::Efault);
        }
        Ok(Self::Memory(ForeignMemory::new(address, length as usize)))
    }

    /// Part of a file; to its end, where the length is 0.
    ///
    /// - **Errors**: WSA_INVALID_HANDLE.
    fn file(handle: usize, offset: Option<u64>, length: u32) -> Result<Self> {
        let invalid = |_: Errno| Wsa::InvalidHandle;
        let descriptor = i32::try_from(handle).map_err(|_| Wsa::InvalidHandle)?;
        let file = sys::duplicate_file(descriptor).map_err(invalid)?;
        let (position, end) = sys::position_and_length(&file).map_err(invalid)?;
        let offset = offset.unwrap_or(position);
        let rest = end.saturating_sub(offset);
        let left = if length == 0 { rest } else { rest.min(u64::from(length)) };
        Ok(Self::File { file, offset, left })
    }

    fn len(&self) -> u64 {
        match self {
            Self::Memory(memory) => memory.len() as u64,
            Self::File { left, .. } => *left,
        }
    }
}

/// A call that is under way.
struct Transmission {
    parts: VecDeque<TransmitPart>,
    /// What was read of a file, and how much of that was sent.
    chunk: Vec<u8>,
    chunk_sent: usize,
    sent: u64,
    flags: u32,
}

impl Transmission {
    /// - **Errors**: WSAEINVAL for more than 2 GiB.
    fn new(parts: VecDeque<TransmitPart>, flags: u32) -> Result<Self> {
        let total = parts.iter().fold(0_u64, |total, part| total.saturating_add(part.len()));
        if total > MAX_BYTES {
            return Err(Wsa::Einval);
        }
        Ok(Self { parts, chunk: Vec::new(), chunk_sent: 0, sent: 0, flags })
    }

    /// Sends the rest and returns how much was sent since the start.
    ///
    /// - **Errors**: those of the send that failed; a repeated call continues behind the data that was sent before.
    fn advance(&mut self, endpoint: &Arc<Endpoint>) -> Result<u32> {
        loop {
            if self.chunk_sent < self.chunk.len() {
                let sent =
                    endpoint.send_buffer(self.chunk[self.chunk_sent..].into(), MessageFlags::default())?;
                self.chunk_sent += sent;
                self.sent += sent as u64;
                continue;
            }
            match self.parts.front_mut() {
                None => break,
                Some(part) if part.len() == 0 => drop(self.parts.pop_front()),
                Some(TransmitPart::Memory(memory)) => {
                    let sent = endpoint.send_buffer((*memory).into(), MessageFlags::default())?;
                    *memory = memory.after(sent);
                    self.sent += sent as u64;
                }
                Some(TransmitPart::File { file, offset, left }) => {
                    // At most CHUNK.
                    self.chunk.resize(usize::try_from((*left).min(CHUNK)).unwrap_or(0), 0);
                    self.chunk_sent = 0;
                    let read = sys::read_at(file, &mut self.chunk, *offset).map_err(Errno::wsa)?;
                    self.chunk.truncate(read);
                    *offset += read as u64;
                    // A file that was truncated meanwhile ends here.
                    *left = if read == 0 { 0 } else { *left - read as u64 };
                }
            }
        }
        if self.flags & (DISCONNECT | REUSE_SOCKET) != 0 {
            endpoint.shutdown(ShutdownHow::Both)?;
        }
        if self.flags & REUSE_SOCKET != 0 {
            endpoint.reopen()?;
        }
        u32::try_from(self.sent).map_err(|_| Wsa::Enobufs)
    }

    /// Performs the call now, or starts it where it has an OVERLAPPED.
    fn complete(mut self, endpoint: &Arc<Endpoint>, overlapped: Address) -> Result<i32> {
        if overlapped.is_null() {
            return self.advance(endpoint).map(|_| 1);
        }
        let completion = overlapped::begin(overlapped, None)?;
        let attempt = Box::new(move |endpoint: &Arc<Endpoint>| self.advance(endpoint));
        endpoint.start_operation(Direction::Sending, attempt, completion)?;
        Err(Wsa::IoPending)
    }
}

/// The parameters of TransmitFile.
struct FileCall {
    s: usize,
    file: usize,
    length: u32,
    overlapped: Address,
    buffers: Address,
    flags: u32,
}

impl FileCall {
    fn run(&self) -> Result<i32> {
        let endpoint = stream(self.s)?;
        let buffer = |address, length| {
            let at = memory::read_address(self.buffers.offset(address))?;
            TransmitPart::memory(at, memory::read_u32(self.buffers.offset(length))?)
        };
        let mut parts = VecDeque::new();
        if !self.buffers.is_null() {
            parts.push_back(buffer(HEAD, HEAD_LENGTH)?);
        }
        if self.file != 0 {
            let offset = if self.overlapped.is_null() {
                None
            } else {
                Some(memory::read_bytes(self.overlapped.offset(OVERLAPPED_OFFSET)).map(u64::from_ne_bytes)?)
            };
            parts.push_back(TransmitPart::file(self.file, offset, self.length)?);
        }
        if !self.buffers.is_null() {
            parts.push_back(buffer(TAIL, TAIL_LENGTH)?);
        }
        Transmission::new(parts, self.flags)?.complete(&endpoint, self.overlapped)
    }
}

/// The stream of a SOCKET.
///
/// - **Errors**: WSAENOTSOCK; WSAEOPNOTSUPP for datagrams.
fn stream(s: usize) -> Result<Arc<Endpoint>> {
    let endpoint = endpoint(s)?;
    if endpoint.is_stream() { Ok(endpoint) } else { Err(Wsa::Eopnotsupp) }
}

fn read_elements(list: Address, count: u32) -> Result<VecDeque<TransmitPart>> {
    let count = count as usize;
    if count > MAX_ELEMENTS {
        return Err(Wsa::Einval);
    }
    let read = |index: usize| {
        let element = list.offset(index * ELEMENT_SIZE);
        let length = memory::read_u32(element.offset(ELEMENT_LENGTH))?;
        match memory::read_u32(element)? & (MEMORY_ELEMENT | FILE_ELEMENT) {
            MEMORY_ELEMENT => {
                TransmitPart::memory(memory::read_address(element.offset(ELEMENT_BUFFER))?, length)
            }
            FILE_ELEMENT => {
                let offset = memory::read_bytes(element.offset(ELEMENT_BUFFER)).map(u64::from_ne_bytes)?;
                let file = memory::read_usize(element.offset(ELEMENT_FILE))?;
                TransmitPart::file(file, (offset != CURRENT_POSITION).then_some(offset), length)
            }
            _ => Err(Wsa::Einval),
        }
    };
    (0..count).map(read).collect()
}

c_functions! {
    /// TransmitFile. The handle of a file is its descriptor; with NULL only the buffers are sent.
    api gqos_TransmitFile(
        s: usize, file: usize, length: u32, _per_send: u32, overlapped: Address, buffers: Address, flags: u32,
    ) -> i32, or 0 => FileCall { s, file, length, overlapped, buffers, flags }.run();
    /// TransmitPackets, on streams.
    api gqos_TransmitPackets(
        s: usize, list: Address, count: u32, _send_size: u32, overlapped: Address, flags: u32,
    ) -> i32, or 0 => {
        let endpoint = stream(s)?;
        Transmission::new(read_elements(list, count)?, flags)?.complete(&endpoint, overlapped)
    };
    /// WSARecvEx: recv whose flags are also its result.
    api gqos_WSARecvEx(s: usize, data: Address, length: i32, flags: Address) -> i32, or -1
        => super::transfer::receive_with_flags(s, data, length, flags);
}
