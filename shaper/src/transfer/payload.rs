//! What a transfer sends.

use std::fmt;
use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;

use super::error::TransferProblem;
use crate::sys::{send, send_file};

/// What a transfer sends: a part of a file, or bytes in memory.
#[derive(Clone)]
pub struct Payload {
    source: Source,
    /// What is left of the source, in bytes from its beginning.
    left: Range<u64>,
}

#[derive(Clone)]
enum Source {
    File(Arc<File>),
    Bytes(Arc<dyn AsRef<[u8]> + Send + Sync>),
}

impl Payload {
    /// A part of a regular file, which sendfile(2) sends. The file's own position does not count, and several payloads may
    /// share one file.
    ///
    /// The transfer fails with [`TransferProblem::SourceEnded`] where the file turns out to be shorter.
    pub fn file(file: impl Into<Arc<File>>, range: Range<u64>) -> Self {
        Self { source: Source::File(file.into()), left: range }
    }

    /// Bytes in memory, all of them.
    pub fn bytes(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        let length = bytes.as_ref().len() as u64;
        Self::repeated(bytes, length)
    }

    /// So many bytes of an endless repetition of bytes in memory.
    pub fn repeated(bytes: impl AsRef<[u8]> + Send + Sync + 'static, length: u64) -> Self {
        let once = bytes.as_ref();
        let is_short = once.len() < SHORT && once.len() as u64 <= length / 2;
        let source: Arc<dyn AsRef<[u8]> + Send + Sync> = match SHORT.checked_div(once.len()) {
            // Several at once, so that a call sends many segments.
            Some(times) if is_short => Arc::new(once.repeat(times.saturating_add(1))),
            _ => Arc::new(bytes),
        };
        Self { source: Source::Bytes(source), left: 0..length }
    }

    /// How many bytes are left to send.
    pub fn remaining(&self) -> u64 {
        self.left.end.saturating_sub(self.left.start)
    }

    /// Sends at most `most` bytes of what is left, and gives how many the socket took.
    pub(super) fn send(&mut self, socket: &impl AsFd, most: usize) -> Result<usize, TransferProblem> {
        let most = usize::try_from(self.remaining()).unwrap_or(usize::MAX).min(most);
        let from = self.left.start;
        let sent = match &self.source {
            Source::File(file) => send_file(socket, file, from, most).map_err(of_socket_or_file),
            Source::Bytes(bytes) => {
                send_repeated(socket, (**bytes).as_ref(), (from, most)).map_err(TransferProblem::Socket)
            }
        }?;
        if sent == 0 && most > 0 {
            return Err(TransferProblem::SourceEnded { end: self.left.end });
        }
        self.left.start = from.saturating_add(sent as u64);
        Ok(sent)
    }
}

/// Which of the two an error of sendfile(2) is about: the error does not say.
fn of_socket_or_file(error: io::Error) -> TransferProblem {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, HostUnreachable, Interrupted, NetworkDown,
        NetworkUnreachable, NotConnected, TimedOut, WouldBlock,
    };
    let of_socket = [
        BrokenPipe,
        ConnectionAborted,
        ConnectionReset,
        HostUnreachable,
        Interrupted,
        NetworkDown,
        NetworkUnreachable,
        NotConnected,
        TimedOut,
        WouldBlock,
    ];
    if of_socket.contains(&error.kind()) {
        TransferProblem::Socket(error)
    } else {
        TransferProblem::Source(error)
    }
}

/// Bytes that are repeated are at least this many.
const SHORT: usize = 16 << 10;

/// The most repetitions that one call sends.
const REPETITIONS: usize = 16;

/// Sends bytes of a repetition; zero where there is nothing to repeat.
fn send_repeated(socket: &impl AsFd, bytes: &[u8], (from, most): (u64, usize)) -> io::Result<usize> {
    let Some(start) = from.checked_rem(bytes.len() as u64) else { return Ok(0) };
    // Less than the length, which is a usize.
    let mut start = usize::try_from(start).unwrap_or(0);
    let (mut parts, mut count, mut left) = ([IoSlice::new(&[]); REPETITIONS], 0, most);
    while left > 0 && count < REPETITIONS {
        let part = &bytes[start..start.saturating_add(left).min(bytes.len())];
        parts[count] = IoSlice::new(part);
        (start, count, left) = (0, count + 1, left - part.len());
    }
    send(socket, &parts[..count])
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match self.source {
            Source::File(_) => "file",
            Source::Bytes(_) => "bytes",
        };
        f.debug_struct("Payload").field("source", &source).field("left", &self.left).finish()
    }
}
