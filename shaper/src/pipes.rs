//! Pipes and buffers that relays share: each takes one for as long as it holds data, so that a thread needs few.

use std::cell::RefCell;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::sys::Pipe;

/// The most pipes of a process; data that finds none is copied. Each takes two descriptors and, by its 64 buffers, a part of
/// what the kernel allows a user (`fs.pipe-user-pages-soft`).
const MOST_PIPES: usize = 1024;

/// The most unused pipes, and the most unused buffers, that a thread keeps.
const MOST_UNUSED: usize = 32;

/// The size of a buffer.
pub(crate) const BUFFER: usize = 32_768;

static PIPES: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static UNUSED: RefCell<Unused> = const { RefCell::new(Unused { pipes: Vec::new(), buffers: Vec::new() }) };
}

struct Unused {
    pipes: Vec<PooledPipe>,
    buffers: Vec<Vec<u8>>,
}

/// A pipe that counts towards the limit.
#[derive(Debug)]
pub(crate) struct PooledPipe(Pipe);

impl PooledPipe {
    /// An empty pipe.
    ///
    /// - **Errors**: there are as many as a process may have; `pipe2`.
    pub(crate) fn take() -> io::Result<Self> {
        if let Some(pipe) = UNUSED.with_borrow_mut(|unused| unused.pipes.pop()) {
            return Ok(pipe);
        }
        let counted = PIPES.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            (count < MOST_PIPES).then_some(count + 1)
        });
        if counted.is_err() {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let made = Pipe::new();
        if made.is_err() {
            PIPES.fetch_sub(1, Ordering::Relaxed);
        }
        made.map(Self)
    }

    pub(crate) const fn pipe(&mut self) -> &mut Pipe {
        &mut self.0
    }

    /// Leaves a pipe to the next relay of this thread; one that holds data is closed.
    pub(crate) fn put(self) {
        if self.0.held() > 0 {
            return;
        }
        UNUSED.with_borrow_mut(|unused| {
            if unused.pipes.len() < MOST_UNUSED {
                unused.pipes.push(self);
            }
        });
    }
}

impl Drop for PooledPipe {
    fn drop(&mut self) {
        PIPES.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A buffer of [`BUFFER`] bytes.
pub(crate) fn take_buffer() -> Vec<u8> {
    UNUSED.with_borrow_mut(|unused| unused.buffers.pop()).unwrap_or_else(|| vec![0; BUFFER])
}

/// Leaves a buffer to the next relay of this thread.
pub(crate) fn put_buffer(buffer: Vec<u8>) {
    if buffer.len() == BUFFER {
        UNUSED.with_borrow_mut(|unused| {
            if unused.buffers.len() < MOST_UNUSED {
                unused.buffers.push(buffer);
            }
        });
    }
}
