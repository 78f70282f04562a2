//! Lines on standard error in which nothing moves a terminal's cursor or turns the text around.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, ThreadId};

use crate::cli::plain::{plain, plain_json};

/// From this number of bytes on, gathered lines are written.
const MOST_GATHERED: usize = 64 << 10;

/// Lines on their way to standard error. Those of the thread that follows the facts are gathered, so that a busy daemon makes
/// one system call for many; a line of any other thread is written at once, behind those that are gathered.
#[derive(Debug, Default)]
pub(super) struct Lines {
    gathered: Mutex<Vec<u8>>,
    /// The thread that writes what it has gathered itself.
    follower: OnceLock<ThreadId>,
}

impl Lines {
    /// The lines of the calling thread are gathered from now on, until it calls [`write`](Self::write).
    pub(super) fn follow(&self) {
        // There is one such thread; the lines of a second one would be written at once.
        let _ = self.follower.set(thread::current().id());
    }

    /// Writes what is gathered.
    pub(super) fn write(&self) {
        // The lock of standard error comes first: the lines keep their order.
        let mut stderr = io::stderr().lock();
        let gathered = std::mem::take(&mut *self.gathered());
        // A reader that has gone needs no lines; the daemon goes on.
        let _ = stderr.write_all(&gathered);
    }

    fn add(&self, line: &str) {
        let mut gathered = self.gathered();
        gathered.extend_from_slice(line.as_bytes());
        gathered.push(b'\n');
        let is_follower = self.follower.get() == Some(&thread::current().id());
        let waits = is_follower && gathered.len() < MOST_GATHERED;
        drop(gathered);
        if !waits {
            self.write();
        }
    }

    fn gathered(&self) -> MutexGuard<'_, Vec<u8>> {
        // Bytes are whole between any two statements that can panic.
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where `tracing_subscriber` writes an event.
#[derive(Debug)]
pub(super) struct LineWriter {
    pub(super) lines: Arc<Lines>,
    pub(super) is_json: bool,
}

impl Write for LineWriter {
    /// Takes one whole event, as `tracing_subscriber` writes it.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        self.lines.add(&if self.is_json { plain_json(text) } else { plain(text) });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
