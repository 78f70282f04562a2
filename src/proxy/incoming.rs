//! The start of a client's connection: the bytes that are read before any is passed on.

use std::io;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio::time::timeout_at;

use super::bad_start::{BadStart, NoStart};
use super::clock::{duration, now};
use crate::connect::Connection;
use crate::policy::ProxyLimits;

/// Whether the server accepts clients still.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    Serving,
    /// It was told to end: connections may finish what they have begun.
    Draining,
}

/// A client's connection, and what has been read of it and not been passed on.
pub(super) struct Incoming {
    pub(super) connection: Connection,
    pub(super) buffer: Vec<u8>,
    limits: ProxyLimits,
    phase: watch::Receiver<Phase>,
}

/// How much is read at once.
const PIECE: usize = 4096;

impl Incoming {
    pub(super) fn new(connection: Connection, limits: ProxyLimits, phase: watch::Receiver<Phase>) -> Self {
        Self { connection, buffer: Vec::new(), limits, phase }
    }

    /// Reads until `parse` finds a whole start, within the limits.
    pub(super) async fn read<T, E: Into<BadStart>>(
        &mut self,
        parse: impl Fn(&[u8]) -> Result<Option<T>, E>,
    ) -> Result<T, NoStart> {
        let limit = if self.buffer.is_empty() { self.limits.first_byte } else { self.limits.head_time };
        let mut deadline = now() + duration(limit);
        loop {
            if !self.buffer.is_empty()
                && let Some(parsed) = parse(&self.buffer).map_err(|bad| NoStart::Bad(bad.into()))?
            {
                return Ok(parsed);
            }
            let was_empty = self.buffer.is_empty();
            self.buffer.reserve(PIECE);
            let draining = async {
                // The sender lives as long as the server.
                let _ = self.phase.wait_for(|phase| *phase == Phase::Draining).await;
            };
            let read = tokio::select! {
                read = timeout_at(deadline, self.connection.read_buf(&mut self.buffer)) => read,
                () = draining, if was_empty => return Err(NoStart::Draining),
            };
            match read {
                Err(_) => return Err(NoStart::Bad(BadStart::TimedOut)),
                Ok(Err(error)) => return Err(NoStart::Failed(error)),
                Ok(Ok(0)) => return Err(NoStart::Closed),
                Ok(Ok(_)) if was_empty => deadline = now() + duration(self.limits.head_time),
                Ok(Ok(_)) => {}
            }
        }
    }
}

/// Closes a connection so that the client gets what was sent: what it still sends is read, for a moment, since a socket
/// that is closed with unread data is reset.
pub(super) async fn close_gently(mut connection: Connection) {
    const PATIENCE: Duration = Duration::from_secs(2);
    const MOST: usize = 1 << 20;
    let drained = async {
        use tokio::io::AsyncWriteExt;
        connection.shutdown().await?;
        let (mut buffer, mut read) = ([0; PIECE], 0);
        while read < MOST {
            match connection.read(&mut buffer).await? {
                0 => break,
                more => read += more,
            }
        }
        io::Result::Ok(())
    };
    // A client that is gone, or sends without end, is closed all the same.
    let _ = timeout_at(now() + PATIENCE, drained).await;
}

/// Closes a connection with a reset, because the rest of the response will not follow.
pub(super) fn reset(connection: Connection) {
    // Without the options it is closed in the usual way. A connection with a reservation would end with a FIN, so that its
    // data leaves.
    let _ = connection.flow().release();
    let _ = connection.socket().set_zero_linger();
    drop(connection);
}
